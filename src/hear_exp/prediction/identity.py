"""What a run is: the digest of everything that decides its scores."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..files import file_digest, json_digest
from ..tasks.folder import content_digest
from ..versions import installed_version
from .own_code import code_of
from .predictor import Predictor, class_name

if TYPE_CHECKING:
    from .problem import Problem

PACKAGES = ("torch", "pytorch-lightning", "torchmetrics", "sed_eval", "numpy", "scipy")


@dataclass(frozen=True)
class Identity:
    """``settings``: everything that decides a run's scores, as JSON holds it; ``digest``: its 16 hexadecimal digits."""

    settings: Mapping[str, Any]

    @property
    def digest(self) -> str:
        """What the run is called by."""
        return json_digest(self.settings)[:16]


def run_identity(problem: Problem, points: Sequence[Predictor]) -> Identity:
    """The identity of the search of ``points`` on ``problem``.

    The embeddings' key stands for model and audio, and their content for what the key cannot know: a model that gives
    other embeddings each time, or in other batches. The code of this package counts as well as its version, so that
    an edit in a checkout is another run, and so does the code of a predictor from elsewhere. What changes no score
    does not count: where files are, how many workers there are, whether embeddings are in memory.
    """
    task = problem.task
    settings = {
        "embeddings": problem.embeddings.key,
        "embeddings_content": problem.embeddings.content,
        "task": {"name": task.name, "version": task.version, "mode": task.mode, "content": content_digest(task)},
        "predictor": class_name(type(points[0])),
        "points": [point.hyperparameters for point in points],
        "protocol": dataclasses.asdict(problem.protocol),
        "seed": problem.seed,
        "threads": problem.threads,
        "accelerator": problem.accelerator,
        "precision": problem.precision,
        "versions": {name: version for name in ("hear_exp", *PACKAGES) if (version := installed_version(name))},
        "code": _code(),
        "predictor_code": code_of(type(points[0])),
    }
    return Identity(json.loads(json.dumps(settings)))


def differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """What differs between two identities' settings, a line each: 'seed: 1, was 2'."""
    return [
        f"{name}: {ours.get(name)!r}, was {theirs.get(name)!r}"
        for name in sorted({*ours, *theirs})
        if ours.get(name) != theirs.get(name)
    ]


def _code() -> str:
    """Digest of this package's source files, by their place in it."""
    package = Path(__file__).parents[1]
    files = sorted(package.rglob("*.py"))
    return json_digest([[path.relative_to(package).as_posix(), file_digest(path)] for path in files])[:16]
