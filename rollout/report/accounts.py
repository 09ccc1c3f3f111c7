"""Where the time of a run went, for people and for programs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rollout.executor.engine.accounting import Account

SHOWN_S = 0.05  # a smaller loss is not worth a word


def time_text(account: Account) -> Iterator[str]:
    """Yield the sentences; none for a run that replaced no pod."""
    if not account.nodes_s:
        return
    by_sum = account.nodes_s / account.limit >= account.longest_s
    bound = (
        f"{_seconds(account.nodes_s)} of all nodes / {account.limit} in flight"
        if by_sum
        else "its longest node"
    )
    took, least = _seconds(account.makespan_s), _seconds(account.least_s)
    yield f"It took {took}; the least possible was {least} ({bound})."
    lost = [f"{why} {_seconds(s)}" for why, s in account.lost.items() if s >= SHOWN_S]
    if lost:
        yield f"The rest went to: {', '.join(lost)}."


def time_object(account: Account) -> dict[str, Any]:
    """Return the account in seconds; `lost` adds up to `makespan - least`."""
    return {
        "makespan": _rounded(account.makespan_s),
        "least": _rounded(account.least_s),
        "nodes": _rounded(account.nodes_s),
        "longest": _rounded(account.longest_s),
        "limit": account.limit,
        "lost": {why: _rounded(seconds) for why, seconds in account.lost.items()},
    }


def _rounded(seconds: float) -> float:
    return round(seconds, 3)


def _seconds(seconds: float) -> str:
    """Write short times to a tenth of a second, long ones as minutes and hours."""
    if seconds < 60:  # noqa: PLR2004 - a minute
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m" if hours else f"{minutes}m{rest:02}s"
