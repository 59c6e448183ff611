"""A model tried on two clips before a task is embedded: is an embedding the clip's own, always the same, float32?"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch

from ..tasks.audio import ClipFile, equal_length_batches, read_clip
from .agreement import ROUNDING, relative
from .backend import is_out_of_memory
from .encoder import Encoder


def try_model(encoder: Encoder, event: bool, files: Sequence[ClipFile], batch_seconds: float) -> tuple[str, ...]:
    """Sentences about what is doubtful: embeddings that depend on other clips or on the call,
    are the same for different clips, or are not float32.

    Two clips of the first batch that holds two are embedded alone and together, the first one twice alone; where every
    batch holds one clip, only this. The state of random generators stays as it was, and so do the embeddings.
    """
    batches = list(equal_length_batches(files, batch_seconds))
    pair = next((batch for batch in batches if len(batch) > 1), batches[0])[:2]
    audio = np.stack([read_clip(file, encoder.sample_rate) for file in pair])

    def embed(clips: np.ndarray) -> np.ndarray:
        return encoder.timestamps(clips)[0] if event else encoder.scene(clips)

    function = "get_timestamp_embeddings" if event else "get_scene_embeddings"
    with _random_state_kept(encoder.device):
        try:
            doubts = list(_conduct(encoder.name, embed, audio))
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            doubts = []  # embedding itself halves its batches, or says which clip is too long
    dtype = encoder.output_dtypes.get(function, "float32")
    if dtype != "float32":
        doubts.append(
            f"model {encoder.name}: {function} returns {dtype}, expected float32 (HEAR API); the values were "
            "converted, so that other tools, which may keep them, may get other scores: return float32"
        )
    return tuple(doubts)


def _conduct(name: str, embed: Callable[[np.ndarray], np.ndarray], audio: np.ndarray) -> Iterator[str]:
    """What is doubtful of ``embed`` on one or two clips: float32 (clips, samples)."""
    advice = "python -m hear_exp.validate, with the same options of model, tells more"
    first = embed(audio[:1])
    if (difference := relative(embed(audio[:1]), first)) > ROUNDING:
        yield (
            f"model {name}: two equal calls give embeddings that differ by {difference:.1e} of the largest value: its "
            f"scores cannot be reproduced. Something random stays on in eval mode; {advice}"
        )
        return  # what depends on the call seems to depend on the other clips too
    if len(audio) < 2:
        return
    together = embed(audio)
    if np.array_equal(together[0], together[1]) and not np.array_equal(audio[0], audio[1]):
        yield (
            f"model {name}: two clips of different sound have the same embedding, to the bit: a predictor cannot tell "
            f"clips apart. Are its weights loaded? {advice}"
        )
    difference = max(relative(together[:1], first), relative(together[1:], embed(audio[1:])))
    if difference > ROUNDING:
        yield (
            f"model {name}: embeddings of two clips alone and in one batch differ by {difference:.1e} of the largest "
            "value: they depend on the other clips of a batch, and the scores on how clips are batched. "
            f"embeddings.batch_seconds=0.001 embeds each clip alone, under paths.embeddings=ANOTHER_FOLDER; {advice}"
        )


@contextmanager
def _random_state_kept(device: torch.device) -> Iterator[None]:
    """Leaves the global generators of Python, NumPy and PyTorch as they were."""
    python, numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng([torch.cuda.current_device()] if device.type == "cuda" else []):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
