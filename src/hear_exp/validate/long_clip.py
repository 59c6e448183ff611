"""What a long clip takes: memory, time and the drift of its timestamps, measured in a process of its own.

Of its own, so that its peak memory is the model's, and a model that takes too much is stopped and not the machine.
"""

from __future__ import annotations

import multiprocessing
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import torch

from ..embeddings.encoder import Encoder
from ..embeddings.model_choice import Model
from ..errors import UserError

GB = 1e9
BURST_SECONDS = 1.0
_GRID_SECONDS = 0.1
_SMOOTH_MS = 100.0
# Tones in faint noise: they stand out for a network of pitch as well as for one of loudness. No whole number of their
# periods is a usual frame.
_TONES_HZ = (437.3, 883.9, 1321.1)
_NOISE, _TONE = 0.001, 0.1
# On a scale on which the typical frame is 0 and the middle of the first burst 1: what counts as part of a burst, and
# what frames elsewhere may reach, or the bursts do not stand out.
_PART, _NOISE_LIMIT = 0.2, 0.4
_TYPICAL_FRAMES = 1000


@dataclass(frozen=True)
class Measured:
    """What a clip of ``seconds`` took and gave.

    ``peak_gb``: the process's largest memory (10^9 bytes), of which ``idle_gb`` before the clip; ``gpu_gb``: the same
    on a GPU, None without; ``took_seconds``: for timestamp and scene embeddings; ``frames``, ``first_ms``, ``last_ms``,
    ``hop_ms`` (mean), ``deviation_ms`` (largest, from the mean): of the timestamps; ``drift_ms``: how much later
    than its timestamp a sound at the clip's end is found, against one at its start; None where none is found.
    """

    seconds: float
    peak_gb: float
    idle_gb: float
    gpu_gb: float | None
    took_seconds: float
    finite: bool
    frames: int
    first_ms: float
    last_ms: float
    hop_ms: float
    deviation_ms: float
    drift_ms: float | None


def measure(model: Model, device: torch.device, minutes: float, memory_gb: float) -> Measured:
    """Embed a clip of this length in a new process.

    Raises UserError where the model fails on it, the process dies, or it takes more than ``memory_gb``.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_measure_here, args=(sender, model, str(device), minutes), daemon=True)
    process.start()
    sender.close()
    try:
        while not receiver.poll(0.05):
            if (now := _memory_gb(str(process.pid))[0]) > memory_gb:
                raise UserError(f"stopped when its memory reached {now:.1f} GB, the limit is {memory_gb:g} GB")
        answer: Measured | str = receiver.recv()
    except EOFError:
        process.join()
        raise UserError(f"its process died with exit code {process.exitcode} (out of memory?)") from None
    finally:
        process.kill()
        process.join()
    if isinstance(answer, str):
        raise UserError(answer)
    return answer


def _measure_here(sender: Connection, model: Model, device: str, minutes: float) -> None:
    try:
        sender.send(_measured(Encoder(model, device), minutes))
    except Exception as error:
        text = str(error).strip().splitlines() or [""]
        sender.send(text[0] if isinstance(error, UserError) else f"{type(error).__name__}: {text[0]}")


def _measured(encoder: Encoder, minutes: float) -> Measured:
    audio, centres_ms = burst_clip(minutes * 60, encoder.sample_rate)
    encoder.scene(audio[:, : encoder.sample_rate])  # what frameworks load when they are first used
    idle = _memory_gb()[1]
    started = time.perf_counter()
    embeddings, times = encoder.timestamps(audio)
    scene = encoder.scene(audio)
    took = time.perf_counter() - started
    peak = _memory_gb()[1]
    cuda = encoder.device.type == "cuda"
    finite = bool(np.isfinite(scene).all() and np.isfinite(embeddings).all())
    hops = np.diff(times[0]) if times.shape[1] > 1 else np.zeros(1)
    return Measured(
        seconds=audio.shape[1] / encoder.sample_rate,
        peak_gb=peak,
        idle_gb=idle,
        gpu_gb=torch.cuda.max_memory_allocated() / GB if cuda else None,
        took_seconds=took,
        finite=finite,
        frames=times.shape[1],
        first_ms=float(times[0, 0]),
        last_ms=float(times[0, -1]),
        hop_ms=float(hops.mean()),
        deviation_ms=float(np.abs(hops - hops.mean()).max()),
        drift_ms=drift_ms(embeddings[0], times[0], centres_ms) if finite else None,
    )


def burst_clip(seconds: float, sample_rate: int) -> tuple[np.ndarray, tuple[float, float]]:
    """A clip of faint noise with the same burst of tones near its start and near its end.

    Returns float32 (1, samples) and the bursts' centres in milliseconds.
    """
    random = np.random.default_rng(0)
    audio = random.standard_normal((1, round(seconds * sample_rate)), dtype=np.float32) * np.float32(_NOISE)
    size = round(min(BURST_SECONDS, seconds / 10) * sample_rate)
    time = np.arange(size)[:, None] / sample_rate
    burst = np.sin(2 * np.pi * time * _TONES_HZ).sum(axis=1) * np.hanning(size) * _TONE
    # Apart by a whole number of any usual hop, so that frames cut both bursts alike.
    grid = max(1, round(_GRID_SECONDS * sample_rate))
    starts = 2 * size, 2 * size + (audio.shape[1] - 5 * size) // grid * grid
    for start in starts:
        audio[0, start : start + size] += burst.astype(np.float32)
    early, late = ((start + (size - 1) / 2) * 1000 / sample_rate for start in starts)
    return audio, (early, late)


def drift_ms(embeddings: np.ndarray, times_ms: np.ndarray, centres_ms: tuple[float, float]) -> float | None:
    """How much later the second burst is found than the first, each against where it is; None: not found.

    A burst is found at the centroid of its frames, which are those whose embeddings lie from the clip's typical one
    in the direction in which the first burst's do.

    Args:
        embeddings: float32 (frames, dim).
        times_ms: float64 (frames,).
        centres_ms: of the two bursts.
    """
    width = min(BURST_SECONDS * 1000, centres_ms[0] / 2)
    some = embeddings[:: max(1, len(embeddings) // _TYPICAL_FRAMES)]
    typical = np.median(some, axis=0)
    middle = np.abs(times_ms - centres_ms[0]) <= width / 4
    if middle.sum() < 1 or len(times_ms) < 2:
        return None
    direction = embeddings[middle].mean(axis=0) - typical
    scale = float(direction @ direction)
    if not scale > 0 or not np.isfinite(scale):
        return None
    # Smoothed, since embeddings of noise vary from frame to frame.
    hop_ms = float(times_ms[-1] - times_ms[0]) / (len(times_ms) - 1)
    frames = 2 * round(_SMOOTH_MS / hop_ms / 2) + 1
    score = np.convolve((embeddings - typical) @ direction / scale, np.full(frames, 1 / frames), mode="same")
    elsewhere = np.min([np.abs(times_ms - centre) for centre in centres_ms], axis=0) > 1.5 * width
    noise = float(np.quantile(np.abs(score[elsewhere]), 0.99)) if elsewhere.any() else 0.0
    if noise > _NOISE_LIMIT:
        return None
    weight = np.clip(score - max(_PART, noise), 0, None)
    found = []
    for centre in centres_ms:
        near = np.abs(times_ms - centre) <= 1.5 * width
        if not weight[near].any():
            return None
        found.append(float((weight[near] * times_ms[near]).sum() / weight[near].sum()))
    return (found[1] - centres_ms[1]) - (found[0] - centres_ms[0])


def _memory_gb(process: str = "self") -> tuple[float, float]:
    """Resident memory of a process now, and its largest; zeros for another process where there is no /proc."""
    try:
        lines = Path(f"/proc/{process}/status").read_text(encoding="ascii", errors="replace").splitlines()
        sizes = {line.split(":")[0]: line.split()[1] for line in lines if line.startswith(("VmRSS", "VmHWM"))}
        return int(sizes["VmRSS"]) * 1024 / GB, int(sizes["VmHWM"]) * 1024 / GB
    except (OSError, KeyError):
        if process != "self":
            return 0.0, 0.0
        import resource  # not on Windows
        import sys

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / GB
        return peak, peak
