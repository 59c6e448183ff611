"""glob() over files: which ones, in which order, and as Hydra reads them back."""

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from hear_exp.cli.file_globs import as_typed, files_of

NAMES = ("step_100.pt", "step_20.pt", "step_3.pt", "last.pt", "notes.txt", "deep/er/step_7.pt")


@pytest.fixture
def files(tmp_path, monkeypatch):
    for name in NAMES:
        path = tmp_path / "ckpts" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "ckpts" / "folder.pt").mkdir()
    monkeypatch.chdir(tmp_path)
    return lambda text: files_of(OverridesParser.create().parse_override(f"model.weights={text}"))


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("glob(ckpts/*.pt)", ["last.pt", "step_3.pt", "step_20.pt", "step_100.pt"]),
        ("glob(ckpts/*.pt,exclude=last*)", ["step_3.pt", "step_20.pt", "step_100.pt"]),
        ("glob(ckpts/*.pt,exclude=[ckpts/last*,*_20.pt])", ["step_3.pt", "step_100.pt"]),
        ("glob([ckpts/step_2*,ckpts/*_20.pt,ckpts/*.txt])", ["notes.txt", "step_20.pt"]),
        ("glob(ckpts/**/step_7.pt)", ["deep/er/step_7.pt"]),
        ("glob(nowhere/*)", []),
    ],
)
def test_files_in_the_order_of_their_numbers(files, pattern, expected):
    assert files(pattern) == [f"ckpts/{name}" for name in expected]


def test_other_sweeps_are_not_ours(files):
    assert files("a,b") is None
    assert files("a") is None


@pytest.mark.parametrize("name", ["a.pt", "epoch=1-step=20.ckpt", "it's a, b.pt", "1e3", "null", "a\\b'c", "$x", "(y)"])
def test_a_value_is_read_back_as_it_was(name):
    assert OverridesParser.create().parse_override(f"model.weights={as_typed(name)}").value() == name
    assert as_typed("ckpts/step_3.pt") == "ckpts/step_3.pt"
