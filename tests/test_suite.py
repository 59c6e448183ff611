"""The tests themselves: where a newcomer finds them, and in how many processes they run."""

import ast
from pathlib import Path
from types import SimpleNamespace

import pytest

TESTS = Path(__file__).parent
PACKAGE = TESTS.parent / "src" / "hear_exp"
ROOMS = sorted({path.parent for path in TESTS.rglob("test_*.py")} - {TESTS})


def test_every_room_of_the_tests_is_one_of_the_package():
    assert ROOMS
    for room in ROOMS:
        assert (PACKAGE / room.relative_to(TESTS) / "__init__.py").is_file(), room


@pytest.mark.parametrize("file", sorted(TESTS.rglob("test_*.py")), ids=lambda path: str(path.relative_to(TESTS)))
def test_a_test_is_named_after_its_module_or_says_what_it_is_about(file):
    module = PACKAGE / file.parent.relative_to(TESTS) / file.name.removeprefix("test_")
    said = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))
    assert module.is_file() or said, (
        f"{file}: name it after a module of its room, or say in its docstring what it covers"
    )


@pytest.mark.parametrize(
    ("given", "in_this_process"),
    [
        ({"file_or_dir": []}, False),
        ({"file_or_dir": ["tests/scoring"]}, False),
        ({"file_or_dir": ["tests/test_files.py", "tests/scoring/test_scores.py"]}, False),
        ({"file_or_dir": ["tests/test_files.py"]}, True),
        ({"file_or_dir": ["tests/test_files.py::test_a", "tests/test_files.py::test_b[x.y]"]}, True),
        ({"file_or_dir": [], "capture": "no"}, True),
        ({"file_or_dir": ["tests/scoring"], "trace": True}, True),
    ],
)
def test_one_file_and_a_person_who_looks_on_get_no_workers(given, in_this_process, pytestconfig, monkeypatch):
    monkeypatch.setenv("PYTEST_XDIST_AUTO_NUM_WORKERS", "3")
    asked = SimpleNamespace(getoption={"capture": "fd", "trace": False, **given}.get)
    assert pytestconfig.hook.pytest_xdist_auto_num_workers(config=asked) == (0 if in_this_process else 3)
