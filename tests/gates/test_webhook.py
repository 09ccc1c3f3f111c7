from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import replace
from typing import Any

import pytest

from rollout.gates.measurement import Measurement, Outcome
from rollout.gates.measuring import measure
from rollout.gates.verdict import Status, Tally, add, assess, rules_of
from rollout.gates.webhook import SIGNATURE, sign
from tests.cluster.world import CERTIFICATE, Asked, Reply, Reset, World, serve
from tests.fleet.builders import make_node
from tests.gates.worlds import NOW, a_context, a_gate


def a_webhook(world: World, **fields: Any) -> Any:
    return a_gate("webhook", url=f"{world.url}/hook", tls={"caFile": str(CERTIFICATE)}, **fields)


def posted(answer: Any, **fields: Any) -> Measurement:
    with serve(lambda _: answer, tls=True) as world:
        return measure(a_webhook(world, **fields), a_context())


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        (200, Outcome.PASSED),
        (204, Outcome.PASSED),
        (409, Outcome.WAITING),
        (425, Outcome.WAITING),
        (302, Outcome.FAILED),
        (400, Outcome.FAILED),
        (404, Outcome.FAILED),
        (500, Outcome.FAILED),
    ],
)
def test_2xx_passes_409_and_425_wait_and_anything_else_fails(code: int, outcome: Outcome) -> None:
    body = b"" if code == 204 else b"too busy"
    found = posted(Reply(body, code))
    assert (found.outcome, found.value) == (outcome, str(code))
    assert found.reason.startswith(f"the receiver says {code}")


def test_an_answer_that_never_came_is_an_error() -> None:
    assert posted(Reset()).outcome is Outcome.ERROR


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        (200, Outcome.FAILED),
        (202, Outcome.FAILED),
        (404, Outcome.PASSED),
        (409, Outcome.PASSED),
        (302, Outcome.ERROR),
        (401, Outcome.ERROR),
        (503, Outcome.ERROR),
    ],
)
def test_a_trip_means_roll_back_on_2xx_and_only_a_clear_no_passes(
    code: int, outcome: Outcome
) -> None:
    assert posted(Reply(b"", code), trip=True).outcome is outcome


def test_commands_25_three_times_409_and_then_200_waits_and_goes_on_with_each_answer_kept() -> None:
    codes = iter((409, 409, 409, 200))
    with serve(lambda _: Reply(b"deploy freeze", next(codes)), tls=True) as world:
        gate = a_webhook(world, interval="60s")
        rules, tally, now = rules_of(gate), Tally(), NOW
        statuses = []
        for _ in range(4):
            tally = add(rules, tally, measure(gate, replace(a_context(), now=now)))
            verdict = assess(rules, tally, NOW, now)
            statuses.append(verdict.status)
            now = verdict.next_at or now
    assert statuses == [Status.WAITING] * 3 + [Status.PASSED]
    assert [m.at for m in tally.recent] == [NOW, NOW + 60, NOW + 120, NOW + 180]
    assert [m.value for m in tally.recent] == ["409", "409", "409", "200"]


def test_the_receiver_is_told_what_is_updated_and_where_the_gate_stands() -> None:
    with serve(lambda _: Reply({}), tls=True) as world:
        context = a_context(node=make_node("n1", labels={"pool": "edge"}))
        measure(a_webhook(world), context)
        measure(a_webhook(world), replace(context, now=NOW + 60))
        measure(a_webhook(world), replace(context, began=NOW))
    first, again, anew = (asked.body for asked in world.asked)
    assert world.asked[0].headers["content-type"] == "application/json"
    assert {key: first[key] for key in first if key not in ("delivery", "node")} == {
        "version": 1,
        "run": "run-1",
        "plan": {"name": "log-agent-2.4", "digest": "sha256:abc", "author": "ann"},
        "gate": {"name": "g", "at": "after-wave", "id": "gate/after-wave/canary/g"},
        "wave": {"number": 1, "name": "canary"},
        "namespace": "logging",
        "daemonSets": [
            {
                "name": "log-agent",
                "namespace": "logging",
                "oldRevision": "aaa",
                "newRevision": "bbb",
            }
        ],
        "nodes": ["n1", "n2"],
        "time": "2027-01-15T08:00:00Z",
    }
    assert first["node"]["name"] == "n1"
    assert first["delivery"] == again["delivery"] != anew["delivery"]


def test_the_body_is_signed_with_the_secret_which_is_not_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KEY", "hunter2")
    bodies: list[Asked] = []

    def scenario(asked: Asked) -> Reply:
        bodies.append(asked)
        return Reply(b"bad key hunter2", 403)

    with serve(scenario, tls=True) as world:
        found = measure(a_webhook(world, secretRef={"env": "KEY"}), a_context())
    (asked,) = bodies
    raw = json.dumps(asked.body, separators=(",", ":")).encode()
    expected = "sha256=" + hmac.new(b"hunter2", raw, hashlib.sha256).hexdigest()
    assert asked.headers[SIGNATURE.lower()] == expected == sign("hunter2", raw)
    assert "hunter2" not in json.dumps([asked.body, asked.headers])
    assert "hunter2" not in repr(found)


def test_without_a_secret_nothing_is_signed() -> None:
    with serve(lambda _: Reply({}), tls=True) as world:
        measure(a_webhook(world), a_context())
    assert SIGNATURE.lower() not in world.asked[0].headers
