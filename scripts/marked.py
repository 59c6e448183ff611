"""Text between markers of a Markdown file: ``<!-- KIND: NAME -->`` on a line of its own, then ``<!-- end -->``."""

from __future__ import annotations

import re
from pathlib import Path

from hear_exp.errors import UserError
from hear_exp.files import read_text, write_text


def between(document: Path, marker: str) -> str:
    """The lines between ``<!-- marker -->`` and the next ``<!-- end -->``.

    Raises UserError unless the document has the marker exactly once.
    """
    return _found(document, read_text(document), marker)[1].strip("\n")


def replace(document: Path, marker: str, text: str) -> None:
    """Write the document with ``text`` between the markers, in place of what stands there."""
    whole = read_text(document)
    found = _found(document, whole, marker)
    write_text(document, f"{whole[: found.start(1)]}{text}\n{whole[found.end(1) :]}")


def _found(document: Path, text: str, marker: str) -> re.Match[str]:
    pattern = rf"^<!-- {re.escape(marker)} -->\n(.*?)^<!-- end -->$"
    found = list(re.finditer(pattern, text, re.MULTILINE | re.DOTALL))
    if len(found) != 1:
        raise UserError(
            f"{document}: a line <!-- {marker} -->, and <!-- end --> some lines below it, are expected once; "
            f"found: {len(found)} times"
        )
    return found[0]
