"""The frameworks a HEAR model may be written in, PyTorch and TensorFlow 2, behind one face.

TensorFlow is never imported here: where a model is a ``tf.Module``, the model's own module has imported it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch

from ..errors import UserError

# Read by TensorFlow when it is imported: to share a GPU with PyTorch instead of taking all of its memory, and not
# to report each of its optimisations.
_ENVIRONMENT = {"TF_FORCE_GPU_ALLOW_GROWTH": "true", "TF_CPP_MIN_LOG_LEVEL": "2"}


class TorchBackend:
    """Runs a ``torch.nn.Module`` in eval mode on ``device``, without gradients."""

    module_class = "torch.nn.Module"
    tensor_class = "torch.Tensor"

    def __init__(self, device: torch.device):
        self.device = device

    def place(self, model: Any) -> Any:
        """The model on the device, in eval mode."""
        return model.to(self.device).eval()

    def parts(self, model: Any) -> Iterable[Any]:
        """The modules that the model consists of, itself included."""
        modules: Iterable[torch.nn.Module] = model.modules()
        return modules

    def call(self, function: Callable[[Any, Any], Any], audio: np.ndarray, model: Any) -> Any:
        """What ``function(audio, model)`` returns, ``audio`` (clips, samples) as a tensor on the device."""
        with torch.inference_mode():
            return function(torch.from_numpy(audio).to(self.device), model)

    def is_tensor(self, value: Any) -> bool:
        """Whether ``value`` is a tensor of this framework."""
        return isinstance(value, torch.Tensor)

    def array(self, value: Any, dtype: type) -> np.ndarray:
        """A tensor as a NumPy array of ``dtype``, np.float32 or np.float64."""
        exact = torch.float64 if dtype is np.float64 else torch.float32  # NumPy has no bfloat16
        return np.asarray(value.detach().to("cpu", exact).numpy())

    def dtype(self, value: Any) -> str:
        """Name of a tensor's dtype: 'float32'."""
        return str(value.dtype).removeprefix("torch.")


class TensorflowBackend:
    """Runs a ``tf.Module`` on the device of TensorFlow's that ``device`` means."""

    module_class = "tf.Module"
    tensor_class = "tf.Tensor"

    def __init__(self, device: torch.device):
        self.device = device

    def place(self, model: Any) -> Any:
        """The model as it is: TensorFlow placed it when load_model made it, and knows no eval mode."""
        return model

    def parts(self, model: Any) -> Iterable[Any]:
        """The modules that the model consists of, itself included; of a Keras layer only itself."""
        return [model, *getattr(model, "submodules", ())]

    def call(self, function: Callable[[Any, Any], Any], audio: np.ndarray, model: Any) -> Any:
        """What ``function(audio, model)`` returns, ``audio`` (clips, samples) as a tensor."""
        with tensorflow_device(self.device):
            return function(_tensorflow().convert_to_tensor(audio), model)

    def is_tensor(self, value: Any) -> bool:
        """Whether ``value`` is a tensor of this framework."""
        return bool(_tensorflow().is_tensor(value))

    def array(self, value: Any, dtype: type) -> np.ndarray:
        """A tensor as a NumPy array of ``dtype``, np.float32 or np.float64."""
        return np.array(value, dtype=dtype)

    def dtype(self, value: Any) -> str:
        """Name of a tensor's dtype: 'float32'."""
        return str(value.dtype.name)


Backend = TorchBackend | TensorflowBackend


def backend_of(model: Any, device: torch.device) -> Backend:
    """The backend of what a load_model returned. Raises UserError for anything but the two kinds of module."""
    if isinstance(model, torch.nn.Module):
        return TorchBackend(device)
    if (tensorflow := _tensorflow()) is not None:
        # A Keras model was a tf.Module when HEAR's API was written, and has not been one since Keras 3.
        layer = getattr(sys.modules.get("keras"), "Layer", tensorflow.Module)
        if isinstance(model, (tensorflow.Module, layer)):
            return TensorflowBackend(device)
    raise UserError(f"load_model returned {type(model).__name__}, expected a torch.nn.Module or a tf.Module")


def prepare_tensorflow() -> None:
    """Set what TensorFlow reads from the environment on import; what the user has set stays."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)


def tensorflow_device(device: torch.device) -> AbstractContextManager[None]:
    """Makes TensorFlow, where it is imported, place what is made within on ``device``."""
    names = {"cpu": "CPU:0", "cuda": "GPU:0"}
    if (tensorflow := _tensorflow()) is None or device.type not in names:
        return nullcontext()
    placed: AbstractContextManager[None] = tensorflow.device(names[device.type])
    return placed


def is_out_of_memory(error: BaseException) -> bool:
    """Whether ``error`` is one of the ways in which NumPy, PyTorch and TensorFlow say that memory ran out."""
    kinds: tuple[type[BaseException], ...] = (MemoryError, torch.OutOfMemoryError)
    if (tensorflow := _tensorflow()) is not None:
        kinds = (*kinds, tensorflow.errors.ResourceExhaustedError)
    return isinstance(error, kinds) or (
        isinstance(error, RuntimeError) and any(s in str(error) for s in ("out of memory", "can't allocate memory"))
    )


def _tensorflow() -> Any:
    """The package where somebody has imported it, else None; one that is still being imported has no Module yet."""
    package = sys.modules.get("tensorflow")
    return package if hasattr(package, "Module") else None
