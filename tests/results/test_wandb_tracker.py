"""What a wandb run holds while its job works, when it fails, and when it begins again."""

import json
from dataclasses import replace

import pytest
from fabricated import result_of, scene_outcome, scene_problem
from wandb_records import configs, offline_runs, run_id, tags, values

from hear_exp.results import wandb_attempts
from hear_exp.results.task_id import TaskId
from hear_exp.results.tracking import make_tracker
from hear_exp.results.wandb_attempts import Attempt, read_attempt, read_mark, write_attempt, writing
from hear_exp.results.wandb_logger import WandbLogger

pytestmark = pytest.mark.slow
CONFIG = {"predictor": {"name": "mlp"}, "task": {"name": "demo_scene", "about": {"domain": "music"}}, "odd": "\udcff"}


@pytest.fixture(autouse=True)
def _no_wandb_settings(monkeypatch):
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_RUN_ID", "WANDB_SWEEP_ID", "WANDB_RESUME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_CONFIG_DIR", "/nonexistent")


@pytest.fixture
def job(tmp_path):
    """A job of a sweep: its folder, and a tracker for each attempt."""
    folder = tmp_path / "runs" / "a sweep" / "0-demo_scene-logmel"
    folder.mkdir(parents=True)
    (folder.parent / "sweep.json").write_text("{}")

    def attempt(name="run", **options):
        logger = WandbLogger(**{"project": "p", "dir": tmp_path, "tags": ("mine",), **options})
        task = TaskId("demo_scene", "1", "full", "abc")
        return make_tracker(logger, run_folder=folder, config=CONFIG, name=name, model="logmel", task=task)

    attempt.folder = folder
    return attempt


@pytest.fixture
def searched(tmp_path):
    problem = scene_problem(tmp_path / "task", ["a", "b"], clips=30, kfold=True)
    outcome = scene_outcome(problem)
    return result_of(problem, outcome), [*outcome.grid, *outcome.folds[1:]]


def test_curves_are_there_while_the_search_runs(job, searched, tmp_path):
    result, fits = searched
    with job() as tracking:
        tracking.fit_done(fits[0])
        (table,) = tmp_path.glob("wandb/offline-run-*/files/media/table/curves_*")
        assert len(json.loads(table.read_text())["data"]) == len(fits[0].curve)
        for fit in fits[1:]:
            tracking.fit_done(fit)
        tracking.finish(result, [], job.folder)
    tables = sorted(
        tmp_path.glob("wandb/offline-run-*/files/media/table/curves_*"), key=lambda path: path.stat().st_mtime
    )
    assert 4 <= len(tables) < len(fits)
    assert len(json.loads(tables[-1].read_text())["data"]) == sum(len(fit.curve) for fit in fits)
    (records,) = offline_runs(tmp_path)
    chart = values(item for r in records for item in r.config.update)["_wandb/visualize/curves_overlaid"]
    assert chart["panel_config"]["panelDefId"] == "wandb/lineseries/v0"
    of_chart = tmp_path.glob("wandb/*/files/media/table/Custom Chart Tables/curves_overlaid_table_*")
    points = max(of_chart, key=lambda path: path.stat().st_mtime)
    assert len({row[1] for row in json.loads(points.read_text())["data"]}) == len(fits)


def test_config_and_tags(job, tmp_path):
    with job():
        pass
    (records,) = offline_runs(tmp_path)
    config = configs(records)
    assert (config["sweep.id"], config["sweep_id"], config["odd"]) == ("a sweep", "a sweep", "\\udcff")
    assert (config["task.about.domain"], config["task_domain"]) == ("music", "music")
    assert config["run.folder"] == str(job.folder)
    assert tags(records) == ["mine", "current", "a sweep", "demo_scene", "music", "mlp"]


def test_a_killed_search_that_goes_on_is_a_new_run_of_the_same_group(job, searched, tmp_path):
    result, fits = searched
    killed = job()
    killed.__enter__()
    for fit in fits[:4]:
        killed.fit_done(fit)
    killed.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    first = read_attempt(job.folder)
    assert not first.finished
    with job(name="another") as tracking:
        tracking.finish(result, [], job.folder)
    old, new = sorted(offline_runs(tmp_path), key=lambda records: run_id(records) != first.id)
    assert run_id(new) != run_id(old) == first.id
    groups = {next(r.run for r in records if r.HasField("run")).run_group for records in (old, new)}
    assert groups == {"logmel/demo_scene-1-full-abc"}
    assert configs(new)["run.resumes"] == first.id
    assert "run.resumes" not in configs(old)
    mark = read_mark(next(tmp_path.glob(f"wandb/*-{first.id}")))
    assert (mark.by, mark.told) == (run_id(new), False)
    assert read_mark(next(tmp_path.glob(f"wandb/*-{run_id(new)}"))) is None
    tables = tmp_path.glob(f"wandb/*-{first.id}/files/media/table/curves_*")
    assert max(len(json.loads(path.read_text())["data"]) for path in tables) == sum(len(fit.curve) for fit in fits[:4])
    assert read_attempt(job.folder).finished
    with job():  # anew, which makes no earlier result wrong
        pass
    assert read_mark(next(tmp_path.glob(f"wandb/*-{run_id(new)}"))) is None


def test_its_folder_is_held_while_it_records(job, tmp_path):
    with job():
        (run,) = tmp_path.glob("wandb/offline-run-*")
        with writing(run) as free:
            assert not free
    with writing(run) as free:
        assert free


def test_a_damaged_note_of_an_attempt_stops_nobody(job, tmp_path):
    (job.folder / "wandb.json").write_text("{")
    with job():
        pass
    (records,) = offline_runs(tmp_path)
    assert "run.resumes" not in configs(records)


class FakeRun:
    def __init__(self):
        self.tags, self.config, self.updated = ["mine", "current"], {}, False

    def update(self):
        self.updated = True


@pytest.mark.parametrize(("entity", "path"), [("me", "me/p/old"), ("", "p/old")])
def test_a_run_on_the_server_is_retagged_there(tmp_path, monkeypatch, entity, path):
    import wandb

    asked, run = [], FakeRun()
    monkeypatch.setattr(
        wandb, "Api", lambda timeout: type("Api", (), {"run": lambda _, path: asked.append(path) or run})()
    )
    old = Attempt("old", "p", entity, "g", "online", str(tmp_path / "run-old"))
    (tmp_path / "run-old").mkdir()
    wandb_attempts.supersede(old, "new", online=True)
    assert asked == [path]
    assert (run.tags, run.config, run.updated) == (["mine", "superseded"], {"run.superseded_by": "new"}, True)
    assert read_mark(tmp_path / "run-old").told


def test_a_server_that_does_not_answer_costs_nothing(job, tmp_path, monkeypatch, caplog):
    """The earlier attempt was recorded and uploaded; this one is told by the mark, which sync passes on."""
    import wandb

    def unreachable(timeout):
        raise wandb.errors.CommError("no route to host")

    old = tmp_path / "offline-run-1-old"
    old.mkdir()
    (old / "run-old.wandb.synced").touch()
    write_attempt(job.folder, Attempt("old", "p", "", "g", "offline", str(old)))
    monkeypatch.setattr(wandb, "Api", unreachable)
    with job():
        assert (read_mark(old).told, read_attempt(job.folder).group) == (False, "g")
    assert "not marked" not in caplog.text  # offline nobody is asked
    attempt = replace(read_attempt(job.folder), id="old", dir=str(old), finished=False)
    with pytest.raises(wandb.errors.CommError):
        wandb_attempts.supersede(attempt, "newer", online=True)
    assert read_mark(old) == wandb_attempts.Mark("newer", told=False, project="p")
