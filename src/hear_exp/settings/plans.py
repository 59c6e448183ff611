"""From the composed config to what a run will do: its tasks, protocol and grid, checked without importing torch."""

from __future__ import annotations

import dataclasses
import functools
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import OmegaConf

from ..cli.choices import Choices
from ..cli.composition import composed_file
from ..cli.configs import conf_dir, default_groups, read_config, task_configs
from ..cli.sweep_plan import JobFacts
from ..embeddings.model_choice import check_model
from ..errors import UserError
from ..prediction.batches import check_batches
from ..prediction.grid import expand_grid
from ..prediction.own_code import remember_code
from ..prediction.predictor import Predictor
from ..prediction.protocol import Protocol, protocol_from_config
from ..results.leaderboard import PREDICTOR, PROTOCOL
from ..results.tracking import check_logger
from ..tasks.folder import Task, read_task
from .config import Computed, Imported, PredictorChoice, Settings, TaskChoice, TaskSettings
from .fields import read
from .job_facts import facts_of
from .task_settings import predictor_settings, protocol_changes, with_task_settings


class Plan(NamedTuple):
    """One task of a run, and how it is evaluated; ``folder`` is for what its fits leave behind."""

    task: Task
    protocol: Protocol
    protocol_changes: dict[str, Any]
    points: list[Predictor]
    folder: Path


def check_job(config: Mapping[str, Any], choices: Choices) -> JobFacts | None:
    """``check`` for a job of a sweep, which conf/config.yaml names; returns what the sweep's plan is made from."""
    settings = read(Settings, config)
    return facts_of(settings, check(settings, choices))


def check(settings: Settings, choices: Choices) -> list[Task]:
    """Raises UserError for whatever can be known to fail; reads and looks only, so that nothing is left behind.

    Returns the run's tasks; none where they are yet to be generated.
    """
    check_logger(settings.logger)
    if isinstance(settings.embeddings, Computed):
        check_model(settings.model)
    tasks = [] if _is_to_be_generated(settings.task) else load_tasks(settings, choices, whole=False)
    for task in tasks:
        protocol_and_grid(settings, task, choices)
    if not tasks:
        _expand(settings.predictor, settings.protocol)
    return tasks


def make_plans(settings: Settings, folder: Path, choices: Choices) -> list[Plan]:
    """A plan for each of the run's tasks; several share the run's ``folder`` as FOLDER/parts/TASK."""
    check(settings, choices)
    tasks, changes = load_tasks(settings, choices), protocol_changes(settings.protocol)
    plans = []
    for task in tasks:
        protocol, points = protocol_and_grid(settings, task, choices)
        where = folder if len(tasks) == 1 else folder / "parts" / task.name
        plans.append(Plan(task, protocol, changes, points, where))
    for plan in plans:
        plan.folder.mkdir(parents=True, exist_ok=True)
    return plans


# Tasks ------------------------------------------------------------------------------------------------------


def load_tasks(settings: Settings, choices: Choices, *, whole: bool = True) -> list[Task]:
    """The tasks whose scores make up the run's: one, but for a task that HEAR published in parts.

    A demo task is generated first. With embeddings=heareval it is the task of ``embeddings.path``; unless
    ``whole``, its embeddings and their labels are not looked at.
    """
    choice = settings.task
    if isinstance(settings.embeddings, Imported):
        return [_with_own_settings(_load_embedded_task(settings.embeddings, choices, whole), choice)]
    if not choice.path:
        raise UserError("task=custom needs the folder of the task: task.path=FOLDER")
    if choice.demo:
        _generate_demo(choice.name, choice.path)
    folders = [choice.path / part for part in choice.parts or [""]]
    missing = [folder for folder in folders if not folder.exists()]
    if missing and choice.archives:
        places = shlex.join(choices.typed_about("task", "paths"))
        raise UserError(
            f"{choice.name} is not there yet ({missing[0]}); this fetches it, and tells its size before: "
            f"python -m hear_exp.download task={choice.name} {places}".rstrip()
        )
    return [_with_own_settings(_read_once(folder), choice) for folder in folders]


def load_task(settings: Settings, choices: Choices) -> Task:
    """The task that ``task`` names. Raises UserError for one in parts, where a command takes one folder only."""
    tasks = load_tasks(settings, choices)
    if len(tasks) > 1:
        each = ", ".join(f"task.path={task.folder}" for task in tasks)
        raise UserError(f"{settings.task.name} consists of {len(tasks)} tasks, take one: task=custom with {each}")
    return tasks[0]


def _is_to_be_generated(choice: TaskChoice) -> bool:
    return choice.demo and choice.path is not None and not choice.path.exists()


def _generate_demo(name: str, folder: Path) -> None:
    from ..progress import progress
    from ..tasks.demo import ensure_demo_task

    with progress(f"generating {name}") as bar:
        ensure_demo_task(name, folder, progress=bar)


def _with_own_settings(task: Task, choice: TaskChoice) -> Task:
    """``task`` with what HEAR 2021 set for it outside its metadata, which wins where it speaks.

    Those settings are in the config file of the task, and hold for its folder too when that is given by its path.
    """
    of_file: TaskSettings = choice
    if choice.archives is None and not choice.demo:
        shipped = map(TaskSettings.model_validate, task_configs().values())
        of_file = next((each for each in shipped if each.task_name == task.name), TaskSettings())
    own = task.early_stop_on_score
    return dataclasses.replace(
        task,
        predictor_grid={**of_file.predictor_grid, **task.predictor_grid},
        postprocessing_grid={**of_file.postprocessing_grid, **task.postprocessing_grid},
        early_stop_on_score=of_file.early_stop_on_score if own is None else own,
    )


def _load_embedded_task(embeddings: Imported, choices: Choices, whole: bool) -> Task:
    path = embeddings.path
    if not path:
        raise UserError("embeddings=heareval needs the folder that heareval wrote: embeddings.path=OUT/MODEL/TASK")
    for group in ("model", "task"):
        if choices.touch(group) or _is_set_elsewhere(choices, group):
            raise UserError(
                f"{group} has no effect with embeddings=heareval: model and task are those of {path} "
                "(embeddings.model=NAME names the model in the results)"
            )
    if not whole:
        return _read_once(path, needs_audio=False)
    from ..embeddings.heareval import read_embedded_task

    return read_embedded_task(path)


def _is_set_elsewhere(choices: Choices, group: str) -> bool:
    """Whether a file of the user's sets something in ``group``, which embeddings=heareval has decided."""
    assert choices.composition is not None
    composed: Any = choices.composition.composed
    content: dict[str, Any] = {
        name: OmegaConf.to_container(composed[name], resolve=True) for name in (group, "embeddings")
    }
    of_heareval = {**read_config(conf_dir() / "embeddings" / "heareval.yaml"), "embeddings": content["embeddings"]}
    decided: Any = OmegaConf.to_container(OmegaConf.create(of_heareval), resolve=True)
    expected = {**composed_file(group, default_groups()[group]), **decided[group]}
    return any(name not in expected or value != expected[name] for name, value in content[group].items())


def _read_once(folder: Path, needs_audio: bool = True) -> Task:
    """The task of a folder, read again only when its files have changed: many jobs of a sweep take the same one."""
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    states = [(path.name, path.stat()) for path in files if path.exists()]
    seen = tuple((name, state.st_ino, state.st_size, state.st_mtime_ns) for name, state in states)
    return _read(folder, needs_audio, seen)


@functools.lru_cache(maxsize=64)
def _read(folder: Path, needs_audio: bool, seen: tuple[tuple[str, int, int, int], ...]) -> Task:
    return read_task(folder, needs_audio=needs_audio)


# Protocol and grid ------------------------------------------------------------------------------------------


def protocol_and_grid(settings: Settings, task: Task, choices: Choices) -> tuple[Protocol, list[Predictor]]:
    """The protocol and the grid points of ``task``, whose own settings win over what nobody chose."""
    settings = with_task_settings(settings, task, choices)
    points = _expand(settings.predictor, settings.protocol)
    check_batches(task, settings.protocol, points)
    for point in points:
        point.check_precision(settings.trainer.precision)
    return settings.protocol, points


def _expand(predictor: PredictorChoice, protocol: Protocol) -> list[Predictor]:
    remember_code(predictor.kind)
    return expand_grid(predictor.kind, predictor.hyperparameters, protocol)


def published_points(task: Task) -> list[dict[str, Any]]:
    """The grid points that the published scores of ``task`` come from, or would."""
    content = composed_file("predictor", PREDICTOR)
    predictor = PredictorChoice.model_validate({**content, **predictor_settings(task, content)})
    points = _expand(predictor, protocol_from_config(composed_file("protocol", PROTOCOL)))
    return [point.hyperparameters for point in points]
