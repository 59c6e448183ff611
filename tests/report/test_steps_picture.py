"""Score against step: which rows are a curve, and the picture of them."""

import datetime
from dataclasses import replace

import pytest
from fabricated import result_of, scene_outcome, scene_problem

from hear_exp.report.__main__ import main
from hear_exp.report.runs import Run, compare
from hear_exp.report.steps_picture import curves, draw_steps, step_of
from hear_exp.results.result import write_result


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    problem = scene_problem(tmp_path_factory.mktemp("scene"), ["a", "b"], kfold=True, metrics=["top1_acc", "mAP"])
    return result_of(problem, scene_outcome(problem))


def at(scene, weights, score, **changes):
    """A result of these weights; each file has embeddings of its own."""
    options = {"module": "m", "weights": weights, **changes.pop("options", {})}
    key = f"{weights}{options}"
    return replace(
        scene, **{"model_options": options, "score": score, "embedding_key": key, "embedding_content": key, **changes}
    )


def curves_of(results):
    date = datetime.datetime(2026, 1, 1)
    (comparison,) = compare([Run(result, f"r{i}", date) for i, result in enumerate(results)])
    return {c.label: [(step, row.score) for step, row in c.points] for c in curves(comparison)}


@pytest.mark.parametrize(
    ("weights", "step"),
    [
        ("ckpts/step_1000.pt", 1000),
        ("run2/epoch=3-step=200.ckpt", 200),
        ("step-20-loss0.5.pt", 20),
        ("v2_model_007.pt", 7),
        ("2024/last.pt", None),
        ("", None),
        ("checkpoint-500", 500),
    ],
)
def test_the_step_in_a_name(weights, step):
    assert step_of(weights) == step


def test_rows_that_differ_in_weights_only_are_a_curve(scene):
    results = [at(scene, f"a/step_{step}.pt", score) for step, score in ((100, 0.7), (20, 0.5), (3, 0.4))]
    results += [at(scene, "a/last.pt", 0.9), at(scene, "", 0.1), at(scene, "a/step_50.pt", None)]
    assert curves_of(results) == {"logmel": [(3, 0.4), (20, 0.5), (100, 0.7)]}


def test_what_else_differs_makes_curves_of_their_own(scene):
    results = [
        *(at(scene, f"{folder}/step_{step}.pt", step / 100) for folder in "ab" for step in (1, 2)),
        *(at(scene, f"a/step_{step}.pt", step / 100, options={"size": 3}) for step in (5, 6)),
        at(scene, "a/step_1.pt", 0.3, predictor="knn"),  # alone of its kind
    ]
    found = curves_of(results)
    assert sorted(found.values()) == [[(1, 0.01), (2, 0.02)], [(1, 0.01), (2, 0.02)], [(5, 0.05), (6, 0.06)]]
    assert len(found) == 3
    assert any("size" in label for label in found)


def test_no_curve_no_picture(scene, tmp_path):
    path = tmp_path / "steps.png"
    path.write_text("of runs that are gone")
    (comparison,) = compare([Run(at(scene, "a/step_1.pt", 0.5), tmp_path, datetime.datetime(2026, 1, 1))])
    assert draw_steps([comparison], path) is None
    assert not path.exists()


def test_the_report_draws_it(scene, tmp_path, capsys):
    for step in (1, 10, 1000):
        folder = tmp_path / "runs" / str(step)
        folder.mkdir(parents=True)
        write_result(folder, at(scene, f"ckpt$s/step_{step}.pt", 0.5, finished="2026-01-01T00:00:00"))
    assert main([str(tmp_path)]) == 0
    assert (tmp_path / "report" / "steps.png").read_bytes().startswith(b"\x89PNG")
    assert f"wrote {tmp_path / 'report' / 'steps.png'}" in capsys.readouterr().out
