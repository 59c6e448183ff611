"""All validations of a search, as one table and one chart, logged at a rate that many fits can bear."""

import math
from dataclasses import replace

import pytest
from fabricated import scene_outcome, scene_problem

from hear_exp.results.wandb_curves import CHART_POINTS, COLUMNS, Curves, Line, thinned


def fits_of(tmp_path, kfold=True, **options):
    outcome = scene_outcome(scene_problem(tmp_path / "task", ["a", "b"], clips=30, kfold=kfold, **options))
    return [*outcome.grid, *outcome.folds[1:]]


@pytest.mark.slow
def test_a_hundred_fits_make_few_tables_of_bounded_size(tmp_path):
    """Whatever is logged is uploaded whole: anew after each fit it would be quadratic in the fits."""
    fits = fits_of(tmp_path)
    long = replace(fits[0], curve=fits[0].curve * 5)  # about 200 validations
    curves, sizes = Curves(), []
    for _ in range(100):
        curves.add(long)
        if curves.due:
            sizes.append(len(curves.media()["curves"].data))
    if not curves.complete:
        sizes.append(len(curves.media()["curves"].data))
    assert sizes[:3] == [200, 400, 600]  # the first fits are seen at once
    assert sizes[-1] == len(curves.rows) == 20_000
    assert len(sizes) <= 14
    assert sum(sizes) <= 4 * sizes[-1]


def test_the_table_and_the_chart(tmp_path):
    fits = fits_of(tmp_path)
    curves = Curves()
    for fit in fits:
        curves.add(fit)
    assert curves.due
    assert not curves.complete
    media = curves.media()
    assert not curves.due
    assert curves.complete
    table, chart = media["curves"], media["curves_overlaid"]
    assert tuple(table.columns) == COLUMNS
    first, last = fits[0], fits[-1]
    v = first.curve[0]
    assert table.data[0] == ["fold00", 0, v.epoch, v.train_loss, v.loss, v.score]
    assert table.data[-1][:3] == ["fold02", last.job.point, last.curve[-1].epoch]
    assert len(table.data) == sum(len(fit.curve) for fit in fits)
    lines = {row[1] for row in chart.table.data}
    assert len(lines) == len(fits) == 10
    assert {"fold00, point 0", f"fold01, point {last.job.point}"} <= lines
    assert chart.table.data[0] == [v.epoch, "fold00, point 0", v.score]
    spec = chart.spec
    assert (spec.spec_name, set(spec.fields.values())) == ("wandb/lineseries/v0", set(chart.table.columns))
    assert spec.string_fields == {
        "title": "validation score of every fit (fold tested on, grid point)",
        "xname": "epoch",
    }


def test_a_task_that_selects_by_loss_shows_losses_and_none_for_undefined(tmp_path):
    fit = fits_of(tmp_path, early_stop_on_score=False)[0]
    fit = replace(fit, curve=(replace(fit.curve[0], train_loss=math.inf), *fit.curve[1:]))
    curves = Curves()
    curves.add(fit)
    media = curves.media()
    assert media["curves"].data[0][3:] == [None, fit.curve[0].loss, None]
    assert media["curves_overlaid"].table.data[0][2] == fit.curve[0].loss
    assert media["curves_overlaid"].spec.string_fields["title"].startswith("validation loss")


def test_neighbours_have_no_curves(tmp_path):
    outcome = scene_outcome(scene_problem(tmp_path / "task", ["a", "b"], clips=30), curves=False)
    curves = Curves()
    curves.add(outcome.grid[0])
    assert not curves.due
    assert curves.complete


def test_a_chart_keeps_within_the_rows_that_wandb_shows(tmp_path):
    fit = fits_of(tmp_path)[0]
    curves = Curves()
    for _ in range(60):
        curves.add(replace(fit, curve=fit.curve * 5))
    media = curves.media()
    assert len(media["curves"].data) == 12_000  # the table is whole
    assert CHART_POINTS * 0.9 < len(media["curves_overlaid"].table.data) <= CHART_POINTS


def test_thinned():
    line = Line("l", tuple(range(101)), tuple(float(i) for i in range(101)))
    assert thinned(line, 101) is line
    assert thinned(line, 5) == Line("l", (0, 25, 50, 75, 100), (0.0, 25.0, 50.0, 75.0, 100.0))
    assert thinned(line, 0).epochs == (0, 100)
