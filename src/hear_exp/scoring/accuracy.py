"""Share of clips whose most probable label is right, also where a clip has any number of labels."""

from __future__ import annotations

import math

import numpy as np

from .figure import Figure, Figures
from .scenes import Scenes

MULTILABEL_ACCURACY = ("first_label", "any_label")


def accuracy(scenes: Scenes, *, modulo: int | None = None) -> Figures:
    """Share of clips whose most probable label (of tied ones the first) is the target.

    What the target is of clips with any number of labels ``scenes.multilabel_accuracy`` says. ``first_label``: the
    first one set, label 0 where none is, as in heareval. ``any_label``: any of them; clips without labels are left
    out. None: there are no such clips.

    Args:
        scenes: the clips.
        modulo: labels are right if they differ by a multiple of it.

    Returns:
        The share; nan if no clip is left.

    Raises:
        ValueError: an unknown rule, or without one a clip that has not exactly one label.
    """
    rule, targets = scenes.multilabel_accuracy, scenes.targets
    if rule not in (None, *MULTILABEL_ACCURACY):
        raise ValueError(f"multilabel_accuracy is {rule!r}, expected one of: {', '.join(MULTILABEL_ACCURACY)}")
    count = targets.sum(axis=1)
    if rule is None and (count != 1).any():
        clip = int(np.argmax(count != 1))
        raise ValueError(
            f"accuracy needs exactly one label a clip, but clip {clip} has {count[clip]}"
            " (multilabel_accuracy says what it is of clips with several)"
        )
    classes = np.arange(targets.shape[1]) % (modulo or targets.shape[1])
    predicted = classes[scenes.probabilities.argmax(axis=1)]
    if rule == "any_label":
        hits = ((predicted[:, np.newaxis] == classes) & (targets == 1)).any(axis=1)[count > 0]
        share = int(hits.sum()) / len(hits) if len(hits) else math.nan
    else:
        share = _share_of_equals(predicted, classes[targets.argmax(axis=1)], modulo or targets.shape[1])
    return {"": Figure(share, "no clip has a label")}


def _share_of_equals(predicted: np.ndarray, expected: np.ndarray, classes: int) -> float:
    import torch
    from torchmetrics.functional.classification import multiclass_stat_scores

    # Counts instead of torchmetrics' accuracy, which is a float32; at least two classes, or it refuses.
    counts: list[int] = multiclass_stat_scores(
        torch.from_numpy(predicted), torch.from_numpy(expected), num_classes=max(2, classes), average="micro"
    ).tolist()
    true_positives, _, _, _, clips = counts
    return true_positives / clips
