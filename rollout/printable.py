"""Text of others made fit for people's eyes: it moves no cursor and stays on its line.

Messages of containers, webhooks and servers hold whatever somebody wrote there; a terminal would
obey it.
"""

from __future__ import annotations

import re

# Control characters, the invisible ones that turn the direction of text, and halves of surrogates.
_STEERS = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]+"
)


def one_line(text: str) -> str:
    """Return the text with spaces in place of all that steers a terminal or begins a line."""
    return " ".join(_STEERS.sub(" ", text).split()) if _STEERS.search(text) else text


def by_lines(text: str) -> str:
    """Return the text with its lines as they are, and nothing else that steers a terminal."""
    return "\n".join(_STEERS.sub(" ", line) for line in text.split("\n"))
