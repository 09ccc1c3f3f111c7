"""When a failed call is tried again: one policy for the whole edge.

A transient failure (no connection, 5xx on a read, 429) is repeated with full jitter, never sooner
than the server asks, until the total is used up. A write without an answer is not transient:
its caller reads first. The HTTP library's own retries are off, so attempts don't multiply.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

import tenacity

from rollout.errors import TransientError


@dataclass(frozen=True, slots=True)
class Patience:
    """How long one call may be repeated; all in seconds."""

    total_s: float = 30.0  # outlasts a leader change of etcd or of a load balancer
    first_contact_s: float = 2.0  # a wrong address should be said at once
    step_s: float = 0.5  # the first pause is at most this, then doubles
    max_step_s: float = 30.0


DEFAULT_PATIENCE = Patience()


def build_policy(
    patience: Patience,
    stop: threading.Event,
    reached: Callable[[], bool],
    sleep: Callable[[float], None] | None = None,
) -> tenacity.Retrying:
    """Return the policy as a callable object that threads may share.

    Args:
        patience: the limits.
        stop: ends waiting and trying at once.
        reached: whether this server has ever answered; until then `first_contact_s` is the limit.
        sleep: in place of waiting for `stop`.
    """
    jitter = tenacity.wait_random_exponential(patience.step_s, patience.max_step_s)

    def wait(state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = error.retry_after if isinstance(error, TransientError) else None
        return max(jitter(state), asked or 0.0)

    def ended(state: tenacity.RetryCallState) -> bool:
        if stop.is_set():
            return True
        limit = patience.total_s if reached() else patience.first_contact_s
        spent = max(state.seconds_since_start or 0.0, state.idle_for)
        return spent + state.upcoming_sleep >= limit

    return tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(TransientError),
        wait=wait,
        stop=ended,
        sleep=sleep or tenacity.sleep_using_event(stop),
        reraise=True,
        name="cluster",
    )
