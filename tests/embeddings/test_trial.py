"""A model is tried on two clips before a task: what is doubtful is warned of, kept, and repeated by cached runs."""

import logging
import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tiny import embed, tiny_encoder, write_task

from hear_exp.embeddings.embed import clip_order, embed_task
from hear_exp.embeddings.trial import try_model
from hear_exp.tasks.audio import scan_clips
from hear_exp.tasks.folder import read_task

VALIDATE = "python -m hear_exp.validate, with the same options of model"


class Odd:
    """The tiny model, whose scene and timestamp embeddings ``change`` spoils: (embeddings, audio) -> embeddings."""

    def __init__(self, change, dtype="float32"):
        self._encoder, self._change, self._dtype = tiny_encoder(), change, dtype
        self.calls = []
        self.output_dtypes = {}

    def __getattr__(self, name):
        return getattr(self._encoder, name)

    def scene(self, audio):
        self.calls.append(len(audio))
        self.output_dtypes["get_scene_embeddings"] = self._dtype
        return self._change(self._encoder.scene(audio), audio).astype(np.float32)

    def timestamps(self, audio):
        self.calls.append(len(audio))
        embeddings, times = self._encoder.timestamps(audio)
        self.output_dtypes["get_timestamp_embeddings"] = self._dtype
        return self._change(embeddings, audio).astype(np.float32), times


def batch_mean(embeddings, audio):
    return embeddings - embeddings.mean(axis=0)  # a normalisation over the batch


def noisy(embeddings, audio):
    return embeddings + np.random.standard_normal(embeddings.shape)


def rounding(embeddings, audio):
    return embeddings * (1 + 1e-6 * len(audio))


def same(embeddings, audio):
    return embeddings


@pytest.fixture(params=["multiclass", "events"])
def task(tmp_path, request):
    return read_task(write_task(tmp_path / "task", request.param, clips=3, seconds=1.0))


CASES = [
    (batch_mean, "float32", ["embeddings of two clips alone and in one batch differ by "]),
    (noisy, "float32", ["two equal calls give embeddings that differ by "]),
    (same, "float64", ["_embeddings returns float64, expected float32 (HEAR API)"]),
    (batch_mean, "float16", ["alone and in one batch differ by ", "_embeddings returns float16, expected float32"]),
    (rounding, "float32", []),
    (same, "float32", []),
]


@pytest.mark.slow
@pytest.mark.parametrize(("change", "dtype", "expected"), CASES)
def test_doubts_are_warned_of_kept_and_repeated(tmp_path, task, caplog, change, dtype, expected):
    encoder = Odd(change, dtype)
    for computed in (9, 0):
        caplog.clear()
        embedded = embed_task(task, encoder, tmp_path / "cache")
        assert embedded.computed_clips == computed
        assert len(embedded.doubts) == len(expected)
        for doubt, words in zip(embedded.doubts, expected, strict=True):
            assert doubt.startswith("model tiny: ")
            assert words in doubt
        warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
        assert [line for line in warnings if line.startswith("model tiny")] == list(embedded.doubts)
    assert encoder.calls == [*([1, 1] if change is noisy else [1, 1, 2, 1]), 3, 3, 3]


def test_embeddings_that_are_all_the_same_are_doubted(tmp_path, task):
    """A dead model, such as one whose weights were not loaded, otherwise just scores at chance."""
    (doubt,) = embed_task(task, Odd(lambda embeddings, *rest: embeddings * 0), tmp_path / "cache").doubts
    assert "two clips of different sound have the same embedding, to the bit" in doubt


def test_the_sentence_says_how_much_and_what_to_do(tmp_path, task):
    (doubt,) = embed_task(task, Odd(batch_mean), tmp_path / "cache").doubts
    assert "of the largest value: they depend on the other clips of a batch" in doubt
    assert "embeddings.batch_seconds=0.001" in doubt
    assert VALIDATE in doubt


@pytest.mark.parametrize("change", [same, noisy])
def test_the_trial_changes_no_embedding(tmp_path, task, monkeypatch, change):
    """Not even of a model that draws from the global generators."""
    found = []
    for i, tried in enumerate((True, False)):
        if not tried:
            monkeypatch.setattr("hear_exp.embeddings.embed.try_model", lambda *args: ())
        for seed in (random.seed, np.random.seed, torch.manual_seed):
            seed(1)
        embeddings = embed_task(task, Odd(change), tmp_path / str(i)).embeddings
        found.append((embeddings.array().tobytes(), random.random(), np.random.rand(), torch.rand(1).item()))
    assert found[0] == found[1]


def trial(task, encoder, batch_seconds=60.0):
    files = scan_clips(task, clip_order(task), 8000)
    return try_model(encoder, task.embedding_type == "event", files, batch_seconds)


def test_where_every_batch_holds_one_clip_its_neighbours_do_not_matter(task):
    encoder = Odd(batch_mean)
    assert trial(task, encoder, batch_seconds=0.5) == ()
    assert encoder.calls == [1, 1]
    assert len(trial(task, Odd(noisy), batch_seconds=0.5)) == 1


def test_clips_of_different_length(tmp_path):
    """Two of one length are looked for; where there are none one clip is embedded twice."""
    task = read_task(write_task(tmp_path / "task", "multilabel", clips=4, seconds=0.5))
    encoder = Odd(batch_mean)
    assert len(trial(task, encoder)) == 1
    assert encoder.calls == [1, 1, 2, 1]
    files = scan_clips(task, clip_order(task), 8000)
    different = [next(file for file in files if file.frames == frames) for frames in (4000, 8000)]
    encoder = Odd(batch_mean)
    assert try_model(encoder, False, different, 60.0) == ()
    assert encoder.calls == [1, 1]


def test_one_clip(tmp_path):
    task = read_task(write_task(tmp_path / "task", clips=1))
    encoder = Odd(same)
    assert trial(task, encoder) == ()
    assert encoder.calls == [1, 1]


def test_memory_for_one_clip_only(tmp_path, task, monkeypatch, calls):
    """Embedding goes on one by one, and so cannot depend on the others."""
    monkeypatch.setenv("TINY_MEMORY", "1")
    encoder = tiny_encoder()
    assert trial(task, encoder) == ()
    assert embed_task(task, encoder, tmp_path / "cache").computed_clips == 9


def test_a_run_that_was_killed_before_the_first_batch_tries_again(tmp_path, monkeypatch):
    folder = write_task(tmp_path / "task", clips=3)
    monkeypatch.setattr("hear_exp.embeddings.embed._embed_batch", lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        embed(folder, tmp_path / "cache")
    monkeypatch.undo()
    assert embed(folder, tmp_path / "cache")[1].doubts == ()


@pytest.mark.parametrize(
    ("dtype", "name"), [(torch.float64, "float64"), (torch.float16, "float16"), (torch.float32, "")]
)
def test_the_dtype_is_the_one_that_the_module_returns(task, monkeypatch, dtype, name):
    encoder = tiny_encoder()
    for function in ("get_scene_embeddings", "get_timestamp_embeddings"):
        original = getattr(encoder._module, function)

        def converted(audio, model, original=original):
            output = original(audio, model)
            return output.to(dtype) if isinstance(output, torch.Tensor) else (output[0].to(dtype), output[1])

        monkeypatch.setattr(encoder, "_module", SimpleNamespace(**{**vars(encoder._module), function: converted}))
    doubts = trial(task, encoder)
    assert [name in doubt for doubt in doubts] == ([True] if name else [])


def test_the_validator_measures_by_the_same_rule():
    from hear_exp.embeddings import agreement
    from hear_exp.validate import conduct

    assert conduct.relative is agreement.relative
    assert conduct.ROUNDING is agreement.ROUNDING
