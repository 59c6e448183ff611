"""conf/task: a file for each column of the leaderboard, with HEAR's archives and the task's own settings."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from tiny import write_task

from hear_exp.cli import edge as cli
from hear_exp.download.__main__ import chosen_tasks, hear_tasks
from hear_exp.download.origins import wanted_archives
from hear_exp.results.leaderboard import TASKS, published_scores
from hear_exp.scoring.scores import SCORES, score_kind
from hear_exp.settings import plans

pytestmark = pytest.mark.slow

DOC = Path(__file__).parents[1] / "docs" / "tasks.md"
# As HEAR published them: (archives, folds (1: train, valid and test), primary score, leaderboard's metric)
PUBLISHED = {
    "beehive_states": (["beehive_states_fold0-v2-full", "beehive_states_fold1-v2-full"], 2, "aucroc"),
    "beijing_opera": (["beijing_opera-v1.0-hear2021-full"], 5, "top1_acc"),
    "crema_d": (["tfds_crema_d-1.0.0-full"], 5, "top1_acc"),
    "dcase2016": (["dcase2016_task2-hear2021-full"], 1, "event_onset_200ms_fms"),
    "esc50": (["esc50-v2.0.0-full"], 5, "top1_acc"),
    "fsd50k": (["fsd50k-v1.0-full"], 1, "mAP"),
    "gtzan_genre": (["tfds_gtzan-1.0.0-full"], 10, "top1_acc"),
    "gtzan_music_speech": (["tfds_gtzan_music_speech-1.0.0-full"], 10, "top1_acc"),
    "gunshot_triangulation": (["gunshot_triangulation-v1.0-full"], 7, "top1_acc"),
    "libricount": (["libricount-v1.0.0-hear2021-full"], 5, "top1_acc"),
    "maestro_5h": (["maestro-v3.0.0-5h"], 5, "event_onset_50ms_fms"),
    "mridangam_stroke": (["mridangam_stroke-v1.5-full"], 5, "top1_acc"),
    "mridangam_tonic": (["mridangam_tonic-v1.5-full"], 5, "top1_acc"),
    "nsynth_pitch_50h": (["nsynth_pitch-v2.2.3-50h"], 1, "pitch_acc"),
    "nsynth_pitch_5h": (["nsynth_pitch-v2.2.3-5h"], 1, "pitch_acc"),
    "speech_commands_5h": (["speech_commands-v0.0.2-5h"], 1, "top1_acc"),
    "speech_commands_full": (["speech_commands-v0.0.2-full"], 1, "top1_acc"),
    "vocal_imitation": (["vocal_imitation-v1.1.3-full"], 3, "mAP"),
    "vox_lingua_top10": (["vox_lingua_top10-hear2021-full"], 5, "top1_acc"),
}
FIELDS = {"name", "path", "demo", "archives", "leaderboard", "about"}
OPTIONAL = {"task_name", "predictor_grid", "postprocessing_grid", "early_stop_on_score", "parts", "md5"}
ABOUT = {"asks", "domain", "kind", "clips", "seconds", "folds", "score", "licence", "source"}


def test_there_is_a_task_for_each_column_of_the_leaderboard():
    assert set(hear_tasks()) == set(PUBLISHED) == set(published_scores())


@pytest.mark.parametrize("name", PUBLISHED)
def test_fields(compose, name):
    archives, folds, score = PUBLISHED[name]
    task = compose(f"task={name}")[0]["task"]
    assert FIELDS <= set(task) <= FIELDS | OPTIONAL
    assert (task["name"], task["leaderboard"], task["archives"], task["demo"]) == (name, name, archives, False)
    about = task["about"]
    assert set(about) == ABOUT
    assert (about["folds"], about["score"]) == (folds, score)
    assert about["domain"] in ("speech", "environmental sound", "music")
    assert about["kind"] in ("scene, multiclass", "scene, multilabel", "event")
    assert score in SCORES
    assert about["kind"].startswith(score_kind(score))
    assert about["source"].startswith("https://")
    assert isinstance(about["clips"], int)
    first, *_ = (cli.conf_dir() / "task" / f"{name}.yaml").read_text().splitlines()
    assert re.fullmatch(r"# .+: .+\?", first)  # what it asks
    assert first.endswith(about["asks"])


@pytest.mark.parametrize("name", PUBLISHED)
def test_places_are_those_in_the_archive(compose, name):
    """An archive is hear2021-NAME-48000.tar.gz and holds hear-2021.0.6/tasks/NAME."""
    archives, *_ = PUBLISHED[name]
    wanted = wanted_archives(compose(f"task={name}", "paths.root=/root")[0]["task"])
    assert [item.filename for item in wanted] == [f"hear2021-{archive}-48000.tar.gz" for archive in archives]
    assert [item.place for item in wanted] == [Path("/root/data/tasks") / archive for archive in archives]


def test_the_leaderboard_knows_their_metadata():
    """(task_name, mode) of an archive's metadata are in its name: NAME-VERSION-MODE."""
    for name, (archives, _, score) in PUBLISHED.items():
        if name != "beehive_states":
            (archive,) = archives
            task, *version, mode = archive.split("-")
            assert TASKS[task, mode] == (name, score, "-".join(version))


def test_all_of_them_are_chosen_with_tasks_all():
    tasks = chosen_tasks({"tasks": "all", "paths": {"tasks": "T"}, "task": None})
    assert [task["name"] for task in tasks] == sorted(PUBLISHED)
    assert sum(len(wanted_archives(task)) for task in tasks) == 20
    bees = next(task for task in tasks if task["name"] == "beehive_states")
    assert [item.md5 for item in wanted_archives(bees)] == [
        "f9e045f9b2ddf5643edc1143304c80aa",
        "8bced7ce8336bf23fd61c61f04aee109",
    ]


def test_the_document_has_them_all():
    rows = [line for line in DOC.read_text().splitlines() if line.startswith("| `") and line.count("|") == 10]
    rows = rows[1:]  # the first one is the heading
    assert len(rows) == len(PUBLISHED)
    for row in rows:
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        name = cells[0].strip("`")
        about = yaml.safe_load((cli.conf_dir() / "task" / f"{name}.yaml").read_text())["about"]
        assert cells[1:6] == [about["asks"], about["domain"], about["kind"], str(about["clips"]), str(about["seconds"])]
        assert cells[7] == f"`{about['score']}`"
        assert about["source"] in cells[8]


# A task's own settings ---------------------------------------------------------------------------------------


def load(settings_of, folder, name, *overrides):
    settings, overrides = settings_of(f"task={name}", f"task.path={folder}", *overrides)
    return plans.load_task(settings, overrides)


def test_dcase_validates_every_ten_epochs(settings_of, tmp_path):
    """Also where its folder is given by its path."""
    folder = write_task(tmp_path / "dcase", "events", clips=1, task_name="dcase2016_task2")
    for name in ("dcase2016", "custom"):
        task = load(settings_of, folder, name)
        assert task.predictor_grid == {"check_val_every_n_epoch": [10]}
        assert (task.postprocessing_grid, task.early_stop_on_score) == ({}, True)
    _, points = _protocol_and_grid(settings_of, task)
    assert {point.check_val_every_n_epoch for point in points} == {10}


def _protocol_and_grid(settings_of, task):
    settings, choices = settings_of("task=custom")
    return plans.protocol_and_grid(settings, task, choices)


def test_maestro(settings_of, tmp_path):
    folder = write_task(tmp_path / "maestro", "events", clips=1, folds=3, task_name="maestro")
    task = load(settings_of, folder, "maestro_5h")
    assert task.predictor_grid == {"max_epochs": [50]}
    assert task.postprocessing_grid == {"median_filter_ms": [150], "min_duration": [50]}
    assert task.early_stop_on_score is False
    protocol, _ = _protocol_and_grid(settings_of, task)
    assert (protocol.median_filter_ms, protocol.min_duration_ms) == ((150,), (50,))


def test_the_metadata_wins(settings_of, tmp_path):
    params = {
        "task_specific_param_grid": {"max_epochs": [7], "check_val_every_n_epoch": [1]},
        "event_postprocessing_grid": {"median_filter_ms": [100]},
    }
    folder = write_task(tmp_path / "m", "events", clips=1, folds=3, task_name="maestro", evaluation_params=params)
    task = load(settings_of, folder, "maestro_5h")
    assert task.predictor_grid == {"max_epochs": [7], "check_val_every_n_epoch": [1]}
    assert task.postprocessing_grid == {"median_filter_ms": [100], "min_duration": [50]}


def test_others_have_none(settings_of, tmp_path):
    folder = write_task(tmp_path / "tiny", clips=1)
    for name in ("esc50", "custom"):
        task = load(settings_of, folder, name)
        assert replace(task, predictor_grid={}, postprocessing_grid={}) == task


def test_no_code_knows_a_task_by_name():
    """What is special about a task is in its file or its archive."""
    source = Path(cli.__file__).parents[1]
    for file in source.glob("*.py"):
        if file.name != "leaderboard.py":
            assert not re.search(r"==\s*[\"'](maestro|dcase|beehive)", file.read_text()), file
