from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tabulate import tabulate

from rollout.report.columns import plain_columns
from rollout.report.table import text_table

CELL = st.text(st.characters(codec="ascii", min_codepoint=32, max_codepoint=126), max_size=12)
HEADERS = ("", "NODE", "REVISION")


@given(st.lists(st.tuples(CELL, CELL, CELL), min_size=1, max_size=8))
def test_columns_are_laid_out_as_by_tabulate(rows: list[tuple[str, str, str]]) -> None:
    expected = tabulate(rows, headers=HEADERS, tablefmt="plain", disable_numparse=True)

    assert plain_columns(HEADERS, rows) == expected


def test_a_long_table_looks_as_a_short_one() -> None:
    row = ("=", "0012", "5e7")

    short, long = text_table(HEADERS, [row] * 3), text_table(HEADERS, [row] * 2000)

    assert long.splitlines()[:4] == short.splitlines()
    assert len(long.splitlines()) == 2001


def test_a_cell_of_two_lines_keeps_both_however_long_the_table_is() -> None:
    rows = [("=", "node-1", "1")] * 2000 + [("!", "node-2", "one\ntwo")]

    lines = text_table(HEADERS, rows).splitlines()

    assert [line.split()[-1] for line in lines[-2:]] == ["one", "two"]
