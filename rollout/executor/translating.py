"""What the watches say, in the engine's words.

The only place that knows which watch brings which kind of object. It keeps what the engine wants
to hear as a whole (the revisions of a DaemonSet), reads no clock and decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from rollout.cluster.watch import (
    Broken,
    Changed,
    Listed,
    Outdated,
    Removed,
    Resumed,
    Stalled,
    WentBack,
)
from rollout.errors import StaleError, Unauthenticated
from rollout.executor import events as ev
from rollout.executor.record import ConfigMap, RunRecord, decode_record
from rollout.executor.wishes import Wishes
from rollout.fleet.objects import ClusterEvent, ControllerRevision

CREATION_REFUSED: Final = "FailedCreate"  # the reason of the controller's event
_RECORD_DELETED: Final = ev.StopAsked("the run record was deleted")


class Translator:
    """Turns the news of one run into events.

    Sources are named `kind` or `kind/DAEMONSET`, as the watches were named when they were opened.

    Args:
        uids: name of each DaemonSet of the plan -> its UID.
        run_id: id of this run; wishes for another run are not ours.
        saw_epoch: told the epoch of every record that is seen, and who wrote it (S9).
        heed: what the record asks of this run.
    """

    def __init__(
        self,
        uids: Mapping[str, str],
        run_id: str,
        saw_epoch: Callable[[int, str], None],
        heed: Callable[[RunRecord], Wishes],
    ) -> None:
        self._heed = heed
        self._uids = uids
        self._run_id = run_id
        self._saw_epoch = saw_epoch
        self._is_recorded = False  # the run has a record
        self._revisions: dict[str, dict[str, ControllerRevision]] = {name: {} for name in uids}

    def translate(self, item: Any) -> list[ev.Event]:  # noqa: ANN401 - news of any type of object
        """Return what a piece of news means; an event is returned as it is."""
        match item:
            case Listed(source, items):
                return self._listed(source, items)
            case Changed(source, obj):
                return self._changed(source, obj)
            case Removed(source, obj):
                return self._removed(source, obj)
            case Stalled(source) | Broken(source) | Resumed(source) if source.startswith("events/"):
                return []  # they only explain; no decision waits for them
            case Stalled(source, silent_s):
                return [ev.ViewLost(source, f"silent for {silent_s:.0f} s")]
            case Broken(source, error):
                return [ev.ViewLost(source, str(error), isinstance(error, Unauthenticated))]
            case Resumed(source):
                return [ev.ViewBack(source)]
            case WentBack(source, version, seen):
                return [ev.WentBack(source, version, seen)]
            case Outdated():
                return []
        event: ev.Event = item
        return [event]

    def _listed(self, source: str, items: list[Any]) -> list[ev.Event]:
        kind, _, name = source.partition("/")
        match kind:
            case "record":
                if self._is_recorded and not items:  # it went while the watch was away
                    return [_RECORD_DELETED]
                return [event for item in items for event in self._wished(item)]
            case "events":
                return [event for item in items for event in _refused(name, item)]
            case "nodes":
                return [ev.NodesListed(tuple(items))]
            case "pods":
                return [ev.PodsListed(name, tuple(items))]
            case "released":
                return [ev.ReleasedListed(name, tuple(items))]
            case "revisions":
                self._revisions[name] = {item.metadata.uid: item for item in items}
                return [self._all_revisions(name)]
        return [
            ev.DaemonSetSeen(name, items[0]) if items else ev.DaemonSetGone(name, is_certain=False)
        ]

    def _changed(self, source: str, obj: Any) -> list[ev.Event]:  # noqa: ANN401 - an object of any kind
        kind, _, name = source.partition("/")
        match kind:
            case "record":
                return self._wished(obj)
            case "events":
                return _refused(name, obj)
            case "nodes":
                return [ev.NodeSeen(obj)]
            case "pods":
                return [ev.PodSeen(name, obj)]
            case "released":
                return [ev.ReleasedSeen(name, obj)]
            case "revisions":
                self._revisions[name][obj.metadata.uid] = obj
                return [self._all_revisions(name)]
        return [ev.DaemonSetSeen(name, obj)]

    def _removed(self, source: str, obj: Any) -> list[ev.Event]:  # noqa: ANN401 - an object of any kind
        kind, _, name = source.partition("/")
        match kind:
            case "record":
                return [_RECORD_DELETED]
            case "events":
                return []  # they are forgotten after an hour
            case "nodes":
                return [ev.NodeGone(obj.metadata.name)]
            case "pods":
                return [ev.PodGone(name, obj.metadata.uid, obj.metadata.resource_version)]
            case "released":
                return [ev.ReleasedGone(name, obj.spec.node_name, obj.metadata.uid)]
            case "revisions":
                self._revisions[name].pop(obj.metadata.uid, None)
                return [self._all_revisions(name)]
        return [ev.DaemonSetGone(name)]

    def _wished(self, config_map: ConfigMap) -> list[ev.Event]:
        """Hear what somebody at another terminal wants of this run."""
        try:
            record = decode_record(config_map)
        except StaleError as error:
            return [ev.StopAsked(str(error))]
        self._saw_epoch(record.epoch, f"run {record.run_id}")
        if record.run_id != self._run_id:
            return []
        self._is_recorded = True
        return [ev.Said(self._heed(record))]

    def _all_revisions(self, name: str) -> ev.RevisionsSeen:
        uid = self._uids[name]
        kept = self._revisions[name].values()
        mine = [r for r in kept if r.metadata.controller_uid == uid]
        return ev.RevisionsSeen(name, tuple(sorted(mine, key=lambda r: r.revision)))


def _refused(name: str, event: ClusterEvent) -> list[ev.Event]:
    """Return what an event about a DaemonSet says of its new pods (behaviour.md 7, case 37)."""
    if event.reason != CREATION_REFUSED:
        return []
    message = event.message.removeprefix("Error creating: ")
    return [ev.CreationRefused(name, message, event.at)]
