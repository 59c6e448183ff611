"""Cut clips into centred frames and run a function over them in bounded memory: shared by our encoders."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import UserError


def check_audio(audio: Tensor) -> None:
    """Raise UserError unless `audio` is a float32 (clips, samples) tensor with a clip and a sample in it."""
    if audio.ndim != 2 or 0 in audio.shape or audio.dtype != torch.float32:
        raise UserError(
            "audio must be a float32 tensor of shape (clips, samples) with at least one clip and one sample, "
            f"got {audio.dtype} of shape {tuple(audio.shape)}; a single clip is audio[None]"
        )


def check_no_weights(name: str, model_file_path: str) -> None:
    """Raise UserError if a weights file is given to an encoder that has none."""
    if model_file_path:
        raise UserError(f"{name} has no weights to load: leave model_file_path empty, got {model_file_path!r}")


def check_positive(**options: float) -> None:
    """Raise UserError for the first option that is not above zero."""
    for name, value in options.items():
        if not value > 0:
            raise UserError(f"{name} must be above 0, got {value!r}")


def centred_frames(audio: Tensor, frame_size: int, hop_ms: float, sample_rate: int) -> tuple[Tensor, Tensor]:
    """Cut zero-padded audio into frames that are centred on 0, hop_ms, 2 hop_ms, ... up to the last sample.

    The padding is half a frame on each side, so a clip of any length >= 1 has at least one frame. A hop that is
    not a whole number of samples is rounded frame by frame, so frames do not drift from their timestamps.

    Args:
        audio: float (clips, samples).
        frame_size: samples in a frame.
        hop_ms: milliseconds between the centres of neighbouring frames.
        sample_rate: in Hz.

    Returns:
        frames (clips, frames, frame_size), where possible a view of the padded audio: do not write to it; and
        timestamps in milliseconds, float64 (clips, frames).
    """
    hop = hop_ms * sample_rate / 1000
    if round(hop) < 1:
        raise UserError(f"a hop of {hop_ms} ms is less than a sample at {sample_rate} Hz; give a longer hop")
    samples = audio.shape[1]
    starts = [0]
    while (start := round(len(starts) * hop)) <= samples:
        starts.append(start)
    windows = F.pad(audio, (frame_size // 2, frame_size - frame_size // 2)).unfold(1, frame_size, 1)
    frames = windows[:, :: round(hop)] if hop == round(hop) else windows[:, starts]
    timestamps = torch.arange(len(starts), dtype=torch.float64) * hop_ms
    return frames, timestamps.to(float64_device(audio)).expand(audio.shape[0], -1)


def map_frames(function: Callable[[Tensor], Tensor], frames: Tensor, chunk: int) -> Tensor:
    """Apply `function` to all frames of all clips, `chunk` frames at a time.

    Chunks cross the borders of clips, so short clips are as fast as long ones, and only one chunk of the
    overlapping frames is in memory at a time.

    Args:
        function: (n, frame_size) -> (n, dim), each row on its own.
        frames: (clips, frames, frame_size).
        chunk: the largest n.

    Returns:
        (clips, frames, dim).
    """
    clips, count, _ = frames.shape
    rows = torch.arange(clips * count, device=frames.device)
    outputs = [function(frames[part // count, part % count]) for part in torch.split(rows, chunk)]
    return torch.unflatten(torch.cat(outputs), 0, (clips, count))


def float64_device(audio: Tensor) -> torch.device:
    """Return the device for timestamps: the audio's, unless it has no float64 (Apple's)."""
    return torch.device("cpu") if audio.device.type == "mps" else audio.device
