"""Who is told how a run goes: whole runs, with receivers that listen over real HTTPS."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from rollout.gates.webhook import SIGNATURE, sign
from rollout.sim.images import Fault, FaultKind
from rollout.sim.resources import EVENTS
from tests.cluster.world import CERTIFICATE, Asked, Reply, Streamed, serve
from tests.cluster.world import World as Receiver
from tests.e2e.world import NAME, NAMESPACE, NEW, OLD, Done, World, fleet, world

ROLLOUT = "log-agent-2.4"
THERE = ("-n", NAMESPACE)
ALLOW = ("--allow-host", "127.0.0.1")
KEY = "hmac-of-the-test"
CANARY = [{"name": "canary", "size": 1, "pause": "approval"}, {"name": "rest"}]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[World]:
    with world(fleet(4), tmp_path) as made:
        yield made


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with serve(lambda _: Reply({}), tls=True) as made:
        yield made


def all_kinds(receiver: Receiver) -> list[dict[str, Any]]:
    trust = {"tls": {"caFile": str(CERTIFICATE)}}
    every = ["started", "wave-done", "approval-wanted", "held", "failed", "rolled-back", "done"]
    return [
        {
            "name": "hook",
            "kind": "webhook",
            "url": f"{receiver.url}/hook",
            "secretRef": {"env": "HOOK_KEY"},
            **trust,
        },
        {"name": "chat", "kind": "slack", "urlFrom": {"env": "CHAT_URL"}, **trust},
        {
            "name": "pager",
            "kind": "pagerduty",
            "url": f"{receiver.url}/pager",
            "secretRef": {"env": "PAGER_KEY"},
            "events": every,
            **trust,
        },
        {"name": "ds", "kind": "events"},
    ]


class Told:
    """What the receivers of all kinds have got since the last look."""

    def __init__(self, cluster: World, receiver: Receiver) -> None:
        self.cluster, self.receiver = cluster, receiver
        self._seen: Counter[str] = Counter()

    def rollout(self, *arguments: str | Path) -> Done:
        return self.cluster.rollout(
            *arguments,
            HOOK_KEY=KEY,
            CHAT_URL=f"{self.receiver.url}/chat",
            PAGER_KEY="pager-of-the-test",
        )

    def got(self, kind: str) -> list[Any]:
        """Return the bodies that have come to a kind of receiver."""
        return [asked.body for asked in self.receiver.asked if asked.path == f"/{kind}"]

    def new(self) -> list[str]:
        """Return the occasions since the last look: those of the webhook; all others got them."""
        hook = [body["event"] for body in self._since("hook", self.got("hook"))]
        chat = [body["text"].partition("(")[2] for body in self._since("chat", self.got("chat"))]
        assert [text.partition(")")[0] for text in chat] == hook
        pager = self._since("pager", self.got("pager"))
        assert [b["payload"]["class"] if "payload" in b else "done" for b in pager] == hook
        events = [e for e in self.cluster.objects(EVENTS) if e["source"]["component"] == "rollout"]
        reasons = Counter(event["reason"] for event in events) - self._seen
        self._seen += reasons
        assert reasons == Counter(f"Rollout{word.title().replace('-', '')}" for word in hook)
        return hook

    def _since(self, kind: str, bodies: list[Any]) -> list[Any]:
        start, self._seen[f"n {kind}"] = self._seen[f"n {kind}"], len(bodies)
        return bodies[start:]


@pytest.fixture
def told(cluster: World, receiver: Receiver) -> Told:
    return Told(cluster, receiver)


def planned(told: Told, **changes: Any) -> Path:
    return told.cluster.plan(told.cluster.spec(notify=all_kinds(told.receiver), **changes))


def test_every_kind_of_sink_hears_of_each_occasion_once(told: Told) -> None:
    plan = planned(told, waves=CANARY)
    waiting = told.rollout("apply", plan, *ALLOW)
    assert waiting.code == 6, waiting.err
    assert "was not told" not in waiting.out + waiting.err
    assert told.new() == ["started", "wave-done", "approval-wanted"]
    assert told.rollout("approve", ROLLOUT, *THERE).code == 0
    assert told.rollout("resume", ROLLOUT, *THERE, *ALLOW).code == 0
    assert told.new() == ["started", "wave-done", "done"]
    assert told.rollout("undo", NAME, *THERE, "--yes", *ALLOW).code == 0
    assert told.new() == ["started", "done"]


def test_the_messages_are_signed_and_are_one_alert_for_a_run(told: Told) -> None:
    assert told.rollout("apply", planned(told), *ALLOW).code == 0
    record = told.cluster.record()
    assert record is not None
    hooks = [asked for asked in told.receiver.asked if asked.path == "/hook"]
    assert hooks
    for asked in hooks:
        body = msgspec.json.encode(asked.body)
        assert asked.headers[SIGNATURE.lower()] == sign(KEY, body)
        assert asked.body["schema"] == "rollout.notice/v1"
        assert asked.body["run"] == record["runId"]
    alerts = told.got("pager")
    assert {alert["dedup_key"] for alert in alerts} == {
        f"rollout/{NAMESPACE}/{ROLLOUT}/{record['runId']}"
    }
    assert {alert["routing_key"] for alert in alerts} == {"pager-of-the-test"}
    assert alerts[-1]["event_action"] == "resolve"
    assert {alert["event_action"] for alert in alerts[:-1]} == {"trigger"}


def test_sinks_hear_of_a_run_that_is_held_and_taken_back_by_hand(told: Told) -> None:
    told.cluster.break_image(NEW, Fault(FaultKind.UNPULLABLE))
    assert told.rollout("apply", planned(told, waves=[1, 4]), *ALLOW).code == 3
    assert told.new() == ["started", "failed", "held"]
    back = told.rollout("rollback", ROLLOUT, *THERE, *ALLOW)
    assert back.code == 4, back.err
    assert told.new() == ["started", "rolled-back"]
    assert told.got("hook")[-2]["text"].endswith("goes back")


def test_sinks_hear_of_a_rollback_that_is_asked_for_while_apply_is_at_work(told: Told) -> None:
    told.cluster.break_image(NEW, Fault(FaultKind.NEVER_READY))
    plan = planned(told, strategy={"maxUnavailable": 1})
    environment = {"HOOK_KEY": KEY, "CHAT_URL": f"{told.receiver.url}/chat", "PAGER_KEY": "p"}
    with told.cluster.start("apply", plan, *ALLOW, "-o", "jsonl", **environment) as running:
        running.event("node-started")
        asked = told.rollout("rollback", ROLLOUT, *THERE, *ALLOW)
        assert asked.code == 0, asked.err
        running.event("rolling-back")
        told.cluster.break_image(NEW, None)
        assert running.end().code == 4
    assert told.new() == ["started", "rolled-back"]


def test_sinks_hear_of_an_automatic_way_back(told: Told) -> None:
    told.cluster.break_image(NEW, Fault(FaultKind.UNPULLABLE))
    plan = planned(told, waves=[1, 4], failure={"onFailure": "rollback"})
    assert told.rollout("apply", plan, *ALLOW).code == 4
    assert told.new() == ["started", "failed", "held", "rolled-back"]


def test_sinks_hear_of_a_run_that_somebody_ends(told: Told) -> None:
    assert told.rollout("apply", planned(told, waves=CANARY), *ALLOW).code == 6
    told.new()
    assert told.rollout("reject", ROLLOUT, *THERE, "--then", "hold", *ALLOW).code == 0
    assert told.new() == ["held"]
    assert told.rollout("abort", ROLLOUT, *THERE, "--reason", "a slip", *ALLOW).code == 0
    assert told.new() == ["held"]
    assert "a slip" in told.got("hook")[-1]["text"]
    assert told.rollout("rollback", ROLLOUT, *THERE, *ALLOW).code == 4  # the kept plan is gone
    assert told.new() == ["started", "rolled-back"]


def test_a_rollback_waits_for_no_sink_and_needs_no_leave_for_one(told: Told) -> None:
    told.cluster.break_image(NEW, Fault(FaultKind.UNPULLABLE))
    assert told.rollout("apply", planned(told), *ALLOW).code == 3
    before = len(told.receiver.asked)
    back = told.rollout("rollback", ROLLOUT, *THERE)
    assert back.code == 4, back.err
    assert set(told.cluster.images().values()) == {OLD}
    for name in ("hook", "chat", "pager"):
        assert f"notify {name} was not told: host 127.0.0.1 is not allowed" in back.out
    assert len(told.receiver.asked) == before


def lies(receiver: Callable[[], Receiver]) -> Callable[[Asked], Any]:
    """Return a receiver that answers in every bad way, by the path that is asked."""

    def drip() -> Iterator[bytes]:
        while not receiver().released.wait(0.05):
            yield b"x"

    def scenario(asked: Asked) -> Any:
        match asked.path:
            case "/hangs":
                receiver().released.wait(60)
            case "/drips":
                return Streamed(drip())
            case "/floods":
                return Streamed(iter([b"x" * 65536] * 40))
            case "/breaks":
                return Reply({}, 500)
            case "/redirects":
                return Reply({}, 307, {"Location": f"{receiver().url}/elsewhere"})
        return Reply({})

    return scenario


def test_a_sink_that_hangs_breaks_redirects_or_floods_stops_nothing_and_is_named(
    cluster: World,
) -> None:
    made: list[Receiver] = []
    says = {
        "hangs": "no whole answer within 0.3 s",
        "drips": "no whole answer within 0.3 s",
        "floods": "the answer is larger than",
        "breaks": "it answers 500",
        "redirects": "it redirects (307)",
    }
    with serve(lies(lambda: made[0])) as receiver:
        made.append(receiver)
        sinks = [
            {
                "name": word,
                "kind": "webhook",
                "url": f"{receiver.url}/{word}",
                "timeout": "300ms" if word in {"hangs", "drips"} else "60s",
                "events": ["started"],
            }
            for word in (*says, "works")
        ]
        plan = cluster.plan(cluster.spec(notify=sinks))
        done = cluster.rollout("apply", plan, *ALLOW, "-o", "jsonl")
        asked = Counter(asked.path for asked in receiver.asked)
    assert done.code == 0, done.err
    assert set(cluster.images().values()) == {NEW}
    warnings = [event["message"] for event in done.events if event["type"] == "warning"]
    said = "\n".join([*warnings, done.err])
    for word, why in says.items():
        assert f"notify {word} was not told: " in said
        assert why in said
    assert "notify works" not in said
    assert asked["/works"] == 1
    assert asked["/elsewhere"] == 0


def test_no_event_is_written_without_the_lock(told: Told) -> None:
    assert told.rollout("apply", planned(told), *ALLOW).code == 0
    writes = [entry.path for entry in told.cluster.writes()]
    leases = [number for number, path in enumerate(writes) if "/leases" in path]
    events = [number for number, path in enumerate(writes) if "/events" in path]
    assert events
    assert leases[0] < min(events)
    assert max(events) < leases[-1]  # which gives it back
