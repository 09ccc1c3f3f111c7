from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from rollout.gates.measurement import REASON_LENGTH, plain


def test_what_steers_a_terminal_is_taken_out() -> None:
    assert plain("\x1b[2Jgone\r\n\x07 \u202eback\u2066") == "[2Jgone back"


@given(st.text())
def test_plain_text_is_one_short_line_without_control_characters(text: str) -> None:
    shown = plain(text)
    assert len(shown) <= REASON_LENGTH
    assert not any(unicodedata.category(c) in ("Cc", "Zl", "Zp") for c in shown)


def test_long_text_is_cut_visibly() -> None:
    assert plain("x" * 500, 10) == "x" * 9 + "…"
