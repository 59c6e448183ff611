"""The naive baseline equals HEAR's own: values frozen from hearbaseline 2021.1.1 (torch 2.13.0, librosa 0.9.2)."""

import pytest
import torch

from hear_exp.models import naive


@pytest.fixture(scope="module")
def model():
    return naive.load_model()


def sawtooth(samples=22050):
    """A signal of exact 16-bit values: float32 (1, samples)."""
    return ((torch.arange(samples) % 441 * 97 % 32768 - 16384) / 32768)[None]


def test_embeddings_are_those_of_the_original(model):
    assert naive.__version__ == "1"
    scene = naive.get_scene_embeddings(sawtooth(), model)[0]
    expected = torch.tensor([-0.5935056, -0.137583, -0.1226377, -0.5141782, -0.4351097])
    torch.testing.assert_close(scene[[0, 1, 500, 1000, -1]], expected, rtol=1e-5, atol=1e-5)
    assert scene.mean().item() == pytest.approx(-0.48380035, abs=1e-5)
    event = naive.get_timestamp_embeddings(sawtooth(), model)[0][0]
    assert event.shape == (11, 4096)
    expected = torch.tensor([0.7658554, -3.986424, 2.797603])
    torch.testing.assert_close(event[[0, 3, -1], [7, 700, -7]], expected, rtol=1e-5, atol=1e-5)
    assert event.mean().item() == pytest.approx(-2.8322067, abs=1e-5)


def test_projection_is_the_same_whatever_was_drawn_before(model):
    torch.manual_seed(0)
    original = torch.rand(256, 4096) / 16
    torch.manual_seed(123)
    assert torch.equal(naive.load_model().projection, original)
    assert torch.equal(model.projection, original)


def test_silence_by_hand(model):
    """The spectrum of silence is log(1e-4) in every band."""
    embedding = naive.get_scene_embeddings(torch.zeros(1, 44100), model)[0]
    expected = torch.tensor(1e-4).log() * model.projection.sum(dim=0)
    torch.testing.assert_close(embedding, expected)
