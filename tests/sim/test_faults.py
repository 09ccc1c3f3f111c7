"""Faults strike whom the script says, when it says, and can be counted."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from rollout.sim.faultfile import read_faults
from rollout.sim.faults import COUNTERS_PATH, Injector
from rollout.sim.images import Fault as ImageFault
from rollout.sim.requests import Response, Stream
from tests.sim.apiworld import CONFIG_MAP_PATH, DAEMONSET_PATH, ApiWorld, events, raw

SELF_REVIEW = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


class Operated:
    """Writes down what a script does to the cluster."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def stop_controllers(self) -> None:
        self.done.append("stop controllers")

    def start_controllers(self) -> None:
        self.done.append("start controllers")

    def lose_node(self, name: str) -> None:
        self.done.append(f"lose {name}")

    def restore_node(self, name: str) -> None:
        self.done.append(f"restore {name}")

    def remove_node(self, name: str) -> None:
        self.done.append(f"remove {name}")

    def lose_zone(self, zone: str) -> None:
        self.done.append(f"lose zone {zone}")

    def restore_zone(self, zone: str) -> None:
        self.done.append(f"restore zone {zone}")

    def set_image_fault(self, key: str, fault: ImageFault | None) -> None:
        self.done.append(f"{'heal' if fault is None else 'break'} {key}")


class FaultyWorld(ApiWorld):
    """An API with faults in front of it; `a` and `b` are there before they begin."""

    def __init__(self, script: str, restart: Callable[[float], None] | None = None) -> None:
        super().__init__()
        for name in ("a", "b"):
            self.config_map(name, kind="test")
        self.operated = Operated()
        more = {} if restart is None else {"restart": restart}
        faults = read_faults(None, f"faults: [{script}]")
        self.injector = Injector(self.api, faults, self.operated, **more)
        self.handler = self.injector

    def lost(self, method: str, target: str) -> bool:
        answer = self.handler.handle(self.request(method, target))
        return answer.lost

    def hits(self, name: str) -> int:
        return self.injector.counters[name].hits

    def open_watch(self, query: str = "") -> Stream:
        return self.watch(f"{CONFIG_MAP_PATH}?resourceVersion={self.store.version}{query}")


A = f"{CONFIG_MAP_PATH}/a"


def test_errors_strike_so_many_matching_requests_and_no_others() -> None:
    world = FaultyWorld("{name: e, match: {verbs: [get]}, error: 503, after: 1, count: 2}")
    assert [world.get(A).status for _ in range(5)] == [200, 503, 503, 200, 200]
    assert world.get(CONFIG_MAP_PATH).status == 200
    counter = world.injector.counters["e"]
    assert (counter.seen, counter.hits) == (5, 2)
    assert world.get(COUNTERS_PATH).body == {"e": {"seen": 5, "hits": 2}}


def test_an_error_is_a_status_like_any_other() -> None:
    world = FaultyWorld("{error: {status: 500, message: boom, retryAfter: 3s}}")
    answer = world.get(A)
    assert (answer.body["reason"], answer.body["message"]) == ("InternalError", "boom")
    assert answer.headers["Retry-After"] == "3"


def test_each_third_request_can_be_struck() -> None:
    world = FaultyWorld("{error: 500, every: 3}")
    assert [world.get(A).status for _ in range(6)] == [500, 200, 200, 500, 200, 200]


def test_chance_is_the_same_for_the_same_seed() -> None:
    def statuses() -> list[int]:
        world = FaultyWorld("{error: 500, chance: 0.5}")
        return [world.get(A).status for _ in range(20)]

    first = statuses()
    assert first == statuses()
    assert {200, 500} == set(first)


def test_a_fault_has_its_time() -> None:
    world = FaultyWorld("{error: 500, from: 10s, until: 20s}")
    seen = []
    for _ in range(3):
        seen.append(world.get(A).status)
        world.clock.advance(10)
    assert seen == [200, 500, 200]


def test_a_fault_may_be_for_one_user_and_one_kind_of_object() -> None:
    world = FaultyWorld("{error: 500, match: {resources: [daemonsets.apps], users: [dev]}}")
    assert world.get(DAEMONSET_PATH).status == 200
    assert world.get(A, user="dev").status == 403
    assert world.get(DAEMONSET_PATH, user="dev").status == 500


def test_throttling_says_when_to_come_back() -> None:
    world = FaultyWorld("{throttle: 7s, count: 1}")
    answer = world.get(A)
    assert (answer.status, answer.headers["Retry-After"]) == (429, "7")
    assert answer.body["details"]["retryAfterSeconds"] == 7


def test_a_lost_answer_was_done_and_a_refused_request_was_not() -> None:
    world = FaultyWorld("{lose: true, match: {names: [a]}}, {refuse: true, match: {names: [b]}}")
    assert world.lost("DELETE", A)
    assert world.lost("DELETE", f"{CONFIG_MAP_PATH}/b")
    assert world.get(CONFIG_MAP_PATH).names == ["b"]


def test_a_delay_is_left_to_the_transport() -> None:
    world = FaultyWorld("{delay: 2s}")
    answer = world.handler.handle(world.request("GET", A))
    assert (answer.delay, isinstance(answer, Response)) == (2.0, True)


def test_stale_reads_show_the_past() -> None:
    world = FaultyWorld("{stale: 30s, match: {verbs: [get, list]}, from: 40s}")
    world.clock.advance(30)
    world.patch(A, {"data": {"x": "new"}})
    world.send("DELETE", f"{CONFIG_MAP_PATH}/b")
    world.clock.advance(15)
    world.config_map("c")
    assert world.get(CONFIG_MAP_PATH).names == ["a", "b"]
    assert "data" not in world.get(A).body
    assert world.get(f"{CONFIG_MAP_PATH}/b").status == 200
    assert world.get(f"{CONFIG_MAP_PATH}/c").body["reason"] == "NotFound"
    world.clock.advance(31)
    assert world.get(CONFIG_MAP_PATH).names == ["a", "c"]
    assert world.get(A).body["data"] == {"x": "new"}


def test_lists_and_reads_can_expire() -> None:
    world = FaultyWorld("{expire: true, count: 1}")
    assert world.get(CONFIG_MAP_PATH).body["reason"] == "Expired"
    assert world.get(CONFIG_MAP_PATH).status == 200


def test_a_revoked_permission_is_refused_in_reviews_too() -> None:
    world = FaultyWorld("{name: r, revoke: true, match: {verbs: [delete]}, from: 5s, until: 9s}")
    wanted = {"verb": "delete", "resource": "configmaps", "namespace": "default"}

    def allowed() -> bool:
        review = world.send("POST", SELF_REVIEW, {"spec": {"resourceAttributes": wanted}})
        return bool(review.body["status"]["allowed"])

    assert allowed()
    world.clock.advance(5)
    refused = world.send("DELETE", A)
    assert (refused.status, refused.body["reason"]) == (403, "Forbidden")
    assert not allowed()
    world.clock.advance(5)
    assert world.send("DELETE", A).status == 200
    assert world.hits("r") == 2


def test_a_shrunken_list_lacks_its_share_of_items_and_a_single_object_is_whole() -> None:
    world = FaultyWorld("{name: s, shrink: 50%}")

    assert world.get(CONFIG_MAP_PATH).names == ["b"]
    assert world.get(f"{CONFIG_MAP_PATH}/a").body["metadata"]["name"] == "a"
    assert world.hits("s") == 2


def test_a_truncated_answer_is_no_json_and_an_empty_one_is_a_lie() -> None:
    world = FaultyWorld("{truncate: true, count: 1}, {empty: true, after: 1, count: 1}")
    with pytest.raises(json.JSONDecodeError):
        json.loads(world.get(CONFIG_MAP_PATH).text)
    assert world.get(CONFIG_MAP_PATH).names == []
    assert world.get(CONFIG_MAP_PATH).names == ["a", "b"]


def test_an_answer_may_be_emptied_and_torn_at_once() -> None:
    for script in ("{truncate: true}, {empty: true}", "{empty: true}, {truncate: true}"):
        with pytest.raises(json.JSONDecodeError):
            json.loads(FaultyWorld(script).get(CONFIG_MAP_PATH).text)


def test_an_emptied_table_has_no_rows() -> None:
    table = "application/json;as=Table;v=v1;g=meta.k8s.io"
    assert FaultyWorld("{empty: true}").get(CONFIG_MAP_PATH, accept=table).body["rows"] == []


# Watches


def test_a_watch_can_be_cut_after_a_time() -> None:
    world = FaultyWorld("{drop: 5s}")
    stream = world.open_watch()
    world.clock.advance(5)
    assert stream.closed
    assert stream.lost


def test_a_watch_can_be_cut_after_so_many_events() -> None:
    world = FaultyWorld("{drop: {events: 2}}")
    stream = world.open_watch()
    for name in ("c", "d", "e"):
        world.config_map(name)
    assert events(stream) == [("ADDED", "c"), ("ADDED", "d")]
    assert stream.lost


def test_events_can_come_twice() -> None:
    world = FaultyWorld("{duplicate: 2}")
    stream = world.open_watch()
    world.config_map("c")
    assert events(stream) == [("ADDED", "c"), ("ADDED", "c")]


def test_two_faults_of_one_watch_work_one_behind_the_other() -> None:
    world = FaultyWorld("{duplicate: 2}, {stale: 10s}, {drop: {events: 2}}")
    world.config_map("c")
    stream = world.watch(f"{CONFIG_MAP_PATH}?labelSelector=!kind")
    world.clock.advance(9)
    world.config_map("d")
    assert events(stream) == []
    world.clock.advance(1)
    assert events(stream) == [("ADDED", "c"), ("ADDED", "c")]
    world.clock.advance(9)
    assert events(stream) == [("ADDED", "d"), ("ADDED", "d")]
    assert stream.lost


def test_what_a_cut_watch_has_told_is_told_twice_as_well() -> None:
    for script in ("{drop: {events: 1}}, {duplicate: 2}", "{expire: true}, {duplicate: 2}"):
        stream = FaultyWorld(script).watch(CONFIG_MAP_PATH)
        assert stream.closed
        assert len(stream.take()) == 1


def test_a_stalled_watch_is_silent_and_then_tells_all() -> None:
    world = FaultyWorld("{stall: 40s}")
    stream = world.open_watch()
    world.config_map("c")
    world.clock.advance(39)
    assert events(stream) == []
    world.clock.advance(1)
    world.config_map("d")
    assert events(stream) == [("ADDED", "c"), ("ADDED", "d")]


def test_a_stale_watch_is_behind() -> None:
    world = FaultyWorld("{stale: 10s, match: {verbs: [watch]}}")
    stream = world.open_watch()
    world.config_map("c")
    world.clock.advance(9)
    assert events(stream) == []
    world.clock.advance(1)
    assert events(stream) == [("ADDED", "c")]


def test_a_watch_can_expire() -> None:
    world = FaultyWorld("{expire: true, match: {verbs: [watch]}}")
    told = raw(world.open_watch())
    assert [(event["type"], event["object"]["reason"]) for event in told] == [("ERROR", "Expired")]


def test_faults_of_watches_leave_other_requests_alone() -> None:
    world = FaultyWorld("{name: d, drop: 1s}")
    world.get(CONFIG_MAP_PATH)
    assert world.injector.unreached() == ["d"]


# The cluster


def test_the_cluster_is_hurt_and_healed_in_time() -> None:
    world = FaultyWorld(
        "{loseNode: n1, from: 10s, until: 30s}, {stopControllers: true, from: 20s, for: 5s}, "
        "{loseZone: z, from: 40s}, {removeNode: n2, from: 50s}, "
        "{breakImage: {image: a, fault: crash}, from: 60s, for: 10s}"
    )
    world.clock.advance(100)
    assert world.operated.done == [
        "lose n1",
        "stop controllers",
        "start controllers",
        "restore n1",
        "lose zone z",
        "remove n2",
        "break a",
        "heal a",
    ]
    assert world.injector.unreached() == []


def test_a_request_may_set_it_off() -> None:
    world = FaultyWorld("{name: l, loseNode: n1, match: {verbs: [delete]}, after: 1, for: 5s}")
    world.clock.advance(10)
    world.send("DELETE", A)
    assert world.operated.done == []
    world.send("DELETE", f"{CONFIG_MAP_PATH}/b")
    world.clock.advance(5)
    assert world.operated.done == ["lose n1", "restore n1"]
    assert world.hits("l") == 1


def test_old_versions_can_be_forgotten() -> None:
    world = FaultyWorld("{compact: true, from: 5s}")
    version = world.store.version
    world.config_map("c")
    world.clock.advance(5)
    gone = world.get(f"{CONFIG_MAP_PATH}?resourceVersion={version}&resourceVersionMatch=Exact")
    assert gone.status == 410


def test_a_server_that_is_down_answers_nobody_and_cuts_all_watches() -> None:
    downs: list[float] = []
    world = FaultyWorld("{restart: true, from: 10s, for: 5s}", downs.append)
    stream = world.open_watch()
    world.clock.advance(10)
    assert stream.closed
    assert stream.lost
    assert world.lost("GET", A)
    world.clock.advance(5)
    assert not world.lost("GET", A)
    assert downs == [5.0]


def test_struck_requests_are_in_the_audit_log_under_the_faults_name() -> None:
    world = FaultyWorld("{name: flaky, error: 503, count: 1}")
    world.get(A)
    world.get(A)
    told = [(entry.status, entry.fault) for entry in world.api.audit.entries][-2:]
    assert told == [(503, "flaky"), (200, "")]
