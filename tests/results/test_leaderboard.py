import math
from dataclasses import replace

import pytest
from hear_archives import ARCHIVES
from tiny import write_task

from hear_exp.errors import UserError
from hear_exp.results import leaderboard
from hear_exp.results.leaderboard import TASKS, differences, leaderboard_task, published_scores, rank
from hear_exp.tasks.folder import read_task


@pytest.fixture
def table(monkeypatch):
    scores = {"t": {"good": 0.9, "twin": 0.5, "other twin": 0.5, "bad": 0.1}}
    monkeypatch.setattr(leaderboard, "published_scores", lambda: scores)


@pytest.mark.parametrize(
    ("score", "place", "tied", "better", "worse"),
    [
        (0.95, 1, (), None, "good"),
        (0.9, 1, ("good",), None, "twin"),
        (0.6, 2, (), "good", "twin"),
        (0.5, 2, ("other twin", "twin"), "good", "bad"),
        (0.3, 4, (), "other twin", "bad"),
        (0.1, 4, ("bad",), "other twin", None),
        (0.0, 5, (), "bad", None),
    ],
)
def test_rank_by_hand(table, score, place, tied, better, worse):
    found = rank("t", score)
    assert (found.task, found.rank, found.of, found.tied, found.better_model) == ("t", place, 5, tied, better)
    assert found.worse_model == worse


def test_nearest_scores_come_along(table):
    found = rank("t", 0.6)
    assert (found.better_score, found.worse_score) == (0.9, 0.5)


def test_unknown_task_is_named(table):
    with pytest.raises(UserError, match="'u' is not on the HEAR leaderboard, whose tasks are: t"):
        rank("u", 0.5)


def test_published_scores_are_whole():
    scores = published_scores()
    assert len(scores) == 19
    assert sum(map(len, scores.values())) == 616
    assert len({model for models in scores.values() for model in models}) == 34
    assert all(0 <= score <= 1 and math.isfinite(score) for models in scores.values() for score in models.values())
    assert scores["dcase2016"]["CREPE"] == 0.503703713
    assert {name for name, _, _ in TASKS.values()} == scores.keys() - {"beehive_states"}


def test_real_scores_rank_where_they_are_printed():
    esc50 = published_scores()["esc50"]
    best = max(esc50, key=lambda model: esc50[model])
    assert rank("esc50", esc50[best]).rank == 1
    assert rank("esc50", esc50[best]).tied == (best,)
    assert rank("esc50", 0.0).rank == rank("esc50", 0.0).of == len(esc50) + 1


def test_a_task_is_known_by_name_size_and_metric(tmp_path):
    task = replace(read_task(write_task(tmp_path)), name="speech_commands", mode="5h")
    assert leaderboard_task(task) == "speech_commands_5h"
    assert leaderboard_task(replace(task, mode="full")) == "speech_commands_full"
    assert leaderboard_task(replace(task, mode="small")) is None
    assert leaderboard_task(replace(task, name="mine")) is None
    assert leaderboard_task(replace(task, metrics=("mAP",))) is None


def test_the_size_is_read_from_the_metadata(tmp_path):
    assert read_task(write_task(tmp_path, task_name="esc50", mode="full")).mode == "full"


PUBLISHED = [{"lr": 1e-3, "hidden_dim": 1024}, {"lr": 1e-4, "hidden_dim": 1024}]


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, ()),
        ({"protocol": "fixed"}, ("protocol fixed, published: hear2021",)),
        ({"protocol_changes": {"shuffle": True}}, ("changed in the protocol: shuffle",)),
        ({"predictor": "knn", "points": [{"k": 1}]}, ("predictor knn, published: mlp",)),
        ({"points": PUBLISHED[:1]}, ("changed in the predictor: lr",)),
        ({"points": PUBLISHED[::-1]}, ("other grid points than the published ones",)),
        ({"points": [{**point, "lr": 1.0} for point in PUBLISHED]}, ("changed in the predictor: lr",)),
        ({"precision": "bf16-mixed"}, ("precision bf16-mixed, published: 32-true",)),
    ],
)
def test_what_makes_a_score_not_comparable(changes, found):
    same = {"protocol": "hear2021", "protocol_changes": {}, "predictor": "mlp", "points": PUBLISHED}
    options = {**same, "published_points": PUBLISHED, "precision": "32-true", **changes}
    assert differences(**options) == found


def test_a_rank_says_whether_it_is_comparable(table):
    assert rank("t", 0.6).comparable
    flagged = rank("t", 0.6, ["protocol fixed", "predictor knn"])
    assert (flagged.rank, flagged.comparable, flagged.why_not) == (2, False, "protocol fixed; predictor knn")


def test_another_version_of_a_task_is_not_comparable():
    found = differences(
        protocol="hear2021",
        protocol_changes={},
        predictor="mlp",
        points=[],
        published_points=[],
        precision="32-true",
        version="mine",
        published_version="v2.0.0",
    )
    assert found == ("version mine of the task, published: v2.0.0",)


def test_the_published_versions_are_those_of_the_archives():
    archives = [metadata for parts in ARCHIVES.values() for metadata in parts]
    versions = {(metadata["task_name"], metadata["mode"]): metadata["version"] for metadata in archives}
    assert {key: version for key, (_, _, version) in TASKS.items()} == {key: versions[key] for key in TASKS}
