"""All that a run watches: which lists it needs, and how they are before it begins.

Each watch is a thread that puts its news where the loop takes it out. What only explains, the
events that say why no pod comes, is followed where that is allowed, and nobody waits for it; each
pod that comes makes an event as well, and those stay where they are.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from rollout.cluster.client import Client
from rollout.cluster.fleet import APPS, CORE, daemon_set_path
from rollout.cluster.paths import resource_path
from rollout.cluster.watch import Broken, Listed, Reflector, Timing
from rollout.errors import ClusterError, Forbidden, StaleError
from rollout.executor.inbox import Inbox
from rollout.executor.record.record import AT_WORK_LABEL, ConfigMap
from rollout.executor.translating import CREATION_REFUSED
from rollout.fleet import marks
from rollout.fleet.objects import ClusterEvent, ControllerRevision, DaemonSet, Node, Pod
from rollout.fleet.selectors import selector_of
from rollout.fleet.snapshot import Fleet, build_fleet
from rollout.planner.plan import Plan

_AT_WORK = f"{marks.MANAGED_BY_US},{AT_WORK_LABEL}=true"
_GOODBYE_S = 0.5  # for a watch that hangs; it is a daemon thread


class Watches:
    """The watches of one run.

    Args:
        client: of the cluster.
        plan: says of which DaemonSets, and where its record is.
        put: takes the news, from any thread.
        timing: of each watch.
    """

    def __init__(
        self, client: Client, plan: Plan, put: Callable[[Any], None], timing: Timing
    ) -> None:
        self._client = client
        self._plan = plan
        self._put = put
        self._timing = timing
        self._reflectors: list[Reflector[Any]] = []
        self._lists: dict[str, list[Any]] = {}  # the first ones, by what they are of
        self._lock = threading.Lock()  # `explain` and `close` may meet
        self._closed = False
        self.is_narrow = False  # runs of other namespaces are not seen: their records may not be

    def open(self, inbox: Inbox, waiting: Callable[[str], None], heartbeat_s: float) -> list[Any]:
        """Start all watches and wait for the first list of each; one that cannot begin ends that.

        Args:
            inbox: where the news arrive.
            waiting: told what is missing, where nothing came for a while.
            heartbeat_s: that while.

        Returns:
            All that came until then, in its order.

        Raises:
            StaleError: when a DaemonSet does not exist any more.
            ClusterError: when one of them cannot be listed.
        """
        for name, namespace, uid, selector in self._subjects():
            self._reflect_daemon_set(name, namespace, uid, selector)
        self._reflect("nodes", resource_path(CORE, "nodes"), Node)
        self._reflect_records("record", "")
        return self._await_lists(inbox, waiting, heartbeat_s)

    def explain(self) -> None:
        """Follow what the DaemonSets are refused, where that is allowed: it only explains.

        Safe in any thread, so that no write waits for it; nothing begins after `close`.
        """
        for ds in self._plan.daemon_sets:
            if self._may_read_events(ds.namespace):
                events = resource_path(CORE, "events", namespace=ds.namespace)
                about = f"involvedObject.uid={ds.uid},reason={CREATION_REFUSED}"
                self._reflect(f"events/{ds.name}", events, ClusterEvent, field_selector=about)

    def _may_read_events(self, namespace: str) -> bool:
        try:
            return all(
                self._client.review_access(verb, "", "events", namespace=namespace)
                for verb in ("list", "watch")
            )
        except ClusterError:
            return False

    def fleets(self, cluster_uid: str) -> dict[str, Fleet]:
        """Return the fleets as the first lists show them, by the name of the DaemonSet.

        Raises:
            StaleError: when a DaemonSet was deleted.
        """
        fleets = {}
        for ds in self._plan.daemon_sets:
            found: list[DaemonSet] = self._lists[f"daemonsets/{ds.name}"]
            if not found:
                raise StaleError(f"DaemonSet {ds.key} was deleted; nothing was changed")
            fleets[ds.name] = build_fleet(
                cluster_uid,
                found[0],
                {},
                self._lists[f"revisions/{ds.name}"],
                self._lists["nodes"],
                self._lists[f"pods/{ds.name}"],
            )
        return fleets

    def close(self) -> None:
        """End all watches."""
        with self._lock:
            self._closed = True
        for reflector in self._reflectors:
            reflector.stop(0.0)
        for reflector in self._reflectors:
            reflector.stop(_GOODBYE_S)

    def _subjects(self) -> list[tuple[str, str, str, str]]:
        subjects = []
        for ds in self._plan.daemon_sets:
            path = daemon_set_path(ds.namespace, ds.name)
            live = self._client.get_or_none(path, DaemonSet)
            if live is None:
                raise StaleError(f"DaemonSet {ds.key} does not exist any more; nothing was changed")
            selector = str(selector_of(live.spec.selector))
            subjects.append((ds.name, ds.namespace, ds.uid, selector))
        return subjects

    def _reflect_daemon_set(self, name: str, namespace: str, uid: str, selector: str) -> None:
        pods = resource_path(CORE, "pods", namespace=namespace)
        revisions = resource_path(APPS, "controllerrevisions", namespace=namespace)
        daemon_sets = resource_path(APPS, "daemonsets", namespace=namespace)
        released = f"{marks.RELEASED_FROM}={uid}"
        at = f"metadata.name={name}"
        self._reflect(f"pods/{name}", pods, Pod, label_selector=selector)
        self._reflect(f"released/{name}", pods, Pod, label_selector=released)
        self._reflect(f"revisions/{name}", revisions, ControllerRevision, label_selector=selector)
        self._reflect(f"daemonsets/{name}", daemon_sets, DaemonSet, field_selector=at)

    def _reflect_records(self, source: str, namespace: str) -> None:
        """Watch the records of all runs at work; a single watch tells all of them in order."""
        path = resource_path(CORE, "configmaps", namespace=namespace)
        self._reflect(source, path, ConfigMap, label_selector=_AT_WORK)

    def _narrow(self, missing: set[str]) -> None:
        """Watch the records of the plan's namespace only: no others may be read."""
        wide = next(r for r in self._reflectors if r.source == "record")
        wide.stop(0.0)
        self._lists.pop("record")
        source = f"record/{self._plan.namespace}"
        self._reflect_records(source, self._plan.namespace)
        missing.discard("record")
        missing.add(source)
        self.is_narrow = True

    def _reflect(
        self,
        source: str,
        path: str,
        type_: type[Any],
        *,
        label_selector: str = "",
        field_selector: str = "",
    ) -> None:
        reflector = Reflector(
            self._client,
            source,
            path,
            type_,
            self._put,
            label_selector=label_selector,
            field_selector=field_selector,
            timing=self._timing,
        )
        with self._lock:
            if self._closed:
                return
            self._reflectors.append(reflector)
            self._lists[source] = []
            reflector.start()

    def _await_lists(
        self, inbox: Inbox, waiting: Callable[[str], None], heartbeat_s: float
    ) -> list[Any]:
        missing = set(self._lists)
        later: list[Any] = []
        while missing:
            items = inbox.take(heartbeat_s)
            if not items:
                waiting(", ".join(sorted(missing)))
            for item in items:
                match item:
                    case Listed(source, found) if source in missing:
                        missing.discard(source)
                        self._lists[source] = found
                    case Broken("record", Forbidden()):
                        if "record" in missing:
                            self._narrow(missing)
                        continue
                    case Broken(source, error) if source in missing:
                        raise error
                later.append(item)
        return later
