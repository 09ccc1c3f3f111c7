"""Judges each write of ours when it reaches the server: S2, S4 and S5.

What a write must rest on stands where others can read it: the preconditions in its own body, the
run record and the lease in the cluster, the intent in the journal.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from rollout.executor.engine.engine import Engine
from rollout.executor.lock.leaseprotocol import DURATION_S, Holder, parse_holder
from rollout.executor.lock.unlocking import BREAKER
from rollout.fleet import marks
from rollout.fleet.objects import parse_time
from rollout.fleet.revisions import template_digest
from rollout.planner.plan import PlannedDaemonSet
from rollout.sim.requests import Request, Target
from rollout.sim.resources import CONFIG_MAPS, DAEMONSETS, LEASES, PODS
from rollout.sim.store import Event, Object, Store
from tests.simulation.threads import Process

AT_WORK = ("running", "rolling back")  # phases of a record under which a run may write
ENFORCED = {"updateStrategy": {"type": "OnDelete", "rollingUpdate": None}}


class WriteJudge:
    """Looks at our writes to pods and DaemonSets.

    Args:
        store: of the cluster.
        now: the time.
        complain: takes a broken rule.
        engines: what each process carries out; none in `cleanup`, behind a run that is over.
        owner_of: the UID of the DaemonSet that a pod serves; "" for none.
    """

    def __init__(
        self,
        store: Store,
        now: Callable[[], float],
        complain: Callable[[str], None],
        engines: dict[Process, Engine],
        owner_of: Callable[[Object], str],
    ) -> None:
        self._store, self._now, self._complain = store, now, complain
        self._engines, self._owner_of = engines, owner_of
        self._renewed: dict[tuple[str, str, str], float] = {}  # namespace, lease, process -> when
        self._epochs: dict[tuple[str, str, str], int] = {}  # the same -> under which it held it
        self.stops = [store.subscribe(LEASES, self._note_renewal)]

    def check(self, process: Process, target: Target, request: Request) -> None:
        """Look at a write that is about to be served."""
        engine = self._engines.get(process)
        if engine is None:
            leases = (lease.get("spec") or {} for lease in self._store.scan(LEASES))
            if not any(_holder_in(spec).process == process.name for spec in leases):
                self._complain(f"S5: {process.name} writes without a lock")
        else:
            record = next((r for r in self.records() if r["name"] == engine.plan.name), None)
            self._check_record(process, engine, record)
            self._check_lock(process, engine)
            self._check_intent(process, target, record["runId"] if record is not None else "")
        self._check_object(engine, target, msgspec.json.decode(request.body or b"{}"))

    def records(self) -> Iterator[dict[str, Any]]:
        """Yield all run records."""
        for config_map in self._store.scan(CONFIG_MAPS):
            text = (config_map.get("data") or {}).get("record")
            if text:
                yield msgspec.json.decode(text)

    def _check_record(
        self, process: Process, engine: Engine, record: dict[str, Any] | None
    ) -> None:
        """S4: the record of this run is there, says that it is at work, and names what it is at."""
        if record is None or record["phase"] not in AT_WORK:
            phase = record and record["phase"]
            self._complain(f"S4: {process.name} writes, but its record says {phase}")
            return
        named = {ds["uid"] for ds in record["daemonSets"]}
        if not {ds.uid for ds in engine.plan.daemon_sets} <= named:
            self._complain(f"S4: {process.name} is at other DaemonSets than its record")
        forward = record["phase"] == "running"
        if forward and record["planDigest"] != engine.plan.digest:
            self._complain(f"S4: {process.name} carries out another plan than its record says")
        self._check_epoch(process, engine, record)

    def _check_epoch(self, process: Process, engine: Engine, record: dict[str, Any]) -> None:
        """S9: nobody has taken the run over since its record was written."""
        spec = self._lease(engine.plan.daemon_sets[0].namespace, engine.plan.daemon_sets[0].name)
        epoch, wanted = record.get("epoch", 0), spec.get("leaseTransitions", 0)
        if _holder_in(spec).run_id.startswith(BREAKER):  # see `_check_lock`
            ds = engine.plan.daemon_sets[0]
            place = (ds.namespace, f"rollout-{ds.name}", process.name)
            wanted = self._epochs.get(place, wanted)
        if epoch < wanted:
            self._complain(
                f"S9: {process.name} writes under a record of epoch {epoch}, "
                f"and the lease is at {wanted}"
            )

    def _check_lock(self, process: Process, engine: Engine) -> None:
        """S5: the lease of every DaemonSet of the run is this process's own, and not over.

        Whoever breaks a lock takes the lease at once and writes nothing for a full duration: until
        then the old holder may believe in its last renewal.
        """
        for ds in engine.plan.daemon_sets:
            holder = _holder_in(self._lease(ds.namespace, ds.name))
            own = holder.process == process.name
            if not own and not holder.run_id.startswith(BREAKER):
                self._complain(f"S5: {process.name} writes under the lock of '{holder.process}'")
                continue
            renewed = self._renewed.get((ds.namespace, f"rollout-{ds.name}", process.name), 0.0)
            age = self._now() - renewed
            if age > DURATION_S:
                self._complain(f"S5: {process.name} writes {age:.1f} s after its last renewal")

    def _note_renewal(self, event: Event) -> None:
        spec: Object = event.object.get("spec") or {}
        if event.type != "DELETED" and spec.get("renewTime"):
            meta = event.object["metadata"]
            place = (meta["namespace"], meta["name"], _holder_in(spec).process)
            self._renewed[place] = parse_time(spec["renewTime"])
            self._epochs[place] = spec.get("leaseTransitions", 0)

    def _lease(self, namespace: str, name: str) -> dict[str, Any]:
        lease = self._store.get(LEASES, (namespace, f"rollout-{name}"))
        return (lease or {}).get("spec") or {}

    def _check_intent(self, process: Process, target: Target, run_id: str) -> None:
        """S4: the last line of the journal about the object is an intent, not an outcome."""
        field = "pod" if target.resource is PODS else "daemonSet"
        about = [
            line
            for line in _journal_lines(run_id)
            if line.get(field) == target.name
            and line["type"] in ("intent", "outcome")
            and (target.resource is PODS or "pod" not in line)
        ]
        if not about or about[-1]["type"] != "intent":
            self._complain(f"S4: {process.name} writes to {target.name} without an intent")

    def _check_state(
        self, engine: Engine, planned: PlannedDaemonSet, found: Object, body: dict[str, Any]
    ) -> None:
        """S9: a patch that will be taken is made for a state that the plan knows.

        Where the caller wants OnDelete enforced, it is set again where nothing else was changed.
        """
        part = body["metadata"]
        if part.get("resourceVersion") != found["metadata"]["resourceVersion"]:
            return  # the precondition saves it
        spec = found["spec"]
        digest, strategy = template_digest(spec["template"]), spec["updateStrategy"]
        before = digest == planned.current.template_digest and strategy == planned.live_strategy
        prepared = digest == planned.target.template_digest and strategy["type"] == "OnDelete"
        aim = planned.target.template_digest
        enforced = engine.enforces_strategy and digest == aim and body["spec"] == ENFORCED
        if not before and not prepared and not enforced:
            image = spec["template"]["spec"]["containers"][0]["image"]
            self._complain(f"S9: {planned.name} is patched over {image} under {strategy}")

    def _check_object(self, engine: Engine | None, target: Target, body: dict[str, Any]) -> None:
        """S2: a named object of ours, on a planned node."""
        name, is_delete = target.name, target.verb == "delete"
        part = body.get("preconditions" if is_delete else "metadata") or {}
        if not part.get("uid"):
            self._complain(f"S2: {target.verb} of {name} without a UID")
            return
        if target.resource is DAEMONSETS and not part.get("resourceVersion"):
            self._complain(f"S2: {target.verb} of {name} without a version")
        assert target.resource is not None
        found = self._store.get(target.resource, (target.namespace, name))
        if found is None or found["metadata"]["uid"] != part["uid"]:
            return  # the precondition saves it
        if engine is None:
            if is_delete and not _is_released(found):
                self._complain(f"S2: {name} is not what a dead run has handed over")
            return
        planned = {ds.uid: ds for ds in engine.plan.daemon_sets}
        owner = part["uid"] if target.resource is DAEMONSETS else self._owner_of(found)
        if owner not in planned:
            self._complain(f"S2: {name} is not an object of the run")
        elif target.resource is DAEMONSETS:
            self._check_state(engine, planned[owner], found, body)
        elif target.resource is PODS:
            node = str(found["spec"].get("nodeName", ""))
            if node not in {node.name for node in planned[owner].nodes}:
                self._complain(f"S2: {name} is on {node}, which is not in the plan")


def _journal_lines(run_id: str) -> Iterator[dict[str, Any]]:
    """Yield the lines of a run's journal, and of those that follow it under other names."""
    for path in sorted(Path(os.environ["XDG_STATE_HOME"]).rglob(f"{run_id}*.jsonl")):
        for line in path.read_bytes().splitlines():
            yield msgspec.json.decode(line)


def _holder_in(spec: dict[str, Any]) -> Holder:
    return parse_holder(spec.get("holderIdentity") or "")


def _is_released(pod: Object) -> bool:
    return marks.RELEASED_FROM in (pod["metadata"].get("labels") or {})
