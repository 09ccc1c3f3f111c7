"""Gates with the real command: flags, exit codes, approvals from elsewhere, what is shown."""

from __future__ import annotations

import re
import signal
from pathlib import Path
from typing import Any, get_args

from rollout.cluster.identity import whoami
from rollout.gatespec import Gate
from rollout.sim.images import Behaviour, Fault, FaultKind
from rollout.sim.resources import EVENTS
from tests.e2e.world import NAMESPACE, OLD, World, fleet, run, world


def spec_with(world: World, **more: Any) -> Path:
    return world.spec(waves=[1, "100%"], health={"soak": 0}, **more)


APPROVAL = {"name": "people", "kind": "approval", "at": "before-wave", "interval": "1s"}
NODE = {"name": "node-well", "kind": "node", "at": "after-node", "interval": "1s"}
PODS = {"name": "well", "kind": "pods", "at": "after-wave", "interval": "1s", "controlGroup": False}


def test_commands_26_yes_is_no_approval_and_people_elsewhere_open_the_gate(tmp_path: Path) -> None:
    with world(fleet(3), tmp_path) as w:
        plan = w.plan(spec_with(w, gates=[APPROVAL]))
        first = w.rollout("apply", plan, "-o", "jsonl")
        assert first.code == 6, first.err
        assert w.deleted_pods() == []
        assert any(event["type"] == "approval-wanted" for event in first.events)
        status = w.rollout("status", "log-agent", "-n", NAMESPACE, "-o", "json")
        assert status.code == 0, status.err
        record = w.record()
        assert record is not None
        assert record["gates"][0]["status"] == "waiting"
        own = w.rollout("approve", "log-agent-2.4", "--gate", "people", "-n", NAMESPACE)
        assert own.code == 11, own.out  # whoever made the plan does not count
        assert "made the plan and doesn't count; it needs 1 approval of somebody else" in own.err
        still = w.rollout("resume", "log-agent-2.4", "-n", NAMESPACE)
        assert still.code == 6
        assert "waits for 1 more of 1 approvals" in still.out
        w.rollout("reject", "log-agent-2.4", "--gate", "people", "-n", NAMESPACE)
        record = w.record()
        assert record is not None
        assert not record.get("approvals")
        no = next(word for word in record["said"] if word["verb"] == "reject")
        assert no["by"] != whoami()  # but the cluster's name for whoever speaks


def test_a_gate_that_holds_is_in_the_events_the_record_the_status_and_the_report(
    tmp_path: Path,
) -> None:
    gate = PODS | {"successCondition": "result.total > 100", "count": 3, "failureLimit": 1}
    said = "gate well (pods) after wave wave-1: failed: 2 failed, more than failureLimit 1; last: "
    with world(fleet(3), tmp_path) as w:
        plan = w.plan(spec_with(w, gates=[gate]))
        told = w.rollout("apply", plan, "-o", "jsonl")
        assert told.code == 3, told.err
        measured = [e for e in told.events if e["type"] == "gate-measured"]
        assert [e["outcome"] for e in measured] == ["failed", "failed"]
        assert "successCondition does not hold" in measured[-1]["message"]
        assert any(e["type"] == "gate-failed" and e["gate"] == "well" for e in told.events)
        assert len(told.events[-1]["gates"][0]["measurements"]) == 2
        record = w.record()
        assert record is not None
        (kept,) = record["gates"]
        assert (kept["gate"], kept["status"], kept["nextAt"]) == ("well", "failed", "")
        assert [m["outcome"] for m in kept["measurements"]] == ["failed", "failed"]
        status = w.rollout("status", "log-agent", "-n", NAMESPACE)
        assert said in status.out
        assert len(re.findall(r"^  20\S+Z  failed  +total 1, bad 0", status.out, re.MULTILINE)) == 2
        as_json = w.rollout("status", "log-agent", "-n", NAMESPACE, "-o", "json").json
        assert as_json["gates"] == record["gates"]
        again = w.rollout("apply", plan)
        assert again.code == 3, again.err
        assert said in again.out
        assert len(re.findall(r"^  20\S+Z  failed  +total 1, bad 0", again.out, re.MULTILINE)) == 2
        assert len(w.deleted_pods()) == 1


def test_the_same_spec_again_asks_the_gate_again_that_holds_its_run(tmp_path: Path) -> None:
    """A CI job that is tried again is no reason to begin the next canary behind a gate."""
    there = tmp_path / "well"
    gate = {"name": "ready", "kind": "command", "at": "after-wave", "argv": ["/bin/ls", str(there)]}
    with world(fleet(3), tmp_path) as w:
        spec = spec_with(w, gates=[gate])
        again = ("apply", "-f", spec, "--yes", "--allow-commands")
        first, second = w.rollout(*again), w.rollout(*again)
        assert (first.code, second.code) == (3, 3), second.err
        assert len(w.deleted_pods()) == 1
        assert "has not got past gate ready (failed): it goes on with its own plan" in second.out
        other = w.spec("other.yaml", waves=[1, "100%"], health={"soak": 0}, gates=[PODS])
        for new in (("-f", other, "--yes"), (w.plan(spec),)):
            refused = w.rollout("apply", *new, "--allow-commands")
            assert refused.code == 7, refused.err
            assert "would pass over that: 'rollout resume log-agent-2.4 -n logging'" in refused.err
        assert len(w.deleted_pods()) == 1
        there.touch()
        done = w.rollout(*again)
        assert done.code == 0, done.err
        assert len(w.deleted_pods()) == 3


def test_a_gate_that_cannot_say_holds_its_run_against_the_same_spec_until_it_is_aborted(
    tmp_path: Path,
) -> None:
    gate = PODS | {"successCondition": "result.nothing > 1", "onError": "hold"}
    with world(fleet(3), tmp_path) as w:
        spec = spec_with(w, gates=[gate | {"consecutiveErrorLimit": 0}])
        codes = [w.rollout("apply", "-f", spec, "--yes").code for _ in range(2)]
        assert codes == [9, 9]
        assert len(w.deleted_pods()) == 1
        anew = w.plan(spec_with(w))
        assert w.rollout("abort", "log-agent-2.4", "-n", NAMESPACE).code == 0
        done = w.rollout("apply", anew)
        assert done.code == 0, done.err
        assert len(w.deleted_pods()) == 3


def test_a_gate_that_is_being_measured_is_in_the_status(tmp_path: Path) -> None:
    gate = PODS | {"consecutiveSuccessLimit": 100_000}
    with world(fleet(2), tmp_path) as w:
        plan = w.plan(spec_with(w, gates=[gate]))
        with w.start("apply", plan, "-o", "jsonl") as running:
            running.event("gate-measured", count=3)
            status = w.rollout("status", "log-agent", "-n", NAMESPACE)
            running.send(signal.SIGINT)
            assert running.end().code == 6
    said = (
        r"gate well \(pods\) after wave wave-1: running: \d+ passed; last: 1 of 1 new pods are well"
    )
    assert re.search(rf"{said}; measured again at 20", status.out), status.out


def test_a_gate_that_fails_before_the_start_is_written_down_and_asked_again(
    tmp_path: Path,
) -> None:
    there = tmp_path / "ready"
    gates = [
        {"name": "ready", "kind": "command", "at": "preflight", "argv": ["/bin/ls", str(there)]},
        PODS | {"at": "preflight"},
        NODE | {"when": {"zones": ["nowhere"]}},
    ]
    with world(fleet(2), tmp_path) as w:
        plan = w.plan(spec_with(w, gates=gates))
        first = w.rollout("apply", plan, "--allow-commands")
        assert first.code == 3, first.err
        assert (w.deleted_pods(), set(w.images().values())) == ([], {OLD})
        status = w.rollout("status", "log-agent", "-n", NAMESPACE)
        assert "gate ready (command) preflight: failed: 1 failed" in status.out
        there.touch()
        done = w.rollout("apply", plan, "--allow-commands")
        assert done.code == 0, done.err
        assert "gate ready (command) preflight: passed" in done.out
        record = w.record()
        assert record is not None
        assert sorted((g["gate"], g["status"]) for g in record["gates"]) == [
            ("node-well", "not measured"),
            ("ready", "passed"),
            ("well", "passed"),
        ]


def test_a_gate_that_passed_before_the_run_was_resumed_is_not_told_as_never_measured(
    tmp_path: Path,
) -> None:
    with world(fleet(2), tmp_path) as w:
        plan = w.plan(spec_with(w, gates=[PODS | {"at": "preflight"}]))
        first = w.rollout("apply", plan, "--stop-at", "1")
        assert first.code == 6, first.err
        done = w.rollout("apply", plan)
        assert done.code == 0, done.err
        assert "gate well (pods) preflight: passed" in done.out
        assert "not measured" not in done.out
        record = w.record()
        assert record is not None
        assert [(g["gate"], g["status"]) for g in record["gates"]] == [("well", "passed")]


def test_the_gates_of_a_run_that_is_over_stay_in_the_status(tmp_path: Path) -> None:
    with world(fleet(2), tmp_path) as w:
        done = w.rollout("apply", w.plan(spec_with(w, gates=[PODS, NODE])))
        assert done.code == 0, done.err
        said = "gate node-well (node) after node-000: passed: 1 passed; last: 1 nodes are well"
        assert said in done.out
        status = w.rollout("status", "log-agent", "-n", NAMESPACE)
        assert "The gates of the last run:\ngate " in status.out
        assert "gate well (pods) after wave wave-2: passed: " in status.out
        assert said in status.out


def test_a_failing_gate_rolls_the_canary_back(tmp_path: Path) -> None:
    gate = PODS | {"successCondition": "result.total > 100", "onFailure": "rollback"}
    with world(fleet(3), tmp_path) as w:
        done = w.rollout("apply", w.plan(spec_with(w, gates=[gate])), "-o", "jsonl")
        assert done.code == 4, done.err
        assert set(w.images().values()) == {OLD}
        assert len(w.deleted_pods()) == 2
        finished = done.events[-1]
        assert finished["gates"][0]["status"] == "failed"


def test_a_closed_window_keeps_the_run_and_ignoring_it_is_written_down(tmp_path: Path) -> None:
    window = {"deny": "* * * * *", "for": "1h"}
    with world(fleet(2), tmp_path) as w:
        plan = w.plan(spec_with(w, windows=[window]))
        with w.start("apply", plan, "-o", "jsonl") as running:
            running.event("window-closed")
            running.send(signal.SIGINT)
            assert running.end().code == 6
        assert w.deleted_pods() == []
        done = w.rollout("apply", plan, "--ignore-window")
        assert done.code == 0, done.err
        record = w.record()
        assert record is not None
        assert [word["verb"] for word in record["said"]] == ["ignore-window"]


def test_a_command_runs_only_where_commands_are_allowed(tmp_path: Path) -> None:
    gate = {"name": "smoke", "kind": "command", "at": "after-wave", "argv": ["/bin/true"]}
    with world(fleet(2), tmp_path) as w:
        spec = spec_with(w, gates=[gate | {"consecutiveErrorLimit": 0}])
        refused = w.rollout("gate", "run", spec, "smoke")
        assert refused.code == 9, refused.out
        allowed = w.rollout("gate", "run", spec, "smoke", "--allow-commands")
        assert allowed.code == 0, allowed.out + allowed.err
        assert w.writes() == []


def test_one_gate_is_measured_now_and_nothing_is_changed(tmp_path: Path) -> None:
    with world(fleet(2), tmp_path) as w:
        spec = spec_with(w, gates=[PODS | {"at": "preflight"}])
        good = w.rollout("gate", "run", spec, "well")
        assert good.code == 0, good.out + good.err
        assert "gate well of rollout log-agent-2.4: passed" in good.out
        unknown = w.rollout("gate", "run", spec, "other")
        assert unknown.code == 64
        assert "it has well" in unknown.err
        assert w.writes() == []


def test_the_list_names_every_kind_and_the_gates_of_a_spec(tmp_path: Path) -> None:
    kinds = {line.split()[0] for line in run("gate", "list").out.splitlines()[1:]}
    known = {kind.__struct_config__.tag for kind in get_args(Gate)}
    assert kinds == known
    with world(fleet(1), tmp_path) as w:
        spec = spec_with(w, gates=[APPROVAL], windows=[{"allow": "0 22 * * *", "for": "1h"}])
        text = run("gate", "list", spec).out
        assert "people" in text
        assert "windows" in text


def test_sinks_hear_of_the_run_and_one_that_fails_stops_nothing(tmp_path: Path) -> None:
    sinks = [
        {"name": "ds", "kind": "events"},
        {"name": "gone", "kind": "webhook", "url": "http://127.0.0.1:9/", "events": ["done"]},
    ]
    with world(fleet(2), tmp_path) as w:
        done = w.rollout("apply", w.plan(spec_with(w, notify=sinks)))
        assert done.code == 0, done.err
        assert "notify gone was not told" in done.out + done.err
        told = [e for e in w.objects(EVENTS) if e["source"].get("component") == "rollout"]
        reasons = {event["reason"] for event in told}
        assert reasons == {"RolloutStarted", "RolloutWaveDone", "RolloutDone"}
        assert {event["involvedObject"]["name"] for event in told} == {"log-agent"}


def test_a_measurement_outside_of_a_run_says_what_it_cannot_know(tmp_path: Path) -> None:
    query = {"kind": "prometheus", "url": "https://localhost:9", "successCondition": "result > 0"}
    old, waved, ran = (
        query | {"name": hole, "at": "after-wave", "query": text, "timeout": "60s"}
        for hole, text in (
            ("old", "rate(errors[{{age}}])"),
            ("waved", 'up{wave="{{wave}}"}'),
            ("ran", 'up{run="{{run}}"}'),
        )
    )
    with world(fleet(2), tmp_path) as w:
        spec = spec_with(w, gates=[old, waved, ran])

        def gate_run(*arguments: str) -> tuple[int, str]:
            done = w.rollout("gate", "run", spec, *arguments, "--allow-host", "localhost")
            return done.code, done.err + done.out

        assert gate_run("old")[0] == 64
        assert "for example with --age 5m" in gate_run("old")[1]
        code, said = gate_run("old", "--age", "5m")
        assert code == 9, "the server isn't there, and the query is well"
        assert "could not be reached" in said or "refused" in said
        assert gate_run("old", "--age", "soon")[0] == 64
        assert "name it with --wave" in gate_run("waved")[1]
        assert "it has wave-1, wave-2" in gate_run("waved", "--wave", "canary")[1]
        assert gate_run("waved", "--wave", "wave-2")[0] == 9
        assert "{{run}} has a value in a run only" in gate_run("ran")[1]


def test_a_job_that_is_tried_is_waited_for(tmp_path: Path) -> None:
    job = {"template": {"spec": {"containers": [{"name": "check", "image": "check:1"}]}}}
    gate = {"name": "smoke", "kind": "job", "at": "after-node", "keep": "always", "job": job}
    with world(fleet(2), tmp_path) as w:
        w.set_image("check:1", Behaviour(fault=Fault(FaultKind.EXITS, after=0.05, exit_code=0)))
        spec = spec_with(w, gates=[gate])
        first = w.rollout("gate", "run", spec, "smoke", "--node", "node-001")
        assert first.code == 0, first.out + first.err
        w.set_image("check:1", Behaviour(fault=Fault(FaultKind.EXITS, after=0.05, exit_code=3)))
        again = w.rollout("gate", "run", spec, "smoke", "--node", "node-001")
        assert again.code == 3, "the Job of an earlier try says nothing"
        assert "exit code 3" in again.out
