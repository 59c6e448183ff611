import hashlib
import json
import multiprocessing
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from hear_exp.errors import UserError
from hear_exp.files import temporary_name
from hear_exp.tasks import demo
from hear_exp.tasks.demo import DEMO_TASKS, DEMO_VERSION, ensure_demo_task, write_demo_task
from hear_exp.tasks.folder import Task, folds, read_task

KINDS = {
    "demo_scene": ("scene", "multiclass", "trainvaltest", "pitch_acc"),
    "demo_folds": ("scene", "multiclass", "new_split_kfold", "top1_acc"),
    "demo_tags": ("scene", "multilabel", "trainvaltest", "mAP"),
    "demo_events": ("event", "multilabel", "trainvaltest", "event_onset_200ms_fms"),
}


def small(name: str, clips: int = 3) -> demo.DemoTask:
    """The demo task with a few clips in each split."""
    task = demo._TASKS[name]
    return replace(task, clips=dict.fromkeys(task.clips, clips))


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def write_one_each(name: str, folder: Path, workers: int = 1) -> None:
    """Write the task with one clip a split: the same clips as the first ones of the whole task."""
    write_demo_task(small(name, 1), folder, workers=workers)


def generate_small(folder: Path, barrier) -> None:
    """In a process of its own: generate a small demo_scene at the same time as another one."""
    demo._TASKS["demo_scene"] = small("demo_scene", 12)
    barrier.wait()
    ensure_demo_task("demo_scene", folder)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> dict[str, Task]:
    """All four tasks in full, each generated once."""
    root = tmp_path_factory.mktemp("demo")
    start = time.process_time()  # of all threads; wall time says more about what else the machine does
    tasks = {name: read_task(ensure_demo_task(name, root / name)) for name in DEMO_TASKS}
    assert time.process_time() - start < 60  # about 19 on the machines this was written on
    return tasks


def durations(task: Task) -> Counter:
    """Number of clips of each length in samples; checks the files' format on the way."""
    lengths: Counter = Counter()
    for split in task.splits:
        audio = task.folder / "44100" / split.name
        assert sorted(path.name for path in audio.iterdir()) == sorted(clip.name for clip in split.clips)
        for clip in split.clips:
            info = soundfile.info(audio / clip.name)
            assert (info.samplerate, info.channels, info.subtype) == (44100, 1, "PCM_16")
            lengths[info.frames] += 1
    return lengths


@pytest.mark.slow
@pytest.mark.parametrize("name", DEMO_TASKS)
def test_layout(whole, name):
    task = whole[name]
    found = (task.embedding_type, task.prediction_type, task.split_mode, task.primary_metric)
    assert (task.name, task.version, found) == (name, DEMO_VERSION, KINDS[name])
    assert task.sample_rates == (44100,)
    assert len(folds(task)) == (5 if name == "demo_folds" else 1)
    lengths = durations(task)
    if task.sample_duration_s is None:
        assert min(lengths) >= 0.5 * 44100
        assert max(lengths) <= 3.0 * 44100
        assert len(lengths) > 100
    else:
        assert list(lengths) == [round(task.sample_duration_s * 44100)]


@pytest.mark.slow
@pytest.mark.parametrize("name", DEMO_TASKS)
def test_levels(whole, name):
    peaks = []
    for clip in whole[name].splits[0].clips[:40]:
        audio, _ = soundfile.read(whole[name].folder / "44100" / whole[name].splits[0].name / clip.name)
        peaks.append(np.abs(audio).max())
    assert min(peaks) > (0.003 if name == "demo_scene" else 0.05)
    assert max(peaks) < 0.9
    assert max(peaks) > 2 * min(peaks)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "labels"), [("demo_scene", 36), ("demo_folds", 12)])
def test_classes_are_balanced_in_every_split(whole, name, labels):
    for split in whole[name].splits:
        counts = Counter(label for clip in split.clips for label in clip.labels)
        assert set(counts.values()) == {len(split.clips) // labels}
        assert set(counts) == set(whole[name].labels)


@pytest.mark.slow
def test_pitches_are_chromatic_from_a_c(whole):
    pitches = [int(label) for label in whole["demo_scene"].labels]
    assert pitches == list(range(24, 60))
    assert pitches[0] % 12 == 0


def test_note_has_the_labelled_pitch():
    rng = np.random.default_rng(0)
    for index in (20, 24, 35):
        audio, [label] = demo._compose_note(rng, index, demo._TASKS["demo_scene"].labels)
        spectrum = np.fft.rfft(audio[4000:] * np.hanning(len(audio) - 4000), 2**18)
        # The lag at which the note repeats, searched within a semitone of the label's.
        correlation = np.fft.irfft(np.abs(spectrum) ** 2)
        expected = 44100 / (440 * 2 ** ((int(label) - 69) / 12))
        lags = np.arange(round(expected * 2 ** (-1 / 12)), round(expected * 2 ** (1 / 12)) + 1)
        cents = 1200 * np.log2(lags[np.argmax(correlation[lags])] / expected)
        assert abs(cents) < 80


@pytest.mark.slow
def test_tags_have_every_class_in_every_split_and_clips_without_any(whole):
    for split in whole["demo_tags"].splits:
        counts = Counter(label for clip in split.clips for label in clip.labels)
        assert set(counts) == set(whole["demo_tags"].labels)
        assert min(counts.values()) >= 5
        sizes = Counter(len(clip.labels) for clip in split.clips)
        assert sorted(sizes) == [0, 1, 2, 3]
        assert all(len(set(clip.labels)) == len(clip.labels) for clip in split.clips)


@pytest.mark.slow
def test_events_lie_in_the_scene_and_overlap_only_other_classes(whole):
    task = whole["demo_events"]
    assert len(task.labels) >= 8
    overlaps = 0
    for clip in (clip for split in task.splits for clip in split.clips):
        assert {event.label for event in clip.events} == set(task.labels)
        for event in clip.events:
            assert 0 <= event.start_ms < event.end_ms <= 30000
            assert event.end_ms - event.start_ms >= 249
        for i, one in enumerate(clip.events):
            for other in clip.events[i + 1 :]:
                if other.start_ms < one.end_ms and one.start_ms < other.end_ms:
                    assert one.label != other.label
                    overlaps += 1
    assert overlaps > 100


def test_event_times_fit_the_audio(monkeypatch):
    # One class over a silent background: sound starts and ends where the annotation says.
    monkeypatch.setattr(demo, "noise", lambda rng, n, tilt_db: np.zeros(n))
    audio, events = demo._compose_events(np.random.default_rng(1), 0, ("pipe",))
    sounding = np.flatnonzero(np.abs(audio) > 1e-6) / 44.1
    assert sounding[0] == pytest.approx(events[0]["start"], abs=5)
    assert sounding[-1] == pytest.approx(events[-1]["end"], abs=5)
    for event in events:
        inside = (sounding > event["start"]) & (sounding < event["end"])
        assert inside.sum() / 44.1 > 0.9 * (event["end"] - event["start"])


@pytest.mark.slow
@pytest.mark.parametrize("name", DEMO_TASKS)
def test_bits_do_not_depend_on_process_or_threads(tmp_path, name):
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=write_one_each, args=(name, tmp_path / "other"))
    process.start()
    write_one_each(name, tmp_path / "here", workers=3)
    process.join(60)
    assert process.exitcode == 0
    assert digests(tmp_path / "here") == digests(tmp_path / "other")
    splits = len(small(name).clips)
    assert len(digests(tmp_path / "here")) == 2 + 2 * splits


def test_a_clip_does_not_depend_on_how_many_there_are(tmp_path):
    write_demo_task(small("demo_tags", 1), tmp_path / "one")
    write_demo_task(small("demo_tags", 2), tmp_path / "two")
    one, two = digests(tmp_path / "one" / "44100"), digests(tmp_path / "two" / "44100")
    assert one.items() < two.items()
    assert len(set(two.values())) == 6


def test_progress_and_a_second_call(tmp_path, monkeypatch):
    monkeypatch.setitem(demo._TASKS, "demo_folds", small("demo_folds", 1))
    calls = []
    folder = tmp_path / "new" / "demo_folds"
    assert ensure_demo_task("demo_folds", folder, progress=lambda *call: calls.append(call)) == folder
    assert calls == [(i, 5) for i in range(1, 6)]
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    ensure_demo_task("demo_folds", folder, progress=lambda *call: calls.append(call))
    assert len(calls) == 5
    assert before == {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_a_killed_run_leaves_nothing_that_counts(tmp_path, monkeypatch):
    monkeypatch.setitem(demo._TASKS, "demo_folds", small("demo_folds", 2))
    folder = tmp_path / "demo_folds"

    def stop(done: int, total: int) -> None:
        if done == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ensure_demo_task("demo_folds", folder, progress=stop)
    assert not folder.exists()
    assert [path.name for path in tmp_path.iterdir()] == [".demo_folds.lock"]  # whatever Python could still tidy up
    leftover = temporary_name(folder)  # of a process that could not
    (leftover / "44100" / "fold00").mkdir(parents=True)
    (leftover / "44100" / "fold00" / "stray.wav").write_bytes(b"half")
    ensure_demo_task("demo_folds", folder)
    assert not leftover.exists()
    assert sum(durations(read_task(folder)).values()) == 10


@pytest.mark.slow
def test_two_processes_at_once(tmp_path):
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(2)
    folder = tmp_path / "demo_scene"
    processes = [context.Process(target=generate_small, args=(folder, barrier)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    assert sum(durations(read_task(folder)).values()) == 36


def test_unknown_name(tmp_path):
    expected = "unknown demo task 'demo_song', expected one of: demo_scene, demo_folds, demo_tags, demo_events"
    with pytest.raises(UserError, match=expected):
        ensure_demo_task("demo_song", tmp_path / "demo_song")
    assert not list(tmp_path.iterdir())


def test_another_version_is_not_overwritten(tmp_path, monkeypatch):
    monkeypatch.setitem(demo._TASKS, "demo_folds", small("demo_folds", 1))
    folder = ensure_demo_task("demo_folds", tmp_path / "demo_folds")
    path = folder / "task_metadata.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"version": "demo-0"}))
    with pytest.raises(UserError, match="holds demo_folds version demo-0, expected demo_folds version demo-1: remove"):
        ensure_demo_task("demo_folds", folder)


def test_a_folder_of_something_else_is_not_overwritten(tmp_path):
    (tmp_path / "demo_tags").mkdir()
    (tmp_path / "demo_tags" / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match=r"is there but is not demo task demo_tags .*task_metadata\.json.*: remove"):
        ensure_demo_task("demo_tags", tmp_path / "demo_tags")
    assert (tmp_path / "demo_tags" / "thesis.txt").exists()
