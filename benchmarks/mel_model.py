"""A tiny HEAR model for benchmarks: 64 log-mel bands, 16 kHz, a frame each 100 ms; scenes are mean and deviation."""

import torch

from hear_exp.models._mel import mel_filterbank

__version__ = "1"

RATE, WINDOW, HOP, BANDS = 16000, 2048, 1600, 64


class Mel(torch.nn.Module):
    sample_rate = RATE
    scene_embedding_size = 2 * BANDS
    timestamp_embedding_size = BANDS

    def __init__(self):
        super().__init__()
        self.register_buffer("mel", torch.from_numpy(mel_filterbank(RATE, WINDOW, BANDS)).T)
        self.register_buffer("window", torch.hann_window(WINDOW))

    def forward(self, audio):
        padded = torch.nn.functional.pad(audio, (WINDOW // 2, WINDOW // 2))
        power = torch.fft.rfft(padded.unfold(1, WINDOW, HOP) * self.window).abs().square()
        return torch.log(power @ self.mel + 1e-6)


def load_model(model_file_path=""):
    return Mel()


def get_timestamp_embeddings(audio, model):
    frames = model(audio)
    times_ms = torch.arange(frames.shape[1], dtype=torch.float64) * HOP * 1000 / RATE
    return frames, times_ms.expand(len(audio), -1)


def get_scene_embeddings(audio, model):
    frames = model(audio)
    return torch.cat([frames.mean(dim=1), frames.std(dim=1, correction=0)], dim=1)
