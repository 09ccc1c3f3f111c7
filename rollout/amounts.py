"""Resource amounts as Kubernetes writes them: `100m`, `1.5`, `512Mi`, `2G`, `1e3`."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

_SUFFIXES: Final = {
    "n": 1e-9,
    "u": 1e-6,
    "m": 1e-3,
    "": 1.0,
    "k": 1e3,
    "M": 1e6,
    "G": 1e9,
    "T": 1e12,
    "P": 1e15,
    "E": 1e18,
    "Ki": 2.0**10,
    "Mi": 2.0**20,
    "Gi": 2.0**30,
    "Ti": 2.0**40,
    "Pi": 2.0**50,
    "Ei": 2.0**60,
}


@lru_cache(maxsize=1024)
def parse_amount(text: str | float) -> float:
    """Return an amount as a number.

    Raises:
        ValueError: when it is not an amount.
    """
    written = str(text).strip()
    digits = written.rstrip("numkKMGTPEi")
    scale = _SUFFIXES.get(written[len(digits) :])
    try:
        return float(digits) * float(scale if scale is not None else "no such suffix")
    except ValueError:
        raise ValueError(f"'{text}' is not an amount; write '100m', '1.5' or '512Mi'") from None
