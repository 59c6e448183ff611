"""What a predictor is: a class that a config names by ``_target_``, its hyperparameters the constructor's arguments.

A predictor config's keys, but for ``name`` and ``_target_``, are those arguments; a list of values is searched. One's
own is a class on the Python path, derived from one of two bases, and a file in one's ``--config-dir``:

    @dataclass(frozen=True)
    class Cosine(TrainedPredictor):          # name: cosine
        scale: float = 10.0                  # _target_: my_heads.Cosine
                                             # scale: [5, 10, 20], lr: ..., batch_size: ...
        def network(self, dim, labels):
            return CosineNetwork(dim, labels, self.scale)

Nothing here imports torch, and what a config may name should not either until it is asked for a network: a mistyped
option is answered before torch is there.
"""

from __future__ import annotations

import importlib
import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from ..errors import UserError
from .hyperparameters import POSITIVE, WHOLE

if TYPE_CHECKING:
    import torch
    from torch import nn

    from .neighbours import RememberingNetwork

TARGET = "_target_"


@dataclass(frozen=True, kw_only=True)
class Predictor(ABC):
    """A predictor with its hyperparameters, one grid point: from embeddings to a number for each label.

    An argument is kept as an attribute of its own name, as dataclasses do, and checked by the constructor, which
    raises UserError (``hyperparameters.py`` has checks with their sentences).

    ``context_frames``: for event tasks, how many frames before and after a frame its network sees with it.
    ``needs_two_rows``: it cannot train on a batch of one row (BatchNorm).
    """

    batch_size: int

    context_frames: ClassVar[int] = 0
    needs_two_rows: ClassVar[bool] = False

    def __post_init__(self) -> None:
        WHOLE.check(self, "batch_size")

    @abstractmethod
    def network(self, dim: int, labels: int) -> nn.Module:
        """A new network for embeddings of ``dim`` values and so many ``labels``.

        It takes float embeddings (rows, dim), or (rows, 2 x context_frames + 1, dim) where ``context_frames`` is not
        0, and gives (rows, labels). A row is a clip, or a frame of an event task.
        """

    def check(self) -> None:  # noqa: B027  most have nothing to check
        """Raise UserError for hyperparameters that do not go together; called for the grid points that are searched."""

    def check_precision(self, precision: str) -> None:  # noqa: B027
        """Raise UserError for a ``trainer.precision``, in Lightning's words, that has no effect on this predictor."""

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """The constructor's arguments by name, sorted: what is recorded of a grid point."""
        return {name: getattr(self, name) for name in sorted(arguments(type(self)))}


@dataclass(frozen=True, kw_only=True)
class TrainedPredictor(Predictor):
    """A predictor whose network is trained by gradient descent, validated as it goes, and kept at its best epoch.

    The network's outputs are logits: softmax (one label a clip) or sigmoid (any number of labels) makes them
    probabilities. ``patience``: validations without improvement after which training ends.
    """

    lr: float
    max_epochs: int
    check_val_every_n_epoch: int
    patience: int

    def __post_init__(self) -> None:
        super().__post_init__()
        POSITIVE.check(self, "lr")
        for name in ("max_epochs", "check_val_every_n_epoch", "patience"):
            WHOLE.check(self, name)

    def check(self) -> None:
        """Raise UserError where training ends before the first validation."""
        if self.max_epochs < self.check_val_every_n_epoch:
            raise UserError(
                f"predictor.max_epochs={self.max_epochs} ends before the first validation "
                f"(predictor.check_val_every_n_epoch={self.check_val_every_n_epoch})"
            )

    def loss(self, logits: torch.Tensor, targets: torch.Tensor, multiclass: bool) -> torch.Tensor:
        """Cross entropy (``multiclass``) or binary cross entropy, a scalar; targets uint8 (rows, labels)."""
        from torch.nn import functional as F

        if multiclass:
            return F.cross_entropy(logits, targets.argmax(dim=1))
        return F.binary_cross_entropy_with_logits(logits, targets.to(logits.dtype))

    def optimizer(self, parameters: Iterator[nn.Parameter], device: torch.device) -> torch.optim.Optimizer:
        """Adam without weight decay."""
        import torch

        return torch.optim.Adam(parameters, lr=self.lr, fused=device.type in ("cpu", "cuda"))


@dataclass(frozen=True, kw_only=True)
class UntrainedPredictor(Predictor):
    """A predictor that looks at the training rows instead of training on them.

    Its network is given the training rows before it is used, and gives probabilities.
    """

    in_words: ClassVar[str] = "a predictor without training"

    @abstractmethod
    def network(self, dim: int, labels: int) -> RememberingNetwork:
        """As of Predictor, derived from ``neighbours.RememberingNetwork``."""

    def check_precision(self, precision: str) -> None:
        """Raise UserError for mixed precision, which is one of training."""
        if precision.endswith("-mixed"):
            raise UserError(
                f"trainer.precision={precision} has no effect on {self.in_words}, which are computed in float32, or in "
                "float64 with trainer.precision=64-true"
            )


def arguments(kind: type[Predictor]) -> Mapping[str, inspect.Parameter]:
    """The hyperparameters of a predictor's class: the arguments of its constructor, by name."""
    parameters = inspect.signature(kind).parameters
    return {name: p for name, p in parameters.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}


def class_name(kind: type) -> str:
    """The dotted name by which a config names a class."""
    return f"{kind.__module__}.{kind.__qualname__}"


def find_predictor(target: Any) -> type[Predictor]:
    """The class that ``target``, a predictor config's ``_target_``, names. Raises UserError where there is none."""
    where = f"predictor.{TARGET}"
    if not target:
        raise UserError(
            f"{where} is missing: it names the predictor's class, such as hear_exp.prediction.mlp.MLP, whose options "
            "the other keys are"
        )
    module_name, _, name = str(target).rpartition(".")
    try:
        found = getattr(importlib.import_module(module_name), name)
    except (ImportError, ValueError, AttributeError) as error:
        raise UserError(
            f"{where} is {target!r}, expected the dotted name of a class on the Python path (PYTHONPATH): {error}"
        ) from error
    if not (isinstance(found, type) and issubclass(found, TrainedPredictor | UntrainedPredictor)):
        raise UserError(
            f"{where} is {target!r}, expected a class derived from hear_exp.prediction.predictor.TrainedPredictor or "
            "UntrainedPredictor"
        )
    if missing := sorted(found.__abstractmethods__):
        raise UserError(f"{where} is {target!r}, which lacks: {', '.join(f'{name}()' for name in missing)}")
    return found
