"""When the recorder sent its requests: in which second, as far as the answers tell.

Whole seconds matter to the API server: two managers who write in the same second are sorted by
name, and a stamp that repeats is not a change.
"""

from __future__ import annotations

from typing import Any

from rollout.sim.timestamps import parse
from tests.fidelity.recordings import Exchange, Setup, Step

RECORDER = "Python-urllib"


class Times:
    """The known seconds of a list of steps; they never go back."""

    def __init__(self, steps: list[Step]) -> None:
        self._times = [_second(step) for step in steps]
        for index, step in enumerate(steps[:-1]):
            # A pod is bound and reported on in the same second.
            if isinstance(step, Exchange | Setup) and step.call.path.endswith("/binding"):
                self._times[index] = self._times[index + 1]
        latest = 0.0
        for index, time in enumerate(self._times):
            latest = max(latest, time)
            self._times[index] = time if time >= latest else 0.0

    def at(self, index: int) -> float:
        """Return the second of a step, 0 when it is not known."""
        return self._times[index]

    def after(self, index: int) -> float:
        """Return the second of the next step whose second is known."""
        return next((time for time in self._times[index + 1 :] if time), float("inf"))


def _second(step: Step) -> float:
    if isinstance(step, Setup):
        patch: dict[str, Any] = step.call.body if isinstance(step.call.body, dict) else {}
        conditions = (patch.get("status") or {}).get("conditions") or ()
        return max((parse(entry["lastTransitionTime"]) for entry in conditions), default=0.0)
    if not isinstance(step, Exchange):
        return 0.0
    if events := step.response.get("events"):
        return _deletion(events[0]["object"].get("metadata") or {})
    body = step.response.get("body")
    if step.call.method == "GET" or not isinstance(body, dict):
        return 0.0
    return _written(step, body.get("metadata") or {})


def _written(step: Exchange, metadata: dict[str, Any]) -> float:
    if step.call.method == "DELETE":
        return _deletion(metadata)
    if step.call.method == "POST":
        return parse(metadata["creationTimestamp"]) if "creationTimestamp" in metadata else 0.0
    entries = metadata.get("managedFields") or ()
    return max((parse(e["time"]) for e in entries if e["manager"] == RECORDER), default=0.0)


def _deletion(metadata: dict[str, Any]) -> float:
    if "deletionTimestamp" not in metadata:
        return 0.0
    grace: int = metadata.get("deletionGracePeriodSeconds", 0)
    return parse(metadata["deletionTimestamp"]) - grace
