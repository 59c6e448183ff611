"""Encoders from transformers, chosen by checkpoint: a name on the Hugging Face hub, or a folder.

Any checkpoint whose config has conv_kernel and conv_stride (wav2vec 2.0, HuBERT, WavLM, data2vec-audio, ...), Whisper's
encoder, and the Audio Spectrogram Transformer.
"""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import UserError
from ._frames import check_audio
from ._hf_checkpoint import checkpoint_files, checkpoint_name, load_network
from ._hf_spectrogram import AstEncoder, WhisperEncoder
from ._hf_waveform import WaveformEncoder
from ._hf_windows import WindowedEncoder

__version__ = "2"
PACKAGES = ("transformers",)  # whose versions decide the embeddings too

# Of the config's model_type.
_WHISPER, _AST = "whisper", "audio-spectrogram-transformer"


def load_model(
    model_file_path: str = "",
    *,
    checkpoint: str = "",
    layer: int | None = None,
    revision: str | None = None,
    chunk_seconds: float | None = None,
    context_seconds: float | None = None,
) -> WindowedEncoder:
    """Load the encoder, in float32.

    Args:
        model_file_path: a checkpoint too, for tools that pass nothing else; give this or `checkpoint`.
        checkpoint: name on the Hugging Face hub, or a folder that save_pretrained wrote.
        layer: whose hidden states are the embedding: 0 is the transformer's input, 1 its first layer's output,
            ...; None is the network's output, which may differ from the last layer's by a normalisation.
        revision: branch, tag or commit on the hub; None: main.
        chunk_seconds: longer clips are embedded in pieces of this length, so that memory does not grow with them;
            None: 30. Whisper and AST have a length of their own, which cannot be set.
        context_seconds: what two neighbouring pieces both see on each side of the cut; None: 5, for AST 1.

    Raises:
        UserError: if transformers is not installed, the checkpoint is missing or is not of these kinds, the layer
            does not exist, or another option is wrong.
    """
    folder = weights_files(model_file_path, checkpoint=checkpoint, revision=revision)[0].parent
    name = model_file_path or checkpoint
    import transformers

    config = _read(transformers.AutoConfig, folder, name)
    _check_options(config, name, layer, chunk_seconds)
    # An adapter, which some fine-tuned checkpoints have, would merge frames and give no timestamps.
    config.add_adapter = False
    network = load_network(folder, config, name)
    if config.model_type == _AST:
        settings = json.loads((folder / "preprocessor_config.json").read_text(encoding="utf-8"))
        return AstEncoder(network, settings, layer, context_seconds).eval()
    extractor = _read(transformers.AutoFeatureExtractor, folder, name)
    if config.model_type == _WHISPER:
        return WhisperEncoder(network.get_submodule("encoder"), extractor, layer, context_seconds).eval()
    return WaveformEncoder(network, extractor, layer, chunk_seconds, context_seconds).eval()


def _read(kind: Any, folder: Path, name: str) -> Any:
    """Read one of the checkpoint's configurations with the class of transformers that is for it."""
    # The files are here, so nothing that goes wrong now is the hub's doing.
    try:
        return kind.from_pretrained(folder)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"checkpoint {name}: transformers cannot read its configuration: {error}") from error


def _check_options(config: Any, name: str, layer: int | None, chunk_seconds: float | None) -> None:
    """Raise UserError for a network of another kind, or an option that it cannot have."""
    convolves = hasattr(config, "conv_stride") and hasattr(config, "conv_kernel")
    if not convolves and config.model_type not in (_WHISPER, _AST):
        raise UserError(
            f"checkpoint {name} is a {config.model_type} model, expected one that takes a waveform through "
            f"convolutions, such as wav2vec2, hubert, wavlm or data2vec-audio, or a {_WHISPER} or {_AST} model"
        )
    layers = config.num_hidden_layers
    if layer is not None and not (isinstance(layer, int) and 0 <= layer <= layers):
        raise UserError(
            f"layer must be a whole number from 0 (the transformer's input) to {layers} (its last layer), or null "
            f"for the network's output: {name} has {layers} layers; got {layer!r}"
        )
    if not convolves and chunk_seconds is not None:
        raise UserError(
            f"chunk_seconds has no effect on a {config.model_type} model, whose input has a fixed length: leave it "
            f"out (null), got {chunk_seconds!r}"
        )


def weights_files(
    model_file_path: str = "", *, checkpoint: str = "", revision: str | None = None, **_: object
) -> list[Path]:
    """Return the files whose content decides the embedding, config.json first; downloads what is not cached.

    Raises:
        UserError: as of load_model, where the checkpoint cannot be found.
    """
    return checkpoint_files(checkpoint_name(model_file_path, checkpoint), revision)


def get_timestamp_embeddings(audio: Tensor, model: WindowedEncoder) -> tuple[Tensor, Tensor]:
    """Embed the network's own frames.

    Args:
        audio: float32 (clips, samples) in [-1, 1].
        model: from load_model; moved to the audio's device.

    Returns:
        embeddings, float32 (clips, frames, dim), and the centres of the frames' receptive fields in milliseconds,
        float64 (clips, frames): for wav2vec 2.0 12.5, 32.5, 52.5, ...
    """
    embeddings = _embed(audio, model)
    return embeddings, model.timestamps_ms(audio, embeddings.shape[1])


def get_scene_embeddings(audio: Tensor, model: WindowedEncoder) -> Tensor:
    """Embed clips as the mean over the network's frames: float32 (clips, samples) -> (clips, dim)."""
    return _embed(audio, model).mean(dim=1)


@torch.no_grad()
def _embed(audio: Tensor, model: WindowedEncoder) -> Tensor:
    check_audio(audio)
    # Evaluation mode also keeps SpecAugment's masks and LayerDrop away.
    embeddings: Tensor = model.to(audio.device).eval()(audio)
    return embeddings
