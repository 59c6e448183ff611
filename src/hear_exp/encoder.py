"""The HEAR common API: load a model's module, check that it keeps the contract, embed batches as NumPy."""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from .backend import Backend, backend_of, prepare_tensorflow, tensorflow_device
from .errors import UserError

FUNCTIONS = ("load_model", "get_scene_embeddings", "get_timestamp_embeddings")
SIZES = ("sample_rate", "scene_embedding_size", "timestamp_embedding_size")


@dataclass(frozen=True)
class Model:
    """What the config says of a model: a HEAR API ``module``, its weights file and keyword options.

    ``install`` is the command that installs the module, ``weights_url`` where its weights are; both only for errors.
    """

    name: str
    module: str
    weights: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    install: str = ""
    weights_url: str = ""


class Encoder:
    """A loaded model behind the HEAR API, in eval mode on ``device``; embeds without gradients.

    The model is a torch.nn.Module or a tf.Module.

    Attributes: ``name``, ``sample_rate`` (hertz), ``identity`` (what decides its embeddings: module, version,
    weights content, options).

    Raises UserError where the module cannot be imported or does not keep the HEAR API.
    """

    def __init__(self, model: Model, device: str | torch.device = "cpu"):
        self.name = model.name
        self.device = torch.device(device)
        self._module = import_module(model)
        check_functions(self._module, model)
        self.identity = {
            "module": model.module,
            "version": _version(self._module),
            "weights": _weights_digests(self._module, model),
            "options": dict(model.options),
        }
        self._model, self._backend = load_model(self._module, model, self.device)
        sizes = {name: read_size(self._model, name, model) for name in SIZES}
        self.sample_rate = sizes["sample_rate"]
        self._dims = {"scene": sizes["scene_embedding_size"], "event": sizes["timestamp_embedding_size"]}

    def dim(self, kind: str) -> int:
        """Embedding size of ``kind`` (scene | event)."""
        return self._dims[kind]

    def scene(self, audio: np.ndarray) -> np.ndarray:
        """Scene embeddings, float32 (clips, dim), of ``audio``, float32 (clips, samples)."""
        output = self._backend.call(self._module.get_scene_embeddings, audio, self._model)
        embeddings = self._array("get_scene_embeddings", output, np.float32)
        expected = (len(audio), self._dims["scene"])
        if embeddings.shape != expected:
            raise UserError(
                f"model {self.name}: get_scene_embeddings returned shape {embeddings.shape}, "
                f"expected (clips, scene_embedding_size) = {expected}"
            )
        return embeddings

    def timestamps(self, audio: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Timestamp embeddings of ``audio``, float32 (clips, samples).

        Returns float32 (clips, frames, dim) and the frames' centres in milliseconds, float64 (clips, frames).
        """
        output = self._backend.call(self._module.get_timestamp_embeddings, audio, self._model)
        if not isinstance(output, tuple | list) or len(output) != 2:
            raise UserError(
                f"model {self.name}: get_timestamp_embeddings returned {type(output).__name__}, "
                "expected two tensors: embeddings and timestamps"
            )
        embeddings = self._array("get_timestamp_embeddings", output[0], np.float32)
        times = self._array("get_timestamp_embeddings", output[1], np.float64)
        clips, dim = len(audio), self._dims["event"]
        if (
            embeddings.ndim != 3
            or embeddings.shape[0] != clips
            or embeddings.shape[2] != dim
            or not embeddings.shape[1]
        ):
            raise UserError(
                f"model {self.name}: get_timestamp_embeddings returned embeddings of shape {embeddings.shape}, "
                f"expected (clips, frames, timestamp_embedding_size) = ({clips}, frames, {dim})"
            )
        if times.shape != embeddings.shape[:2]:
            raise UserError(
                f"model {self.name}: get_timestamp_embeddings returned timestamps of shape {times.shape}, "
                f"expected (clips, frames) = {embeddings.shape[:2]}"
            )
        if not np.isfinite(times).all() or not (np.diff(times, axis=1) > 0).all():
            raise UserError(f"model {self.name}: timestamps must be finite and increase along a clip (milliseconds)")
        clip_ms = 1000 * audio.shape[1] / self.sample_rate
        # Seconds in place of milliseconds is the likely mistake, and it would score 0 without a word.
        if times.shape[1] > 2 and times.max() < clip_ms / 100:
            raise UserError(
                f"model {self.name}: the last timestamp of a clip of {clip_ms:.0f} ms is {times.max():g}; "
                "expected milliseconds"
            )
        return embeddings, times

    def _array(self, function: str, value: Any, dtype: type) -> np.ndarray:
        if not self._backend.is_tensor(value):
            raise UserError(
                f"model {self.name}: {function} returned {type(value).__name__}, "
                f"expected a {self._backend.tensor_class}"
            )
        return self._backend.array(value, dtype)


def import_module(model: Model) -> ModuleType:
    """The model's module. Raises UserError where it cannot be imported, with the command that installs it."""
    if not model.module:
        raise UserError(f"model {model.name}: no module given (model.module=PACKAGE, an installed HEAR API module)")
    if model.weights and not Path(model.weights).exists():
        raise UserError(f"model {model.name}: weights file not found: {model.weights}")
    prepare_tensorflow()
    try:
        return importlib.import_module(model.module)
    except ModuleNotFoundError as error:
        if error.name and (model.module == error.name or model.module.startswith(error.name + ".")):
            install = f"; install it with: {model.install}" if model.install else ""
            weights = f" (its weights, for model.weights=FILE: {model.weights_url})" if model.weights_url else ""
            raise UserError(
                f"model {model.name}: module {model.module} is not installed in this Python environment"
                f"{install}{weights}"
            ) from None
        raise UserError(
            f"model {model.name}: importing {model.module} failed: it needs the module {error.name}, "
            "which is not installed"
        ) from error
    except Exception as error:
        raise UserError(
            f"model {model.name}: importing {model.module} failed: {type(error).__name__}: {error}"
        ) from error


def check_functions(module: ModuleType, model: Model) -> None:
    """Raise UserError unless ``module`` has the HEAR API's functions and load_model takes the model's options."""
    for function in FUNCTIONS:
        if not callable(getattr(module, function, None)):
            raise UserError(f"model {model.name}: module {model.module} has no function {function} (HEAR API)")
    parameters = inspect.signature(module.load_model).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return
    known = [name for name in parameters if name != "model_file_path"]
    for option in model.options:
        if option not in known:
            raise UserError(
                f"model {model.name}: unknown option {option!r}; {model.module}.load_model takes: "
                + (", ".join(known) or "no options")
            )


def load_model(module: ModuleType, model: Model, device: torch.device) -> tuple[Any, Backend]:
    """What the module's load_model returns, on ``device`` and in eval mode, and the backend that runs it.

    Raises UserError where it fails, or returns neither a torch.nn.Module nor a tf.Module.
    """
    try:
        with tensorflow_device(device):
            loaded = module.load_model(*weights_argument(module, model), **model.options)
    except UserError:
        raise
    except Exception as error:
        weights = "" if model.weights or not model.weights_url else f" (its weights: {model.weights_url})"
        raise UserError(
            f"model {model.name}: {model.module}.load_model({model.weights!r}) failed: "
            f"{type(error).__name__}: {error}{weights}"
        ) from error
    try:
        backend = backend_of(loaded, device)
    except UserError as error:
        raise UserError(f"model {model.name}: {error}") from None
    return backend.place(loaded), backend


def weights_argument(module: ModuleType, model: Model) -> tuple[str, ...]:
    """The weights as load_model's positional argument: none given and a default there, the default decides."""
    if model.weights:
        return (model.weights,)
    first = next(iter(inspect.signature(module.load_model).parameters.values()), None)
    has_default = first is not None and first.default is not first.empty
    return () if first is None or has_default else ("",)


def read_size(loaded: Any, name: str, model: Model) -> int:
    """The loaded model's attribute ``name``. Raises UserError unless it is a whole number above 0."""
    value = getattr(loaded, name, None)
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value <= 0:
        problem = f"has no attribute {name}" if value is None else f"has {name} = {value!r}"
        raise UserError(f"model {model.name}: the loaded model {problem}, expected a whole number above 0 (HEAR API)")
    return int(value)


def _version(module: ModuleType) -> str:
    """The module's own version, or its distribution's.

    A module that is not in site-packages is under somebody's hands, so a digest of its source counts as well.
    """
    top = importlib.import_module(module.__name__.partition(".")[0])
    source = Path(getattr(module, "__file__", None) or "")
    installed = "site-packages" in source.parts
    version = getattr(module, "__version__", None) or getattr(top, "__version__", None)
    if not version:
        version = _distribution_version(top.__name__, installed)
    own = module.__name__.startswith("hear_exp.")
    if own or not source.is_file() or (installed and version):
        return str(version or "unversioned")
    root = Path(top.__file__).parent if getattr(top, "__path__", None) and top.__file__ else source
    sources = sorted(root.rglob("*.py")) if root.is_dir() else [source]
    digest = hashlib.sha256()
    for path in sources:
        digest.update(path.read_bytes())
    return f"{version or 'unversioned'}+{digest.hexdigest()[:16]}"


def _distribution_version(package: str, installed: bool) -> str | None:
    """Version of the distribution that holds ``package``, whose name may differ: scikit-learn holds sklearn."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        # Looks into every distribution, which takes a while: only where one must be the package's.
        names = importlib.metadata.packages_distributions().get(package) if installed else None
        return importlib.metadata.version(names[0]) if names else None


def _weights_digests(module: ModuleType, model: Model) -> list[str]:
    """SHA-256 of every file that decides the embeddings (the module's ``weights_files`` hook, or the weights)."""
    hook = getattr(module, "weights_files", None)
    if hook is not None:
        paths = [Path(path) for path in hook(model.weights, **model.options)]
    elif model.weights:
        weights = Path(model.weights)
        paths = sorted(p for p in weights.rglob("*") if p.is_file()) if weights.is_dir() else [weights]
    else:
        paths = []
    return [f"{path.name} {file_digest(path)}" for path in paths]


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def pick_device(accelerator: str) -> torch.device:
    """The torch device that Lightning's ``accelerator`` name means here (auto | cpu | gpu | cuda | mps)."""
    cuda = torch.cuda.is_available()
    mps = torch.backends.mps.is_available()
    if accelerator == "cpu" or (accelerator == "auto" and not cuda and not mps):
        return torch.device("cpu")
    if accelerator in ("auto", "gpu", "cuda") and cuda:
        return torch.device("cuda")
    if accelerator in ("auto", "gpu", "mps") and mps:
        return torch.device("mps")
    raise UserError(f"trainer.accelerator={accelerator}: no such device here (try trainer=cpu)")
