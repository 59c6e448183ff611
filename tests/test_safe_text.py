"""Text from outside, on terminals and in spreadsheets."""

import csv
import io
import logging

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hear_exp.safe_text import SafeFormatter, cell, lines, one_line

text = st.text(max_size=30)


def test_control_characters_are_spelt_out():
    assert one_line("a\x1b]0;pwned\x07b\n\tc") == "a\\x1b]0;pwned\\x07b\\n\\tc"
    assert one_line("\u202egpj.exe") == "\\u202egpj.exe"  # right to left
    assert lines("one\ntwo\x9b2J") == "one\ntwo\\x9b2J"


@pytest.mark.parametrize("name", ["犬 chien Hündin", "ب\u200cا", "a_b$c", "  two  spaces"])
def test_other_text_stays(name):
    assert one_line(name) == name


@settings(derandomize=True, deadline=None, max_examples=60)
@given(text)
@example("\x1b[2J")
@example("\ud800")
def test_nothing_that_a_terminal_obeys_is_left(name):
    shown = one_line(name)
    assert not any(ord(c) < 32 or 127 <= ord(c) < 160 for c in shown)
    assert len(shown.splitlines()) <= 1
    shown.encode()


def test_log_lines():
    record = logging.LogRecord("x", logging.INFO, "", 0, "label %s", ("\x1b[31mred",), None)
    assert SafeFormatter("%(message)s").format(record) == "label \\x1b[31mred"


@settings(derandomize=True, deadline=None, max_examples=60)
@given(text)
@example("=cmd|' /C calc'!A0")
@example("-1+1")
@example("@SUM(A1)")
@example("\t=1")
@example("\r=1")
def test_no_cell_is_a_formula(name):
    file = io.StringIO(newline="")
    csv.writer(file).writerow([cell(name)])
    (row,) = csv.reader(io.StringIO(file.getvalue(), newline=""))
    assert not row[0].startswith(("=", "+", "-", "@", "\t", "\r"))
    assert row[0] in (name, f"'{name}")


def test_numbers_stay_numbers():
    assert [cell(value) for value in (-1.5, 3, None, True)] == [-1.5, 3, None, True]
