"""Is the share of failing nodes small or large? Wald's sequential test on running results.

A limit on the number of failures is blind to how many nodes were tried: 5 of 2,000 is noise, 5 of
20 is a bad release. The test weighs both after every result and says "bad" as soon as the numbers
allow it. Pure arithmetic.

Source: A. Wald, "Sequential Tests of Statistical Hypotheses", Annals of Mathematical Statistics
16 (1945), sections 3.2 and 5.
"""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

GOOD_SHARE = 0.01  # of nodes that fail under a good release, at most
BAD_SHARE = 0.05  # of nodes that fail under a bad release, at least
ALPHA = 0.001  # chance that a good release is called bad
BETA = 0.05  # chance that a bad release is called good

Opinion: TypeAlias = Literal["open", "good", "bad"]

_PER_FAILURE = math.log(BAD_SHARE / GOOD_SHARE)
_PER_SUCCESS = math.log((1 - BAD_SHARE) / (1 - GOOD_SHARE))
_BAD = math.log((1 - BETA) / ALPHA)
_GOOD = math.log(BETA / (1 - ALPHA))

ENOUGH = math.ceil(_GOOD / _PER_SUCCESS)
"""Nodes that must succeed without a failure before the test can say "good": where a wave has
fewer, the test would never come to an end, so it isn't asked."""


def weight(failures: int, successes: int) -> float:
    """Return the logarithm of how much likelier the results are under a bad release.

    Args:
        failures: nodes that failed.
        successes: nodes that are done.
    """
    return failures * _PER_FAILURE + successes * _PER_SUCCESS


def opinion(failures: int, successes: int) -> Opinion:
    """Say what the results prove; asked after every result, in whatever order they came.

    "good" is no licence: the test goes on, and later failures can still turn it to "bad". That a
    good release is ever called bad keeps its chance of about `ALPHA` however long the run is
    (Ville's inequality: the ratio of likelihoods is a martingale).
    """
    value = weight(failures, successes)
    if value >= _BAD:
        return "bad"
    return "good" if value <= _GOOD else "open"
