"""The commands that README and docs show, as they stand there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).parents[1]
DOCUMENTS = ("README.md", "CONTRIBUTING.md", *sorted(f"docs/{path.name}" for path in (PROJECT / "docs").glob("*.md")))
COMMAND = re.compile(r"(?:\w+=\S+ )*(?:python -m hear_exp[\w.]*|hear_exp)(?: |$)")
SENTENCE = "hear_exp: "


@dataclass(frozen=True)
class Command:
    """A command of a document, and the sentence that the text says it ends with ('' where it succeeds)."""

    text: str
    line: int
    sentence: str = ""


def commands_of(document: str) -> list[Command]:
    """The commands of a document in order: lines of code blocks, and code within lines (tables, prose)."""
    return sorted(_commands((PROJECT / document).read_text(encoding="utf-8")), key=lambda command: command.line)


def blocks_of(document: str, language: str) -> list[str]:
    """The code blocks of a document that are in ``language``."""
    text = (PROJECT / document).read_text(encoding="utf-8")
    return re.findall(rf"(?ms)^```{language}\n(.*?)^```", text)


def write_heads(folder: Path) -> None:
    """The predictors of docs/predictors.md, as its text tells a reader to write them."""
    (module,) = blocks_of("docs/predictors.md", "python")
    (folder / "my_heads.py").write_text(module)
    configs = folder / "my_configs" / "predictor"
    configs.mkdir(parents=True, exist_ok=True)
    for content in blocks_of("docs/predictors.md", "yaml"):
        name = content.split()[1]
        (configs / f"{name}.yaml").write_text(content)


def _commands(text: str) -> Iterator[Command]:
    lines = text.splitlines()
    fenced = False
    i = 0
    while i < len(lines):
        fenced ^= lines[i].startswith("```")
        in_block = fenced or lines[i].startswith("    ")
        if not in_block:
            for span in re.findall(r"`([^`]+)`", lines[i]):
                if COMMAND.match(span) and not span.startswith(SENTENCE):
                    yield Command(span.replace(r"\|", "|"), i + 1)
            i += 1
            continue
        start, command = i, lines[i].strip().removeprefix("$ ")
        if COMMAND.match(command) and not command.startswith(SENTENCE):
            while command.endswith("\\"):
                i += 1
                command = command[:-1] + lines[i].strip()
            yield Command(command, start + 1, _sentence(lines[i + 1 :]))
        i += 1


def _sentence(after: list[str]) -> str:
    """The error that a code block shows after a command: 'hear_exp: ...', up to the end of the block or a prompt."""
    shown: list[str] = []
    for line in after:
        text = line.strip()
        if (
            not line.startswith("    ")
            or text.startswith("$ ")
            or (COMMAND.match(text) and not text.startswith(SENTENCE))
        ):
            break
        shown.append(text)
    whole = " ".join(shown)
    return whole.removeprefix(SENTENCE) if whole.startswith(SENTENCE) else ""
