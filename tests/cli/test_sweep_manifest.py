"""sweep.json: written whole, read back the same, and its faults in a sentence."""

import json
import os
import shlex
import sys

import pytest

from hear_exp.cli import sweep_manifest
from hear_exp.cli.sweep_manifest import Manifest, SweepJob
from hear_exp.errors import UserError

JOBS = (SweepJob(0, ("task=demo_scene", "model.options={a: 1}"), "0-demo_scene-logmel"), SweepJob(3, (), "3"))


def test_it_comes_back_as_it_was(tmp_path):
    manifest = sweep_manifest.new_manifest("slurm", JOBS)
    assert not sweep_manifest.has_manifest(tmp_path)
    sweep_manifest.write(tmp_path, manifest)
    assert sweep_manifest.has_manifest(tmp_path)
    assert sweep_manifest.read(tmp_path) == manifest
    assert (manifest.words, manifest.cwd) == (tuple(sys.orig_argv), os.getcwd())


def test_the_file_says_what_was_typed(tmp_path):
    words = ("python", "-m", "hear_exp", "-m", "task=glob(demo_*)")
    sweep_manifest.write(tmp_path, Manifest("2026-11-24T21:00:00+00:00", words, "/home/me", "basic", JOBS))
    content = json.loads((tmp_path / "sweep.json").read_text())
    assert shlex.split(content["command"]) == content["words"] == list(words)
    assert content["launcher"] == "basic"
    assert content["jobs"][0] == {
        "number": 0,
        "overrides": ["task=demo_scene", "model.options={a: 1}"],
        "folder": "0-demo_scene-logmel",
    }


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{}", "not a sweep's manifest: KeyError: 'started'"),
        ("[]", "not a sweep's manifest: TypeError"),
        ("{", "not valid JSON"),
        (
            '{"started": "", "words": [], "cwd": "", "launcher": "basic", '
            '"jobs": [{"number": 0, "overrides": [], "folder": "../../elsewhere"}]}',
            "the folder of a job, '../../elsewhere', lies outside the sweep's",
        ),
    ],
)
def test_one_that_cannot_be_used_is_named(tmp_path, content, said):
    (tmp_path / "sweep.json").write_text(content)
    with pytest.raises(UserError) as error:
        sweep_manifest.read(tmp_path)
    assert str(error.value).startswith(str(tmp_path / "sweep.json"))
    assert said in str(error.value)


def test_a_folder_without_one_is_no_sweeps(tmp_path):
    with pytest.raises(UserError, match=r"file not found: .*sweep.json"):
        sweep_manifest.read(tmp_path)
