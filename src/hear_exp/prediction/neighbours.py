"""The vote of the nearest training rows, as a network without weights."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import nn

from .datamodule import Batches


class RememberingNetwork(nn.Module, ABC):
    """A network that looks at the training rows."""

    @abstractmethod
    def remember(self, train: Batches) -> None:
        """Take the training rows: batches of (embeddings (rows, dim), targets uint8 (rows, labels))."""


class NeighbourVote(RememberingNetwork):
    """Label probabilities (rows, labels) of embeddings (rows, dim): a weighted vote of the ``k`` nearest training rows.

    ``metric`` cosine or euclidean gives a similarity s (euclidean: minus the distance); a neighbour votes with
    exp(s / temperature), normalised over the k. ``k`` larger than the training set takes all of it.
    Everything is computed in the dtype of the embeddings that are asked about.

    Source: Wu et al. 2018, Unsupervised Feature Learning via Non-Parametric Instance Discrimination, section 3.4.
    """

    def __init__(self, *, k: int, metric: str, temperature: float):
        super().__init__()
        self._k, self._metric, self._temperature = k, metric, temperature
        self._train: Batches | None = None
        self._origin: torch.Tensor | None = None

    def remember(self, train: Batches) -> None:
        """Take the training rows: batches of (embeddings (rows, dim), targets uint8 (rows, labels))."""
        self._train, self._origin = train, None

    def forward(self, queries: torch.Tensor) -> torch.Tensor:
        """Probabilities (rows, labels), of the dtype of ``queries`` (rows, dim)."""
        assert self._train is not None
        dtype, (best, labels) = queries.dtype, self._nothing(queries)
        seen, targets = 0, []
        for rows, target in self._train:
            similarity = self._similarity(queries, rows.to(dtype))
            indices = torch.arange(seen, seen + len(rows)).expand(len(queries), -1)
            best, order = torch.cat([best, similarity], dim=1).topk(min(self._k, best.shape[1] + len(rows)), dim=1)
            labels = torch.cat([labels, indices], dim=1).gather(1, order)
            targets.append(target)
            seen += len(rows)
        weights = torch.softmax(best / self._temperature, dim=1)
        votes = torch.cat(targets)[labels].to(dtype)  # (queries, k, labels)
        return torch.einsum("qk,qkl->ql", weights, votes).clamp(0, 1)

    @staticmethod
    def _nothing(queries: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Similarities and row numbers of no neighbours yet: both (queries, 0)."""
        return queries.new_empty(len(queries), 0), torch.empty(len(queries), 0, dtype=torch.long)

    def _similarity(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        if self._metric == "cosine":
            return nn.functional.normalize(a, dim=1) @ nn.functional.normalize(b, dim=1).T
        # Distances do not change with the origin, but their rounding does where embeddings are far from it.
        if self._origin is None:
            self._origin = b.mean(dim=0)
        return -torch.cdist(a - self._origin, b - self._origin)
