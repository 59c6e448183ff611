"""``python -m hear_exp.prepare out=FOLDER table=FILE.csv`` (or ``folder=DIR``): one's own recordings in HEAR's layout.

The task folder appears whole or not at all, and `python -m hear_exp task=custom task.path=FOLDER` runs on it.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports that take their time
    from ..interrupts import answer_signals

    answer_signals("nothing is left behind")

import dataclasses
import logging
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..cli.choices import Choices
from ..cli.edge import start
from ..errors import UserError
from ..files import write_json
from ..progress import console
from ..tasks.audio import scan_clips
from ..tasks.folder import read_task
from .clip_audio import Written
from .options import Options, hydra_arguments, options_from_config
from .plan import Say, plan_task
from .report import SplitReport, show_report, split_reports
from .rows import Skips
from .task_folder import Clip, appearing, write_annotations, write_audio

log = logging.getLogger(__name__)


def run(config: dict[str, Any], folder: Path, choices: Choices) -> None:
    """Prepare the task that the config describes. Raises UserError for a user's mistake."""
    with suppress(OSError):
        folder.rmdir()  # Hydra has made it; there is nothing to keep
    try:
        prepare(options_from_config(config))
    except KeyboardInterrupt:
        print("hear_exp: interrupted; nothing is left behind", file=sys.stderr)
        raise SystemExit(130) from None


def prepare(options: Options) -> dict[str, SplitReport]:
    """Write the task folder ``options.out`` and print a report; the same is in its report.json.

    Raises UserError, before the audio is touched wherever that is possible, for what a person can mend.
    """
    notes: list[str] = []

    def say(text: str) -> None:
        notes.append(text)
        log.info("%s", text)

    target = _checked_target(options)
    skips = Skips(options.on_error == "skip", say)
    plan = plan_task(options, options.name or target.resolve().name, skips, say)
    with appearing(target, options.overwrite) as building:
        write_annotations(building, plan.metadata, plan.clips)
        read_task(building, needs_audio=False)  # finds a mistake before hours of audio are written
        clips, written = write_audio(building, plan.clips, plan.rates, plan.length_s, options.peaks == "scale", skips)
        write_annotations(building, plan.metadata, clips)
        _say_what_came_out(clips, written, options, say)
        reports = split_reports(
            plan.metadata["splits"],
            [clip.split for clip in clips],
            [one.seconds for one in written],
            [_counted_labels(clip) for clip in clips],
            [clip.cut.recording.group for clip in clips] if plan.grouped else None,
        )
        report = {**plan.metadata, "sample_rates": list(plan.rates)}
        content = report | {
            "per_split": {name: dataclasses.asdict(split) for name, split in reports.items()},
            "notes": notes,
            "options": dataclasses.asdict(options),
        }
        write_json(building / "report.json", content)
        task = read_task(building)
        for rate in plan.rates:
            scan_clips(task, [(split.name, split.clips) for split in task.splits], rate)
    show_report(report, reports, "events" if plan.metadata["embedding_type"] == "event" else "clips", console)
    for line in (f"written: {target}", f"try it:  python -m hear_exp task=custom task.path={target}"):
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    return reports


def _checked_target(options: Options) -> Path:
    target = Path(options.out)
    if target.is_symlink() and target.is_dir():
        target = target.resolve()  # a link stays, what it points to is replaced
    if target.exists() or target.is_symlink():
        if not options.overwrite:
            raise UserError(f"{target} is there already; choose another folder, or replace it with overwrite=true")
        if not (target / "task_metadata.json").is_file():
            raise UserError(
                f"{target} is not a task folder (no task_metadata.json), so it is not overwritten; remove it"
            )
    resolved = target.resolve()
    for name in filter(None, (options.folder, *options.table, *options.audio_root)):
        source = Path(name).resolve()
        if resolved == source or resolved in source.parents or (name == options.folder and source in resolved.parents):
            raise UserError(f"out={target} and {name} lie in one another; write the task beside the recordings")
    return target


def _counted_labels(clip: Clip) -> tuple[str, ...]:
    return tuple(event.label for event in clip.events) or clip.labels


def _say_what_came_out(clips: Sequence[Clip], written: Sequence[Written], options: Options, say: Say) -> None:
    over = [(one.peak, clip) for clip, one in zip(clips, written, strict=True) if one.peak > 1]
    if over:
        peak, clip = max(over, key=lambda pair: pair[0])
        done = (
            "scaled down to fit" if options.peaks == "scale" else "clipped (peaks=scale would make such clips softer)"
        )
        say(f"{len(over)} clips are louder than 16 bits hold, at most {peak:.3g} times ({clip.name}); {done}")
    if silent := [clip.name for clip, one in zip(clips, written, strict=True) if one.peak == 0]:
        say(f"{len(silent)} clips are silent (the first: {silent[0]})")
    first: dict[bytes, Clip] = {}
    twins = [
        (first[one.digest], clip)
        for clip, one in zip(clips, written, strict=True)
        if one.peak > 0 and first.setdefault(one.digest, clip) is not clip
    ]
    if across := [(a, b) for a, b in twins if a.split != b.split]:
        a, b = across[0]
        say(
            f"WARNING: {len(across)} clips sound exactly like one of another split (the first: {b.split}/{b.name} like "
            f"{a.split}/{a.name}); give both the same group, or leave one out"
        )


if __name__ == "__main__":
    try:
        sys.argv[1:] = hydra_arguments(sys.argv[1:])
    except UserError as mistake:
        sys.exit(f"hear_exp: {mistake}")
    start(run, "prepare")
