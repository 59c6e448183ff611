"""The mel filterbank: properties worked by hand, and values frozen from librosa 0.9.2's filters.mel."""

import numpy as np
import pytest

from hear_exp.errors import UserError
from hear_exp.models._mel import hz_to_mel, mel_filterbank, mel_to_hz

# Made by librosa 0.9.2: (band, bin) -> weight.
LIBROSA = {
    (0, 1): 0.0444563552737236,
    (0, 2): 0.03960340842604637,
    (20, 29): 0.0040731108747422695,
    (20, 30): 0.04852946475148201,
    (100, 165): 0.002173377200961113,
    (100, 168): 0.02816181816160679,
    (180, 596): 0.0008247751975432038,
    (180, 605): 0.00937189906835556,
    (255, 1984): 6.200094503583387e-05,
    (255, 2016): 0.0028180452063679695,
}
LIBROSA_SUM = 23.771734931897868
LIBROSA_NONZERO = 4061


def test_scale_by_hand():
    # 3 mel per 200 Hz up to 1 kHz = 15 mel, then 27 mel per factor of 6.4.
    assert [hz_to_mel(hz) for hz in (0, 200, 1000, 6400, 40960)] == pytest.approx([0, 3, 15, 42, 69])
    mel = np.linspace(0, 70, 29)
    assert [hz_to_mel(hz) for hz in mel_to_hz(mel)] == pytest.approx(mel)


def test_filters_are_triangles_of_area_one():
    filters = mel_filterbank(16000, 16384, 40)  # bins of about 1 Hz
    assert filters.shape == (40, 8193)
    assert filters.dtype == np.float32
    assert filters.sum(axis=1) * (16000 / 16384) == pytest.approx(np.ones(40), rel=1e-3)
    edges = mel_to_hz(np.linspace(0, hz_to_mel(8000), 42))
    peaks = filters.argmax(axis=1) * 16000 / 16384
    assert np.abs(peaks - edges[1:-1]).max() < 1
    assert filters.max(axis=1) == pytest.approx(2 / (edges[2:] - edges[:-2]), rel=0.02)


def test_one_filter_by_hand():
    # At 2 kHz and two bands the edges are 0, 333.3, 666.7 and 1000 Hz; bins lie 250 Hz apart.
    expected = np.array([[0, 0.75, 0.5, 0, 0], [0, 0, 0.5, 0.75, 0]]) * (2 / (2000 / 3))
    assert mel_filterbank(2000, 8, 2) == pytest.approx(expected, abs=1e-9)


def test_values_of_librosa():
    """Frozen from librosa 0.9.2, filters.mel(sr=44100, n_fft=4096, n_mels=256)."""
    filters = mel_filterbank(44100, 4096, 256)
    assert filters.shape == (256, 2049)
    for (row, column), value in LIBROSA.items():
        assert filters[row, column] == pytest.approx(value, rel=1e-5)
    assert filters.sum(dtype=np.float64) == pytest.approx(LIBROSA_SUM, rel=1e-6)
    assert np.count_nonzero(filters > 1e-12) == LIBROSA_NONZERO


def test_too_many_bands():
    with pytest.raises(UserError, match="128 mel bands are too many for a spectrum of 256 points at 16000 Hz"):
        mel_filterbank(16000, 256, 128)
