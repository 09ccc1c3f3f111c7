"""How long the parts of a run that carry no meaning for its plan may take; tests shorten them."""

from __future__ import annotations

from dataclasses import dataclass

from rollout.cluster.watch import DEFAULT_TIMING, Timing
from rollout.executor.leaseprotocol import DURATION_S


@dataclass(frozen=True, slots=True)
class Tuning:
    """All in seconds.

    Attributes:
        lease_s: after which a silent holder of the lock counts as dead.
        heartbeat_s: between two lines that say what the run waits for.
        watch: when a watch gives up on a connection.
    """

    lease_s: float = DURATION_S
    heartbeat_s: float = 30.0
    watch: Timing = DEFAULT_TIMING


DEFAULT_TUNING = Tuning()
