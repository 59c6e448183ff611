"""hf_audio: tiny random networks with the real front end, saved to a folder; no network."""

import importlib.util
import json
import sys

import pytest
import torch
from tiny_checkpoint import SIZES, save

from hear_exp.errors import UserError
from hear_exp.models import hf_audio
from hear_exp.models._hf_checkpoint import require_transformers

transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save(tmp_path_factory.mktemp("wav2vec2"))


@pytest.fixture(scope="module")
def clips():
    return torch.rand(3, 8000, generator=torch.Generator().manual_seed(1)) * 1.6 - 0.8


@pytest.fixture(params=["Wav2Vec2", "Hubert", "WavLM", "Data2VecAudio"])
def kind(request):
    return request.param


@pytest.mark.slow
def test_every_kind_of_network_keeps_the_hear_api(kind, tmp_path, clips):
    model = hf_audio.load_model(checkpoint=save(tmp_path, kind))
    assert (model.sample_rate, model.scene_embedding_size, model.timestamp_embedding_size) == (16000, 16, 16)
    embeddings, timestamps = hf_audio.get_timestamp_embeddings(clips, model)
    assert embeddings.shape == (3, 24, 16)
    assert embeddings.dtype == torch.float32
    assert timestamps.dtype == torch.float64
    torch.testing.assert_close(hf_audio.get_scene_embeddings(clips, model), embeddings.mean(1))
    # Dropout, masks and layer drop, which the config asks for in training, would make every call another.
    assert torch.equal(hf_audio.get_timestamp_embeddings(clips, model)[0], embeddings)
    assert torch.equal(hf_audio.get_timestamp_embeddings(clips, model.train())[0], embeddings)


@pytest.mark.slow
def test_timestamps_are_the_centres_of_the_receptive_fields(folder):
    model = hf_audio.load_model(folder)
    assert (model.receptive, model.stride) == (400, 320)
    timestamps = hf_audio.get_timestamp_embeddings(torch.zeros(2, 16000 * 60), model)[1]
    assert timestamps.shape == (2, 2999)
    expected = 12.5 + 20 * torch.arange(2999, dtype=torch.float64)
    assert torch.equal(timestamps[1], expected)


@pytest.mark.parametrize(
    ("samples", "frames"), [(1, 1), (399, 1), (400, 1), (719, 1), (720, 2), (31439, 97), (31440, 98)]
)
def test_number_of_frames_is_the_networks(folder, samples, frames):
    # A frame more for every 320 samples past the first 400; 31440 = 400 + 97 * 320.
    embeddings, timestamps = hf_audio.get_timestamp_embeddings(torch.ones(1, samples), hf_audio.load_model(folder))
    assert embeddings.shape[:2] == timestamps.shape == (1, frames)
    assert embeddings.isfinite().all()


def test_embedding_does_not_depend_on_the_other_clips(folder, clips):
    model = hf_audio.load_model(folder)
    loud = torch.cat([clips[:1], torch.sign(clips[1:]), torch.zeros(1, 8000)])
    together = hf_audio.get_timestamp_embeddings(loud, model)[0]
    for i, clip in enumerate(loud):
        alone = hf_audio.get_timestamp_embeddings(clip[None], model)[0][0]
        torch.testing.assert_close(together[i], alone, rtol=0, atol=1e-5)
    assert together.isfinite().all()


def test_waveform_is_normalised_where_the_checkpoint_asks(tmp_path, folder, clips):
    from_folder = hf_audio.load_model(folder)
    extractor = transformers.AutoFeatureExtractor.from_pretrained(folder)
    normalised = extractor(clips[0].numpy() * 0.1 + 0.2, sampling_rate=16000, return_tensors="pt").input_values
    with torch.no_grad():
        expected = from_folder.network(normalised).last_hidden_state
    mine = hf_audio.get_timestamp_embeddings(clips[:1] * 0.1 + 0.2, from_folder)[0]
    torch.testing.assert_close(mine, expected, rtol=1e-4, atol=1e-5)
    raw = hf_audio.load_model(save(tmp_path, do_normalize=False))
    with torch.no_grad():
        expected = raw.network(clips[:1]).last_hidden_state
    torch.testing.assert_close(hf_audio.get_timestamp_embeddings(clips[:1], raw)[0], expected, rtol=1e-4, atol=1e-5)


def test_layer_picks_hidden_states(folder, clips):
    last = hf_audio.load_model(folder)
    with torch.no_grad():
        x = (clips - clips.mean(1, keepdim=True)) / clips.std(1, correction=0, keepdim=True)
        hidden = last.network(x, output_hidden_states=True).hidden_states
    assert len(hidden) == SIZES["num_hidden_layers"] + 1
    for layer in range(4):
        mine = hf_audio.get_timestamp_embeddings(clips, hf_audio.load_model(folder, layer=layer))[0]
        torch.testing.assert_close(mine, hidden[layer], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(hf_audio.get_timestamp_embeddings(clips, last)[0], hidden[3], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layer", [4, -1, 1.0, "last"])
def test_layer_out_of_range(folder, layer):
    with pytest.raises(UserError, match=r"layer must be a whole number from 0 .* to 3 .*has 3 layers; got"):
        hf_audio.load_model(folder, layer=layer)


def test_weights_are_loaded_in_float32(tmp_path, clips):
    save(tmp_path)
    network = transformers.Wav2Vec2Model.from_pretrained(tmp_path).half()
    network.save_pretrained(tmp_path)
    model = hf_audio.load_model(str(tmp_path))
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert hf_audio.get_scene_embeddings(clips, model).dtype == torch.float32


def test_weights_of_a_pretraining_checkpoint_are_found(tmp_path, clips):
    torch.manual_seed(0)
    whole = transformers.Wav2Vec2ForPreTraining(transformers.Wav2Vec2Config(**SIZES)).eval()
    whole.save_pretrained(tmp_path)
    transformers.Wav2Vec2FeatureExtractor(do_normalize=False).save_pretrained(tmp_path)
    with torch.no_grad():
        expected = whole.wav2vec2(clips).last_hidden_state
    mine = hf_audio.get_timestamp_embeddings(clips, hf_audio.load_model(str(tmp_path)))[0]
    torch.testing.assert_close(mine, expected)


def test_weights_under_their_older_names_are_found(tmp_path, folder, clips):
    """Most published checkpoints are a pytorch_model.bin and name the positional convolution's weights so."""
    from safetensors.torch import load_file

    save(tmp_path)
    prefix = "encoder.pos_conv_embed.conv."
    state = load_file(tmp_path / "model.safetensors")
    state[prefix + "weight_g"] = state.pop(prefix + "parametrizations.weight.original0")
    state[prefix + "weight_v"] = state.pop(prefix + "parametrizations.weight.original1")
    del state["masked_spec_embed"]
    (tmp_path / "model.safetensors").unlink()
    torch.save({f"wav2vec2.{name}": value for name, value in state.items()}, tmp_path / "pytorch_model.bin")
    assert hf_audio.weights_files(str(tmp_path))[2].name == "pytorch_model.bin"
    old, new = hf_audio.load_model(str(tmp_path)), hf_audio.load_model(folder)
    assert torch.equal(hf_audio.get_scene_embeddings(clips, old), hf_audio.get_scene_embeddings(clips, new))


def test_missing_weights_are_an_error_not_random_numbers(tmp_path):
    from safetensors.torch import load_file, save_file

    save(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    del state["encoder.layers.1.attention.k_proj.weight"]
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"lacks weights of a wav2vec2 model, encoder\.layers\.1\.attention"):
        hf_audio.load_model(str(tmp_path))


def test_adapter_does_not_merge_frames(tmp_path, clips):
    model = hf_audio.load_model(save(tmp_path, add_adapter=True))
    assert hf_audio.get_timestamp_embeddings(clips, model)[0].shape == (3, 24, 16)


def test_weights_files_of_a_folder(tmp_path):
    folder = save(tmp_path)
    names = ["config.json", "preprocessor_config.json", "model.safetensors"]
    assert [path.name for path in hf_audio.weights_files(checkpoint=folder, layer=2)] == names
    assert hf_audio.weights_files(folder) == hf_audio.weights_files(checkpoint=folder)


def test_weights_files_of_shards(tmp_path):
    folder = save(tmp_path)
    shards = {"a": "model-2.safetensors", "b": "model-1.safetensors", "c": "model-1.safetensors"}
    (tmp_path / "model.safetensors").rename(tmp_path / "model-1.safetensors")
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    with pytest.raises(UserError, match=r"model-2\.safetensors is not in"):
        hf_audio.weights_files(folder)
    (tmp_path / "model-2.safetensors").touch()
    names = [path.name for path in hf_audio.weights_files(folder)][2:]
    assert names == ["model.safetensors.index.json", "model-1.safetensors", "model-2.safetensors"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "no checkpoint given"),
        ({"model_file_path": "a", "checkpoint": "b"}, "give one checkpoint, got 'a' as the weights and 'b'"),
        ({"checkpoint": "./nowhere"}, r"checkpoint folder not found: \./nowhere"),
        ({"checkpoint": "/no/where"}, "checkpoint folder not found: /no/where"),
        ({"checkpoint": "a/b c!"}, "checkpoint a/b c! cannot be fetched from the Hugging Face hub: Repo id"),
    ],
)
def test_checkpoint_not_found(options, message):
    with pytest.raises(UserError, match=message) as caught:
        hf_audio.load_model(**options)
    assert "\n" not in str(caught.value)


def test_hub_is_out_of_reach(monkeypatch, tmp_path):
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    def fail(*_, **__):
        raise LocalEntryNotFoundError("cannot connect")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fail)
    with pytest.raises(UserError) as caught:
        hf_audio.load_model("some/model", revision="v1")
    assert str(caught.value) == (
        "checkpoint some/model not found: config.json of some/model at revision v1 is neither on the Hugging Face hub "
        "nor, if that is unreachable, in its local cache"
    )


def test_hub_files_are_of_one_commit_and_are_what_is_loaded(monkeypatch, tmp_path, clips):
    import huggingface_hub
    from huggingface_hub.errors import EntryNotFoundError

    snapshot = tmp_path / "snapshots" / "0123abcd"
    save(snapshot)
    asked = []

    def download(name, file, revision):
        asked.append((name, file, revision))
        if not (snapshot / file).exists():
            raise EntryNotFoundError(file)
        return str(snapshot / file)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    files = hf_audio.weights_files(checkpoint="some/model", revision="v1")
    assert [str(path.relative_to(snapshot)) for path in files] == [
        "config.json",
        "preprocessor_config.json",
        "model.safetensors",
    ]
    assert asked == [
        ("some/model", "config.json", "v1"),
        ("some/model", "preprocessor_config.json", "0123abcd"),
        ("some/model", "model.safetensors", "0123abcd"),
    ]
    from_hub, from_folder = hf_audio.load_model(checkpoint="some/model"), hf_audio.load_model(str(snapshot))
    assert torch.equal(
        hf_audio.get_scene_embeddings(clips, from_hub), hf_audio.get_scene_embeddings(clips, from_folder)
    )


def test_folder_mistakes(tmp_path, folder):
    with pytest.raises(UserError, match="revision has no effect on a folder"):
        hf_audio.load_model(folder, revision="main")
    with pytest.raises(UserError, match=r"config\.json is not in .*save_pretrained"):
        hf_audio.load_model(str(tmp_path))
    transformers.BertConfig(hidden_size=8, num_attention_heads=2).save_pretrained(tmp_path)
    transformers.Wav2Vec2FeatureExtractor().save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(UserError, match="is a bert model, expected one that takes a waveform"):
        hf_audio.load_model(str(tmp_path))
    save(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"no")
    with pytest.raises(UserError, match="cannot load its weights"):
        hf_audio.load_model(str(tmp_path))


def test_without_transformers(monkeypatch, folder):
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(UserError, match=r'needs transformers: pip install "hear_exp\[models\]"'):
        hf_audio.load_model(folder)
    with pytest.raises(UserError, match=r'needs transformers: pip install "hear_exp\[models\]"'):
        hf_audio.weights_files("some/model")


def test_a_torchaudio_that_cannot_be_imported_is_out_of_the_way(monkeypatch, tmp_path):
    (tmp_path / "torchaudio.py").write_text("raise OSError('libcudart.so: cannot open shared object file')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "torchaudio", None)  # so that whatever was there comes back
    del sys.modules["torchaudio"]
    require_transformers()
    assert importlib.util.find_spec("torchaudio") is None
