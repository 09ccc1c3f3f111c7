"""Gates that look at the cluster itself, in whole runs of the real command over HTTP."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rollout.sim.images import Behaviour, Fault, FaultKind, Timing
from rollout.sim.resources import JOBS, PODS
from tests.e2e.world import NEW, OLD, Done, World, fleet, world

SOON = {"interval": "200ms"}


def applied(world: World, *gates: dict[str, Any]) -> Done:
    spec = world.spec(waves=[1, "100%"], gates=[SOON | gate for gate in gates])
    return world.rollout("apply", world.plan(spec), "-o", "jsonl")


def kept(done: Done) -> dict[str, str]:
    """Return what each gate said in the end, by its name."""
    return {gate["gate"]: gate["status"] for gate in done.events[-1]["gates"]}


def test_pods_nodes_events_and_logs_let_a_good_release_pass_everywhere(tmp_path: Path) -> None:
    places = ("after-node", "after-wave", "background")
    kinds: list[dict[str, Any]] = [
        {"kind": "pods"},
        {"kind": "node"},
        {"kind": "events", "of": ["pods", "nodes", "daemonSets"]},
        {"kind": "logs", "pattern": "panic"},
    ]
    gates = [kind | {"name": f"{kind['kind']}-{at}", "at": at} for kind in kinds for at in places]
    with world(fleet(4), tmp_path) as w:
        done = applied(w, *gates)
        assert done.code == 0, done.out
        assert set(w.images().values()) == {NEW}
        assert set(kept(done).values()) == {"passed"}


def test_a_background_gate_sees_the_last_node_before_the_run_ends(tmp_path: Path) -> None:
    alarm = {"name": "logs", "kind": "logs", "at": "background", "pattern": "panic"}
    with world(fleet(3), tmp_path) as w:
        done = applied(w, alarm | {"interval": "1h"})
        assert done.code == 0, done.out
        (gate,) = done.events[-1]["gates"]
        begun = max(e["time"] for e in done.events if e["type"] == "node-started")
        assert gate["measurements"][-1]["outcome"] == "passed"
        assert gate["measurements"][-1]["at"][:19] >= begun[:19]


CHECK = {"name": "check", "image": "check:1"}


def a_job(at: str, **more: Any) -> dict[str, Any]:
    job = {"template": {"spec": {"containers": [CHECK]}}}
    return {"name": "smoke", "kind": "job", "at": at, "job": job, **more}


def agents(world: World) -> set[str]:
    """Return the images of the DaemonSet's pods; those of Jobs are left out."""
    return {
        pod["spec"]["containers"][0]["image"]
        for pod in world.objects(PODS)
        if pod["spec"]["containers"][0]["name"] != CHECK["name"]
    }


def ends_with(code: int) -> Behaviour:
    return Behaviour(start=Timing(0.05), fault=Fault(FaultKind.EXITS, after=0.05, exit_code=code))


def test_a_job_on_each_updated_node_lets_the_release_pass_and_leaves_nothing(
    tmp_path: Path,
) -> None:
    with world(fleet(2), tmp_path) as w:
        w.set_image("check:1", ends_with(0))
        done = applied(w, a_job("after-node"))
        assert done.code == 0, done.out
        assert agents(w) == {NEW}
        made = [
            e
            for e in w.writes()
            if e.verb == "create" and e.path.partition("?")[0].endswith("/jobs")
        ]
        assert len(made) == 2
        assert w.objects(JOBS) == []
        (path,) = (w.directory / "state" / "rollout").glob("*/*/*.jsonl")
        intents = [e for e in map(json.loads, path.read_text().splitlines()) if e.get("job")]
        assert sorted(e["action"] for e in intents) == [*["create job"] * 2, *["delete job"] * 2]
        assert {e["type"] for e in intents} == {"intent"}


def test_a_job_that_fails_behind_the_canary_takes_it_back(tmp_path: Path) -> None:
    with world(fleet(3), tmp_path) as w:
        w.set_image("check:1", ends_with(3))
        done = applied(w, a_job("after-wave", onFailure="rollback"))
        assert done.code == 4, done.out
        assert agents(w) == {OLD}
        assert "BackoffLimitExceeded" in done.events[-1]["gates"][0]["reason"]
