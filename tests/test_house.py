"""How large a file and a function of the package may grow."""

import ast
from pathlib import Path

import hear_exp

LONGEST_FILE, LONGEST_FUNCTION = 300, 60  # lines
PACKAGE = Path(hear_exp.__file__).parent


def sources():
    return {path.relative_to(PACKAGE).as_posix(): path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py")}


def test_no_file_is_too_long():
    lines = {name: len(source.splitlines()) for name, source in sources().items()}
    assert len(lines) > 100
    assert {name: count for name, count in lines.items() if count > LONGEST_FILE} == {}


def test_no_function_is_too_long():
    lines = {
        f"{name}::{node.name}": node.end_lineno - node.lineno + 1
        for name, source in sources().items()
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert len(lines) > 500
    assert {name: count for name, count in lines.items() if count > LONGEST_FUNCTION} == {}
