"""Recordings and tables that the tests of prepare are made of."""

import json

import numpy as np
import soundfile

RATE = 8000


def tone(seconds, rate=RATE, hertz=440.0, level=0.3):
    return level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def record(path, audio=None, rate=RATE, **options):
    """A recording; without ``audio`` half a second of a tone that no other path has."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if audio is None:
        audio = tone(0.5, rate, 200 + sum(map(ord, str(path.name))) * 7 % 3000)
    soundfile.write(path, audio, rate, **({"subtype": "PCM_16"} if path.suffix == ".wav" else {}) | options)
    return path


def table(path, *lines):
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


def notes(task):
    return "\n".join(json.loads((task.folder / "report.json").read_text())["notes"])
