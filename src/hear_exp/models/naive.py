"""HEAR's naive baseline: a log-mel spectrum through a fixed random projection, without anything learned.

Source: Turian et al., HEAR: Holistic Evaluation of Audio Representations (2022), the "naive" baseline.
"""

import math

import torch
from torch import Tensor

from ._frames import centred_frames, check_audio, check_no_weights, check_positive, map_frames
from ._mel import mel_filterbank

__version__ = "1"

_SAMPLE_RATE = 44_100
_FRAME_SIZE = 4096
_N_MELS = 256
_SIZE = 4096
# Keeps the logarithm of silence finite; part of the baseline's definition.
_FLOOR = 1e-4
_CHUNK_FRAMES = 512


class NaiveEncoder(torch.nn.Module):
    """Frames of 4096 samples to embeddings of 4096 dimensions.

    Attributes:
        sample_rate: in Hz.
        scene_embedding_size: dimensions of a scene embedding.
        timestamp_embedding_size: dimensions of a timestamp embedding.
        hop_ms: milliseconds between timestamps.
        scene_hop_ms: milliseconds between the frames whose mean is a scene embedding.
    """

    window: Tensor
    mel: Tensor
    projection: Tensor

    def __init__(self, hop_ms: float, scene_hop_ms: float) -> None:
        super().__init__()
        self.sample_rate = _SAMPLE_RATE
        self.scene_embedding_size = self.timestamp_embedding_size = _SIZE
        self.hop_ms = hop_ms
        self.scene_hop_ms = scene_hop_ms
        # A generator of our own: the projection is the same whatever the process drew before, and draws after.
        generator = torch.Generator().manual_seed(0)
        self.register_buffer("projection", torch.rand(_N_MELS, _SIZE, generator=generator) / math.sqrt(_N_MELS))
        self.register_buffer("window", torch.hann_window(_FRAME_SIZE))
        self.register_buffer("mel", torch.from_numpy(mel_filterbank(_SAMPLE_RATE, _FRAME_SIZE, _N_MELS)).T)

    def forward(self, frames: Tensor) -> Tensor:
        """Embed frames: (n, 4096 samples) -> (n, 4096), float32."""
        power = torch.fft.rfft(frames * self.window).abs().square()
        return torch.log(power @ self.mel + _FLOOR) @ self.projection


def load_model(model_file_path: str = "", *, hop_ms: float = 50.0, scene_hop_ms: float = 250.0) -> NaiveEncoder:
    """Make the encoder.

    Args:
        model_file_path: must be empty: there are no weights.
        hop_ms: milliseconds between timestamps.
        scene_hop_ms: milliseconds between the frames whose mean is a scene embedding.

    Raises:
        UserError: if a weights file or a hop of 0 or less is given.
    """
    check_no_weights("naive", model_file_path)
    check_positive(hop_ms=hop_ms, scene_hop_ms=scene_hop_ms)
    return NaiveEncoder(hop_ms, scene_hop_ms).eval()


def get_timestamp_embeddings(audio: Tensor, model: NaiveEncoder) -> tuple[Tensor, Tensor]:
    """Embed frames centred on 0, hop_ms, 2 hop_ms, ...

    Args:
        audio: float32 (clips, samples) in [-1, 1].
        model: from load_model; moved to the audio's device.

    Returns:
        embeddings, float32 (clips, frames, 4096), and their centres in milliseconds, float64 (clips, frames).
    """
    return _embed(audio, model, model.hop_ms)


def get_scene_embeddings(audio: Tensor, model: NaiveEncoder) -> Tensor:
    """Embed clips as the mean of frames every scene_hop_ms: float32 (clips, samples) -> (clips, 4096)."""
    return _embed(audio, model, model.scene_hop_ms)[0].mean(dim=1)


@torch.no_grad()
def _embed(audio: Tensor, model: NaiveEncoder, hop_ms: float) -> tuple[Tensor, Tensor]:
    check_audio(audio)
    model = model.to(audio.device).eval()
    frames, timestamps = centred_frames(audio, _FRAME_SIZE, hop_ms, model.sample_rate)
    return map_frames(model, frames, _CHUNK_FRAMES), timestamps
