"""Results of several folders in one root, each once, and none lost."""

import json
import shutil
from dataclasses import replace

import pytest
from fabricated import result_of, scene_outcome, scene_problem

from hear_exp.cli.run_record import begin, end
from hear_exp.results.finished import Index, RunId
from hear_exp.results.result import read_result, write_result
from hear_exp.sweep.__main__ import main


@pytest.fixture(scope="session")
def result(tmp_path_factory):
    problem = scene_problem(tmp_path_factory.mktemp("scene"), ["a", "b"])
    return result_of(problem, scene_outcome(problem))


@pytest.fixture
def put(result):
    """put(folder, seed=1): a finished run, whose identity is that of its seed; more fields of its result by name."""

    def made(folder, seed=1, **changes):
        folder.mkdir(parents=True)
        changes.setdefault("identity", f"{seed:064x}")
        write_result(folder, replace(result, seed=seed, **changes))
        (folder / "plots").mkdir()
        (folder / "plots" / "grid.png").write_bytes(b"picture")
        return folder

    return made


@pytest.fixture
def root(tmp_path):
    return tmp_path / "all"


@pytest.fixture
def collect(root, capsys):
    """collect(folder, ...): exit status and what it said."""

    def run(*folders):
        status = main(["collect", *map(str, folders), f"into={root}"])
        return status, capsys.readouterr().out.splitlines()

    return run


def found(root, folder):
    return Index(root / "runs" / ".finished").find(RunId.of(read_result(folder)))


def test_runs_of_two_machines(tmp_path, root, put, collect):
    one = put(tmp_path / "a" / "runs" / "demo" / "logmel" / "monday", seed=1)
    two = put(tmp_path / "b" / "runs" / "sweeps" / "x" / "0-demo-logmel", seed=2)
    put(tmp_path / "b" / "runs" / "sweeps" / "x" / "1-demo-logmel", seed=1)
    status, said = collect(tmp_path / "a", tmp_path / "b" / "runs" / "sweeps" / "x")
    assert (status, said) == (0, [f"2 runs copied into {root / 'runs'}, 1 there already"])
    copied = [root / "runs" / "demo" / "logmel" / "monday", root / "runs" / "sweeps" / "x" / "0-demo-logmel"]
    assert sorted(path.parent for path in root.rglob("result.json")) == copied
    assert (copied[0] / "plots" / "grid.png").read_bytes() == b"picture"
    assert [found(root, folder).folder.resolve() for folder in (one, two)] == [folder.resolve() for folder in copied]
    assert collect(tmp_path / "a", tmp_path / "b") == (0, [f"0 runs copied into {root / 'runs'}, 3 there already"])


def test_other_scores_of_the_same_run_are_named_and_not_taken(tmp_path, root, put, collect, result):
    put(tmp_path / "a" / "runs" / "x", seed=1)
    other = put(tmp_path / "b" / "runs" / "y", seed=1, score=0.125)
    collect(tmp_path / "a")
    status, said = collect(tmp_path / "b")
    have = root / "runs" / "x"
    assert status == 1
    assert said[0] == (
        f"{other} and {have} are the same run with other scores (top1_acc 0.125 and top1_acc {result.score}); "
        f"{have} stays, the other one is not copied"
    )
    assert read_result(have).score == result.score
    assert not (root / "runs" / "y").exists()


def test_a_broken_folder_is_named_and_the_others_go_on(tmp_path, root, put, collect):
    put(tmp_path / "runs" / "good")
    broken = put(tmp_path / "runs" / "bad", seed=2)
    (broken / "result.json").write_text('{"score": 0.')
    status, said = collect(tmp_path / "nowhere", tmp_path / "runs")
    assert status == 1
    assert said[0] == f"{tmp_path / 'nowhere'}: there is no such folder"
    assert said[1].startswith(f"{broken}: not collected: {broken / 'result.json'}: not valid JSON")
    assert said[2] == f"1 runs copied into {root / 'runs'}, 0 there already, 2 not collected"


def test_other_runs_under_the_same_name(tmp_path, root, put, collect):
    put(tmp_path / "a" / "sweep" / "0-demo", seed=1)
    put(tmp_path / "b" / "sweep" / "0-demo", seed=2)
    status, said = collect(tmp_path / "a" / "sweep", tmp_path / "b" / "sweep")
    assert (status, said) == (0, [f"2 runs copied into {root / 'runs'}, 0 there already"])
    folders = sorted(root.rglob("result.json"))
    assert sorted(read_result(path).seed for path in folders) == [1, 2]
    assert {path.parent.name[:6] for path in folders} == {"0-demo"}


def test_what_a_job_found_elsewhere_comes_along(tmp_path, root, put, collect):
    there = put(tmp_path / "runs" / "demo" / "monday", seed=3)
    job = tmp_path / "runs" / "sweeps" / "x" / "0-demo"
    job.mkdir(parents=True)
    note = {"identity": f"{3:064x}", "folder": str(there), "finished": ""}
    (job / "found.json").write_text(json.dumps(note))
    assert collect(job.parent) == (0, [f"1 runs copied into {root / 'runs'}, 0 there already"])
    assert (root / "runs" / "demo" / "monday" / "result.json").is_file()
    shutil.rmtree(there)
    assert collect(job.parent)[0] == 0  # as when the sweep comes from another machine: its result is there
    (job / "found.json").write_text(json.dumps({**note, "identity": "gone"}))
    status, said = collect(job.parent)
    assert status == 1
    assert said[0] == f"{job}: its result is in {there}, which is not here; collect that folder, too"


def test_a_run_that_is_still_written_into_waits(tmp_path, put, collect):
    folder = put(tmp_path / "runs" / "x")
    begin(folder)
    status, said = collect(tmp_path / "runs")
    assert status == 1
    assert said[0].startswith(f"{folder}: not collected: it is not complete yet")
    end(folder)
    assert collect(tmp_path / "runs")[0] == 0


def test_results_of_before_there_was_an_identity(tmp_path, root, put, collect):
    put(tmp_path / "a" / "runs" / "x", seed=1, identity="")
    put(tmp_path / "a" / "runs" / "y", seed=2, identity="")
    assert collect(tmp_path / "a")[1] == [f"2 runs copied into {root / 'runs'}, 0 there already"]
    assert collect(tmp_path / "a")[1] == [f"0 runs copied into {root / 'runs'}, 2 there already"]


def test_a_copy_that_fails_leaves_nothing(tmp_path, root, put, collect, monkeypatch):
    folder = put(tmp_path / "a" / "runs" / "x")

    def full(source, target, **options):
        target.mkdir()
        raise OSError(28, "No space left on device", str(target))

    monkeypatch.setattr(shutil, "copytree", full)
    status, said = collect(tmp_path / "a")
    assert status == 1
    assert said[0].startswith(f"{folder}: not collected: No space left on device")
    assert [path.name for path in (root / "runs").iterdir() if path.is_dir()] == []


def test_runs_that_lie_in_the_root_are_found_again(root, put, collect):
    """As when its runs were moved."""
    folder = put(root / "runs" / "moved" / "x")
    assert found(root, folder) is None
    assert collect(root) == (0, [f"0 runs copied into {root / 'runs'}, 1 there already"])
    assert found(root, folder).folder.resolve() == folder.resolve()


@pytest.mark.parametrize("words", [["into=x"], ["a", "into="], ["a", "into=x", "into=y"]])
def test_words_that_cannot_be_meant(words, capsys):
    assert main(["collect", *words]) == 1
    assert capsys.readouterr().err.startswith("hear_exp: collect takes folders and at most one into=ROOT, got ")
