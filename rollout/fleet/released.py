"""Released pods: old pods that a run has handed over (idea 2 of the design), as they are found.

Nobody owns them any more, so all that leads back to their DaemonSet and run is what the run wrote
on them.
"""

from __future__ import annotations

from collections.abc import Iterable

from rollout.fleet import marks
from rollout.fleet.objects import Meta, Owner, PodSpec, PodStatus, Struct


def taken_over(owners: Iterable[Owner], daemon_set_uid: str) -> Owner | None:
    """Return the controller that has adopted a released pod; None while nobody has.

    Until the DaemonSet's own controller has seen the release, the pod still names that as its own.
    """
    return next((o for o in owners if o.controller and o.uid != daemon_set_uid), None)


class ReleasedPod(Struct, frozen=True):
    """A pod that carries the mark of a hand-over."""

    metadata: Meta
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()

    @property
    def daemon_set_uid(self) -> str:
        """UID of the DaemonSet that it was released from."""
        return self.metadata.labels.get(marks.RELEASED_FROM, "")

    @property
    def run_id(self) -> str:
        """The run that released it; "" when its mark is gone."""
        return self.metadata.labels.get(marks.RUN, "")

    @property
    def lost_label(self) -> tuple[str, str] | None:
        """The label that was taken from it, with its value; None when that is not known."""
        key, found, value = self.metadata.annotations.get(marks.RELEASED_LABEL, "").partition("=")
        return (key, value) if found else None

    @property
    def node(self) -> str:
        """Its node."""
        return self.spec.node_name

    @property
    def terminating(self) -> bool:
        """Whether somebody has asked for its deletion."""
        return self.metadata.deletion_timestamp is not None

    @property
    def ready(self) -> bool:
        """Whether its Ready condition is True."""
        return any(c.type == "Ready" and c.status == "True" for c in self.status.conditions)
