"""Sounds made from a random generator: tones, noises, clicks, and a bank of sound classes.

Every function is a pure function of its arguments and the state of ``rng``, so that a seed fixes each sample.
Signals are float64, mono, at ``RATE``; ``n`` is a number of samples.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

RATE = 44100  # Hz
_TABLE = 4096  # points in a period: 40 harmonics then interpolate with an error below -60 dB

Signal = NDArray[np.float64]
Sound = Callable[[Generator, int], Signal]


def seconds(n: int) -> Signal:
    """Time of each sample in seconds, shape (n,)."""
    return np.arange(n) / RATE


def log_uniform(rng: Generator, low: float, high: float) -> float:
    """A number whose logarithm is uniform between those of ``low`` and ``high``, as pitch is heard."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def scaled(signal: Signal, decibels: float = 0.0) -> Signal:
    """``signal`` at this RMS level, in dB relative to 1."""
    levelled: Signal = signal * (10 ** (decibels / 20) / (np.sqrt(np.mean(signal**2)) + 1e-12))
    return levelled


def fade(n: int, attack_s: float, release_s: float) -> Signal:
    """An envelope, shape (n,): a rise from 0, a plateau at 1 and a fall, each a quarter of a sine squared."""
    samples = np.arange(n)
    attack, release = max(attack_s * RATE, 1.0), max(release_s * RATE, 1.0)
    edge = np.minimum(np.minimum(samples / attack, (n - 1 - samples) / release), 1.0)
    return np.sin(0.5 * np.pi * edge) ** 2


def noise(rng: Generator, n: int, tilt_db: float = 0.0, band: tuple[float, float] | None = None) -> Signal:
    """Gaussian noise of RMS 1, shape (n,).

    ``tilt_db`` is the slope in dB per octave (-3: pink, -6: brown). ``band`` keeps what lies between its two
    edges in Hz.
    """
    # A length of small prime factors: the transform of a prime one takes several times longer.
    size = -(-n // 2205) * 2205
    spectrum = np.fft.rfft(rng.standard_normal(size))
    # Flat below 20 Hz: a steep tilt would else be all rumble.
    frequency = np.maximum(np.fft.rfftfreq(size, 1 / RATE), 20.0)
    gain = frequency ** (tilt_db / (20 * np.log10(2)))
    if band is not None:
        gain = gain / (1 + (band[0] / frequency) ** 8) / (1 + (frequency / band[1]) ** 8)
    return scaled(np.fft.irfft(spectrum * gain, size)[:n])


def tone(rng: Generator, frequency: Signal, amplitudes: Signal) -> Signal:
    """A periodic sound that follows ``frequency`` (Hz, shape (n,)); ``amplitudes`` are harmonics 1, 2, ...

    Harmonics that would pass 20 kHz anywhere are left out.
    """
    harmonics = min(len(amplitudes), max(int(20000 / frequency.max()), 1), _TABLE // 2 - 1)
    spectrum = np.zeros(_TABLE // 2 + 1, complex)
    spectrum[1 : harmonics + 1] = amplitudes[:harmonics] * np.exp(2j * np.pi * rng.random(harmonics))
    period = np.fft.irfft(spectrum)
    phase = (rng.random() + np.cumsum(frequency) / RATE) % 1.0
    return scaled(np.interp(phase * _TABLE, np.arange(_TABLE + 1), np.append(period, period[0])))


def timbre(
    rng: Generator, harmonics: int = 40, slope: tuple[float, float] = (0.3, 2.0), ripple_db: float = 6.0
) -> Signal:
    """Amplitudes of harmonics 1, 2, ...: a random slope, a random resonance and a random ripple on top.

    ``slope`` holds the limits of the exponent by which the amplitudes fall with the harmonic's number;
    ``ripple_db`` is how far harmonics stray from that, and sets the resonance's height too.
    """
    number = np.arange(1, harmonics + 1)
    decibels = -20 * rng.uniform(*slope) * np.log10(number) + rng.normal(0, ripple_db, harmonics)
    resonance_db, centre, width = rng.uniform(0, 2.5 * ripple_db), rng.uniform(1, 12), rng.uniform(1, 3)
    decibels += resonance_db * np.exp(-0.5 * ((number - centre) / width) ** 2)
    if rng.random() < 0.25:
        decibels[1::2] -= rng.uniform(10, 30)  # hollow, as a clarinet
    return 10 ** (decibels / 20)


def note(rng: Generator, n: int, frequency_hz: float) -> Signal:
    """A note of random timbre and envelope, shape (n,), whose pitch strays about ``frequency_hz``.

    Its lowest harmonics are often weak or missing. The timbre stays that of an instrument, which a pitch network
    hears through, while vibrato and drift blur a spectrum.
    """
    amplitudes = timbre(rng, ripple_db=4.0)
    weak = rng.choice(3, p=[0.6, 0.3, 0.1])  # how many of the lowest harmonics
    amplitudes[:weak] *= 10 ** (-rng.uniform(15, 60) / 20)
    time = seconds(n)
    cents = rng.uniform(0, 50) * np.sin(2 * np.pi * (rng.uniform(4, 7) * time + rng.random()))
    cents += rng.normal(0, 50) * np.linspace(-1, 1, n)
    cents += rng.normal(0, 60) * np.exp(-time / rng.uniform(0.01, 0.04))  # a scoop into the note
    signal = tone(rng, frequency_hz * 2 ** (cents / 1200), amplitudes)
    decay_s = log_uniform(rng, 0.15, 3.0)
    return signal * np.exp(-time / decay_s) * fade(n, log_uniform(rng, 0.003, 0.08), rng.uniform(0.02, 0.1))


def _held(rng: Generator, frequency: Signal, slope: tuple[float, float]) -> Signal:
    """A held tone that follows ``frequency`` (Hz), with soft edges and some breath noise."""
    n = len(frequency)
    breath = noise(rng, n, band=(500, 8000)) * 10 ** (rng.uniform(-40, -10) / 20)
    signal = tone(rng, frequency, timbre(rng, 12, slope)) + breath
    return signal * fade(n, log_uniform(rng, 0.005, 0.06), rng.uniform(0.02, 0.08))


def _sweep(rng: Generator, n: int, direction: int) -> Signal:
    octaves = direction * rng.uniform(0.4, 2.0) * np.linspace(-0.5, 0.5, n)
    return _held(rng, log_uniform(rng, 300, 1200) * 2**octaves, (0.3, 2.0))


def sweep_up(rng: Generator, n: int) -> Signal:
    """A tone that rises by 0.4 to 2 octaves."""
    return _sweep(rng, n, +1)


def sweep_down(rng: Generator, n: int) -> Signal:
    """A tone that falls by 0.4 to 2 octaves."""
    return _sweep(rng, n, -1)


def _wobble(rng: Generator, n: int) -> Signal:
    """A sine at 4 to 9 Hz, shape (n,)."""
    return np.sin(2 * np.pi * (rng.uniform(4, 9) * seconds(n) + rng.random()))


def siren(rng: Generator, n: int) -> Signal:
    """A tone whose pitch swings smoothly by 1 to 5 semitones either way."""
    frequency = log_uniform(rng, 400, 1600) * 2 ** (rng.uniform(1, 5) / 12 * _wobble(rng, n))
    return _held(rng, frequency, (0.8, 2.0))


def trill(rng: Generator, n: int) -> Signal:
    """A tone that jumps between two pitches, 2 to 8 semitones apart: a siren with corners."""
    frequency = log_uniform(rng, 300, 1000) * 2 ** (rng.uniform(1, 4) / 12 * np.sign(_wobble(rng, n)))
    return _held(rng, frequency, (0.3, 1.2))


def pipe(rng: Generator, n: int) -> Signal:
    """A steady tone."""
    return _held(rng, np.full(n, log_uniform(rng, 150, 700)), (1.0, 3.0))


def buzzer(rng: Generator, n: int) -> Signal:
    """A frequency-modulated tone with a dense, inharmonic spectrum."""
    time, carrier = seconds(n), log_uniform(rng, 700, 2500)
    modulation = rng.uniform(1, 5) * np.sin(2 * np.pi * carrier * rng.uniform(0.15, 1.4) * time)
    signal = np.sin(2 * np.pi * carrier * time + modulation)
    return signal * fade(n, log_uniform(rng, 0.005, 0.06), rng.uniform(0.02, 0.08))


def _struck(rng: Generator, n: int, frequencies: Signal, damping: float) -> Signal:
    """Partials that start together and die away, the high ones first; about -35 dB after n samples."""
    frequencies = frequencies[frequencies < 16000]
    amplitudes = len(frequencies) ** -0.5 * 10 ** (rng.normal(0, 5, len(frequencies)) / 20)
    rates = 4 * RATE / n * (frequencies / frequencies[0]) ** damping
    time, signal = seconds(n), np.zeros(n)
    for frequency, amplitude, rate in zip(frequencies, amplitudes, rates, strict=True):
        phase = 2 * np.pi * (frequency * time + rng.random())
        signal += amplitude * np.exp(-rate * time) * np.sin(phase)
    return signal * fade(n, 0.002, 0.02)


def string(rng: Generator, n: int) -> Signal:
    """A plucked string: nearly harmonic partials."""
    number = np.arange(1, 15)
    stretch = np.sqrt(1 + log_uniform(rng, 1e-5, 1e-3) * number**2)
    return _struck(rng, n, log_uniform(rng, 100, 400) * number * stretch, rng.uniform(0.2, 0.9))


def bell(rng: Generator, n: int) -> Signal:
    """A struck bar or bell: few, inharmonic partials."""
    ratios = np.cumsum(np.append(1.0, rng.uniform(0.4, 1.6, rng.integers(4, 8))))
    return _struck(rng, n, log_uniform(rng, 400, 1600) * ratios, rng.uniform(0.1, 0.6))


def _band(rng: Generator, lowest_hz: float) -> tuple[float, float]:
    """Edges in Hz of a random band, 1.5 to 3 octaves wide, from up to 3 octaves above ``lowest_hz``."""
    low = lowest_hz * 2 ** rng.uniform(0, 3)
    return low, low * 2 ** rng.uniform(1.5, 3)


def thud(rng: Generator, n: int) -> Signal:
    """A burst of noise, rather dark, that dies away."""
    return noise(rng, n, band=_band(rng, 80)) * np.exp(-4 * np.linspace(0, 1, n)) * fade(n, 0.002, 0.02)


def hiss(rng: Generator, n: int) -> Signal:
    """Steady noise."""
    signal = noise(rng, n, band=_band(rng, 400))
    return signal * fade(n, log_uniform(rng, 0.005, 0.06), rng.uniform(0.02, 0.08))


def flutter(rng: Generator, n: int) -> Signal:
    """Noise whose loudness swings: hiss with a beat, and hardly more where the swing is shallow."""
    swing = 10 ** (rng.uniform(4, 20) / 20 * 0.5 * _wobble(rng, n))
    return hiss(rng, n) * swing


def _ticks(rng: Generator, n: int, times_s: Signal, spread_octaves: float) -> Signal:
    """A click at each time; their damped resonances differ by up to ``spread_octaves``."""
    length = int(0.03 * RATE)
    time, signal = seconds(length), np.zeros(n + length)
    damping_s, frequency = log_uniform(rng, 0.0007, 0.006), log_uniform(rng, 800, 5000)
    for time_s in times_s:
        click = np.exp(-time / damping_s)
        click *= np.sin(2 * np.pi * frequency * 2 ** rng.uniform(-spread_octaves, 0) * time)
        start = int(time_s * RATE)
        signal[start : start + length] += click * 10 ** (rng.normal(0, 3) / 20)
    return signal[:n] * fade(n, 0.0, 0.01)


def ratchet(rng: Generator, n: int) -> Signal:
    """Like clicks in a nearly regular beat, 8 to 30 a second."""
    step = 1 / rng.uniform(8, 30)
    times = np.arange(0, n / RATE, step)
    times = np.clip(times + rng.normal(0, 0.03 * step, len(times)), 0, n / RATE - 1e-3)
    return _ticks(rng, n, times, 0.2)


def crackle(rng: Generator, n: int) -> Signal:
    """Unlike clicks at random times, 8 to 30 a second, the first one at the start."""
    times = np.append(0.0, rng.uniform(0, n / RATE - 1e-3, round(rng.uniform(8, 30) * n / RATE)))
    return _ticks(rng, n, times, 2.0)


BANK: dict[str, Sound] = {
    "bell": bell,
    "buzzer": buzzer,
    "crackle": crackle,
    "flutter": flutter,
    "hiss": hiss,
    "pipe": pipe,
    "ratchet": ratchet,
    "siren": siren,
    "string": string,
    "sweep_down": sweep_down,
    "sweep_up": sweep_up,
    "thud": thud,
    "trill": trill,
}
