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
from rollout.executor.engine import events as ev
from rollout.executor.engine.claims import OtherRun
from rollout.executor.record.record import AT_WORK, ConfigMap, RunRecord, decode_record, record_name
from rollout.executor.record.wishes import Wishes
from rollout.fleet.objects import ClusterEvent, ControllerRevision

CREATION_REFUSED: Final = "FailedCreate"  # the reason of the controller's event
_RECORD_DELETED: Final = ev.StopAsked("the run record was deleted")


class Translator:
    """Turns the news of one run into events.

    Sources are named `kind` or `kind/DAEMONSET`, as the watches were named when they were opened.

    Args:
        uids: name of each DaemonSet of the plan -> its UID.
        where: namespace and name of its rollout, by which it knows its own record.
        run_id: id of this run; wishes for another run are not ours.
        saw_epoch: told the epoch of every record that is seen, and who wrote it (S9).
        heed: what the record asks of this run.
    """

    def __init__(
        self,
        uids: Mapping[str, str],
        where: str,
        run_id: str,
        saw_epoch: Callable[[int, str], None],
        heed: Callable[[RunRecord], Wishes],
    ) -> None:
        self._heed = heed
        self._uids = uids
        self._where = where
        self._others: set[str] = set()  # where other runs are at work
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
                return self._records(items)
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
                return self._wished(obj) if _where(obj) == self._where else self._other(obj)
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
                where = _where(obj)
                return [_RECORD_DELETED] if where == self._where else [self._left(where)]
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
        told = ev.RecordTold(record.word, record.run_id, record.epoch)
        return [ev.Said(self._heed(record)), told]

    def _records(self, found: list[ConfigMap]) -> list[ev.Event]:
        """Tell of all runs at work; of our own last, for it says that all others were told."""
        others = {_where(item): item for item in found}
        own = others.pop(self._where, None)
        events: list[ev.Event] = [self._left(where) for where in self._others - others.keys()]
        for item in others.values():
            events += self._other(item)
        if own is not None:
            return events + self._wished(own)
        if self._is_recorded:  # it went while the watch was away
            events.append(_RECORD_DELETED)
        return events

    def _other(self, config_map: ConfigMap) -> list[ev.Event]:
        """Tell of another run; one that this version cannot read claims nothing that it knows."""
        where = _where(config_map)
        try:
            record = decode_record(config_map)
        except StaleError:
            return [self._left(where)] if where in self._others else []
        if record.phase not in AT_WORK:
            return [self._left(where)] if where in self._others else []
        self._others.add(where)
        other = OtherRun(
            where=where,
            run_id=record.run_id,
            epoch=record.epoch,
            daemon_sets=tuple((ds.namespace, ds.name) for ds in record.daemon_sets),
            nodes=frozenset(record.claims),
            beside=frozenset(record.beside),
            version=config_map.metadata.resource_version,
        )
        return [ev.OtherSeen(where, other)]

    def _left(self, where: str) -> ev.OtherSeen:
        self._others.discard(where)
        return ev.OtherSeen(where, None)

    def _all_revisions(self, name: str) -> ev.RevisionsSeen:
        uid = self._uids[name]
        kept = self._revisions[name].values()
        mine = [r for r in kept if r.metadata.controller_uid == uid]
        return ev.RevisionsSeen(name, tuple(sorted(mine, key=lambda r: r.revision)))


def _where(config_map: ConfigMap) -> str:
    """Return the namespace and the name of the rollout of a record."""
    meta = config_map.metadata
    return f"{meta.namespace}/{meta.name.removeprefix(record_name(''))}"


def _refused(name: str, event: ClusterEvent) -> list[ev.Event]:
    """Return what an event about a DaemonSet says of its new pods (behaviour.md 7, case 37)."""
    if event.reason != CREATION_REFUSED:
        return []
    message = event.message.removeprefix("Error creating: ")
    return [ev.CreationRefused(name, message, event.at)]
