"""Mel filterbank with Slaney's scale and area normalisation, in NumPy alone."""

import math

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError

# Slaney's mel scale is linear up to 1 kHz and logarithmic above, with 27 steps to 6.4 kHz.
_HZ_PER_MEL = 200 / 3
_BREAK_HZ = 1000.0
_BREAK_MEL = _BREAK_HZ / _HZ_PER_MEL
_LOG_STEP = math.log(6.4) / 27


def hz_to_mel(hz: float) -> float:
    """Convert a frequency in Hz to mel. Source: Slaney, Auditory Toolbox (1998)."""
    if hz < _BREAK_HZ:
        return hz / _HZ_PER_MEL
    return _BREAK_MEL + math.log(hz / _BREAK_HZ) / _LOG_STEP


def mel_to_hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    """Convert mel to Hz: the inverse of hz_to_mel, for an array of any shape."""
    above = _BREAK_HZ * np.exp(_LOG_STEP * (mel - _BREAK_MEL))
    return np.where(mel < _BREAK_MEL, mel * _HZ_PER_MEL, above)


def mel_filterbank(sample_rate: int, n_fft: int, n_mels: int) -> NDArray[np.float32]:
    """Make triangular filters from 0 Hz to half the sample rate, evenly spaced in mel, each of area 1 over Hz.

    Args:
        sample_rate: in Hz.
        n_fft: length of the Fourier transform in samples.
        n_mels: number of filters.

    Returns:
        float32 (n_mels, n_fft // 2 + 1), to be multiplied with a power spectrum.

    Raises:
        UserError: when filters are so narrow that one catches no bin of the spectrum.

    Source: Slaney, Auditory Toolbox (1998), mfcc.m; the same filters as librosa.filters.mel's default.
    """
    bins_hz = np.arange(n_fft // 2 + 1) * sample_rate / n_fft
    edges_hz = mel_to_hz(np.linspace(0.0, hz_to_mel(sample_rate / 2), n_mels + 2))
    lower, centre, upper = (edges_hz[i : i + n_mels, None] for i in range(3))
    rising = (bins_hz - lower) / (centre - lower)
    falling = (upper - bins_hz) / (upper - centre)
    filters = np.maximum(0.0, np.minimum(rising, falling)) * (2.0 / (upper - lower))
    if not filters.any(axis=1).all():
        raise UserError(
            f"{n_mels} mel bands are too many for a spectrum of {n_fft} points at {sample_rate} Hz: "
            f"band {int(np.argmin(filters.any(axis=1)))} lies between two bins; give fewer n_mels"
        )
    return filters.astype(np.float32)
