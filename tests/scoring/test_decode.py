"""Decoding: hand-worked clips, and a slow, obvious decoder that the fast one is held against."""

import math

import numpy as np
import pytest
from scipy.ndimage import median_filter

from hear_exp.scoring.decode import Postprocessing, decode_grid, median_active
from hear_exp.scoring.event import Event

RAW = Postprocessing(median_filter_ms=0, min_duration_ms=0)


def column(*values):
    return np.array(values, dtype=np.float32)[:, None]


def decode_events(probabilities, timestamps_ms, labels, postprocessing, **options):
    """The events of one postprocessing alone."""
    (events,) = decode_grid(probabilities, timestamps_ms, labels, [postprocessing], **options)
    return events


def slow_decode(probabilities, timestamps_ms, labels, postprocessing, threshold=0.5, next_frame=False, odd=False):
    """Loops and sorted windows, straight from the rule."""
    frames = len(timestamps_ms)
    hop = (timestamps_ms[-1] - timestamps_ms[0]) / (frames - 1) if frames > 1 else 0.0
    width = round(postprocessing.median_filter_ms / hop) if hop else 0
    if odd and width and width % 2 == 0:
        width += 1
    found = []
    for index, label in enumerate(labels):
        values = [float(p) for p in probabilities[:, index]]
        if width:
            values = [slow_median(values, frame, width) for frame in range(frames)]
        run = []
        for frame in range(frames + 1):
            if frame < frames and values[frame] > threshold:
                run.append(frame)
            elif run:
                start, end = timestamps_ms[run[0]], timestamps_ms[run[-1]] + (hop if next_frame else 0)
                if end - start >= postprocessing.min_duration_ms:
                    found.append((start, index, Event(label, start, end)))
                run = []
    return tuple(event for _, _, event in sorted(found, key=lambda item: item[:2]))


def slow_median(values, frame, width):
    window = []
    for position in range(frame - width // 2, frame - width // 2 + width):
        while not 0 <= position < len(values):  # mirror at the ends, the end frame included
            position = -1 - position if position < 0 else 2 * len(values) - 1 - position
        window.append(values[position])
    return sorted(window)[width // 2]


def random_clip(seed):
    rng = np.random.default_rng(seed)
    frames, labels = int(rng.integers(1, 50)), int(rng.integers(1, 5))
    hop = float(rng.choice([50.0, 20.0, 12.5, 64.0]))
    probabilities = rng.random((frames, labels)).astype(np.float32)
    if seed % 2:
        probabilities = np.round(probabilities * 4) / 4  # many exactly at the threshold
    timestamps = float(rng.choice([0, 12.5, 25])) + np.arange(frames) * hop
    median_ms = float(rng.choice([0, 50, 100, 160, 250, 640, 6400]))  # odd, even, wider than the clip
    return probabilities, timestamps, Postprocessing(median_ms, float(rng.choice([0, 50, 125, 250])))


# By hand ----------------------------------------------------------------------------------------------------


def test_runs_by_hand():
    # frames 1 and 2 are a run, frame 4 is one of length 0, frame 5 is not *above* 0.5
    probabilities = column(0.1, 0.9, 0.8, 0.2, 0.7, 0.5)
    timestamps = np.array([0.0, 50, 100, 150, 200, 250])
    assert decode_events(probabilities, timestamps, ["a"], RAW) == (Event("a", 50, 100), Event("a", 200, 200))
    longer = Postprocessing(median_filter_ms=0, min_duration_ms=50)  # exactly 50 ms is long enough
    assert decode_events(probabilities, timestamps, ["a"], longer) == (Event("a", 50, 100),)


def test_next_frame_ends_an_event_one_hop_later():
    probabilities = column(0.1, 0.9, 0.8, 0.2, 0.7, 0.7)
    timestamps = np.arange(6) * 50.0
    found = decode_events(probabilities, timestamps, ["a"], RAW, event_end="next_frame")
    assert found == (Event("a", 50, 150), Event("a", 200, 300))
    single = Postprocessing(median_filter_ms=0, min_duration_ms=50)
    assert decode_events(column(0, 1, 0), timestamps[:3], ["a"], single) == ()
    assert decode_events(column(0, 1, 0), timestamps[:3], ["a"], single, event_end="next_frame") == (
        Event("a", 50, 100),
    )


def test_events_are_ordered_by_start_then_label():
    probabilities = np.array([[0, 1, 1], [1, 0, 0], [0, 1, 0]], dtype=np.float32)
    found = decode_events(probabilities, np.array([0.0, 10, 20]), ["z", "y", "x"], RAW)
    assert [(e.label, e.start_ms) for e in found] == [("y", 0), ("x", 0), ("z", 10), ("y", 20)]


def test_median_of_three_fills_gaps_and_drops_spikes():
    # the ends are mirrored: frame 0 sees 0 0 1, frame 7 sees 0 1 1
    active = column(0, 1, 0, 1, 1, 0, 0, 1).astype(bool)
    assert median_active(active, 3)[:, 0].tolist() == [False, False, True, True, True, False, False, True]


def test_even_width_ends_events_late():
    # width 2: the window is the frame and the one before, the larger of the two counts, so a run grows at its
    # end; width 4: two frames before to one after, two active ones suffice
    active = column(0, 0, 0, 1, 1, 0, 0, 0).astype(bool)
    assert np.flatnonzero(median_active(active, 2)).tolist() == [3, 4, 5]
    assert np.flatnonzero(median_active(active, 4)).tolist() == [3, 4, 5]
    assert np.flatnonzero(median_active(active, 3)).tolist() == [3, 4]


def test_odd_widths_centre_the_window():
    # 250 ms at 64 ms a frame are 3.9 frames, rounded to 4, made odd: 5
    probabilities = column(0, 0, 0, 1, 1, 1, 0, 0, 0)
    timestamps = np.arange(9) * 64.0
    smooth = Postprocessing(median_filter_ms=250, min_duration_ms=0)
    assert decode_events(probabilities, timestamps, ["a"], smooth) == (Event("a", 3 * 64, 6 * 64),)
    assert decode_events(probabilities, timestamps, ["a"], smooth, median_widths="odd") == (Event("a", 3 * 64, 5 * 64),)


def test_filter_narrower_than_half_a_hop_is_skipped():
    probabilities = column(0, 1, 0, 1, 0)
    timestamps = np.arange(5) * 1000.0
    for widths in ("as_computed", "odd"):
        found = decode_events(probabilities, timestamps, ["a"], Postprocessing(250, 0), median_widths=widths)
        assert [e.start_ms for e in found] == [1000, 3000]


def test_width_is_rounded_half_to_even():
    # 125 ms at 50 ms a frame are 2.5 frames: 2, not 3
    probabilities, timestamps = column(0, 0, 1, 0, 0), np.arange(5) * 50.0
    assert decode_events(probabilities, timestamps, ["a"], Postprocessing(125, 0)) == (Event("a", 100, 150),)


def test_single_frame_clip():
    for event_end in ("last_frame", "next_frame"):
        found = decode_events(column(0.9), np.array([25.0]), ["a"], Postprocessing(250, 0), event_end=event_end)
        assert found == (Event("a", 25, 25),)
    assert decode_events(column(0.9), np.array([25.0]), ["a"], Postprocessing(250, 125)) == ()


def test_empty_clip_and_silent_clip():
    assert decode_events(np.zeros((0, 1)), np.zeros(0), ["a"], RAW) == ()
    assert decode_events(np.zeros((9, 1)), np.arange(9.0), ["a"], Postprocessing(3, 0)) == ()


def test_events_hold_python_floats():
    (event,) = decode_events(column(1, 1), np.array([0, 50]), ["a"], RAW)
    assert type(event.start_ms) is float
    assert type(event.end_ms) is float


# Against slower and other ways ------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(60))
def test_equal_to_the_slow_decoder(seed):
    probabilities, timestamps, postprocessing = random_clip(seed)
    labels = [f"c{i}" for i in range(probabilities.shape[1])]
    for next_frame in (False, True):
        for odd in (False, True):
            found = decode_events(
                probabilities,
                timestamps,
                labels,
                postprocessing,
                event_end="next_frame" if next_frame else "last_frame",
                median_widths="odd" if odd else "as_computed",
            )
            assert found == slow_decode(
                probabilities, timestamps, labels, postprocessing, next_frame=next_frame, odd=odd
            )


# A window of 8 clips' lengths or more is left out: there scipy 1.17.1's filter is not the median of the
# mirrored clip, if the number of frames is even. The slow decoder covers it.
@pytest.mark.parametrize(
    ("frames", "width"),
    [
        (frames, width)
        for frames in (1, 2, 3, 4, 7, 30)
        for width in (1, 2, 3, 4, 5, 6, 13, 14, 15, 29, 30, 31, 64, 101, 239)
        if width < 8 * frames
    ],
)
def test_counting_equals_scipy_median_filter(frames, width):
    rng = np.random.default_rng(frames * 1000 + width)
    for probabilities in (
        rng.random((frames, 3), dtype=np.float32),
        np.round(rng.random((frames, 3), dtype=np.float32) * 4) / 4,
        rng.random((frames, 3)),
    ):
        for threshold in (0.5, 0.3, 0.75):
            expected = median_filter(probabilities, size=(width, 1)) > threshold
            np.testing.assert_array_equal(median_active(probabilities > threshold, width), expected)


def test_an_active_frame_is_strictly_above_the_threshold():
    timestamps = np.array([0.0, 50])
    assert decode_events(column(0.5, 0.5), timestamps, ["a"], RAW) == ()
    nearly = np.full((2, 1), np.nextafter(np.float32(0.5), np.float32(1)))
    assert decode_events(nearly, timestamps, ["a"], RAW) == (Event("a", 0, 50),)


@pytest.mark.parametrize("seed", range(10))
def test_grid_equals_one_by_one(seed):
    probabilities, timestamps, _ = random_clip(seed)
    labels = [f"c{i}" for i in range(probabilities.shape[1])]
    grid = [Postprocessing(m, d) for m in (0, 100, 250) for d in (0, 125, 250)]
    assert decode_grid(probabilities, timestamps, labels, grid) == [
        decode_events(probabilities, timestamps, labels, p) for p in grid
    ]


# Heareval's own decoder -------------------------------------------------------------------------------------


def test_equal_to_heareval():
    # Printed by heareval 2021.1.3 (create_events_from_prediction) with scipy 1.17.1, numpy 1.26.4.
    i, j = np.mgrid[:48, :3]
    probabilities = (((i // (5 + j)) * 37 + j * 11 + (i % 7 == 3) * 5) % 10 / 10).astype(np.float32)
    timestamps = 12.5 + np.arange(48) * 50.0
    frozen = {
        (250, 125): [
            ("a", 262.5, 512.5),
            ("b", 262.5, 512.5),
            ("c", 362.5, 1012.5),
            ("a", 962.5, 1162.5),
            ("b", 1262.5, 1812.5),
            ("a", 1762.5, 2262.5),
            ("c", 1762.5, 2062.5),
        ],
        (250, 250): [
            ("a", 262.5, 512.5),
            ("b", 262.5, 512.5),
            ("c", 362.5, 1012.5),
            ("b", 1262.5, 1812.5),
            ("a", 1762.5, 2262.5),
            ("c", 1762.5, 2062.5),
        ],
        (200, 125): [  # an even width
            ("a", 262.5, 562.5),
            ("b", 262.5, 562.5),
            ("c", 362.5, 1062.5),
            ("a", 962.5, 1212.5),
            ("b", 1262.5, 1862.5),
            ("a", 1762.5, 2312.5),
            ("c", 1762.5, 2112.5),
        ],
        (3000, 125): [("c", 412.5, 662.5), ("a", 1462.5, 1912.5)],  # wider than the clip
    }
    for (median_ms, duration_ms), events in frozen.items():
        found = decode_events(probabilities, timestamps, "abc", Postprocessing(median_ms, duration_ms))
        assert [(e.label, e.start_ms, e.end_ms) for e in found] == events


# Bad input --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("probabilities", "timestamps", "options", "message"),
    [
        (np.zeros((3, 2)), np.arange(3.0), {}, r"shape \(3, 2\) do not fit \(3,\) timestamps and 1 labels"),
        (np.zeros((3, 1)), np.arange(4.0), {}, r"expected \(frames, labels\)"),
        (np.zeros((2, 1)), np.array([50.0, 0.0]), {}, "strictly ascending"),
        (np.zeros((2, 1)), np.array([50.0, 50.0]), {}, "strictly ascending"),
        (np.zeros((2, 1)), np.array([0.0, math.nan]), {}, "finite"),
        (np.array([[0.5], [math.nan]]), np.arange(2.0), {}, "probability of label 0 at frame 1 is nan"),
        (
            np.zeros((2, 1)),
            np.arange(2.0),
            {"event_end": "end"},
            "event_end is 'end', expected one of: last_frame",
        ),
        (
            np.zeros((2, 1)),
            np.arange(2.0),
            {"median_widths": "even"},
            "median_widths is 'even', expected one of",
        ),
    ],
)
def test_bad_input(probabilities, timestamps, options, message):
    with pytest.raises(ValueError, match=message):
        decode_events(probabilities, timestamps, ["a"], RAW, **options)


@pytest.mark.parametrize("value", [-1, math.nan, math.inf])
def test_bad_postprocessing(value):
    with pytest.raises(ValueError, match=r"median_filter_ms is .* expected milliseconds from 0 up"):
        Postprocessing(value, 0)
    with pytest.raises(ValueError, match=r"min_duration_ms is .* expected milliseconds from 0 up"):
        Postprocessing(0, value)
