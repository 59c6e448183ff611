"""Audio of a task's clips: cut, brought to one length, mixed down, resampled, written as 16-bit wav."""

from __future__ import annotations

import hashlib
import math
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

from ..errors import UserError
from ..tasks.audio import parallel
from .recordings import Recording
from .rows import Skips

_MARGIN_S = 0.1  # read beyond a cut, so that the resampler meets the recording there and not silence
_PERCENTILE = 95
LOWEST_RATE, HIGHEST_RATE = 100, 768000  # hertz; beyond them a header is wrong
_BLOCK_FRAMES = 1 << 20  # read at a time: a header may promise more than any memory holds


@dataclass(frozen=True)
class Cut:
    """The stretch of a recording that becomes a clip: ``frames`` samples from ``first``, at ``sample_rate`` hertz."""

    recording: Recording
    sample_rate: int
    channels: int
    format: str  # libsndfile's names: "WAV", "PCM_16"
    subtype: str
    whole: bool  # the stretch is the file
    first: int
    frames: int

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return self.frames / self.sample_rate


@dataclass(frozen=True)
class Written:
    """What became of a clip: its length in seconds, its largest sample before 16 bits, a digest of its sound."""

    seconds: float
    peak: float
    digest: bytes


@dataclass(frozen=True)
class Header:
    """What an audio file says of itself: ``frames`` samples in each channel, at ``sample_rate`` hertz."""

    frames: int
    sample_rate: int
    channels: int
    format: str
    subtype: str

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return self.frames / self.sample_rate


def read_headers(paths: Iterable[Path]) -> dict[Path, Header | str]:
    """The header of each file, or what is wrong with it."""
    distinct = list(dict.fromkeys(paths))
    return dict(zip(distinct, parallel(_header, distinct), strict=True))


def _header(path: Path) -> Header | str:
    try:
        info = soundfile.info(str(path))
    except (soundfile.LibsndfileError, RuntimeError, OSError, ValueError) as error:
        return f"not readable as audio: {str(error).rstrip('.')}"
    if info.frames <= 0:
        return "no samples in it"
    if not LOWEST_RATE <= info.samplerate <= HIGHEST_RATE:
        return f"a sample rate of {info.samplerate} Hz, expected {LOWEST_RATE} to {HIGHEST_RATE}"
    return Header(info.frames, info.samplerate, info.channels, info.format, info.subtype)


def cut_recordings(
    recordings: Sequence[Recording], headers: Mapping[Path, Header | str], skips: Skips, say: Callable[[str], None]
) -> list[Cut]:
    """The stretches that become clips, by the headers of their files; excerpts end where their file ends.

    Raises UserError, unless they may be skipped, for files that cannot be read, that hold no samples, and for
    excerpts that begin after their file's end.
    """
    results = [_cut(recording, headers[recording.path]) for recording in recordings]
    skips.leave_out("recordings cannot be used", [r for r in results if isinstance(r, str)], len(results))
    cuts = [result for result in results if isinstance(result, Cut)]
    over = [cut for cut in cuts if (end := cut.recording.end_ms) is not None and end / 1000 > _end_s(cut) + 1e-3]
    if over:
        say(f"{len(over)} excerpts end after their recording does (the first: {over[0].recording.where}); cut there")
    if mixed := sum(cut.channels > 1 for cut in cuts):
        say(f"{mixed} of {len(cuts)} recordings have more than one channel; the channels are averaged")
    return cuts


def _cut(recording: Recording, header: Header | str) -> Cut | str:
    """The cut, or what is wrong with the recording."""
    where = f"{recording.where}: {recording.path}" if recording.where != str(recording.path) else str(recording.path)
    if isinstance(header, str):
        return f"{where}: {header}"
    first = round(recording.start_ms * header.sample_rate / 1000)
    end = header.frames
    if recording.end_ms is not None:
        end = min(end, round(recording.end_ms * header.sample_rate / 1000))
    if first >= end:
        return (
            f"{where}: no sound from {recording.start_ms:g} to {recording.end_ms or 0:g} ms in its "
            f"{header.seconds:.3f} s"
        )
    whole = first == 0 and end == header.frames
    return Cut(recording, header.sample_rate, header.channels, header.format, header.subtype, whole, first, end - first)


def _end_s(cut: Cut) -> float:
    return (cut.first + cut.frames) / cut.sample_rate


def choose_length(cuts: Sequence[Cut], wanted: str | float, say: Callable[[str], None]) -> float | None:
    """Seconds that every clip will have, or None where they keep their lengths.

    ``wanted``: seconds; keep; max; or auto, the 95th percentile of the lengths (the length of a real clip, so that
    clips that agree stay as they are).
    """
    lengths = np.array([cut.seconds for cut in cuts])
    if wanted == "keep":
        return None
    if wanted == "auto":
        length = float(np.percentile(lengths, _PERCENTILE, method="inverted_cdf"))
        source = f"{_PERCENTILE}% of the clips are no longer"
    elif wanted == "max":
        length, source = float(lengths.max()), "the longest one's"
    else:
        length, source = float(wanted), "as asked"
    # Half a sample: lengths at different rates never agree to the last digit.
    tolerance = 0.5 / min(cut.sample_rate for cut in cuts)
    longer, shorter = int((lengths > length + tolerance).sum()), int((lengths < length - tolerance).sum())
    changes = [f"{longer} longer ones lose their end"] if longer else []
    changes += [f"{shorter} shorter ones end in silence"] if shorter else []
    say(f"length of a clip: {length:g} s, {source}; {' and '.join(changes) or 'all have it already'}")
    return length


def choose_rates(cuts: Sequence[Cut], wanted: Sequence[int], say: Callable[[str], None]) -> tuple[int, ...]:
    """The sample rates to write: the wanted ones, else the one that most recordings have (of several the highest)."""
    counts = Counter(cut.sample_rate for cut in cuts)
    rates = tuple(sorted(wanted)) or (max(counts, key=lambda rate: (counts[rate], rate)),)
    if not wanted and len(counts) > 1:
        found = ", ".join(f"{count} at {rate} Hz" for rate, count in sorted(counts.items()))
        say(
            f"the recordings differ in sample rate ({found}); all are written at {rates[0]} Hz (or choose: rates=[...])"
        )
    if poor := sum(cut.sample_rate < rates[-1] for cut in cuts):
        say(
            f"{poor} of {len(cuts)} recordings have a lower sample rate than {rates[-1]} Hz, which adds nothing to them"
        )
    return rates


def write_clip(cut: Cut, paths: dict[int, Path], length_s: float | None, scale_peaks: bool) -> Written:
    """Write a clip at each rate of ``paths``: mono, 16 bits, ``length_s`` seconds (None: as long as it is).

    A mono 16-bit wav file of the right rate and length is copied byte for byte. Samples beyond 16 bits are clipped to
    the largest value there is, or with ``scale_peaks`` the clip is made as loud as fits, the same at all rates.

    Raises UserError for audio that breaks off or holds NaN or infinite samples, OSError where it cannot write.
    """
    mono = _read(cut, length_s)
    clips = {rate: _at_rate(mono, cut, rate, length_s) for rate in paths}
    peak = max(float(np.abs(clip).max()) for clip in clips.values())
    gain = 32767 / 32768 / peak if scale_peaks and peak > 1 else 1.0
    digest = b""
    for rate, path in paths.items():
        pcm = to_16_bits(clips[rate] * np.float32(gain))
        digest = digest or hashlib.blake2b(pcm.tobytes(), digest_size=16).digest()
        if _is_copy(cut, rate, len(pcm)):
            shutil.copyfile(cut.recording.path, path)
        else:
            _write_wav(path, pcm, rate)
    return Written(len(clips[min(paths)]) / min(paths), peak, digest)


def to_16_bits(samples: np.ndarray) -> np.ndarray:
    """Samples in [-1, 1] as int16; what lies beyond gets the nearest value, and never wraps around."""
    return np.clip(np.round(samples * 32768.0), -32768, 32767).astype(np.int16)


def _write_wav(path: Path, pcm: np.ndarray, rate: int) -> None:
    try:
        soundfile.write(path, pcm, rate, subtype="PCM_16", format="WAV")
    except soundfile.LibsndfileError as error:
        raise OSError(str(error)) from error  # a full disk is no fault of the recording


def _is_copy(cut: Cut, rate: int, frames: int) -> bool:
    same = cut.whole and cut.sample_rate == rate and cut.frames == frames
    return same and (cut.format, cut.subtype, cut.channels) == ("WAV", "PCM_16", 1)


def _read(cut: Cut, length_s: float | None) -> np.ndarray:
    """The stretch and a little more, as much of it as the clip needs: float32 (samples,), mono."""
    path, margin = cut.recording.path, round(_MARGIN_S * cut.sample_rate)
    frames = cut.frames if length_s is None else min(cut.frames, math.ceil(length_s * cut.sample_rate))
    try:
        with soundfile.SoundFile(str(path)) as file:
            file.seek(cut.first)
            samples = _read_blocks(file, frames + margin)
    except (soundfile.LibsndfileError, RuntimeError, OSError, MemoryError) as error:
        raise UserError(f"cannot read audio: {path}: {error}") from error
    # The header of an mp3 file may only estimate the length.
    if not len(samples) or (len(samples) < frames and "MP" not in cut.format):
        raise UserError(
            f"cannot read audio: {path} breaks off after {len(samples)} samples, its header says {cut.frames}"
        )
    mono = samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1)
    if not np.isfinite(mono).all():
        raise UserError(f"{path}: the audio holds NaN or infinite samples")
    return np.ascontiguousarray(mono)


def _read_blocks(file: soundfile.SoundFile, frames: int) -> np.ndarray:
    """At most ``frames`` samples from where the file stands: float32 (samples, channels)."""
    blocks, missing = [], frames
    while missing > 0:
        block = file.read(min(missing, _BLOCK_FRAMES), dtype="float32", always_2d=True)
        blocks.append(block)
        missing -= len(block)
        if not len(block):
            break
    return np.concatenate(blocks)


def _at_rate(mono: np.ndarray, cut: Cut, rate: int, length_s: float | None) -> np.ndarray:
    """``mono`` at ``rate``, without the margin, at the clip's length: float32 (samples,)."""
    own = max(round(min(cut.frames, len(mono)) * rate / cut.sample_rate), 1)
    if rate != cut.sample_rate:
        mono = soxr.resample(mono, cut.sample_rate, rate, quality="HQ")
    length = own if length_s is None else max(round(length_s * rate), 1)
    kept = mono[: min(own, length)]
    return np.concatenate([kept, np.zeros(length - len(kept), dtype=np.float32)]) if len(kept) < length else kept
