"""From the composed config to the objects of a run; what cannot work is found out here, before any computing."""

from __future__ import annotations

import dataclasses
import logging
import math
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from .cache import Embeddings
from .cli import chosen_groups, chosen_options, conf_dir, shipped
from .datamodule import fits_in_memory
from .demo import ensure_demo_task
from .embed import Embedded, embed_task
from .encoder import Encoder, Model, pick_device
from .errors import UserError
from .fit import Problem
from .fit_store import FitStore
from .grid import apply_task_grid, expand_grid
from .heareval import import_embeddings, read_embedded_task
from .identity import run_identity
from .pool import warm_up
from .progress import progress
from .protocol import Protocol, changed_fields, protocol_from_config
from .search import check_workers
from .targets import frame_targets, scene_targets
from .task import Task, read_task

log = logging.getLogger(__name__)

Config = Mapping[str, Any]

PRECISIONS = ("32-true", "bf16-mixed", "16-mixed", "64-true")  # Lightning's names


@dataclasses.dataclass(frozen=True)
class Source:
    """Where embeddings come from: the model's ``name``, the ``device`` of the run, and how to have a task's."""

    name: str
    device: torch.device
    embed: Callable[[Task], Embedded]


def load_tasks(config: Config, overrides: Sequence[str] = ()) -> list[Task]:
    """The tasks whose scores make up the run's: one, but for a task that HEAR published in parts.

    A demo task is generated first. With embeddings=heareval it is the task of ``embeddings.path``.
    """
    if config["embeddings"]["name"] == "heareval":
        return [_with_own_settings(_load_embedded_task(config, overrides), {})]
    choice = config["task"]
    if not choice["path"]:
        raise UserError("task=custom needs the folder of the task: task.path=FOLDER")
    if choice.get("demo"):
        with progress(f"generating {choice['name']}") as bar:
            ensure_demo_task(choice["name"], Path(choice["path"]), progress=bar)
    folders = [Path(choice["path"], part) for part in choice.get("parts") or [""]]
    missing = [folder for folder in folders if not folder.exists()]
    if missing and choice.get("archives"):
        places = shlex.join(o for o in overrides if re.match(r"\+{0,2}(task|paths)\.", o))
        raise UserError(
            f"{choice['name']} is not there yet ({missing[0]}); this fetches it, and tells its size before: "
            f"python -m hear_exp.download task={choice['name']} {places}".rstrip()
        )
    return [_with_own_settings(read_task(folder), choice) for folder in folders]


def load_task(config: Config, overrides: Sequence[str] = ()) -> Task:
    """The task that ``task`` names. Raises UserError for one in parts, where a command takes one folder only."""
    tasks = load_tasks(config, overrides)
    if len(tasks) > 1:
        each = ", ".join(f"task.path={task.folder}" for task in tasks)
        raise UserError(f"{config['task']['name']} consists of {len(tasks)} tasks, take one: task=custom with {each}")
    return tasks[0]


def _with_own_settings(task: Task, choice: Config) -> Task:
    """``task`` with what HEAR 2021 set for it outside its metadata, which wins where it speaks.

    Those settings are in the config file of the task, and hold for its folder too when that is given by its path.
    """
    if "archives" not in choice and not choice.get("demo"):
        names = sorted(path.stem for path in (conf_dir() / "task").glob("*.yaml"))
        choices = (shipped("task", name) for name in names)
        choice = next((found for found in choices if found.get("task_name") == task.name), {})
    return dataclasses.replace(
        task,
        predictor_grid={**choice.get("predictor_grid", {}), **task.predictor_grid},
        postprocessing_grid={**choice.get("postprocessing_grid", {}), **task.postprocessing_grid},
        early_stop_on_score=task.early_stop_on_score and choice.get("early_stop_on_score", True),
    )


def _load_embedded_task(config: Config, overrides: Sequence[str]) -> Task:
    path = config["embeddings"]["path"]
    if not path:
        raise UserError("embeddings=heareval needs the folder that heareval wrote: embeddings.path=OUT/MODEL/TASK")
    for group in ("model", "task"):
        if group in chosen_groups() or any(re.match(rf"[+~]*{group}[.=@]", override) for override in overrides):
            raise UserError(
                f"{group} has no effect with embeddings=heareval: model and task are those of {path} "
                "(embeddings.model=NAME names the model in the results)"
            )
    return read_embedded_task(Path(path))


def load_source(config: Config) -> Source:
    """The embeddings that ``embeddings`` names: computed with the model, or imported; nothing is embedded yet."""
    cache = Path(config["paths"]["embeddings"])
    if config["embeddings"]["name"] == "heareval":
        model, device = str(config["embeddings"]["model"]), pick_device(config["trainer"]["accelerator"])
        return Source(model, device, lambda task: import_embeddings(task, model, cache))
    encoder = load_encoder(config)
    batch_seconds = config["embeddings"]["batch_seconds"]
    return Source(encoder.name, encoder.device, lambda task: embed_task(task, encoder, cache, batch_seconds))


def load_encoder(config: Config) -> Encoder:
    """The model that ``model`` names, on the device that ``trainer`` names."""
    return Encoder(describe_model(config), pick_device(config["trainer"]["accelerator"]))


def describe_model(config: Config) -> Model:
    """What ``model`` says, not loaded yet."""
    model = config["model"]
    if not isinstance(model["options"], Mapping | None):
        raise UserError(f"model.options is {model['options']!r}, expected names and values: {{name: value}}")
    return Model(
        name=str(model["name"] or "hear"),
        module=str(model["module"] or ""),
        weights=str(model["weights"] or ""),
        options=dict(model["options"] or {}),
        install=str(model.get("install") or ""),
        weights_url=str(model.get("weights_url") or ""),
    )


def check_options(config: Config) -> None:
    """Raises UserError for a value that would fail only after the work of embedding."""
    seed, in_memory, precision = config["seed"], config["data"]["in_memory"], config["trainer"]["precision"]
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise UserError(f"seed is {seed!r}, expected a whole number from 0 up")
    if in_memory not in (True, False, "auto"):
        raise UserError(f"data.in_memory is {in_memory!r}, expected true, false or auto")
    if precision not in PRECISIONS:
        raise UserError(f"trainer.precision is {precision!r}, expected one of: {', '.join(PRECISIONS)}")
    if not config["predictor"].get("name"):
        raise UserError("predictor.name is missing: a predictor config has one, which names it in the results")
    check_workers(config["search"]["workers"], config["search"]["threads"])


def make_protocol(config: Config, task: Task, overrides: Sequence[str]) -> tuple[Protocol, dict[str, Any]]:
    """The protocol with the task's postprocessings over it, and the fields the user changed from the shipped one."""
    chosen = protocol_from_config(config["protocol"])
    published = shipped("protocol", chosen.name)
    changes = changed_fields(chosen, protocol_from_config(published)) if published else {}
    set_by_user = {*chosen_options(list(overrides), "protocol"), *changes}
    grid = task.postprocessing_grid
    own: dict[str, Any] = {
        field: _times(task, name, grid[name])
        for name, field in (("median_filter_ms", "median_filter_ms"), ("min_duration", "min_duration_ms"))
        if name in grid and field not in set_by_user
    }
    return dataclasses.replace(chosen, **own), changes


def _times(task: Task, name: str, value: Any) -> tuple[float, ...]:
    values = tuple(value) if isinstance(value, list | tuple) else (value,)
    good = [not isinstance(v, bool) and isinstance(v, int | float) and 0 <= v < math.inf for v in values]
    if not values or not all(good):
        raise UserError(
            f"{task.folder}: event_postprocessing_grid.{name} is {value!r}, expected milliseconds from 0 up"
        )
    return values


def make_grid(config: Config, task: Task, protocol: Protocol, overrides: Sequence[str]) -> list[dict[str, Any]]:
    """The grid points to search, the task's own settings in the place of defaults the user did not touch."""
    predictor = dict(config["predictor"])
    name = predictor.pop("name")
    published = shipped("predictor", name)
    chosen = {
        *chosen_options(list(overrides), "predictor"),
        *(key for key, value in predictor.items() if key in published and value != published[key]),
    }
    points = expand_grid(apply_task_grid(predictor, task.predictor_grid, sorted(chosen)), protocol)
    for point in points:
        if "max_epochs" in point and point["max_epochs"] < point["check_val_every_n_epoch"]:
            raise UserError(
                f"predictor.max_epochs={point['max_epochs']} ends before the first validation "
                f"(predictor.check_val_every_n_epoch={point['check_val_every_n_epoch']})"
            )
    return points


class Plan(NamedTuple):
    """One task of a run, and how it is evaluated; ``folder`` is for what its fits leave behind."""

    task: Task
    protocol: Protocol
    protocol_changes: dict[str, Any]
    points: list[dict[str, Any]]
    folder: Path


def make_plans(config: Config, folder: Path, overrides: Sequence[str]) -> list[Plan]:
    """A plan for each of the run's tasks; several share the run's ``folder`` as FOLDER/parts/TASK."""
    check_options(config)
    tasks = load_tasks(config, overrides)
    plans = []
    for task in tasks:
        protocol, changes = make_protocol(config, task, overrides)
        where = folder if len(tasks) == 1 else folder / "parts" / task.name
        plans.append(Plan(task, protocol, changes, make_grid(config, task, protocol, overrides), where))
    for plan in plans:
        plan.folder.mkdir(parents=True, exist_ok=True)
    return plans


@contextmanager
def make_problem(
    config: Config, task: Task, embeddings: Embeddings, protocol: Protocol, device: torch.device, folder: Path
) -> Iterator[Problem]:
    """What the fits share; its targets file in ``folder`` is removed at the end."""
    warm_up()
    targets_path = folder / ".targets.npy"
    np.save(targets_path, task_targets(task, embeddings))
    try:
        yield Problem(
            task=task,
            embeddings=embeddings,
            targets_path=targets_path,
            protocol=protocol,
            in_memory=fits_in_memory(embeddings, config["data"]["in_memory"]),
            seed=config["seed"],
            threads=config["search"]["threads"],
            accelerator=device.type,
            precision=config["trainer"]["precision"],
        )
    finally:
        targets_path.unlink(missing_ok=True)


def open_fits(config: Config, problem: Problem, points: Sequence[Config]) -> FitStore:
    """Where the finished fits of a search of ``points`` are kept until the run has its result."""
    return FitStore(Path(config["paths"]["fits"]), run_identity(problem, points)).open()


def task_targets(task: Task, embeddings: Embeddings) -> np.ndarray:
    """Targets of all rows of the cache, uint8 (rows, labels)."""
    targets = np.zeros((embeddings.rows, len(task.labels)), dtype=np.uint8)
    timestamps = embeddings.timestamps_ms() if task.embedding_type == "event" else None
    for split in task.splits:
        clips = {clip.name: clip for clip in split.clips}
        for rows in embeddings.splits[split.name]:
            where = slice(rows.start, rows.start + rows.count)
            if timestamps is None:
                targets[where] = scene_targets([clips[rows.name]], task.labels)
            else:
                targets[where] = frame_targets(clips[rows.name].events, timestamps[where], task.labels)
    return targets
