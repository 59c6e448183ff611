"""What HEAR's validator cannot check: whether a clip's embedding is its own, always the same, and always a number."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch

from ..embeddings.agreement import NOTICEABLE, ROUNDING, relative
from ..embeddings.backend import tensorflow_device
from ..embeddings.encoder import load_model, weights_argument
from .api import API_CHECKS, LARGEST_HOP_MS, coverage
from .checks import FAIL, PASS, SKIPPED, WARNING, Check, Outcome, Subject

_SHORT_SECONDS = 0.02
_CLIPS = 5
_DRIFT_WARNING_MS = 20.0


def check_eval_mode(subject: Subject) -> Outcome:
    """load_model returns the model in eval mode, or training mode changes nothing."""
    if subject.loaded[1].module_class == "tf.Module":
        return Outcome(SKIPPED, "TensorFlow knows no eval mode")
    arguments = weights_argument(subject.module, subject.model)
    fresh = subject.module.load_model(*arguments, **subject.model.options).to(subject.device)
    if not any(part.training for part in fresh.modules()):
        return Outcome(PASS, "load_model returns it in eval mode")
    audio, backend = subject.noise(2, 1.0), subject.loaded[1]
    output = backend.call(subject.module.get_scene_embeddings, audio, fresh)
    if (difference := relative(backend.array(output, np.float32), subject.scene(audio))) > ROUNDING:
        return Outcome(
            WARNING,
            f"load_model returns it in training mode, where scene embeddings differ by {difference:.1%}; hear_exp "
            "calls eval(), other HEAR tools do not",
        )
    return Outcome(PASS, "load_model returns it in training mode, which changes nothing")


def check_determinism(subject: Subject) -> Outcome:
    """The same call gives the same embeddings."""
    audio = subject.noise(3, 1.0)
    first = subject.both(audio)
    return _compare(first, subject.both(audio), "equal calls", exact=True)


def check_reload(subject: Subject) -> Outcome:
    """A model loaded anew gives the same embeddings."""
    audio = subject.noise(3, 1.0)
    loaded, backend = load_model(subject.module, subject.model, subject.device)
    again = backend.array(backend.call(subject.module.get_scene_embeddings, audio, loaded), np.float32)
    return _compare((subject.scene(audio),), (again,), "two loads of the model (random weights?)", exact=True)


def check_batch_size(subject: Subject) -> Outcome:
    """A clip's embedding is the same alone and in batches of any size."""
    audio = subject.noise(_CLIPS, 1.0)
    whole = subject.both(audio)
    for size in (1, 2):
        parts = [subject.both(audio[i : i + size]) for i in range(0, _CLIPS, size)]
        joined = tuple(np.concatenate(outputs) for outputs in zip(*parts, strict=True))
        outcome = _compare(whole, joined, f"batches of {_CLIPS} and of {size}")
        if outcome.status != PASS:
            return outcome
    return outcome


def check_other_clips(subject: Subject) -> Outcome:
    """A clip's embedding does not depend on which clips share its batch, or on their order."""
    audio = subject.noise(_CLIPS, 1.0)
    audio[0] *= 0.1
    quiet, loud, turned = audio.copy(), audio.copy(), audio[::-1].copy()
    quiet[1:] *= 0.001
    loud[1:] = np.sign(loud[1:])
    expected = tuple(output[:1] for output in subject.both(audio))
    for others, row in ((quiet, 0), (loud, 0), (turned, _CLIPS - 1)):
        mine = tuple(output[row : row + 1] for output in subject.both(others))
        outcome = _compare(expected, mine, "batches with other clips")
        if outcome.status != PASS:
            return outcome
    return outcome


def check_input(subject: Subject) -> Outcome:
    """The audio that is passed in stays as it is."""
    for function in (subject.scene, subject.timestamps):
        audio = subject.noise(2, 1.0)
        function(audio)
        if not np.array_equal(audio, subject.noise(2, 1.0)):
            return Outcome(FAIL, f"get_{function.__name__}(_embeddings) changes the audio it is given")
    return Outcome(PASS, "unchanged")


def check_silence(subject: Subject) -> Outcome:
    """Embeddings of digital silence, and of a click in it, are finite."""
    audio = np.zeros((2, subject.sample_rate), dtype=np.float32)
    audio[1, len(audio[1]) // 2] = 1.0
    return _finite(subject, audio, "silence")


def check_clipping(subject: Subject) -> Outcome:
    """Embeddings of audio at full scale are finite: a clipped tone, a constant, clipped noise."""
    time = np.arange(subject.sample_rate) / subject.sample_rate
    tone = np.sign(np.sin(2 * np.pi * 441.7 * time))
    noise = np.sign(subject.noise(1, 1.0)[0])
    return _finite(subject, np.stack([tone, np.ones_like(tone), noise]).astype(np.float32), "clipping audio")


def check_short(subject: Subject) -> Outcome:
    """A clip of 20 ms has embeddings, whose timestamps lie in it."""
    audio = subject.noise(2, _SHORT_SECONDS)
    if (outcome := _finite(subject, audio, "a clip of 20 ms")).status == FAIL:
        return outcome
    times = subject.timestamps(audio)[1]
    if not times.size:
        return Outcome(FAIL, "a clip of 20 ms has no timestamp embedding")
    if not (times.min() >= 0 and times.max() <= 1000 * _SHORT_SECONDS):
        return Outcome(WARNING, f"a clip of 20 ms has a timestamp at {times.max():.1f} ms")
    return Outcome(PASS, f"{times.shape[1]} frame" + "s" * (times.shape[1] != 1))


def check_devices(subject: Subject) -> Outcome:
    """The CPU and the GPU give the same embeddings, on the device of the audio."""
    device, backend = subject.device, subject.loaded[1]
    if not torch.cuda.is_available():
        return Outcome(SKIPPED, "no GPU here; checked on the CPU only")
    audio = subject.noise(2, 1.0)
    output = subject.call("get_scene_embeddings", audio)
    if isinstance(output, torch.Tensor) and output.device.type != device.type:
        return Outcome(WARNING, f"embeddings of audio on {device.type} are on {output.device.type}")
    other = torch.device("cpu" if device.type == "cuda" else "cuda")
    model, backend = load_model(subject.module, subject.model, other)
    with tensorflow_device(other):
        there = backend.array(backend.call(subject.module.get_scene_embeddings, audio, model), np.float32)
    difference = relative(there, subject.scene(audio))
    status = PASS if difference <= NOTICEABLE else WARNING
    return Outcome(status, f"scene embeddings on {device.type} and {other.type} differ by {difference:.1e}")


def check_long(subject: Subject) -> Outcome:
    """A clip of 20 minutes can be embedded within HEAR's 16 GB."""
    if not subject.long_minutes:
        return Outcome(SKIPPED, "validate.long_minutes=0")
    long = subject.long
    gpu = "" if long.gpu_gb is None else f", {long.gpu_gb:.1f} GB of the GPU's"
    text = (
        f"{subject.long_minutes:g} minutes in {long.took_seconds:.0f} s, {long.peak_gb:.1f} GB of memory "
        f"({long.idle_gb:.1f} GB before the clip){gpu}"
    )
    if not long.finite:
        return Outcome(FAIL, f"NaN or infinite embeddings; {text}")
    # The process is stopped above the limit, but a short peak may come between two looks at it.
    if max(long.peak_gb, long.gpu_gb or 0.0) > subject.memory_gb:
        return Outcome(FAIL, f"{text}; the limit is {subject.memory_gb:g} GB")
    return Outcome(PASS, text)


def check_long_timestamps(subject: Subject) -> Outcome:
    """Timestamps of the long clip are regular, and begin and end with it."""
    long = subject.long
    if long.deviation_ms > 1:
        return Outcome(FAIL, f"intervals deviate by {long.deviation_ms:.1f} ms from their mean, {long.hop_ms:.1f} ms")
    return coverage(long.first_ms, long.last_ms, long.hop_ms, 1000 * long.seconds)


def check_drift(subject: Subject) -> Outcome:
    """A sound at the end of the long clip is found as near its time as one at the start."""
    drift = subject.long.drift_ms
    if drift is None:
        return Outcome(WARNING, "not measured: tones in noise do not stand out in the timestamp embeddings")
    text = f"{drift:+.1f} ms over {subject.long_minutes:g} minutes"
    if abs(drift) > max(LARGEST_HOP_MS, subject.long.hop_ms):
        return Outcome(FAIL, f"{text}: is the hop a whole number of samples, and are the timestamps made of it?")
    if abs(drift) > max(_DRIFT_WARNING_MS, subject.long.hop_ms / 2):
        return Outcome(WARNING, text)
    return Outcome(PASS, text)


def _compare(
    expected: tuple[np.ndarray, ...], mine: tuple[np.ndarray, ...], between: str, exact: bool = False
) -> Outcome:
    difference = max(relative(a, b) for a, b in zip(mine, expected, strict=True))
    if difference == 0:
        return Outcome(PASS, "equal to the bit")
    text = f"embeddings of {between} differ by {difference:.1e} of the largest value"
    if difference > NOTICEABLE:
        return Outcome(FAIL, text)
    return Outcome(WARNING if exact or difference > ROUNDING else PASS, text)


def _finite(subject: Subject, audio: np.ndarray, what: str) -> Outcome:
    outputs: Iterator[tuple[str, Callable[[], np.ndarray]]] = iter(
        (("scene", lambda: subject.scene(audio)), ("timestamp", lambda: subject.timestamps(audio)[0]))
    )
    for name, embed in outputs:
        if not np.isfinite(embed()).all():
            return Outcome(FAIL, f"NaN or infinite {name} embeddings of {what}")
    return Outcome(PASS, "finite")


_SHAPES = ("scene shape", "timestamp shape")
CHECKS = (
    *API_CHECKS,
    Check("eval mode", check_eval_mode, _SHAPES),
    Check("determinism", check_determinism, _SHAPES),
    Check("load_model again", check_reload, _SHAPES),
    Check("batch size", check_batch_size, (*_SHAPES, "determinism")),
    Check("other clips in a batch", check_other_clips, (*_SHAPES, "determinism")),
    Check("audio unchanged", check_input, _SHAPES),
    Check("silence", check_silence, _SHAPES),
    Check("clipping audio", check_clipping, _SHAPES),
    Check("20 ms", check_short, _SHAPES),
    Check("CPU and GPU", check_devices, _SHAPES),
    Check("long clip", check_long, _SHAPES),
    Check("long clip: timestamps", check_long_timestamps, ("long clip", "timestamp units")),
    Check("long clip: drift", check_drift, ("long clip", "timestamp units")),
)
