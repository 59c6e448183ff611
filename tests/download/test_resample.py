"""Resampling: how good it is, and a task's audio written once at another rate."""

import numpy as np
import pytest
import soundfile
from tiny import write_task, write_wav

from hear_exp.download import resample as module
from hear_exp.download.resample import resample_task
from hear_exp.errors import UserError
from hear_exp.tasks.audio import read_clip, scan_clips
from hear_exp.tasks.folder import read_task

# Quality -----------------------------------------------------------------------------------------------------


def sweep(rate: int, low_hz: float, high_hz: float, seconds: float = 4.0) -> np.ndarray:
    """A linear sine sweep, computed at the instants of ``rate``: a reference that no resampler has touched."""
    t = np.arange(round(rate * seconds)) / rate
    return 0.5 * np.sin(2 * np.pi * (low_hz * t + (high_hz - low_hz) / (2 * seconds) * t**2))


def read_resampled(tmp_path, audio: np.ndarray, rate: int, wanted: int) -> np.ndarray:
    folder = write_task(tmp_path / "task", clips=1, rate=rate)
    path = folder / str(rate) / "train" / "train_0.wav"
    soundfile.write(path, audio, rate, subtype="FLOAT")  # so that 16 bits are not what limits the error
    task = read_task(folder)
    (file,) = scan_clips(task, [("train", task.split("train").clips)], rate)
    return read_clip(file, wanted)


def error_db(samples: np.ndarray, reference: np.ndarray) -> float:
    """Error against a reference, relative to it; without the ends, where the sweep starts and stops."""
    middle = slice(len(reference) // 50, -len(reference) // 50)
    return 20 * np.log10(np.std(samples[middle] - reference[middle]) / np.std(reference[middle]))


@pytest.mark.parametrize(
    ("rate", "wanted", "limit_db"),
    [(48000, 16000, -130), (48000, 32000, -130), (48000, 22050, -80), (48000, 44100, -80), (44100, 16000, -75)],
)
def test_a_sweep_keeps_its_shape(tmp_path, rate, wanted, limit_db):
    """From 50 Hz to 85 % of the new Nyquist frequency: no delay, no change of level, next to no noise.

    Where the rates are not in a ratio of small numbers, what is left is a shift of nanoseconds.
    """
    high_hz = 0.85 * wanted / 2
    samples = read_resampled(tmp_path, sweep(rate, 50, high_hz), rate, wanted)
    reference = sweep(wanted, 50, high_hz)
    assert len(samples) == len(reference)
    assert error_db(samples, reference) < limit_db


def test_a_sweep_above_the_new_nyquist_frequency_vanishes(tmp_path):
    """What 16 kHz cannot hold is gone, not folded back: 8.1 to 23 kHz."""
    audio = sweep(48000, 8100, 23000)
    samples = read_resampled(tmp_path, audio, 48000, 16000)
    assert 20 * np.log10(np.std(samples[2000:-2000]) / np.std(audio)) < -90


# A task at another rate --------------------------------------------------------------------------------------


@pytest.fixture
def task(tmp_path):
    return read_task(write_task(tmp_path / "task", clips=3))


def test_resampled_task(task):
    folder = resample_task(task, 4000)
    assert folder == task.folder / "4000"
    again = read_task(task.folder)
    assert again.sample_rates == (4000, 8000)
    splits = [(split.name, split.clips) for split in task.splits]
    for ours, source in zip(scan_clips(again, splits, 4000), scan_clips(task, splits, 8000), strict=True):
        assert ours.channels == 1
        assert soundfile.info(ours.path).subtype == "PCM_16"
        assert np.abs(read_clip(ours, 4000) - read_clip(source, 4000)).max() <= 0.5001 / 32768
    assert not list(task.folder.glob(".*.partial"))


def test_it_goes_on_after_an_interruption(task, monkeypatch):
    """Clips that were written are not written again, and what was half done counts for nothing."""
    written, real = [], module.soundfile.write

    def write(path, *args, **options):
        if len(written) == 5:
            path.write_bytes(b"RIFF half")
            raise KeyboardInterrupt
        written.append(path.name)
        real(path, *args, **options)

    monkeypatch.setattr(module.soundfile, "write", write)
    monkeypatch.setattr(module, "parallel", lambda function, items, ahead: map(function, items))
    with pytest.raises(KeyboardInterrupt):
        resample_task(task, 4000)
    assert read_task(task.folder).sample_rates == (8000,)  # nothing that looks whole
    monkeypatch.setattr(
        module.soundfile, "write", lambda path, *a, **o: (written.append(path.name), real(path, *a, **o))
    )
    resample_task(task, 4000)
    assert len(written) == 9
    folder = task.folder / "4000"
    assert sorted(path.name for path in folder.rglob("*") if path.is_file()) == sorted(
        clip.name for split in task.splits for clip in split.clips
    )


def test_it_is_left_alone_when_it_is_there(task, monkeypatch):
    resample_task(task, 4000)
    monkeypatch.setattr(module.soundfile, "write", None)
    resample_task(task, 4000)


def test_loud_audio_is_clipped_not_wrapped(tmp_path):
    folder = write_task(tmp_path / "task", clips=1)
    square = np.sign(np.sin(2 * np.pi * 300 * np.arange(4000) / 8000)) * 0.99999  # overshoots when resampled
    write_wav(folder / "8000/train/train_0.wav", square, 8000)
    resample_task(read_task(folder), 4000)
    before, _ = soundfile.read(folder / "8000/train/train_0.wav")
    after, _ = soundfile.read(folder / "4000/train/train_0.wav")
    assert after.max() > 0.9999
    assert np.corrcoef(before[::2], after)[0, 1] > 0.9


@pytest.mark.parametrize(
    ("rate", "message"),
    [
        (16000, "is above the 8000 Hz of"),
        (0, "expected a sample rate in hertz"),
        ("4k", "'4k', expected a sample rate"),
    ],
)
def test_rates_that_make_no_sense(task, rate, message):
    with pytest.raises(UserError, match=message):
        resample_task(task, rate)
