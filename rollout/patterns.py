"""Regular expressions of users, in RE2's language: the time is linear in the text.

Python's own `re` needs exponential time for patterns such as `(a+)+$`; one line of a log could
then hold up a run for ever. RE2 has no back references and no look-around, and refuses them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

MEMORY = 8 << 20  # bytes that one compiled pattern may take


@dataclass(frozen=True, slots=True)
class Pattern:
    """A compiled pattern."""

    text: str
    program: Any  # of re2, which has no types

    def found_in(self, line: str) -> bool:
        """Whether the pattern matches anywhere in the line."""
        return self.program.search(line.encode("utf-8", "replace")) is not None


def compile_pattern(text: str) -> Pattern:
    """Read a pattern.

    Raises:
        ValueError: with RE2's own words, when it is none.
    """
    import re2  # noqa: PLC0415 - only those who search pay for it

    options = re2.Options()
    options.log_errors = False
    options.max_mem = MEMORY
    try:
        return Pattern(text, re2.compile(text.encode(), options))
    except (re2.error, UnicodeEncodeError) as error:
        said = error.args[0]
        words = said.decode("utf-8", "replace") if isinstance(said, bytes) else "not UTF-8"
        raise ValueError(f"'{text}' is not a regular expression of RE2: {words}") from None
