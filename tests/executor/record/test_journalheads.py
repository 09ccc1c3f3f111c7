"""What the run record says of a journal: whole, cut off, written anew, or unknown."""

from __future__ import annotations

from itertools import islice

import pytest

from rollout.executor.record.journalheads import MOST_JOURNALS, JournalHead, compared, with_head
from rollout.journal.chain import SCHEMA, Head, Reading, read, seal


def chain(count: int, word: str = "x") -> list[bytes]:
    lines, head = [], Head()
    for number in range(count):
        line, head = seal(head, {"schema": SCHEMA, "run": "r1"} if not number else {"is": word})
        lines.append(line)
    return lines


def head_of(lines: list[bytes]) -> JournalHead:
    return JournalHead(read(lines[:1]).head.hash, len(lines), read(lines).head.hash)


def told(lines: list[bytes], *heads: JournalHead) -> tuple[bool, str]:
    said = compared(read(lines), heads, lambda seq: read(islice(lines, seq)).head.hash)
    return said.wrong, said.text


def test_an_end_that_the_record_names_is_the_end() -> None:
    wrong, text = told(chain(5), head_of(chain(5)))
    assert not wrong
    assert "this very end" in text


@pytest.mark.parametrize("cut", [1, 2, 4])
def test_lines_that_were_cut_off_at_the_end_are_missing(cut: int) -> None:
    wrong, text = told(chain(5)[:-cut], head_of(chain(5)))
    assert wrong
    assert f"lines from {6 - cut} on are missing" in text


def test_a_journal_without_a_line_lacks_all_that_the_record_names() -> None:
    head = JournalHead(first="f" * 64, seq=7, hash="a" * 64)
    said = compared(Reading(), [head], lambda _: "")
    assert said.wrong
    assert "names line 7" in said.text
    assert not compared(Reading(), [], lambda _: "").wrong


def test_lines_that_were_written_anew_are_found_though_their_chain_holds() -> None:
    for anew in (chain(5, "y"), chain(7, "y")):
        wrong, text = told(anew, head_of(chain(5)))
        assert wrong
        assert "written anew" in text


def test_a_journal_that_has_gone_on_since_is_whole_as_far_as_the_record_knows() -> None:
    wrong, text = told(chain(7), head_of(chain(5)))
    assert not wrong
    assert "whole up to there" in text


def test_a_journal_of_another_machine_is_neither_proven_nor_broken() -> None:
    lines = chain(5)
    other = JournalHead("another first line", 9, "h")
    wrong, text = told(lines, other)
    assert not wrong
    assert "no journal like this one" in text
    assert told(lines, other, head_of(lines)) == told(lines, head_of(lines))


def test_a_newer_head_takes_the_place_of_the_older_one_and_there_are_never_too_many() -> None:
    heads: tuple[JournalHead, ...] = ()
    for number in range(MOST_JOURNALS + 5):
        for seq in (1, 2):
            heads = with_head(heads, JournalHead(f"j{number}", seq, "h"))
    assert len(heads) == MOST_JOURNALS
    assert {head.seq for head in heads} == {2}
    assert heads[-1].first == f"j{MOST_JOURNALS + 4}"
    assert with_head(heads, None) == heads
