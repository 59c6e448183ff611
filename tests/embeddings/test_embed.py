"""Embedding a task: once, whatever the batches, through kills, other processes, and memory that runs out."""

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from tiny import embed, tiny_encoder, write_task, write_wav

from hear_exp.embeddings.cache import Writer
from hear_exp.embeddings.embed import clip_order, embed_task
from hear_exp.errors import UserError
from hear_exp.tasks.audio import read_clip, scan_clips
from hear_exp.tasks.folder import Clip, Split, read_task

# What the model is called with before a task: one clip twice, two together, the other one; and one clip twice.
TRIAL = [1, 1, 2, 1]
TRIAL_OF_ONE = [1, 1]


def files_of(root: Path) -> dict[str, bytes]:
    """Contents of the one entry under ``root``."""
    (manifest,) = root.glob("*/*/manifest.json")
    return {path.name: path.read_bytes() for path in manifest.parent.iterdir()}


def rows_by_clip(embeddings) -> dict[tuple[str, str], np.ndarray]:
    array = embeddings.array()
    return {
        (split, clip.name): np.array(array[clip.start : clip.start + clip.count])
        for split, clips in embeddings.splits.items()
        for clip in clips
    }


def process(folder: Path, root: Path, batch_seconds: float, *sync: Path, **environment: str) -> subprocess.Popen:
    """Embeds in a process of its own; its last line of output is the number of clips it has computed."""
    script = Path(__file__).parents[1] / "tiny.py"
    command = [sys.executable, str(script), str(folder), str(root), str(batch_seconds), *map(str, sync)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def wait_for(condition, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.01)


# What is embedded -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["multiclass", "multilabel", "events"])
def test_every_clip_has_its_own_embedding(tmp_path, kind):
    """A clip's rows are what the model says of that clip alone."""
    task, embedded = embed(write_task(tmp_path / "task", kind, clips=5, seconds=1.3), tmp_path / "cache")
    encoder, rows = tiny_encoder(), rows_by_clip(embedded.embeddings)
    files = scan_clips(task, clip_order(task), 8000)
    assert len(rows) == len(files) == embedded.computed_clips == 15
    for file in files:
        audio = read_clip(file, 8000)[np.newaxis]
        if kind == "events":
            expected, times = encoder.timestamps(audio)
            (clip,) = [c for c in embedded.embeddings.splits[file.split] if c.name == file.name]
            found = embedded.embeddings.timestamps_ms()[clip.start : clip.start + clip.count]
            assert np.array_equal(found, times[0])
            assert clip.count == 26
        else:
            expected = encoder.scene(audio)[np.newaxis]
        assert np.array_equal(rows[file.split, file.name], expected[0])


def test_rows_are_in_the_order_of_heareval(tmp_path):
    task, embedded = embed(write_task(tmp_path / "task", "multilabel", clips=5), tmp_path / "cache")
    for split, clips in clip_order(task):
        assert [c.name for c in embedded.embeddings.splits[split]] == [c.name for c in clips]
        assert [c.start for c in embedded.embeddings.splits[split]] == list(embedded.embeddings.split_range(split))


def test_clip_order():
    """As heareval has it: random.Random(0) shuffles one split after another."""
    splits = tuple(Split(name, tuple(Clip(str(i)) for i in range(n))) for name, n in (("a", 5), ("b", 4), ("c", 5)))
    task = SimpleNamespace(splits=splits)
    order = [(name, "".join(clip.name for clip in clips)) for name, clips in clip_order(task)]
    assert order == [("a", "21043"), ("b", "0213"), ("c", "10423")]


def test_resampled_audio(tmp_path):
    _, embedded = embed(write_task(tmp_path / "task", rate=44100), tmp_path / "cache")
    key = json.loads(files_of(tmp_path / "cache")["key.json"])
    assert (key["sample_rate"], key["resampled_from"], key["resampler"]) == (8000, 44100, "soxr HQ")
    assert embedded.computed_clips == 36


# Once -------------------------------------------------------------------------------------------------------


def test_second_run_computes_nothing(tmp_path, calls, caplog):
    caplog.set_level(logging.INFO)
    folder = write_task(tmp_path / "task")
    _, first = embed(folder, tmp_path / "cache")
    assert (first.computed_clips, sum(calls())) == (36, 36 + sum(TRIAL))
    assert "embeddings found in the cache" not in caplog.text
    _, second = embed(folder, tmp_path / "cache")
    assert (second.computed_clips, sum(calls())) == (0, 36 + sum(TRIAL))
    assert second.embeddings == first.embeddings
    assert "embeddings found in the cache" in caplog.text


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["multilabel", "events"])
def test_result_does_not_depend_on_the_batches(tmp_path, calls, kind):
    folder = write_task(tmp_path / "task", kind, clips=7)
    found = []
    for i, batch_seconds in enumerate((0.001, 1.7, 60)):
        before = len(calls())
        embed(folder, tmp_path / f"cache{i}", batch_seconds)
        found.append((files_of(tmp_path / f"cache{i}"), len(calls()) - before))
    (first, most), (second, fewer), (third, fewest) = found
    assert first == second == third
    assert most > fewer > fewest
    assert most == 21 + len(TRIAL_OF_ONE)  # one clip a batch


@pytest.mark.slow
@pytest.mark.parametrize("batch_seconds", [0, -1.0, float("nan"), "all", None, True])
def test_batch_seconds(tmp_path, batch_seconds):
    folder = write_task(tmp_path / "task")
    with pytest.raises(UserError, match=r"^embeddings.batch_seconds is .*, expected seconds above 0$"):
        embed(folder, tmp_path / "cache", batch_seconds)


# The key ----------------------------------------------------------------------------------------------------


@pytest.fixture
def known(tmp_path):
    """A task that has been embedded, and a function that tells how many clips a later run computes."""
    folder = write_task(tmp_path / "task")
    embed(folder, tmp_path / "cache")
    return folder, lambda **options: embed(folder, tmp_path / "cache", **options)[1].computed_clips


def test_changed_labels_keep_the_key(known):
    folder, again = known
    content = json.loads((folder / "train.json").read_text())
    (folder / "train.json").write_text(json.dumps({name: ["low"] for name in content}))
    (folder / "labelvocabulary.csv").write_text("idx,label\n0,high\n1,low\n2,mid\n3,more\n")
    metadata = json.loads((folder / "task_metadata.json").read_text())
    (folder / "task_metadata.json").write_text(json.dumps({**metadata, "evaluation": ["mAP"], "version": "2"}))
    assert again() == 0


def test_touched_and_moved_files_keep_the_key(known, tmp_path):
    folder, again = known
    for path in (folder / "8000" / "train").iterdir():
        os.utime(path, (1, 1))
    assert again() == 0
    shutil.move(folder, tmp_path / "elsewhere")
    task = read_task(tmp_path / "elsewhere")
    assert embed_task(task, tiny_encoder(), tmp_path / "cache").computed_clips == 0


def test_changed_audio_changes_the_key(known):
    folder, again = known
    path = folder / "8000" / "valid" / "valid_3.wav"
    audio, rate = soundfile.read(path)
    audio[100] += 0.1
    write_wav(path, audio, rate)
    os.utime(path, ns=(0, 12345))  # also where a coarse clock gives the same modification time
    assert again() == 36
    assert again() == 0


def test_added_clip_changes_the_key(known):
    folder, again = known
    content = json.loads((folder / "test.json").read_text())
    shutil.copy(folder / "8000" / "test" / "test_0.wav", folder / "8000" / "test" / "more.wav")
    (folder / "test.json").write_text(json.dumps({**content, "more.wav": ["low"]}))
    assert again() == 37


def test_options_and_weights_change_the_key(known, tmp_path):
    _, again = known
    assert again(dim=8) == 36
    weights = tmp_path / "weights.txt"
    weights.write_text("2.0")
    assert again(weights=str(weights)) == 36
    assert again(weights=str(weights)) == 0
    weights.write_text("3.0")
    assert again(weights=str(weights)) == 36


def test_kind_changes_the_key(tmp_path):
    task = read_task(write_task(tmp_path / "task", "events", seconds=1.0))
    for kind in ("event", "scene"):
        as_kind = replace(task, embedding_type=kind)
        assert embed_task(as_kind, tiny_encoder(), tmp_path / "cache").computed_clips == 36


def test_forgotten_digests_are_computed_again(known, tmp_path):
    _, again = known
    (memory,) = (tmp_path / "cache" / ".digests").iterdir()
    memory.write_text("{")  # a disk that was full
    assert again() == 0
    assert len(json.loads(memory.read_text())) == 36


# Memory -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("error", ["torch", "numpy"])
@pytest.mark.parametrize("kind", ["multiclass", "events"])
def test_halved_where_memory_runs_out(tmp_path, calls, monkeypatch, caplog, kind, error):
    folder = write_task(tmp_path / "task", kind)
    embed(folder, tmp_path / "whole")
    expected = files_of(tmp_path / "whole")
    monkeypatch.setenv("TINY_MEMORY", "3")
    monkeypatch.setenv("TINY_ERROR", error)
    before = len(calls())
    _, embedded = embed(folder, tmp_path / "cache")
    assert embedded.computed_clips == 36
    assert calls()[before:] == [*TRIAL, *[12, 6, 3, 3, 6, 3, 3] * 3]
    assert files_of(tmp_path / "cache") == expected
    assert "memory ran out on 12 clips; trying again with 6" in caplog.text


def test_memory_for_no_clip_at_all(tmp_path, monkeypatch):
    folder = write_task(tmp_path / "task")
    monkeypatch.setenv("TINY_MEMORY", "0")
    with pytest.raises(UserError, match=r"^model tiny: memory ran out on a single clip \(.*\.wav, 0\.5 s\)$"):
        embed(folder, tmp_path / "cache")


def test_other_errors_of_a_model_are_not_taken_for_memory(tmp_path, calls, monkeypatch):
    folder, encoder = write_task(tmp_path / "task"), tiny_encoder()

    def fails(audio):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(encoder, "scene", fails)
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        embed_task(read_task(folder), encoder, tmp_path / "cache")


# NaN --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["multiclass", "events"])
def test_nan_names_model_and_clip_and_stops(tmp_path, monkeypatch, calls, kind):
    folder = write_task(tmp_path / "task", kind, seconds=1.0)
    path = folder / "8000" / "valid" / "valid_7.wav"
    audio, rate = soundfile.read(path)
    audio[1000] = 0.99
    write_wav(path, audio, rate)
    monkeypatch.setenv("TINY_NAN", "0.9")
    with pytest.raises(UserError) as error:
        embed(folder, tmp_path / "cache", batch_seconds=4)
    assert "model tiny" in str(error.value)
    assert str(path) in str(error.value)
    assert "NaN or infinite" in str(error.value)
    assert not list((tmp_path / "cache").glob("*/*/manifest.json"))
    monkeypatch.delenv("TINY_NAN")
    before = sum(calls())
    task, embedded = embed(folder, tmp_path / "cache")
    assert embedded.computed_clips == sum(calls()) - before == 36 - 12 - 4 * (position(task, "valid_7.wav") // 4)
    assert np.isfinite(embedded.embeddings.array()).all()


def position(task, clip: str) -> int:
    """Where a clip of 'valid' comes in the order of computing."""
    return [c.name for c in dict(clip_order(task))["valid"]].index(clip)


# Kill and company -------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_killed_run_is_resumed_by_clip(tmp_path, calls, monkeypatch):
    folder = write_task(tmp_path / "task", "events", seconds=1.0)
    running = process(folder, tmp_path / "cache", 1.0, TINY_DELAY="0.1")
    try:
        wait_for(lambda: len(calls()) >= 10)
    finally:
        running.send_signal(signal.SIGKILL)
    assert running.wait(10) == -signal.SIGKILL
    assert not list((tmp_path / "cache").glob("*/*/manifest.json"))
    before = len(calls())
    assert before < 36  # it was killed in the middle
    _, embedded = embed(folder, tmp_path / "cache", 1.0)
    computed = len(calls()) - before
    # A call whose clip had not reached the disk is made again; nothing else is.
    assert computed == embedded.computed_clips
    assert before - len(TRIAL_OF_ONE) + computed in (36, 37)  # and the model is not tried again
    embed(folder, tmp_path / "uninterrupted", 1.0)
    assert files_of(tmp_path / "cache") == files_of(tmp_path / "uninterrupted")


@pytest.mark.slow
def test_two_processes_compute_each_clip_once(tmp_path, calls):
    folder, go = write_task(tmp_path / "task", "multilabel"), tmp_path / "go"
    ready = [tmp_path / "ready0", tmp_path / "ready1"]
    both = [process(folder, tmp_path / "cache", 0.01, path, go, TINY_DELAY="0.03") for path in ready]
    try:
        wait_for(lambda: all(path.exists() for path in ready))
        go.touch()
        output = [running.communicate(timeout=60)[0] for running in both]
    finally:
        for running in both:
            running.kill()
    assert [running.returncode for running in both] == [0, 0]
    assert sorted(int(text.split()[-1]) for text in output) == [0, 36]
    assert calls() == [*TRIAL_OF_ONE, *[1] * 36]
    embed(folder, tmp_path / "alone", 0.01)
    assert files_of(tmp_path / "cache") == files_of(tmp_path / "alone")


@pytest.mark.slow
def test_the_one_that_waits_goes_on_where_the_killed_one_stopped(tmp_path, calls):
    folder, root = write_task(tmp_path / "task", "multilabel"), tmp_path / "cache"
    ready, go = [tmp_path / "ready0", tmp_path / "ready1"], [tmp_path / "go0", tmp_path / "go1"]
    both = [process(folder, root, 0.01, *sync, TINY_DELAY="0.1") for sync in zip(ready, go, strict=True)]
    first, second = both
    try:
        wait_for(lambda: all(path.exists() for path in ready))
        go[0].touch()
        wait_for(lambda: len(calls()) >= 8)
        go[1].touch()
        wait_for(lambda: len(calls()) >= 14)
        first.send_signal(signal.SIGKILL)
        output = second.communicate(timeout=60)[0]
    finally:
        for running in both:
            running.kill()
    assert second.returncode == 0
    assert first.wait(10) == -signal.SIGKILL
    assert int(output.split()[-1]) <= 36 - 8 + len(TRIAL_OF_ONE)
    assert len(calls()) - len(TRIAL_OF_ONE) in (36, 37)  # the clip that was in flight is computed again
    embed(folder, tmp_path / "alone", 0.01)
    assert files_of(root) == files_of(tmp_path / "alone")


def test_damaged_embeddings_are_computed_again(known, tmp_path, caplog):
    """A zeroed file of the right size, as a power cut leaves it: a run says so and gets the right numbers."""
    _, again = known
    expected = files_of(tmp_path / "cache")
    (path,) = (tmp_path / "cache").glob("*/*/embeddings.f32")
    path.write_bytes(bytes(path.stat().st_size))
    assert again() == 36
    assert f"damaged embedding cache: {path} does not match its checksum; computing it again" in caplog.text
    assert files_of(tmp_path / "cache") == expected


def test_another_version_of_a_package_is_told_and_nothing_computed(known, tmp_path, caplog):
    _, again = known
    caplog.set_level(logging.INFO)
    (path,) = (tmp_path / "cache").glob("*/*/versions.json")
    versions = json.loads(path.read_text())
    path.write_text(json.dumps({**versions, "torch": "1.0"}))
    assert again() == 0
    assert f"were computed with torch 1.0 (now {versions['torch']})" in caplog.text


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's device that is always full")
def test_a_full_disk_loses_no_finished_batch(tmp_path, monkeypatch, calls):
    folder, append, done = write_task(tmp_path / "task"), Writer.append, []

    def filling(writer, *args):
        if len(done) == 5:
            writer._files["embeddings.f32"] = open("/dev/full", "ab")  # noqa: SIM115 - the writer closes it
        append(writer, *args)
        done.append(len(args[1]))

    monkeypatch.setattr(Writer, "append", filling)
    with pytest.raises(OSError, match="No space left on device") as caught:
        embed(folder, tmp_path / "cache", batch_seconds=1.0)
    assert str(caught.value.filename).endswith("partial/embeddings.f32")
    monkeypatch.undo()
    assert embed(folder, tmp_path / "cache")[1].computed_clips == 36 - sum(done) == 26


@pytest.mark.parametrize(
    ("event", "words"),
    [
        ({"label": "0", "start": 900_000, "end": 900_100}, "begin after their clip ends"),
        ({"label": "0", "start": 0.1, "end": 0.4}, "are their times in seconds, not milliseconds"),
    ],
)
def test_event_times_that_cannot_be_meant_are_told(tmp_path, caplog, event, words):
    folder = write_task(tmp_path / "task", kind="events")
    label = read_task(folder).labels[0]
    for path in folder.glob("*.json"):
        if path.name != "task_metadata.json":
            clips = json.loads(path.read_text())
            path.write_text(json.dumps({name: [{**event, "label": label}] for name in clips}))
    embed(folder, tmp_path / "cache")
    assert words in caplog.text
