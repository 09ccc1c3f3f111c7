"""What marks objects as ours: how a DaemonSet says that a run works on it, and how to undo that.

Idea 1 of the design: the original strategy is stored on the object itself (and in the run
record), so that whoever finds the DaemonSet on OnDelete can put it back.
"""

from __future__ import annotations

import msgspec

from rollout.errors import StaleError
from rollout.fleet.objects import JsonObject
from rollout.unreadable import UNREADABLE

PLAN = "rollout/plan"  # digest of the plan that made the patch
RUN = "rollout/run"  # id of the run; on released pods a label
ROLLOUT = "rollout/rollout"  # namespace/name of the rollout, by which its record is found
ORIGINAL_STRATEGY = "rollout/original-strategy"  # JSON of spec.updateStrategy before the run

# On pods that were handed over (idea 2 of the design):
RELEASED_FROM = "rollout/released-from"  # label: UID of the DaemonSet; by it they are found
RELEASED_LABEL = "rollout/released-label"  # annotation: `key=value` that was taken away

# On every object that we make; by it they are found:
MANAGED_BY = {"app.kubernetes.io/managed-by": "rollout"}
MANAGED_BY_US = ",".join(f"{key}={value}" for key, value in MANAGED_BY.items())  # as a selector

ALL = (PLAN, RUN, ROLLOUT, ORIGINAL_STRATEGY)


def decode_strategy(text: str) -> JsonObject:
    """Read the stored strategy block.

    Raises:
        StaleError: when somebody changed the annotation into something else.
    """
    try:
        return msgspec.json.decode(text, type=dict)
    except UNREADABLE:
        raise StaleError(
            f"the annotation {ORIGINAL_STRATEGY} does not hold a strategy any more; restore "
            "spec.updateStrategy by hand and remove the annotation"
        ) from None
