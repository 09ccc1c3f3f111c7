from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.printable import by_lines, one_line
from rollout.report.table import text_table

STEERING = "\x1b[2Jgone\r\n\x07 \u202eback\u2066"


def test_one_line_keeps_no_more_than_the_letters() -> None:
    assert one_line(STEERING) == "[2Jgone back"


def test_what_steers_nothing_is_left_as_it_is() -> None:
    text = "a  b — ünïcödé 漢字 🙂"
    assert one_line(text) is text
    assert by_lines(f"{text}\n  {text}") == f"{text}\n  {text}"


def test_lines_stay_lines() -> None:
    assert by_lines("a\x1b[31m\n\tb") == "a [31m\n b"


@given(st.text())
def test_nothing_that_is_shown_moves_the_cursor(text: str) -> None:
    controls = ("Cc", "Cs", "Zl", "Zp")
    assert not any(unicodedata.category(c) in controls for c in one_line(text))
    shown = by_lines(text).replace("\n", "")
    assert not any(unicodedata.category(c) in controls for c in shown)


@pytest.mark.parametrize("rows", [3, 2000])
def test_a_cell_of_a_table_steers_nothing_however_long_the_table_is(rows: int) -> None:
    table = text_table(("NODE", "POD"), [("n", "log-\x1b[2Jagent\x9b1m")] * rows)
    assert table.splitlines()[-1] == "n       log- [2Jagent 1m"
