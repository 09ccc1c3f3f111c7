"""The numbered faults of API, actors and people, each with the proof that it was reached."""

from __future__ import annotations

import copy
import json
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from rollout.errors import ExitCode
from rollout.fleet import marks
from rollout.fleet.revisions import template_digest
from rollout.sim.errors import StatusError
from rollout.sim.fleetfile import DaemonSetEntry, Fleet, default_fleet, default_nodes, read_fault
from rollout.sim.podrequests import evict
from rollout.sim.registry import DeleteOptions
from rollout.sim.resources import (
    CONFIG_MAPS,
    CONTROLLER_REVISIONS,
    DAEMONSETS,
    NODES,
    PDBS,
    PODS,
)
from tests.simulation.faultworld import (
    NEW,
    THERE,
    AtTheFirstDelete,
    after_deletes,
    begin,
    faults,
    hits,
    item,
    pod_on,
    spec,
    strike,
)
from tests.simulation.oracles import _node
from tests.simulation.virtual import SOMEBODY, World

# API answers


def test_fault_01_a_conflict_over_nothing_that_matters_is_tried_again() -> None:
    match = "{verbs: [patch], resources: [daemonsets]}"
    script = faults(f"faults: [{{name: moved, match: {match}, error: 409, count: 3}}]")
    with World(default_fleet(3, 1), faults=script) as world:
        assert begin(world).end() == ExitCode.DONE
        assert hits(world) == 3


def test_fault_01_a_conflict_over_the_template_is_drift() -> None:
    with World(default_fleet(4, 1)) as world:
        command = begin(world)
        after_deletes(world, 1)
        edit = {"spec": {"template": {"spec": {"containers": [{"name": "agent", "image": "x:1"}]}}}}
        strike(world, command, lambda: world.patch(DAEMONSETS, "log-agent", edit))
        world.advance(0.5)
        before = world.judge.deletes.total()

        assert command.end() == ExitCode.STALE
        assert world.judge.deletes.total() == before < 4


@pytest.mark.parametrize(("budgets", "code"), [(("first",), 429), (("first", "second"), 500)])
def test_fault_04_and_05_budgets_are_named_before_the_run_and_never_met_in_it(
    budgets: tuple[str, ...], code: int
) -> None:
    """Pods are deleted, not evicted: what refuses every eviction stops nothing."""
    with World(default_fleet(3, 1)) as world:
        for name in budgets:
            chosen = {"matchLabels": {"app": "log-agent"}}
            budget = {"metadata": {"name": name}, "spec": {"minAvailable": 3, "selector": chosen}}
            world.cluster.registry.create(PDBS, "logging", budget, SOMEBODY)
        pod = pod_on(world, "node-000")["metadata"]["name"]
        with pytest.raises(StatusError) as refused:
            evict(world.cluster.registry, "logging", pod, SOMEBODY)
        assert refused.value.code == code
        path = world.save(world.plan(spec()))
        verified = world.run("verify", path)

        assert verified.code == ExitCode.DONE
        for name in budgets:
            assert f"PodDisruptionBudget logging/{name}" in verified.text
        assert world.run("apply", path).code == ExitCode.DONE
        assert world.judge.deletes.total() == 3
        assert not any("/eviction" in write for write in world.judge.writes)


def replace_at_once(world: World, pod: dict[str, Any]) -> None:
    name = pod["metadata"]["name"]
    world.cluster.registry.delete(PODS, "logging", name, SOMEBODY, DeleteOptions(0))


def replace_by_its_namesake(world: World, pod: dict[str, Any]) -> None:
    replace_at_once(world, pod)
    newest = max(
        world.cluster.store.scan(CONTROLLER_REVISIONS, "logging"), key=lambda r: int(r["revision"])
    )
    meta = pod["metadata"]
    labels = {
        **meta["labels"],
        "controller-revision-hash": newest["metadata"]["labels"]["controller-revision-hash"],
        "pod-template-generation": str(world.daemon_set()["metadata"]["generation"]),
    }
    kept = {"name": meta["name"], "labels": labels, "ownerReferences": meta["ownerReferences"]}
    pod["spec"]["containers"][0]["image"] = NEW
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": kept, "spec": pod["spec"]}
    world.cluster.registry.create(PODS, "logging", body, SOMEBODY)


@pytest.mark.parametrize("number", [2, 3])
def test_fault_02_and_03_a_pod_that_is_gone_already_is_not_deleted_again(number: int) -> None:
    with World(default_fleet(3, 1)) as world:
        deed = {2: replace_by_its_namesake, 3: replace_at_once}[number]
        first = AtTheFirstDelete(world, deed)
        command = begin(world)

        assert command.end() == ExitCode.DONE, world.judge.story()
        assert first.node
        assert world.judge.deletes["log-agent", first.node] == 0
        assert world.judge.deletes.total() == 2
        assert "was gone already" in command.text
        assert pod_on(world, first.node)["spec"]["containers"][0]["image"] == NEW


# Actors and cluster


def test_fault_11_no_node_fails_by_the_time_in_which_the_api_server_was_down() -> None:
    down = faults("faults: [{name: down, from: 2s, for: 60s, restart: true}]")
    with World(default_fleet(4, 1), faults=down) as world:
        command = begin(world)  # nodeTimeout 1m

        assert command.end() == ExitCode.DONE, command.text
        assert hits(world) == 1
        assert "FAILED" not in command.text
        assert "kube-controller-manager" not in command.text


def test_fault_16_nothing_is_judged_by_a_view_that_is_lost() -> None:
    """The pod stops being ready while no watch can tell: its soak is not over then."""
    cut = """faults:
      - {name: cut, match: {verbs: [watch, list], resources: [pods]}, from: 5s, until: 30s,
         refuse: true}
      - {name: end, match: {verbs: [watch], resources: [pods]}, until: 5s, drop: 5s}"""
    body = spec(health={"soak": "10s", "nodeTimeout": "2m"})
    with World(default_fleet(2, 1), faults=faults(cut)) as world:
        flap = read_fault({"kind": "flap", "after": 4, "lasts": 1000})
        world.cluster.set_image_fault(NEW, flap)
        command = begin(world, body)
        world.advance(29.0)

        assert hits(world) > 0
        assert "done (" not in command.text


def test_fault_23_a_node_that_disappears_in_mid_step_gives_its_slot_back() -> None:
    with World(default_fleet(5, 1)) as world:
        command = begin(world)
        after_deletes(world, 2)
        gone = list(world.judge.deletes)[-1][1]
        strike(world, command, lambda: world.cluster.remove_node(gone))

        assert command.end() == ExitCode.DONE
        assert f"{gone}: left the cluster" in command.text
        assert world.judge.deletes.total() == 5


def test_fault_24_a_node_that_joins_is_reported_and_never_touched() -> None:
    with World(default_fleet(4, 1)) as world:
        command = begin(world)
        after_deletes(world, 1)
        strike(world, command, lambda: world.cluster.join_node("node-new", zone="zone-a"))

        assert command.end() == ExitCode.DONE
        assert "node-new: joined the cluster" in command.text
        assert world.judge.deletes["log-agent", "node-new"] == 0
        assert pod_on(world, "node-new")["spec"]["containers"][0]["image"] == NEW


def test_fault_25_a_pod_that_does_not_end_is_never_forced() -> None:
    with World(default_fleet(4, 1)) as world:
        stuck = read_fault("stuck-terminating")
        world.cluster.set_image_fault("log-agent:2.3@node-000", stuck)
        command = begin(world)

        assert command.end() == ExitCode.HELD
        assert "terminating" in command.text
        assert world.judge.deletes["log-agent", "node-000"] == 1
        assert not any('"gracePeriodSeconds":0' in write for write in world.judge.writes)


def test_fault_26_a_cordoned_node_is_updated_as_the_controller_does() -> None:
    with World(default_fleet(3, 1)) as world:
        world.patch(NODES, "node-001", {"spec": {"unschedulable": True}})
        world.advance(1.0)
        taints = world.node("node-001")["spec"]["taints"]
        command = begin(world)

        assert [taint["key"] for taint in taints] == ["node.kubernetes.io/unschedulable"]
        assert command.end() == ExitCode.DONE
        assert world.judge.deletes["log-agent", "node-001"] == 1


def taint(world: World, node: str) -> None:
    """Let no pod be scheduled there any more; the one that runs may stay."""
    kept = {"key": "dedicated", "value": "gpu", "effect": "NoSchedule"}
    world.patch(NODES, node, {"spec": {"taints": [kept]}})


def test_fault_26_a_tainted_node_is_left_out_of_the_plan_which_says_what_becomes_of_it() -> None:
    with World(default_fleet(3, 1)) as world:
        taint(world, "node-001")
        plan = world.plan(spec())
        (fate,) = (n for ds in plan.daemon_sets for n in ds.nodes if n.name == "node-001")

        assert fate.fate == "ineligible"
        assert "dedicated" in fate.reason
        assert "the pods on node-001 are removed for good" in plan.warnings[0]
        assert world.run("apply", world.save(plan)).code == ExitCode.DONE
        assert world.judge.deletes.total() == 2
        assert world.judge.deletes["log-agent", "node-001"] == 0
        world.advance(60.0)
        assert "node-001" not in {_node(pod) for pod in world.pods()}  # the controller did it


def test_fault_26_a_taint_in_mid_run_keeps_the_pod_that_nothing_would_replace() -> None:
    """The built-in controller would delete and not replace it: guarded before the delete."""
    with World(default_fleet(4, 1)) as world:
        command = begin(world)
        after_deletes(world, 1)
        last = world.nodes()[-1]
        uid = pod_on(world, last)["metadata"]["uid"]
        strike(world, command, lambda: taint(world, last))
        world.advance(20.0)

        assert world.judge.deletes["log-agent", last] == 0
        assert pod_on(world, last)["metadata"]["uid"] == uid
        assert command.end() == ExitCode.DEFERRED
        assert f"{last}: skipped: its pod was not touched" in command.text
        assert "taint dedicated=gpu:NoSchedule is not tolerated" in command.text
        world.advance(60.0)
        assert pod_on(world, last)["metadata"]["uid"] == uid  # the strategy stays OnDelete


def test_fault_26_a_pod_that_nothing_can_schedule_holds_the_run_and_says_why() -> None:
    with World(default_fleet(3, 1)) as world:
        for name in world.nodes():
            node = world.node(name)
            full = {**node["status"], "allocatable": {**node["status"]["allocatable"], "pods": "0"}}
            world.cluster.registry.update(
                NODES, "", name, {**node, "status": full}, SOMEBODY, subresource="status"
            )
        command = begin(world)

        assert command.end() == ExitCode.HELD
        assert "nschedulable" in command.text or "Too many pods" in command.text
        assert world.judge.deletes.total() == 1


def test_fault_27_a_strategy_that_somebody_turns_back_stops_the_run() -> None:
    with World(default_fleet(6, 1)) as world:
        command = begin(world)
        after_deletes(world, 1)
        theirs = {"spec": {"updateStrategy": {"type": "RollingUpdate"}}}
        strike(world, command, lambda: world.patch(DAEMONSETS, "log-agent", theirs))
        world.advance(0.5)
        before = world.judge.deletes.total()

        assert command.end() == ExitCode.STALE
        assert "RollingUpdate" in command.text
        assert world.judge.deletes.total() == before


def test_fault_27_without_the_runs_annotations_the_way_back_knows_the_strategy_all_the_same() -> (
    None
):
    with World(default_fleet(4, 1)) as world:
        before = world.daemon_set()["spec"]["updateStrategy"]
        command = begin(world)
        after_deletes(world, 1)
        none = {"metadata": {"annotations": dict.fromkeys(marks.ALL)}}
        strike(world, command, lambda: world.patch(DAEMONSETS, "log-agent", none))

        assert command.end() == ExitCode.STALE
        assert "the annotations of the run were taken from DaemonSet log-agent" in command.text
        assert world.daemon_set()["spec"]["updateStrategy"] == {"type": "OnDelete"}
        assert world.run("rollback", "sim", *THERE).code == ExitCode.ROLLED_BACK
        assert world.daemon_set()["spec"]["updateStrategy"] == before


def test_fault_27_a_run_that_goes_on_says_what_somebody_changed_since_its_patch() -> None:
    with World(default_fleet(4, 1)) as world:
        first = begin(world)
        after_deletes(world, 1)
        old = {"name": "agent", "image": "log-agent:2.3"}
        edit = {"spec": {"template": {"spec": {"containers": [old]}}}}
        strike(world, first, lambda: world.patch(DAEMONSETS, "log-agent", edit))
        first.kill()
        second = world.run("apply", first.arguments[1])

        assert second.code == ExitCode.STALE
        assert "the template of DaemonSet log-agent was edited during the run" in second.text


def delete_pod(world: World, node: str) -> None:
    name = pod_on(world, node)["metadata"]["name"]
    world.cluster.registry.delete(PODS, "logging", name, SOMEBODY)


def test_fault_30_pods_that_a_human_deletes_use_the_budget() -> None:
    with World(default_fleet(6, 1)) as world:
        command = begin(world)
        after_deletes(world, 1)
        for node in ("node-004", "node-005"):
            strike(world, command, partial(delete_pod, world, node))

        assert command.end() == ExitCode.DONE  # the judge has watched the budget
        assert world.judge.deletes.total() == 4


def test_fault_30_while_the_successor_of_what_a_human_deleted_is_down_nothing_is_deleted() -> None:
    with World(default_fleet(6, 1)) as world:
        world.cluster.set_image_fault(f"{NEW}@node-005", read_fault("never-ready"))
        command = begin(world, spec(health={"soak": 1, "nodeTimeout": "30m"}))
        after_deletes(world, 1)
        strike(world, command, partial(delete_pod, world, "node-005"))
        world.advance(120.0)
        assert world.judge.deletes.total() == 1, "the budget of one is used up"
        assert not command.over
        world.cluster.set_image_fault(f"{NEW}@node-005", None)

        assert command.end() == ExitCode.DONE
        assert sorted(world.judge.deletes.values()) == [1] * 5


def test_fault_32_a_daemon_set_that_is_deleted_ends_the_run() -> None:
    with World(default_fleet(6, 1)) as world:
        command = begin(world)
        after_deletes(world, 1)
        registry = world.cluster.registry
        strike(
            world,
            command,
            lambda: registry.delete(DAEMONSETS, "logging", "log-agent", SOMEBODY),
        )
        before, since = world.judge.deletes.total(), world.clock.now()

        assert command.end() == ExitCode.STALE
        assert world.judge.deletes.total() <= before + 1
        assert world.clock.now() < since + 5.0, "nobody makes the pods that it would wait for"
        assert "DaemonSet logging/log-agent, as this run knew it, does not exist" in command.text
        assert "rollout rollback" not in command.text


def recreate(world: World) -> None:
    """Delete the DaemonSet, and make it again as it is in the end."""
    old = copy.deepcopy(world.daemon_set())
    world.cluster.registry.delete(DAEMONSETS, "logging", "log-agent", SOMEBODY)
    metadata = {"name": "log-agent", "namespace": "logging", "labels": old["metadata"]["labels"]}
    body = {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": metadata}
    made = {**body, "spec": {**old["spec"], "updateStrategy": {"type": "RollingUpdate"}}}
    world.cluster.registry.create(DAEMONSETS, "logging", made, SOMEBODY)


def test_fault_32_a_run_that_goes_on_knows_a_recreated_daemon_set_for_another_one() -> None:
    with World(default_fleet(6, 1)) as world:
        first = begin(world)
        after_deletes(world, 1)
        strike(world, first, lambda: recreate(world))
        first.kill()
        world.advance(60.0)
        before, since = world.judge.deletes.total(), world.clock.now()
        second = world.run("apply", first.arguments[1])

        assert second.code == ExitCode.STALE
        assert "DaemonSet log-agent was recreated" in second.text
        assert world.clock.now() < since + 30.0
        assert world.judge.deletes.total() == before


def forget_revisions(world: World) -> None:
    """Delete the history while no controller is there to write it anew."""
    world.cluster.stop_controllers()
    for revision in list(world.cluster.store.scan(CONTROLLER_REVISIONS, "logging")):
        name = revision["metadata"]["name"]
        world.cluster.registry.delete(CONTROLLER_REVISIONS, "logging", name, SOMEBODY)


def test_fault_33_the_way_back_is_pinned_in_the_plan_and_verified_before_the_run() -> None:
    with World(default_fleet(3, 1)) as world:
        plan = world.plan(spec())
        path = world.save(plan)
        forget_revisions(world)
        known = world.run("verify", path)

        digest = template_digest(world.daemon_set()["spec"]["template"])
        assert [ds.stable.template_digest for ds in plan.daemon_sets] == [digest]
        assert known.code == ExitCode.DONE
        assert "to the template of now, which the run keeps" in known.text


def test_fault_33_a_revision_that_is_deleted_in_mid_run_costs_no_untouched_node_its_pod() -> None:
    with World(default_fleet(4, 1)) as world:
        command = begin(world)
        after_deletes(world, 1)
        touched = {node for _, node in world.judge.deletes}
        before = {_node(pod): pod["metadata"]["uid"] for pod in world.pods()}
        (old,) = (r for r in world.cluster.store.scan(CONTROLLER_REVISIONS) if r["revision"] == 1)
        name, registry = old["metadata"]["name"], world.cluster.registry
        strike(
            world,
            command,
            lambda: registry.delete(CONTROLLER_REVISIONS, "logging", name, SOMEBODY),
        )
        command.interrupt()
        assert command.end() == ExitCode.PAUSED
        touched |= {node for _, node in world.judge.deletes}

        assert world.run("rollback", "sim", *THERE).code == ExitCode.ROLLED_BACK
        assert {pod["spec"]["containers"][0]["image"] for pod in world.pods()} == {"log-agent:2.3"}
        after = {_node(pod): pod["metadata"]["uid"] for pod in world.pods()}
        assert {node for node in after if after[node] != before[node]} == touched
        assert len(touched) < 4


def test_fault_33_without_the_old_template_nothing_is_taken_back_and_it_is_said() -> None:
    with World(default_fleet(3, 1)) as world:
        command = begin(world)
        after_deletes(world, 1)
        command.interrupt()
        assert command.end() == ExitCode.PAUSED
        forget_revisions(world)
        kept = "rollout-sim-plan"  # the run keeps the template there, too
        world.cluster.registry.delete(CONFIG_MAPS, "logging", kept, SOMEBODY)
        before = (world.judge.deletes.total(), world.daemon_set()["spec"])

        back = world.run("rollback", "sim", *THERE)

        assert back.code not in (ExitCode.DONE, ExitCode.ROLLED_BACK)
        assert "revision" in back.text
        assert (world.judge.deletes.total(), world.daemon_set()["spec"]) == before


# Processes and people


def test_fault_39_the_next_job_goes_on_and_one_that_comes_too_early_is_told() -> None:
    with World(default_fleet(5, 1)) as world:
        command = begin(world)
        after_deletes(world, 2)
        early = world.run(*command.arguments)
        assert early.code == ExitCode.LOCKED
        assert "is locked by run" in early.text
        command.kill()

        assert world.run(*command.arguments).code == ExitCode.DONE
        assert sorted(world.judge.deletes.values()) == [1] * 5


def test_fault_52_words_from_two_shells_are_put_in_order_and_obeyed() -> None:
    with World(default_fleet(6, 1)) as world:
        command = begin(world)
        after_deletes(world, 1)
        pause = world.start("pause", "sim", *THERE)
        back = world.start("rollback", "sim", *THERE)
        world.wait_until(lambda: command.over and pause.over and back.over)

        assert (pause.code, back.code) == (0, 0)
        assert command.code == ExitCode.ROLLED_BACK, "the last word counts"
        (record,) = world.judge.wrote.records()
        assert [word["number"] for word in record["said"]] == [1, 2]
        assert {word["verb"] for word in record["said"]} == {"pause", "rollback"}
        assert list(world.judge.deletes) == [("log-agent", "node-000")], "nothing else began"


def test_fault_53_a_way_back_is_always_taken_even_from_canaries_that_are_down() -> None:
    with World(default_fleet(5, 1)) as world:
        world.cluster.set_image_fault(NEW, read_fault("never-ready"))
        assert begin(world).end() == ExitCode.HELD
        back = world.start("rollback", "sim", *THERE)
        world.advance(0.3)
        back.interrupt()
        world.wait_until(lambda: back.over)
        last = back if back.code == ExitCode.ROLLED_BACK else world.run("rollback", "sim", *THERE)

        assert last.code == ExitCode.ROLLED_BACK
        images = {pod["spec"]["containers"][0]["image"] for pod in world.pods()}
        assert images == {"log-agent:2.3"}


def test_fault_53_a_node_that_is_down_keeps_no_way_back_from_its_end() -> None:
    """Nothing ends there: a pod that somebody deleted stays terminating, and none follows."""
    with World(default_fleet(3, 1)) as world:
        world.cluster.lose_node("node-002")
        world.advance(120.0)
        command = begin(world)
        after_deletes(world, 1)
        command.kill()
        down = pod_on(world, "node-002")["metadata"]["name"]
        world.cluster.registry.delete(PODS, "logging", down, SOMEBODY)
        back = world.run("rollback", "sim", *THERE)

        assert back.code == ExitCode.ROLLED_BACK, back.text
        assert "deletionTimestamp" in pod_on(world, "node-002")["metadata"], "it did not hang"


def test_fault_54_a_pod_that_the_user_deletes_himself_counts_as_done() -> None:
    with World(default_fleet(4, 1)) as world:
        command = begin(world)
        after_deletes(world, 1)
        strike(world, command, lambda: delete_pod(world, "node-003"))

        assert command.end() == ExitCode.DONE
        assert world.judge.deletes["log-agent", "node-003"] == 0


def test_fault_55_two_daemon_sets_share_the_nodes_in_flight() -> None:
    names = ("one", "two")
    entries = tuple(
        DaemonSetEntry(name=name, namespace="logging", image=f"{name}:1") for name in names
    )
    fleet = msgspec.structs.replace(default_fleet(4, 1), daemon_sets=entries)
    items = [
        item(2, name=name, target={"set": {"image": {"agent": f"{name}:2"}}}) for name in names
    ]
    with World(fleet) as world:
        body = {**spec(), "daemonSets": items, "limits": {"maxNodesInFlight": 1}}
        command = begin(world, body)
        most = 0

        def over() -> bool:
            nonlocal most
            most = max(most, len(world.judge._by_us))
            return command.over

        world.wait_until(over)
        assert command.code == ExitCode.DONE
        assert most == 1
        assert world.judge.deletes.total() == 8


@pytest.mark.parametrize(
    ("nodes", "limit", "most"), [(1, "1%", 1), (2, "50%", 1), (3, "34%", 2), (3, "100%", 3)]
)
def test_fault_56_percentages_of_few_nodes_round_up_and_are_never_nothing(
    nodes: int, limit: str, most: int
) -> None:
    with World(default_fleet(nodes, 1)) as world:
        body = spec(limit)
        ds = world.plan(body).daemon_sets[0]
        command = begin(world, body)

        assert ds.max_unavailable.value == most
        assert command.end() == ExitCode.DONE
        assert world.judge.deletes.total() == nodes


def test_fault_56_the_number_of_nodes_may_change_in_mid_run() -> None:
    with World(default_fleet(6, 1)) as world:
        command = begin(world, spec("34%"))
        after_deletes(world, 2)
        for number in (3, 4, 5):
            strike(world, command, partial(world.cluster.remove_node, f"node-{number:03d}"))

        assert command.end() == ExitCode.DONE
        assert command.text.count("left the cluster") >= 3


def test_fault_14_the_lock_of_several_daemon_sets_is_held_on_a_slow_api_server() -> None:
    names = ("log-agent", "metrics-agent", "net-agent")
    sets = tuple(
        DaemonSetEntry(name=name, namespace="logging", image=f"{name}:1") for name in names
    )
    script = faults("faults: [{name: slow, match: {resources: [leases]}, delay: 4500ms}]")
    with World(Fleet(nodes=default_nodes(4, 1), daemon_sets=sets), faults=script) as world:
        body = spec() | {
            "daemonSets": [
                {"name": name, "target": {"set": {"image": {"agent": f"{name}:2"}}}}
                for name in names
            ],
            "health": {"soak": 20, "nodeTimeout": "5m"},
        }
        assert begin(world, body).end() == ExitCode.DONE
        assert hits(world) > 3 * len(names)
        (journal,) = Path(world.path("")).rglob("*.jsonl")
        lines = [json.loads(line) for line in journal.read_text().splitlines()]
    assert not [line for line in lines if line["type"] == "view-lost"]
