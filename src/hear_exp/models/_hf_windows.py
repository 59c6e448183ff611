"""Embed clips of any length with a network that sees a bounded length at a time: overlapping windows of frames."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import UserError
from ._frames import float64_device

# Frames (tokens) in one call of the network: 4 minutes of wav2vec 2.0's, 8 windows of whisper's.
_MAX_TOKENS = 12_000


class WindowedEncoder(torch.nn.Module):
    """Base of the encoders from transformers: clips to frames, long clips window by window.

    A clip of more than `window` frames is embedded in windows that overlap; of each, the frames within `context` of
    a cut are dropped, so every frame that is kept has seen that much on both sides, and there are as many frames,
    at the same times, as without windows.

    Attributes:
        network: the transformers model.
        sample_rate: in Hz.
        scene_embedding_size: dimensions of a scene embedding.
        timestamp_embedding_size: dimensions of a timestamp embedding.
        layer: whose hidden states are the embedding; None: the network's output.
        stride: samples between frames.
        receptive: samples from the start of a frame's input to its end.
        centre: samples from the start of a clip to the centre of its first frame.
        window: frames that the network embeds at once.
        context: frames that are dropped at a cut.
        pads: whether the network always gets a whole window, shorter clips padded.
        tokens: what the transformer sees of a frame: 1, or the patches above one another.
    """

    stride: int
    receptive: int
    centre: float
    window: int
    context: int
    pads = True
    tokens = 1

    def __init__(self, network: torch.nn.Module, sample_rate: int, layer: int | None) -> None:
        super().__init__()
        self.network = network
        self.sample_rate = sample_rate
        self.layer = layer
        self.scene_embedding_size = self.timestamp_embedding_size = int(network.config.hidden_size)  # type: ignore

    def frame_count(self, samples: int) -> int:
        """Return the number of frames of a clip: those whose centre is inside it, but one at least."""
        return max(1, -int((self.centre - samples) // self.stride))

    def prepare(self, audio: Tensor) -> Tensor:
        """Do what concerns a clip as a whole, before it is cut into windows: (clips, samples) -> the same."""
        return audio

    def embed(self, audio: Tensor) -> Tensor:
        """Embed a window: float32 (clips, samples) -> (clips, frames or more, dim)."""
        raise NotImplementedError

    def hidden_states(self, inputs: Tensor) -> Tensor:
        """Return the network's output for `inputs`, or its chosen layer's: (clips, tokens, dim)."""
        output = self.network(inputs, output_hidden_states=self.layer is not None)
        states: Tensor = output.last_hidden_state if self.layer is None else output.hidden_states[self.layer]
        return states

    def forward(self, audio: Tensor) -> Tensor:
        """Embed clips: float32 (clips, samples) -> (clips, frames, dim)."""
        audio = self.prepare(audio)
        count = self.frame_count(audio.shape[1])
        size = self.window if self.pads else min(count, self.window)
        rows = max(1, _MAX_TOKENS // (size * self.tokens))
        return torch.cat([self._embed_long(clips, count) for clips in torch.split(audio, rows)])

    def _embed_long(self, audio: Tensor, count: int) -> Tensor:
        """Embed a few clips of `count` frames, window by window."""
        if count <= self.window:
            return self.embed(audio)[:, :count]
        samples = (self.window - 1) * self.stride + self.receptive
        parts = []
        for first, start, end in windows(count, self.window, self.context):
            piece = audio[:, first * self.stride : first * self.stride + samples]
            parts.append(self.embed(piece)[:, start - first : end - first])
        return torch.cat(parts, dim=1)

    def timestamps_ms(self, audio: Tensor, count: int) -> Tensor:
        """Return the frames' centres in milliseconds, float64 (clips, frames).

        A clip too short for its only frame has it at its end: the rest of the frame is padding.
        """
        samples = self.centre + self.stride * torch.arange(count, dtype=torch.float64)
        times = samples.clamp(max=audio.shape[1]) * 1000 / self.sample_rate
        return times.to(float64_device(audio)).expand(audio.shape[0], -1)


def windows(count: int, window: int, context: int) -> Iterator[tuple[int, int, int]]:
    """Cover `count` frames with windows of `window` frames, which is less.

    Yields (first, start, end): a window's first frame, and which frames are kept of it. Kept frames are at least
    `context` frames away from a cut; the first and the last window end with the clip.
    """
    assert 0 <= 2 * context < window < count
    start = 0
    while start < count:
        first = min(max(0, start - context), count - window)
        end = count if first + window == count else first + window - context
        yield first, start, end
        start = end


def seconds_to_frames(seconds: float, model: WindowedEncoder) -> int:
    """Return the nearest number of frames."""
    return round(seconds * model.sample_rate / model.stride)


def set_windows(model: WindowedEncoder, window: int, context_seconds: float) -> None:
    """Set how a model embeds long clips.

    Raises:
        UserError: where a window would be all context.
    """
    context = seconds_to_frames(context_seconds, model) if context_seconds >= 0 else -1
    if context < 0 or 2 * context >= window:
        length = window * model.stride / model.sample_rate
        raise UserError(
            f"context_seconds must be at least 0 and less than half of the {length:g} s that are embedded at once, "
            f"got {context_seconds!r}"
        )
    model.window, model.context = window, context


def pad_to(audio: Tensor, samples: int) -> Tensor:
    """Append zeros: (clips, samples) -> (clips, samples or more)."""
    return F.pad(audio, (0, max(0, samples - audio.shape[1])))
