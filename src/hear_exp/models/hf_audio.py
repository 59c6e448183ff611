"""Encoders from transformers that take the raw waveform: wav2vec 2.0, HuBERT, WavLM, data2vec-audio, ...

Any checkpoint whose config has conv_kernel and conv_stride: a convolutional front end that turns the waveform
into frames, and a transformer over the frames. `checkpoint` is a name on the Hugging Face hub or a folder.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from hear_exp.errors import UserError
from hear_exp.models._frames import check_audio, float64_device

__version__ = "1"

# In the order in which transformers looks for them; an index names the shards beside it.
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
# Of transformers' feature extractor: keeps the division finite on silence.
_VARIANCE_FLOOR = 1e-7


class WaveformEncoder(torch.nn.Module):
    """Clips to the hidden states of one layer.

    Attributes:
        sample_rate: in Hz, from the checkpoint's feature extractor.
        scene_embedding_size: dimensions of a scene embedding.
        timestamp_embedding_size: dimensions of a timestamp embedding.
        stride: samples between frames.
        receptive: samples that a frame of the convolutional front end sees.
    """

    def __init__(self, network: torch.nn.Module, sample_rate: int, normalize: bool, layer: int | None) -> None:
        super().__init__()
        config: Any = network.config
        self.network = network
        self.sample_rate = sample_rate
        self.scene_embedding_size = self.timestamp_embedding_size = config.hidden_size
        self.normalize = normalize
        self.layer = layer
        self.stride = self.receptive = 1
        for kernel, stride in zip(config.conv_kernel, config.conv_stride, strict=True):
            self.receptive += (kernel - 1) * self.stride
            self.stride *= stride

    def forward(self, audio: Tensor) -> Tensor:
        """Embed clips: float32 (clips, samples) -> (clips, frames, dim)."""
        if self.normalize:
            # Each clip alone, so that its embedding does not depend on the clips it is embedded with.
            variance, mean = torch.var_mean(audio, dim=1, correction=0, keepdim=True)
            audio = (audio - mean) / torch.sqrt(variance + _VARIANCE_FLOOR)
        audio = F.pad(audio, (0, max(0, self.receptive - audio.shape[1])))
        if self.layer is None:
            return self.network(audio).last_hidden_state
        return self.network(audio, output_hidden_states=True).hidden_states[self.layer]


def load_model(
    model_file_path: str = "", *, checkpoint: str = "", layer: int | None = None, revision: str | None = None
) -> WaveformEncoder:
    """Load the encoder, in float32.

    Args:
        model_file_path: a checkpoint too, for tools that pass nothing else; give this or `checkpoint`.
        checkpoint: name on the Hugging Face hub, or a folder that save_pretrained wrote.
        layer: whose hidden states are the embedding: 0 is the transformer's input, 1 its first layer's output,
            ...; None is the network's output, which may differ from the last layer's by a normalisation.
        revision: branch, tag or commit on the hub; None: main.

    Raises:
        UserError: if transformers is not installed, the checkpoint is missing or is not of this kind, or the
            layer does not exist.
    """
    folder = weights_files(model_file_path, checkpoint=checkpoint, revision=revision)[0].parent
    name = model_file_path or checkpoint
    import transformers

    # The files are here, so nothing that goes wrong now is the hub's doing.
    try:
        config = transformers.AutoConfig.from_pretrained(folder)
        extractor = transformers.AutoFeatureExtractor.from_pretrained(folder)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"checkpoint {name}: transformers cannot read its configuration: {error}") from error
    if not hasattr(config, "conv_stride") or not hasattr(config, "conv_kernel"):
        raise UserError(
            f"checkpoint {name} is a {config.model_type} model, expected one that takes a waveform through "
            "convolutions, such as wav2vec2, hubert, wavlm or data2vec-audio"
        )
    layers = config.num_hidden_layers
    if layer is not None and not (isinstance(layer, int) and 0 <= layer <= layers):
        raise UserError(
            f"layer must be a whole number from 0 (the transformer's input) to {layers} (its last layer), or null "
            f"for the network's output: {name} has {layers} layers; got {layer!r}"
        )
    # An adapter, which some fine-tuned checkpoints have, would merge frames and give no timestamps.
    config.add_adapter = False
    network = _load_network(folder, config, name)
    return WaveformEncoder(network, int(extractor.sampling_rate), bool(extractor.do_normalize), layer).eval()


def weights_files(
    model_file_path: str = "", *, checkpoint: str = "", revision: str | None = None, **_: object
) -> list[Path]:
    """Return the files whose content decides the embedding, config.json first; downloads what is not cached.

    Raises:
        UserError: as of load_model, where the checkpoint cannot be found.
    """
    name = _checkpoint(model_file_path, checkpoint)
    if Path(name).is_dir():
        if revision is not None:
            raise UserError(f"revision has no effect on a folder: leave it out for {name}, got {revision!r}")
        return _files(name, _Folder(Path(name)))
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise UserError(f"checkpoint folder not found: {name}; give an existing folder or a name on the hub")
    return _files(name, _Hub(name, revision))


def get_timestamp_embeddings(audio: Tensor, model: WaveformEncoder) -> tuple[Tensor, Tensor]:
    """Embed the network's own frames.

    Args:
        audio: float32 (clips, samples) in [-1, 1].
        model: from load_model; moved to the audio's device.

    Returns:
        embeddings, float32 (clips, frames, dim), and the centres of the frames' receptive fields in milliseconds,
        float64 (clips, frames): for wav2vec 2.0 12.5, 32.5, 52.5, ...
    """
    embeddings = _embed(audio, model)
    first, hop = model.receptive / 2, model.stride
    samples = first + hop * torch.arange(embeddings.shape[1], dtype=torch.float64)
    timestamps = samples * 1000 / model.sample_rate
    return embeddings, timestamps.to(float64_device(audio)).expand(audio.shape[0], -1)


def get_scene_embeddings(audio: Tensor, model: WaveformEncoder) -> Tensor:
    """Embed clips as the mean over the network's frames: float32 (clips, samples) -> (clips, dim)."""
    return _embed(audio, model).mean(dim=1)


@torch.no_grad()
def _embed(audio: Tensor, model: WaveformEncoder) -> Tensor:
    check_audio(audio)
    # Evaluation mode also keeps SpecAugment's masks and LayerDrop away.
    return model.to(audio.device).eval()(audio)


def _checkpoint(model_file_path: str, checkpoint: str) -> str:
    """Return the one checkpoint that was given."""
    if model_file_path and checkpoint:
        raise UserError(f"give one checkpoint, got {model_file_path!r} as the weights and {checkpoint!r} as an option")
    if not (model_file_path or checkpoint):
        raise UserError("no checkpoint given: checkpoint=NAME on the Hugging Face hub, or a folder")
    return model_file_path or checkpoint


class _Folder:
    """Finds files of a checkpoint in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.missing = f"is not in {folder}; model.save_pretrained and feature_extractor.save_pretrained write it"

    def find(self, file: str) -> Path | None:
        """Return the path of a file, None if there is none."""
        path = self.folder / file
        return path if path.is_file() else None


class _Hub:
    """Finds files of a checkpoint on the hub, or in its local cache where the hub cannot be reached."""

    def __init__(self, name: str, revision: str | None) -> None:
        _require_transformers()
        self.name, self.revision = name, revision
        at = f" at revision {revision}" if revision else ""
        self.missing = (
            f"of {name}{at} is neither on the Hugging Face hub nor, if that is unreachable, in its local cache"
        )

    def find(self, file: str) -> Path | None:
        """Return the path of a file after downloading it, None if there is none."""
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError

        try:
            path = Path(hf_hub_download(self.name, file, revision=self.revision))
        except EntryNotFoundError:
            return None
        except (OSError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise UserError(f"checkpoint {self.name} cannot be fetched from the Hugging Face hub: {reason}") from error
        # All further files from the same commit, even if the branch moves on meanwhile.
        self.revision = path.parent.name
        return path


def _files(name: str, source: _Folder | _Hub) -> list[Path]:
    """Return config, feature extractor's config and weights of a checkpoint."""
    _require_transformers()
    files = [_found(name, source, [file]) for file in ("config.json", "preprocessor_config.json")]
    files.append(_found(name, source, _WEIGHTS))
    if files[-1].name.endswith(".index.json"):
        shards = sorted(set(json.loads(files[-1].read_text(encoding="utf-8"))["weight_map"].values()))
        files += [_found(name, source, [shard]) for shard in shards]
    return files


def _found(name: str, source: _Folder | _Hub, candidates: Iterable[str]) -> Path:
    """Return the first of the candidates that there is."""
    for candidate in candidates:
        if (path := source.find(candidate)) is not None:
            return path
    raise UserError(f"checkpoint {name} not found: {' or '.join(candidates)} {source.missing}")


def _load_network(folder: Path, config: Any, name: str) -> torch.nn.Module:
    """Load the weights, all of which must be there: transformers would fill in random ones."""
    import transformers

    verbosity = transformers.logging.get_verbosity()
    # Pretraining heads, which we do not use, would be reported at length.
    transformers.logging.set_verbosity_error()
    try:
        network, info = transformers.AutoModel.from_pretrained(folder, config=config, output_loading_info=True)
    # Damaged files raise much, safetensors even a bare Exception.
    except Exception as error:
        raise UserError(f"checkpoint {name}: transformers cannot load its weights: {error}") from error
    finally:
        transformers.logging.set_verbosity(verbosity)
    # The mask is for training; the positional convolution's weights go by an older name in most checkpoints, and
    # some versions of transformers report it missing although they load it.
    harmless = ("masked_spec_embed", "pos_conv_embed.conv.")
    missing = [key for key in info["missing_keys"] if not any(part in key for part in harmless)]
    if missing:
        raise UserError(f"checkpoint {name} lacks weights of a {config.model_type} model, {sorted(missing)[0]} first")
    return network.float()


def _require_transformers() -> None:
    try:
        import transformers  # noqa: F401
    except ImportError as error:
        raise UserError('this encoder needs transformers: pip install "hear_exp[models]"') from error
