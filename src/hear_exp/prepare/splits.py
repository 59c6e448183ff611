"""Train, valid and test splits, or folds, that never part a group and hold every label in like shares."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import UserError, listed

TRAIN_VALID_TEST = ("train", "valid", "test")
ALIASES = {
    "train": ("train", "training", "tr"),
    "valid": ("valid", "val", "validation", "dev", "devel", "development"),
    "test": ("test", "testing", "eval", "evaluation"),
}
_CANONICAL = {alias: name for name, aliases in ALIASES.items() for alias in aliases}
_LONE_LABEL_WEIGHT = 0.1  # a label of one group cannot be shared out: even sizes then count for more
_PASSES = 10


@dataclass(frozen=True)
class Splits:
    """The split of every clip, in the order of the clips, and how HEAR calls the way it came about."""

    mode: str  # trainvaltest | new_split_kfold | presplit_kfold
    names: tuple[str, ...]  # of the splits, in their order
    of_clip: tuple[str, ...]


def make_splits(
    labels: Sequence[Sequence[str]],
    groups: Sequence[str],
    given: Sequence[str],
    *,
    folds: int | None,
    fractions: Sequence[float],
    seed: int,
    say: Callable[[str], None],
) -> Splits:
    """Keep the ``given`` splits of the clips (all empty: none are given), or draw them.

    ``labels`` and ``groups`` have an entry a clip. ``fractions`` are those of train, valid and test; ``folds`` is
    the number of folds, None for train, valid and test. Where train and test are given without valid, valid is
    drawn from train. ``say`` gets a sentence for each thing worth knowing.

    Raises UserError for splits that are given for some clips only or cannot make a task, and for too few groups.
    """
    if not any(given):
        if folds is None:
            wanted = dict(zip(TRAIN_VALID_TEST, fractions, strict=True))
            mode = "trainvaltest"
        else:
            wanted = {f"fold{i:02d}": 1 / folds for i in range(folds)}
            mode = "new_split_kfold"
        return Splits(mode, tuple(wanted), tuple(draw_splits(labels, groups, wanted, seed)))
    if not all(given):
        raise UserError(
            f"{sum(not split for split in given)} of {len(given)} clips have no split, the others have one; give every "
            "clip one, or say where these belong with default_split=..., or draw all anew with split_column=null"
        )
    if {split.lower() for split in given} <= set(_CANONICAL):
        named = [_CANONICAL[split.lower()] for split in given]
        if missing := {"train", "test"} - set(named):
            raise UserError(
                f"the given splits are {_quoted(set(given))}, without {' and '.join(sorted(missing))}; "
                "a task has train, valid and test (valid is drawn from train where it is missing)"
            )
        if "valid" not in named:
            named = _draw_valid(labels, groups, named, fractions, seed, say)
        return Splits("trainvaltest", TRAIN_VALID_TEST, tuple(named))
    named = _fold_names(given)
    names = tuple(sorted(set(named)))
    if len(names) < 3:
        raise UserError(
            f"the given folds are {_quoted(set(given))}: {len(names)}, but k-fold needs at least 3 "
            f"(train, valid and test); splits that are no folds are called {', '.join(TRAIN_VALID_TEST)}"
        )
    return Splits("presplit_kfold", names, tuple(named))


def draw_splits(
    labels: Sequence[Sequence[str]], groups: Sequence[str], fractions: Mapping[str, float], seed: int
) -> list[str]:
    """A split for every clip, drawn: groups stay whole; labels and sizes come close to ``fractions``, which sum to 1.

    The groups go to splits one by one, large ones and those of rare labels first, each to where its labels are missing
    most in relation to what has been given out; then single groups are moved as long as that brings the splits closer
    to their shares. A label of at least as many groups as there are splits aims at a place in all of them, a rarer one
    at train and test. The order of the clips does not matter.

    Raises UserError for fewer groups than splits.
    """
    names = list(fractions)
    units = sorted(set(groups))
    if len(units) < len(names):
        raise UserError(
            f"{len(units)} groups cannot fill {len(names)} splits ({', '.join(names)}): a group never "
            f"goes to two of them ({len(groups)} clips); use fewer folds, other groups, or give the splits yourself"
        )
    amounts = _amounts(labels, groups, units)
    members = Counter(label for amount in amounts.values() for label in amount)
    totals = Counter[str]()
    for amount in amounts.values():
        totals.update(amount)
    index = {label: i for i, label in enumerate(sorted(totals))}
    aims = {label: _shares(fractions, members[label]) for label in index}
    aims[_ALL] = _sizes(labels, aims, {label for label in index if members[label] == 1 or label == _ALL}, fractions)
    shares = np.stack([aims[label] for label in index], axis=1)
    weights = np.array([(_LONE_LABEL_WEIGHT if members[label] == 1 else 1) / totals[label] for label in index])
    columns = [np.array([index[label] for label in amounts[unit]]) for unit in units]
    counts = [np.array(list(amounts[unit].values()), dtype=float) for unit in units]
    total = np.array([totals[label] for label in index], dtype=float)

    random = np.random.default_rng(seed)
    rarity = [min(totals[label] for label in amounts[unit]) for unit in units]
    order = sorted(random.permutation(len(units)), key=lambda u: (-amounts[units[u]][_ALL], rarity[u]))
    have = np.zeros_like(shares)
    seen = np.zeros(len(index))
    chosen = np.zeros(len(units), dtype=int)
    for unit in order:
        at, count = columns[unit], counts[unit]
        seen[at] += count
        missing = ((shares[:, at] * seen[at] - have[:, at]) * (count * weights[at])).sum(axis=1)
        best = np.flatnonzero(missing >= missing.max() - 1e-9)
        chosen[unit] = random.choice(best)
        have[chosen[unit], at] += count
    _refine(chosen, order, columns, counts, have - shares * total, weights)
    split_of = {unit: names[chosen[i]] for i, unit in enumerate(units)}
    return [split_of[group] for group in groups]


_ALL = ""  # stands for a label that every clip has, so that sizes are shared out as labels are


def _amounts(labels: Sequence[Sequence[str]], groups: Sequence[str], units: Sequence[str]) -> dict[str, Counter[str]]:
    """Clips of each label in each group."""
    amounts: dict[str, Counter[str]] = {unit: Counter() for unit in units}
    for of_clip, group in zip(labels, groups, strict=True):
        amounts[group].update({_ALL, *of_clip})
    # Sorted, so that sums of floats come out the same in every process.
    return {unit: Counter(dict(sorted(amount.items()))) for unit, amount in amounts.items()}


def _sizes(
    labels: Sequence[Sequence[str]], aims: Mapping[str, np.ndarray], lone: set[str], fractions: Mapping[str, float]
) -> np.ndarray:
    """The part of all clips that each split should have: what the aims of the labels come to.

    It differs from ``fractions`` where rare labels are to be in every split, and must not work against that.
    """
    plain = np.array(list(fractions.values()))
    counts = Counter(tuple(sorted(set(of_clip) - lone)) for of_clip in labels)
    sizes = sum(
        count * (np.mean([aims[label] for label in of_clip], axis=0) if of_clip else plain)
        for of_clip, count in sorted(counts.items())
    )
    return np.asarray(sizes) / len(labels)


def _shares(fractions: Mapping[str, float], members: int) -> np.ndarray:
    """The part of a label's clips that each split should have, given the number of groups that hold the label."""
    names, wanted = list(fractions), np.array(list(fractions.values()))
    if members >= len(names):
        least = 1 / members  # of an average group, so that no split goes without
        over = np.maximum(wanted - least, 0)
        below = np.maximum(least - wanted, 0).sum()
        shares: np.ndarray = np.maximum(wanted, least) - (over / over.sum() * below if below else 0)
        return shares
    if "train" not in names:
        return wanted
    # With too few groups for all, train and test come first: without them the label cannot be measured.
    places = [name for name in ("train", "test", "valid") if name in names][:members]
    return np.array([(name in places) / len(places) for name in names])


def _refine(
    chosen: np.ndarray,
    order: Sequence[int],
    columns: Sequence[np.ndarray],
    counts: Sequence[np.ndarray],
    excess: np.ndarray,
    weights: np.ndarray,
) -> None:
    """Move groups, one at a time, while that lessens the weighted squares of ``excess`` (splits, labels), in place.

    No split is left empty: one that is takes the group whose move costs least.
    """
    sizes = np.bincount(chosen, minlength=len(excess))

    def costs(unit: int) -> np.ndarray:
        at, count = columns[unit], counts[unit]
        cost: np.ndarray = ((excess[:, at] - excess[chosen[unit], at] + count) * (2 * count * weights[at])).sum(axis=1)
        cost[chosen[unit]] = 0
        return cost

    def move(unit: int, target: int) -> None:
        at, count = columns[unit], counts[unit]
        excess[chosen[unit], at] -= count
        excess[target, at] += count
        sizes[chosen[unit]] -= 1
        sizes[target] += 1
        chosen[unit] = target

    for empty in np.flatnonzero(sizes == 0):
        movable = [unit for unit in order if sizes[chosen[unit]] > 1]
        move(min(movable, key=lambda unit: float(costs(unit)[empty])), int(empty))
    for _ in range(_PASSES):
        moved = False
        for unit in order:
            cost = costs(unit)
            target = int(cost.argmin())
            if cost[target] < -1e-9 and sizes[chosen[unit]] > 1:
                move(unit, target)
                moved = True
        if not moved:
            return


def _draw_valid(
    labels: Sequence[Sequence[str]],
    groups: Sequence[str],
    named: Sequence[str],
    fractions: Sequence[float],
    seed: int,
    say: Callable[[str], None],
) -> list[str]:
    train = [i for i, name in enumerate(named) if name == "train"]
    part = fractions[1] / (fractions[0] + fractions[1])
    drawn = draw_splits(
        [labels[i] for i in train], [groups[i] for i in train], {"train": 1 - part, "valid": part}, seed
    )
    say(f"no valid split is given: {drawn.count('valid')} of the {len(train)} train clips are drawn for it")
    result = list(named)
    for i, name in zip(train, drawn, strict=True):
        result[i] = name
    return result


def _fold_names(given: Sequence[str]) -> list[str]:
    """'1' -> fold01, so that folds sort as numbers do; other names as they are, made fit for a file name."""
    if all(re.fullmatch(r"\d+", name) for name in given):
        return [f"fold{int(name):02d}" for name in given]
    clean = {name: re.sub(r"[^\w.-]+", "_", name).lstrip(".") for name in set(given)}
    if len(set(clean.values())) < len(clean) or not all(clean.values()):
        raise UserError(f"folds {_quoted(clean)}: not fit for file names; use letters, digits, _ and -")
    return [clean[name] for name in given]


def groups_in_two_splits(groups: Sequence[str], splits: Sequence[str]) -> list[str]:
    """The groups that have clips in more than one split, sorted."""
    first: dict[str, str] = {}
    return sorted(
        {group for group, split in zip(groups, splits, strict=True) if first.setdefault(group, split) != split}
    )


def _quoted(names: Iterable[str]) -> str:
    return listed([repr(name) for name in sorted(names)], first=8)
