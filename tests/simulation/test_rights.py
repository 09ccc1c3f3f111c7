"""Rights that are taken away in the middle of a rollout, or of its way back: never a dead end."""

from __future__ import annotations

import gzip
import shlex
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest

from rollout.errors import ExitCode
from rollout.executor.record.record import RunRecord
from rollout.sim.faultfile import read_faults
from rollout.sim.fleetfile import DaemonSetEntry, Fleet, default_fleet, default_nodes, read_fault
from rollout.sim.registry import DeleteOptions, PatchType
from rollout.sim.resources import CONFIG_MAPS, CONTROLLER_REVISIONS, DAEMONSETS, PODS
from tests.simulation.oracles import _node
from tests.simulation.virtual import SOMEBODY, Command, World
from tests.simulation.world import TARGET

PATCHED = (
    "'|' base64 -d '|' gunzip '|' "
    "kubectl patch daemonset log-agent -n logging --type json --patch-file /dev/stdin"
)
IN_THE_WAY = 'User "rollout" cannot {verb} resource "{what}"'


@contextmanager
def world(verb: str, what: str) -> Iterator[World]:
    """Run a cluster whose faults, once they begin, take one right away."""
    match = f"match: {{verbs: [{verb}], resources: [{what}]}}"
    script = read_faults(None, f"faults: [{{name: rights, revoke: true, {match}}}]")
    with World(default_fleet(6, 1), seed=3, faults=script) as made:
        yield made


def applied(made: World, deletes: int, *, surge: bool = False, **more: Any) -> Command:
    """Apply until so many pods were deleted."""
    strategy = {"maxUnavailable": 0, "maxSurge": 2} if surge else {"maxUnavailable": 2}
    body = {
        "daemonSets": [{"name": "log-agent", "target": TARGET, "strategy": strategy}],
        "waves": "fast",
        "health": {"soak": 1, "nodeTimeout": "1m"},
        **more,
    }
    command = made.start("apply", made.save(made.plan(body)))
    made.wait_until(lambda: made.judge.deletes.total() >= deletes)
    return command


def going_back(made: World, *, surge: bool = False) -> Command:
    """Update four nodes and go back; returns when two of them are on their way."""
    forward = applied(made, 4, surge=surge)
    forward.kill()
    made.advance(30.0)
    back = made.start("rollback", "sim", "-n", "logging")
    made.wait_until(lambda: "node-002: pod " in back.text and "node-003: pod " in back.text)
    return back


def give_back(made: World) -> None:
    """Let everybody do again what their roles say."""
    made.api.authorizer.revoked = lambda _user, _attributes: False


def record(made: World) -> RunRecord:
    texts = [(c.get("data") or {}).get("record") for c in made.cluster.store.scan(CONFIG_MAPS)]
    (found,) = [msgspec.json.decode(text, type=RunRecord) for text in texts if text]
    return found


def carry_out(made: World, text: str) -> list[str]:
    """Do what the commands by hand say, as somebody else does; returns the pods they delete."""
    deleted = []
    block = text.partition("By hand, in this order")[2]
    for command in block.partition("\n\n")[0].splitlines()[1:]:
        words = shlex.split(command)
        registry = made.cluster.registry
        match words:
            case ["kubectl", "delete", "pod", name, "-n", "logging"]:
                registry.delete(PODS, "logging", name, SOMEBODY, DeleteOptions())
                deleted.append(name)
            case ["kubectl", "patch", "daemonset", name, "-n", _, "--type", "merge", "-p", body]:
                patch = msgspec.json.decode(body)
                registry.patch(DAEMONSETS, "logging", name, patch, PatchType.MERGE, SOMEBODY)
            case ["kubectl", "get", "configmap", store, "-n", _, "-o", path, *rest]:
                assert shlex.join(rest) == PATCHED
                found = made.cluster.store.get(CONFIG_MAPS, ("logging", store))
                assert found is not None
                key = path.removeprefix("jsonpath={.binaryData.").removesuffix("}")
                patch = msgspec.json.decode(gzip.decompress(b64decode(found["binaryData"][key])))
                registry.patch(DAEMONSETS, "logging", "log-agent", patch, PatchType.JSON, SOMEBODY)
            case ["kubectl", "label", "pod", name, "-n", _, "--overwrite", *labels]:
                change_pod(made, name, "labels", labels)
            case ["kubectl", "annotate", "pod", name, "-n", _, *annotations]:
                change_pod(made, name, "annotations", annotations)
            case ["kubectl", "rollout", "undo", "daemonset/log-agent", "-n", _, "--to-revision=1"]:
                made.patch(DAEMONSETS, "log-agent", {"spec": {"template": old_template()}})
            case _:
                raise AssertionError(f"not a command that this test knows: {words}")
        made.advance(30.0)
    return deleted


def change_pod(made: World, name: str, where: str, words: list[str]) -> None:
    """Do what `kubectl label` and `annotate` do: key=value sets, key- takes away."""
    changes: dict[str, str | None] = {w.removesuffix("-"): None for w in words if "=" not in w}
    changes |= dict(w.split("=", 1) for w in words if "=" in w)
    made.patch(PODS, name, {"metadata": {where: changes}})


def old_template() -> dict[str, Any]:
    return {"spec": {"containers": [{"name": "agent", "image": "log-agent:2.3"}]}}


def images(made: World) -> set[str]:
    return {pod["spec"]["containers"][0]["image"] for pod in made.pods()}


def pods_of(made: World, *nodes: str) -> list[str]:
    return sorted(p["metadata"]["name"] for p in made.pods() if _node(p) in nodes)


@pytest.mark.parametrize(
    ("verb", "surge"), [("delete", False), ("patch", True)], ids=["delete", "hand over"]
)
def test_commands_30_a_way_back_whose_right_is_taken_away_names_what_is_left(
    verb: str, *, surge: bool
) -> None:
    with world(verb, "pods") as made:
        back = going_back(made, surge=surge)
        left = pods_of(made, "node-000", "node-001")
        made.begin_faults()

        assert back.end() == ExitCode.ROLLBACK_INCOMPLETE

        assert made.injector.counters["rights"].hits
        assert "not back yet: node-000, node-001 (a permission was taken away: " in back.text
        assert IN_THE_WAY.format(verb=verb, what="pods") in back.text
        assert "rollout rollback sim -n logging" in back.text
        assert record(made).phase == "rollback incomplete"
        assert made.daemon_set()["spec"]["updateStrategy"]["type"] == "OnDelete"
        assert sorted(carry_out(made, back.text)) == left
        assert images(made) == {"log-agent:2.3"}
        assert made.daemon_set()["spec"]["updateStrategy"]["type"] == "RollingUpdate"


def test_a_way_back_goes_on_when_its_right_is_given_back() -> None:
    with world("delete", "pods") as made:
        back = going_back(made)
        made.begin_faults()
        assert back.end() == ExitCode.ROLLBACK_INCOMPLETE
        give_back(made)

        again = made.run("rollback", "sim", "-n", "logging")

        assert again.code == ExitCode.ROLLED_BACK, again.text
        assert images(made) == {"log-agent:2.3"}


def test_a_way_back_that_may_not_restore_the_strategy_says_how_it_is_done_by_hand() -> None:
    with world("patch", "daemonsets") as made:
        back = going_back(made)
        made.begin_faults()

        assert back.end() == ExitCode.ROLLBACK_INCOMPLETE

        assert "not back yet: the strategy (" in back.text
        assert carry_out(made, back.text) == []
        made.judge.check_strategy(restored=True)


@pytest.mark.parametrize(
    ("verb", "what", "phase"),
    [("patch", "daemonsets", "rollback incomplete"), ("update", "configmaps", "running")],
)
def test_where_the_plan_wants_a_way_back_that_may_not_begin_the_commands_do_all_of_it(
    verb: str, what: str, phase: str
) -> None:
    with world(verb, what) as made:
        made.cluster.set_image_fault("log-agent:2.4@node-002", read_fault("never-ready"))
        forward = applied(made, 4, failure={"onFailure": "rollback"})
        made.advance(10.0)
        touched = sorted(node for _, node in made.judge.deletes)
        left = pods_of(made, *touched)
        made.begin_faults()

        assert forward.end() == ExitCode.ROLLBACK_INCOMPLETE

        assert f"not back yet: {', '.join(touched)}" in forward.text
        assert IN_THE_WAY.format(verb=verb, what=f"{what}") in forward.text
        assert record(made).phase == phase
        assert sorted(carry_out(made, forward.text)) == left
        assert images(made) == {"log-agent:2.3"}
        assert made.daemon_set()["spec"]["updateStrategy"]["type"] == "RollingUpdate"


def test_a_template_that_the_controller_has_forgotten_is_set_by_hand_from_what_is_kept() -> None:
    with world("patch", "daemonsets") as made:
        made.patch(DAEMONSETS, "log-agent", {"spec": {"revisionHistoryLimit": 0}})
        forward = applied(made, 6)
        forward.kill()
        made.advance(30.0)
        assert len(list(made.cluster.store.scan(CONTROLLER_REVISIONS, "logging"))) == 1
        made.begin_faults()
        back = made.run("rollback", "sim", "-n", "logging")

        assert back.code == ExitCode.ROLLBACK_INCOMPLETE
        assert len(carry_out(made, back.text)) == 6
        assert images(made) == {"log-agent:2.3"}


def test_no_record_of_a_way_back_holds_the_template_that_it_could_not_set() -> None:
    match = "match: {verbs: [patch], resources: [daemonsets]}"
    script = read_faults(None, f"faults: [{{name: wrong, error: 422, {match}}}]")
    with World(default_fleet(6, 1), seed=3, faults=script) as made:
        made.patch(DAEMONSETS, "log-agent", {"spec": {"revisionHistoryLimit": 0}})
        forward = applied(made, 6)
        forward.kill()
        made.advance(30.0)
        made.begin_faults()
        back = made.run("rollback", "sim", "-n", "logging")

        assert back.code == ExitCode.ROLLBACK_INCOMPLETE
        assert (
            ". By hand: kubectl get configmap rollout-sim-plan -n logging" in record(made).message
        )
        stored = [msgspec.json.encode(c.get("data")) for c in made.cluster.store.scan(CONFIG_MAPS)]
        assert b"log-agent:2.3" not in b"".join(stored)
        assert "log-agent:2.3" not in back.text.partition("By hand")[2]


def test_a_daemon_set_that_the_run_has_not_touched_is_in_no_command_but_the_strategy_s() -> None:
    match = "match: {verbs: [patch], resources: [daemonsets]}"
    script = read_faults(None, f"faults: [{{name: rights, revoke: true, {match}}}]")
    entries = tuple(
        DaemonSetEntry(name=name, namespace="logging", image=f"{name}:2.3")
        for name in ("log-agent", "net-agent")
    )
    items: list[dict[str, Any]] = [
        {"name": name, "target": {"set": {"image": {"agent": f"{name}:2.4"}}}}
        for name in ("log-agent", "net-agent")
    ]
    items[1] |= {"after": {"daemonSet": "log-agent", "scope": "all"}}
    fleet = Fleet(nodes=default_nodes(4, 1), daemon_sets=entries)
    with World(fleet, faults=script) as made:
        forward = applied(made, 2, daemonSets=items)
        forward.kill()
        made.advance(30.0)
        made.begin_faults()
        back = made.run("rollback", "sim", "-n", "logging")

        assert back.code == ExitCode.ROLLBACK_INCOMPLETE
        by_hand = back.text.partition("By hand")[2]
        assert by_hand.count("kubectl delete pod log-agent-") == 2
        assert "kubectl delete pod net-agent-" not in by_hand


def test_pods_that_were_handed_over_get_their_label_back_by_hand() -> None:
    with world("update", "configmaps") as made:
        made.cluster.set_image_fault("log-agent:2.4@node-000", read_fault("never-ready"))
        forward = applied(made, 0, surge=True, failure={"onFailure": "rollback"})
        made.wait_until(lambda: made.judge.deletes.total() >= 1)
        made.begin_faults()

        assert forward.end() == ExitCode.NOT_AUTHORISED, "no pod is taken away unexplained (S4)"
        assert "the run record could not be written" in forward.text
        assert "node-002: FAILED" not in forward.text, "it is well, and cannot help it"

        back = made.run("rollback", "sim", "-n", "logging")

        assert back.code == ExitCode.NOT_AUTHORISED
        assert "kubectl label pod" in back.text
        carry_out(made, back.text)
        assert images(made) == {"log-agent:2.3"}
        assert len(made.pods()) == 6


@pytest.mark.parametrize("what", ["configmaps", "leases"])
def test_a_way_back_that_may_not_even_be_asked_for_says_how_to_go_it_by_hand(what: str) -> None:
    with world("update", what) as made:
        forward = applied(made, 4)
        forward.kill()
        made.advance(30.0)
        made.begin_faults()
        back = made.run("rollback", "sim", "-n", "logging")

        assert back.code == ExitCode.NOT_AUTHORISED
        assert IN_THE_WAY.format(verb="update", what=what) in back.text
        assert "is at work, stop it first" in back.text
        assert len(carry_out(made, back.text)) >= 4
        assert images(made) == {"log-agent:2.3"}


def test_a_way_back_that_may_not_even_be_planned_is_incomplete_and_says_so() -> None:
    with world("list", "controllerrevisions") as made:
        made.cluster.set_image_fault("log-agent:2.4@node-002", read_fault("never-ready"))
        forward = applied(made, 4, failure={"onFailure": "rollback"})
        made.begin_faults()

        assert forward.end() == ExitCode.ROLLBACK_INCOMPLETE

        assert "and what is left to do cannot be read" in forward.text
        assert record(made).phase == "rollback incomplete"
        assert IN_THE_WAY.format(verb="list", what="controllerrevisions") in record(made).message


@pytest.mark.parametrize(
    ("verb", "what", "done"), [("delete", "pods", 4), ("patch", "daemonsets", 6)]
)
def test_a_run_whose_right_is_taken_away_is_refused_and_says_how_to_go_on_or_back(
    verb: str, what: str, done: int
) -> None:
    with world(verb, what) as made:
        forward = applied(made, 4)
        made.begin_faults()

        assert forward.end() == ExitCode.NOT_AUTHORISED

        assert f"Refused: {done} of 6 nodes updated" in forward.text
        assert IN_THE_WAY.format(verb=verb, what=what) in forward.text
        assert "The strategy of DaemonSet logging/log-agent is OnDelete." in forward.text
        assert "rollout resume sim -n logging" in forward.text
        assert "rollout rollback sim -n logging" in forward.text
        assert record(made).phase == "refused"
        give_back(made)
        again = made.run("resume", "sim", "-n", "logging")
        assert again.code == ExitCode.DONE, again.text
        assert set(made.judge.deletes.values()) == {1}
