"""What may go wrong between us and the API server, numbered as the list of faults numbers it.

Whole runs over HTTP. Each test proves by a counter that its fault was reached, and judges by the
server's audit log: every node done, each pod deleted once.
"""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from rollout.errors import ExitCode, Forbidden
from rollout.executor.engine.actions import Outcome
from rollout.executor.exitcodes import exit_code
from rollout.executor.precheck import needed_permissions
from rollout.executor.result import Result
from rollout.sim.api import Handler
from rollout.sim.images import Fault, FaultKind
from rollout.sim.requests import Answer, Request, target_of
from rollout.sim.resources import PODS
from rollout.sim.store import Event
from tests.e2e.world import NEW, PATIENCE_S, fleet
from tests.executor.runworld import IMPATIENT, QUICK, RUNNER, RunWorld, run_world

DELETES = "users: [runner], verbs: [delete], resources: [pods]"
LISTS = "users: [runner], verbs: [list]"
WATCHES = "users: [runner], verbs: [watch], resources: [pods]"
SHORT = replace(QUICK, lease_s=1.5)
LONG = {"soak": "1h", "nodeTimeout": "2h", "progressDeadline": "3h"}


def script(*faults: str) -> str:
    """Write a fault script; the first part of each is its name."""
    parts = []
    for text in faults:
        name, match, rest = text.split("|")
        parts.append(f"{{name: {name.strip()}, match: {{{match}}}, {rest}}}")
    return f"faults: [{', '.join(parts)}]"


def all_done_once(world: RunWorld, result: Result) -> None:
    assert result.finish.outcome is Outcome.DONE, result.finish.message
    assert set(world.images().values()) == {NEW}
    assert world.deletes() == Counter(dict.fromkeys(world.images(), 1))
    record = world.record()
    assert record is not None
    assert record["phase"] == "complete"


# Answers


@pytest.mark.parametrize("code", [500, 502, 503, 504])
def test_fault_06_a_server_error_is_repeated_for_a_read_and_looked_into_for_a_write(
    tmp_path: Path, code: int
) -> None:
    faults = script(
        f"read | {LISTS}, resources: [nodes] | error: {code}, count: 2",
        f"write | {DELETES} | error: {code}, count: 1",
    )
    with run_world(tmp_path, faults) as world:
        result, _ = world.apply(world.planned())
        assert (world.hits("read"), world.hits("write")) == (2, 1)
        all_done_once(world, result)


@pytest.mark.parametrize(
    "match",
    [
        DELETES,
        "users: [runner], verbs: [patch], resources: [daemonsets]",
        "users: [runner], verbs: [create], resources: [configmaps]",
        "users: [runner], verbs: [create], resources: [leases*]",
    ],
)
def test_fault_07_a_write_whose_answer_is_lost_is_done_once(tmp_path: Path, match: str) -> None:
    with run_world(tmp_path, script(f"lost | {match} | lose: true, count: 1")) as world:
        result, _ = world.apply(world.planned())
        assert world.hits("lost") == 1
        all_done_once(world, result)
        patches = [e for e in world.writes() if e.verb == "patch" and "/daemonsets/" in e.path]
        assert len(patches) == 2, "prepare and restore"


class Replaying:
    """A proxy that sends every write twice and passes on the second answer, the worse one."""

    def __init__(self, inner: Handler) -> None:
        self._inner = inner
        self.audit = inner.audit  # type: ignore[attr-defined] # the server asks for it
        self.replayed: Counter[int] = Counter()

    def handle(self, request: Request) -> Answer:
        answer = self._inner.handle(request)
        if target_of(request).verb in {"create", "update", "patch", "delete"}:
            answer = self._inner.handle(request)
            self.replayed[getattr(answer, "status", 0)] += 1
        return answer


def test_fault_08_a_write_that_arrives_twice_does_no_harm(tmp_path: Path) -> None:
    with run_world(tmp_path) as world:
        plan = world.planned()
        with world.cluster.lock:
            proxy = Replaying(world.cluster.server.handler)
            world.cluster.server.handler = proxy
        result, _ = world.apply(plan)
        assert proxy.replayed[409] >= 2, "creations and swaps are refused the second time"
        assert result.finish.outcome is Outcome.DONE, result.finish.message
        assert set(world.images().values()) == {NEW}
        done = Counter(world.deleted_pods())
        assert set(done) == set(world.first_pods.values()), "no new pod was ever hit"


def test_fault_09_a_401_renews_the_credentials_once_and_the_run_goes_on(tmp_path: Path) -> None:
    faults = script("expired | users: [runner], verbs: [delete] | error: 401, every: 2, count: 2")
    with run_world(tmp_path, faults) as world:
        result, _ = world.apply(world.planned(strategy={"maxUnavailable": 1}))
        assert world.hits("expired") == 2
        all_done_once(world, result)


def test_fault_09_credentials_that_stay_refused_hold_the_run_which_then_goes_on(
    tmp_path: Path,
) -> None:
    faults = script(f"expired | {DELETES} | error: 401, after: 1, count: 2")
    with run_world(tmp_path, faults) as world:
        plan = world.planned(strategy={"maxUnavailable": 1})
        result, heard = world.apply(plan)
        assert world.hits("expired") == 2, "one renewal, no more"
        assert result.finish.outcome is Outcome.REFUSED
        assert exit_code(result.finish) is ExitCode.NOT_AUTHORISED
        assert "does not accept the credentials" in result.finish.text
        assert "log in again" in result.finish.text
        assert not heard.kinds("node-failed"), "no node can help it"
        assert len(heard.kinds("node-done")) == 1, "what was in flight was watched to its end"

        again, _ = world.apply(plan)
        all_done_once(world, again)


def test_fault_09_a_run_that_is_locked_out_ends_and_says_so(
    tmp_path: Path,
) -> None:
    renewals = "users: [runner], verbs: [update], resources: [leases]"
    faults = script(f"expired | {renewals} | error: 401, after: 1, count: 30")
    with run_world(tmp_path, faults) as world:
        plan = world.planned(strategy={"maxUnavailable": 1}, health=LONG)
        result, heard = world.apply(plan, replace(SHORT, blind_s=0.5))
        assert world.hits("expired") > 2
        assert exit_code(result.finish) is ExitCode.NOT_AUTHORISED
        assert "log in again" in result.finish.text
        assert "not awaited any longer: node-000" in result.finish.text
        assert not heard.kinds("node-failed")


def test_fault_09_credentials_refused_from_the_start_change_nothing(tmp_path: Path) -> None:
    faults = script("expired | users: [runner] | error: 401")
    with run_world(tmp_path, faults) as world:
        with pytest.raises(Forbidden, match="log in again"):
            world.apply(world.planned())
        assert world.hits("expired") >= 2
        assert not world.writes()


def test_fault_11_through_a_restart_of_the_api_server_nothing_is_decided_and_the_run_resumes(
    tmp_path: Path,
) -> None:
    faults = script(f"outage | {DELETES} | after: 1, count: 1, for: 3s, restart: true")
    with run_world(tmp_path, faults) as world:
        result, heard = world.apply(world.planned(strategy={"maxUnavailable": 1}), SHORT)
        assert world.hits("outage") == 1
        all_done_once(world, result)
        assert not heard.kinds("node-failed")
        assert any("no view of" in said for said in heard.said)


@pytest.mark.parametrize("resource", ["pods", "nodes", "daemonsets", "controllerrevisions"])
def test_fault_12_a_torn_list_is_a_failed_read_and_never_an_empty_one(
    tmp_path: Path, resource: str
) -> None:
    faults = script(f"torn | {LISTS}, resources: [{resource}] | truncate: true, count: 2")
    with run_world(tmp_path, faults) as world:
        result, _ = world.apply(world.planned())
        assert world.hits("torn") == 2
        all_done_once(world, result)


def test_fault_14_a_slow_api_server_makes_no_node_fail(tmp_path: Path) -> None:
    faults = script(f"slow | {DELETES} | delay: 6s")
    with run_world(tmp_path, faults) as world:
        health = {"soak": "100ms", "nodeTimeout": "5s"}
        result, heard = world.apply(world.planned(health=health))
        assert world.hits("slow") == 4
        all_done_once(world, result)
        assert not heard.kinds("node-failed"), "its time counts from the accepted delete"
        assert result.account.lost["reaction"] > 3.0


def test_fault_14_a_lease_is_held_on_a_server_that_takes_most_of_its_time_for_each_answer(
    tmp_path: Path,
) -> None:
    faults = script("slow | users: [runner], resources: [leases] | delay: 2500ms")
    with run_world(tmp_path, faults) as world:
        health = {"soak": "8s", "nodeTimeout": "10m"}
        plan = world.planned(strategy={"maxUnavailable": 4}, health=health)
        result, _ = world.apply(plan, replace(QUICK, lease_s=12.0))
        assert world.hits("slow") > 3
        all_done_once(world, result)


def test_fault_14_the_rate_adapts_to_a_server_that_asks_for_patience(tmp_path: Path) -> None:
    faults = script(f"busy | {DELETES} | throttle: 1s, count: 3")
    with run_world(tmp_path, faults) as world:
        client = world.client(RUNNER.token)
        result, _ = world.apply(world.planned())
        assert world.hits("busy") == 3
        all_done_once(world, result)
        assert result.account.lost["API limit"] > 0.5
        assert client.held_back_s == 0.0, "each run has a client of its own"


# Watch and cache


def test_fault_15_a_list_from_the_past_is_refused(tmp_path: Path) -> None:
    faults = script(
        f"gone | {WATCHES} | expire: true, after: 2, count: 1",
        f"cut | {WATCHES} | drop: {{events: 3}}, count: 2",
        f"past | {LISTS}, resources: [pods] | stale: 1h, after: 2, count: 1",
    )
    with run_world(tmp_path, faults) as world:
        result, _ = world.apply(world.planned(strategy={"maxUnavailable": 1}))
        assert world.hits("past") == world.hits("gone") == 1
        all_done_once(world, result)
        asked = [e for e in world.entries() if e.verb == "list" and "/pods?" in e.path]
        # Both watches of pods begin with one; behind `gone` comes the old one, and another.
        assert sum(e.user == "runner" for e in asked) >= 4


def test_fault_16_a_silent_watch_is_noticed_said_and_replaced(tmp_path: Path) -> None:
    faults = script(f"silent | {WATCHES} | stall: 1h, count: 2")
    with run_world(tmp_path, faults) as world:
        result, heard = world.apply(world.planned(strategy={"maxUnavailable": 1}), IMPATIENT)
        assert world.hits("silent") == 2
        all_done_once(world, result)
        assert not heard.kinds("node-failed")


def test_fault_16_while_a_watch_is_silent_nothing_starts_and_one_sentence_says_so(
    tmp_path: Path,
) -> None:
    faults = script(
        f"silent | {WATCHES} | stall: 1h, count: 2",
        f"deaf | {WATCHES} | error: 503, after: 2, count: 8",
    )
    with run_world(tmp_path, faults) as world:
        slow = replace(IMPATIENT, watch=replace(IMPATIENT.watch, max_pause_s=1.0))
        result, heard = world.apply(world.planned(strategy={"maxUnavailable": 1}), slow)
        assert world.hits("silent") == 2
        assert world.hits("deaf") == 8
        all_done_once(world, result)
        wanted = "nothing starts until it is back"
        assert any(said.startswith("no view of ") and wanted in said for said in heard.said)


def test_fault_17_a_watch_that_is_cut_again_and_again_loses_no_event(tmp_path: Path) -> None:
    faults = script(f"cut | {WATCHES} | drop: {{events: 1}}")
    with run_world(tmp_path, faults) as world:
        result, _ = world.apply(world.planned(strategy={"maxUnavailable": 1}))
        assert world.hits("cut") > 8
        all_done_once(world, result)


def test_fault_18_an_expired_version_is_listed_again_and_its_deletions_are_seen(
    tmp_path: Path,
) -> None:
    faults = script(
        f"cut | {WATCHES} | drop: {{events: 1}}, every: 2",
        f"expired | {WATCHES} | expire: true, after: 1, every: 2",
    )
    with run_world(tmp_path, faults) as world:
        result, _ = world.apply(world.planned(strategy={"maxUnavailable": 1}))
        assert world.hits("expired") > 2
        all_done_once(world, result)


def test_fault_19_a_restart_that_no_watch_showed_is_found_in_the_counters(tmp_path: Path) -> None:
    faults = script(f"blind | {WATCHES} | stall: 1h, count: 2")
    with run_world(tmp_path, faults) as world:
        world.break_image(NEW, Fault(FaultKind.CRASH, after=0.3))
        plan = world.planned(strategy={"maxUnavailable": 1}, health={"soak": "5s"})
        applying = world.applying(plan, IMPATIENT)
        result = applying.end()
        assert world.hits("blind") == 2
        assert result.finish.outcome is Outcome.HELD
        (node,) = (run for run in result.steps if run.reason)
        assert "restarted" in node.reason or "CrashLoopBackOff" in node.reason
        assert sum(world.deletes().values()) == 1


def test_fault_20_a_deletion_that_no_event_told_is_seen_in_the_next_list(tmp_path: Path) -> None:
    faults = script(
        f"blind | {WATCHES} | stall: 1h, count: 2",
        f"expired | {WATCHES} | expire: true, after: 2, count: 2",
    )
    with run_world(tmp_path, faults) as world:
        result, _ = world.apply(world.planned(strategy={"maxUnavailable": 1}), IMPATIENT)
        assert (world.hits("blind"), world.hits("expired")) == (2, 2)
        all_done_once(world, result)


def test_fault_21_no_bookmark_is_waited_for_before_the_state_counts(tmp_path: Path) -> None:
    """The state comes by a list, so there is no end of initial events that could fail to come."""
    with run_world(tmp_path) as world:
        result, _ = world.apply(world.planned())
        all_done_once(world, result)
        watches = [e.path for e in world.entries() if e.verb == "watch" and e.user == "runner"]
        assert watches
        assert all("resourceVersion=" in path for path in watches)
        assert not any("sendInitialEvents" in path for path in watches)


def test_fault_22_a_pod_that_flaps_in_its_soak_starts_it_again(tmp_path: Path) -> None:
    with run_world(tmp_path, described=fleet(1, users=(RUNNER,))) as world:
        world.break_image(NEW, Fault(FaultKind.FLAP, after=0.5, lasts=0.3))
        changes: list[bool] = []
        seen = threading.Condition()

        def note(event: Event) -> None:
            conditions = event.object["status"].get("conditions") or ()
            ready = any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
            image = event.object["spec"]["containers"][0]["image"]
            with seen:
                if image == NEW and ready != bool(changes and changes[-1]):
                    changes.append(ready)
                    seen.notify_all()

        plan = world.planned(health={"soak": "5s"})
        with world.cluster.lock:
            world.cluster.cluster.store.subscribe(PODS, note)
        applying = world.applying(plan)
        with seen:
            assert seen.wait_for(lambda: len(changes) >= 3, PATIENCE_S), changes
        assert not applying.heard.kinds("node-done")
        world.break_image(NEW, None)
        result = applying.end()
        all_done_once(world, result)
        assert changes[:3] == [True, False, True]
        assert result.account.longest_s > 0.5 + 0.3 + 5


# Writes and reads


def test_a_run_lists_each_collection_once_and_writes_no_more_than_it_must(tmp_path: Path) -> None:
    with run_world(tmp_path, described=fleet(40, users=(RUNNER,))) as world:
        result, _ = world.apply(world.planned(strategy={"maxUnavailable": 10}))
        all_done_once(world, result)
        ours = [e for e in world.entries() if e.user == "runner"]
        lists = Counter(e.path.partition("limit=")[0] for e in ours if e.verb == "list")
        assert set(lists.values()) == {1}, lists
        events = [e.path for e in ours if "/events?" in e.path]
        assert events
        assert all("reason%3DFailedCreate" in path for path in events), "one more for each pod"
        written = [e for e in world.writes() if e.user == "runner"]
        plain = [e for e in written if "/leases" not in e.path and "/configmaps" not in e.path]
        assert len(plain) <= 1.05 * 40


def test_a_run_that_cannot_learn_whether_it_may_read_events_goes_on_without_them(
    tmp_path: Path,
) -> None:
    with run_world(tmp_path) as world:
        plan = world.planned()
    asked = len(needed_permissions(plan))
    reviews = "users: [runner], verbs: [create], resources: [selfsubjectaccessreviews]"
    with run_world(tmp_path, script(f"deaf | {reviews} | error: 400, after: {asked}")) as world:
        result, _ = world.apply(world.planned())
        assert world.hits("deaf") == 1
        all_done_once(world, result)


def test_a_hand_over_costs_two_writes_more_a_node(tmp_path: Path) -> None:
    with run_world(tmp_path, described=fleet(20, users=(RUNNER,))) as world:
        strategy = {"maxSurge": 5, "maxUnavailable": 0}
        result, _ = world.apply(world.planned(strategy=strategy))
        assert result.finish.outcome is Outcome.DONE, result.finish.message
        assert world.deletes() == Counter(dict.fromkeys(world.images(), 1))
        written = [e for e in world.writes() if e.user == "runner"]
        plain = [e for e in written if "/leases" not in e.path and "/configmaps" not in e.path]
        assert len(plain) <= (1.05 + 2) * 20
