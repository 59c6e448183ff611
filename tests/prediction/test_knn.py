"""Nearest neighbours against a slow reference and by hand."""

import math

import numpy as np
import pytest
import torch

from hear_exp.prediction.datamodule import Batches, Rows
from hear_exp.prediction.neighbours import NeighbourVote


def batches(embeddings: np.ndarray, targets: np.ndarray, batch_size: int = 4) -> Batches:
    rows = Rows((range(len(embeddings)),), batch_size)
    return Batches(embeddings.astype(np.float32), targets.astype(np.uint8), rows, in_memory=True)


def nearest_neighbour_probabilities(train: Batches, queries: Batches, **options) -> torch.Tensor:
    network = NeighbourVote(**options)
    network.remember(train)
    return torch.cat([network(rows) for rows, _ in queries])


def reference(train, targets, queries, k, metric, temperature) -> np.ndarray:
    """One query at a time, one neighbour at a time."""
    found = np.zeros((len(queries), targets.shape[1]))
    for i, query in enumerate(queries):
        if metric == "cosine":
            similar = [float(q @ query / math.sqrt((q @ q) * (query @ query))) for q in train]
        else:
            similar = [-math.sqrt(sum((q - query) ** 2)) for q in train]
        nearest = sorted(range(len(train)), key=lambda j: -similar[j])[:k]
        weights = [math.exp((similar[j] - similar[nearest[0]]) / temperature) for j in nearest]
        for j, weight in zip(nearest, weights, strict=True):
            found[i] += weight / sum(weights) * targets[j]
    return found


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("k", [1, 3, 10, 1000])
@pytest.mark.parametrize("batch_size", [4, 100])
def test_against_the_reference(metric, k, batch_size):
    random = np.random.default_rng(0)
    train, queries = random.normal(size=(30, 5)), random.normal(size=(11, 5))
    targets = random.integers(0, 2, (30, 4))
    found = nearest_neighbour_probabilities(
        batches(train, targets, batch_size),
        batches(queries, np.zeros((11, 4)), batch_size),
        k=k,
        metric=metric,
        temperature=0.3,
    )
    assert (found.shape, found.dtype) == ((11, 4), torch.float32)
    assert found.numpy() == pytest.approx(reference(train, targets, queries, k, metric, 0.3), abs=1e-5)


def test_by_hand():
    """Distances 1 and 2, temperature 1: the nearer one has e^-1 / (e^-1 + e^-2) = 0.731 of the vote."""
    train, targets = np.array([[0.0], [3.0], [50.0]]), np.array([[1, 0], [0, 1], [1, 1]])
    found = nearest_neighbour_probabilities(
        batches(train, targets), batches(np.array([[1.0]]), targets[:1]), k=2, metric="euclidean", temperature=1.0
    )
    assert found.tolist() == [[pytest.approx(0.7310586), pytest.approx(0.2689414)]]


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_more_neighbours_than_training_rows(metric):
    """With little to tell them apart, the vote of all is how often each label comes."""
    train, targets = np.eye(3), np.array([[1, 0], [1, 0], [0, 1]])
    found = nearest_neighbour_probabilities(
        batches(train, targets), batches(np.ones((2, 3)), targets[:2]), k=50, metric=metric, temperature=1e6
    )
    assert found.numpy() == pytest.approx(np.array([[2 / 3, 1 / 3]] * 2), abs=1e-5)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_nearest_of_many_rows_that_are_far_from_zero(metric):
    """Each row's nearest is itself: distances between large numbers must not drown in rounding."""
    random = np.random.default_rng(0)
    rows = (0 if metric == "cosine" else 100) + random.normal(size=(200, 64)) * 0.01
    labels = np.eye(200)
    found = nearest_neighbour_probabilities(
        batches(rows, labels, 64),
        batches(rows, labels, 64),
        k=5,
        metric=metric,
        temperature=1e-3 if metric == "euclidean" else 1e-6,
    )
    assert found.argmax(dim=1).tolist() == list(range(200))


def test_probabilities_do_not_exceed_one():
    random = np.random.default_rng(0)
    train, targets = random.normal(size=(100, 3)), np.ones((100, 1))
    found = nearest_neighbour_probabilities(
        batches(train, targets), batches(train, targets), k=100, metric="cosine", temperature=0.07
    )
    assert float(found.max()) <= 1
    assert found.numpy() == pytest.approx(1)
