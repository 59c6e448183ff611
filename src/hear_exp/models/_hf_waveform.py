"""wav2vec 2.0, HuBERT, WavLM, data2vec-audio: convolutions turn the waveform into frames for a transformer."""

from typing import Any

import torch
from torch import Tensor

from ..errors import UserError
from ._hf_windows import WindowedEncoder, pad_to, seconds_to_frames, set_windows

CHUNK_SECONDS = 30.0
CONTEXT_SECONDS = 5.0
# Of transformers' feature extractor: keeps the division finite on silence.
_VARIANCE_FLOOR = 1e-7


class WaveformEncoder(WindowedEncoder):
    """Clips to the hidden states of one layer of a network with a convolutional front end.

    Attributes: as of WindowedEncoder, and
        normalize: whether each clip is brought to zero mean and unit variance.
    """

    pads = False

    def __init__(
        self,
        network: torch.nn.Module,
        extractor: Any,
        layer: int | None,
        chunk_seconds: float | None,
        context_seconds: float | None,
    ) -> None:
        super().__init__(network, int(extractor.sampling_rate), layer)
        config: Any = network.config
        self.normalize = bool(extractor.do_normalize)
        self.stride = self.receptive = 1
        for kernel, stride in zip(config.conv_kernel, config.conv_stride, strict=True):
            self.receptive += (kernel - 1) * self.stride
            self.stride *= stride
        self.centre = self.receptive / 2
        chunk = CHUNK_SECONDS if chunk_seconds is None else chunk_seconds
        window = seconds_to_frames(chunk, self)
        if window < 1:
            raise UserError(f"chunk_seconds must be at least a frame of {self.stride} samples, got {chunk!r}")
        set_windows(self, window, CONTEXT_SECONDS if context_seconds is None else context_seconds)

    def frame_count(self, samples: int) -> int:
        """Return the number of frames that fit into a clip, as the network counts them, but one at least."""
        return 1 + max(0, samples - self.receptive) // self.stride

    def prepare(self, audio: Tensor) -> Tensor:
        """Normalise each clip alone, so that its embedding does not depend on the clips it is embedded with."""
        if not self.normalize:
            return audio
        variance, mean = torch.var_mean(audio, dim=1, correction=0, keepdim=True)
        return (audio - mean) / torch.sqrt(variance + _VARIANCE_FLOOR)

    def embed(self, audio: Tensor) -> Tensor:
        """Embed a window: float32 (clips, samples) -> (clips, frames, dim)."""
        return self.hidden_states(pad_to(audio, self.receptive))
