"""A picture of reference and predicted events along time, for a few test clips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..scoring.scores import SCORES
from .figures import GREEN, INK, ORANGE, PALE, label_text, new_figure, tidy, title

if TYPE_CHECKING:
    from ..prediction.problem import Problem
    from ..prediction.search import SearchOutcome
    from ..results.result import Result
    from ..scoring.event import Event

SEGMENT_COLLAR_MS = 200.0  # what a picture matches onsets within where the score itself looks at segments
EVENTS_SHOWN = 120  # of a clip; a busier one is cut
ROWS_SHOWN = 40  # of all clips together; where they have more, one clip is shown


def onset_collar(metric: str) -> tuple[float, str]:
    """Within how many milliseconds a picture matches onsets, as the score ``metric`` does, and what it leaves out."""
    rules = SCORES[metric].settings if metric in SCORES else {}
    if "t_collar" not in rules:
        seconds = rules.get("time_resolution")
        return SEGMENT_COLLAR_MS, f"{metric} itself compares segments of {seconds:g} s" if seconds else ""
    collar_ms = 1000 * rules["t_collar"]
    if not rules.get("evaluate_offset"):
        return collar_ms, ""
    share = rules["percentage_of_length"]
    return collar_ms, f"{metric} also asks for ends within {collar_ms:g} ms or {100 * share:g} % of the length"


def matched_onsets(
    reference: Sequence[Event], predicted: Sequence[Event], collar_ms: float
) -> tuple[set[int], set[int]]:
    """Indices of reference and predicted events that match one to one: same label, onsets within the collar.

    Both are walked in order of onset; with one collar for all, that finds as many pairs as there can be.
    """
    found: set[int] = set()
    correct: set[int] = set()
    for label in {event.label for event in reference}:
        theirs = sorted((e.start_ms, i) for i, e in enumerate(reference) if e.label == label)
        ours = sorted((e.start_ms, i) for i, e in enumerate(predicted) if e.label == label)
        r = p = 0
        while r < len(theirs) and p < len(ours):
            apart = ours[p][0] - theirs[r][0]
            if abs(apart) <= collar_ms:
                found.add(theirs[r][1])
                correct.add(ours[p][1])
            r += apart >= -collar_ms
            p += apart <= collar_ms
    return found, correct


def _f_measure(reference: Sequence[Event], predicted: Sequence[Event], collar_ms: float) -> float:
    events = len(reference) + len(predicted)
    return 2 * len(matched_onsets(reference, predicted, collar_ms)[0]) / events if events else 0.0


def event_rolls(problem: Problem, outcome: SearchOutcome, result: Result) -> Any:
    """Reference above predicted events of the first fold's best, median and worst test clip."""
    tested = outcome.folds[0].tested
    assert tested is not None
    reference = problem.reference(tested.split)
    collar_ms, left_out = onset_collar(result.primary_metric)
    scores = {
        clip: _f_measure(reference[clip], tested.events[clip], collar_ms)
        for clip in reference
        if reference[clip] or tested.events[clip]
    }
    if not scores:
        return None
    rolls = {
        clip: _Roll(
            reference[clip], tested.events[clip], problem.task.labels, problem.task.sample_duration_s, collar_ms
        )
        for clip in _chosen(scores)
    }
    if sum(len(roll.labels) for roll in rolls.values()) > ROWS_SHOWN:
        middle = list(rolls)[len(rolls) // 2]
        rolls = {middle: rolls[middle]}
    rows = [len(roll.labels) for roll in rolls.values()]
    heights = [0.7 + (0.3 if sum(rows) <= 24 else 0.2) * n for n in rows]
    figure = new_figure(9, 1.0 + sum(heights), title(result, "reference and predicted events"))
    panels = figure.subplots(len(rolls), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axes, (clip, roll) in zip(panels, rolls.items(), strict=True):
        roll.draw(axes)
        rank = _chosen(scores)[clip]
        of = f"{rank} of {len(scores)} test clips" if rank else "the only test clip with events"
        cut = f", first {roll.end_ms / 1000:.1f} s" if roll.is_cut else ""
        tidy(axes, f"{label_text(clip)} ({of}, onset F-measure {scores[clip]:.2f} within {collar_ms:g} ms{cut})")
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
    panels[-1].set_xlabel("seconds" + (f"\n{left_out}" if left_out else ""), fontsize=9, parse_math=False)
    _event_legend(figure, collar_ms)
    return figure


def _chosen(scores: Mapping[str, float]) -> dict[str, str]:
    """The best, the median and the worst clip, and which is which; fewer where there are fewer clips."""
    ranked = sorted(scores, key=lambda clip: -scores[clip])
    if len(ranked) == 1:
        return {ranked[0]: ""}
    middle = {ranked[len(ranked) // 2]: "median"} if len(ranked) > 2 else {}
    return {ranked[0]: "best", **middle, ranked[-1]: "worst"}


def _event_legend(figure: Any, collar_ms: float) -> None:
    from matplotlib.patches import Patch

    keys = [
        Patch(facecolor=INK, edgecolor=INK, label="reference, found"),
        Patch(facecolor="white", edgecolor=INK, label="reference, missed"),
        Patch(facecolor=GREEN, edgecolor=GREEN, label=f"predicted, onset within {collar_ms:g} ms"),
        Patch(facecolor=ORANGE, edgecolor=ORANGE, label="predicted, wrong"),
    ]
    figure.legend(handles=keys, loc="outside lower center", ncols=4, frameon=False, fontsize=8, labelcolor=INK)


class _Roll:
    """One clip's events as two rows of bars for each label that has any; a busy clip is cut at ``end_ms``."""

    def __init__(
        self,
        reference: Sequence[Event],
        predicted: Sequence[Event],
        labels: Sequence[str],
        duration_s: float | None,
        collar_ms: float,
    ):
        self._collar_ms = collar_ms
        self._reference, self._predicted = reference, predicted
        events = (*reference, *predicted)
        starts = sorted(event.start_ms for event in events)
        self.is_cut = len(starts) > EVENTS_SHOWN
        whole = max(*(event.end_ms for event in events), 1000 * (duration_s or 0), 1.0)
        self.end_ms = max(starts[EVENTS_SHOWN], 1.0) if self.is_cut else whole
        drawn = {event.label for event in events if event.start_ms <= self.end_ms}
        self.labels = [label for label in labels if label in drawn]

    def draw(self, axes: Any) -> None:
        """Draw reference events in the upper half of their label's row, predicted ones in the lower."""
        found, correct = matched_onsets(self._reference, self._predicted, self._collar_ms)
        for row in range(0, len(self.labels), 2):
            axes.axhspan(row - 0.5, row + 0.5, color=PALE, alpha=0.5, linewidth=0)
        for i, event in enumerate(self._reference):
            self._bar(axes, event, -0.4, *((INK, "white") if i in found else ("none", INK)))
        for i, event in enumerate(self._predicted):
            self._bar(axes, event, 0.04, GREEN if i in correct else ORANGE, "white")
        axes.set_yticks(range(len(self.labels)), [label_text(label) for label in self.labels], parse_math=False)
        axes.set_ylim(len(self.labels) - 0.5, -0.5)
        axes.set_xlim(0, self.end_ms / 1000 * 1.005)

    def _bar(self, axes: Any, event: Event, offset: float, face: str, edge: str) -> None:
        if event.start_ms > self.end_ms:
            return
        shortest = 0.004 * self.end_ms / 1000  # an event of one frame may have length 0
        seconds = max((event.end_ms - event.start_ms) / 1000, shortest)
        row = self.labels.index(event.label) + offset
        axes.broken_barh([(event.start_ms / 1000, seconds)], (row, 0.36), facecolor=face, edgecolor=edge, linewidth=0.7)
