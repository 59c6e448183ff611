"""What in a task's data may make its scores worth little, found before anything is embedded."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from ..errors import listed
from .folder import Fold, Split, Task, folds

log = logging.getLogger(__name__)

# Below ten clips each one moves an accuracy by more than ten points, and of eight to sixteen settings the luckiest
# wins. The smallest validation set among HEAR's tasks (Gunshot Triangulation) has twelve.
FEWEST_VALIDATED = 10


def data_doubts(task: Task) -> tuple[str, ...]:
    """Sentences about a task's clips and labels, each also logged as a warning; none for a task that is sound.

    A validation set of very few clips (event tasks: annotated events), and labels of the vocabulary that are
    missing where they are needed: in training, validation, test, or everywhere.
    """
    triples = folds(task)
    present = {split.name: _labels_of(split) for split in task.splits}
    doubts = (
        *_few_validated(task, triples),
        *_labels_nowhere(task, present),
        *_labels_not_trained(task, triples, present),
        *_labels_not_in_split(task, triples, present),
    )
    for doubt in doubts:
        log.warning("%s", doubt)
    return doubts


def _labels_of(split: Split) -> frozenset[str]:
    return frozenset(label for clip in split.clips for label in (*clip.labels, *(event.label for event in clip.events)))


def _few_validated(task: Task, triples: Sequence[Fold]) -> list[str]:
    event = task.embedding_type == "event"
    what = "annotated events" if event else "clips"
    sizes = {}
    for split in (task.split(fold.valid) for fold in triples):
        sizes[split.name] = sum(len(clip.events) for clip in split.clips) if event else len(split.clips)
    few = {name: size for name, size in sizes.items() if size < FEWEST_VALIDATED}
    if not few:
        return []
    name = min(few, key=few.__getitem__)
    where = "the validation set has" if len(sizes) == 1 else f"{len(few)} of {len(sizes)} validation folds have"
    return [
        f"{where} few {what} ({name}: {few[name]}), so that settings and epochs are chosen by chance; "
        f"at least {FEWEST_VALIDATED} are needed to tell them apart"
    ]


def _labels_nowhere(task: Task, present: Mapping[str, frozenset[str]]) -> list[str]:
    missing = [label for label in task.labels if not any(label in labels for labels in present.values())]
    if not missing:
        return []
    return [
        f"{_count(task, missing)} of the vocabulary occur in no clip of any split ({listed(missing)}): leave them out"
    ]


def _labels_not_trained(task: Task, triples: Sequence[Fold], present: Mapping[str, frozenset[str]]) -> list[str]:
    """Labels of test clips that no training clip has."""
    lacking = {}
    for fold in triples:
        trained = frozenset[str]().union(*(present[name] for name in fold.train))
        lacking[fold.test] = [label for label in task.labels if label in present[fold.test] - trained]
    return _told(task, lacking, "no training clip has {labels} that clips of {split} have", "they cannot be learned")


def _labels_not_in_split(task: Task, triples: Sequence[Fold], present: Mapping[str, frozenset[str]]) -> list[str]:
    """Labels of the other splits that a split for validation or test lacks."""
    somewhere = frozenset[str]().union(*present.values())
    doubts = []
    validated, tested = ([getattr(fold, part) for fold in triples] for part in ("valid", "test"))
    # Of k folds each is validated and tested once, so that one sentence covers both.
    for names, effect in (
        [(tested, "they count neither in its validation nor in its test")]
        if set(validated) == set(tested)
        else [(validated, "settings and epochs are chosen without them"), (tested, "they are not tested")]
    ):
        lacking = {name: [label for label in task.labels if label in somewhere - present[name]] for name in names}
        doubts += _told(task, lacking, "{split} lacks {labels} that other splits have", effect)
    return doubts


def _told(task: Task, lacking: Mapping[str, Sequence[str]], sentence: str, effect: str) -> list[str]:
    """One sentence about all splits that lack labels, by the example of the one that lacks most."""
    short = {name: labels for name, labels in lacking.items() if labels}
    if not short:
        return []
    worst = max(short, key=lambda name: len(short[name]))
    example = sentence.format(split=worst, labels=_count(task, short[worst]))
    others = f"; so it is with {len(short)} of {len(lacking)} folds" if len(lacking) > 1 else ""
    return [f"{example} ({listed(short[worst])}): {effect}{others}"]


def _count(task: Task, labels: Sequence[str]) -> str:
    return f"{len(labels)} of {len(task.labels)} labels"
