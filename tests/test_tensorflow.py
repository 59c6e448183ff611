"""A small tf.Module goes through all that a torch.nn.Module does. Needs the extra 'tensorflow'."""

import numpy as np
import pytest
import torch

tensorflow = pytest.importorskip("tensorflow")

from tiny import write_task  # noqa: E402

from hear_exp.embeddings.backend import backend_of, is_out_of_memory  # noqa: E402
from hear_exp.embeddings.embed import embed_task  # noqa: E402
from hear_exp.embeddings.encoder import Encoder, Model  # noqa: E402
from hear_exp.errors import UserError  # noqa: E402
from hear_exp.tasks.folder import read_task  # noqa: E402
from hear_exp.validate.checks import Subject, run_checks  # noqa: E402
from hear_exp.validate.conduct import CHECKS  # noqa: E402

pytestmark = pytest.mark.slow

MODEL = Model("tiny_tf", "tiny_tf_model")
AUDIO = np.random.default_rng(0).normal(0, 0.1, (3, 8000)).astype(np.float32)


def by_numpy(audio, scale=1.0):
    """What the tiny module computes: float32 (clips, frames, 8)."""
    weight = np.sin(np.arange(6400, dtype=np.float32)).reshape(800, 8) * scale
    padded = np.pad(audio, ((0, 0), (400, 400)))
    frames = np.stack([padded[:, i : i + 800] for i in range(0, padded.shape[1] - 799, 800)], axis=1)
    return np.abs(frames @ weight)


def test_embeds():
    encoder = Encoder(MODEL)
    assert (encoder.sample_rate, encoder.dim("scene"), encoder.dim("event")) == (16000, 8, 8)
    scene = encoder.scene(AUDIO)
    assert (scene.shape, scene.dtype) == ((3, 8), np.float32)
    np.testing.assert_allclose(scene, by_numpy(AUDIO).mean(1), rtol=1e-3, atol=1e-3)
    embeddings, times = encoder.timestamps(AUDIO)
    assert embeddings.dtype == np.float32
    np.testing.assert_allclose(embeddings, by_numpy(AUDIO), rtol=1e-3, atol=1e-3)
    assert times.dtype == np.float64
    assert times.tolist() == [[50.0 * i for i in range(11)]] * 3
    scene[0] = 0  # arrays of our own, not TensorFlow's memory


def test_options_weights_and_identity(tmp_path):
    weights = tmp_path / "w.txt"
    weights.write_text("2.0")
    loaded = Encoder(Model("tiny_tf", "tiny_tf_model", str(weights)))
    np.testing.assert_allclose(loaded.scene(AUDIO), by_numpy(AUDIO, 2.0).mean(1), rtol=1e-3, atol=1e-3)
    scaled = Encoder(Model("tiny_tf", "tiny_tf_model", options={"scale": 2.0}))
    assert np.array_equal(scaled.scene(AUDIO), loaded.scene(AUDIO))
    assert len({str(encoder.identity) for encoder in (Encoder(MODEL), loaded, scaled)}) == 3


@pytest.mark.parametrize("kind", ["multiclass", "events"])
def test_a_task_is_embedded_and_too_large_batches_are_halved(tmp_path, monkeypatch, kind):
    task = read_task(write_task(tmp_path / "task", kind, clips=6, rate=16000))
    whole = embed_task(task, Encoder(MODEL), tmp_path / "whole")
    monkeypatch.setenv("TINY_MEMORY", "2")
    halved = embed_task(task, Encoder(MODEL), tmp_path / "halved")
    np.testing.assert_allclose(halved.embeddings.array(), whole.embeddings.array(), rtol=1e-4, atol=1e-5)
    monkeypatch.setenv("TINY_MEMORY", "0")
    with pytest.raises(UserError, match="memory ran out on a single clip"):
        embed_task(task, Encoder(MODEL), tmp_path / "none")


def test_a_model_that_depends_on_the_batch_is_doubted(tmp_path, monkeypatch):
    task = read_task(write_task(tmp_path / "task", clips=6, rate=16000))
    assert embed_task(task, Encoder(MODEL), tmp_path / "good").doubts == ()
    encoder = Encoder(MODEL)
    original = encoder._module.get_scene_embeddings

    def odd(audio, model):
        embeddings = tensorflow.cast(original(audio, model), tensorflow.float64)
        return embeddings - tensorflow.reduce_mean(embeddings)

    monkeypatch.setattr(encoder._module, "get_scene_embeddings", odd)
    alone, dtype = embed_task(task, encoder, tmp_path / "odd").doubts
    assert "depend on the other clips of a batch" in alone
    assert "get_scene_embeddings returns float64, expected float32" in dtype


def test_memory_errors():
    assert is_out_of_memory(tensorflow.errors.ResourceExhaustedError(None, None, "OOM"))
    assert not is_out_of_memory(tensorflow.errors.InvalidArgumentError(None, None, "shape"))


def test_what_is_not_a_module(monkeypatch):

    with pytest.raises(UserError, match=r"load_model returned int, expected a torch.nn.Module or a tf.Module"):
        backend_of(5, torch.device("cpu"))
    module = __import__("tiny_tf_model")
    monkeypatch.setattr(module, "get_scene_embeddings", lambda audio, model: audio.numpy())
    with pytest.raises(UserError, match=r"get_scene_embeddings returned ndarray, expected a tf.Tensor"):
        Encoder(MODEL).scene(AUDIO)


def test_keras_models_are_modules():

    model = tensorflow.keras.Sequential([tensorflow.keras.layers.Dense(2)])
    assert backend_of(model, torch.device("cpu")).module_class == "tf.Module"


def test_validator_passes_it():
    found = list(run_checks(Subject(MODEL, long_minutes=0.2), CHECKS))
    assert {f.check: f.reason for f in found if f.status not in ("pass", "skipped")} == {}
    assert next(f for f in found if f.check == "eval mode").reason == "TensorFlow knows no eval mode"
