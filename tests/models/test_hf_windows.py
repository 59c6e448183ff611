"""Long clips in windows, whisper's encoder and AST: tiny random networks, saved to a folder; no network."""

import json

import numpy as np
import pytest
import torch
from tiny_checkpoint import save

from hear_exp.errors import UserError
from hear_exp.models import hf_audio
from hear_exp.models._hf_checkpoint import require_transformers
from hear_exp.models._hf_windows import windows

transformers = pytest.importorskip("transformers")
require_transformers()

SIZES = {"num_hidden_layers": 2, "num_attention_heads": 2}


def noise(clips, samples):
    """Clips of noise, each louder than the one before: float32 (clips, samples)."""
    audio = torch.rand(clips, samples, generator=torch.Generator().manual_seed(1)) * 2 - 1
    return audio * torch.linspace(0.1, 0.9, clips)[:, None]


def embed(audio, model):
    return hf_audio.get_timestamp_embeddings(audio, model)


def load(folder, **options):
    return hf_audio.load_model(folder, **{"context_seconds": 0.2, **options})


# Windows ----------------------------------------------------------------------------------------------------


def test_windows_by_hand():
    assert list(windows(10, 6, 1)) == [(0, 0, 5), (4, 5, 10)]
    assert list(windows(11, 6, 1)) == [(0, 0, 5), (4, 5, 9), (5, 9, 11)]
    assert list(windows(7, 3, 0)) == [(0, 0, 3), (3, 3, 6), (4, 6, 7)]


@pytest.mark.parametrize("window", [5, 8])
@pytest.mark.parametrize("context", [0, 1, 2])
def test_every_frame_is_kept_once_with_its_context(window, context):
    for count in range(window + 1, 40):
        kept = []
        for first, start, end in windows(count, window, context):
            assert 0 <= first <= start < end <= first + window <= count
            assert start - first >= context or first == start == 0
            assert first + window - end >= context or end == count
            kept += range(start, end)
        assert kept == list(range(count))


# Waveform ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """A checkpoint whose layer 0 sees a few frames only: convolutions without a norm over time."""
    return save(tmp_path_factory.mktemp("local"), feat_extract_norm="layer")


@pytest.mark.parametrize("samples", [48000, 50321, 64079])
def test_windows_change_nothing_that_is_local(local, samples):
    audio = noise(2, samples)
    whole = hf_audio.load_model(local, layer=0)
    pieces = hf_audio.load_model(local, layer=0, chunk_seconds=1, context_seconds=0.2)
    assert (whole.window, pieces.window, pieces.context) == (1500, 50, 10)
    (expected, times), (mine, my_times) = embed(audio, whole), embed(audio, pieces)
    torch.testing.assert_close(mine, expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(my_times, times)
    scene = hf_audio.get_scene_embeddings(audio, pieces)
    torch.testing.assert_close(scene, expected.mean(1), rtol=1e-4, atol=1e-5)


def test_a_deep_layer_has_the_same_frames(local):
    audio = noise(1, 16000 * 4 + 77)
    whole, pieces = hf_audio.load_model(local), hf_audio.load_model(local, chunk_seconds=1, context_seconds=0.2)
    (expected, times), (mine, my_times) = embed(audio, whole), embed(audio, pieces)
    assert mine.shape == expected.shape
    assert torch.equal(my_times, times)
    assert not torch.equal(mine, expected)  # attention does look further than a window


@pytest.mark.slow
def test_the_network_never_sees_more_than_a_chunk(local):
    model = hf_audio.load_model(local, chunk_seconds=1, context_seconds=0.2)
    seen = []
    model.network.register_forward_pre_hook(lambda network, inputs: seen.append(inputs[0].shape))
    embed(noise(2, 16000 * 20), model)
    assert max(samples for _, samples in seen) == 400 + 49 * 320
    seen.clear()
    embed(noise(600, 8000), model)
    assert [clips for clips, _ in seen] == [500, 100]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"chunk_seconds": 0}, "chunk_seconds must be at least a frame of 320 samples, got 0"),
        ({"chunk_seconds": 8}, r"context_seconds must be at least 0 and less than half of the 8 s .* got 5\.0"),
        ({"context_seconds": -1}, "context_seconds must be at least 0"),
    ],
)
def test_wrong_windows(local, options, message):
    with pytest.raises(UserError, match=message):
        hf_audio.load_model(local, **options)


# Whisper ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whisper(tmp_path_factory):
    """A whisper of 3 s instead of 30 s."""
    folder = tmp_path_factory.mktemp("whisper")
    torch.manual_seed(0)
    config = transformers.WhisperConfig(
        d_model=16,
        encoder_layers=2,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        vocab_size=20,
        max_source_positions=150,
        **dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id"), 1),
    )
    transformers.WhisperForConditionalGeneration(config).save_pretrained(folder)
    transformers.WhisperFeatureExtractor(chunk_length=3).save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize(("samples", "frames"), [(1, 1), (320, 1), (321, 2), (16000, 50), (48000, 150), (48001, 151)])
def test_whisper_frames_are_those_inside_the_clip(whisper, samples, frames):
    embeddings, times = embed(noise(2, samples), load(whisper))
    assert embeddings.shape == (2, frames, 16)
    assert times.tolist() == [[20.0 * i for i in range(frames)]] * 2


def test_whisper_is_transformers_encoder(whisper):
    audio = noise(2, 16000)
    network = transformers.WhisperModel.from_pretrained(whisper).eval()
    extractor = transformers.WhisperFeatureExtractor.from_pretrained(whisper)
    features = extractor(list(audio.numpy()), sampling_rate=16000, return_tensors="pt").input_features
    with torch.no_grad():
        expected = network.encoder(features, output_hidden_states=True)
    model = load(whisper)
    assert not hasattr(model.network, "decoder")
    assert torch.equal(embed(audio, model)[0], expected.last_hidden_state[:, :50])
    first = embed(audio, load(whisper, layer=1))[0]
    assert torch.equal(first, expected.hidden_states[1][:, :50])


def test_whisper_timestamps_are_where_the_sound_is(whisper):
    """A click moves the input of the transformer most in the frame that is centred on it."""
    model = load(whisper, layer=0, context_seconds=0.5)
    for milliseconds in (200, 2500, 6040, 7980):
        quiet = noise(1, 16000 * 9) * 1e-3
        click = quiet.clone()
        click[0, 16 * milliseconds] += 0.05
        (before, times), (after, _) = embed(quiet, model), embed(click, model)
        change = (after - before).norm(dim=-1)[0]
        assert abs(float(times[0, change.argmax()]) - milliseconds) <= 20


# Audio Spectrogram Transformer ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ast(tmp_path_factory):
    """An AST of 1.28 s instead of 10.24 s: 12 frames."""
    folder = tmp_path_factory.mktemp("ast")
    torch.manual_seed(0)
    config = transformers.ASTConfig(hidden_size=16, intermediate_size=32, max_length=128, **SIZES)
    transformers.ASTForAudioClassification(config).save_pretrained(folder)
    settings = {"feature_extractor_type": "ASTFeatureExtractor", "max_length": 128, "mean": -4.0, "std": 4.5}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    return str(folder)


@pytest.mark.parametrize(("samples", "frames"), [(1, 1), (1400, 1), (3000, 1), (3001, 2), (16000, 10), (32000, 20)])
def test_ast_frames_are_those_inside_the_clip(ast, samples, frames):
    embeddings, times = embed(noise(2, samples), load(ast))
    assert embeddings.shape == (2, frames, 16)
    expected = [min(87.5 + 100 * i, samples / 16) for i in range(frames)]  # a patch: 400 + 15 * 160 samples
    assert times[0].tolist() == expected


def test_ast_spectrogram_is_kaldis(ast):
    """As transformers computes it without torchaudio, which is what AST's feature extractor does."""
    from transformers.audio_utils import spectrogram, window_function

    audio = noise(1, 5000)
    model = load(ast)
    expected = spectrogram(
        audio[0].numpy(),
        window_function(400, "hann", periodic=False),
        frame_length=400,
        hop_length=160,
        fft_length=512,
        power=2.0,
        center=False,
        preemphasis=0.97,
        mel_filters=model.filters.numpy(),
        log_mel="log",
        mel_floor=1.192092955078125e-07,
        remove_dc_offset=True,
    ).T
    assert expected.shape == (29, 128)
    np.testing.assert_allclose(model.spectrogram(audio)[0].numpy(), expected, atol=2e-3)


def test_ast_is_transformers_network(ast):
    audio = noise(2, 16000)
    model = load(ast)
    spectrogram = torch.nn.functional.pad(model.spectrogram(audio), (0, 0, 0, 128 - 98))
    network = transformers.ASTModel.from_pretrained(ast).eval()
    with torch.no_grad():
        tokens = network((spectrogram + 4.0) / 9.0, output_hidden_states=True)
    frames = tokens.last_hidden_state[:, 2:].reshape(2, 12, 12, 16).mean(1)
    torch.testing.assert_close(embed(audio, model)[0], frames[:, :10])
    layer = tokens.hidden_states[1][:, 2:].reshape(2, 12, 12, 16).mean(1)
    torch.testing.assert_close(embed(audio, load(ast, layer=1))[0], layer[:, :10])


@pytest.mark.slow
def test_ast_timestamps_are_where_the_sound_is(ast):
    model = load(ast, layer=0)
    for milliseconds in (300, 1000, 3100, 3700):
        quiet = noise(1, 16000 * 4) * 1e-3
        loud = quiet.clone()
        loud[0, 16 * (milliseconds - 5) : 16 * (milliseconds + 5)] *= 100
        (before, times), (after, _) = embed(quiet, model), embed(loud, model)
        change = (after - before).norm(dim=-1)[0]
        assert abs(float((change * times[0]).sum() / change.sum()) - milliseconds) <= 60


# Both -------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["whisper", "ast"])
def fixed(request):
    return request.getfixturevalue(request.param)


def test_embedding_does_not_depend_on_the_batch_and_is_the_same_again(fixed):
    model = load(fixed)
    audio = torch.cat([noise(3, 60000), torch.zeros(1, 60000), torch.ones(1, 60000)])
    together = embed(audio, model)[0]
    assert together.isfinite().all()
    assert torch.equal(embed(audio, model)[0], together)
    assert torch.equal(embed(audio, model.train())[0], together)
    for i, clip in enumerate(audio):
        torch.testing.assert_close(embed(clip[None], model)[0][0], together[i], rtol=0, atol=1e-4)


def test_length_cannot_be_set(fixed):
    with pytest.raises(UserError, match=r"chunk_seconds has no effect on a .* model, whose input has a fixed length"):
        hf_audio.load_model(fixed, chunk_seconds=10)
    with pytest.raises(UserError, match="less than half of the"):
        hf_audio.load_model(fixed, context_seconds=2)


def test_whisper_with_a_feature_extractor_of_another_length(whisper, tmp_path):
    transformers.WhisperModel.from_pretrained(whisper).save_pretrained(tmp_path)
    transformers.WhisperFeatureExtractor().save_pretrained(tmp_path)
    with pytest.raises(UserError, match="makes 3000 spectrogram frames, its encoder takes 300"):
        hf_audio.load_model(str(tmp_path))
