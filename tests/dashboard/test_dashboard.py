"""The dashboard of a project: the saved workspace and report that its command makes on wandb."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fabricated import event_outcome, event_problem, result_of, scene_outcome, scene_problem
from wandb_records import configs, offline_runs, summaries, tags, values

from hear_exp.dashboard import __main__ as command
from hear_exp.dashboard.__main__ import main
from hear_exp.report.pictures import draw_pictures
from hear_exp.results.leaderboard import Rank
from hear_exp.results.task_id import TaskId
from hear_exp.results.tracking import make_tracker
from hear_exp.results.wandb_logger import WandbLogger
from hear_exp.scoring.event import Event

pytest.importorskip("wandb_workspaces")
from hear_exp.dashboard.described import described
from hear_exp.dashboard.options import read_options
from hear_exp.dashboard.picture import keys_of, title_of
from hear_exp.dashboard.report import make_report
from hear_exp.dashboard.runsets import COLUMNS
from hear_exp.dashboard.workspace import make_workspace

WORKSPACE, REPORT = "https://wandb.ai/team/p?nw=abc", "https://wandb.ai/team/p/reports/hear_exp--Vmlldzox"


@pytest.fixture(autouse=True)
def _nobody_answers(monkeypatch):
    """No account, and a network that would tell on whoever calls."""

    def refuse(*address: Any) -> None:
        raise AssertionError(f"called {address}")

    for name in ("WANDB_API_KEY", "WANDB_ENTITY", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", "/nonexistent")
    monkeypatch.setenv("WANDB_CONFIG_DIR", "/nonexistent")
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)


def panels_of(specification: dict[str, Any]) -> list[dict[str, Any]]:
    holders = specification.get("sections") or [b for b in specification["blocks"] if b["type"] == "PanelGrid"]
    return [panel for holder in holders for panel in holder["panels"]]


def test_files_need_no_account(tmp_path, capsys):
    assert main([f"out={tmp_path / 'o'}", "project=p", "name=mine"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"wrote {tmp_path}/o/{name}" for name in ("workspace.json", "workspace.png", "report.json", "report.png")
    ]
    workspace, report = (json.loads((tmp_path / f"o/{name}.json").read_text()) for name in ("workspace", "report"))
    assert (workspace["type"], workspace["name"], workspace["project"]) == ("Workspace", "mine", "p")
    assert [section["name"] for section in workspace["sections"]] == [
        block["text"] for block in report["blocks"] if block["type"] == "H2"
    ]
    titles = [[panel.get("title") for panel in panels_of(one)] for one in (workspace, report)]
    assert titles[0] == titles[1]
    assert "test score, mean and deviation over seeds" in titles[0]
    for name in ("workspace", "report"):
        assert (tmp_path / f"o/{name}.png").stat().st_size > 20_000


def test_two_writings_are_the_same(tmp_path):
    for folder in ("a", "b"):
        assert main([f"out={tmp_path / folder}"]) == 0
    for name in ("workspace.json", "report.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_in_a_process_of_its_own_nobody_is_called(tmp_path):
    """Imports too, of which this process has made some before."""
    code = (
        "import socket, sys\n"
        "def refuse(*address): print('called', address); raise SystemExit(7)\n"
        "socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse\n"
        "from hear_exp.dashboard.__main__ import main\n"
        "status = main(['out=o'])\n"
        "import threading\n"
        "assert threading.active_count() == 1, threading.enumerate()\n"
        "sys.exit(3 if 'torch' in sys.modules else status)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (tmp_path / "wandb").exists()


# What panels ask for is what runs log ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def logged(tmp_path_factory) -> SimpleNamespace:
    """The names under which offline runs of each kind of task log, with and without training; and their tags."""
    folder = tmp_path_factory.mktemp("logged")
    multiclass = scene_problem(folder / "a", ["a", "b", "c"], clips=30, kfold=True)
    multilabel = scene_problem(folder / "b", ["a", "b"], clips=30, prediction_type="multilabel", metrics=["mAP"])
    reference = [[Event("a", 0, 1500)], [Event("b", 100, 900)]]
    events = event_problem(folder / "c", reference, ["a", "b"])
    outcomes = [
        (multiclass, scene_outcome(multiclass)),
        (multiclass, scene_outcome(multiclass, curves=False)),  # knn
        (multilabel, scene_outcome(multilabel)),
        (events, event_outcome(events, reference)),
    ]
    about = {"about": {"domain": "speech", "kind": "event"}, "name": "esc50"}
    named = (("model", "logmel"), ("predictor", "mlp"), ("protocol", "fixed"))
    names = {group: {"name": name} for group, name in named}
    config = {**names, "task": about}
    for i, (problem, outcome) in enumerate(outcomes):
        run = folder / f"run{i}"
        run.mkdir()
        rank = asdict(Rank("esc50", 2, 30))
        result = replace(result_of(problem, outcome), leaderboard=rank)
        logger = WandbLogger(project="p", dir=folder, mode="offline")
        identity = {"name": "run", "model": "logmel", "task": TaskId("esc50")}
        with make_tracker(logger, run_folder=run, config=config, **identity) as tracking:
            for fit in outcome.grid:
                tracking.fit_done(fit)
            tracking.finish(result, draw_pictures(run, problem, outcome, result), run)
    runs = offline_runs(folder)
    return SimpleNamespace(
        summary={name.removesuffix("/_type") for run in runs for name in summaries(run)},
        history={name for run in runs for record in run for name in values(record.history.item)},
        config={name for run in runs for name in configs(run)},
        tags={tag for run in runs for tag in tags(run)},
    )


@pytest.mark.slow
@pytest.mark.parametrize("make", [make_workspace, make_report])
def test_every_panel_asks_for_what_runs_log(make, logged):
    panels = panels_of(described(make(read_options(["project=p"]))))
    assert len(panels) > 15
    known = logged.summary | logged.history | {f"config.{name}" for name in logged.config}
    asked = {title_of(panel): keys_of(panel) for panel in panels}
    assert {title: keys for title, keys in asked.items() if not keys} == {}
    unknown = {title: sorted(set(keys) - known) for title, keys in asked.items()}
    assert {title: keys for title, keys in unknown.items() if keys} == {}


@pytest.mark.slow
def test_lines_are_of_what_is_logged_by_step(logged):
    lines = [panel for panel in panels_of(described(make_workspace(read_options([])))) if panel["type"] == "LinePlot"]
    assert {key for panel in lines for key in keys_of(panel)} <= logged.history


@pytest.mark.slow
def test_columns_are_of_what_runs_log(logged):
    for column in COLUMNS:
        section, _, name = column.partition(":")
        if section == "summary":
            assert name in logged.summary
        elif section == "config":
            assert name.removesuffix(".value") in logged.config
        else:
            assert column == "run:tags"


def test_filters_are_tags_that_runs_have(logged):
    assert {"speech", "fixed"} <= logged.tags


def test_nothing_depends_on_a_config_key_with_a_dot():
    """wandb's filters do not find them, and its parallel plots take the part before the dot for a key of its own."""
    for make in (make_workspace, make_report):
        panels = panels_of(described(make(read_options([]))))
        keys = [key for panel in panels for key in keys_of(panel) if key.startswith("config.")]
        assert set(keys) == {"config.evaluation"}
    assert all("." not in column.removesuffix(".value") for column in COLUMNS)


# Options and filters -----------------------------------------------------------------------------------------


def test_filters():
    specification = described(make_workspace(read_options(["domain=environmental sound", "protocol=fixed"])))
    assert specification["runset_settings"]["filters"] == (
        "Metric(\"Tags\") in ['environmental sound'] and Metric(\"Tags\") in ['fixed']"
    )
    assert "filters" not in described(make_workspace(read_options([])))["runset_settings"]


def test_the_report_has_a_set_of_runs_for_each_domain():
    grids = [b for b in described(make_report(read_options(["protocol=fixed"])))["blocks"] if b["type"] == "PanelGrid"]
    sets = {runset["name"]: runset["filters"] for runset in grids[0]["runsets"]}
    assert list(sets) == ["environmental sound", "music", "speech", "other tasks"]
    assert sets["music"] == "Metric(\"Tags\") in ['music'] and Metric(\"Tags\") in ['fixed']"
    assert sets["other tasks"].startswith("Metric(\"Tags\") not in ['environmental sound', 'music', 'speech'] and")
    (grid, *_) = [b for b in described(make_report(read_options(["domain=music"])))["blocks"] if "runsets" in b]
    assert [runset["name"] for runset in grid["runsets"]] == ["music"]


def test_panels_of_a_report_do_not_overlap():
    for block in described(make_report(read_options([])))["blocks"]:
        places = [panel["layout"] for panel in block.get("panels", ())]
        taken = [(x, y) for p in places for x in range(p["x"], p["x"] + p["w"]) for y in range(p["y"], p["y"] + p["h"])]
        assert len(taken) == len(set(taken))
        assert all(x < 24 for x, _ in taken)


def test_parallel_plots():
    panels = panels_of(described(make_workspace(read_options(["settings=scale, power"]))))
    plots = {panel["title"]: panel["columns"] for panel in panels if panel["type"] == "ParallelCoordinatesPlot"}
    assert list(plots) == [f"predictor.* of {name}" for name in ("your own", "knn", "linear", "mlp")]
    own = plots["predictor.* of your own"]
    assert [column["metric"] for column in own] == ["winner/scale", "winner/power", "validation_score", "score"]
    mlp = {column["metric"]: column.get("log", False) for column in plots["predictor.* of mlp"]}
    assert list(mlp)[:3] == ["winner/hidden_layers", "winner/initialization", "winner/lr"]  # those that are searched
    assert [name for name, log in mlp.items() if log] == ["winner/lr"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["projct=p"], "unknown option 'projct=p'; did you mean project=...?"),
        (["p"], "unknown option 'p'; expected NAME=VALUE with one of: project, entity, "),
        (["project=p", "project=q"], "project is given twice: 'p' and 'q'"),
        (["project="], "project is '', expected a name without"),
        (["project=a/b"], "project is 'a/b', expected a name without"),
        ([f"name={'n' * 129}"], "name has 129 characters, but wandb takes a title of 1 to 128"),
        (["domain=it's"], 'domain is "it\'s", expected letters'),
        (["out="], "out is empty, expected a folder"),
        (["report=there"], "report is 'there', expected its address: https://wandb.ai/ENTITY/PROJECT/reports/..."),
        ([f"workspace={REPORT}"], "expected its address: https://wandb.ai/ENTITY/PROJECT?nw=..."),
        ([f"report={REPORT}", "project=q"], "report is one of team/p, but the project is ENTITY/q; give"),
    ],
    ids=str,
)
def test_mistakes_are_sentences(words, said, capsys):
    assert main(words) == 1
    assert said in capsys.readouterr().err


def test_a_name_that_wandb_does_not_take_is_a_sentence(tmp_path, capsys):
    assert main([f"out={tmp_path}", "name=rocket \N{ROCKET}"]) == 1
    assert capsys.readouterr().err.startswith("hear_exp: wandb does not take name=")


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    assert main([f"out={tmp_path / 'file'}"]) == 1
    assert capsys.readouterr().err.startswith("hear_exp: cannot write")


def test_help_names_every_option(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out
    assert "logger.project, hear_exp" in text
    assert "environmental sound, music, speech" in text


def test_without_the_extra_the_command_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setattr(command, "find_spec", lambda name: None)
    assert main([]) == 1
    assert "the dashboard needs the package wandb-workspaces: pip install 'wandb-workspaces" in capsys.readouterr().err
    required = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    assert command.INSTALL.split("'")[1] in required


# Saving, with a server that is none --------------------------------------------------------------------------


class Account:
    """In the place of wandb.Api: an account without a network, that keeps what it is asked to save."""

    def __init__(self, default_entity: str | None = "me", refuse: str = ""):
        self.default_entity = default_entity
        self.saved: list[dict[str, Any]] = []
        self.made: list[tuple[str, str]] = []
        self.refuse = refuse
        self._service_api = SimpleNamespace(execute_graphql=self._answer, app_url="https://wandb.ai")

    def projects(self, entity: str) -> list[Any]:
        return []

    def create_project(self, name: str, entity: str) -> None:
        self.made.append((entity, name))

    def _answer(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        if "upsertView" in query:
            if variables["type"] == self.refuse:
                raise ValueError("permission denied")
            self.saved.append(variables)
            project = {"name": variables["projectName"], "entityName": variables["entityName"]}
            view = {
                "id": variables.get("id") or f"view{len(self.saved)}",
                "name": variables["name"],
                "displayName": variables["displayName"],
                "description": "",
                "spec": variables["spec"],
                "project": project,
                "updatedAt": None,
                "createdAt": None,
            }
            return {"upsertView": {"view": view, "inserted": True}}
        (found,) = [one for one in self.saved if one["type"] == ("project-view" if "allViews" in query else "runs")]
        node = {"id": "OLD", "displayName": found["displayName"], "spec": found["spec"], "name": found["name"]}
        node |= {"description": "", "project": {"name": "p", "entityName": "team"}}
        return {"project": {"allViews": {"edges": [{"node": node}]}}, "view": node}


@pytest.fixture
def account(monkeypatch):
    import wandb

    def of(**options: Any) -> Account:
        account = Account(**options)
        monkeypatch.setattr(wandb, "Api", lambda *a, **k: account)
        return account

    return of


def test_both_are_saved_in_the_project(account, capsys):
    saving = account()
    assert main(["project=p", "name=mine", "protocol=fixed"]) == 0
    assert "workspace: https://wandb.ai/me/p?nw=" in capsys.readouterr().out
    assert saving.made == [("me", "p")]
    assert [(one["entityName"], one["projectName"], one["displayName"], one["type"]) for one in saving.saved] == [
        ("me", "p", "mine", "runs"),
        ("me", "p", "mine", "project-view"),
    ]
    report, workspace = (json.loads(one["spec"]) for one in saving.saved)
    (runset,) = workspace["section"]["runSets"]
    assert [(f["key"], f["op"], f["value"]) for f in runset["filters"]["filters"]] == [
        ({"section": "run", "name": "tags"}, "IN", ["fixed"])
    ]
    sections = workspace["section"]["panelBankConfig"]["sections"]
    bars, parallel = sections[0]["panels"][0]["config"], sections[2]["panels"][0]["config"]
    assert (bars["metrics"], bars["groupBy"], bars["groupAgg"], bars["groupArea"]) == (
        ["score"],
        "evaluation.value",
        "mean",
        "stddev",
    )
    assert bars["aggregate"] is True
    assert parallel["columns"][0] == {"accessor": "summary:winner/k", "displayName": "predictor.k", "log": True}
    grids = [block for block in report["blocks"] if block["type"] == "panel-grid"]
    assert len(grids) == len(sections)
    assert all("project" not in runset for grid in grids for runset in grid["metadata"]["runSets"])


def test_saved_ones_are_replaced(account, capsys):
    saving = account(default_entity=None)
    assert main(["project=p", "entity=team"]) == 0
    assert main(["project=p", f"workspace={WORKSPACE}", f"report={REPORT}", "name=new"]) == 0
    report, workspace = saving.saved[2:]
    assert (report["id"], report["displayName"], report["entityName"]) == ("OLD", "new", "team")
    assert (workspace["id"], workspace["name"], workspace["displayName"]) == ("OLD", "nw-abc-v", "new")
    assert len(json.loads(workspace["spec"])["section"]["panelBankConfig"]["sections"]) == 7


def test_nobody_logged_in_is_a_sentence(capsys):
    assert main(["project=p"]) == 1
    said = capsys.readouterr().err
    assert said.startswith(
        "hear_exp: nobody is logged in to wandb: log in with `wandb login`, or write files with out="
    )


def test_an_account_without_a_team_is_a_sentence(account, capsys):
    account(default_entity=None)
    assert main(["project=p"]) == 1
    assert "say which with entity=NAME" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("runs", "the report was not saved"),
        ("project-view", "the report was saved (https://wandb.ai/me/p/reports/hear_exp--view1), the workspace was not"),
    ],
)
def test_what_wandb_refuses_is_a_sentence(account, capsys, kind, said):
    account(refuse=kind)
    assert main(["project=p"]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == f"hear_exp: {said}: wandb answered: permission denied"
