"""Cached embeddings as a LightningDataModule: batches sliced from one mapped file, never collated item by item."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch

from ..embeddings.cache import EMBEDDINGS, Embeddings
from ..errors import UserError
from ..tasks.folder import Fold
from .batches import check_two_rows, single_row_error

Batch = tuple[torch.Tensor, torch.Tensor]

BLOCK_BYTES = 8 << 20  # rows that a shuffle keeps together when it reads; large enough for any disk
WINDOW_BLOCKS = 32  # blocks whose rows are mixed with one another


@dataclass(frozen=True)
class Rows:
    """How to go over rows: ``ranges`` of a file of rows, one after another, in batches."""

    ranges: tuple[range, ...]
    batch_size: int
    shuffle: bool = False
    seed: int = 0
    join_single: bool = False  # a last batch of one row joins the batch before it

    def __len__(self) -> int:
        return sum(len(r) for r in self.ranges)

    def batch_sizes(self) -> list[int]:
        """Rows of each batch of an epoch."""
        full, rest = divmod(len(self), self.batch_size)
        sizes = [self.batch_size] * full + ([rest] if rest else [])
        if self.join_single and len(sizes) > 1 and sizes[-1] == 1:
            sizes[-2:] = [sizes[-2] + 1]
        return sizes

    def windows(self, epoch: int, row_bytes: int) -> Iterator[tuple[list[range], np.ndarray]]:
        """The epoch, window by window: (row ranges to read, order of their rows as positions in that reading).

        A shuffled epoch permutes blocks of consecutive rows, reads a window of them, and permutes the window's
        rows: a full shuffle where a split fits into one window, large contiguous reads everywhere. The order
        does not depend on whether the rows are in memory.
        """
        block_rows = max(1, BLOCK_BYTES // row_bytes)
        blocks = [r[i : i + block_rows] for r in self.ranges for i in range(0, len(r), block_rows)]
        generator = np.random.default_rng([self.seed, epoch])
        if self.shuffle:
            blocks = [blocks[i] for i in generator.permutation(len(blocks))]
        for i in range(0, len(blocks), WINDOW_BLOCKS):
            window = blocks[i : i + WINDOW_BLOCKS]
            count = sum(len(block) for block in window)
            yield window, generator.permutation(count) if self.shuffle else np.arange(count)


@dataclass(frozen=True)
class Context:
    """``frames`` before and after each row that come with it; at its clip's ends the first or last one again.

    ``first`` and ``last``: int64 (rows of the file,), the first and the last row of each row's clip.
    """

    frames: int
    first: np.ndarray
    last: np.ndarray

    def around(self, rows: np.ndarray) -> np.ndarray:
        """Row numbers (rows, 2 x frames + 1), each row in the middle of its neighbours."""
        wanted = rows[:, None] + np.arange(-self.frames, self.frames + 1)
        return wanted.clip(self.first[rows, None], self.last[rows, None])


def context_of(embeddings: Embeddings, frames: int) -> Context | None:
    """The context of all rows of ``embeddings``; None where ``frames`` is 0."""
    if not frames:
        return None
    first, last = np.empty(embeddings.rows, dtype=np.int64), np.empty(embeddings.rows, dtype=np.int64)
    for clips in embeddings.splits.values():
        for clip in clips:
            rows = slice(clip.start, clip.start + clip.count)
            first[rows], last[rows] = clip.start, clip.start + clip.count - 1
    return Context(frames, first, last)


class Batches:
    """An iterable of (embeddings float32, targets uint8 (rows, labels)); a new epoch each time.

    Embeddings are (rows, dim), or (rows, frames, dim) with a ``context``.
    """

    def __init__(
        self, embeddings: np.ndarray, targets: np.ndarray, rows: Rows, in_memory: bool, context: Context | None = None
    ):
        self._x, self._y, self._rows, self._in_memory = embeddings, targets, rows, in_memory
        self._context = context
        self._tensors = torch.from_numpy(embeddings), torch.from_numpy(targets)
        self._epoch = 0

    def __len__(self) -> int:
        return len(self._rows.batch_sizes())

    def __iter__(self) -> Iterator[Batch]:
        epoch, self._epoch = self._epoch, self._epoch + 1
        if self._context is not None:
            return self._with_context(epoch, self._context)
        if self._in_memory:
            return self._from_memory(epoch)
        return self._from_disk(epoch)

    def _order(self, epoch: int) -> Iterator[np.ndarray]:
        """The numbers of each batch's rows."""
        windows = self._rows.windows(epoch, self._x[0].nbytes)
        order = np.concatenate([np.concatenate([_indices(r) for r in ranges])[p] for ranges, p in windows])
        start = 0
        for size in self._rows.batch_sizes():
            yield order[start : start + size]
            start += size

    def _with_context(self, epoch: int, context: Context) -> Iterator[Batch]:
        # Neighbours lie beside their row in the file, so that reading them costs little more than reading it.
        for rows in self._order(epoch):
            yield torch.from_numpy(self._x[context.around(rows)]), self._tensors[1][torch.from_numpy(rows)]

    def _from_memory(self, epoch: int) -> Iterator[Batch]:
        for rows in self._order(epoch):
            size = len(rows)
            if rows[-1] - rows[0] == size - 1 and not self._rows.shuffle and (np.diff(rows) == 1).all():
                part = slice(int(rows[0]), int(rows[-1]) + 1)
                yield self._tensors[0][part], self._tensors[1][part]
            else:
                index = torch.from_numpy(rows)
                yield self._tensors[0][index], self._tensors[1][index]

    def _from_disk(self, epoch: int) -> Iterator[Batch]:
        sizes = iter(self._rows.batch_sizes())
        size = next(sizes)
        kept: list[Batch] = []  # rows read but not yet handed out
        for ranges, order in self._rows.windows(epoch, self._x[0].nbytes):
            index = torch.from_numpy(order)
            x = torch.from_numpy(np.concatenate([np.array(self._x[r.start : r.stop]) for r in ranges]))[index]
            y = torch.from_numpy(np.concatenate([self._y[r.start : r.stop] for r in ranges]))[index]
            kept.append((x, y))
            if sum(len(x) for x, _ in kept) < size:
                continue
            # Once a window: batches are views of it, so that its rows are not copied for each of them.
            x, y = (torch.cat(tensors) for tensors in zip(*kept, strict=True))
            while size and len(x) >= size:
                yield x[:size], y[:size]
                x, y = x[size:], y[size:]
                size = next(sizes, 0)
            kept = [(x, y)]


class EmbeddingDataModule(pl.LightningDataModule):
    """Streams one fold's rows.

    ``targets`` uint8 (rows of the cache, labels). ``needs_two_rows``: the predictor has BatchNorm, which cannot
    train on a batch of one row; then ``last_batch_of_one`` says what happens to one (error | join). ``context_frames``:
    frames before and after each one that the predictor sees with it.

    Raises UserError for a training set or a last batch that BatchNorm cannot train on.
    """

    def __init__(
        self,
        embeddings: Embeddings,
        targets: np.ndarray,
        fold: Fold,
        *,
        batch_size: int,
        shuffle: bool,
        seed: int,
        in_memory: bool,
        needs_two_rows: bool = True,
        last_batch_of_one: str = "join",
        context_frames: int = 0,
    ):
        super().__init__()
        self._embeddings, self._targets, self._in_memory = embeddings, targets, in_memory
        self._ranges = {
            "train": tuple(embeddings.split_range(split) for split in fold.train),
            "valid": (embeddings.split_range(fold.valid),),
            "test": (embeddings.split_range(fold.test),),
        }
        self._context = context_of(embeddings, context_frames)
        self._batch_size = batch_size
        self._train = Rows(self._ranges["train"], batch_size, shuffle, seed, join_single=needs_two_rows)
        if needs_two_rows:
            count = len(self._train)
            check_two_rows(count, batch_size)
            if last_batch_of_one == "error" and count % batch_size == 1:
                raise single_row_error({(count, batch_size): ()})

    def train_dataloader(self) -> Batches:
        """Training batches; shuffled anew each epoch where the protocol shuffles."""
        return self._batches(self._train)

    def val_dataloader(self) -> Batches:
        """Validation batches, rows in the cache's order."""
        return self._batches(Rows(self._ranges["valid"], self._batch_size))

    def test_dataloader(self) -> Batches:
        """Test batches, rows in the cache's order."""
        return self._batches(Rows(self._ranges["test"], self._batch_size))

    def _batches(self, rows: Rows) -> Batches:
        return Batches(self._embeddings.array(), self._targets, rows, self._in_memory, self._context)


def fits_in_memory(embeddings: Embeddings, setting: bool | str) -> bool:
    """What ``data.in_memory`` (true | false | auto) means for these embeddings.

    In memory, the file is read through once and its pages stay mapped, shared by all worker processes; auto does
    that where they take at most half of the memory that is available now.
    """
    if setting == "auto":
        setting = embeddings.rows * embeddings.dim * 4 <= available_memory() // 2
    if not isinstance(setting, bool):
        raise UserError(f"data.in_memory is {setting!r}, expected true, false or auto")
    if setting:
        with (embeddings.folder / EMBEDDINGS).open("rb", buffering=0) as file:
            while file.read(16 << 20):
                pass
    return setting


def available_memory() -> int:
    """Bytes this process may still take: the machine's, or its control group's limit (Slurm, containers)."""
    available = math.inf
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        available = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        available = 4 << 30
    try:
        group = next(line.split("::")[1] for line in Path("/proc/self/cgroup").read_text().splitlines() if "::" in line)
        limit = (Path("/sys/fs/cgroup" + group) / "memory.max").read_text().strip()
        available = min(available, int(limit)) if limit != "max" else available
    except (OSError, StopIteration, ValueError):
        pass
    return int(available)


def _indices(rows: Sequence[int]) -> np.ndarray:
    assert isinstance(rows, range)
    return np.arange(rows.start, rows.stop)
