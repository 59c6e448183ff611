"""task_metadata.json: any content is a task's settings or a sentence."""

import json

import pytest
from hear_archives import ARCHIVES
from hostile import answer, damaged, few, json_values, nested
from hypothesis import example, given
from hypothesis import strategies as st

from hear_exp.errors import UserError
from hear_exp.tasks.metadata import TaskMetadata, is_plain_name, read_metadata

PUBLISHED = [metadata for archives in ARCHIVES.values() for metadata in archives]
KEYS = sorted({key for metadata in PUBLISHED for key in metadata})
PLAIN = next(m for m in PUBLISHED if m["split_mode"] == "trainvaltest")
FOLDS = {key: value for key, value in PUBLISHED[2].items() if key != "splits"}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("metadata") / "task_metadata.json"


@pytest.mark.parametrize("metadata", PUBLISHED, ids=lambda m: f"{m['task_name']}-{m['mode']}")
def test_what_the_archives_say(path, metadata):
    path.write_text(json.dumps(metadata))
    read = read_metadata(path)
    assert (read.name, read.version, read.mode) == (metadata["task_name"], metadata["version"], metadata["mode"])
    assert read.split_names == tuple(metadata["splits"])
    assert read.metrics == tuple(metadata["evaluation"])
    assert read.sample_duration_s == metadata["sample_duration"]
    assert read.predictor_grid == metadata.get("evaluation_params", {}).get("task_specific_param_grid", {})


@few
@given(st.sampled_from(PUBLISHED), st.dictionaries(st.sampled_from(KEYS), json_values, min_size=1, max_size=2))
@example(FOLDS, {"nfolds": 1_000_000_000})  # took memory and time without end
@example(FOLDS, {"nfolds": 0})
@example(FOLDS, {"nfolds": -1})
@example(FOLDS, {"splits": ["../x", "fold01", "fold02"]})
@example(FOLDS, {"splits": ["/etc/passwd", "fold01", "fold02"]})
@example(FOLDS, {"splits": ["", "fold01", "fold02"]})
@example(FOLDS, {"splits": ["a\0", "fold01", "fold02"]})
@example(FOLDS, {"splits": [str(i) for i in range(100_000)]})
@example(PLAIN, {"task_name": "../../up"})
@example(PLAIN, {"sample_duration": 10**400})
@example(PLAIN, {"evaluation_params": {"task_specific_param_grid": {"lr": nested(50)}}})
@example(PLAIN, {"evaluation": nested(50)})
@example(PLAIN, {"embedding_type": "x" * 100_000})
def test_any_setting_is_taken_or_refused(path, metadata, change):
    path.write_text(json.dumps({**metadata, **change}))
    read = answer(lambda: read_metadata(path))
    if isinstance(read, TaskMetadata):
        assert is_plain_name(read.name)
        assert all(map(is_plain_name, read.split_names))
        assert 3 <= len(read.split_names) <= 1000
        assert read.sample_duration_s is None or 0 < read.sample_duration_s < float("inf")
    else:
        assert read.startswith(str(path))


@few
@given(damaged([json.dumps(metadata).encode() for metadata in PUBLISHED]) | st.binary(max_size=40))
@example(b"\xef\xbb\xbf{}")
@example(b"[" * 100_000)
@example(b'{"embedding_type": ' + b"[" * 700 + b"]" * 700 + b"}")
@example(json.dumps(PLAIN).encode()[:-1] + b', "evaluation_params": ' + b'{"a":' * 700 + b"1" + b"}" * 701)
@example(b'{"sample_duration": 1e999}')
@example(b'{"task_name": "\\ud800"}')
def test_any_bytes_are_settings_or_a_sentence(path, content):
    path.write_bytes(content)
    read = answer(lambda: read_metadata(path))
    assert isinstance(read, TaskMetadata) or str(path) in read


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"nfolds": 10**9}, "nfolds is 1000000000, expected a whole number from 1 to 1000"),
        ({"splits": ["../x", "a", "b"]}, "the split '../x': expected the name of a JSON file in the task's folder"),
        ({"splits": ["a\x1b", "a", "b"]}, r"the split 'a\x1b': expected the name of a JSON file"),
        ({"task_name": "a/b"}, "task_name is 'a/b', expected a name that a folder can have"),
        ({"task_name": ["a"]}, "task_name is ['a'], expected text"),
        (
            {"evaluation_params": {"task_specific_param_grid": {"lr": [[1]]}}},
            "task_specific_param_grid.'lr' is [[1]], expected one value or a list of values",
        ),
    ],
)
def test_what_is_refused(path, change, message):
    path.write_text(json.dumps({**FOLDS, **change}))
    with pytest.raises(UserError) as caught:
        read_metadata(path)
    assert str(caught.value).startswith(f"{path}: {message}")
