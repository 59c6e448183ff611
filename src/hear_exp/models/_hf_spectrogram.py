"""Whisper's encoder and the Audio Spectrogram Transformer: networks over log-mel spectrograms of a fixed length."""

import warnings
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import UserError
from ._hf_windows import WindowedEncoder, pad_to, set_windows

WHISPER_CONTEXT_SECONDS = 5.0
AST_CONTEXT_SECONDS = 1.0
# Kaldi's filterbank features, as AST was trained on them.
_FRAME_SECONDS, _HOP_SECONDS = 0.025, 0.010
_PREEMPHASIS = 0.97
_LOWEST_HZ = 20
_MEL_FLOOR = 1.192092955078125e-07


class WhisperEncoder(WindowedEncoder):
    """Clips to the hidden states of one layer of Whisper's encoder; its decoder is not used.

    Whisper takes 30 s, shorter audio padded with silence; frames beyond the clip are dropped. A frame is two hops of
    the spectrogram, 20 ms, and centred on the first of them: 0, 20, 40, ... ms.
    """

    def __init__(
        self, network: torch.nn.Module, extractor: Any, layer: int | None, context_seconds: float | None
    ) -> None:
        super().__init__(network, int(extractor.sampling_rate), layer)
        config: Any = network.config
        positions = int(config.max_source_positions)
        if extractor.nb_max_frames != 2 * positions:
            raise UserError(
                f"the checkpoint's feature extractor makes {extractor.nb_max_frames} spectrogram frames, its encoder "
                f"takes {2 * positions}"
            )
        self.extractor = extractor
        self.stride = self.receptive = 2 * int(extractor.hop_length)
        self.centre = 0.0
        set_windows(self, positions, WHISPER_CONTEXT_SECONDS if context_seconds is None else context_seconds)

    def embed(self, audio: Tensor) -> Tensor:
        """Embed at most 30 s: float32 (clips, samples) -> (clips, 1500, dim)."""
        # On the CPU for every device: a spectrogram costs little, and is the same everywhere then.
        features = self.extractor(
            list(audio.cpu().numpy()), sampling_rate=self.sample_rate, return_tensors="pt"
        ).input_features
        return self.hidden_states(features.to(audio.device))


class AstEncoder(WindowedEncoder):
    """Clips to the hidden states of one layer of the Audio Spectrogram Transformer (Gong et al. 2021).

    A frame is a column of patches, averaged over frequency, and is centred on its patches. The network's length is
    fixed, 1024 spectrogram frames (10.24 s) for the published ones, shorter clips padded as in training.
    """

    filters: Tensor
    taper: Tensor

    def __init__(
        self,
        network: torch.nn.Module,
        extractor: Mapping[str, Any],
        layer: int | None,
        context_seconds: float | None,
    ) -> None:
        # The defaults are of transformers' ASTFeatureExtractor, which itself fails to import beside some torchaudio.
        super().__init__(network, int(extractor.get("sampling_rate", 16_000)), layer)
        config: Any = network.config
        self.max_length = config.max_length
        self.mean, self.std = 0.0, 0.5
        if extractor.get("do_normalize", True):
            self.mean, self.std = extractor.get("mean", -4.2677393), extractor.get("std", 4.5689974)
        projection: Any = network.get_submodule("embeddings.patch_embeddings.projection")
        (height, width), (down, along) = projection.kernel_size, projection.stride
        self.tokens = (config.num_mel_bins - height) // down + 1
        self.frame_size = round(_FRAME_SECONDS * self.sample_rate)
        self.hop = round(_HOP_SECONDS * self.sample_rate)
        self.stride = along * self.hop
        self.receptive = (width - 1) * self.hop + self.frame_size
        self.centre = self.receptive / 2
        self.fft_size = 1 << (self.frame_size - 1).bit_length()
        filters = _mel_filters(self.sample_rate, self.fft_size, config.num_mel_bins)
        self.register_buffer("filters", filters, persistent=False)
        self.register_buffer("taper", torch.hann_window(self.frame_size, periodic=False), persistent=False)
        window = (self.max_length - width) // along + 1
        set_windows(self, window, AST_CONTEXT_SECONDS if context_seconds is None else context_seconds)

    def embed(self, audio: Tensor) -> Tensor:
        """Embed at most max_length spectrogram frames: float32 (clips, samples) -> (clips, window, dim)."""
        spectrogram = self.spectrogram(pad_to(audio, self.frame_size))[:, : self.max_length]
        spectrogram = F.pad(spectrogram, (0, 0, 0, self.max_length - spectrogram.shape[1]))
        tokens = self.hidden_states((spectrogram - self.mean) / (2 * self.std))
        # Two tokens stand for the whole; the patches follow, row by row of the spectrogram.
        return torch.unflatten(tokens[:, 2:], 1, (self.tokens, self.window)).mean(dim=1)

    def spectrogram(self, audio: Tensor) -> Tensor:
        """Return Kaldi's log-mel energies: float32 (clips, samples) -> (clips, spectrogram frames, mel bands)."""
        frames = audio.unfold(1, self.frame_size, self.hop)
        frames = frames - frames.mean(dim=-1, keepdim=True)
        before = torch.cat([frames[..., :1], frames[..., :-1]], dim=-1)
        power: Tensor = torch.fft.rfft((frames - _PREEMPHASIS * before) * self.taper, self.fft_size).abs().square()
        return (power @ self.filters).clamp(min=_MEL_FLOOR).log()


def _mel_filters(sample_rate: int, fft_size: int, bands: int) -> Tensor:
    """Return Kaldi's triangular filters, float32 (fft_size // 2 + 1, bands)."""
    from transformers.audio_utils import mel_filter_bank

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a filter between two bins, which AST was trained with
        filters = mel_filter_bank(
            num_frequency_bins=fft_size // 2 + 1,
            num_mel_filters=bands,
            min_frequency=_LOWEST_HZ,
            max_frequency=sample_rate // 2,
            sampling_rate=sample_rate,
            norm=None,
            mel_scale="kaldi",
            triangularize_in_mel_space=True,
        )
    return torch.from_numpy(filters).float()
