"""The whole of prepare: its command, from recordings and tables to task folders."""

import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from recorded import RATE, notes, record, table, tone

from hear_exp import __main__ as hear_exp_main
from hear_exp.errors import UserError
from hear_exp.files import temporary_name
from hear_exp.prepare import __main__ as module
from hear_exp.prepare import task_folder
from hear_exp.prepare.__main__ import prepare
from hear_exp.prepare.clip_audio import to_16_bits
from hear_exp.prepare.options import Options, hydra_arguments, options_from_config
from hear_exp.scoring.event import Event
from hear_exp.tasks.audio import scan_clips
from hear_exp.tasks.folder import read_task

CORPORA = Path(__file__).parents[2].parent / "shared" / "data" / "corpora"


def tree(folder, labels=("cat", "dog"), clips=6, **options):
    """A folder a class, with recordings of half a second."""
    for label in labels:
        for i in range(clips):
            record(folder / label / f"{label}{i}.wav", tone(0.5, hertz=300 + 50 * i + len(label)), **options)
    return folder


def audio_of(task, clip, rate=RATE):
    (path,) = (task.folder / str(rate)).glob(f"*/{clip}")
    return soundfile.read(path, dtype="int16")[0]


def given(tmp_path, *rows, header="path,label,split"):
    """A table with three recordings that make the three splits, and then ``rows``."""
    for split in ("train", "valid", "test"):
        record(tmp_path / f"{split}.wav")
    return table(tmp_path / "t.csv", header, "train.wav,a,train", "valid.wav,b,valid", "test.wav,a,test", *rows)


# Scenes ---------------------------------------------------------------------------------------------------


def test_a_folder_a_class(tmp_path, go):
    task = go(folder=tree(tmp_path / "rec"), seed=3)
    assert (task.name, task.version, task.embedding_type, task.prediction_type) == ("task", "1", "scene", "multiclass")
    assert (task.labels, task.sample_rates, task.sample_duration_s) == (("cat", "dog"), (RATE,), 0.5)
    assert task.metrics == ("top1_acc", "mAP", "d_prime", "aucroc")
    clips = {clip.name: clip.labels for split in task.splits for clip in split.clips}
    assert clips == {f"{label}_{label}{i}.wav": (label,) for label in ("cat", "dog") for i in range(6)}
    assert [len(split.clips) for split in task.splits] == [8, 2, 2]


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    tree(tmp_path / "rec")
    for name in "ab":
        prepare(Options(out=str(tmp_path / name), name="t", folder=str(tmp_path / "rec"), folds=3, seed=5))
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert len(files) == 12 + 3 + 3
    for file in files:
        if file.name != "report.json":  # it holds out=
            assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_what_needs_no_change_is_copied_byte_for_byte(tmp_path, go):
    tree(tmp_path / "rec")
    task = go(folder=tmp_path / "rec")
    for source in (tmp_path / "rec").rglob("*.wav"):
        (copy,) = (task.folder / str(RATE)).glob(f"*/*_{source.name}")
        assert copy.read_bytes() == source.read_bytes()


def test_a_table_with_given_splits_and_other_column_names(tmp_path, go):
    for name in "abcd":
        record(tmp_path / "audio" / f"{name}.flac")
    path = table(
        tmp_path / "meta.tsv", "fname\tkind of sound\tset", "a\tx\ttrain", "b\ty\ttrain", "c\tx\tval", "d\ty\teval"
    )
    task = go(
        table=path,
        audio_root=(str(tmp_path / "audio"),),
        path_column="fname",
        label_column="kind of sound",
        split_column="set",
        extension="flac",
    )
    assert {s.name: [(c.name, c.labels) for c in s.clips] for s in task.splits} == {
        "train": [("a.wav", ("x",)), ("b.wav", ("y",))],
        "valid": [("c.wav", ("x",))],
        "test": [("d.wav", ("y",))],
    }


def test_several_rows_or_a_separator_are_several_labels(tmp_path, go):
    path = given(tmp_path, 'train.wav,"b;c",train', "train.wav,a,train", header="path,label,split")
    task = go(table=path, label_separator=";")
    assert (task.prediction_type, task.labels) == ("multilabel", ("a", "b", "c"))
    assert task.metrics == ("mAP", "d_prime", "aucroc")
    assert task.split("train").clips[0].labels == ("a", "b", "c")
    assert "1 rows repeat another one" in notes(task)


def test_clips_without_labels_are_multilabel_s(tmp_path, go):
    path = given(tmp_path, "quiet.wav,,train")
    record(tmp_path / "quiet.wav")
    with pytest.raises(UserError, match=r"line 5: quiet.wav has no label \(1 of 4.*say prediction_type=multilabel"):
        go(table=path)
    task = go(table=path, prediction_type="multilabel")
    assert task.split("train").clips[1].labels == ()


def test_two_tables_with_folders_of_their_own(tmp_path, go):
    for name in ("dev/1", "dev/2", "dev/3", "eval/1"):
        record(tmp_path / f"{name}.wav")
    dev = table(tmp_path / "dev.csv", "path,label,split", "1,a,train", "2,b,train", "3,a,val")
    evaluation = table(tmp_path / "eval.csv", "path,label", "1,b")
    roots = (str(tmp_path / "dev"), str(tmp_path / "eval"))
    task = go(table=(dev, evaluation), audio_root=roots, extension=".wav", default_split="test")
    assert [clip.name for clip in task.split("test").clips] == ["eval_1.wav"]
    assert [clip.name for clip in task.split("train").clips] == ["dev_1.wav", "dev_2.wav"]


def test_a_pattern_names_label_group_and_fold(tmp_path, go):
    for fold in (1, 2, 3):
        for speaker in (11, 12):
            record(tmp_path / "rec" / f"{fold}-{speaker}{fold}_IEO_{'ANG' if speaker == 11 else 'SAD'}_HI.wav")
    task = go(folder=tmp_path / "rec", pattern=r"^(?P<fold>\d)-(?P<group>\d+)_\w+_(?P<label>[A-Z]{3})_")
    assert (task.split_mode, [s.name for s in task.splits]) == ("presplit_kfold", ["fold01", "fold02", "fold03"])
    assert task.labels == ("ANG", "SAD")
    assert json.loads((task.folder / "report.json").read_text())["per_split"]["fold01"]["groups"] == 2


def test_crema_d_s_file_names(tmp_path, go):
    for speaker in (1001, 1002, 1003):
        for emotion in ("ANG", "SAD"):
            record(tmp_path / "AudioWAV" / f"{speaker}_DFA_{emotion}_XX.wav")
    task = go(folder=tmp_path / "AudioWAV", pattern=r"^(?P<group>\d+)_[A-Z]+_(?P<label>[A-Z]{3})_")
    assert task.labels == ("ANG", "SAD")
    assert all(len({clip.name[:4] for clip in split.clips}) == 1 for split in task.splits)


def test_groups_stay_together(tmp_path, go):
    rows = [f"{speaker}{take}.wav,{'xy'[take % 2]},{speaker}" for speaker in "ABCDEF" for take in range(4)]
    for row in rows:
        record(tmp_path / row.split(",")[0])
    task = go(table=table(tmp_path / "t.csv", "path,label,group", *rows), folds=3)
    speakers = [{clip.name[0] for clip in split.clips} for split in task.splits]
    assert sorted(speaker for of_split in speakers for speaker in of_split) == list("ABCDEF")
    assert [len(split.clips) for split in task.splits] == [8, 8, 8]


def test_numbers_as_labels_are_in_order(tmp_path, go):
    task = go(folder=tree(tmp_path / "rec", ("60", "9", "100")))
    assert task.labels == ("9", "60", "100")  # index mod 12 means something for pitches


def test_stretches_of_recordings_become_clips_and_stay_together(tmp_path, go):
    rows = []
    for name in "abc":
        audio = np.repeat(np.array([1000, 2000, 3000, 4000], dtype=np.int16), RATE // 2)
        record(tmp_path / f"{name}.wav", audio)
        rows += [f"{name}.wav,low,0,500", f"{name}.wav,high,1000,1500", f"{name}.wav,high,1500,2500"]
    task = go(table=table(tmp_path / "t.csv", "path,label,start_ms,end_ms", *rows), kind="scene", length=0.5)
    assert [len(split.clips) for split in task.splits] == [3, 3, 3]
    assert {clip.name[0] for clip in task.split("test").clips} == {task.split("test").clips[0].name[0]}
    assert np.all(audio_of(task, "a_0-500ms.wav") == 1000)
    assert np.all(audio_of(task, "a_1000-1500ms.wav") == 3000)
    assert "3 excerpts end after their recording does" in notes(task)


# Events ---------------------------------------------------------------------------------------------------


def events_table(tmp_path, *rows, columns="path,label,start_ms,end_ms,split"):
    for split in ("train", "valid", "test"):
        record(tmp_path / f"{split}.wav", tone(2.0))
    fixed = [f"{split}.wav,knock,100,400,{split}" for split in ("train", "valid", "test")]
    return table(tmp_path / "e.csv", columns, *fixed, *rows)


def test_events_are_cut_off_at_the_clip_s_end(tmp_path, go):
    path = events_table(tmp_path, "train.wav,ring,900.5,2400,train", "train.wav,ring,1600,1700,train")
    task = go(table=path, length=1.5)
    assert (task.embedding_type, task.prediction_type) == ("event", "multilabel")
    assert task.metrics == ("event_onset_200ms_fms", "segment_1s_er")
    assert task.split("train").clips[0].events == (Event("knock", 100.0, 400.0), Event("ring", 900.5, 1500.0))
    content = json.loads((task.folder / "train.json").read_text())
    assert content["train.wav"][1] == {"label": "ring", "start": 900.5, "end": 1500.0}
    assert "1 of 5 events lie after their clip's end and are left out (the first: ring at 1600 ms" in notes(task)
    assert "1 of 5 events end after their clip does; cut off there" in notes(task)


def test_an_event_outside_its_recording_is_an_error_or_skipped(tmp_path, go):
    path = events_table(tmp_path, "train.wav,ring,2500,2600,train")
    with pytest.raises(UserError, match=r"1 of 4 events begin after.*in milliseconds.*ring at 2500 ms.*of 2000 ms"):
        go(table=path)
    task = go(table=path, on_error="skip")
    assert task.labels == ("knock",)


def test_times_in_seconds_and_clips_without_events(tmp_path, go):
    record(tmp_path / "quiet.wav", tone(2.0))
    path = table(
        tmp_path / "e.csv",
        "path;label;onset;offset;split",
        *(f"{split}.wav;knock;0.1;0.35;{split}" for split in ("train", "valid", "test")),
        "quiet.wav;;;;train",
    )
    for split in ("train", "valid", "test"):
        record(tmp_path / f"{split}.wav", tone(2.0))
    task = go(table=path, start_column="onset", end_column="offset", times="s")
    assert [clip.events for clip in task.split("train").clips] == [(Event("knock", 100.0, 350.0),), ()]


# Audio ----------------------------------------------------------------------------------------------------


def test_lengths_are_exact_by_default_the_95th_percentile(tmp_path, go):
    for i in range(20):
        record(tmp_path / "rec" / "ab"[i % 2] / f"{i}.wav", np.full(1000 + i, 0.25))
    task = go(folder=tmp_path / "rec")
    assert task.sample_duration_s == 1018 / RATE
    assert "length of a clip: 0.12725 s, 95% of the clips are no longer" in notes(task)
    assert "1 longer ones lose their end and 18 shorter ones end in silence" in notes(task)
    short = audio_of(task, "a_0.wav")
    assert len(short) == 1018
    assert np.all(short[:1000] == 8192)
    assert not short[1000:].any()
    assert np.all(audio_of(task, "b_19.wav") == 8192)


@pytest.mark.parametrize(("length", "frames"), [("max", {1050}), ("keep", {1000, 1050}), (0.25, {2000}), (1e-5, {1})])
def test_lengths_as_asked(tmp_path, go, length, frames):
    for i in range(6):
        record(tmp_path / "rec" / "ab"[i % 2] / f"{i}.wav", np.full(1000 + 50 * (i == 3), 0.25))
    task = go(folder=tmp_path / "rec", length=length)
    assert (task.sample_duration_s is None) == (length == "keep")
    assert {len(audio_of(task, clip.name)) for split in task.splits for clip in split.clips} == frames


def test_several_rates_by_soxr(tmp_path, go):
    tree(tmp_path / "rec", clips=3, rate=16000)
    audio = record(tmp_path / "rec" / "cat" / "x.wav", tone(0.7, 16000), 16000)
    task = go(folder=tmp_path / "rec", rates=(8000, 16000, 22050), length=0.61)
    assert task.sample_rates == (8000, 16000, 22050)
    for rate in task.sample_rates:
        files = scan_clips(task, [(split.name, split.clips) for split in task.splits], rate)
        assert {file.frames for file in files} == {round(0.61 * rate)}
    samples = soundfile.read(audio, dtype="float32")[0]
    expected = to_16_bits(soxr.resample(samples, 16000, 8000, quality="HQ"))[:4880]
    assert np.array_equal(audio_of(task, "cat_x.wav", 8000), expected)


def test_stereo_formats_and_mixed_rates(tmp_path, go):
    left, right = tone(0.5), tone(0.5, hertz=900)
    record(tmp_path / "rec" / "a" / "stereo.wav", np.stack([left, right], axis=1))
    for i, suffix in enumerate((".flac", ".ogg", ".mp3", ".aiff", ".WAV")):
        record(tmp_path / "rec" / "ab"[i % 2] / f"{i}{suffix}")
    record(tmp_path / "rec" / "b" / "high.wav", tone(0.5, 16000), 16000)
    (tmp_path / "rec" / "b" / "notes.txt").write_text("no audio")
    (tmp_path / "rec" / "__MACOSX" / "b").mkdir(parents=True)
    (tmp_path / "rec" / "__MACOSX" / "b" / "._1.wav").write_bytes(b"litter")
    (tmp_path / "rec" / "b" / "._1.wav").write_bytes(b"litter")
    task = go(folder=tmp_path / "rec", length=0.5)
    assert sum(len(split.clips) for split in task.splits) == 7
    mixed = audio_of(task, "a_stereo.wav")
    assert np.abs(mixed - (left + right) / 2 * 32768).max() <= 1.5
    said = notes(task)
    assert "1 of 7 recordings have more than one channel; the channels are averaged" in said
    assert "differ in sample rate (6 at 8000 Hz, 1 at 16000 Hz); all are written at 8000 Hz" in said
    assert "no audio, left alone: 1 .txt" in said


@pytest.mark.parametrize("peaks", ["clip", "scale"])
def test_what_is_too_loud_never_wraps_around(tmp_path, go, peaks):
    tree(tmp_path / "rec")
    loud = tone(0.5, hertz=100, level=2.5)
    record(tmp_path / "rec" / "cat" / "loud.wav", loud, subtype="FLOAT")
    task = go(folder=tmp_path / "rec", peaks=peaks)
    written = audio_of(task, "cat_loud.wav").astype(float) / 32768
    expected = np.clip(loud, -1, 1) if peaks == "clip" else loud / np.abs(loud).max()
    assert np.abs(written - expected).max() < 1e-4
    assert "1 clips are louder than 16 bits hold, at most 2.5 times (cat_loud.wav)" in notes(task)


def test_to_16_bits():
    samples = np.array([-3, -1, -0.5 / 32768, 0, 1 / 32768, 32767 / 32768, 1, 3], dtype=np.float32)
    assert to_16_bits(samples).tolist() == [-32768, -32768, 0, 0, 1, 32767, 32767, 32767]
    every = np.arange(-32768, 32768).astype(np.int16)
    assert np.array_equal(to_16_bits(every.astype(np.float32) / 32768), every)


# Names, notes, report -------------------------------------------------------------------------------------


def test_file_names_are_readable_and_never_meet(tmp_path, go):
    paths = [
        "x/a b.wav",
        "x_a b.wav",
        "x/A b.wav",
        "x/ü(1).wav",
        "x/.hid.wav",
        "x/" + "long" * 50 + ".wav",
        "x/a b.flac",
    ]
    for path in paths:
        record(tmp_path / path)
    rows = [f"{path},{'pq'[i % 2]}" for i, path in enumerate(paths)]
    task = go(table=table(tmp_path / "t.csv", "path,label", *rows))
    names = sorted(clip.name for split in task.splits for clip in split.clips)
    assert len({name.casefold() for name in names}) == len(paths)
    assert {"x_ü_1_.wav", "x_.hid.wav"} < set(names)
    assert sum(name.lower().startswith("x_a_b_") for name in names) == 4  # with a hash each
    assert max(map(len, names)) < 140


def test_notes_on_silence_twins_parted_groups_and_rare_labels(tmp_path, go):
    same = tone(0.5, hertz=777)
    for name, audio in (("one", same), ("two", same), ("mute", np.zeros(4000))):
        record(tmp_path / f"{name}.wav", audio)
    path = given(tmp_path, "one.wav,a,train", "two.wav,a,test", "mute.wav,c,valid")
    lines = Path(path).read_text().splitlines()
    groups = ["group", "g1", "g2", "g3", "g4", "g4", "g5"]
    task = go(table=table(tmp_path / "g.csv", *(f"{line},{group}" for line, group in zip(lines, groups, strict=True))))
    said = notes(task)
    assert "1 clips are silent (the first: mute.wav)" in said
    assert (
        "WARNING: 1 clips sound exactly like one of another split (the first: test/two.wav like train/one.wav)" in said
    )
    assert "WARNING: 1 groups have clips in two of the given splits (the first: g4)" in said
    assert "2 labels come in fewer groups (or clips) than there are splits, some split lacks them: b, c" in said
    train = json.loads((task.folder / "report.json").read_text())["per_split"]["train"]
    assert train == {"clips": 2, "hours": 0.000278, "groups": 2, "labels": {"a": 2}, "missing": ["b", "c"]}


def test_the_report_is_printed(tmp_path, go, capsys):
    go(folder=tree(tmp_path / "rec"))
    shown = capsys.readouterr().err
    assert "task: scene, multiclass, clips of 0.5 s, 8000 Hz" in shown
    assert ["train", "8", "4.0", "s", "2", "of", "2", "none"] in [line.split() for line in shown.splitlines()]
    assert ["cat", "4", "1", "1", "6"] in [line.split() for line in shown.splitlines()]
    assert "task=custom task.path=" in shown


# Whole or not at all --------------------------------------------------------------------------------------


def test_an_existing_folder_is_only_replaced_when_asked_and_a_task(tmp_path, go):
    tree(tmp_path / "rec")
    go(folder=tmp_path / "rec")
    with pytest.raises(UserError, match="is there already; choose another folder, or replace it with overwrite=true"):
        go(folder=tmp_path / "rec")
    assert go(folder=tmp_path / "rec", overwrite=True, version="2").version == "2"
    (tmp_path / "out" / "task" / "task_metadata.json").unlink()
    with pytest.raises(UserError, match=r"not a task folder.*not overwritten"):
        go(folder=tmp_path / "rec", overwrite=True)


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("trouble", [KeyboardInterrupt, OSError("disk full")])
def test_what_is_broken_off_leaves_nothing_half_written(tmp_path, go, monkeypatch, trouble, overwrite):
    tree(tmp_path / "rec")
    if overwrite:
        go(folder=tmp_path / "rec")
    count = iter(range(100))
    write = task_folder.write_clip

    def broken(*arguments):
        if next(count) == 5:
            raise trouble
        return write(*arguments)

    monkeypatch.setattr(task_folder, "write_clip", broken)
    with pytest.raises(KeyboardInterrupt if trouble is KeyboardInterrupt else UserError):
        go(folder=tmp_path / "rec", overwrite=overwrite)
    assert os.listdir(tmp_path / "out") == (["task"] if overwrite else [])
    if overwrite:
        assert len(list((tmp_path / "out" / "task").rglob("*.wav"))) == 12


def test_ctrl_c_is_a_sentence(tmp_path, monkeypatch, capsys):
    def interrupted(options):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "prepare", interrupted)
    monkeypatch.setattr(module, "options_from_config", lambda config: None)
    with pytest.raises(SystemExit) as left:
        module.run({}, tmp_path / "none", [])
    assert left.value.code == 130
    assert "nothing is left behind" in capsys.readouterr().err


def test_what_a_killed_process_left_is_removed_when_it_is_old(tmp_path, go):
    tree(tmp_path / "rec")
    target = tmp_path / "out" / "task"
    old, fresh = temporary_name(target), temporary_name(target)
    for folder in (old, fresh):
        (folder / "8000").mkdir(parents=True)
    os.utime(old, (0, 0))
    with task_folder.appearing(target, False) as building:
        assert (old.exists(), fresh.exists()) == (False, True)
        assert building not in (old, fresh)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_leaves_no_half_folder(tmp_path, number):
    tree(tmp_path / "rec", clips=3)
    for i in range(40):
        record(tmp_path / "rec" / "cat" / f"long{i}.wav", tone(60.0, hertz=300 + i))
    process = subprocess.Popen(
        [sys.executable, "-m", "hear_exp.prepare", "out=out/pets", "folder=rec", "rates=[7999,48000]"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    )
    end = time.monotonic() + 60
    while not list(tmp_path.glob("out/.*/48000/*/*.wav")) and time.monotonic() < end:
        time.sleep(0.01)
    process.send_signal(number)
    _, shown = process.communicate(timeout=60)
    assert process.returncode == 128 + number, shown
    assert "Traceback" not in shown
    assert os.listdir(tmp_path / "out") == []


def test_the_task_does_not_go_into_the_recordings(tmp_path):
    tree(tmp_path / "rec")
    for out in (tmp_path / "rec" / "task", tmp_path / "new" / ".." / "rec"):
        with pytest.raises(UserError, match=r"lie in one another|is there already"):
            prepare(Options(out=str(out), folder=str(tmp_path / "rec")))


# Errors ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "options", "message"),
    [
        (
            ["datei,label", "train.wav,a"],
            {},
            r"no column for the recording \(called path, file.*its columns are: datei, label. .*path_column=COLUMN",
        ),
        (["path,klasse", "train.wav,a"], {}, "no column for the label.*label_column=COLUMN"),
        (["path,label", "train.wav,a"], {"group_column": "speaker"}, "no column 'speaker'.*group_column=COLUMN"),
        (["path,label", "train.wav,a"], {"split_column": "set"}, "no column 'set'.*split_column=COLUMN"),
        (["path,label", "train.wav,a"], {"kind": "event"}, "no column for the events' start.*start_column=COLUMN"),
        (["path,label,start_ms", "train.wav,a,1"], {}, "no column for the events' end.*end_column=COLUMN"),
        (["path,label", "train.wav,a"], {"times": "s"}, "times: no effect"),
        (["path,label,split,fold", "train.wav,a,x,y"], {}, "has the columns split and fold; choose"),
        (["path,label,label", "train.wav,a,b"], {}, "a column's name comes twice"),
        (["path,label"], {}, "no rows"),
        (["path,label", "train.wav,a,b"], {}, "line 2: 3 cells, but the header has 2 columns.*needs quotes"),
        (["path,label", ",a"], {}, "line 2: the column path is empty"),
        (["path,label", "train.wav,a", "valid.wav,"], {}, "line 3: valid.wav has no label"),
        (["path,label,group", "train.wav,a,"], {}, "line 2: the column group is empty"),
        (["path,label", "gone.wav,a"], {}, "1 of 1 recordings are not there .*line 2: .*gone.wav.*on_error=skip"),
        (["path,label", "gone.wav,a"], {"on_error": "skip"}, "nothing is left"),
        (
            ["path,label,split", "train.wav,a,train", "train.wav,b,test"],
            {},
            "line 3: split 'test' for train.wav, which",
        ),
        (
            ["path,label,start_ms,end_ms", "train.wav,a,x,5"],
            {},
            "line 2: start_ms is 'x', expected a time from 0 up in ms",
        ),
        (["path,label,start_ms,end_ms", "train.wav,a,-1,5"], {}, "start_ms is '-1'"),
        (["path,label,start_ms,end_ms", "train.wav,a,9,5"], {}, "line 2: start '9', end '5'"),
        (["path,label,start_ms,end_ms", "train.wav,a,9,"], {}, "expected both or none"),
        (["path,label,start_ms,end_ms", "train.wav,,1,5"], {}, "line 2: an event has a label, a start and an end"),
        (["path,label,start_ms,end_ms", "train.wav,a,,", "valid.wav,a,1,2"], {}, "line 2: an event has a label"),
        (["path,label,start_ms,end_ms", "train.wav,a,600,900"], {"kind": "scene"}, "no sound from 600 to 900 ms"),
        (
            ["path,label", "train.wav,a", "train.wav,b"],
            {"prediction_type": "multiclass"},
            "train.wav has 2 labels .a, b.",
        ),
        (["path,label", "train.wav,a", "valid.wav,b"], {}, "2 groups cannot fill 3 splits"),
        (["path,label,split", "train.wav,a,train"], {"folds": 3}, "folds: no effect, splits are given"),
        (
            ["path,label,split", "train.wav,a,train", "valid.wav,a,valid", "test.wav,a,test"],
            {"seed": 1},
            "seed: no effect, splits are given",
        ),
    ],
)
def test_errors_in_a_table(tmp_path, go, lines, options, message):
    given(tmp_path)
    with pytest.raises(UserError, match=f"(?s){message}"):
        go(table=table(tmp_path / "bad.csv", *lines), **options)
    assert not (tmp_path / "out").exists() or os.listdir(tmp_path / "out") == []


def broken_off(tmp_path):
    """A flac file whose header promises more than there is."""
    path = record(tmp_path / "broken.flac", np.random.default_rng(0).uniform(-0.5, 0.5, 40000))
    path.write_bytes(path.read_bytes()[:20000])
    return path


def not_a_number(tmp_path):
    return record(tmp_path / "nan.wav", np.array([0.1, np.nan] * 2000), subtype="FLOAT")


def no_audio(tmp_path):
    path = tmp_path / "text.wav"
    path.write_text("no audio at all")
    return path


def empty(tmp_path):
    return record(tmp_path / "empty.wav", np.zeros(0))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (no_audio, "1 of 4 recordings cannot be used .*line 5: .*text.wav: not readable as audio"),
        (empty, "1 of 4 recordings cannot be used .*empty.wav: no samples in it"),
        (not_a_number, "nan.wav: the audio holds NaN or infinite samples"),
        (broken_off, "broken.flac"),
    ],
)
def test_unusable_audio_stops_or_is_skipped_and_counted(tmp_path, go, make, message):
    path = make(tmp_path)
    rows = given(tmp_path, f"{path.name},only_here,train")
    with pytest.raises(UserError, match=message):
        go(table=rows)
    assert os.listdir(tmp_path / "out") == [] if (tmp_path / "out").exists() else True
    task = go(table=rows, on_error="skip")
    assert [clip.name for clip in task.split("train").clips] == ["train.wav"]
    assert task.labels == ("a", "b")
    assert not list(task.folder.rglob(f"{path.stem}.*"))
    assert "left out: 1 of 4 recordings" in notes(task)


def test_errors_in_a_folder(tmp_path, go):
    with pytest.raises(UserError, match="folder not found"):
        go(folder=tmp_path / "nothing")
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").touch()
    with pytest.raises(UserError, match=r"no audio files in it \(only 1 .txt\); expected one folder a class"):
        go(folder=tmp_path / "texts")
    record(tmp_path / "flat" / "a.wav")
    with pytest.raises(UserError, match=r"a.wav lies in no class folder \(1 of 1 files\).*pattern="):
        go(folder=tmp_path / "flat")
    with pytest.raises(UserError, match=r"1 of 1 paths do not match the pattern .*the first: a.wav"):
        go(folder=tmp_path / "flat", pattern="(?P<label>b+)")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"folder": ""}, "give table=FILE.csv .* or folder=DIR .*neither came"),
        ({"table": ("t.csv",)}, "both came"),
        ({"out": ""}, "out=FOLDER"),
        ({"label_column": "x", "audio_root": ("y",)}, "audio_root, label_column: no effect with folder"),
        ({"folder": "", "table": ("a", "b", "c"), "audio_root": ("x", "y")}, "2 folders for 3 tables"),
        ({"kind": "music"}, "kind is 'music', expected one of: auto, scene, event"),
        ({"length": -1}, "length is -1, expected seconds above 0, or auto, max or keep"),
        ({"length": "long"}, "length is 'long'"),
        ({"folds": 2}, "folds is 2, expected a whole number from 3 up"),
        ({"fractions": (0.5, 0.5, 0.5)}, "expected those of train, valid and test"),
        ({"folds": 5, "fractions": (0.8, 0.1, 0.1)}, "fractions: no effect with folds"),
        ({"rates": (16,)}, "rates holds 16, expected sample rates in hertz"),
        ({"rates": (8000, 8000)}, "rates names one twice"),
        ({"seed": -1}, "seed is -1"),
        ({"pattern": "(?P<label>"}, "not a regular expression"),
        ({"pattern": "[a-z]+"}, r"names nothing; expected named parts, such as \(\?P<label>"),
        ({"pattern": "(?P<name>a)"}, "names name; expected"),
        ({"pattern": "(?P<split>a)(?P<fold>b)"}, "both split and fold"),
        ({"folder": "", "table": ("t",), "pattern": "(?P<label>a)", "label_column": "x"}, "label_column: no effect"),
        ({"evaluation": ("accuracy",)}, "unknown score 'accuracy'"),
        ({"kind": "scene", "evaluation": ("segment_1s_er",)}, "is for event tasks, but kind is scene"),
    ],
)
def test_errors_in_options(options, message):
    with pytest.raises(UserError, match=message):
        Options(**{"out": "o", "folder": "rec", **options})


# The command ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pattern",
    [
        r"(?P<group>\d+)_\w+_(?P<label>[A-Z]{3})_",
        r"^(?P<label>[^/,=']+)/.*\.wav$",
        r"a'(?P<label>b)\\",
        "[a-z](?P<label>c)",
    ],
)
def test_texts_reach_hydra_with_the_shell_s_quotes_alone(pattern):
    from hydra.core.override_parser.overrides_parser import OverridesParser

    for name, value in (("pattern", pattern), ("folder", "my recordings (1), new=2"), ("label_separator", ",")):
        (argument,) = hydra_arguments([f"{name}={value}"])
        assert OverridesParser.create().parse_override(argument).value() == value
    same = ["table=[a.csv,b.csv]", "rates=[8000]", "split_column=null", "pattern='a'", "--help", "paths.root=x"]
    assert hydra_arguments(same) == same


def test_an_unknown_option_is_named():
    with pytest.raises(UserError, match="unknown option: lenght, did you mean length"):
        hydra_arguments(["lenght=3"])


def test_the_config_has_every_option_with_its_default():
    from omegaconf import OmegaConf

    conf = Path(__file__).parents[2] / "conf"
    config = OmegaConf.to_container(OmegaConf.load(conf / "prepare.yaml"))
    assert options_from_config(config | {"out": "x/birds", "folder": "rec"}) == Options(
        "x/birds", "birds", folder="rec"
    )
    assert list(config) == ["defaults", *Options.__dataclass_fields__, "hydra"]
    text = (conf / "hydra" / "help" / "prepare.yaml").read_text()
    assert not [name for name in Options.__dataclass_fields__ if name not in text]


def command(*arguments, cwd):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=cwd, env=environment, capture_output=True, text=True, timeout=300
    )
    return done.returncode, done.stderr


def test_the_command(tmp_path):
    tree(tmp_path / "my rec (1)")
    arguments = (
        "hear_exp.prepare",
        "out=tasks/pets",
        "folder=my rec (1)",
        r"pattern=(?P<label>[a-z]{3})\d",
        "rates=4000",
    )
    status, shown = command(*arguments, cwd=tmp_path)
    assert status == 0, shown
    task = read_task(tmp_path / "tasks" / "pets")
    assert (task.name, task.labels, task.sample_rates) == ("pets", ("cat", "dog"), (4000,))
    assert sorted(os.listdir(tmp_path)) == ["my rec (1)", "tasks"]  # no folders of Hydra's
    status, shown = command(*arguments, cwd=tmp_path)
    assert (status, shown) == (
        1,
        "hear_exp: tasks/pets is there already; choose another folder, or replace it with overwrite=true\n",
    )
    assert sorted(os.listdir(tmp_path)) == ["my rec (1)", "tasks"]


# Real corpora, as their authors lay them out --------------------------------------------------------------

CORPUS_OPTIONS = {
    "beijing_opera": (
        ["beijing_opera-train-small"],
        ["folder=beijing_opera_percussion_instrument_1.0", "pattern=__(?P<label>[a-z]+)-", "folds=5"],
        (20, 4),
    ),
    "crema_d": (
        ["crema_d-train-small"],
        ["table=train_labels.csv", "audio_root=audio", "on_error=skip"],
        (20, 6),
    ),
    "esc50": (
        ["esc50-all_folds-small"],
        [
            *("table=ESC-50-master/meta/esc50.csv", "audio_root=ESC-50-master/audio"),
            *("group_column=src_file", "on_error=skip"),
        ],
        (20, 14),
    ),
    "esc50_by_name": (
        ["esc50-all_folds-small"],
        ["folder=ESC-50-master/audio", r"pattern=^(?P<fold>\d)-(?P<group>\d+)-[A-Z]-(?P<label>\d+)\.wav$"],
        (20, 14),
    ),
    "fsd50k": (
        ["fsd50k-train-small", "fsd50k-test-small", "fsd50k-ground_truth-small"],
        [
            "table=[FSD50K.ground_truth/dev.csv,FSD50K.ground_truth/eval.csv]",
            "audio_root=[FSD50K.dev_audio,FSD50K.eval_audio]",
            *("extension=wav", "label_separator=,"),
            *("default_split=test", "length=keep", "on_error=skip"),
        ],
        (80, 98),
    ),
    "gunshot": (
        ["gunshot_triangulation"],
        ["folder=.", r"pattern=mic(?P<label>\d)_shot\d+_fid(?P<fold>\d)"],
        (40, 4),
    ),
    "libricount": (
        ["libricount-train-small"],
        ["folder=test", r"pattern=^(?P<label>\d+)_", "folds=5"],
        (20, 9),
    ),
    "vox_lingua": (
        ["vox_lingua-train-small"],
        ["folder=.", "pattern=/(?P<group>.{11})__U__"],
        (20, 15),
    ),
}


@pytest.mark.slow
@pytest.mark.skipif(not CORPORA.is_dir(), reason="needs the corpora in ../shared")
@pytest.mark.parametrize("name", CORPUS_OPTIONS)
def test_real_corpora(name, tmp_path, monkeypatch, start):
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    archives, arguments, (clips, labels) = CORPUS_OPTIONS[name]
    (tmp_path / "corpus").mkdir()
    for archive in archives:
        with zipfile.ZipFile(CORPORA / f"{archive}.zip") as file:
            # LibriCount's zip holds thousands of JSON files beside the audio.
            file.extractall(tmp_path / "corpus", [m for m in file.namelist() if not m.endswith(".json")])
    monkeypatch.chdir(tmp_path / "corpus")
    with initialize_config_dir(str(Path(__file__).parents[2] / "conf"), version_base="1.3"):
        config = compose("prepare", hydra_arguments([f"out={tmp_path / name}", *arguments]))
    module.run(OmegaConf.to_container(config), tmp_path / "none", [])
    task = read_task(tmp_path / name)
    assert (sum(len(split.clips) for split in task.splits), len(task.labels)) == (clips, labels)
    if name in ("crema_d", "gunshot"):
        start(
            hear_exp_main.run,
            *("task=custom", f"task.path={task.folder}", "model=logmel", "predictor=linear", "logger=none"),
            *(f"paths.root={tmp_path / 'runs'}", "predictor.lr=1e-2", "predictor.max_epochs=6", "search.workers=1"),
        )
        (result,) = (tmp_path / "runs").rglob("result.json")
        assert 0 <= json.loads(result.read_text())["score"] <= 1
