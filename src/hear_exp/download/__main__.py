"""``python -m hear_exp.download task=esc50``: fetch, verify and unpack HEAR's published tasks."""

from __future__ import annotations

if __name__ == "__main__":  # before the imports that take their time
    from ..interrupts import answer_signals

    answer_signals()

import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from ..cli.choices import Choices
from ..cli.configs import task_configs
from ..cli.edge import start
from ..cli.run_record import begin
from ..errors import UserError
from ..files import check_readable, locked
from ..progress import human_size, progress
from ..tasks.demo import ensure_demo_task
from ..tasks.folder import Task
from .archive import UNPACKED_PER_PACKED, check_place, check_space, install, md5_of
from .fetch import Patience, fetch
from .origins import Origin, Wanted, find_origins, md5_beside, wanted_archives
from .resample import check_rate, resample_task
from .unpack import ContentError, StorageError

log = logging.getLogger(__name__)

GB = 1e9
WORK = ".download"  # beside the tasks: locks, logs, and archives that are on their way


@dataclass(frozen=True)
class Options:
    """The config group ``download``; conf/download.yaml says what each field does."""

    mirror: str | None
    archive: str | None
    resample: int | list[int] | None
    yes: bool
    ask_above_gb: float
    record: str
    attempts: int
    pause_s: float

    def __post_init__(self) -> None:
        if not isinstance(self.yes, bool):
            raise UserError(f"download.yes is {self.yes!r}, expected true or false")
        if (
            isinstance(self.ask_above_gb, bool)
            or not isinstance(self.ask_above_gb, int | float)
            or self.ask_above_gb != self.ask_above_gb
        ):
            raise UserError(f"download.ask_above_gb is {self.ask_above_gb!r}, expected a number of gigabytes")
        for rate in self.rates:  # now, not after hours of downloading
            check_rate(rate)

    @property
    def patience(self) -> Patience:
        """How long to go on with a busy server."""
        return Patience(self.attempts, self.pause_s)

    @property
    def rates(self) -> list[int]:
        """Sample rates to write the audio at, in hertz."""
        return self.resample if isinstance(self.resample, list) else [] if self.resample is None else [self.resample]


def run(config: dict[str, Any], folder: Path, choices: Choices) -> None:
    """Have the tasks that ``task`` or ``tasks`` names in their places, and at the rates of ``download.resample``.

    ``folder`` holds the log. What is there and whole is left alone. Raises UserError for a user's mistake; where one
    of several archives fails, after the others are done.
    """
    options, tasks = Options(**config["download"]), chosen_tasks(config)
    if options.archive and (options.mirror or config["tasks"]):
        raise UserError("download.archive=FILE is one archive: download.mirror and tasks have no effect with it")
    if not options.archive and not tasks:
        raise UserError(f"which task? task=NAME or tasks=all; the names are: {', '.join(hear_tasks())}")
    begin(folder)
    if options.archive:
        folders = [install_file(Path(options.archive), config, tasks).folder]
    else:
        folders = _generate(tasks)
        failed = _download([item for task in tasks for item in wanted_archives(task)], options, folders)
        if failed:
            raise UserError(f"{len(failed)} archives failed: {'; '.join(map(str, failed))}")
    for place in folders:
        for rate in options.rates:
            resample_task(check_place(place), rate)


def hear_tasks() -> list[str]:
    """Names of the tasks that HEAR published, as task=NAME takes them."""
    return [name for name, content in task_configs().items() if "archives" in content]


def chosen_tasks(config: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The config of each task that ``task`` or ``tasks`` names; none where neither is given."""
    names = config["tasks"]
    if not names:
        return [config["task"]] if config.get("task") else []
    if config.get("task"):
        raise UserError("give task=NAME or tasks=..., not both")
    known = hear_tasks()
    names = known if names == "all" else [names] if isinstance(names, str) else names
    tasks = []
    for name in names:
        if name not in known:
            raise UserError(f"tasks: there is no HEAR task called {name!r}; choose from: {', '.join(known)}")
        content = OmegaConf.create({"paths": config["paths"], "task": task_configs()[name]})
        resolved: Any = OmegaConf.to_container(content, resolve=True)
        tasks.append(resolved["task"])
    return tasks


def _generate(tasks: Sequence[Mapping[str, Any]]) -> list[Path]:
    """The folders of the demo tasks among ``tasks``, generated where they are missing."""
    folders = []
    for task in tasks:
        if task.get("demo"):
            log.info("%s is generated, there is nothing to download: %s", task["name"], task["path"])
            with progress(f"generating {task['name']}") as bar:
                folders.append(ensure_demo_task(task["name"], Path(task["path"]), progress=bar))
        elif not task.get("archives"):
            log.info("task=%s is a folder of your own, there is nothing to download", task["name"])
    return folders


def _download(wanted: Sequence[Wanted], options: Options, folders: list[Path]) -> list[UserError]:
    """Obtain what is missing. The places of all that is there now go into ``folders``; returns what went wrong."""
    missing = []
    for item in wanted:
        if is_there(item):
            log.info("%s is there already: %s", item.task, item.place)
            folders.append(item.place)
        else:
            missing.append(item)
    origins = find_origins(missing, options.record, options.mirror, options.patience) if missing else []
    ask(origins, options)
    failed = []
    for origin in origins:
        try:
            obtain(origin, options.patience)
            folders.append(origin.wanted.place)
        except UserError as error:
            if len(origins) == 1 or isinstance(error, StorageError):
                raise
            log.error("%s", error)
            failed.append(error)
    return failed


def is_there(wanted: Wanted) -> bool:
    """Whether the task is in its place; raises UserError for something else, or less, in that place."""
    return wanted.place.exists() and bool(check_place(wanted.place))


def ask(origins: Sequence[Origin], options: Options) -> None:
    """Say what will be downloaded, and above ``download.ask_above_gb`` go on only if told to.

    Raises UserError where the answer is no, and where nobody is there to be asked.
    """
    remote = [origin for origin in origins if origin.url]
    for origin in remote:
        size_text = human_size(origin.size) if origin.size is not None else "of unknown size"
        log.info("%s: %s, %s", origin.wanted.task, origin.url, size_text)
    size = sum(origin.size or 0 for origin in remote)
    if size <= options.ask_above_gb * GB or options.yes:
        return
    if not sys.stdin.isatty():
        raise UserError(f"{human_size(size)} to download, and nobody here to ask: add download.yes=true")
    if input(f"Download {human_size(size)}? [y/N] ").strip().lower() not in ("y", "yes"):
        raise UserError("nothing was downloaded")


def obtain(origin: Origin, patience: Patience) -> None:
    """Download, verify and install one archive, unless another process has done so meanwhile.

    What has arrived is kept, and the next call goes on from there, whatever ends this one: only an archive that is not
    what it should be is removed. Raises UserError for one that cannot be had, StorageError where the disk or the
    system fails.
    """
    wanted = origin.wanted
    with _locked(wanted.place.parent, wanted.filename) as work:
        if is_there(wanted):
            return
        part = work / f"{wanted.filename}.part"
        if origin.url:
            have = part.stat().st_size if part.exists() else 0
            needed = (origin.size or 0) * (1 + UNPACKED_PER_PACKED) - have
            check_space(work, needed, f"{wanted.task}, downloaded and unpacked,")
            with progress(f"downloading {wanted.task}", "bytes") as bar:
                fetch(origin.url, part, origin.size, patience, bar)
        try:
            archive = origin.file or part
            _verify(archive, origin)
            _install(archive, wanted.place.parent, lambda name: wanted.place)
        except ContentError as error:
            if not origin.url:
                raise
            part.unlink(missing_ok=True)
            what = str(error).replace(str(part), origin.url)
            raise UserError(f"{what}. The download was removed; the same command fetches it anew") from error
        except StorageError as error:
            if not origin.url:
                raise
            raise StorageError(f"{error}. The download is kept ({part}); the same command goes on with it") from error
        part.unlink(missing_ok=True)
    log.info("%s is ready: %s", wanted.task, wanted.place)


def install_file(archive: Path, config: Mapping[str, Any], tasks: Sequence[Mapping[str, Any]]) -> Task:
    """Install an archive on disk: as the task in ``tasks`` if there is one, else as a folder of its own name."""
    if not archive.exists():
        raise UserError(f"download.archive: file not found: {archive}")
    check_readable(archive, limit=sys.maxsize)
    wanted = [item for task in tasks for item in wanted_archives(task)]
    places = {item.archive: item.place for item in wanted}
    if len(wanted) == 1 and is_there(wanted[0]):
        log.info("%s is there already: %s", wanted[0].task, wanted[0].place)
        return check_place(wanted[0].place)
    if tasks and not places:
        raise UserError(f"download.archive has no effect with task={tasks[0]['name']}, which is not downloaded")
    beside = next(iter(places.values())).parent if places else Path(config["paths"]["tasks"])

    def place(name: str) -> Path:
        if places and name not in places:
            raise UserError(
                f"{archive} holds the task {name}, but task={tasks[0]['name']} is {' and '.join(places)}; "
                "without task=... it is installed under its own name"
            )
        return places.get(name, beside / name)

    with _locked(beside, archive.name):
        if md5 := md5_beside(archive):
            _verify(archive, Origin(Wanted(archive.name, archive.name, beside), file=archive, md5=md5))
        task = _install(archive, beside, place)
    own = "" if places else f"; task=custom task.path={task.folder} runs it"
    log.info("%s is ready: %s%s", task.name, task.folder, own)
    return task


def _verify(archive: Path, origin: Origin) -> None:
    try:
        size = archive.stat().st_size
        if origin.size is not None and size != origin.size:
            raise ContentError(f"{origin.where} has {size} bytes, expected {origin.size}")
        if origin.md5 is None:
            log.warning("%s could not be verified: no checksum is known for it", origin.where)
            return
        with progress(f"verifying {origin.wanted.task}", "bytes") as bar:
            found = md5_of(archive, lambda position: bar(position, size))
    except OSError as error:
        raise StorageError(f"cannot read {archive}: {error.strerror or error}") from error
    if found != origin.md5:
        raise ContentError(f"{origin.where} is damaged: its md5 is {found}, expected {origin.md5}")


def _install(archive: Path, beside: Path, place: Callable[[str], Path]) -> Task:
    size = archive.stat().st_size
    with progress(f"unpacking {archive.name.removesuffix('.part')}", "bytes") as bar:
        return install(archive, beside, place, lambda position: bar(position, size))


@contextmanager
def _locked(beside: Path, name: str) -> Iterator[Path]:
    """The work folder in ``beside``, while no other process works on the archive ``name``."""
    work = Path(beside) / WORK
    try:
        work.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write to {beside}: {error} (paths.tasks=FOLDER puts the tasks elsewhere)") from error
    with locked(work / f"{name}.lock", f"another process is at work on {name}; waiting for it"):
        yield work


if __name__ == "__main__":
    start(run, "download")
