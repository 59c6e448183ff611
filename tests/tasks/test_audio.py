"""Reading clips: which rate, how well resampled, what is wrong with a file; batches of equal length."""

import io
import os
import resource
import struct
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from hostile import answer, damaged, few
from hypothesis import example, given
from tiny import write_wav

from hear_exp.errors import UserError
from hear_exp.tasks.audio import ClipFile, cpu_count, equal_length_batches, parallel, read_clip, scan_clips, source_rate
from hear_exp.tasks.folder import Clip


def task_of(folder: Path) -> SimpleNamespace:
    return SimpleNamespace(folder=folder)


def scan(folder: Path, *names: str, rate: int = 8000) -> list[ClipFile]:
    return scan_clips(task_of(folder), [("train", [Clip(name) for name in names])], rate)


def tone(rate: int, hz: float, seconds: float = 1.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hz * np.arange(round(rate * seconds)) / rate)


# Rates ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [(16000, 16000), (48000, 48000), (22050, 44100), (8000, 16000), (32000, 44100), (96000, 48000)],
)
def test_source_rate(wanted, expected):
    """The wanted rate, else the nearest higher one, else the highest."""
    assert source_rate(SimpleNamespace(sample_rates=(16000, 44100, 48000)), wanted) == expected


def test_audio_at_the_wanted_rate_is_read_as_it_is(tmp_path):
    audio = np.round(tone(8000, 440) * 32768) / 32768
    write_wav(tmp_path / "8000/train/a.wav", audio, 8000)
    (file,) = scan(tmp_path, "a.wav")
    assert (file.split, file.name, file.frames, file.channels, file.seconds) == ("train", "a.wav", 8000, 1, 1.0)
    samples = read_clip(file, 8000)
    assert samples.dtype == np.float32
    assert np.array_equal(samples, audio.astype(np.float32))


@pytest.mark.parametrize(
    ("rate", "wanted"), [(44100, 16000), (48000, 16000), (16000, 8000), (8000, 16000), (48000, 44100)]
)
def test_resampled_tones_keep_their_place_and_level(tmp_path, rate, wanted):
    """Below both Nyquist frequencies a resampled tone is the tone; the error is 60 dB below it (16-bit: 90)."""
    for hz in (100, 1000, 3000):
        write_wav(tmp_path / f"{rate}/train/a.wav", tone(rate, hz), rate)
        (file,) = scan(tmp_path, "a.wav", rate=rate)
        samples, expected = read_clip(file, wanted), tone(wanted, hz)
        assert samples.dtype == np.float32
        assert len(samples) == wanted
        middle = slice(wanted // 10, -wanted // 10)  # the ends ring, as the tone starts and stops there
        error = samples[middle] - expected[middle]
        assert 20 * np.log10(np.std(error) / np.std(expected)) < -60


def test_resampling_removes_what_the_new_rate_cannot_hold(tmp_path):
    """A tone above the new Nyquist frequency would come back as another tone."""
    write_wav(tmp_path / "44100/train/a.wav", tone(44100, 9500), 44100)
    (file,) = scan(tmp_path, "a.wav", rate=44100)
    samples = read_clip(file, 16000)[1600:-1600]
    assert 20 * np.log10(np.std(samples) / np.std(tone(44100, 9500))) < -60


@pytest.mark.parametrize("frames", [1, 2, 5, 44099, 44101])
def test_resampled_length(tmp_path, frames):
    write_wav(tmp_path / "44100/train/a.wav", np.full(frames, 0.1), 44100)
    (file,) = scan(tmp_path, "a.wav", rate=44100)
    samples = read_clip(file, 16000)
    assert len(samples) >= 1
    assert abs(len(samples) - frames * 16000 / 44100) <= 1


# Channels ---------------------------------------------------------------------------------------------------


def test_stereo_is_averaged_with_a_warning(tmp_path, caplog):
    left, right = tone(8000, 440), tone(8000, 550)
    write_wav(tmp_path / "8000/train/mono.wav", left, 8000)
    write_wav(tmp_path / "8000/train/stereo.wav", np.stack([left, right], axis=1), 8000)
    files = scan(tmp_path, "mono.wav", "stereo.wav")
    assert f"1 of 2 clips have more than one channel (the first: {files[1].path})" in caplog.text
    assert "averaged" in caplog.text
    samples = read_clip(files[1], 8000)
    assert samples.shape == (8000,)
    assert np.abs(samples - (left + right) / 2).max() < 1e-4


def test_mono_is_no_reason_to_warn(tmp_path, caplog):
    write_wav(tmp_path / "8000/train/mono.wav", tone(8000, 440), 8000)
    scan(tmp_path, "mono.wav")
    assert not caplog.records


# What is wrong with a file ----------------------------------------------------------------------------------


def test_clip_is_absent(tmp_path):
    write_wav(tmp_path / "8000/train/a.wav", tone(8000, 440), 8000)
    with pytest.raises(UserError, match=r"^clip not found: .*8000/train/b\.wav \(it is listed in train\.json\)$"):
        scan(tmp_path, "a.wav", "b.wav")


@pytest.mark.parametrize("content", [b"", b"no audio at all", b"RIFF\x00\x00\x00\x00WAVEfmt "])
def test_audio_is_unreadable(tmp_path, content):
    path = write_wav(tmp_path / "8000/train/a.wav", tone(8000, 440), 8000)
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"^cannot read audio: {path}: "):
        scan(tmp_path, "a.wav")


def test_a_folder_in_the_place_of_a_clip(tmp_path):
    path = tmp_path / "8000/train/a.wav"
    path.mkdir(parents=True)
    with pytest.raises(UserError, match=rf"^cannot read {path}: it is a folder$"):
        scan(tmp_path, "a.wav")


def test_audio_is_empty(tmp_path):
    path = write_wav(tmp_path / "8000/train/a.wav", np.zeros(0), 8000)
    with pytest.raises(UserError, match=rf"^empty audio: {path} has no samples$"):
        scan(tmp_path, "a.wav")


def test_audio_of_another_rate_than_its_folder(tmp_path):
    path = write_wav(tmp_path / "8000/train/a.wav", tone(16000, 440), 16000)
    with pytest.raises(UserError, match=rf"^{path}: sample rate 16000 Hz, but its folder says 8000 Hz$"):
        scan(tmp_path, "a.wav")


def test_audio_that_changes_between_scanning_and_reading(tmp_path):
    path = write_wav(tmp_path / "8000/train/a.wav", tone(8000, 440), 8000)
    (file,) = scan(tmp_path, "a.wav")
    write_wav(path, tone(8000, 440)[:4000], 8000)
    with pytest.raises(UserError, match=rf"^cannot read audio: {path} holds 4000 samples, its header says 8000$"):
        read_clip(file, 8000)
    path.unlink()
    with pytest.raises(UserError, match=rf"^cannot read audio: {path}: "):
        read_clip(file, 8000)


def wav_header(channels: int = 1, rate: int = 8000, data_bytes: int = 2**32 - 1) -> bytes:
    """A WAV file's header of 16-bit samples, which need not come."""
    layout = struct.pack("<HHIIHH", 1, channels, rate, rate * channels * 2, channels * 2, 16)
    chunks = b"fmt " + struct.pack("<I", len(layout)) + layout + b"data" + struct.pack("<I", data_bytes)
    return b"RIFF" + struct.pack("<I", min(2**32 - 1, data_bytes + 36)) + b"WAVE" + chunks


def encoded(form: str, subtype: str | None = None) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, tone(8000, 440, 0.01), 8000, format=form, subtype=subtype)
    return file.getvalue()


def flac_that_claims(frames: int) -> bytes:
    """A FLAC file whose header says ``frames`` samples (36 bits, in bytes 21 to 25)."""
    content = bytearray(encoded("FLAC"))
    content[21] = content[21] & 0xF0 | frames >> 32
    content[22:26] = struct.pack(">I", frames & 0xFFFFFFFF)
    return bytes(content)


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    path = tmp_path_factory.mktemp("odd") / "8000/train/a.wav"
    path.parent.mkdir(parents=True)
    return path


def read_all(path: Path) -> np.ndarray:
    (file,) = scan(path.parents[2], path.name)
    return read_clip(file, 8000)


@few
@given(damaged([encoded("WAV"), encoded("WAV", "FLOAT"), encoded("FLAC"), encoded("OGG"), encoded("AIFF"), b""]))
@example(flac_that_claims(2**36 - 1))
@example(flac_that_claims(2**30 - 1))
@example(wav_header())
@example(wav_header(channels=0))
@example(wav_header(channels=1024, data_bytes=2048) + bytes(2048))
@example(wav_header(rate=0))
@example(b"RF64" + wav_header()[4:])
def test_any_bytes_are_audio_or_a_sentence(odd, content):
    odd.write_bytes(content)
    samples = answer(lambda: read_all(odd), mebibytes=5000)  # of addresses: see the next test
    if isinstance(samples, np.ndarray):
        assert samples.dtype == np.float32
        assert samples.ndim == 1
        assert np.isfinite(samples).all()
    else:
        assert str(odd) in samples


def test_a_header_that_claims_more_than_a_clip_can_hold(odd):
    odd.write_bytes(flac_that_claims(2**36 - 1))
    with pytest.raises(UserError, match=f"its header says {2**36 - 1} samples in 1 channels, at most {2**30} are read"):
        scan(odd.parents[2], odd.name)


def test_a_header_that_claims_more_than_the_file_holds_takes_no_memory(odd):
    """The array for what is claimed is laid out, but its pages are never touched."""
    odd.write_bytes(flac_that_claims(2**29))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB
    assert "cannot read audio: " in answer(lambda: read_all(odd), mebibytes=5000)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 << 10


def test_a_clip_that_resampling_would_make_too_long(tmp_path):
    write_wav(tmp_path / "1/train/a.wav", np.zeros(30_000), 1)
    (file,) = scan(tmp_path, "a.wav", rate=1)
    with pytest.raises(UserError, match="at 48000 Hz it has 1440000000 samples, at most"):
        read_clip(file, 48000)


def test_a_pipe_is_not_waited_for(tmp_path):
    path = tmp_path / "8000/train/a.wav"
    path.parent.mkdir(parents=True)
    os.mkfifo(path)
    with pytest.raises(UserError, match=rf"^cannot read {path}: it is not a regular file"):
        scan(tmp_path, "a.wav")


def test_a_name_that_no_file_can_have(tmp_path):
    with pytest.raises(UserError, match=r"^clip not found: "):
        scan(tmp_path, "x" * 300)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_audio_that_is_not_finite(tmp_path, bad):
    path = write_wav(tmp_path / "8000/train/a.wav", tone(8000, 440), 8000)
    audio = tone(8000, 440)
    audio[10] = bad
    soundfile.write(path, audio, 8000, subtype="FLOAT")
    (file,) = scan(tmp_path, "a.wav")
    with pytest.raises(UserError, match=rf"^{path}: the audio holds NaN or infinite samples$"):
        read_clip(file, 8000)


def test_clips_keep_their_order(tmp_path):
    for split, name, frames in (("train", "a.wav", 10), ("train", "b.wav", 20), ("test", "a.wav", 30)):
        write_wav(tmp_path / "8000" / split / name, np.zeros(frames), 8000)
    wanted = [("test", [Clip("a.wav")]), ("train", [Clip("b.wav"), Clip("a.wav")])]
    files = scan_clips(task_of(tmp_path), wanted, 8000)
    assert [(file.split, file.name, file.frames) for file in files] == [
        ("test", "a.wav", 30),
        ("train", "b.wav", 20),
        ("train", "a.wav", 10),
    ]


# Batches ----------------------------------------------------------------------------------------------------


def clip_file(split: str, name: str, frames: int) -> ClipFile:
    return ClipFile(split, name, Path(name), 1000, frames, 1)


def test_equal_length_batches():
    """1 s clips go in threes into 3.5 s, 2 s clips alone; a split's clips do not mix with another's."""
    lengths = [("a", "1", 1000), ("a", "2", 2000), ("a", "3", 1000), ("b", "4", 1000), ("a", "5", 1000)]
    lengths += [("a", "6", 1000), ("a", "7", 2000), ("b", "8", 1000), ("a", "9", 9000)]
    batches = list(equal_length_batches([clip_file(*item) for item in lengths], 3.5))
    assert [[file.name for file in batch] for batch in batches] == [
        ["1", "3", "5"],
        ["6"],
        ["2"],
        ["7"],
        ["4", "8"],
        ["9"],  # longer than the budget, and still a batch
    ]


@pytest.mark.parametrize("seed", range(5))
def test_equal_length_batches_hold_every_clip_once_within_the_budget(seed):
    random = np.random.default_rng(seed)
    files = [clip_file("ab"[random.integers(2)], str(i), int(random.integers(1, 5)) * 500) for i in range(60)]
    batches = list(equal_length_batches(files, 4.0))
    assert sorted(int(file.name) for batch in batches for file in batch) == list(range(60))
    for batch in batches:
        assert len({(file.split, file.frames) for file in batch}) == 1
        assert sum(file.seconds for file in batch) <= 4.0
        assert [int(file.name) for file in batch] == sorted(int(file.name) for file in batch)
    assert any(sum(file.seconds for file in batch) == 4.0 for batch in batches)  # the budget is used


def test_equal_length_batches_of_nothing():
    assert list(equal_length_batches([], 60)) == []


# Threads ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ahead", [0, 1, 3, 100])
def test_parallel_keeps_the_order(ahead):
    def slow_start(i: int) -> int:
        time.sleep(0.02 if i % 3 == 0 else 0)
        return i * i

    assert list(parallel(slow_start, range(20), ahead)) == [i * i for i in range(20)]
    assert list(parallel(slow_start, [], ahead)) == []


def test_parallel_runs_only_so_far_ahead():
    """While the first result is in use, no more than the next three have been started."""
    started, lock = [], threading.Lock()

    def note(i: int) -> int:
        with lock:
            started.append(i)
        return i

    results = parallel(note, range(20), ahead=3)
    for expected in range(5):
        assert next(results) == expected
        end = time.monotonic() + 5
        while len(started) < expected + 4 and time.monotonic() < end:
            time.sleep(0.002)
        time.sleep(0.02)  # time in which one more could start
        assert len(started) == expected + 4
    results.close()
    assert len(started) <= 9


def test_parallel_passes_an_error_on():
    def fails(i: int) -> int:
        if i == 3:
            raise UserError("three")
        return i

    for ahead in (0, 2):
        results = parallel(fails, range(10), ahead)
        assert [next(results) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(UserError, match=r"^three$"):
            next(results)


def test_cpu_count(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 3, 5}, raising=False)
    assert cpu_count() == 3
    monkeypatch.delattr("os.sched_getaffinity")
    monkeypatch.setattr("os.cpu_count", lambda: 7)
    assert cpu_count() == 7
    monkeypatch.setattr("os.cpu_count", lambda: None)
    assert cpu_count() == 1
