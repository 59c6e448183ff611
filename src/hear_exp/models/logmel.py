"""Log-mel statistics: a strong baseline without weights or training, and cheap.

A log-mel spectrum (64 ms windows, 128 bands, every 10 ms), summarised over a clip or around a moment.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import UserError
from ._frames import centred_frames, check_audio, check_no_weights, check_positive, map_frames
from ._mel import mel_filterbank

__version__ = "2"

_SAMPLE_RATE = 16_000
_FRAME_SIZE, _FRAME_HOP_MS = 1024, 10.0
# About the density of 16-bit rounding noise, so that digital silence is no outlier.
_FLOOR = 5e-10
_CHUNK_FRAMES = 2048
_PARTS = 3
_CONTEXT = 2

# (mean, standard deviation) of each statistic over speech, notes and sounds: predictors do not normalise their
# inputs. They are part of the embedding, whatever the batch or the task.
_SCALE_LEVEL = (-7.8, 1.4)
_SCALE_STD = (1.1, 1.0)
_SCALE_MAX = (-6.6, 1.6)
_SCALE_CHANGE = (0.28, 0.21)


class Spectrum(torch.nn.Module):
    """Frames to log-mel densities."""

    window: Tensor
    mel: Tensor

    def __init__(self, frame_size: int, n_mels: int) -> None:
        super().__init__()
        window = torch.hann_window(frame_size)
        self.frame_size = frame_size
        # A full-scale sine then has power 1 in its bin, whatever the window's length.
        self.register_buffer("window", window * (2 / window.sum()))
        self.register_buffer("mel", torch.from_numpy(mel_filterbank(_SAMPLE_RATE, frame_size, n_mels)).T)

    def forward(self, frames: Tensor) -> Tensor:
        """Convert float32 (n, frame_size) to log10 of power per Hz, (n, n_mels)."""
        power = torch.fft.rfft(frames * self.window).abs().square()
        return torch.log10(power @ self.mel + _FLOOR)

    def of_clips(self, audio: Tensor, hop_ms: float) -> tuple[Tensor, Tensor]:
        """Convert (clips, samples) to (clips, frames, n_mels) and timestamps (clips, frames) in ms."""
        frames, timestamps = centred_frames(audio, self.frame_size, hop_ms, _SAMPLE_RATE)
        return map_frames(self, frames, _CHUNK_FRAMES), timestamps


class LogmelEncoder(torch.nn.Module):
    """Clips to statistics of their spectra, and timestamps to the spectra around them.

    Attributes:
        sample_rate: in Hz.
        scene_embedding_size: 6 n_mels dimensions: standard deviation, maximum, mean change, and the means of the
            three thirds of a clip.
        timestamp_embedding_size: 5 n_mels dimensions: means of the hops from two before to two after.
        hop_ms: milliseconds between timestamps.
    """

    def __init__(self, n_mels: int, hop_ms: float) -> None:
        super().__init__()
        self.sample_rate = _SAMPLE_RATE
        self.scene_embedding_size = (3 + _PARTS) * n_mels
        self.timestamp_embedding_size = (1 + 2 * _CONTEXT) * n_mels
        self.hop_ms = hop_ms
        self.spectrum = Spectrum(_FRAME_SIZE, n_mels)

    def scene(self, audio: Tensor) -> Tensor:
        """Embed clips: (clips, samples) -> (clips, scene_embedding_size)."""
        levels, _ = self.spectrum.of_clips(audio, _FRAME_HOP_MS)
        # Of a single frame the change is 0, not the mean of nothing.
        change = levels.diff(dim=1).abs().sum(dim=1) / max(1, levels.shape[1] - 1)
        # Parts of a clip overlap where it has fewer frames than parts.
        parts = F.adaptive_avg_pool1d(levels.transpose(1, 2), _PARTS).transpose(1, 2).flatten(1)
        statistics = [
            _scaled(levels.std(dim=1, correction=0), _SCALE_STD),
            _scaled(levels.amax(dim=1), _SCALE_MAX),
            _scaled(change, _SCALE_CHANGE),
            _scaled(parts, _SCALE_LEVEL),
        ]
        return torch.cat(statistics, dim=1)

    def timestamps(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        """Embed moments: (clips, samples) -> (clips, frames, timestamp_embedding_size) and (clips, frames) ms."""
        levels, _ = self.spectrum.of_clips(audio, _FRAME_HOP_MS)
        hop = round(self.hop_ms / _FRAME_HOP_MS)
        # Odd, so that a hop's mean is centred on its timestamp.
        width = 2 * (hop // 2) + 1
        edge = _CONTEXT * hop + width // 2
        levels = F.pad(levels.transpose(1, 2), (edge, edge), mode="replicate")
        means = F.avg_pool1d(levels, width, hop).unfold(2, 1 + 2 * _CONTEXT, 1)  # (clips, n_mels, frames, context)
        context = means.permute(0, 2, 3, 1).flatten(2)
        centres = torch.arange(context.shape[1], dtype=torch.float64, device=audio.device) * self.hop_ms
        return _scaled(context, _SCALE_LEVEL), centres.expand(len(audio), -1)


def load_model(model_file_path: str = "", *, n_mels: int = 128, hop_ms: float = 50.0) -> LogmelEncoder:
    """Make the encoder.

    Args:
        model_file_path: must be empty: there are no weights.
        n_mels: bands of the spectrum.
        hop_ms: milliseconds between timestamps, a multiple of 10.

    Raises:
        UserError: if a weights file is given, a number is 0 or less, the bands are too many for the spectrum or
            the hop is no multiple of 10 ms.
    """
    check_no_weights("logmel", model_file_path)
    check_positive(n_mels=n_mels, hop_ms=hop_ms)
    if hop_ms % _FRAME_HOP_MS:
        raise UserError(f"hop_ms must be a multiple of {_FRAME_HOP_MS:g} ms for logmel, got {hop_ms}")
    return LogmelEncoder(n_mels, float(hop_ms)).eval()


@torch.no_grad()
def get_timestamp_embeddings(audio: Tensor, model: LogmelEncoder) -> tuple[Tensor, Tensor]:
    """Embed moments 0, hop_ms, 2 hop_ms, ...

    Args:
        audio: float32 (clips, samples) in [-1, 1].
        model: from load_model; moved to the audio's device.

    Returns:
        embeddings, float32 (clips, frames, dim), and their centres in milliseconds, float64 (clips, frames).
    """
    check_audio(audio)
    return model.to(audio.device).timestamps(audio)


@torch.no_grad()
def get_scene_embeddings(audio: Tensor, model: LogmelEncoder) -> Tensor:
    """Embed clips as statistics over time: float32 (clips, samples) -> (clips, dim)."""
    check_audio(audio)
    return model.to(audio.device).scene(audio)


def _scaled(statistic: Tensor, scale: tuple[float, float]) -> Tensor:
    """Bring a statistic to a mean near 0 and a standard deviation near 1."""
    mean, std = scale
    return (statistic - mean) / std
