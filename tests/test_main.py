"""One run from audio to result.json, and what may fail after its scores are known without costing them."""

import errno
from pathlib import Path

import pytest
from tiny import write_task

from hear_exp import pipeline
from hear_exp.__main__ import run
from hear_exp.report import pictures
from hear_exp.results import beside, csv_tracker, wandb_tracker
from hear_exp.results.result import read_result

pytestmark = pytest.mark.slow

SMALL = ["model=hear", "model.module=tiny_model", "trainer=cpu", "search.workers=1", "predictor.max_epochs=6"]
SMALL += ["predictor.hidden_dim=16", "predictor.hidden_layers=1", "predictor.lr=[1e-2,1e-3]"]
SMALL += ["predictor.initialization=xavier_uniform"]


@pytest.fixture
def small(start, tmp_path):
    """small("logger=csv", ...): runs a small task and returns the run's folder and its log."""
    folder = write_task(tmp_path / "tiny_task", clips=12)

    def ran(*arguments: str) -> tuple[Path, str]:
        start(run, "task=custom", f"task.path={folder}", *SMALL, *arguments)
        (path,) = Path("runs").rglob("result.json")
        log = path.parent / "run.log"  # opened at its first line
        return path.parent, log.read_text() if log.exists() else ""

    return ran


def full_disk(*_args, **_options):
    raise OSError(errno.ENOSPC, "No space left on device", "somewhere/file")


def test_scores_come_before_anything_that_may_fail(small, monkeypatch):
    """Seen from each of the later steps, result.json is there already."""
    seen = {}

    def look(step):
        def looked(*_args, **_options):
            seen[step] = len(list(Path("runs").rglob("result.json")))
            return []

        return looked

    monkeypatch.setattr(beside, "write_predictions", look("predictions"))
    monkeypatch.setattr(beside, "write_curves", look("curves"))
    monkeypatch.setattr(beside, "write_predictor", look("weights"))
    monkeypatch.setattr(pipeline, "draw_pictures", look("pictures"))
    monkeypatch.setattr(csv_tracker.CsvTracker, "finish", look("record"))
    small("logger=csv")
    assert seen == dict.fromkeys(["predictions", "curves", "weights", "pictures", "record"], 1)


def test_predictions_on_a_full_disk_are_a_warning(small, monkeypatch):
    monkeypatch.setattr(beside, "write_predictions", full_disk)
    folder, warned = small("logger=csv")
    assert read_result(folder).score is not None
    assert "the test predictions were not written: No space left on device: somewhere/file" in warned
    assert (folder / "predictor.pt").is_file()  # the rest is still tried
    assert (folder / "plots" / "confusion.png").is_file()


def test_a_picture_that_cannot_be_drawn_is_a_warning(small, monkeypatch):
    def no_glyph(*_args):
        raise RuntimeError("In draw_glyphs_to_bitmap: Could not convert glyph to bitmap")

    monkeypatch.setattr(pictures, "_confusion", no_glyph)
    folder, warned = small("logger=csv")
    assert read_result(folder).score is not None
    assert f"the picture {folder.resolve()}/plots/confusion.png was not drawn: In draw_glyphs" in warned
    assert (folder / "plots" / "learning_curve.png").is_file()
    assert "result,,,,top1_acc," in (folder / "metrics.csv").read_text()


def test_a_record_that_fails_in_the_middle_costs_nothing(small, monkeypatch):
    calls = []

    def gone(self, outcome):
        calls.append(outcome)
        full_disk()

    monkeypatch.setattr(csv_tracker.CsvTracker, "fit_done", gone)
    folder, warned = small("logger=csv")
    assert len(calls) == 1  # one warning, not one a fit
    assert "a fit was not recorded, nor will the following ones be: No space left on device" in warned
    assert read_result(folder).score is not None
    assert "result,,,,top1_acc," in (folder / "metrics.csv").read_text()  # the end is tried all the same


def test_wandb_that_fails_at_the_end_is_a_warning_that_says_how_to_record_again(small, monkeypatch):
    def no_network(self, *_args):
        raise ConnectionError("network unreachable")

    monkeypatch.setattr(wandb_tracker.WandbTracker, "finish", no_network)
    folder, warned = small("logger=wandb")
    assert read_result(folder).score is not None
    assert f"the result was not recorded (it is in {folder.resolve()}/result.json): network unreachable" in warned
    assert "upload what wandb kept with: wandb sync wandb/" in warned
    assert "the same command with rerun=true makes and records the run again" in warned


def test_a_table_that_cannot_be_printed_is_a_warning(small, monkeypatch):
    def ascii_only(*_args):
        raise UnicodeEncodeError("ascii", "±", 0, 1, "ordinal not in range(128)")

    monkeypatch.setattr(pipeline, "show_result", ascii_only)
    folder, warned = small("logger=none")
    assert read_result(folder).score is not None
    assert "the result was not shown: 'ascii' codec" in warned


def test_scores_that_cannot_be_written_are_shown(small, monkeypatch, capfd):
    def full(*_args, **_options):
        raise OSError(errno.ENOSPC, "No space left on device", "runs/result.json")

    monkeypatch.setattr(pipeline, "write_result", full)
    with pytest.raises(SystemExit) as end:
        small("logger=none")
    assert end.value.code == 1
    printed = capfd.readouterr().err
    assert "top1_acc" in printed
    assert "No space left on device" in printed


@pytest.mark.parametrize(
    ("arguments", "why_not"),
    [
        ([], ""),
        (["predictor=knn"], "predictor knn, published: mlp"),
        (["protocol=fixed"], "protocol fixed, published: hear2021"),
        (["predictor.hidden_dim=8"], "changed in the predictor: hidden_dim"),
    ],
)
def test_only_the_published_evaluation_has_a_comparable_rank(start, tmp_path, arguments, why_not):
    """The task's own settings, from its metadata, are the published ones."""
    own = {"max_epochs": [6], "hidden_dim": [16]}
    published = {"task_name": "esc50", "version": "v2.0.0", "mode": "full"}
    folder = write_task(tmp_path / "esc", evaluation_params={"task_specific_param_grid": own}, **published)
    common = ["model=hear", "model.module=tiny_model", "trainer=cpu", "search.workers=1", "logger=none"]
    start(run, "task=custom", f"task.path={folder}", *common, *arguments)
    (path,) = Path("runs").rglob("result.json")
    result = read_result(path)
    assert (result.leaderboard["comparable"], result.leaderboard["why_not"]) == (not why_not, why_not)
    assert result.model_options["module"] == "tiny_model"
    assert len(result.identity) > 8
    assert (result.task_mode, len(result.task_digest)) == ("full", 12)
