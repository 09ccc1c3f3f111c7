"""Times as Kubernetes writes them: RFC 3339 in UTC, with whole seconds or with microseconds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@lru_cache(maxsize=4096)
def _second(seconds: int) -> str:
    return (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def rfc3339(seconds: float) -> str:
    """Return `metav1.Time`: whole seconds, rounded down (`2026-11-23T17:24:55Z`).

    Args:
        seconds: since the Unix epoch.
    """
    return _second(int(seconds))


def rfc3339_micro(seconds: float) -> str:
    """Return `metav1.MicroTime`: always six digits (`2026-11-23T17:24:55.000000Z`).

    Args:
        seconds: since the Unix epoch.
    """
    whole = int(seconds)
    return f"{_second(whole)[:-1]}.{int((seconds - whole) * 1e6):06d}Z"


def parse(text: str) -> float:
    """Return seconds since the Unix epoch for a time in either form.

    Raises:
        ValueError: when the text is not a time.
    """
    return (datetime.fromisoformat(text) - _EPOCH).total_seconds()
