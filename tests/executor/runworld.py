"""A whole `apply` in the test's own process: the real edge over HTTP, an API that misbehaves."""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from rollout.cli.planning import make_plan, read_spec
from rollout.cluster.client import Client, connect
from rollout.cluster.retry import DEFAULT_PATIENCE, Patience
from rollout.cluster.watch import Timing
from rollout.executor.applying import carry_out
from rollout.executor.engine.engine import Engine
from rollout.executor.engine.notices import Notice
from rollout.executor.inbox import Inbox
from rollout.executor.result import Result
from rollout.executor.session import begin
from rollout.executor.tuning import Tuning
from rollout.journal.place import Place
from rollout.planner.plan import Plan
from rollout.sim.embedded import EmbeddedCluster
from rollout.sim.faultfile import read_faults
from rollout.sim.fleetfile import Fleet, Rule, User
from tests.e2e.world import PATIENCE_S, World, fleet, spec_document

# Nothing here waits for minutes; what is real are the threads, the sockets and the order of things.
WATCH = Timing(silence_s=20.0, healthy_s=0.5, first_pause_s=0.02, max_pause_s=0.2)
QUICK = Tuning(lease_s=15.0, heartbeat_s=0.3, watch=WATCH)
IMPATIENT = replace(QUICK, watch=replace(WATCH, silence_s=0.6))  # with a watch that says nothing
RUNNER = User("runner", "runner-token", rules=(Rule(("*",), ("*",), ("*",)),))


@dataclass
class Heard:
    """All that an observer is told."""

    notices: list[Notice] = field(default_factory=list)
    said: list[str] = field(default_factory=list)  # why nothing moves, before and during the run
    warnings: list[str] = field(default_factory=list)
    sequence: int = 0
    news: threading.Condition = field(default_factory=threading.Condition)

    def notice(self, told: Notice, engine: Engine) -> None:
        del engine
        with self.news:
            self.notices.append(told)
            self.news.notify_all()

    def heartbeat(self, why: str, engine: Engine) -> None:
        del engine
        self.waiting(why)

    def look(self, engine: Engine, now: float) -> float:
        del engine, now
        return math.inf

    def waiting(self, why: str) -> None:
        with self.news:
            self.said.append(why)
            self.news.notify_all()

    def warning(self, text: str) -> None:
        with self.news:
            self.warnings.append(text)
            self.news.notify_all()

    def kinds(self, kind: str) -> list[str]:
        return [told.node or told.message for told in self.notices if told.kind == kind]

    def await_(self, condition: Callable[[Heard], object]) -> None:
        """Wait until what was heard fulfils the condition."""
        with self.news:
            reached = self.news.wait_for(lambda: condition(self), PATIENCE_S)
        assert reached, (self.notices, self.said, self.warnings)


class Applying:
    """A run in a thread."""

    def __init__(self, client: Client, plan: Plan, tuning: Tuning) -> None:
        self.heard = Heard()
        self.inbox = Inbox()
        self._outcome: list[Result | BaseException] = []

        def work() -> None:
            try:
                session = begin(client, plan, Place("none"))
                result = carry_out(client, plan, session, self.inbox, self.heard, tuning=tuning)
                self._outcome.append(result)
            except BaseException as error:  # noqa: BLE001 - the test looks at it
                self._outcome.append(error)

        self._thread = threading.Thread(target=work, name="apply")
        self._thread.start()

    def end(self) -> Result:
        """Wait for the end, and return or raise what came of it."""
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive(), (self.heard.said, self.heard.notices)
        if isinstance(self._outcome[0], BaseException):
            raise self._outcome[0]
        return self._outcome[0]


@dataclass
class RunWorld(World):
    """A cluster with a fault script, and clients of it.

    Plans are made by the administrator; a run is RUNNER's, so that faults can strike it alone.
    """

    clients: list[Client] = field(default_factory=list)

    def client(self, token: str = "", patience: Patience = DEFAULT_PATIENCE) -> Client:
        made = connect(self.write_kubeconfig(f"config-{token}", token), patience=patience)
        self.clients.append(made)
        return made

    def planned(self, **changes: Any) -> Plan:
        """Plan a spec that brings the new image to all nodes."""
        path = self.directory / "spec.yaml"
        path.write_text(yaml.safe_dump(spec_document(**changes)))
        return make_plan(self.client(), read_spec(path, None), None)

    def applying(self, plan: Plan, tuning: Tuning = QUICK, **changes: Any) -> Applying:
        return Applying(self.client(RUNNER.token, **changes), plan, tuning)

    def apply(self, plan: Plan, tuning: Tuning = QUICK, **changes: Any) -> tuple[Result, Heard]:
        applying = self.applying(plan, tuning, **changes)
        return applying.end(), applying.heard

    def hits(self, name: str) -> int:
        """How often a fault struck."""
        assert self.cluster.injector is not None
        with self.cluster.lock:
            return self.cluster.injector.counters[name].hits

    def deletes(self) -> Counter[str]:
        """Return how often each node's pod was deleted with success."""
        nodes = {name: node for node, name in self.first_pods.items()}
        return Counter(nodes[pod] for pod in self.deleted_pods() if pod in nodes)

    first_pods: dict[str, str] = field(default_factory=dict)


@contextmanager
def run_world(
    directory: Path, faults: str = "", described: Fleet | None = None
) -> Iterator[RunWorld]:
    """Run a cluster with a fault script for the length of a test."""
    script = read_faults(None, faults) if faults else None
    with EmbeddedCluster(described or fleet(4, users=(RUNNER,)), faults=script) as cluster:
        made = RunWorld(cluster, directory, directory / "kubeconfig")
        made.write_kubeconfig("kubeconfig")
        made.first_pods = made.pod_names()
        try:
            yield made
        finally:
            for client in made.clients:
                client.close()
