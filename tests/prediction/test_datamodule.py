"""Batches of cached embeddings: which rows, in which order, from memory as from disk."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hear_exp.embeddings.cache import ClipRows, Embeddings
from hear_exp.errors import UserError
from hear_exp.prediction import datamodule
from hear_exp.prediction.datamodule import Batches, EmbeddingDataModule, Rows, available_memory, fits_in_memory
from hear_exp.tasks.folder import Fold

DIM = 3
FOLD = Fold(("train",), "valid", "test")


def embeddings_of(folder: Path, **splits: int) -> tuple[Embeddings, np.ndarray]:
    """Splits of so many rows; row i of the file is (i, i, i) and its target (i's lowest bits)."""
    rows = sum(splits.values())
    content = np.repeat(np.arange(rows, dtype="<f4")[:, np.newaxis], DIM, axis=1)
    content.tofile(folder / "embeddings.f32")
    starts = itertools.accumulate(splits.values(), initial=0)
    clips = {
        name: (ClipRows("clip", start, count),) for (name, count), start in zip(splits.items(), starts, strict=False)
    }
    targets = (np.arange(rows)[:, np.newaxis] >> np.arange(4) & 1).astype(np.uint8)
    return Embeddings(folder, "key", DIM, rows, clips, has_timestamps=False), targets


@pytest.fixture
def data(tmp_path):
    """A function that makes a module of 10 training, 5 validation and 6 test rows."""
    embeddings, targets = embeddings_of(tmp_path, train=10, valid=5, test=6)

    def make(**options) -> EmbeddingDataModule:
        defaults = {"batch_size": 4, "shuffle": False, "seed": 0, "in_memory": True}
        return EmbeddingDataModule(embeddings, targets, FOLD, **{**defaults, **options})

    return make


def rows_of(batches: Batches) -> list[list[int]]:
    """The row numbers of each batch of an epoch; checks that embeddings and targets belong together."""
    found = []
    for x, y in batches:
        assert x.dtype == torch.float32
        assert y.dtype == torch.uint8
        rows = x[:, 0].int()
        assert torch.equal(x, rows[:, None].expand(-1, DIM).float())
        assert torch.equal(y.int(), rows[:, None] >> torch.arange(4) & 1)
        found.append(rows.tolist())
    return found


def flat(epoch: list[list[int]]) -> list[int]:
    return [row for batch in epoch for row in batch]


# Every row, once -----------------------------------------------------------------------------------------


@settings(derandomize=True, max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(1, 23)), min_size=1, max_size=3),
    st.integers(1, 30),
    st.booleans(),
    st.booleans(),
    st.integers(1, 7),
    st.integers(1, 3),
)
@example([(0, 9)], 4, True, True, 2, 2)  # a last batch of one row
@example([(0, 1)], 4, False, True, 1, 1)  # a single row
@example([(3, 8), (0, 8)], 16, True, False, 3, 1)  # one batch for all
def test_every_row_comes_once_an_epoch(gaps, batch_size, shuffle, join_single, block_rows, window_blocks):
    """Whatever the sizes of splits, batches, blocks and windows; and from memory as from disk."""
    ranges, start = [], 0
    for gap, count in gaps:
        ranges.append(range(start + gap, start + gap + count))
        start = ranges[-1].stop
    x = np.repeat(np.arange(start, dtype=np.float32)[:, np.newaxis], DIM, axis=1)
    y = (np.arange(start)[:, np.newaxis] >> np.arange(4) & 1).astype(np.uint8)
    rows = Rows(tuple(ranges), batch_size, shuffle, seed=3, join_single=join_single)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datamodule, "BLOCK_BYTES", block_rows * DIM * 4)
        patch.setattr(datamodule, "WINDOW_BLOCKS", window_blocks)
        memory, disk = (Batches(x, y, rows, in_memory) for in_memory in (True, False))
        for _ in range(2):
            epoch = rows_of(memory)
            assert epoch == rows_of(disk)
            assert sorted(flat(epoch)) == [row for r in ranges for row in r]
            assert [len(batch) for batch in epoch] == rows.batch_sizes()
            assert len(epoch) == len(memory)
            assert all(len(batch) <= batch_size + join_single for batch in epoch)
            assert not join_single or len(rows) == 1 or batch_size == 1 or min(map(len, epoch)) > 1


# Order ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("in_memory", [True, False])
def test_not_shuffled_is_the_order_of_the_file(data, in_memory):
    module = data(in_memory=in_memory)
    train, valid, test = module.train_dataloader(), module.val_dataloader(), module.test_dataloader()
    for _ in range(2):  # every epoch
        assert rows_of(train) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert rows_of(valid) == [[10, 11, 12, 13], [14]]
    assert rows_of(test) == [[15, 16, 17, 18], [19, 20]]
    assert (len(train), len(valid), len(test)) == (3, 2, 2)


def test_not_shuffled_is_sliced_and_not_copied(data):
    module = data()
    batches = module.train_dataloader()
    whole = batches._tensors[0]
    assert [x.untyped_storage().data_ptr() for x, _ in batches] == [whole.untyped_storage().data_ptr()] * 3


@pytest.mark.parametrize("in_memory", [True, False])
def test_shuffled_is_another_permutation_each_epoch(data, in_memory):
    batches = data(in_memory=in_memory, shuffle=True).train_dataloader()
    epochs = [flat(rows_of(batches)) for _ in range(4)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4
    assert tuple(range(10)) not in {tuple(epoch) for epoch in epochs}


def test_only_training_rows_are_shuffled(data):
    module = data(shuffle=True)
    assert flat(rows_of(module.val_dataloader())) == list(range(10, 15))
    assert flat(rows_of(module.test_dataloader())) == list(range(15, 21))


def test_the_seed_decides(data):
    first, again, other = (data(shuffle=True, seed=seed).train_dataloader() for seed in (1, 1, 2))
    for _ in range(3):
        epoch = rows_of(first)
        assert epoch == rows_of(again)
        assert epoch != rows_of(other)


def test_a_full_shuffle_where_the_split_fits_into_a_window(data):
    """Each row comes first about as often as any other."""
    batches = data(shuffle=True, batch_size=10).train_dataloader()
    first = np.bincount([flat(rows_of(batches))[0] for _ in range(2000)], minlength=10)
    assert first.min() > 140  # 200 expected, standard deviation 13
    assert first.max() < 260


def test_rows_of_a_window_are_mixed_with_one_another(monkeypatch):
    """Reads are whole blocks; a window's batches hold rows of several of its blocks."""
    monkeypatch.setattr(datamodule, "BLOCK_BYTES", 100)
    monkeypatch.setattr(datamodule, "WINDOW_BLOCKS", 4)
    rows = Rows((range(0, 1000),), batch_size=40, shuffle=True)
    seen = []
    for ranges, order in rows.windows(epoch=0, row_bytes=10):
        assert [len(r) for r in ranges] == [10] * 4
        assert sorted(order) == list(range(40))
        assert list(order) != list(range(40))
        seen += [r.start for r in ranges]
    assert sorted(seen) == list(range(0, 1000, 10))
    assert seen != sorted(seen)


# Every row once ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(12))
def test_every_row_once_and_from_disk_as_from_memory(tmp_path, monkeypatch, seed):
    """Random splits, blocks, windows and batches; among them batches larger than a window, and single rows."""
    random = np.random.default_rng(seed)
    for _ in range(6):
        sizes = dict(zip("abcd", random.integers(1, 60, 4).tolist(), strict=True))
        embeddings, targets = embeddings_of(tmp_path, **sizes)
        monkeypatch.setattr(datamodule, "BLOCK_BYTES", int(random.integers(1, 30)) * DIM * 4)
        monkeypatch.setattr(datamodule, "WINDOW_BLOCKS", int(random.integers(1, 5)))
        fold = Fold(("a", "c", "d") if random.integers(2) else ("c", "a"), "b", "d")
        batch_size, shuffle = int(random.integers(2, 40)), bool(random.integers(2))
        options = {"batch_size": batch_size, "shuffle": shuffle, "seed": seed, "needs_two_rows": False}
        memory, disk = (
            EmbeddingDataModule(embeddings, targets, fold, in_memory=in_memory, **options)
            for in_memory in (True, False)
        )
        expected = [row for split in fold.train for row in embeddings.split_range(split)]
        ours, theirs = memory.train_dataloader(), disk.train_dataloader()
        for _ in range(2):
            epoch = rows_of(ours)
            assert epoch == rows_of(theirs)
            assert sorted(flat(epoch)) == sorted(expected)
            assert shuffle or flat(epoch) == expected
            assert [len(batch) for batch in epoch[:-1]] == [batch_size] * (len(epoch) - 1)
            assert 1 <= len(epoch[-1]) <= batch_size
            assert len(ours) == len(epoch)


def test_batches_go_on_from_one_training_split_to_the_next(tmp_path):
    embeddings, targets = embeddings_of(tmp_path, a=3, b=2, c=4)
    module = EmbeddingDataModule(
        embeddings, targets, Fold(("a", "c"), "b", "b"), batch_size=4, shuffle=False, seed=0, in_memory=True
    )
    assert rows_of(module.train_dataloader()) == [[0, 1, 2, 5], [6, 7, 8]]


# A last batch of one row ------------------------------------------------------------------------------------


@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.parametrize("shuffle", [True, False])
def test_a_single_last_row_joins_the_batch_before(data, in_memory, shuffle):
    batches = data(batch_size=3, in_memory=in_memory, shuffle=shuffle).train_dataloader()
    epoch = rows_of(batches)
    assert [len(batch) for batch in epoch] == [3, 3, 4]
    assert sorted(flat(epoch)) == list(range(10))
    assert len(batches) == 3


def test_a_single_last_row_is_a_batch_where_it_may_be(data):
    module = data(batch_size=3, needs_two_rows=False, last_batch_of_one="error")
    assert [len(batch) for batch in rows_of(module.train_dataloader())] == [3, 3, 3, 1]
    module = data(batch_size=2)
    assert [len(batch) for batch in rows_of(module.val_dataloader())] == [2, 2, 1]


def test_a_single_last_row_stops_hear2021(data):
    with pytest.raises(
        UserError,
        match=r"^10 training rows in batches of 3 leave a last batch of one row, on which BatchNorm cannot train: "
        "HEAR 2021 stopped here too; protocol=fixed joins it to the batch before, or choose another "
        "predictor.batch_size$",
    ):
        data(batch_size=3, last_batch_of_one="error")
    assert len(data(batch_size=4, last_batch_of_one="error").train_dataloader()) == 3


def test_batches_of_one_row(data, tmp_path):
    with pytest.raises(UserError, match=r"two rows a batch \(BatchNorm\): 10 training rows, batch_size 1$"):
        data(batch_size=1)
    embeddings, targets = embeddings_of(tmp_path, train=1, valid=1, test=1)
    with pytest.raises(UserError, match=r"two rows a batch \(BatchNorm\): 1 training rows, batch_size 4$"):
        EmbeddingDataModule(embeddings, targets, FOLD, batch_size=4, shuffle=False, seed=0, in_memory=True)


# Memory -----------------------------------------------------------------------------------------------------


def test_in_memory_auto_asks_for_half_of_what_is_free(tmp_path, monkeypatch):
    embeddings, _ = embeddings_of(tmp_path, train=10)
    size = 10 * DIM * 4
    for available, expected in ((2 * size, True), (2 * size - 1, False)):
        monkeypatch.setattr(datamodule, "available_memory", lambda available=available: available)
        assert fits_in_memory(embeddings, "auto") is expected
        assert fits_in_memory(embeddings, True) is True
        assert fits_in_memory(embeddings, False) is False


def test_in_memory_of_another_word(tmp_path):
    embeddings, _ = embeddings_of(tmp_path, train=10)
    with pytest.raises(UserError, match=r"^data\.in_memory is 'yes', expected true, false or auto$"):
        fits_in_memory(embeddings, "yes")


def test_available_memory_is_a_plausible_number_of_bytes():
    assert 1 << 20 < available_memory() < 1 << 50
