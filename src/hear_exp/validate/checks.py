"""Checks of a model: what a check gets and gives, and how a list of them is run.

A check is a small function of a Subject; it returns an Outcome, and whatever it raises is a fail with a reason.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import ModuleType
from typing import Any

import numpy as np
import torch

from ..embeddings.backend import Backend
from ..embeddings.encoder import import_module, load_model
from ..embeddings.model_choice import Model
from ..errors import UserError
from .long_clip import Measured, measure

PASS, WARNING, FAIL, SKIPPED = "pass", "warning", "fail", "skipped"


@dataclass(frozen=True)
class Outcome:
    """How a check ended (pass | warning | fail | skipped), and why."""

    status: str
    reason: str = ""


@dataclass(frozen=True)
class Check:
    """A check by name; it is run where the checks that it ``needs`` did not fail."""

    name: str
    function: Callable[[Subject], Outcome]
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Finding:
    """The outcome of a check."""

    check: str
    status: str
    reason: str


@dataclass
class Subject:
    """The model under test. Imported, loaded and run on a long clip when a check first asks for it.

    ``long_minutes``: length of the long clip, 0 for none; ``memory_gb``: what it may take.
    """

    model: Model
    device: torch.device = dataclasses.field(default_factory=lambda: torch.device("cpu"))
    long_minutes: float = 20.0
    memory_gb: float = 16.0

    @cached_property
    def module(self) -> ModuleType:
        """The imported module."""
        return import_module(self.model)

    @cached_property
    def loaded(self) -> tuple[Any, Backend]:
        """What load_model returned, in eval mode on the device, and the backend that runs it."""
        return load_model(self.module, self.model, self.device)

    @cached_property
    def long(self) -> Measured:
        """What a long clip took, in a process of its own."""
        return measure(self.model, self.device, self.long_minutes, self.memory_gb)

    @property
    def sample_rate(self) -> int:
        """In hertz, as the loaded model says."""
        return int(self.loaded[0].sample_rate)

    def noise(self, clips: int, seconds: float) -> np.ndarray:
        """White noise in [-1, 1], the same for every call: float32 (clips, samples)."""
        shape = clips, round(seconds * self.sample_rate)
        return np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)

    def call(self, function: str, audio: np.ndarray) -> Any:
        """What the module's function of this name returns for ``audio``, float32 (clips, samples)."""
        loaded, backend = self.loaded
        return backend.call(getattr(self.module, function), audio, loaded)

    def scene(self, audio: np.ndarray) -> np.ndarray:
        """Scene embeddings, float32, of whatever shape the module gives them."""
        return self._array("get_scene_embeddings", self.call("get_scene_embeddings", audio), np.float32)

    def timestamps(self, audio: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Timestamp embeddings, float32, and timestamps, float64, of whatever shape the module gives them."""
        output = self.call("get_timestamp_embeddings", audio)
        if not isinstance(output, tuple | list) or len(output) != 2:
            raise UserError(
                f"get_timestamp_embeddings returned {type(output).__name__}, expected embeddings and timestamps"
            )
        embeddings = self._array("get_timestamp_embeddings", output[0], np.float32)
        return embeddings, self._array("get_timestamp_embeddings", output[1], np.float64)

    def both(self, audio: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Scene and timestamp embeddings, float32."""
        return self.scene(audio), self.timestamps(audio)[0]

    def _array(self, function: str, value: Any, dtype: type) -> np.ndarray:
        backend = self.loaded[1]
        if not backend.is_tensor(value):
            raise UserError(f"{function} returned {type(value).__name__}, expected a {backend.tensor_class}")
        return backend.array(value, dtype)


def run_checks(subject: Subject, checks: Sequence[Check]) -> Iterator[Finding]:
    """Run the checks in order; yields a finding for each as it is known."""
    bad: set[str] = set()
    for check in checks:
        missing = [name for name in check.needs if name in bad]
        outcome = Outcome(SKIPPED, f"needs: {missing[0]}") if missing else run_check(subject, check.function)
        if outcome.status in (FAIL, SKIPPED):
            bad.add(check.name)
        yield Finding(check.name, outcome.status, outcome.reason)


def run_check(subject: Subject, function: Callable[[Subject], Outcome]) -> Outcome:
    """Run one check; an error of the model's is a fail that says which."""
    try:
        return function(subject)
    except UserError as error:
        return Outcome(FAIL, str(error).removeprefix(f"model {subject.model.name}: "))
    except Exception as error:
        lines = str(error).strip().splitlines() or [""]
        return Outcome(FAIL, f"{type(error).__name__}: {lines[0]}")
