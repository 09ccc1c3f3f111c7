"""SIGKILL right before and right after every write of a rollout: the end is always the same.

Writes are all of them: patches, deletes, the record, the plan beside it, the lease, the Job of a
gate, the Events of a sink. They are counted where they leave the process (every request that is no
read and no review of permissions), so that a new kind of write is cut as well without a word here.
"Before" is behind the journal's intent and before the request is served; "after" is when it was
served and nobody has heard of it. Each line of the journal is cut as well: in its middle, and when
it is whole.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import pytest

from rollout.errors import ExitCode
from rollout.sim.fleetfile import default_fleet, read_fault
from rollout.sim.resources import CONFIG_MAPS, LEASES
from tests.simulation.disk import Cut
from tests.simulation.playing import final_objects
from tests.simulation.virtual import World

NODES = 3
UNAVAILABLE = {"maxUnavailable": 1}
USUAL = frozenset({"leases", "configmaps", "daemonsets", "pods"})
EVERYWHERE = "everywhere"
HAND_OVER = {"maxUnavailable": 0, "maxSurge": 1}


@dataclass(frozen=True)
class Script:
    """One rollout that is cut again and again."""

    strategy: dict[str, Any]
    bad: str  # what of the release is unpullable: "" nothing, "@node" on one node
    code: int
    phase: str
    nodes: int = NODES
    more: dict[str, Any] = field(default_factory=dict)  # of the spec
    kinds: frozenset[str] = USUAL  # what is written, each at least once


SMOKE = {
    "name": "smoke",
    "kind": "job",
    "at": "after-wave",
    "job": {"template": {"spec": {"containers": [{"name": "check", "image": "smoke:1"}]}}},
}
TOLD = {"gates": [SMOKE], "notify": [{"name": "story", "kind": "events"}]}
SCRIPTS = {
    "unavailable": Script(UNAVAILABLE, bad="", code=0, phase="complete"),
    "hand-over": Script(HAND_OVER, bad="", code=0, phase="complete"),
    "rollback": Script(UNAVAILABLE, bad=EVERYWHERE, code=4, phase="rolled back"),
    "rollback of all": Script(UNAVAILABLE, bad="@node-002", code=4, phase="rolled back"),
    "hand-over back": Script(HAND_OVER, bad=EVERYWHERE, code=4, phase="rolled back"),
    "hand-over of all back": Script(HAND_OVER, bad="@node-002", code=4, phase="rolled back"),
    "gate and events": Script(
        UNAVAILABLE,
        bad="",
        code=0,
        phase="complete",
        nodes=1,
        more=TOLD,
        kinds=USUAL | {"jobs", "events"},
    ),
}


@dataclass(frozen=True)
class End:
    """What there is at the end."""

    objects: dict[str, Any]
    deletes: dict[tuple[str, str], int]
    phases: list[str]
    holders: list[str]
    was_begun: bool  # when it was cut, its record was there
    was_done: bool  # when it was cut, nothing was left to do but to give the lock back
    writes: int
    kinds: frozenset[str]  # of objects that were written
    lines: int  # of the journal
    torn: bool  # the journal says that a line was


def play(
    script: Script, *, before: int = 0, after: int = 0, line: int = 0, cut: Cut = "whole"
) -> End:
    """Play a script, and kill its process at one write or line; then apply until it has ended."""
    with World(default_fleet(script.nodes, 1), seed=1) as world:
        world.cluster.set_image_fault("smoke:1", read_fault({"kind": "exits", "exitCode": 0}))
        item = {
            "name": "log-agent",
            "target": {"set": {"image": {"agent": "log-agent:2.4"}}},
            "strategy": script.strategy,
        }
        plan = world.plan(
            {
                "daemonSets": [item],
                "waves": "fast",
                "health": {"soak": 0, "nodeTimeout": "1m"},
                "failure": {"onFailure": "rollback"},
                **script.more,
            }
        )
        if script.bad:
            place = "" if script.bad == EVERYWHERE else script.bad
            world.cluster.set_image_fault(f"log-agent:2.4{place}", read_fault("unpullable"))
        path = world.save(plan)
        world.network.cut_before, world.network.cut_after = before, after
        world.machine.disk.cut_at, world.machine.disk.cut = line, cut
        command = world.start("apply", path)
        world.wait_until(lambda: command.over)
        was_begun, was_done = bool(_phases(world)), _phases(world) == [script.phase]
        if before or after or line:
            assert command.code is None, "the cut was not reached"
            command = world.run("apply", path, "--idempotent")
            if command.code == ExitCode.LOCKED:  # by a run that never wrote its record
                world.advance(20.0)
                command = world.run("apply", path, "--idempotent")
            over = ExitCode.STALE if script.bad else ExitCode.DONE  # all was done but to say so
            expected = {script.code, over}
        else:
            expected = {script.code}
        assert command.code in expected, world.judge.story()
        world.advance(60.0)
        world.judge.check_strategy(restored=True)
        world.judge.rule()
        return End(
            final_objects(world),
            dict(world.judge.deletes),
            _phases(world),
            [
                lease["spec"].get("holderIdentity") or ""
                for lease in world.cluster.store.scan(LEASES, "logging")
            ],
            was_begun,
            was_done,
            world.network.writes,
            frozenset(world.network.kinds),
            world.machine.disk.lines,
            "was cut off" in command.text,
        )


def _phases(world: World) -> list[str]:
    texts = [(c.get("data") or {}).get("record") for c in world.cluster.store.scan(CONFIG_MAPS)]
    return [msgspec.json.decode(text)["phase"] for text in texts if text]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("name", SCRIPTS)
def test_fault_38_a_kill_at_any_write_changes_nothing_of_the_end(name: str, when: str) -> None:
    script = SCRIPTS[name]
    ideal = play(script)
    assert ideal.phases == [script.phase]
    assert ideal.holders == [""]
    if script.bad.startswith("@"):
        # In a hand-over the node that fails is taken back without a delete.
        assert list(ideal.deletes.values()) in ([2, 2, 2], [2, 2]), "all nodes go back"
    assert ideal.kinds == script.kinds
    assert ideal.writes > 8

    for number in range(1, ideal.writes + 1):
        end = play(script, before=number) if when == "before" else play(script, after=number)

        same(end, ideal, f"cut {when} write {number}")


@pytest.mark.parametrize("cut", ["torn", "whole"])
@pytest.mark.parametrize("name", [n for n in SCRIPTS if not SCRIPTS[n].bad.startswith("@")])
def test_fault_38_a_kill_at_any_line_of_the_journal_changes_nothing_of_the_end(
    name: str, cut: Cut
) -> None:
    script = replace(SCRIPTS[name], nodes=1)
    ideal = play(script)
    assert ideal.lines > 10

    for number in range(1, ideal.lines + 1):
        end = play(script, line=number, cut=cut)
        same(end, ideal, f"line {number} {cut}")
        said = cut == "torn" and end.was_begun and not end.was_done
        assert end.torn == said, f"line {number}"


def same(end: End, ideal: End, where: str) -> None:
    """Hold the end behind a cut against the one without."""
    assert end.objects == ideal.objects, where
    assert end.deletes == ideal.deletes, where
    assert end.phases == ideal.phases, where
    # A lock that nobody gave back is of a dead process, and runs out by itself.
    assert end.holders == ideal.holders or end.was_done, where
