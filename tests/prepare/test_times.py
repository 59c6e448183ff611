"""Times as people write them: their columns' names, their units, and what cannot be meant."""

import json

import numpy as np
import pytest
from recorded import notes, record, table, tone

from hear_exp.errors import UserError
from hear_exp.scoring.event import Event

SPLITS = ("train", "valid", "test")


@pytest.fixture
def recordings(tmp_path):
    """Three recordings of 20 s."""
    for i, split in enumerate(SPLITS):
        record(tmp_path / f"{split}.wav", tone(20.0, hertz=300 + 50 * i))


def events(path, header, start, end, *more, separator=","):
    """A table with a knock in each recording."""
    lines = [separator.join((f"{split}.wav", "knock", str(start), str(end), split)) for split in SPLITS]
    return table(path, header.replace(",", separator), *lines, *more)


def knock_of(task):
    ((event,),) = (clip.events for clip in task.split("train").clips)
    return event


@pytest.mark.parametrize(
    ("columns", "start", "end"),
    [
        ("start_ms,end_ms", 4500, 6000),
        ("start_s,end_s", 4.5, 6),
        ("onset,offset", 4.5, 6),
        ("onset_ms,offset_ms", 4500, 6000),
        ("onset_seconds,offset_seconds", 4.5, 6),
        ("Begin Time (s),End Time (s)", 4.5, 6),
        ("startTime,endTime", 4.5, 6),
        ("startTime,endTime", 4500, 6000),
        ("t_start,t_end", 4.5, 6),
        ("start,end", 4.5, 6),
        ("start,end", 4500, 6000),
        ("begin,stop", "4.5e0", "6.0"),
        ("start_ms,end_s", 4500, 6),
    ],
)
def test_times_by_their_columns_names(tmp_path, go, recordings, columns, start, end):
    path = events(tmp_path / "e.csv", f"path,label,{columns},split", start, end)
    assert knock_of(go(table=path)) == Event("knock", 4500.0, 6000.0)


@pytest.mark.slow
@pytest.mark.parametrize("path_name", ["filename", "file", "audio_file", "Audio Path", "fname", "clip"])
@pytest.mark.parametrize("label_name", ["event_label", "class", "Category", "tags"])
def test_recordings_and_labels_by_their_columns_names(tmp_path, go, recordings, path_name, label_name):
    path = events(tmp_path / "e.csv", f"{path_name},{label_name},onset,offset,split", 1, 2)
    task = go(table=path)
    assert knock_of(task) == Event("knock", 1000.0, 2000.0)
    assert f"recordings in {path_name}, labels in {label_name}, splits in split, times in onset and" in notes(task)


def test_what_a_unit_was_taken_for_is_said(tmp_path, go, recordings):
    said = notes(go(table=events(tmp_path / "e.csv", "path,label,start,end,split", 4.5, 6)))
    assert "e.csv: times are read as seconds: the latest end is 6, in train.wav of 20 s" in said
    assert "times=s and times=ms say what the numbers are" in said


def test_milliseconds_are_taken_where_seconds_do_not_fit(tmp_path, go, recordings):
    said = notes(go(table=events(tmp_path / "e.csv", "path,label,start,end,split", 4500, 6000)))
    assert "times are read as milliseconds:" in said
    assert "line 2 ends at 6000 in train.wav of 20 s" in said


def test_a_unit_that_neither_reading_fits_is_asked_for(tmp_path, go, recordings):
    path = events(tmp_path / "e.csv", "path,label,start,end,split", 4.5, 6, "train.wav,ring,25,60,train")
    with pytest.raises(UserError) as caught:
        go(table=path)
    said = str(caught.value)
    assert "e.csv, line 5: an end of 60 in train.wav of 20 s; as seconds that is after its end (1 of 4 are)" in said
    assert said.endswith("times=s and times=ms say what the numbers are")
    task = go(table=path, times="s", on_error="skip")
    assert "left out: 1 of 4 events begin after the end of their recording" in notes(task)


def test_the_option_goes_before_the_name(tmp_path, go, recordings):
    path = events(tmp_path / "e.csv", "path,label,onset,offset,split", 4500, 6000)
    assert knock_of(go(table=path, times="ms")) == Event("knock", 4500.0, 6000.0)


def test_columns_without_use_are_named(tmp_path, go, recordings):
    path = events(tmp_path / "e.csv", "path,label,start_frame,salience,split", 4.5, 6)
    assert "e.csv: recordings in path, labels in label, splits in split; not used: start_frame, salience" in notes(
        go(table=path)
    )


def test_null_leaves_times_alone(tmp_path, go, recordings):
    path = events(tmp_path / "e.csv", "path,label,start,end,split", 4.5, 6)
    task = go(table=path, start_column="")
    assert (task.embedding_type, "not used: start, end" in notes(task)) == ("scene", True)


def test_one_time_of_two_is_an_error_with_a_way_out(tmp_path, go, recordings):
    path = events(tmp_path / "e.csv", "path,label,onset,duration,split", 4.5, 6)
    message = "no column for the events' end .*end_column=COLUMN; start_column=null leaves the times alone"
    with pytest.raises(UserError, match=message):
        go(table=path)


# What cannot be meant ------------------------------------------------------------------------------------


def test_seconds_that_are_called_milliseconds_are_refused(tmp_path, go, recordings):
    """They were read as events within the first 20 ms of clips of 20 s, without a word."""
    path = events(tmp_path / "e.csv", "path,label,start_ms,end_ms,split", 4.5, 6)
    with pytest.raises(UserError) as caught:
        go(table=path)
    assert "all 3 times lie in the first 2% of their recordings (the latest: " in str(caught.value)
    assert "e.csv, line 2: knock to 6 ms in" in str(caught.value)
    assert "are they in another unit? times=s and times=ms say what the numbers are" in str(caught.value)
    task = go(table=path, times="ms")
    assert knock_of(task) == Event("knock", 4.5, 6.0)
    assert "WARNING: all 3 times lie in the first 2%" in notes(task)


def test_a_table_of_another_unit_among_others_is_refused(tmp_path, go, recordings):
    good = events(tmp_path / "good.csv", "path,label,start_ms,end_ms,split", 4500, 6000)
    record(tmp_path / "more.wav", tone(20.0, hertz=900))
    bad = table(tmp_path / "bad.csv", "path,label,start_ms,end_ms,split", "more.wav,knock,4.5,6,train")
    with pytest.raises(UserError, match=r"all 1 times lie in the first 2% .*bad.csv, line 2"):
        go(table=(good, bad))


def test_milliseconds_that_are_called_seconds_are_refused(tmp_path, go, recordings):
    path = events(tmp_path / "e.csv", "path,label,onset,offset,split", 4500, 6000)
    with pytest.raises(UserError, match=r"3 of 3 events begin after .*line 2: knock at 4.5e\+06 ms .* of 20000 ms"):
        go(table=path)


def test_an_end_far_after_the_recording_is_refused_or_skipped(tmp_path, go, recordings):
    path = events(tmp_path / "e.csv", "path,label,onset,offset,split", 4.5, 6, "train.wav,ring,19,20.9,train")
    assert "1 of 4 events end after their clip does; cut off there" in notes(go(table=path))
    path = events(tmp_path / "e.csv", "path,label,onset,offset,split", 4.5, 6, "train.wav,ring,19,21.1,train")
    with pytest.raises(UserError, match=r"1 of 4 events end more than 0.5 s after .*line 5: ring to 21100 ms"):
        go(table=path, overwrite=True)
    task = go(table=path, overwrite=True, on_error="skip")
    assert task.labels == ("knock",)


def test_a_recording_whose_events_are_all_skipped_stays(tmp_path, go, recordings):
    record(tmp_path / "more.wav", tone(20.0, hertz=900))
    path = events(tmp_path / "e.csv", "path,label,onset,offset,split", 4.5, 6, "more.wav,ring,30,31,train")
    task = go(table=path, on_error="skip")
    assert [clip.events for clip in task.split("train").clips if clip.name == "more.wav"] == [()]


@pytest.mark.parametrize(
    ("start", "end", "message"),
    [
        ("-1", "2", "line 2: onset is '-1', expected a time from 0 up in s .times=s or times=ms."),
        ("3", "2", "line 2: start '3', end '2'"),
        ("0,5", "2", "line 2: onset is '0,5', .*point for decimals"),
        ("nan", "2", "onset is 'nan'"),
        ("1", "inf", "offset is 'inf'"),
    ],
)
def test_times_that_are_none(tmp_path, go, recordings, start, end, message):
    path = events(tmp_path / "e.csv", "path,label,onset,offset,split", start, end, separator=";")
    with pytest.raises(UserError, match=message):
        go(table=path)


def test_excerpts_in_seconds_too(tmp_path, go, recordings):
    path = events(tmp_path / "e.csv", "path,label,start,end,split", 4.5, 6)
    task = go(table=path, kind="scene", length=1.5)
    assert [clip.name for clip in task.split("train").clips] == ["train_4500-6000ms.wav"]


# DCASE ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("header", [True, False])
def test_dcase_s_table(tmp_path, go, header):
    """Seconds, between tabs, with or without a header; a recording without events stands alone."""
    for i, name in enumerate(("a", "b", "c", "quiet")):
        record(tmp_path / "audio" / f"{name}.wav", tone(10.0, hertz=300 + 50 * i))
    lines = ["quiet.wav" + "\t" * 3 * header] + [f"{name}.wav\t1.25\t{2.5 + i}\tdog" for i, name in enumerate("abc")]
    first = ["filename\tonset\toffset\tevent_label"] if header else []
    path = table(tmp_path / "events.tsv", *first, *lines)
    task = go(table=path, audio_root=(str(tmp_path / "audio"),))
    found = {clip.name: clip.events for split in task.splits for clip in split.clips}
    assert found == {
        "quiet.wav": (),
        **{f"{name}.wav": (Event("dog", 1250.0, 2500.0 + 1000 * i),) for i, name in enumerate("abc")},
    }
    assert ("no header; its lines are taken for DCASE's" in notes(task)) != header


# Label files beside the recordings -----------------------------------------------------------------------


@pytest.fixture
def labelled(tmp_path):
    """Four recordings of 10 s, with Audacity's label files beside them; the last has no events."""
    folder = tmp_path / "rec"
    for i, name in enumerate("abc"):
        record(folder / f"{name}.wav", tone(10.0, hertz=300 + 50 * i))
        (folder / f"{name}.txt").write_text("1.250000\t2.500000\tdoor bell\n\\\t200.0\t4000.0\n4.0\t4.0\tknock\n")
    record(folder / "quiet.wav", tone(10.0, hertz=999))
    (folder / "quiet.txt").write_text("")
    return folder


def test_audacity_s_label_files(go, labelled):
    task = go(folder=labelled)
    found = {clip.name: clip.events for split in task.splits for clip in split.clips}
    assert found["a.wav"] == (Event("door bell", 1250.0, 2500.0), Event("knock", 4000.0, 4000.0))
    assert found["quiet.wav"] == ()
    assert (task.embedding_type, task.labels) == ("event", ("door bell", "knock"))
    said = notes(task)
    assert "events come from the 4 label files beside the recordings" in said
    assert "no audio, left alone" not in said


def test_label_files_with_groups_and_splits_from_the_path(go, labelled, tmp_path):
    for i, split in enumerate(SPLITS):
        (tmp_path / "sets" / split).mkdir(parents=True)
        for suffix in (".wav", ".txt"):
            (labelled / f"{'abc'[i]}{suffix}").rename(tmp_path / "sets" / split / f"{'abc'[i]}{suffix}")
    task = go(folder=tmp_path / "sets", pattern=r"^(?P<split>\w+)/")
    assert [clip.name for clip in task.split("valid").clips] == ["valid_b.wav"]


def test_a_broken_label_file_is_named(go, labelled):
    (labelled / "b.txt").write_text("1.0\t2.0\tbell\n1.0 2.0 knock\n")
    with pytest.raises(
        UserError, match=r"2 of 4 .txt files .* label files, but .*b.txt, line 2: '1.0 2.0 knock'.*label_"
    ):
        go(folder=labelled)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0,5\t2\tbell", "line 1: times '0,5' and '2', expected seconds such as 0.5"),
        ("3\t2\tbell", "start 3 s, end 2 s; expected"),
        ("-1\t2\tbell", "start -1 s"),
        ("1\t2\t", "the event from 1 to 2 s has no label"),
        ("1\t2", "the event from 1 to 2 s has no label"),
    ],
)
def test_lines_that_are_no_labels(go, labelled, line, message):
    (labelled / "b.txt").write_text(line)
    with pytest.raises(UserError, match=message):
        go(folder=labelled)


def test_a_recording_without_its_label_file(go, labelled):
    (labelled / "b.txt").unlink()
    with pytest.raises(UserError, match=r"1 of 4 recordings have no label file beside them.*b.wav .expected b.txt"):
        go(folder=labelled)


def test_texts_that_are_no_label_files_are_left_alone(tmp_path, go):
    for label in ("cat", "dog"):
        for i in range(6):
            record(tmp_path / "rec" / label / f"{i}.wav", tone(0.5, hertz=300 + 50 * i + len(label)))
            (tmp_path / "rec" / label / f"{i}.txt").write_text("the quick brown fox")
    task = go(folder=tmp_path / "rec")
    assert task.embedding_type == "scene"
    assert "no audio, left alone: 12 .txt" in notes(task)
    with pytest.raises(UserError, match=r"0 of 12 \.txt files beside the recordings are label files, but"):
        go(folder=tmp_path / "rec", label_files=True, overwrite=True)


def test_label_files_may_be_left_alone(tmp_path, go, labelled):
    for name in "abc":
        (labelled / name).mkdir()
        for suffix in (".wav", ".txt"):
            (labelled / f"{name}{suffix}").rename(labelled / name / f"{name}{suffix}")
    (labelled / "quiet.wav").unlink()
    task = go(folder=labelled, label_files=False)
    assert (task.embedding_type, task.labels) == ("scene", ("a", "b", "c"))


def test_times_of_label_files_are_checked(go, labelled):
    (labelled / "b.txt").write_text("4500\t6000\tbell\n")
    with pytest.raises(UserError, match=r"1 of 5 events begin after .*b.txt, line 1"):
        go(folder=labelled)
    for name in "abc":
        (labelled / f"{name}.txt").write_text("4500\t6000\tbell\n")
    task = go(folder=labelled, times="ms")
    assert json.loads((task.folder / "report.json").read_text())["options"]["times"] == "ms"
    assert Event("bell", 4500.0, 6000.0) in {e for s in task.splits for clip in s.clips for e in clip.events}


def test_a_separator_that_was_forgotten_is_said(tmp_path, go):
    for name in "abc":
        record(tmp_path / f"{name}.wav", np.full(800, 0.1))
    path = table(tmp_path / "t.csv", "path,labels", 'a.wav,"x,y"', 'b.wav,"x,z"', 'c.wav,"y,z"')
    assert "hold ',' and are one label each; label_separator=, makes several" in notes(go(table=path))
