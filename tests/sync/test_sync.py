"""The command that uploads offline runs, against a program that stands in for wandb's: nothing leaves this machine."""

import os
import subprocess
import sys
import time

import pytest

from hear_exp.results import wandb_attempts
from hear_exp.results.wandb_attempts import LOCK, Mark, read_mark, write_mark, writing
from hear_exp.sync import upload as uploads
from hear_exp.sync.__main__ import main

# As wandb's own: the exit status is 0 also where nothing was uploaded; a mark beside the file tells.
WANDB = """
import os, pathlib, sys, time
*options, folder = sys.argv[1:]
with open(os.environ["FAKE_LOG"], "a") as log:
    print(*options, pathlib.Path(folder).name, os.environ.get("WANDB_MODE"), file=log)
name = pathlib.Path(folder).name
if "hang" in name:
    time.sleep(60)
if "crash" in name:
    sys.exit(3)
if "bad" in name:
    print("wandb: Syncing 1 run(s):")
    print('wandb: ERROR Failed to read "x": error getting next record: EOF')
    sys.exit(0)
for file in pathlib.Path(folder).glob("*.wandb"):
    pathlib.Path(f"{file}.synced").touch()
"""


@pytest.fixture(autouse=True)
def sent(tmp_path, monkeypatch):
    """The calls of ``wandb`` so far."""
    fake, log = tmp_path / "fake" / "wandb", tmp_path / "calls"
    fake.mkdir(parents=True)
    (fake / "__init__.py").touch()
    (fake / "__main__.py").write_text(WANDB)
    monkeypatch.setenv("PYTHONPATH", str(fake.parent))
    monkeypatch.setenv("FAKE_LOG", str(log))
    monkeypatch.setenv("WANDB_API_KEY", "0123")
    monkeypatch.setenv("WANDB_MODE", "offline")  # as clusters set it for their jobs
    return lambda: log.read_text().splitlines() if log.exists() else []


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "root"
    (folder / "wandb").mkdir(parents=True)
    return folder


def offline_run(root, number, id, ours=True):
    folder = root / "wandb" / f"offline-run-20261124_10000{number}-{id}"
    folder.mkdir()
    (folder / f"run-{id}.wandb").touch()
    if ours:
        (folder / LOCK).touch()
    return folder


def test_each_run_once_and_on_after_a_failure(root, sent, capsys):
    offline_run(root, 1, "one")
    offline_run(root, 2, "bad")
    offline_run(root, 3, "crash")
    offline_run(root, 4, "two")
    (root / "wandb" / "latest-run").symlink_to(offline_run(root, 5, "three"))
    (root / "wandb" / "run-20261124_100009-online").mkdir()
    assert main([str(root)]) == 1
    out, err = capsys.readouterr()
    assert [call.split()[1].rpartition("-")[2] for call in sent()] == ["one", "bad", "crash", "two", "three"]
    assert {call.split()[-1] for call in sent()} == {"None"}  # WANDB_MODE is about runs, not about this
    assert "EOF" in next(line for line in out.splitlines() if "-bad" in line and "failed" in line)
    assert "status 3" in next(line for line in out.splitlines() if "-crash" in line and "failed" in line)
    assert "3 uploaded, 2 failed" in out
    assert "hear_exp: 2 of 5 runs were not uploaded; the same command tries them again" in err
    assert main([f"paths.root={root}"]) == 1
    assert len(sent()) == 7  # the failed ones alone
    assert "3 skipped, 2 failed" in capsys.readouterr().out


def test_folders_may_be_a_root_wandbs_own_or_a_run(root, sent):
    run = offline_run(root, 1, "one")
    assert main([str(root), str(root / "wandb"), str(run)]) == 0
    assert len(sent()) == 1


def test_dry(root, sent, capsys):
    offline_run(root, 1, "one")
    for option in ("--dry-run", "dry=true"):
        assert main([str(root), option]) == 0
        assert "1 would be uploaded" in capsys.readouterr().out
    assert sent() == []


def test_a_run_that_is_still_recorded_is_left_alone(root, sent, capsys):
    run, foreign = offline_run(root, 1, "one"), offline_run(root, 2, "two", ours=False)
    with writing(run) as free:
        assert free
        assert main([str(root)]) == 0
    assert sent() == []
    assert "2 skipped" in capsys.readouterr().out
    old = time.time() - 120
    os.utime(foreign / "run-two.wandb", (old, old))
    assert main([str(root)]) == 0
    assert len(sent()) == 2


def test_a_superseded_run_is_uploaded_as_that(root, sent, capsys):
    run = offline_run(root, 1, "old")
    write_mark(run, Mark("new"))
    assert main([str(root)]) == 0
    assert sent() == [f"sync --replace-tags current=superseded {run.name} None"]
    assert "its job goes on in new" in capsys.readouterr().out
    assert read_mark(run).told
    assert main([str(root)]) == 0
    assert len(sent()) == 1


def test_a_run_that_was_uploaded_before_its_job_went_on_is_tagged(root, sent, monkeypatch, capsys):
    run = offline_run(root, 1, "old")
    (run / "run-old.wandb.synced").touch()
    write_mark(run, Mark("new", project="p", entity="me"))
    told = []
    monkeypatch.setattr(uploads, "retag", lambda *words: told.append(words))
    assert main([str(root)]) == 0
    assert (told, sent()) == ([("p", "me", "old", "new")], [])
    assert main([str(root)]) == 0
    assert len(told) == 1
    assert "uploaded before" in capsys.readouterr().out
    monkeypatch.undo()
    assert wandb_attempts.read_mark(run).told


def test_an_upload_that_never_ends_is_a_failure(root, capsys):
    offline_run(root, 1, "hang")
    offline_run(root, 2, "one")
    assert main([str(root), "limit_s=2"]) == 1
    out = capsys.readouterr().out
    assert "no end after 2 s" in out
    assert "1 failed, 1 uploaded" in out


def test_without_a_key_nothing_is_tried(root, sent, monkeypatch, capsys, tmp_path):
    offline_run(root, 1, "one")
    for name in ("WANDB_API_KEY", "NETRC", "WANDB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert main([str(root)]) == 1
    assert "hear_exp: 1 runs are to be uploaded, but there is no key for wandb" in capsys.readouterr().err
    assert sent() == []


@pytest.mark.parametrize(
    ("word", "sentence"),
    [("nowhere", "nowhere: no such folder"), ("dry=1", "dry is '1'"), ("limit_s=x", "limit_s is 'x'")],
)
def test_mistakes_are_sentences(word, sentence, capsys):
    assert main([word]) == 1
    assert f"hear_exp: {sentence}" in capsys.readouterr().err


def test_nothing_to_upload(root, capsys):
    assert main([str(root)]) == 0
    assert f"no offline runs of wandb in {root / 'wandb'}" in capsys.readouterr().out


@pytest.mark.slow
def test_wandbs_own_program_takes_the_words(root, monkeypatch):
    """The real ``wandb sync``, which with --dry-run looks only."""
    monkeypatch.delenv("PYTHONPATH")
    run = offline_run(root, 1, "one")
    words = ["-m", "wandb", "sync", "--replace-tags", "current=superseded", "--dry-run", str(run)]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, cwd=root)
    assert done.returncode == 0, done.stderr
    assert "Would sync 1 run(s)" in done.stderr
