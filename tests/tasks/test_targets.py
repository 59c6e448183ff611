"""Target rows: hand-worked values, and a slow reference."""

import numpy as np
import pytest

from hear_exp.scoring.event import Event
from hear_exp.tasks.folder import Clip
from hear_exp.tasks.targets import frame_targets, scene_targets


def test_scene_targets_by_hand():
    clips = [Clip("x.wav", labels=("b",)), Clip("y.wav"), Clip("z.wav", labels=("c", "a", "a"))]
    targets = scene_targets(clips, ["a", "b", "c"])
    assert targets.dtype == np.uint8
    assert targets.tolist() == [[0, 1, 0], [0, 0, 0], [1, 0, 1]]


def test_scene_targets_of_no_clips():
    assert scene_targets([], ["a", "b"]).shape == (0, 2)


def test_frame_targets_by_hand():
    timestamps = np.array([0.0, 50, 100, 150, 200])
    events = [
        Event("a", 50, 100),  # both ends count
        Event("b", 51, 149),  # between frames: frame 100 only
        Event("b", 60, 90),  # no frame
        Event("a", 100, 150),  # overlaps the first a
        Event("c", 200, 200),  # no length
        Event("c", 500, 900),  # past the clip
    ]
    targets = frame_targets(events, timestamps, ["a", "b", "c"])
    assert targets.dtype == np.uint8
    assert targets.tolist() == [[0, 0, 0], [1, 0, 0], [1, 1, 0], [1, 0, 0], [0, 0, 1]]


def test_only_the_end_has_a_tolerance():
    timestamps = np.array([100 - 1e-9, 200 + 1e-9, 200 + 1e-3])
    assert frame_targets([Event("a", 100, 200)], timestamps, ["a"])[:, 0].tolist() == [0, 1, 0]


def test_frame_targets_without_events_or_frames():
    assert frame_targets([], np.arange(3.0), ["a", "b"]).tolist() == [[0, 0]] * 3
    assert frame_targets([Event("a", 0, 1)], np.zeros(0), ["a"]).shape == (0, 1)


@pytest.mark.parametrize("seed", range(20))
def test_frame_targets_equal_loops(seed):
    rng = np.random.default_rng(seed)
    labels = ["a", "b", "c"]
    timestamps = 25.0 + np.arange(int(rng.integers(1, 40))) * float(rng.choice([20.0, 50.0]))
    events = []
    for _ in range(int(rng.integers(0, 15))):
        start = float(rng.integers(0, 2000))
        events.append(Event(labels[rng.integers(3)], start, start + float(rng.integers(0, 400))))
    expected = [
        [int(any(e.label == label and e.start_ms <= t <= e.end_ms for e in events)) for label in labels]
        for t in timestamps
    ]
    assert frame_targets(events, timestamps, labels).tolist() == expected


def test_unknown_labels_are_named():
    with pytest.raises(ValueError, match=r"x\.wav: label 'z' is not in the vocabulary"):
        scene_targets([Clip("x.wav", labels=("z",))], ["a"])
    with pytest.raises(ValueError, match=r"Event\(label='z'.*: label 'z' is not in the vocabulary"):
        frame_targets([Event("z", 0, 1)], np.arange(3.0), ["a"])


@pytest.mark.parametrize("timestamps", [[1.0, 0.0], [0.0, np.nan], [[0.0, 1.0]]])
def test_bad_timestamps(timestamps):
    with pytest.raises(ValueError, match="timestamps_ms must be one ascending row"):
        frame_targets([], np.array(timestamps), ["a"])
