"""Judges from the store alone whether a node may begin: S3, S6 and S9.

A node begins when the run makes place for its new pod: by the delete of a pod that is at work, or
by its release. What ends a hand-over begins nothing. Nothing is asked of the program: whether it
shall stop stands in the run record, whether there is drift in the DaemonSet, and how often a node
may be tried in the record's words.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from rollout.fleet import marks
from rollout.fleet.objects import parse_time
from rollout.sim.resources import CONFIG_MAPS, DAEMONSETS
from rollout.sim.store import Event, Object, Store

HEARD_S = 3.0  # after which a running process has heard what the record says, if nothing hides it

Place = tuple[str, str]  # UID of a DaemonSet, node


@dataclass(slots=True)
class _Run:
    """What the record of a run says."""

    record: dict[str, Any]
    stops_since: float | None = None
    retried: dict[str, float] = field(default_factory=dict)  # node ("": all) -> the last word


@dataclass(slots=True)
class _Target:
    """The template of a DaemonSet, and whose it is."""

    era: int = 0  # how often it was changed, by anybody
    ours: tuple[Object, Object] | None = None  # template and strategy, as we wrote them last
    drift_since: float | None = None  # somebody else has changed them, or taken it away
    strategy_by_others: bool = False  # the last who changed that was not us


class StartJudge:
    """Watches the DaemonSets and the records, and is told of our writes.

    Args:
        store: of the cluster.
        now: the time.
        complain: takes a broken rule.
        is_ours: whether the change that is being stored is one of ours.
        views_are_late: whether a fault keeps news from the program.
    """

    def __init__(
        self,
        store: Store,
        now: Callable[[], float],
        complain: Callable[[str], None],
        is_ours: Callable[[], bool],
        views_are_late: Callable[[], bool],
    ) -> None:
        self.interrupted: dict[str, float] = {}  # name of a process -> when Ctrl-C was pressed
        self._now, self._complain = now, complain
        self._is_ours, self._views_are_late = is_ours, views_are_late
        self._targets: dict[str, _Target] = {}
        self._images: dict[str, str] = {}  # UID of a DaemonSet -> what its template runs
        self._runs: dict[str, _Run] = {}
        self._begun: dict[tuple[Place, int], float] = {}  # place, era -> when it began last
        for ds in store.scan(DAEMONSETS):
            self._images[ds["metadata"]["uid"]] = _image(ds["spec"]["template"])
        self.stops = [
            store.subscribe(DAEMONSETS, self._see_daemon_set),
            store.subscribe(CONFIG_MAPS, self._see_record),
        ]

    def has_begun(self, place: Place) -> bool:
        """Whether the run has made place for the pod of the template that is there now."""
        return (place, self._target(place[0]).era) in self._begun

    def set_by_others(self, uid: str) -> bool:
        """Whether the strategy of a DaemonSet is one that somebody else has set."""
        return self._target(uid).strategy_by_others

    def taken_back(self, place: Place) -> None:
        """Note that a released pod serves again: nothing has begun there."""
        self._begun.pop((place, self._target(place[0]).era), None)

    def check(self, process: str, rollout: str, place: Place, old: Object) -> None:
        """Look at a node for whose new pod one of our writes makes place just now.

        Args:
            process: that wrote.
            rollout: name of its plan.
            place: the DaemonSet and the node.
            old: the pod that goes, as it was before.
        """
        if marks.RELEASED_FROM in (old["metadata"].get("labels") or {}):
            return  # it ends a hand-over
        uid, node = place
        target = self._target(uid)
        last = self._begun.get((place, target.era))
        run = self._runs.get(rollout)
        words = run.retried if run is not None else {}
        asked = max(words.get("", 0.0), words.get(node, 0.0))
        if last is not None and asked <= last:
            self._complain(f"S3: {process} begins {node} a second time for one target")
        born = parse_time(old["metadata"]["creationTimestamp"])
        is_target = target.drift_since is None and _image(old) == self._images.get(uid)
        if is_target and asked < born:
            self._complain(f"S3: {process} takes away a pod of the target on {node}")
        if last is None:
            self._check_stop(process, run, node)
        since = target.drift_since
        if since is not None and self._is_known(since):
            late = self._now() - since
            self._complain(f"S9: {process} begins {node} {late:.1f} s after the DaemonSet drifted")
        self._begun[place, target.era] = self._now()

    def _check_stop(self, process: str, run: _Run | None, node: str) -> None:
        """S6: nothing begins after a word that the process has heard."""
        pressed = self.interrupted.get(process)
        if pressed is not None and self._now() - pressed > HEARD_S:
            late = self._now() - pressed
            self._complain(f"S6: {process} begins {node} {late:.1f} s after its interrupt")
        if run is None or run.stops_since is None or node in run.record.get("approvedNodes", ()):
            return
        if self._is_known(run.stops_since):
            self._complain(f"S6: {process} begins {node} after {run.record['wish']}")

    def _is_known(self, since: float) -> bool:
        return self._now() - since > HEARD_S and not self._views_are_late()

    # The store

    def _target(self, uid: str) -> _Target:
        return self._targets.setdefault(uid, _Target())

    def _see_daemon_set(self, event: Event) -> None:
        spec, uid = event.object["spec"], event.object["metadata"]["uid"]
        target = self._target(uid)
        self._images[uid] = _image(spec["template"])
        if event.old is not None:
            target.era += event.old["spec"]["template"] != spec["template"]
            if event.old["spec"]["updateStrategy"] != spec["updateStrategy"]:
                target.strategy_by_others = not self._is_ours()
        now = (spec["template"], spec["updateStrategy"])
        if self._is_ours():
            target.ours = now
        drifted = event.type == "DELETED" or (target.ours is not None and target.ours != now)
        if not drifted:
            target.drift_since = None
        elif target.drift_since is None:
            target.drift_since = self._now()

    def _see_record(self, event: Event) -> None:
        text = (event.object.get("data") or {}).get("record")
        if event.type == "DELETED" or not text:
            return
        record = msgspec.json.decode(text)
        run = self._runs.setdefault(record["name"], _Run(record))
        words = {word["node"]: word["at"] for word in record.get("retries", ())}
        before = {word["node"]: word["at"] for word in run.record.get("retries", ())}
        run.retried |= {node: self._now() for node, at in words.items() if before.get(node) != at}
        run.record = record
        if not _wants_stop(record):
            run.stops_since = None
        elif run.stops_since is None:
            run.stops_since = self._now()


def _wants_stop(record: dict[str, Any]) -> bool:
    """Whether the record says that nothing more shall begin; only an abort ends a way back."""
    verb = (record.get("wish") or {}).get("verb")
    return verb == "abort" or (verb is not None and record["phase"] != "rolling back")


def _image(holder: Object) -> str:
    return str(holder["spec"]["containers"][0]["image"])
