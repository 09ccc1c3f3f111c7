"""Where a way back leads when the way forward did not begin where all was well."""

from __future__ import annotations

import copy
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from msgspec.structs import replace

from rollout.errors import ExitCode
from rollout.sim.fleetfile import DaemonSetEntry, UpdateStrategy, default_fleet, read_fault
from rollout.sim.images import Behaviour, Timing
from rollout.sim.resources import CONFIG_MAPS, CONTROLLER_REVISIONS, DAEMONSETS, NODES
from rollout.sim.store import Event
from tests.simulation.faultworld import THERE, AtTheFirst, begin, spec
from tests.simulation.virtual import Command, World
from tests.simulation.world import SOMEBODY

UPDATE = {"name": "log-agent", "target": {"set": {"image": {"agent": "log-agent:2.4"}}}}
SURGING = {"strategy": {"maxUnavailable": 0, "maxSurge": 1}}


def write_spec(path: Path, image: str, **more: Any) -> str:
    item = {
        "name": "log-agent",
        "target": {"set": {"image": {"agent": image}}},
        "strategy": {"maxUnavailable": 2},
    }
    body = {"daemonSets": [item], "health": {"soak": 1, "nodeTimeout": "1m"}, **more}
    name = {"name": image.replace(":", "-"), "namespace": "logging"}
    spec = {"apiVersion": "rollout/v1", "kind": "Rollout", "metadata": name, "spec": body}
    path.write_text(yaml.safe_dump(spec))
    return str(path)


def apply(world: World, path: Path, image: str, **more: Any) -> Command:
    return world.run("apply", "-f", write_spec(path, image, **more), "--yes")


class Pruned:
    """Counts the revisions of a DaemonSet that are collected, whoever collects them."""

    def __init__(self, world: World, limit: int) -> None:
        world.patch(DAEMONSETS, "log-agent", {"spec": {"revisionHistoryLimit": limit}})
        self.numbers: list[int] = []
        world.cluster.store.subscribe(CONTROLLER_REVISIONS, self._note)

    def _note(self, event: Event) -> None:
        if event.type == "DELETED":
            self.numbers.append(event.object["revision"])


def images(world: World) -> Counter[str]:
    return Counter(pod["spec"]["containers"][0]["image"] for pod in world.pods())


@pytest.mark.parametrize("release", ["log-agent:2.4", "log-agent:2.5"])
def test_updates_42_a_rollback_spreads_no_release_that_was_left_half_way(
    tmp_path: Path, release: str
) -> None:
    """The next try, with the same release or a fix, is as bad: all nodes go back to the first."""
    with World(default_fleet(6, 1)) as world:
        for bad in ("log-agent:2.4", "log-agent:2.5"):
            world.cluster.set_image_fault(bad, read_fault("unpullable"))
        before = {pod["metadata"]["uid"] for pod in world.pods()}
        file = tmp_path / "spec.yaml"
        assert apply(world, file, "log-agent:2.4", waves=[1, "100%"]).code == 3

        done = apply(world, file, release, waves=[2, "100%"], failure={"onFailure": "rollback"})

        assert done.code == 4, done.text
        assert images(world) == {"log-agent:2.3": 6}
        untouched = before & {pod["metadata"]["uid"] for pod in world.pods()}
        assert len(untouched) >= 3


def test_a_rollback_needs_no_revision_that_the_controller_has_forgotten(tmp_path: Path) -> None:
    """With no history the old one goes with its last pod: here when the last node is replaced."""
    with World(default_fleet(3, 1)) as world:
        world.patch(DAEMONSETS, "log-agent", {"spec": {"revisionHistoryLimit": 0}})
        world.cluster.set_image_fault("log-agent:2.4@node-002", read_fault("unpullable"))
        world.advance(5.0)
        file = tmp_path / "spec.yaml"
        assert apply(world, file, "log-agent:2.4", failure={"onFailure": "abort"}).code == 3
        (left,) = world.cluster.store.scan(CONTROLLER_REVISIONS, "logging")
        assert left["revision"] == 2

        done = world.run("rollback", "log-agent-2.4", "-n", "logging")

        assert done.code == 4, done.text
        assert images(world) == {"log-agent:2.3": 3}


def test_a_way_back_hands_over_the_pod_whose_old_one_is_still_ending() -> None:
    """It is the only one that works there (S1): the old one beside it serves nobody any more."""
    images = {"log-agent:2.3": Behaviour(stop=Timing(20.0))}
    fleet = replace(default_fleet(1, 1), images=images)
    with World(fleet) as world:
        path = world.save(world.plan({"daemonSets": [UPDATE | SURGING], "health": {"soak": 1}}))
        world.begin_faults()
        command = world.start("apply", path)
        world.wait_until(lambda: world.judge.deletes.total() == 1)
        command.kill()

        back = world.run("rollback", "sim", "-n", "logging")

        assert back.code == 4, back.text
        released = [line for line in world.judge.writes if "released-from" in line]
        assert len(released) >= 2, "the new pod was not handed over"


def test_a_way_back_that_goes_on_gives_a_node_its_time_however_old_the_pod_taken_back_is() -> None:
    """Where the newer pod still ends, its end began the step, and not the birth of the old one."""
    slow = {"log-agent:2.4": Behaviour(stop=Timing(20.0))}
    fleet = replace(default_fleet(1, 1), images=slow)
    with World(fleet) as world:
        world.advance(600.0)
        health = {"soak": 60, "nodeTimeout": "2m"}
        path = world.save(world.plan({"daemonSets": [UPDATE | SURGING], "health": health}))
        command = world.start("apply", path)
        world.wait_until(lambda: len(world.pods()) == 2)
        world.advance(10.0)
        command.kill()
        back = world.start("rollback", "sim", "-n", "logging")
        world.wait_until(lambda: any("deletionTimestamp" in p["metadata"] for p in world.pods()))
        back.kill()

        again = world.run("rollback", "sim", "-n", "logging")

        assert again.code == 4, again.text
        assert images(world) == {"log-agent:2.3": 1}


def killed_in_the_middle(world: World) -> None:
    item = {**UPDATE, "strategy": {"maxUnavailable": 1}}
    path = world.save(world.plan({"daemonSets": [item], "health": {"soak": 30}}))
    command = world.start("apply", path)
    world.wait_until(lambda: world.judge.deletes.total() == 1)
    world.advance(10.0)
    command.kill()
    world.advance(60.0)


def test_a_daemon_set_that_was_made_anew_is_no_way_back() -> None:
    with World(default_fleet(3, 1)) as world:
        spec = copy.deepcopy(world.daemon_set()["spec"])
        killed_in_the_middle(world)
        world.cluster.registry.delete(DAEMONSETS, "logging", "log-agent", SOMEBODY)
        world.advance(60.0)
        meta = {"name": "log-agent", "namespace": "logging"}
        body = {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": meta, "spec": spec}
        world.cluster.registry.create(DAEMONSETS, "logging", body, SOMEBODY)
        world.advance(60.0)
        made = world.daemon_set()["metadata"]["generation"]

        done = world.run("rollback", "sim", "-n", "logging")

        assert done.code == ExitCode.STALE, done.text
        assert "was recreated during the run; it is left alone" in done.text
        assert world.daemon_set()["metadata"]["generation"] == made


def test_nothing_is_called_back_while_no_node_is_listed() -> None:
    with World(default_fleet(3, 1)) as world:
        killed_in_the_middle(world)
        for name in world.nodes():
            world.cluster.registry.delete(NODES, "", name, SOMEBODY)

        done = world.run("rollback", "sim", "-n", "logging")

        assert done.code == ExitCode.ERROR, done.text
        assert "lists no node, although pods of DaemonSet log-agent are there" in done.text


def left_half_way(world: World, file: Path) -> None:
    """Let a bad release reach every node, and the controller forget the one before."""
    pruned = Pruned(world, limit=0)
    for bad in ("log-agent:2.4", "log-agent:2.5"):
        world.cluster.set_image_fault(bad, read_fault("unpullable"))
    assert apply(world, file, "log-agent:2.4", waves=[{"name": "all"}]).code == ExitCode.HELD
    world.advance(5.0)
    assert pruned.numbers == [1], "the fault struck nothing"


def forget_what_is_kept(world: World) -> None:
    name = "rollout-log-agent-2.4-plan"
    world.cluster.registry.delete(CONFIG_MAPS, "logging", name, SOMEBODY)


@pytest.mark.parametrize("release", ["log-agent:2.4", "log-agent:2.5"])
def test_fault_33_a_template_that_only_an_earlier_run_keeps_is_pinned_and_gone_back_to(
    tmp_path: Path, release: str
) -> None:
    with World(default_fleet(2, 1)) as world:
        file = tmp_path / "spec.yaml"
        left_half_way(world, file)
        more = {"waves": [{"name": "all"}], "failure": {"onFailure": "rollback"}}
        shown = world.run("plan", "-f", write_spec(file, release, **more))

        done = apply(world, file, release, **more)

        assert "a rollback leads to a template that an earlier run keeps (digest " in shown.text
        assert done.code == ExitCode.ROLLED_BACK, done.text
        assert images(world) == {"log-agent:2.3": 2}


@pytest.mark.parametrize(
    ("release", "said", "code"),
    [
        ("log-agent:2.4", "there is no way back", ExitCode.STALE),
        ("log-agent:2.5", "a rollback leads to revision 2", ExitCode.ROLLBACK_INCOMPLETE),
    ],
)
def test_fault_33_what_nothing_keeps_is_said_by_the_plan_before_any_write(
    tmp_path: Path, release: str, said: str, code: ExitCode
) -> None:
    with World(default_fleet(2, 1)) as world:
        file = tmp_path / "spec.yaml"
        left_half_way(world, file)
        forget_what_is_kept(world)
        writes = len(world.judge.writes)
        written, saved = write_spec(file, release, waves=[{"name": "all"}]), str(file) + ".plan"
        shown = world.run("plan", "-f", written, "--out", saved)
        known = world.run("verify", saved)
        assert len(world.judge.writes) == writes
        for text in (shown.text, known.text):
            assert "is kept nowhere any more" in text
            assert said in text
        assert known.code == ExitCode.DONE, known.text
        assert apply(world, file, release, waves=[{"name": "all"}]).code == ExitCode.HELD

        back = world.run("rollback", release.replace(":", "-"), *THERE)

        assert back.code == code, back.text
        assert images(world) == {"log-agent:2.4": 2}


def test_fault_33_a_way_back_that_is_lost_since_the_plan_is_refused_before_the_first_write(
    tmp_path: Path,
) -> None:
    with World(default_fleet(2, 1)) as world:
        file, saved = tmp_path / "spec.yaml", str(tmp_path / "plan.json")
        left_half_way(world, file)
        written = write_spec(file, "log-agent:2.5", waves=[{"name": "all"}])
        assert world.run("plan", "-f", written, "--out", saved).code == ExitCode.DONE
        known = world.run("verify", saved)
        forget_what_is_kept(world)
        writes = len(world.judge.writes)
        lost = world.run("verify", saved)
        refused = world.run("apply", saved)

        assert (known.code, lost.code, refused.code) == (0, ExitCode.STALE, ExitCode.STALE)
        assert "to the template that an earlier run keeps" in known.text
        for text in (lost.text, refused.text):
            assert "holds the template that a rollback leads to" in text
        assert len(world.judge.writes) == writes


@pytest.mark.parametrize("limit", [0, 1])
def test_fault_33_revisions_that_are_collected_in_mid_run_take_no_way_back_away(limit: int) -> None:
    with World(default_fleet(3, 1)) as world:
        pruned = Pruned(world, limit)
        world.advance(5.0)
        for number in range(2, 2 + limit):  # so that the history is full before the run
            assert begin(world, spec(3)).end() == ExitCode.DONE, number
        world.cluster.set_image_fault("log-agent:2.5@node-002", read_fault("unpullable"))
        target = {"set": {"image": {"agent": "log-agent:2.5"}}}
        item = {"name": "log-agent", "target": target, "strategy": {"maxUnavailable": 3}}
        before = images(world)
        assert pruned.numbers == []
        command = begin(world, {**spec(), "daemonSets": [item]})
        world.wait_until(lambda: pruned.numbers == [1])
        assert not command.over

        back = world.run("rollback", "sim", *THERE)

        assert back.code in (ExitCode.DONE, ExitCode.ROLLED_BACK), back.text
        assert command.end() == ExitCode.ROLLED_BACK, command.text
        assert images(world) == before


def test_fault_33_a_target_that_is_live_already_and_a_history_that_is_gone_leave_no_way_back(
    tmp_path: Path,
) -> None:
    entry = DaemonSetEntry(
        name="log-agent",
        namespace="logging",
        image="log-agent:2.3",
        strategy=UpdateStrategy(type="OnDelete"),
    )
    with World(replace(default_fleet(2, 1), daemon_sets=(entry,))) as world:
        pruned = Pruned(world, limit=10)
        edit = {"containers": [{"name": "agent", "image": "log-agent:2.4"}]}
        world.patch(DAEMONSETS, "log-agent", {"spec": {"template": {"spec": edit}}})
        world.advance(1.0)
        old = min(
            world.cluster.store.scan(CONTROLLER_REVISIONS, "logging"), key=lambda r: r["revision"]
        )
        name = old["metadata"]["name"]
        world.cluster.registry.delete(CONTROLLER_REVISIONS, "logging", name, SOMEBODY)
        assert pruned.numbers == [1]
        written = write_spec(tmp_path / "spec.yaml", "log-agent:2.4")

        saved = str(tmp_path / "plan.json")

        shown = world.run("plan", "-f", written, "--out", saved)
        known = world.run("verify", saved)

        for text in (shown.text, known.text):
            assert "nothing tells which template its nodes had before" in text
            assert "there is no way back from this plan; 'rollout undo log-agent" in text
        assert known.code == ExitCode.DONE, known.text
        assert not re.search(r"^ok .*can go back", known.text, re.MULTILINE), known.text


def end_with_a_failed_node(world: World, file: Path, limit: int = 0) -> None:
    """Complete a release that fails on one node, so that the next one must lead behind it."""
    pruned = Pruned(world, limit)
    for bad in ("log-agent:2.4@node-001", "log-agent:2.5"):
        world.cluster.set_image_fault(bad, read_fault("unpullable"))
    whole = {"waves": [{"name": "all"}], "failure": {"maxFailures": 1}}
    assert "failed nodes" in apply(world, file, "log-agent:2.4", **whole).text
    world.advance(5.0)
    assert pruned.numbers == ([] if limit else [1])


def test_fault_33_a_run_that_ends_with_failed_nodes_keeps_the_template_before_it(
    tmp_path: Path,
) -> None:
    with World(default_fleet(2, 1)) as world:
        file = tmp_path / "spec.yaml"
        end_with_a_failed_node(world, file)

        done = apply(world, file, "log-agent:2.5", failure={"onFailure": "rollback"})

        assert done.code == ExitCode.ROLLED_BACK, done.text
        assert images(world) == {"log-agent:2.3": 2}


def take_the_name(world: World, rollout: str) -> None:
    """Let somebody have a ConfigMap where a run of the rollout would keep its plan."""
    meta = {"name": f"rollout-{rollout}-plan", "namespace": "logging"}
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"a": "b"}}
    world.cluster.registry.create(CONFIG_MAPS, "logging", body, SOMEBODY)


def test_fault_33_what_an_earlier_run_keeps_is_gone_back_to_by_a_run_that_keeps_nothing(
    tmp_path: Path,
) -> None:
    """The plan, and the check before the first write, count on it; so does the way back."""
    with World(default_fleet(2, 1)) as world:
        file = tmp_path / "spec.yaml"
        end_with_a_failed_node(world, file)
        take_the_name(world, "log-agent-2.5")

        done = apply(world, file, "log-agent:2.5", failure={"onFailure": "rollback"})

        assert "the plan is not kept in the cluster (" in done.text
        assert "neither is the way back kept" not in done.text
        assert done.code == ExitCode.ROLLED_BACK, done.text
        assert images(world) == {"log-agent:2.3": 2}


def test_a_run_that_cannot_keep_its_way_back_says_so(tmp_path: Path) -> None:
    with World(default_fleet(2, 1)) as world:
        take_the_name(world, "log-agent-2.4")

        done = apply(world, tmp_path / "spec.yaml", "log-agent:2.4")

        assert done.code == ExitCode.DONE, done.text
        assert "neither is the way back kept" in done.text


def test_fault_33_a_run_that_was_killed_before_it_kept_its_way_back_keeps_it_when_it_goes_on() -> (
    None
):
    with World(default_fleet(2, 1)) as world:
        pruned = Pruned(world, limit=0)
        world.advance(5.0)
        world.cluster.set_image_fault("log-agent:2.4", read_fault("unpullable"))
        path = world.save(world.plan(spec(2)))
        killed: list[Command] = []
        first = AtTheFirst(world, "GET", "/rollout-sim-plan", lambda _: killed[0].kill())
        killed.append(world.start("apply", path))
        world.wait_until(lambda: first.struck == 1)
        world.advance(60.0)
        names = {item["metadata"]["name"] for item in world.cluster.store.scan(CONFIG_MAPS)}
        assert "rollout-sim" in names
        assert "rollout-sim-plan" not in names

        assert world.run("resume", "sim", path, *THERE).code == ExitCode.HELD
        world.advance(5.0)
        assert pruned.numbers == [1]
        back = world.run("rollback", "sim", *THERE)

        assert back.code == ExitCode.ROLLED_BACK, back.text
        assert images(world) == {"log-agent:2.3": 2}


def kept(world: World, rollout: str) -> bool:
    names = {item["metadata"]["name"] for item in world.cluster.store.scan(CONFIG_MAPS, "logging")}
    return f"rollout-{rollout}-plan" in names


def test_fault_33_a_cleanup_leaves_the_template_that_the_next_plan_leads_back_to(
    tmp_path: Path,
) -> None:
    with World(default_fleet(2, 1)) as world:
        file = tmp_path / "spec.yaml"
        end_with_a_failed_node(world, file)

        cleaned = world.run("cleanup", *THERE, "--yes")
        done = apply(world, file, "log-agent:2.5", failure={"onFailure": "rollback"})

        assert cleaned.code == ExitCode.DONE, cleaned.text
        assert "ConfigMap rollout-log-agent-2.4-plan: stays, " in cleaned.text
        assert done.code == ExitCode.ROLLED_BACK, done.text
        assert images(world) == {"log-agent:2.3": 2}


@pytest.mark.parametrize("how", ["held", "aborted"])
def test_fault_33_a_cleanup_behind_a_run_that_was_left_half_way_leaves_its_way_back(
    tmp_path: Path, how: str
) -> None:
    with World(default_fleet(2, 1)) as world:
        file = tmp_path / "spec.yaml"
        left_half_way(world, file)
        if how == "aborted":
            assert world.run("abort", "log-agent-2.4", *THERE).code == ExitCode.DONE

        cleaned = world.run("cleanup", "log-agent-2.4", *THERE, "--yes")
        done = apply(world, file, "log-agent:2.5", failure={"onFailure": "rollback"})

        assert "ConfigMap rollout-log-agent-2.4-plan: stays, " in cleaned.text
        assert done.code == ExitCode.ROLLED_BACK, done.text
        assert images(world) == {"log-agent:2.3": 2}


def test_a_cleanup_deletes_a_store_whose_template_the_history_holds_or_nobody_goes_back_to(
    tmp_path: Path,
) -> None:
    with World(default_fleet(2, 1)) as world:
        file = tmp_path / "spec.yaml"
        end_with_a_failed_node(world, file, limit=10)

        assert world.run("cleanup", *THERE, "--yes").code == ExitCode.DONE

        assert not kept(world, "log-agent-2.4")
    with World(default_fleet(2, 1)) as world:
        end_with_a_failed_node(world, file)
        assert apply(world, file, "log-agent:2.6").code == ExitCode.DONE

        assert world.run("cleanup", *THERE, "--yes").code == ExitCode.DONE

        assert not kept(world, "log-agent-2.4")
