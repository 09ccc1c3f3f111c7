"""Send the recorded requests to an embedded server over HTTP and gather what differs.

The cluster behind the server runs on a virtual clock that only the replay moves: a recorded wait
is an advance of the clock.
"""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from rollout.sim import timestamps
from rollout.sim.admission import Admission
from rollout.sim.api import Api
from rollout.sim.clock import VirtualClock
from rollout.sim.cluster import Cluster, Settings
from rollout.sim.fleetfile import Fleet
from rollout.sim.rbac import ADMIN, User
from rollout.sim.registry import Caller
from rollout.sim.resources import CONFIG_MAPS, PODS
from rollout.sim.server import Server
from tests.fidelity.comparison import LEFT_OUT, Comparison, Mapping, node_of
from tests.fidelity.recordings import Call, Exchange, Setup, Step, Wait
from tests.fidelity.times import Times

WRITER = Caller("recorder", manager="Python-urllib")
LATER = {"metadata": {"generateName": "later-"}}
USERS = {"admin": ADMIN, "dev": User("dev", ("system:authenticated",))}
START = 1_795_454_695.0  # 2026-11-23T17:24:55Z, when the recording began
HALF = 0.5  # seconds
SETTLE = 0.05  # seconds, virtual, for controllers to act behind a call of the recorder
SEED = 1
PARTS = frozenset(("daemonset", "disruption", "garbage", "namespaces", "podgc"))


@dataclass
class World:
    """A cluster without nodes, scheduler or kubelets, behind a server on a virtual clock."""

    clock: VirtualClock
    lock: threading.RLock
    cluster: Cluster
    server: Server

    def advance(self, seconds: float) -> None:
        with self.lock:
            self.clock.advance(seconds)

    def advance_to(self, time: float) -> None:
        with self.lock:
            self.clock.advance(max(0.0, time - self.clock.now()))

    def advance_at_most(self, seconds: float, limit: float) -> None:
        """Advance, but not out of the second that begins at `limit`."""
        with self.lock:
            room = limit + HALF - self.clock.now()
            self.clock.advance(min(seconds, max(0.0, room)))

    def now(self) -> str:
        with self.lock:
            return timestamps.rfc3339(self.clock.now())

    def create_config_maps(self, *names: str) -> None:
        with self.lock:
            for name in names:
                body = {"metadata": {"name": name}}
                self.cluster.registry.create(CONFIG_MAPS, "default", body, WRITER)

    def grow_old(self) -> None:
        """Write something and forget the past, as etcd's compaction does."""
        with self.lock:
            self.cluster.registry.create(CONFIG_MAPS, "kube-system", LATER, WRITER)
            self.cluster.store.compact()


@contextmanager
def world() -> Iterator[World]:
    clock = VirtualClock(START)
    lock = threading.RLock()
    settings = Settings(parts=PARTS, manager="kcm", admission=Admission(taint_new_nodes=False))
    cluster = Cluster(clock, Fleet(seed=SEED), settings)
    api = Api(cluster.registry, tokens=USERS, metrics=False)
    server = Server(api, lock)
    cluster.start()
    server.start()
    try:
        yield World(clock, lock, cluster, server)
    finally:
        server.stop()
        with lock:
            cluster.stop()


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    text: str


@dataclass
class Replay:
    """One run through recorded steps; `differences` by exchange."""

    world: World
    mapping: Mapping = field(default_factory=Mapping)
    differences: dict[str, list[str]] = field(default_factory=dict)

    def run(self, steps: list[Step]) -> None:
        """Send everything, in order, in the seconds in which the recorder sent it."""
        times = Times(steps)
        at = 0
        while at < len(steps):
            inside = _setups_of_watch(steps, at)
            self.world.advance_to(times.at(at + inside if inside else at))
            step = steps[at]
            if inside:
                self._watch(steps[at + inside], steps[at : at + inside])
            elif isinstance(step, Wait):
                self.world.advance_at_most(step.seconds, times.after(at))
            else:
                self._step(step)
            at += inside + 1

    def _step(self, step: Step) -> None:
        match step:
            case Setup():
                self._set_up(step)
            case Exchange() if step.call.is_watch and step.response["status"] == 200:
                self._watch(step, [])
            case Exchange():
                self._compare(step, self.send(step.call))

    def _set_up(self, step: Setup) -> None:
        self._learn_bound_pod(step.call)
        answer = self.send(step.call)
        if answer.status != step.status:
            raise AssertionError(f"{step.call.method} {step.call.path}: {answer}")
        self.world.advance(SETTLE)

    def _learn_bound_pod(self, call: Call) -> None:
        """Find our pod for a recorded binding: the unbound one that wants the same node."""
        if not call.path.endswith("/binding"):
            return
        recorded, node = call.path.split("/")[-2], call.body["target"]["name"]
        if recorded in self.mapping.tokens:
            return
        with self.world.lock:
            for pod in self.world.cluster.store.scan(PODS, "default"):
                if "nodeName" not in pod["spec"] and node_of(pod) == node:
                    self.mapping.learn(recorded, pod["metadata"]["name"])

    def _watch(self, step: Step, inside: list[Step]) -> None:
        assert isinstance(step, Exchange)
        answers: list[Answer] = []
        client = threading.Thread(target=lambda: answers.append(self.send(step.call)))
        before = len(self.world.server.handler.audit.entries)  # type: ignore[attr-defined]  # its handler is ours
        opened = self.world.clock.now()
        client.start()
        while len(self.world.server.handler.audit.entries) == before:  # type: ignore[attr-defined]  # its handler is ours
            client.join(0.001)
        times = Times(inside)
        for at, setup in enumerate(inside):
            self.world.advance_to(times.at(at))
            self._step(setup)
        self.world.advance_to(opened + _timeout(step.call))
        client.join(120)
        self._compare(step, answers[0])

    def send(self, call: Call) -> Answer:
        """Send one request with our names in it."""
        headers = {"User-Agent": "Python-urllib/3.11", "Accept": "application/json"}
        headers |= {key: value for key, value in call.headers.items() if key != "user"}
        user = call.headers.get("user", "admin")
        if user is not None:
            headers["Authorization"] = f"Bearer {user}"
        body = (
            None
            if call.body is None
            else json.dumps(self.mapping.body(call.body, self.world.now()))
        )
        connection = http.client.HTTPConnection(self.world.server.address, timeout=120)
        try:
            connection.request(call.method, self.mapping.path(call.path), body, headers)
            response = connection.getresponse()
            return Answer(response.status, dict(response.getheaders()), response.read().decode())
        finally:
            connection.close()

    def _compare(self, step: Exchange, answer: Answer) -> None:
        comparison = Comparison(self.mapping, LEFT_OUT.get(step.id, frozenset()))
        recorded = step.response
        if answer.status != recorded["status"]:
            comparison.fail("status", recorded["status"], answer.status)
        for name, value in (recorded.get("headers") or {}).items():
            if answer.headers.get(name) != value:
                comparison.fail(name, value, answer.headers.get(name))
        if "events" in recorded:
            events = [json.loads(line) for line in answer.text.splitlines()]
            comparison.compare("events", recorded["events"], events)
        else:
            body = recorded.get("body")
            comparison.page_is_cut = isinstance(body, dict) and "continue" in body.get(
                "metadata", {}
            )
            comparison.compare("body", body, _parsed(recorded, answer))
        self.differences[step.id] = comparison.differences


def _timeout(call: Call) -> float:
    query = parse_qs(call.path.partition("?")[2])
    return float(query["timeoutSeconds"][0])


def _parsed(recorded: dict[str, Any], answer: Answer) -> Any:
    return answer.text if isinstance(recorded.get("body"), str) else json.loads(answer.text)


def _setups_of_watch(steps: list[Step], at: int) -> int:
    """Return how many setup calls from here on ran inside the watch that follows them."""
    count = 0
    while at + count < len(steps) and isinstance(steps[at + count], Setup):
        count += 1
    follower = steps[at + count] if at + count < len(steps) else None
    is_watch = isinstance(follower, Exchange) and follower.call.is_watch
    return count if is_watch else 0
