"""The HEAR common API: load a model's module, check that it keeps the contract, embed batches as NumPy."""

from __future__ import annotations

import importlib
import inspect
from types import ModuleType
from typing import Any

import numpy as np
import torch

from ..errors import UserError
from .backend import Backend, backend_of, prepare_tensorflow, tensorflow_device
from .local_modules import modules_of, watching_imports
from .model_choice import Model, check_model, not_installed
from .model_identity import declared_packages, remember_imported, version_of, versions_beside, weights_digests

FUNCTIONS = ("load_model", "get_scene_embeddings", "get_timestamp_embeddings")
SIZES = ("sample_rate", "scene_embedding_size", "timestamp_embedding_size")


class Encoder:
    """A loaded model behind the HEAR API, in eval mode on ``device``; embeds without gradients.

    The model is a torch.nn.Module or a tf.Module.

    Attributes: ``name``, ``sample_rate`` (hertz), ``identity`` (what decides its embeddings: module, version or source,
    weights content, options, versions of the packages it declares), ``versions`` (of other packages that it uses),
    ``output_dtypes`` (HEAR function -> dtype of the embeddings that it returned last).

    Raises UserError where the module cannot be imported or does not keep the HEAR API.
    """

    def __init__(self, model: Model, device: str | torch.device = "cpu"):
        self.name = model.name
        self.device = torch.device(device)
        self._module = import_module(model)
        check_functions(self._module, model)
        remember_imported(modules_of(self._module))  # before loading, which may take minutes
        weights = weights_digests(self._module, model.weights, model.options, model.name)
        self._model, self._backend = load_model(self._module, model, self.device)
        modules = modules_of(self._module, self._backend.parts(self._model))
        packages = declared_packages(modules)
        self.versions = versions_beside(modules, packages)
        self.identity = {
            "module": model.module,
            "version": version_of(self._module, modules),
            "weights": weights,
            "options": dict(model.options),
            **({"packages": packages} if packages else {}),
        }
        self.output_dtypes: dict[str, str] = {}
        sizes = {name: read_size(self._model, name, model) for name in SIZES}
        self.sample_rate = sizes["sample_rate"]
        self._dims = {"scene": sizes["scene_embedding_size"], "event": sizes["timestamp_embedding_size"]}

    def dim(self, kind: str) -> int:
        """Embedding size of ``kind`` (scene | event)."""
        return self._dims[kind]

    def scene(self, audio: np.ndarray) -> np.ndarray:
        """Scene embeddings, float32 (clips, dim), of ``audio``, float32 (clips, samples)."""
        output = self._backend.call(self._module.get_scene_embeddings, audio, self._model)
        embeddings = self._embeddings("get_scene_embeddings", output)
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
        embeddings = self._embeddings("get_timestamp_embeddings", output[0])
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

    def _embeddings(self, function: str, value: Any) -> np.ndarray:
        embeddings = self._array(function, value, np.float32)
        self.output_dtypes[function] = self._backend.dtype(value)
        return embeddings

    def _array(self, function: str, value: Any, dtype: type) -> np.ndarray:
        if not self._backend.is_tensor(value):
            raise UserError(
                f"model {self.name}: {function} returned {type(value).__name__}, "
                f"expected a {self._backend.tensor_class}"
            )
        return self._backend.array(value, dtype)


def import_module(model: Model) -> ModuleType:
    """The model's module. Raises UserError where it cannot be imported, with the command that installs it."""
    check_model(model)
    prepare_tensorflow()
    try:
        with watching_imports():
            return importlib.import_module(model.module)
    except ModuleNotFoundError as error:
        if error.name and (model.module == error.name or model.module.startswith(error.name + ".")):
            raise UserError(not_installed(model)) from None
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
        with tensorflow_device(device), watching_imports():
            loaded = module.load_model(*weights_argument(module, model), **model.options)
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"model {model.name}: {model.module}.load_model({model.weights!r}) failed: "
            f"{type(error).__name__}: {error}{_weights_hint(model)}"
        ) from error
    try:
        backend = backend_of(loaded, device)
    except UserError as error:
        raise UserError(f"model {model.name}: {error}") from None
    return backend.place(loaded), backend


def _weights_hint(model: Model) -> str:
    """What to try where loading failed and no weights were given, which is the likely reason."""
    if model.weights:
        return ""
    where = f", its weights are at {model.weights_url}" if model.weights_url else ""
    return f" (no weights were given; if it needs some: model.weights=FILE{where})"


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
