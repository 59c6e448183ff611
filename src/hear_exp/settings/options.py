"""Options that would fail only after the work of embedding, checked by their values alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..embeddings.batching import check_batch_seconds
from ..errors import UserError

PRECISIONS = ("32-true", "bf16-mixed", "16-mixed", "64-true")  # Lightning's names
ACCELERATORS = ("auto", "cpu", "gpu", "cuda", "mps")  # Lightning's names


def check_options(config: Mapping[str, Any]) -> None:
    """Raises UserError for a value that could not work."""
    seed, in_memory, trainer = config["seed"], config["data"]["in_memory"], config["trainer"]
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise UserError(f"seed is {seed!r}, expected a whole number from 0 up")
    if in_memory not in (True, False, "auto"):
        raise UserError(f"data.in_memory is {in_memory!r}, expected true, false or auto")
    if trainer["precision"] not in PRECISIONS:
        raise UserError(f"trainer.precision is {trainer['precision']!r}, expected one of: {', '.join(PRECISIONS)}")
    check_accelerator(config)
    if not config["predictor"].get("name"):
        raise UserError("predictor.name is missing: a predictor config has one, which names it in the results")
    check_workers(config["search"]["workers"], config["search"]["threads"])
    check_batch_seconds(config["embeddings"].get("batch_seconds", 1))


def check_accelerator(config: Mapping[str, Any]) -> None:
    """Raises UserError unless ``trainer.accelerator`` is one that may be there."""
    accelerator = config["trainer"]["accelerator"]
    if accelerator not in ACCELERATORS:
        raise UserError(f"trainer.accelerator is {accelerator!r}, expected one of: {', '.join(ACCELERATORS)}")


def check_workers(workers: int | str, threads: int) -> None:
    """Raises UserError unless both are numbers from 1 up (workers: or auto)."""
    for name, value, also in (("workers", workers, ", or auto"), ("threads", threads, "")):
        if value == "auto" and also:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise UserError(f"search.{name} is {value!r}, expected a number from 1 up{also}")
