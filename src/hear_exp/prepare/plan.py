"""What a prepared task will hold: its clips, their splits and its metadata, settled before any audio is written."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import UserError
from ..scoring.event import Event
from .clip_audio import Cut, Header, choose_length, choose_rates, cut_recordings, read_headers
from .options import DEFAULT_SCORES, Options
from .recordings import check_events, clip_names, gather, kind_of, prediction_type_of
from .report import rare_labels
from .rows import Skips, read_rows
from .splits import Splits, groups_in_two_splits, make_splits
from .task_folder import Clip
from .times import check_times, settle_units

Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What is to be written: ``metadata`` is the task's own; ``grouped``: some clips have to share a split."""

    metadata: Mapping[str, Any]
    clips: Sequence[Clip]
    rates: Sequence[int]
    length_s: float | None
    grouped: bool


def plan_task(options: Options, name: str, skips: Skips, say: Say) -> Plan:
    """Read what the options name and settle what becomes of it; ``name`` is the task's.

    Raises UserError for what a person can mend.
    """
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
    splits, clips = _clips(cuts, _clip_events(cuts, length_s, say), kind, options, say)
    metadata = {
        "task_name": name,
        "version": options.version,
        "embedding_type": kind,
        "prediction_type": prediction_type,
        "split_mode": splits.mode,
        "splits": list(splits.names),
        **({} if splits.mode == "trainvaltest" else {"nfolds": len(splits.names)}),
        "sample_duration": length_s,
        "evaluation": list(options.evaluation or DEFAULT_SCORES[kind, prediction_type]),
    }
    grouped = any(row.group for row in rows) or any(not cut.whole for cut in cuts)
    return Plan(metadata, clips, rates, length_s, grouped)


def _clip_events(cuts: Sequence[Cut], length_s: float | None, say: Say) -> list[tuple[Event, ...]]:
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
