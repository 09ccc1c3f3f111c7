"""The record in its ConfigMap: compare-and-swap, lost answers, and ConfigMaps of somebody else."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from msgspec.structs import replace

from rollout.cluster.client import Client, PatchKind
from rollout.errors import DocumentError, StaleError, UnknownOutcome
from rollout.executor.holding import Held
from rollout.executor.lock.leaseprotocol import Holder
from rollout.executor.lock.leases import LeaseName
from rollout.executor.lock.lock import Lock
from rollout.executor.record import planstore
from rollout.executor.record.keeper import Keeper
from rollout.executor.record.planstore import (
    Kept,
    keep_plan,
    read_kept_plan,
    read_kept_signature,
    read_kept_template,
    store_name,
)
from rollout.executor.record.record import RunRecord, Superseded, new_record, record_name
from rollout.executor.superseding import require_not_superseded
from rollout.executor.tuning import DEFAULT_TUNING
from rollout.fleet.objects import JsonObject
from rollout.fleet.revisions import template_digest
from rollout.planner.plan import Plan, encode, seal
from rollout.sim.clock import VirtualClock
from rollout.sim.cluster import Cluster
from rollout.sim.embedded import EmbeddedCluster
from rollout.sim.faultfile import read_faults
from rollout.sim.fleetfile import default_fleet
from tests.cluster.world import talking_to
from tests.simulation.driver import make_plan
from tests.simulation.world import TARGET

CONFIG_MAPS = "/api/v1/namespaces/logging/configmaps"


@pytest.fixture(scope="module")
def plan() -> Plan:
    cluster = Cluster(VirtualClock(), default_fleet(1, 1))
    cluster.start()
    return make_plan(cluster, {"daemonSets": [{"name": "log-agent", "target": TARGET}]})


@contextmanager
def cluster(directory: Path, faults: str = "") -> Iterator[Client]:
    script = read_faults(None, faults) if faults else None
    with EmbeddedCluster(default_fleet(1), faults=script) as embedded:
        user = embedded.kubeconfig()["users"][0]["user"]
        with talking_to(embedded.server.url, directory, user=user) as client:
            yield client


def record_of(plan: Plan, run_id: str = "run-1") -> RunRecord:
    return new_record(plan, run_id, "2026-01-01T00:00:00Z", "ann@laptop")


def keeper(client: Client, plan: Plan) -> Keeper:
    made = Keeper(client, "logging", plan.name)
    made.read()
    return made


def stored(client: Client, plan: Plan) -> RunRecord | None:
    return Keeper(client, "logging", plan.name).read()


def written_by_others() -> JsonObject:
    owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "portal", "uid": "u-1"}
    return {
        "metadata": {
            "labels": {"team": "edge"},
            "annotations": {"note": "look here"},
            "finalizers": ["example.com/hold"],
            "ownerReferences": [{**owner, "blockOwnerDeletion": False}],
        },
        "data": {"readme": "of the team"},
        "binaryData": {"logo": "AAAA"},
    }


def require_kept(there: JsonObject, theirs: JsonObject) -> None:
    metadata, wanted = there["metadata"], theirs["metadata"]
    assert wanted["labels"].items() < metadata["labels"].items()
    for field in ("annotations", "finalizers", "ownerReferences"):
        assert metadata[field] == wanted[field]
    for field in set(theirs) - {"metadata"}:
        assert theirs[field].items() <= there[field].items()


def test_a_record_that_somebody_else_wrote_meanwhile_is_not_overwritten(
    tmp_path: Path, plan: Plan
) -> None:
    with cluster(tmp_path) as client:
        keeper(client, plan).write(record_of(plan))
        mine, others = keeper(client, plan), keeper(client, plan)
        theirs = replace(record_of(plan), message="theirs")
        others.write(theirs)

        with pytest.raises(StaleError, match="changed by somebody else"):
            mine.write(replace(record_of(plan), message="mine"))
        assert stored(client, plan) == theirs


def test_a_change_is_made_on_top_of_what_others_wrote(tmp_path: Path, plan: Plan) -> None:
    with cluster(tmp_path) as client:
        keeper(client, plan).write(record_of(plan))
        mine, others = keeper(client, plan), keeper(client, plan)
        others.write(replace(record_of(plan), message="theirs"))
        mine.update("run-1", lambda record: replace(record, epoch=3))

        now = stored(client, plan)
        assert now is not None
        assert (now.message, now.epoch) == ("theirs", 3)


def test_what_others_wrote_beside_the_record_stays(tmp_path: Path, plan: Plan) -> None:
    with cluster(tmp_path) as client:
        mine = keeper(client, plan)
        mine.write(record_of(plan))
        path = f"{CONFIG_MAPS}/{record_name(plan.name)}"
        theirs = written_by_others()
        client.patch(path, theirs, PatchKind.MERGE, dict)
        mine.read()

        mine.update("run-1", lambda record: replace(record, phase="paused"))
        mine.update("run-1", lambda record: replace(record, phase="held"))

        require_kept(client.get(path, dict), theirs)


def test_what_others_wrote_beside_a_kept_plan_stays(tmp_path: Path, plan: Plan) -> None:
    with cluster(tmp_path) as client:
        assert keep_plan(client, plan, {}) == Kept()
        path = f"{CONFIG_MAPS}/{store_name(plan.name)}"
        theirs = {"metadata": written_by_others()["metadata"]}
        client.patch(path, theirs, PatchKind.MERGE, dict)

        assert keep_plan(client, plan, {}) == Kept()

        require_kept(client.get(path, dict), theirs)


def test_a_run_writes_nothing_into_the_record_of_its_successor(tmp_path: Path, plan: Plan) -> None:
    with cluster(tmp_path) as client:
        keeper(client, plan).write(record_of(plan, "run-2"))

        with pytest.raises(StaleError, match="no longer the record of run run-1"):
            keeper(client, plan).update("run-1", lambda record: replace(record, message="mine"))
        assert stored(client, plan) == record_of(plan, "run-2")


@pytest.mark.parametrize("done", [True, False])
def test_a_write_without_an_answer_is_resolved_by_a_read(
    tmp_path: Path, plan: Plan, *, done: bool
) -> None:
    fault = "lose: true" if done else "error: {status: 500, reason: InternalError}"
    faults = f"faults: [{{match: {{verbs: [create], resources: [configmaps]}}, {fault}, count: 1}}]"
    with cluster(tmp_path, faults) as client:
        keeper(client, plan).write(record_of(plan))

        assert stored(client, plan) == record_of(plan)


class SlowProxy(Client):
    """A way to the cluster on which the first replacement arrives late: right before the next."""

    def __init__(self, client: Client) -> None:
        super().__init__(client._sender, client.namespace)
        self.late: list[Any] = []
        self.seen = 0

    def replace(self, path: str, body: object, type_: type[Any]) -> Any:
        self.seen += 1
        if self.seen == 1:
            self.late.append(body)
            raise UnknownOutcome(f"PUT {path}: the server is silent")
        while self.late:
            super().replace(path, self.late.pop(), type_)
        return super().replace(path, body, type_)


def test_a_write_that_arrives_late_refuses_its_own_repetition_and_is_known_again(
    tmp_path: Path, plan: Plan
) -> None:
    with cluster(tmp_path) as client:
        keeper(client, plan).write(record_of(plan))
        mine = keeper(SlowProxy(client), plan)

        mine.update("run-1", lambda record: replace(record, phase="paused"))
        mine.update("run-1", lambda record: replace(record, message="goes on from there"))

        assert stored(client, plan) == replace(
            record_of(plan), phase="paused", message="goes on from there"
        )


def test_a_record_under_a_higher_epoch_is_never_overwritten(tmp_path: Path, plan: Plan) -> None:
    with cluster(tmp_path) as client:
        lock = Lock(client, [LeaseName("logging", "log-agent")], Holder("run-1", "ann", "1"))
        with lock:
            nothing = cast("Any", None)
            log = cast("Any", SimpleNamespace(head=None))
            held = Held(client, nothing, nothing, nothing, lock, DEFAULT_TUNING, log)
            change = held.stamped(lambda record: record)
            assert change(record_of(plan)).epoch == lock.epoch == 1
            with pytest.raises(StaleError, match="taken over under epoch 2, ours is 1"):
                change(replace(record_of(plan), epoch=2))


# The plan beside it


def test_a_config_map_of_somebody_else_is_left_alone(tmp_path: Path, plan: Plan) -> None:
    name = store_name(plan.name)
    theirs = {"metadata": {"name": name, "namespace": "logging"}, "data": {"a": "b"}}
    with cluster(tmp_path) as client:
        client.create(CONFIG_MAPS, {"apiVersion": "v1", "kind": "ConfigMap", **theirs}, dict)

        assert "is not ours" in keep_plan(client, plan, {}).why_not
        assert client.get(f"{CONFIG_MAPS}/{name}", dict)["data"] == {"a": "b"}


def test_another_plan_than_that_of_the_run_is_not_taken_for_it(tmp_path: Path, plan: Plan) -> None:
    with cluster(tmp_path) as client:
        assert keep_plan(client, plan, {}) == Kept()
        assert read_kept_plan(client, "logging", record_of(plan)) == plan
        other = seal(replace(plan, author="bob@ci"))
        with pytest.raises(StaleError, match=f"holds plan {plan.id}, the run's is {other.id}"):
            read_kept_plan(client, "logging", record_of(other))


def test_a_kept_plan_that_somebody_has_changed_is_refused_with_one_way_on(
    tmp_path: Path, plan: Plan
) -> None:
    changed = gzip.compress(encode(plan).replace(b'"log-agent', b'"not-agent', 1))
    path = f"{CONFIG_MAPS}/{store_name(plan.name)}"
    with cluster(tmp_path) as client:
        assert not keep_plan(client, plan, {}).why_not
        for content, what in (
            (base64.b64encode(changed).decode(), "the plan was changed"),
            ("AAAA", "holds no plan"),
        ):
            found = client.get(path, dict)
            client.replace(path, found | {"binaryData": {"plan": content}}, dict)

            with pytest.raises(DocumentError, match=what) as refused:
                read_kept_plan(client, "logging", record_of(plan))
            cure = f"give its file: 'rollout resume {plan.name} PLAN -n logging'"
            assert str(refused.value).endswith(cure)
            assert "make a new one" not in str(refused.value)


def test_a_signature_is_kept_beside_its_plan_and_never_alone(
    tmp_path: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    with cluster(tmp_path) as client:
        assert keep_plan(client, plan, {}, b"signed") == Kept()
        assert read_kept_plan(client, "logging", record_of(plan)) == plan
        assert read_kept_signature(client, "logging", plan.name) == b"signed"

        monkeypatch.setattr(planstore, "MOST_STORED", 100)
        assert "a ConfigMap holds" in keep_plan(client, plan, {}, b"signed").why_not
        assert read_kept_signature(client, "logging", plan.name) is None


def test_a_kept_template_that_somebody_has_changed_is_none(tmp_path: Path, plan: Plan) -> None:
    template = {"spec": {"containers": [{"name": "agent", "image": "log-agent:2.3"}]}}
    other = {"spec": {"containers": [{"name": "agent", "image": "log-agent:0.1"}]}}
    digest = template_digest(template)
    with cluster(tmp_path) as client:
        assert keep_plan(client, plan, {digest: template}) == Kept()
        assert read_kept_template(client, "logging", plan.name, digest) == template
        assert read_kept_template(client, "logging", plan.name, template_digest(other)) is None

        assert keep_plan(client, plan, {digest: other}) == Kept()
        assert read_kept_template(client, "logging", plan.name, digest) is None


def test_a_plan_whose_run_made_place_for_another_one_is_refused(plan: Plan) -> None:
    now = replace(
        record_of(plan, "run-2"),
        plan_id="another",
        superseded=(Superseded("run-1", plan.id, "paused", "ann@laptop"),),
    )
    with pytest.raises(StaleError, match="was superseded: its run run-1 was paused when run run-2"):
        require_not_superseded(now, plan)
    require_not_superseded(replace(now, superseded=()), plan)
    require_not_superseded(None, plan)
    assert record_name(plan.name).endswith(plan.name)
