"""Log-mel statistics: what each part of the embedding says, and frozen values."""

import math

import pytest
import torch

from hear_exp.errors import UserError
from hear_exp.models import logmel
from hear_exp.models._mel import hz_to_mel


@pytest.fixture(scope="module")
def model():
    return logmel.load_model()


def sine(hz, seconds=1.0, amplitude=0.5):
    """A tone: float32 (1, samples)."""
    return amplitude * torch.sin(2 * math.pi * hz * torch.arange(int(16000 * seconds)) / 16000)[None]


def sawtooth(samples=16000):
    """A signal of exact 16-bit values: float32 (1, samples)."""
    return ((torch.arange(samples) % 160 * 97 % 32768 - 16384) / 32768)[None]


def nearest_band(hz, bands):
    return round(hz_to_mel(hz) / hz_to_mel(8000) * (bands + 1)) - 1


@pytest.mark.parametrize("hz", [55.0, 440.0, 1000.0, 3951.0])
def test_a_tone_is_loudest_in_its_band(model, hz):
    scene = logmel.get_scene_embeddings(sine(hz), model)[0]
    middle = scene[4 * 128 : 5 * 128]
    assert abs(int(middle.argmax()) - nearest_band(hz, 128)) <= 1
    event = logmel.get_timestamp_embeddings(sine(hz), model)[0][0]
    assert abs(int(event[10, 2 * 128 : 3 * 128].argmax()) - nearest_band(hz, 128)) <= 1


def test_ten_times_the_amplitude_is_two_decades(model):
    quiet = logmel.get_scene_embeddings(sine(440, amplitude=0.05), model)[0]
    loud = logmel.get_scene_embeddings(sine(440, amplitude=0.5), model)[0]
    band = 4 * 128 + nearest_band(440, 128)
    assert float(loud[band] - quiet[band]) * 1.4 == pytest.approx(2.0, abs=1e-3)


def test_semitones_above_440_hz_differ(model):
    notes = [logmel.get_scene_embeddings(sine(440 * 2 ** (i / 12)), model)[0, 4 * 128 : 5 * 128] for i in range(13)]
    assert len({int(note.argmax()) for note in notes}) == len(notes)


def test_thirds_of_a_clip_are_kept_apart(model):
    audio = torch.cat([sine(300), sine(1500), torch.zeros(1, 16000)], dim=1)
    first, second, third = logmel.get_scene_embeddings(audio, model)[0, 3 * 128 : 6 * 128].reshape(3, 128)
    assert abs(int(first.argmax()) - nearest_band(300, 128)) <= 1
    assert abs(int(second.argmax()) - nearest_band(1500, 128)) <= 1
    assert third.max() < first.max() - 1


def test_timestamps_know_their_surroundings(model):
    """A tone from 0.5 s on, after silence: the context turns loud from its last hop to its first."""
    audio = torch.cat([torch.zeros(1, 8000), sine(1000, 0.5)], dim=1)
    band = nearest_band(1000, 128)
    context = logmel.get_timestamp_embeddings(audio, model)[0][0].reshape(21, 5, 128)[..., band]
    onset = 10  # 500 ms
    assert (context[onset - 4] < 0).all()
    assert context[onset - 1].tolist() == sorted(context[onset - 1].tolist())
    assert (context[onset + 4] > 2).all()
    # Neighbours in time share their means: hop k of a moment is hop k - 1 of the next.
    torch.testing.assert_close(context[:-1, 1:], context[1:, :-1])


def test_a_single_frame_has_no_spread_and_no_change(model):
    scene = logmel.get_scene_embeddings(torch.full((1, 1), 0.5), model)[0]
    torch.testing.assert_close(scene[:128], torch.full((128,), -1.1))
    torch.testing.assert_close(scene[256:384], torch.full((128,), -0.28 / 0.21))


def test_sizes_follow_the_options():
    model = logmel.load_model(n_mels=32, hop_ms=20)
    assert (model.scene_embedding_size, model.timestamp_embedding_size) == (6 * 32, 5 * 32)
    assert logmel.get_scene_embeddings(sine(440), model).shape == (1, 192)
    assert logmel.get_timestamp_embeddings(sine(440), model)[0].shape == (1, 51, 160)


def test_frozen_values(model):
    """Made by version 2 with torch 2.13.0; embeddings that change need a new version, or caches go stale."""
    assert logmel.__version__ == "2"
    scene = logmel.get_scene_embeddings(sawtooth(), model)[0]
    event = logmel.get_timestamp_embeddings(sawtooth(), model)[0][0]
    torch.testing.assert_close(
        scene[[0, 70, 140, 200, 300, 639]],
        torch.tensor([-1.081053, -1.044094, 1.62875, 0.304641, -1.235121, 0.65918]),
        rtol=1e-4,
        atol=1e-4,
    )
    torch.testing.assert_close(
        event[[0, 3, -1], [7, 300, -7]], torch.tensor([2.79793, 0.349389, 0.291608]), rtol=1e-4, atol=1e-4
    )


def test_options_that_cannot_work():
    with pytest.raises(UserError, match="500 mel bands are too many for a spectrum of 1024 points at 16000 Hz"):
        logmel.load_model(n_mels=500)
    with pytest.raises(UserError, match="hop_ms must be a multiple of 10 ms for logmel, got 25"):
        logmel.load_model(hop_ms=25)
    with pytest.raises(UserError, match="n_mels must be above 0, got 0"):
        logmel.load_model(n_mels=0)
