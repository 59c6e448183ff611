"""What HEAR's own validator checks: functions, sizes, shapes, dtypes and timestamps of the HEAR common API."""

from __future__ import annotations

import numpy as np

from ..embeddings.encoder import FUNCTIONS, SIZES, check_functions, read_size
from .checks import FAIL, PASS, WARNING, Check, Outcome, Subject

SAMPLE_RATES = (16000, 22050, 32000, 44100, 48000)
SECONDS = (1.07, 1.98, 2.74, 4.0)
LARGEST_HOP_MS = 50.0
_REGULAR_MS = 1.0


def check_import(subject: Subject) -> Outcome:
    """The module can be imported, and its weights file is there."""
    return Outcome(PASS, str(getattr(subject.module, "__file__", subject.module.__name__)))


def check_the_functions(subject: Subject) -> Outcome:
    """load_model, get_scene_embeddings and get_timestamp_embeddings are there."""
    check_functions(subject.module, subject.model)
    return Outcome(PASS, ", ".join(FUNCTIONS))


def check_load(subject: Subject) -> Outcome:
    """load_model returns a torch.nn.Module or a tf.Module."""
    loaded, backend = subject.loaded
    return Outcome(PASS, f"{type(loaded).__name__}, a {backend.module_class}")


def check_sample_rate(subject: Subject) -> Outcome:
    """sample_rate is one of HEAR's."""
    rate = read_size(subject.loaded[0], "sample_rate", subject.model)
    if rate not in SAMPLE_RATES:
        return Outcome(FAIL, f"sample_rate is {rate} Hz, expected one of {', '.join(map(str, SAMPLE_RATES))}")
    return Outcome(PASS, f"{rate} Hz")


def check_sizes(subject: Subject) -> Outcome:
    """sample_rate, scene_embedding_size and timestamp_embedding_size are whole numbers above 0."""
    _, scene, event = (read_size(subject.loaded[0], name, subject.model) for name in SIZES)
    return Outcome(PASS, f"scene {scene}, timestamp {event}")


def check_scene_shape(subject: Subject) -> Outcome:
    """get_scene_embeddings returns (clips, scene_embedding_size)."""
    for seconds in SECONDS:
        shape = subject.scene(subject.noise(4, seconds)).shape
        expected = (4, subject.loaded[0].scene_embedding_size)
        if shape != expected:
            return Outcome(FAIL, f"shape {shape} for 4 clips of {seconds} s, expected {expected}")
    return Outcome(PASS, f"(clips, {expected[1]})")


def check_timestamp_shape(subject: Subject) -> Outcome:
    """get_timestamp_embeddings returns (clips, frames, timestamp_embedding_size) and (clips, frames)."""
    for seconds in SECONDS:
        embeddings, times = subject.timestamps(subject.noise(2, seconds))
        dim = subject.loaded[0].timestamp_embedding_size
        good = embeddings.ndim == 3 and embeddings.shape[1] and embeddings.shape == (2, embeddings.shape[1], dim)
        if not good:
            return Outcome(FAIL, f"embeddings of shape {embeddings.shape}, expected (2, frames, {dim})")
        if times.shape != embeddings.shape[:2]:
            return Outcome(FAIL, f"timestamps of shape {times.shape}, expected (2, frames) = {embeddings.shape[:2]}")
    return Outcome(PASS, f"(clips, frames, {dim}); {embeddings.shape[1]} frames in {seconds:g} s")


def check_dtype(subject: Subject) -> Outcome:
    """Embeddings are float32; timestamps are of a float type."""
    backend, audio = subject.loaded[1], subject.noise(2, 1.07)
    embeddings, times = subject.call("get_timestamp_embeddings", audio)
    found = {
        "get_scene_embeddings": backend.dtype(subject.call("get_scene_embeddings", audio)),
        "get_timestamp_embeddings": backend.dtype(embeddings),
    }
    for function, dtype in found.items():
        if dtype != "float32":
            return Outcome(FAIL, f"{function} returns {dtype}, expected float32")
    if backend.dtype(times) not in ("float32", "float64"):
        return Outcome(WARNING, f"timestamps are {backend.dtype(times)}: fractions of a millisecond are lost")
    return Outcome(PASS, f"float32, timestamps {backend.dtype(times)}")


def check_units(subject: Subject) -> Outcome:
    """Timestamps are milliseconds, by where the last one of a 4 s clip lies."""
    last = float(_times(subject, 4.0).max())
    if last > 2 * 4000:
        return Outcome(FAIL, f"the last timestamp of a 4 s clip is {last:g}: samples? expected milliseconds")
    if last <= 2 * 4:
        return Outcome(FAIL, f"the last timestamp of a 4 s clip is {last:g}: seconds? expected milliseconds")
    return Outcome(PASS, f"milliseconds; the last of a 4 s clip is {last:g}")


def check_ascending(subject: Subject) -> Outcome:
    """Timestamps increase, at regular intervals."""
    for seconds in SECONDS:
        times = _times(subject, seconds)
        hops = np.diff(times, axis=1)
        if not np.isfinite(times).all() or not (hops > 0).all():
            return Outcome(FAIL, f"timestamps of a {seconds:g} s clip are not finite and increasing")
        if hops.size and (deviation := float(np.abs(hops - hops.mean()).max())) > _REGULAR_MS:
            return Outcome(FAIL, f"intervals deviate by {deviation:.1f} ms from their mean, {hops.mean():.1f} ms")
    return Outcome(PASS, "increasing, regular")


def check_coverage(subject: Subject) -> Outcome:
    """Timestamps begin and end with the clip, and lie inside it."""
    worst = Outcome(PASS, "from start to end")
    for seconds in SECONDS:
        times, length = _times(subject, seconds), 1000 * seconds
        hop = float(np.diff(times, axis=1).mean()) if times.shape[1] > 1 else length
        if (outcome := coverage(float(times.min()), float(times.max()), hop, length)).status == FAIL:
            return outcome
        worst = outcome if outcome.status == WARNING else worst
    return worst


def coverage(first_ms: float, last_ms: float, hop_ms: float, length_ms: float) -> Outcome:
    """How timestamps lie in a clip of ``length_ms``."""
    where = f"the timestamps of a clip of {length_ms:.0f} ms run from {first_ms:.1f} to {last_ms:.1f} ms"
    # Timestamps are often computed in float32, whose steps grow with the clip.
    if first_ms < 0 or last_ms > length_ms * (1 + 1e-6):
        return Outcome(FAIL, f"{where}: outside of the clip")
    if last_ms < length_ms - 2 * hop_ms:
        return Outcome(FAIL, f"{where}: two hops or more are missing at its end")
    if last_ms < length_ms - min(hop_ms, LARGEST_HOP_MS):
        return Outcome(WARNING, f"{where}: events at its end may be missed")
    if first_ms > hop_ms:
        return Outcome(WARNING, f"{where}: the first hop is missing")
    return Outcome(PASS, where)


def check_hop(subject: Subject) -> Outcome:
    """The hop is at most 50 ms."""
    times = _times(subject, 4.0)
    if times.shape[1] < 2:
        return Outcome(WARNING, "one frame in 4 s: HEAR asks for a hop of at most 50 ms, for event tasks")
    hop = float(np.diff(times, axis=1).max())
    if hop > LARGEST_HOP_MS * (1 + 1e-3):
        return Outcome(WARNING, f"{hop:.1f} ms; HEAR asks for at most 50 ms, since onsets count within 50 ms")
    return Outcome(PASS, f"{hop:.1f} ms")


def _times(subject: Subject, seconds: float) -> np.ndarray:
    return subject.timestamps(subject.noise(2, seconds))[1]


API_CHECKS = (
    Check("import", check_import),
    Check("functions", check_the_functions, ("import",)),
    Check("load_model", check_load, ("functions",)),
    Check("sample rate", check_sample_rate, ("load_model",)),
    Check("embedding sizes", check_sizes, ("load_model",)),
    Check("scene shape", check_scene_shape, ("embedding sizes",)),
    Check("timestamp shape", check_timestamp_shape, ("embedding sizes",)),
    Check("dtype", check_dtype, ("scene shape", "timestamp shape")),
    Check("timestamp units", check_units, ("timestamp shape",)),
    Check("timestamps ascend", check_ascending, ("timestamp shape",)),
    Check("timestamps cover", check_coverage, ("timestamp units", "timestamps ascend")),
    Check("hop", check_hop, ("timestamp units", "timestamps ascend")),
)
