"""Framing: hand-worked positions, odd hops, and chunks that cross clips."""

import pytest
import torch

from hear_exp.errors import UserError
from hear_exp.models._frames import centred_frames, check_audio, map_frames


def test_frames_are_centred_on_their_timestamps():
    audio = torch.arange(1.0, 11.0)[None]
    frames, timestamps = centred_frames(audio, 4, hop_ms=3.0, sample_rate=1000)
    assert frames.tolist() == [[[0, 0, 1, 2], [2, 3, 4, 5], [5, 6, 7, 8], [8, 9, 10, 0]]]
    assert timestamps.tolist() == [[0, 3, 6, 9]]
    assert timestamps.dtype == torch.float64


def test_the_end_of_a_clip_has_a_frame_when_a_hop_falls_on_it():
    # 1 + samples // hop frames.
    counts = [centred_frames(torch.ones(1, n), 4, 50.0, 100)[0].shape[1] for n in (1, 4, 5, 9, 10)]
    assert counts == [1, 1, 2, 2, 3]


def test_a_hop_that_is_no_whole_number_of_samples_does_not_drift():
    audio = torch.zeros(1, 44100 * 20)
    audio[0, ::3] = 1.0
    frames, timestamps = centred_frames(audio, 2, hop_ms=7.7, sample_rate=44100)  # 339.57 samples
    assert torch.equal(timestamps[0], torch.arange(frames.shape[1], dtype=torch.float64) * 7.7)
    positions = [round(i * 7.7 * 44.1) for i in range(frames.shape[1])]
    expected = [float(p % 3 == 0 and p < audio.shape[1]) for p in positions]
    assert frames[0, :, 1].tolist() == expected


def test_fifty_milliseconds_at_44100_hz_are_exact():
    timestamps = centred_frames(torch.zeros(1, 44100 * 60), 4096, 50.0, 44100)[1]
    assert timestamps[0].tolist() == [50.0 * i for i in range(1201)]


def test_chunks_cross_clips_and_keep_the_order():
    frames, _ = centred_frames(torch.rand(5, 30), 4, hop_ms=3.0, sample_rate=1000)
    sizes = []

    def double(part):
        sizes.append(len(part))
        return 2 * part

    assert torch.equal(map_frames(double, frames, 16), 2 * frames)
    assert sizes == [16, 16, 16, 7]


def test_errors():
    with pytest.raises(UserError, match=r"less than a sample at 8000 Hz"):
        centred_frames(torch.ones(1, 8), 4, 0.01, 8000)
    for audio in (torch.ones(8), torch.ones(0, 8), torch.ones(1, 0), torch.ones(1, 8, dtype=torch.float64)):
        with pytest.raises(UserError, match=r"float32 tensor of shape \(clips, samples\)"):
            check_audio(audio)
