"""What is chosen for a run beside its plan, mostly how long its own parts may take.

Tests shorten these.
"""

from __future__ import annotations

from dataclasses import dataclass

from rollout.cluster.watch import DEFAULT_TIMING, Timing
from rollout.executor.engine.book import BLIND_S, GRACE_S
from rollout.executor.lock.leaseprotocol import DURATION_S


@dataclass(frozen=True, slots=True)
class Tuning:
    """Times in seconds.

    Attributes:
        lease_s: after which a silent holder of the lock counts as dead.
        heartbeat_s: between two lines that say what the run waits for.
        grace_s: how long what is in flight is awaited after somebody wants the run to stop.
        blind_s: the same, while nothing of the cluster can be seen.
        watch: when a watch gives up on a connection.
        enforces_strategy: OnDelete is set again, once, where somebody turns it back.
    """

    lease_s: float = DURATION_S
    heartbeat_s: float = 30.0
    grace_s: float = GRACE_S
    blind_s: float = BLIND_S
    watch: Timing = DEFAULT_TIMING
    enforces_strategy: bool = False


DEFAULT_TUNING = Tuning()
