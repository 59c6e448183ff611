"""Scores: hand-worked values, edges, error texts, scikit-learn and whole-clip sed_eval as slow references."""

import logging
import math
import subprocess
import sys
import warnings

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.metrics import average_precision_score, roc_auc_score

from hear_exp.scoring import label_means
from hear_exp.scoring.accuracy import MULTILABEL_ACCURACY
from hear_exp.scoring.event import Event
from hear_exp.scoring.figure import Figure
from hear_exp.scoring.label_means import per_class_average_precision
from hear_exp.scoring.scores import SCORES, SceneScore, event_scores, higher_is_better, scene_scores, score_kind

ACCURACIES = ("top1_acc", "pitch_acc", "chroma_acc")
RANKINGS = ("mAP", "d_prime", "aucroc")
F_MEASURES = ("event_onset_200ms_fms", "event_onset_50ms_fms", "event_onset_offset_50ms_20perc_fms")


def one_hot(indices, labels):
    return np.eye(labels, dtype=np.uint8)[np.asarray(indices)]


# The table --------------------------------------------------------------------------------------------------


def test_kinds_and_directions():
    assert len(SCORES) == 10
    assert {name for name in SCORES if score_kind(name) == "event"} == {*F_MEASURES, "segment_1s_er"}
    assert [name for name in SCORES if not higher_is_better(name)] == ["segment_1s_er"]


def test_a_score_is_added_by_one_entry(monkeypatch):
    def hits_at(scenes, *, threshold):
        hits = ((scenes.probabilities > threshold) == scenes.targets).mean()
        return {"": Figure(float(hits), ""), "_rest": Figure(math.nan, "there is none")}

    monkeypatch.setattr("hear_exp.scoring.scores.SCORES", {**SCORES, "hits": SceneScore(hits_at, {"threshold": 0.5})})
    told: dict[str, str] = {}
    scored = scene_scores(["hits"], np.array([[0.9, 0.1]]), np.array([[1, 1]]), on_undefined=told.__setitem__)
    assert list(scored) == ["hits", "hits_rest"]
    assert scored["hits"] == 0.5
    assert told == {"hits_rest": "there is none"}
    assert (score_kind("hits"), higher_is_better("hits")) == ("scene", True)


def test_unknown_score_is_named():
    for function in (score_kind, higher_is_better):
        with pytest.raises(ValueError, match=r"unknown score 'f1', expected one of: top1_acc, .*segment_1s_er"):
            function("f1")
    with pytest.raises(ValueError, match="'mAP' is for scene tasks, expected a score for event tasks"):
        event_scores(["mAP"], {}, {}, ["a"])
    with pytest.raises(ValueError, match="'segment_1s_er' is for event tasks, expected a score for scene tasks"):
        scene_scores(["segment_1s_er"], np.ones((1, 1)), np.ones((1, 1)))


def test_import_is_light_and_scoring_is_silent():
    code = (
        "import sys, hear_exp.tasks.folder\n"
        "heavy = {'torch', 'torchmetrics', 'sed_eval', 'dcase_util', 'pandas', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "from hear_exp.scoring.scores import SCORES, event_scores\n"
        "names = [n for n in SCORES if SCORES[n].kind == 'event']\n"
        "event_scores(names, {'x.wav': []}, {'x.wav': []}, ['a'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# Scene scores -----------------------------------------------------------------------------------------------


def test_top1_by_hand():
    # most probable labels: 1, then 0 (the first of two tied ones), 2, 0; three of four are the target
    probabilities = np.array([[0.1, 0.7, 0.2], [0.5, 0.5, 0.0], [0.2, 0.3, 0.5], [0.6, 0.3, 0.1]])
    targets = one_hot([1, 1, 2, 0], 3)
    assert scene_scores(["top1_acc", "pitch_acc"], probabilities, targets) == {
        "top1_acc": 0.75,
        "pitch_acc": 0.75,
    }


def test_chroma_by_hand():
    # predicted 13, 2, 20, 5; target 1 (an octave off: right), 2, 9 (20 is chroma 8: wrong), 17
    scored = scene_scores(["chroma_acc", "top1_acc"], one_hot([13, 2, 20, 5], 24) * 0.9, one_hot([1, 2, 9, 17], 24))
    assert scored == {"chroma_acc": 0.75, "top1_acc": 0.25}


# labels 0 and 2; none; label 13; labels 2 and 14. Most probable: 2, 0, 1, 14.
SEVERAL = np.array([np.isin(np.arange(24), labels) for labels in ([0, 2], [], [13], [2, 14])]).astype(np.uint8)


@pytest.mark.parametrize(
    ("rule", "top1", "chroma"),
    [
        # as heareval has it: np.argmax(prediction) == np.argmax(target), and argmax of nothing set is 0
        ("first_label", 1 / 4, 3 / 4),  # hit: the clip without labels, at label 0; with octaves 13 and 1, 2 and 14
        ("any_label", 2 / 3, 1.0),  # hits: 2 and 14; the clip without labels is left out
    ],
)
def test_accuracy_of_clips_with_any_number_of_labels(rule, top1, chroma):
    scored = scene_scores(ACCURACIES, one_hot([2, 0, 1, 14], 24) * 0.9, SEVERAL, multilabel_accuracy=rule)
    assert scored == {"top1_acc": top1, "pitch_acc": top1, "chroma_acc": chroma}


def test_both_rules_agree_where_each_clip_has_one_label():
    probabilities, targets = scene_input(one_label=True)
    expected = scene_scores(ACCURACIES, probabilities, targets)
    for rule in MULTILABEL_ACCURACY:
        assert scene_scores(ACCURACIES, probabilities, targets, multilabel_accuracy=rule) == expected
    with pytest.raises(ValueError, match="multilabel_accuracy is 'last', expected one of: first_label, any_label"):
        scene_scores(["top1_acc"], probabilities, targets, multilabel_accuracy="last")


def test_accuracy_without_any_label_is_undefined_or_that_of_label_0():
    probabilities, targets = np.array([[0.2, 0.1], [0.1, 0.2]]), np.zeros((2, 2), dtype=int)
    assert math.isnan(scene_scores(["top1_acc"], probabilities, targets, multilabel_accuracy="any_label")["top1_acc"])
    assert scene_scores(["top1_acc"], probabilities, targets, multilabel_accuracy="first_label") == {"top1_acc": 0.5}


def test_rankings_by_hand():
    # Label 0, ranked: + - + -. AP = 1/2 * 1/1 + 1/2 * 2/3 = 5/6. Of four pairs three are in order: AUC = 3/4.
    # Label 1: two clips tie at 0.9 (+ -), two at 0.1 (- +). AP = 1/2 * 1/2 + 1/2 * 2/4 = 1/2.
    #   The pairs are worth 1/2 (tie), 1, 0 and 1/2 (tie): AUC = 1/2.
    probabilities = np.array([[0.9, 0.9], [0.8, 0.9], [0.7, 0.1], [0.6, 0.1]])
    targets = np.array([[1, 1], [0, 0], [1, 0], [0, 1]])
    scored = scene_scores(["mAP", "aucroc", "d_prime"], probabilities, targets)
    assert scored["mAP"] == pytest.approx((5 / 6 + 1 / 2) / 2, abs=1e-15)
    assert scored["aucroc"] == (3 / 4 + 1 / 2) / 2
    # the quantile of 3/4 is 0.674489750196082, that of 1/2 is 0
    assert scored["d_prime"] == pytest.approx(math.sqrt(2) * 0.674489750196082 / 2, abs=1e-14)
    assert per_class_average_precision(probabilities, targets) == pytest.approx([5 / 6, 1 / 2], abs=1e-15)


def test_perfect_and_reversed_labels():
    targets = one_hot(np.arange(12) % 3, 3)
    good = targets * 0.8 + 0.1
    told: dict[str, str] = {}
    scored = scene_scores(RANKINGS, good, targets, on_undefined=told.__setitem__)
    assert math.isnan(scored.pop("d_prime_finite"))
    assert scored == {"mAP": 1.0, "d_prime": math.inf, "aucroc": 1.0}
    assert told == {"d_prime_finite": "no label has a finite d'"}
    scored = scene_scores(["d_prime", "aucroc"], 1 - good, targets)
    assert math.isnan(scored.pop("d_prime_finite"))
    assert scored == {"d_prime": -math.inf, "aucroc": 0.0}
    mixed = good.copy()
    mixed[:, 0] = 1 - good[:, 0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scored = scene_scores(["d_prime"], mixed, targets, labels=["dog", "cat", "cow"], on_undefined=told.__setitem__)
    assert math.isnan(scored["d_prime"])
    assert told["d_prime"] == (
        "some labels are perfectly separated (cat, cow), others perfectly the wrong way round (dog): inf - inf"
    )


def test_one_perfect_label_leaves_what_the_others_give():
    """d' of label 0 is inf; that of label 1, whose area is 3/4, is sqrt(2) * 0.674489750196082."""
    probabilities = np.array([[0.9, 0.9], [0.8, 0.8], [0.1, 0.7], [0.2, 0.6]])
    targets = np.array([[1, 1], [1, 0], [0, 1], [0, 0]])
    told: dict[str, str] = {}
    scored = scene_scores(["d_prime", "mAP"], probabilities, targets, on_undefined=told.__setitem__)
    assert list(scored) == ["d_prime", "d_prime_finite", "mAP"]
    assert scored["d_prime"] == math.inf
    assert scored["d_prime_finite"] == pytest.approx(math.sqrt(2) * 0.674489750196082, abs=1e-14)
    assert told == {}
    without = scene_scores(["d_prime"], probabilities[:, 1:], targets[:, 1:])
    assert without["d_prime"] == without["d_prime_finite"] == scored["d_prime_finite"]


@pytest.mark.parametrize(
    ("targets", "reasons"),
    [
        (np.zeros((2, 2)), {"mAP": "no clip has a label", "top1_acc": "no clip has a label"}),
        (np.ones((2, 2)), {}),
    ],
)
def test_undefined_scene_scores_say_why(targets, reasons):
    told: dict[str, str] = {}
    options = {"multilabel_accuracy": "any_label", "on_undefined": told.__setitem__}
    scored = scene_scores(["top1_acc", "mAP", "aucroc"], np.full((2, 2), 0.5), targets, **options)
    assert told == {"aucroc": "every label is one that no clip has, or every clip", **reasons}
    assert {name for name, value in scored.items() if math.isnan(value)} == told.keys()


def scene_input(one_label):
    """Deterministic without a random generator; two decimals, so that many probabilities tie."""
    i, j = np.mgrid[:120, :14]
    targets = (((i * 7) // 3 + i // 14) % 14 == j) if one_label else ((i + 2 * j) % 5 == 0)
    noise = (i * 7919 + j * 104729 + i * i * j) % 89 / 89
    return np.round(0.7 * noise + 0.2 * targets, 2).astype(np.float32), targets.astype(int)


# Printed by heareval 2021.1.3 with scikit-learn 1.9.1, scipy 1.17.1, numpy 1.26.4.
@pytest.mark.parametrize(
    ("one_label", "frozen"),
    [
        (
            True,
            {
                "top1_acc": 0.4,
                "pitch_acc": 0.4,
                "chroma_acc": 0.4,
                "mAP": 0.40889321175703774,
                "d_prime": 1.0410951243777804,
                "aucroc": 0.7551626532780374,
            },
        ),
        (
            False,
            {"mAP": 0.547853833177951, "d_prime": 0.9353993268554536, "aucroc": 0.7433345734126984},
        ),
    ],
)
def test_equal_to_heareval(one_label, frozen):
    scored = scene_scores(list(frozen), *scene_input(one_label))
    for name, value in frozen.items():
        tolerance = 0 if name in ACCURACIES else 1e-12
        assert scored[name] == pytest.approx(value, rel=0, abs=tolerance), name


def slow_rankings(probabilities, targets):
    """scikit-learn, label by label, leaving undefined labels out."""
    precisions, areas = [], []
    for p, t in zip(probabilities.T, targets.T, strict=True):
        if t.any():
            precisions.append(average_precision_score(t, p))
        if t.any() and not t.all():
            areas.append(roc_auc_score(t, p))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # means of nothing, inf - inf
        return {
            "mAP": np.mean(precisions),
            "d_prime": np.mean(norm.ppf(areas) * math.sqrt(2)),
            "aucroc": np.mean(areas),
        }


@pytest.mark.parametrize("seed", range(24))
def test_equal_to_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    clips, labels = [(1, 3), (5, 2), (60, 7), (300, 11)][seed % 4]
    targets = (rng.random((clips, labels)) < rng.choice([0.05, 0.3, 0.9])).astype(np.uint8)
    logits = rng.normal(size=targets.shape) * rng.choice([0.1, 3, 60]) + 2.0 * targets  # 60: saturates
    probabilities = (1 / (1 + np.exp(-logits))).astype(np.float32)
    if seed % 3 == 0:
        probabilities = np.round(probabilities, 1)
    scored = scene_scores(RANKINGS, probabilities, targets)
    for name, value in slow_rankings(probabilities, targets).items():
        assert scored[name] == pytest.approx(value, rel=1e-12, abs=1e-12, nan_ok=True), name


def test_d_prime_of_a_label_that_is_almost_perfect():
    # One negative of 20000 above the positive. A float32 area is off by up to 6e-8 here, and the quantile's
    # slope is about 5000.
    probabilities = np.linspace(0, 1, 20001)[:, None]
    targets = np.zeros((20001, 1), dtype=int)
    targets[-2] = 1
    expected = math.sqrt(2) * norm.ppf(1 - 1 / 20000)
    assert scene_scores(["d_prime"], probabilities, targets)["d_prime"] == pytest.approx(expected, rel=1e-12)


def test_float32_ties_are_kept_and_float64_differences_are_seen():
    targets = np.array([[0], [1]])
    close = np.array([[0.5], [0.5 + 1e-12]])
    assert scene_scores(["aucroc"], close, targets) == {"aucroc": 1.0}
    assert scene_scores(["aucroc"], close.astype(np.float32), targets) == {"aucroc": 0.5}
    assert scene_scores(["aucroc"], np.array([[0.0], [5e-324]]), targets) == {"aucroc": 1.0}


def test_labels_without_positives_or_negatives_are_left_out_and_told(caplog):
    probabilities = np.array([[0.9, 0.5, 0.1], [0.2, 0.6, 0.8], [0.4, 0.7, 0.3]])
    targets = np.array([[1, 0, 1], [0, 0, 1], [0, 0, 1]])  # label 1: no clip has it; label 2: every clip
    told = {}
    for name in RANKINGS:
        label_means._log_skipped.cache_clear()
        caplog.clear()
        scene_scores([name], probabilities, targets, labels=["all", "none", "every"])
        told[name] = [record.getMessage().split(": ")[1] for record in caplog.records]
    assert told == {"mAP": ["none"], "d_prime": ["none, every"], "aucroc": ["none, every"]}
    scored = scene_scores(RANKINGS, probabilities, targets)
    assert math.isnan(scored.pop("d_prime_finite"))
    assert scored == {"mAP": 1.0, "d_prime": math.inf, "aucroc": 1.0}
    # where scikit-learn's macro mean counts 0 for label 1, or is undefined
    with pytest.warns(UserWarning, match="No positive class"):
        assert average_precision_score(targets, probabilities, average="macro") == pytest.approx(2 / 3)
    with pytest.warns(UndefinedMetricWarning):
        assert math.isnan(roc_auc_score(targets, probabilities, average="macro"))
    assert np.isnan(per_class_average_precision(probabilities, targets)).tolist() == [False, True, False]


def test_all_labels_left_out_gives_nan_and_is_logged_once(caplog):
    label_means._log_skipped.cache_clear()
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            scored = scene_scores(["mAP"], np.full((2, 2), 0.5), np.zeros((2, 2), dtype=int), labels=["cat", "dog"])
    assert math.isnan(scored["mAP"])
    assert [r.getMessage() for r in caplog.records] == [
        "scores that are means over labels leave out 2 of 2 labels, which no clip (or every clip) has: cat, dog"
    ]


def test_many_labels_left_out_are_counted(caplog):
    label_means._log_skipped.cache_clear()
    with caplog.at_level(logging.WARNING):
        scene_scores(["aucroc"], np.full((2, 9), 0.5), one_hot([0, 0], 9), labels="abcdefghi")
    (record,) = caplog.records
    assert record.getMessage().endswith("9 of 9 labels, which no clip (or every clip) has: a, b, c, d, e and 4 more")


def test_single_clip():
    scored = scene_scores(["top1_acc", "mAP", "aucroc"], np.array([[0.2, 0.8]]), np.array([[0, 1]]))
    assert scored["top1_acc"] == 1.0
    assert scored["mAP"] == 1.0
    assert math.isnan(scored["aucroc"])


def test_rounding_just_outside_the_range_is_no_logit():
    probabilities = np.array([[1 + 1e-7, -1e-9], [0.3, 0.7]])
    targets = np.array([[1, 0], [0, 1]])
    assert scene_scores(["mAP", "aucroc"], probabilities, targets) == {"mAP": 1.0, "aucroc": 1.0}


def test_single_label():
    assert scene_scores(["top1_acc"], np.ones((3, 1)), np.ones((3, 1))) == {"top1_acc": 1.0}


@pytest.mark.parametrize(
    ("probabilities", "targets", "message"),
    [
        (np.zeros((0, 3)), np.zeros((0, 3)), r"nothing to score: probabilities have shape \(0, 3\)"),
        (np.zeros((2, 3)), np.zeros((3, 2)), r"got shapes \(2, 3\) and \(3, 2\)"),
        (np.zeros(3), np.zeros(3), r"must both be \(clips, labels\)"),
        (
            np.array([[0.5, math.nan]]),
            np.array([[0, 1]]),
            r"probabilities\[0, 1\] is nan \(one of 1 such\).*diverged",
        ),
        (np.array([[0.5, -0.1]]), np.array([[0, 1]]), r"probabilities\[0, 1\] is -0.1 .*may be logits"),
        (np.array([[0.5, 1.5]]), np.array([[0, 1]]), r"probabilities\[0, 1\] is 1.5"),
        (np.array([[0.5, 0.5]]), np.array([[0, 2]]), "targets hold values other than 0 and 1"),
    ],
)
def test_bad_scene_input(probabilities, targets, message):
    with pytest.raises(ValueError, match=message):
        scene_scores(["mAP"], probabilities, targets)
    with pytest.raises(ValueError, match=message):
        per_class_average_precision(probabilities, targets)


@pytest.mark.parametrize("row", [[0, 0], [1, 1]])
def test_accuracy_needs_one_label_a_clip(row):
    with pytest.raises(ValueError, match=f"exactly one label a clip, but clip 1 has {sum(row)}"):
        scene_scores(["top1_acc"], np.full((2, 2), 0.5), np.array([[0, 1], row]))


# Event scores -----------------------------------------------------------------------------------------------


def test_onset_scores_by_hand():
    # a: onset 200 ms late, exactly the wide collar. b: 50 ms late; 2.05 - 2.0 is a hair below 0.05 in
    # floating point, so it counts. c: nothing there.
    # 200 ms: a and b match, 2 of 3 predicted, 2 of 2 true: F = 2 * 2 / (3 + 2) = 0.8.
    # 50 ms: b alone, 1 of 3 and 1 of 2: F = 2 * 1 / (3 + 2) = 0.4. Ends do not matter.
    reference = {"x.wav": [Event("a", 0, 1000), Event("b", 2000, 3000)]}
    predicted = {"x.wav": [Event("a", 200, 300), Event("b", 2050, 9000), Event("c", 5000, 5500)]}
    scored = event_scores(F_MEASURES[:2], predicted, reference, ["a", "b", "c"])
    assert scored == pytest.approx(
        {
            "event_onset_200ms_fms": 0.8,
            "event_onset_200ms_fms_precision": 2 / 3,
            "event_onset_200ms_fms_recall": 1.0,
            "event_onset_50ms_fms": 0.4,
            "event_onset_50ms_fms_precision": 1 / 3,
            "event_onset_50ms_fms_recall": 0.5,
        },
        abs=1e-15,
    )


@pytest.mark.parametrize(
    ("true_ms", "predicted_ms", "hit"),
    [(500, 550, False), (2000, 2050, True), (2050, 2000, True), (100, 150, True), (100, 150.001, False)],
)
def test_collar_is_compared_in_floating_point_seconds(true_ms, predicted_ms, hit):
    # 0.55 - 0.5 = 0.050000000000000044 misses a collar of 0.05, 2.05 - 2.0 = 0.04999999999999982 does not
    name = "event_onset_50ms_fms"
    scored = event_scores([name], {"x": [Event("a", predicted_ms, 9000)]}, {"x": [Event("a", true_ms, 9000)]}, ["a"])
    assert scored[name] == float(hit)


@pytest.mark.parametrize(
    ("end_ms", "true_end_ms", "hit"),
    [
        (1200, 1000, True),  # 20 % of 1000 ms are 200 ms; 1.2 - 1.0 is a hair below 0.2
        (1250, 1000, False),
        (140, 100, True),  # 20 % of 100 ms are 20 ms, the 50 ms collar is the larger of the two
        (160, 100, False),
    ],
)
def test_offset_tolerance_is_the_larger_of_two(end_ms, true_end_ms, hit):
    name = "event_onset_offset_50ms_20perc_fms"
    scored = event_scores([name], {"x": [Event("a", 0, end_ms)]}, {"x": [Event("a", 0, true_end_ms)]}, ["a"])
    assert scored[name] == float(hit)


def test_error_rate_by_hand():
    # second 0: a true, a found. second 1: a and b true, c found: one substitution, one deletion.
    # second 2: silence. second 3: a found: one insertion. Three active true segments: ER = 3 / 3.
    reference = {"x.wav": [Event("a", 0, 2000), Event("b", 1000, 2000)]}
    predicted = {"x.wav": [Event("a", 0, 1000), Event("c", 1000, 2000), Event("a", 3000, 3500)]}
    assert event_scores(["segment_1s_er"], predicted, reference, ["a", "b", "c", "d"]) == {"segment_1s_er": 1.0}


def test_clips_are_pooled_not_averaged():
    # x: 1 of 1 found. y: 0 of 3 found, nothing predicted. P = 1, R = 1/4, F = 2 * 1 / (1 + 4) = 0.4.
    reference = {"x": [Event("a", 0, 500)], "y": [Event("a", 1000 * i, 1000 * i + 500) for i in range(3)]}
    predicted = {"x": [Event("a", 0, 500)], "y": []}
    scored = event_scores(["event_onset_200ms_fms", "segment_1s_er"], predicted, reference, ["a"])
    assert scored["event_onset_200ms_fms"] == pytest.approx(0.4, abs=1e-15)
    assert scored["segment_1s_er"] == 3 / 4


def test_events_match_only_within_their_clip():
    reference = {"x": [Event("a", 0, 500)], "y": []}
    predicted = {"x": [], "y": [Event("a", 0, 500)]}
    assert event_scores(["event_onset_200ms_fms"], predicted, reference, ["a"])["event_onset_200ms_fms"] == 0.0


def test_nothing_predicted_or_nothing_true():
    events = {"x": [Event("a", 0, 500)]}
    none = {"x": []}
    name = "event_onset_50ms_fms"
    nothing_found = event_scores([name, "segment_1s_er"], none, events, ["a"])
    assert math.isnan(nothing_found[name])
    assert math.isnan(nothing_found[f"{name}_precision"])
    assert nothing_found[f"{name}_recall"] == 0.0
    assert nothing_found["segment_1s_er"] == pytest.approx(1.0)
    told: dict[str, str] = {}
    nothing_true = event_scores([name, "segment_1s_er"], events, none, ["a"], on_undefined=told.__setitem__)
    assert math.isnan(nothing_true[name])
    assert nothing_true[f"{name}_precision"] == 0.0
    assert math.isnan(nothing_true[f"{name}_recall"])
    assert math.isnan(nothing_true["segment_1s_er"])  # sed_eval: 4503599627370496
    assert told == dict.fromkeys([name, f"{name}_recall", "segment_1s_er"], "no event is annotated")
    assert math.isnan(event_scores(["segment_1s_er"], none, none, ["a"])["segment_1s_er"])


def test_undefined_event_scores_say_why():
    events, none = {"x": [Event("a", 0, 500)]}, {"x": []}
    names = ["event_onset_50ms_fms", "segment_1s_er"]
    for predicted, reference, reason in (
        (none, events, "no event was predicted"),
        (none, none, "no event was predicted and no event is annotated"),
    ):
        told: dict[str, str] = {}
        scored = event_scores(names, predicted, reference, ["a"], on_undefined=told.__setitem__)
        assert told["event_onset_50ms_fms"] == reason
        assert {name for name, value in scored.items() if math.isnan(value)} == told.keys()


def test_labels_that_dcase_util_would_rewrite():
    labels = ["none", " none", "a ", "a", ""]
    events = {"x": [Event(label, 1000.0 * i, 1000.0 * i + 500) for i, label in enumerate(labels)]}
    shifted = {"x": [Event(labels[i - 1], e.start_ms, e.end_ms) for i, e in enumerate(events["x"])]}
    names = ["event_onset_200ms_fms", "segment_1s_er"]
    right, wrong = (event_scores(names, predicted, events, labels) for predicted in (events, shifted))
    assert (right["event_onset_200ms_fms"], right["segment_1s_er"]) == (1.0, 0.0)
    assert (wrong["event_onset_200ms_fms"], wrong["segment_1s_er"]) == (0.0, 1.0)


def event_input():
    """Deterministic: four clips with jittered, relabelled and missing events, an empty clip, a missed one."""
    labels = "abc"
    reference, predicted = {}, {}
    for clip in range(4):
        true, found = [], []
        for k in range(12):
            start = k * 390.0 + clip * 10
            true.append(Event(labels[k % 3], start, start + 100 * (1 + k % 4)))
            if (k + clip) % 6:
                late = start + 25 * ((k * k + clip) % 13)
                found.append(Event(labels[(k + (k % 5 == 4)) % 3], late, late + 90 * (1 + (k + clip) % 5)))
        reference[f"{clip}.wav"], predicted[f"{clip}.wav"] = true, found
    reference["empty.wav"], predicted["empty.wav"] = [], [Event("a", 0.0, 500.0)]
    reference["missed.wav"], predicted["missed.wav"] = [Event("b", 100.0, 2300.0)], []
    return predicted, reference, labels


def test_event_scores_equal_to_heareval():
    # Printed by heareval 2021.1.3 with sed_eval 0.2.1, dcase_util 0.2.20, numpy 1.26.4.
    frozen = {
        "event_onset_200ms_fms": 0.4666666666666667,
        "event_onset_200ms_fms_precision": 0.5121951219512195,
        "event_onset_200ms_fms_recall": 0.42857142857142855,
        "event_onset_50ms_fms": 0.22222222222222224,
        "event_onset_50ms_fms_precision": 0.24390243902439024,
        "event_onset_50ms_fms_recall": 0.20408163265306123,
        "event_onset_offset_50ms_20perc_fms": 0.04444444444444444,
        "event_onset_offset_50ms_20perc_fms_precision": 0.04878048780487805,
        "event_onset_offset_50ms_20perc_fms_recall": 0.04081632653061224,
        "segment_1s_er": 0.3389830508474576,
    }
    assert event_scores([*F_MEASURES, "segment_1s_er"], *event_input()) == frozen


def slow_event_scores(predicted, reference, labels):
    """sed_eval with every clip whole and every label listed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from sed_eval.sound_event import EventBasedMetrics, SegmentBasedMetrics

    def items(events):
        return [
            {"event_label": e.label, "event_onset": e.start_ms / 1000.0, "event_offset": e.end_ms / 1000.0}
            for e in events
        ]

    onset = {"evaluate_onset": True, "evaluate_offset": False}
    metrics = [
        EventBasedMetrics(labels, t_collar=0.2, **onset),
        EventBasedMetrics(labels, t_collar=0.05, **onset),
        EventBasedMetrics(labels, t_collar=0.05, percentage_of_length=0.2),
        SegmentBasedMetrics(labels, time_resolution=1.0),
    ]
    for metric in metrics:
        for clip in reference:
            metric.evaluate(items(reference[clip]), items(predicted[clip]))
    scored = {}
    for name, metric in zip(F_MEASURES, metrics, strict=False):
        overall = metric.overall_f_measure()
        scored[name] = overall["f_measure"]
        scored[f"{name}_precision"] = overall["precision"]
        scored[f"{name}_recall"] = overall["recall"]
    scored["segment_1s_er"] = metrics[-1].overall_error_rate()["error_rate"]
    return scored


@pytest.mark.parametrize("seed", range(10))
def test_pieces_count_as_whole_clips_do(seed):
    """Crowded events of one label, overlapping and a collar apart, where the cuts could go wrong."""
    rng = np.random.default_rng(seed)
    labels = [f"c{i}" for i in range(1 + seed % 4)]
    hop = float(rng.choice([50.0, 10.0, 23.2199546]))
    seconds = rng.choice([3, 10, 60])

    def crowd(count):
        starts = rng.integers(0, int(seconds * 1000 / hop), size=count) * hop
        lengths = rng.integers(0, 12, size=count) * hop
        return [
            Event(labels[rng.integers(len(labels))], float(s), float(s + n))
            for s, n in zip(starts, lengths, strict=True)
        ]

    reference = {f"{i}": crowd(int(rng.integers(0, 70))) for i in range(3)}
    predicted = {clip: crowd(int(rng.integers(0, 70))) for clip in reference}
    fast = event_scores([*F_MEASURES, "segment_1s_er"], predicted, reference, labels)
    assert fast == pytest.approx(slow_event_scores(predicted, reference, labels), rel=0, abs=0, nan_ok=True)


def test_clips_must_be_the_same():
    with pytest.raises(ValueError, match=r"1 clips lack predictions \['y'\], 0 lack a reference \[\]"):
        event_scores(["segment_1s_er"], {"x": []}, {"x": [], "y": []}, ["a"])


@pytest.mark.parametrize(
    ("event", "message"),
    [
        (Event("z", 0, 1), r"x: the label of Event\(label='z'.*is not in the vocabulary"),
        (Event("a", 2, 1), "start_ms <= end_ms"),
        (Event("a", math.nan, 1), "finite times"),
        (Event("a", 0, math.inf), "finite times"),
        (Event("a", -1000, 1), "segment_1s_er needs events from 0 ms up, got one at -1.0 s"),
    ],
)
def test_bad_events(event, message):
    for predicted, reference in (([event], []), ([], [event])):
        with pytest.raises(ValueError, match=message):
            event_scores(["segment_1s_er"], {"x": predicted}, {"x": reference}, ["a"])
