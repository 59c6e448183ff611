"""HuBERT (Hsu et al. 2021), by default the base model trained on LibriSpeech."""

from pathlib import Path

from ..models import hf_audio
from ._windows import WindowedEncoder
from .hf_audio import __version__, get_scene_embeddings, get_timestamp_embeddings

__all__ = ["__version__", "get_scene_embeddings", "get_timestamp_embeddings", "load_model", "weights_files"]

DEFAULT_CHECKPOINT = "facebook/hubert-base-ls960"


def load_model(
    model_file_path: str = "",
    *,
    checkpoint: str = "",
    layer: int | None = None,
    revision: str | None = None,
    chunk_seconds: float | None = None,
    context_seconds: float | None = None,
) -> WindowedEncoder:
    """Load the encoder: hf_audio.load_model, with DEFAULT_CHECKPOINT where no checkpoint is given."""
    return hf_audio.load_model(
        model_file_path,
        checkpoint=_or_default(model_file_path, checkpoint),
        layer=layer,
        revision=revision,
        chunk_seconds=chunk_seconds,
        context_seconds=context_seconds,
    )


def weights_files(
    model_file_path: str = "", *, checkpoint: str = "", revision: str | None = None, **_: object
) -> list[Path]:
    """Return the files whose content decides the embedding: hf_audio.weights_files, with the default."""
    return hf_audio.weights_files(
        model_file_path, checkpoint=_or_default(model_file_path, checkpoint), revision=revision
    )


def _or_default(model_file_path: str, checkpoint: str) -> str:
    return checkpoint or ("" if model_file_path else DEFAULT_CHECKPOINT)
