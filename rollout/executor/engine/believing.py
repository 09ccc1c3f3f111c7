"""Which lists are believed: one that lacks much of what was there before is not.

Such a list comes from a broken proxy, the wrong cluster, or a lagging server far more often than
from a fleet that shrank by a tenth between two looks. Acting on it would end the run as complete,
or find no pod where there is one; so the run stops, and a person looks. What goes one by one, with
an event each, is believed.
"""

from __future__ import annotations

from collections.abc import Collection

from rollout.quantity import cut

_SHARE = 10  # one in so many may be missing


def disbelief(what: str, known: Collection[str], listed: Collection[str], spare: int = 0) -> str:
    """Return why a list is not believed; "" when it is.

    Args:
        what: what is listed, for the sentence: "nodes".
        known: what was there before.
        listed: what the list holds.
        spare: how many may be missing for reasons of ours.
    """
    missing = sorted(set(known) - set(listed))
    if not missing or (listed and len(missing) <= max(1, len(known) // _SHARE) + spare):
        return ""
    return (
        f"the list of {what} lacks {len(missing)} of {len(known)} that were there before "
        f"({cut(missing)}); it is not believed: see whether this is the right cluster and "
        "whether it answers in full, then apply the plan again, or make a new one"
    )
