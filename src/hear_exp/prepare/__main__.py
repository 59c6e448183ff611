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
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..cli.choices import Choices
from ..cli.edge import start
from ..errors import UserError
from ..files import write_json
from ..progress import console
from ..scoring.event import Event
from ..tasks.audio import scan_clips
from ..tasks.folder import read_task
from .clip_audio import Cut, Header, Written, choose_length, choose_rates, cut_recordings, read_headers
from .options import DEFAULT_SCORES, Options, hydra_arguments, options_from_config
from .recordings import check_events, clip_names, gather, kind_of, prediction_type_of
from .report import SplitReport, rare_labels, show_report, split_reports
from .rows import Skips, read_rows
from .splits import Splits, groups_in_two_splits, make_splits
from .task_folder import Clip, appearing, write_annotations, write_audio
from .times import check_times, settle_units

log = logging.getLogger(__name__)
Say = Callable[[str], None]


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
    rows = read_rows(options, skips, say)
    headers = read_headers(row.path for row in rows)
    seconds_of = {path: header.seconds for path, header in headers.items() if isinstance(header, Header)}
    rows = settle_units(rows, seconds_of, say)
    kind = kind_of(rows, options)
    if kind == "event":
        check_events(rows)
    rows = check_times(rows, seconds_of, kind, options, skips)
    recordings = gather(rows, kind, say)
    prediction_type = prediction_type_of(recordings, kind, options.prediction_type)
    cuts = cut_recordings(recordings, headers, skips, say)
    length_s = choose_length(cuts, options.length, say)
    rates = choose_rates(cuts, options.rates, say)
    events = clip_events(cuts, length_s, say)
    splits, clips = _clips(cuts, events, kind, options, say)
    metadata = {
        "task_name": options.name or target.resolve().name,
        "version": options.version,
        "embedding_type": kind,
        "prediction_type": prediction_type,
        "split_mode": splits.mode,
        "splits": list(splits.names),
        **({} if splits.mode == "trainvaltest" else {"nfolds": len(splits.names)}),
        "sample_duration": length_s,
        "evaluation": list(options.evaluation or DEFAULT_SCORES[kind, prediction_type]),
    }
    with appearing(target, options.overwrite) as building:
        write_annotations(building, metadata, clips)
        read_task(building, needs_audio=False)  # finds a mistake before hours of audio are written
        clips, written = write_audio(building, clips, rates, length_s, options.peaks == "scale", skips)
        write_annotations(building, metadata, clips)
        _say_what_came_out(clips, written, options, say)
        grouped = any(row.group for row in rows) or any(not cut.whole for cut in cuts)
        reports = split_reports(
            splits.names,
            [clip.split for clip in clips],
            [one.seconds for one in written],
            [_counted_labels(clip) for clip in clips],
            [clip.cut.recording.group for clip in clips] if grouped else None,
        )
        report = metadata | {"sample_rates": list(rates)}
        content = report | {
            "per_split": {name: dataclasses.asdict(split) for name, split in reports.items()},
            "notes": notes,
            "options": dataclasses.asdict(options),
        }
        write_json(building / "report.json", content)
        task = read_task(building)
        for rate in rates:
            scan_clips(task, [(split.name, split.clips) for split in task.splits], rate)
    show_report(report, reports, "events" if kind == "event" else "clips", console)
    console.print(f"written: {target}", soft_wrap=True, highlight=False, markup=False)
    console.print(
        f"try it:  python -m hear_exp task=custom task.path={target}", soft_wrap=True, highlight=False, markup=False
    )
    return reports


def clip_events(cuts: Sequence[Cut], length_s: float | None, say: Say) -> list[tuple[Event, ...]]:
    """The events of each cut that its clip holds, cut off at the clip's end."""
    total = sum(len(cut.recording.events) for cut in cuts)
    kept, lost, shortened = [], [], 0
    for cut in cuts:
        own_ms = cut.seconds * 1000
        end_ms = own_ms if length_s is None else min(own_ms, length_s * 1000)
        inside = []
        for event in cut.recording.events:
            if event.start_ms >= end_ms:
                lost.append(f"{event.label} at {event.start_ms:g} ms in {cut.recording.path} of {own_ms:g} ms")
            else:
                shortened += event.end_ms > end_ms
                inside.append(dataclasses.replace(event, end_ms=min(event.end_ms, end_ms)))
        kept.append(tuple(inside))
    if lost:
        say(
            f"{len(lost)} of {total} events lie after their clip's end and are left out (the first: {lost[0]}); "
            "length=max or length=keep keeps them"
        )
    if shortened:
        say(f"{shortened} of {total} events end after their clip does; cut off there")
    return kept


def _clips(
    cuts: Sequence[Cut], events: Sequence[tuple[Event, ...]], kind: str, options: Options, say: Say
) -> tuple[Splits, list[Clip]]:
    if kind == "event":
        labels = [tuple(sorted({event.label for event in of_clip})) for of_clip in events]
    else:
        labels = [cut.recording.labels for cut in cuts]
    if not any(labels):
        raise UserError(
            f"no {'event' if kind == 'event' else 'label'} is left in {len(cuts)} clips; nothing to predict"
        )
    groups = [cut.recording.group for cut in cuts]
    given = [cut.recording.split for cut in cuts]
    idle = [name for name in ("folds", "fractions", "seed") if options.changed(name)]
    # Where only train and test are given, valid is drawn, and seed and fractions do take effect.
    if any(given) and idle and ("folds" in idle or len(set(given)) > 2):
        raise UserError(f"{', '.join(idle)}: no effect, splits are given (split_column=null draws them anew)")
    splits = make_splits(
        labels, groups, given, folds=options.folds, fractions=options.fractions, seed=options.seed, say=say
    )
    if parted := groups_in_two_splits(groups, splits.of_clip):
        say(
            f"WARNING: {len(parted)} groups have clips in two of the given splits (the first: {parted[0]}): "
            "what the predictor learns by heart there lifts the test score"
        )
    if rare := rare_labels(labels, groups, len(splits.names)):
        few = ", ".join(rare[:6]) + (", ..." if len(rare) > 6 else "")
        say(f"{len(rare)} labels come in fewer groups (or clips) than there are splits, some split lacks them: {few}")
    names = clip_names([cut.recording for cut in cuts])
    clips = [Clip(*parts) for parts in zip(cuts, names, splits.of_clip, labels, events, strict=True)]
    return splits, clips


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
