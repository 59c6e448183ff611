from collections import Counter

import numpy as np
import pytest

from hear_exp.errors import UserError
from hear_exp.prepare.splits import draw_splits, groups_in_two_splits, make_splits

TVT = {"train": 0.7, "valid": 0.15, "test": 0.15}
FIVE = {f"fold{i:02d}": 0.2 for i in range(5)}


def made(labels, groups=None, given=None, said=None, **options):
    groups = groups or [f"g{i:04d}" for i in range(len(labels))]
    options = {"folds": None, "fractions": (0.7, 0.15, 0.15), "seed": 42, **options}
    say = [].append if said is None else said.append
    return make_splits([(label,) for label in labels], groups, given or [""] * len(labels), **options, say=say)


def counts(labels, splits):
    """Clips of each label in each split."""
    return Counter(zip(labels, splits, strict=True))


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("wanted", [TVT, FIVE], ids=["train-valid-test", "folds"])
def test_random_tables_no_group_is_parted_and_no_split_is_empty(seed, wanted):
    random = np.random.default_rng(seed)
    clips = int(random.integers(5, 300))
    groups = [f"speaker{random.integers(0, max(6, clips // 4))}" for _ in range(clips)]
    groups[:5] = [f"extra{i}" for i in range(5)]  # enough of them
    names = [f"label{i}" for i in range(int(random.integers(1, 8)))]
    labels = [tuple(random.choice(names, size=random.integers(0, 3))) for _ in range(clips)]
    splits = draw_splits(labels, groups, wanted, seed)
    assert groups_in_two_splits(groups, splits) == []
    assert set(splits) == set(wanted)
    assert splits == draw_splits(labels, groups, wanted, seed)
    order = random.permutation(clips)
    again = draw_splits([labels[i] for i in order], [groups[i] for i in order], wanted, seed)
    assert again == [splits[i] for i in order]  # the order of a table's rows decides nothing


@pytest.mark.parametrize("wanted", [TVT, FIVE], ids=["train-valid-test", "folds"])
def test_labels_are_shared_out_to_within_a_clip(wanted):
    labels = [name for name, size in (("a", 100), ("b", 37), ("c", 20), ("d", 7)) for _ in range(size)]
    splits = draw_splits([(label,) for label in labels], [str(i) for i in range(len(labels))], wanted, 1)
    found = counts(labels, splits)
    for label, total in Counter(labels).items():
        for split, fraction in wanted.items():
            assert abs(found[label, split] - fraction * total) <= 1, (label, split)
    for split, fraction in wanted.items():
        assert abs(splits.count(split) - fraction * len(labels)) <= 3


def test_speakers_of_different_size_come_close_to_the_fractions():
    random = np.random.default_rng(3)
    groups = [f"s{speaker}" for speaker in range(40) for _ in range(int(random.integers(5, 40)))]
    labels = [str(random.choice(["anger", "joy", "fear"], p=[0.6, 0.3, 0.1])) for _ in groups]
    splits = draw_splits([(label,) for label in labels], groups, TVT, 0)
    found = counts(labels, splits)
    for label, total in Counter(labels).items():
        for split, fraction in TVT.items():
            assert found[label, split] / total == pytest.approx(fraction, abs=0.05)


def test_many_labels_a_clip_come_close_to_the_fractions():
    random = np.random.default_rng(5)
    names, odds = [f"tag{i}" for i in range(10)], np.linspace(0.02, 0.6, 10)
    labels = [tuple(n for n, p in zip(names, odds, strict=True) if random.random() < p) for _ in range(600)]
    splits = draw_splits(labels, [str(i) for i in range(600)], TVT, 0)
    for name in names:
        total = sum(name in of_clip for of_clip in labels)
        for split, fraction in TVT.items():
            found = sum(name in of_clip for of_clip, s in zip(labels, splits, strict=True) if s == split)
            assert abs(found - fraction * total) <= max(2, 0.05 * total), (name, split)


@pytest.mark.parametrize(("clips", "places"), [(2, {"train", "test"}), (3, set(TVT)), (4, set(TVT))])
def test_a_rare_label_goes_to_train_and_test_first(clips, places):
    labels = ["common"] * 40 + ["rare"] * clips
    splits = draw_splits([(label,) for label in labels], [str(i) for i in range(len(labels))], TVT, 0)
    assert {split for label, split in zip(labels, splits, strict=True) if label == "rare"} == places


def test_a_label_of_six_small_classes_is_in_test():
    # A subset of CREMA-D, in which sizes alone once drew all six clips of FEA away from test.
    sizes = {"FEA": 6, "HAP": 4, "ANG": 3, "NEU": 3, "DIS": 2, "SAD": 2}
    labels = [label for label, size in sizes.items() for _ in range(size)]
    for seed in range(5):
        splits = draw_splits([(label,) for label in labels], [str(i) for i in range(20)], TVT, seed)
        assert {label for label, split in zip(labels, splits, strict=True) if split == "test"} == set(sizes)


def test_another_seed_is_another_draw():
    labels = ["a", "b"] * 30
    assert made(labels, seed=1).of_clip == made(labels, seed=1).of_clip != made(labels, seed=2).of_clip


def test_names_and_modes():
    labels = ["a", "b"] * 10
    assert (made(labels).mode, made(labels).names) == ("trainvaltest", ("train", "valid", "test"))
    folds = made(labels, folds=4)
    assert (folds.mode, folds.names) == ("new_split_kfold", ("fold00", "fold01", "fold02", "fold03"))
    assert sorted(Counter(folds.of_clip).values()) == [5, 5, 5, 5]


def test_given_splits_are_kept_under_their_usual_names():
    given = ["training", "Train", "val", "dev", "eval", "test"]
    splits = made(["a"] * 6, given=given)
    assert splits.mode == "trainvaltest"
    assert splits.of_clip == ("train", "train", "valid", "valid", "test", "test")


def test_given_folds_are_kept():
    splits = made(["a"] * 4, given=["1", "2", "10", "1"])
    assert (splits.mode, splits.names) == ("presplit_kfold", ("fold01", "fold02", "fold10"))
    assert splits.of_clip == ("fold01", "fold02", "fold10", "fold01")
    assert made(["a"] * 3, given=["north", "south east", "west"]).names == ("north", "south_east", "west")


def test_valid_is_drawn_from_a_given_train():
    said = []
    groups = [f"g{i // 2}" for i in range(40)]
    given = ["train"] * 34 + ["test"] * 6
    splits = made(["a", "b"] * 20, groups, given, said)
    assert splits.of_clip[34:] == ("test",) * 6
    assert Counter(splits.of_clip)["valid"] == 6  # 0.15 of 0.85 of 34 clips, in pairs
    assert groups_in_two_splits(groups, splits.of_clip) == []
    assert said == ["no valid split is given: 6 of the 34 train clips are drawn for it"]


@pytest.mark.parametrize(
    ("given", "options", "message"),
    [
        (["train", "", "test"], {}, "1 of 3 clips have no split.*default_split"),
        (["train", "train", "valid"], {}, "the given splits are 'train', 'valid', without test"),
        (["1", "2", "2"], {}, "the given folds are '1', '2': 2, but k-fold needs at least 3"),
        (["a/b", "a:b", "c"], {}, "not fit for file names"),
        (["", "", ""], {"folds": 4}, "3 groups cannot fill 4 splits .fold00.*use fewer folds"),
    ],
)
def test_errors_say_what_to_do(given, options, message):
    with pytest.raises(UserError, match=message):
        made(["a"] * 3, given=given, **options)


def test_too_few_groups_for_train_valid_and_test():
    with pytest.raises(UserError, match=r"2 groups cannot fill 3 splits \(train, valid, test\)"):
        made(["a"] * 8, groups=["x", "y"] * 4)
