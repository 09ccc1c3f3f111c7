"""Fisher's exact test, one-sided: are the new pods worse than the old ones, or is it chance?

Exact also for the few pods of a canary, where tests that assume large numbers mislead.
"""

from __future__ import annotations

from math import comb


def worse(bad: int, good: int, control_bad: int, control_good: int) -> float:
    """Return the chance of at least so many bad ones among the new, if both groups are alike.

    The hypergeometric tail P(X >= bad), with all four margins fixed (R. A. Fisher, 1935).

    Args:
        bad: new ones that are bad.
        good: new ones that are not.
        control_bad: old ones that are bad.
        control_good: old ones that are not.

    Returns:
        p between 0 and 1; 1 when one of the groups is empty.

    Raises:
        ValueError: a count is negative.
    """
    if min(bad, good, control_bad, control_good) < 0:
        raise ValueError("counts cannot be negative")
    new, old = bad + good, control_bad + control_good
    all_bad = bad + control_bad
    most = min(all_bad, new)
    ways = sum(comb(new, k) * comb(old, all_bad - k) for k in range(bad, most + 1))
    return ways / comb(new + old, all_bad)
