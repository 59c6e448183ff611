"""A HEAR API module for tests: energies of a few frequency bands, every 50 ms.

Misbehaves on request. What changes the embeddings is an option of load_model and so belongs to the cache key;
what only makes trouble comes from the environment, so that a run with trouble resumes one without:

    TINY_LOG     file that gets a line with the number of clips for each call
    TINY_DELAY   seconds that each call takes
    TINY_MEMORY  clips that fit into memory
    TINY_ERROR   which error says that they do not: torch (default) or numpy's way of saying it
    TINY_NAN     clips louder than this have a NaN somewhere
"""

import os
import time
from pathlib import Path

import torch

HOP_MS = 50.0


class TinyModel(torch.nn.Module):
    def __init__(self, dim: int, sample_rate: int, noise: float):
        super().__init__()
        self.sample_rate = sample_rate
        self.scene_embedding_size = self.timestamp_embedding_size = dim
        self.scale = torch.nn.Parameter(torch.ones(dim))  # asks for gradients unless they are switched off
        self.dropout = torch.nn.Dropout(noise)  # makes every embedding another one unless in eval mode

    def frames(self, clip: torch.Tensor) -> torch.Tensor:
        """(frames, dim) of one clip (samples,)."""
        size = round(self.sample_rate * HOP_MS / 1000)
        clip = torch.nn.functional.pad(clip, (0, max(0, size - len(clip))))
        spectrum = torch.fft.rfft(clip.unfold(0, size, size)).abs()[:, 1:]
        bands = torch.nn.functional.adaptive_avg_pool1d(spectrum, self.scene_embedding_size)
        return self.dropout(torch.log1p(bands) * self.scale)


def load_model(model_file_path: str = "", dim: int = 16, sample_rate: int = 8000, noise: float = 0.5) -> TinyModel:
    model = TinyModel(dim, sample_rate, noise)
    if model_file_path:
        with torch.no_grad():
            model.scale.fill_(float(Path(model_file_path).read_text()))
    return model


def get_scene_embeddings(audio: torch.Tensor, model: TinyModel) -> torch.Tensor:
    return _trouble(audio, torch.stack([frames.mean(0) for frames in _frames(audio, model)]))


def get_timestamp_embeddings(audio: torch.Tensor, model: TinyModel) -> tuple[torch.Tensor, torch.Tensor]:
    embeddings = _trouble(audio, torch.stack(list(_frames(audio, model))))
    centres = (torch.arange(embeddings.shape[1], dtype=torch.float64) + 0.5) * HOP_MS
    return embeddings, centres.expand(len(audio), -1)


def _frames(audio: torch.Tensor, model: TinyModel) -> list[torch.Tensor]:
    # Clip by clip, so that a clip's embedding has the same bits in every batch.
    return [model.frames(clip) for clip in audio]


def _trouble(audio: torch.Tensor, embeddings: torch.Tensor) -> torch.Tensor:
    clips = len(audio)
    if log := os.environ.get("TINY_LOG"):
        with open(log, "a") as file:
            file.write(f"{clips}\n")
    time.sleep(float(os.environ.get("TINY_DELAY", "0")))
    if clips > int(os.environ.get("TINY_MEMORY", "1000000")):
        if os.environ.get("TINY_ERROR", "torch") == "torch":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 byte")
    if loud := os.environ.get("TINY_NAN"):
        embeddings[audio.abs().amax(dim=1) > float(loud), ..., 0] = float("nan")
    return embeddings
