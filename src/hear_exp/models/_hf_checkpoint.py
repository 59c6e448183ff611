"""Find the files of a transformers checkpoint, in a folder or on the Hugging Face hub, and load its network."""

import importlib.util
import json
import logging
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from ..errors import UserError

# In the order in which transformers looks for them; an index names the shards beside it.
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")


def checkpoint_name(model_file_path: str, checkpoint: str) -> str:
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
        require_transformers()
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


def checkpoint_files(name: str, revision: str | None) -> list[Path]:
    """Return config, feature extractor's config and weights of a checkpoint; downloads what is not cached.

    Raises:
        UserError: where the checkpoint, or a file of it, cannot be found.
    """
    source = _source(name, revision)
    require_transformers()
    files = [_found(name, source, [file]) for file in ("config.json", "preprocessor_config.json")]
    files.append(_found(name, source, _WEIGHTS))
    if files[-1].name.endswith(".index.json"):
        shards = sorted(set(json.loads(files[-1].read_text(encoding="utf-8"))["weight_map"].values()))
        files += [_found(name, source, [shard]) for shard in shards]
    return files


def _source(name: str, revision: str | None) -> "_Folder | _Hub":
    if Path(name).is_dir():
        if revision is not None:
            raise UserError(f"revision has no effect on a folder: leave it out for {name}, got {revision!r}")
        return _Folder(Path(name))
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise UserError(f"checkpoint folder not found: {name}; give an existing folder or a name on the hub")
    return _Hub(name, revision)


def _found(name: str, source: _Folder | _Hub, candidates: Iterable[str]) -> Path:
    """Return the first of the candidates that there is."""
    for candidate in candidates:
        if (path := source.find(candidate)) is not None:
            return path
    raise UserError(f"checkpoint {name} not found: {' or '.join(candidates)} {source.missing}")


def load_network(folder: Path, config: Any, name: str) -> torch.nn.Module:
    """Load the weights, all of which must be there: transformers would fill in random ones."""
    import transformers

    verbosity = transformers.logging.get_verbosity()
    # Pretraining heads, which we do not use, would be reported at length.
    transformers.logging.set_verbosity(logging.ERROR)
    network: torch.nn.Module
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


def require_transformers() -> None:
    """Import transformers. Raises UserError where it is not installed."""
    _hide_broken_torchaudio()
    try:
        import transformers  # noqa: F401
    except ImportError as error:
        raise UserError('this encoder needs transformers: pip install "hear_exp[models]"') from error


def _hide_broken_torchaudio() -> None:
    """Make a torchaudio that cannot be imported look absent, as to transformers, which imports it where it is there.

    torchcrepe's package requires torchaudio, whose wheels fail to load beside a PyTorch without CUDA.
    """
    if importlib.util.find_spec("torchaudio") is None:
        return
    try:
        import torchaudio  # noqa: F401
    except (ImportError, OSError, RuntimeError):
        sys.modules["torchaudio"] = None  # type: ignore[assignment]
        # It may have looked already, and remembers.
        if (utils := sys.modules.get("transformers.utils.import_utils")) is not None:
            for name in ("is_torchaudio_available", "_is_package_available"):
                getattr(getattr(utils, name, None), "cache_clear", lambda: None)()
