from __future__ import annotations

from dataclasses import replace

import pytest
from fabricated import result_of, scene_outcome, scene_problem

from hear_exp.results.evaluation import evaluation
from hear_exp.results.result import Result


@pytest.fixture(scope="module")
def result(tmp_path_factory) -> Result:
    problem = scene_problem(tmp_path_factory.mktemp("scene"), ["a", "b"], clips=20)
    return replace(result_of(problem, scene_outcome(problem)), task_mode="5h")


def test_seeds_and_scores_share_an_evaluation(result):
    assert evaluation(result).startswith("logmel, demo_scene (5h), mlp, hear2021 [")
    assert evaluation(replace(result, seed=7, score=0.1, finished="later")) == evaluation(result)


@pytest.mark.parametrize(
    "change",
    [
        {"model": "crepe"},
        {"embedding_key": "another"},
        {"task_digest": "another"},
        {"predictor": "linear"},
        {"protocol": "fixed"},
        {"protocol_changes": {"shuffle": True}},
        {"grid": ()},
        {"computation": {"precision": "64-true"}},
    ],
    ids=str,
)
def test_whatever_else_differs_is_another_evaluation(result, change):
    assert evaluation(replace(result, **change)) != evaluation(result)


def test_a_changed_protocol_is_marked(result):
    assert ", hear2021* [" in evaluation(replace(result, protocol_changes={"shuffle": True}))
