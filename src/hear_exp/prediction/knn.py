"""Nearest neighbours on cached embeddings: a predictor without training."""

from __future__ import annotations

import torch

from .datamodule import Batches


def nearest_neighbour_probabilities(
    train: Batches, queries: Batches, *, k: int, metric: str, temperature: float, dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    """Label probabilities, ``dtype`` (query rows, labels): a weighted vote of the ``k`` nearest training rows.

    ``metric`` cosine or euclidean gives a similarity s (euclidean: minus the distance); a neighbour votes with
    exp(s / temperature), normalised over the k. ``k`` larger than the training set takes all of it.
    Everything is computed in ``dtype``.

    Source: Wu et al. 2018, Unsupervised Feature Learning via Non-Parametric Instance Discrimination, section 3.4.
    """
    found = []
    # Distances do not change with the origin, but their rounding does where embeddings are far from it.
    origin = next(iter(train))[0].to(dtype).mean(dim=0) if metric == "euclidean" else 0.0
    for query, _ in queries:
        best, labels = torch.empty(len(query), 0, dtype=dtype), torch.empty(len(query), 0, dtype=torch.long)
        seen, targets = 0, []
        for rows, target in train:
            similarity = _similarity(query.to(dtype) - origin, rows.to(dtype) - origin, metric)
            indices = torch.arange(seen, seen + len(rows)).expand(len(query), -1)
            best, order = torch.cat([best, similarity], dim=1).topk(min(k, best.shape[1] + len(rows)), dim=1)
            labels = torch.cat([labels, indices], dim=1).gather(1, order)
            targets.append(target)
            seen += len(rows)
        weights = torch.softmax(best / temperature, dim=1)
        votes = torch.cat(targets)[labels].to(dtype)  # (queries, k, labels)
        found.append(torch.einsum("qk,qkl->ql", weights, votes).clamp(0, 1))
    return torch.cat(found)


def _similarity(a: torch.Tensor, b: torch.Tensor, metric: str) -> torch.Tensor:
    if metric == "cosine":
        return torch.nn.functional.normalize(a, dim=1) @ torch.nn.functional.normalize(b, dim=1).T
    return -torch.cdist(a, b)
