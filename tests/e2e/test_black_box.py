"""The real command on 200 nodes over a line that breaks, killed again and again until it is done.

What is judged is what the server knows: its audit log, and a watcher with a line of its own.
"""

from __future__ import annotations

import itertools
import random
import re
import signal
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import yaml

from rollout.sim.audit import Entry
from tests.e2e.badline import bad_line
from tests.e2e.watcher import watching
from tests.e2e.world import COMMAND, NAMESPACE, NEW, PATIENCE_S, Running, World, fleet, world

NODES = 200
LIMIT = 40
SEED = 7
_POD = re.compile(rf"/api/v1/namespaces/{NAMESPACE}/pods/([^/?]+)")


class Tripwire:
    """Kills a command as soon as so many pods were deleted, as the audit log says."""

    def __init__(self, cluster: World) -> None:
        self._cluster = cluster
        self._record = cluster.cluster.audit.record
        self._wanted = NODES + 1
        self.deleted = 0
        self._kill: Callable[[], object] = int
        vars(cluster.cluster.audit)["record"] = self._look

    def set(self, more: int, kill: Callable[[], object]) -> None:
        with self._cluster.cluster.lock:
            self._wanted, self._kill = self.deleted + more, kill

    def _look(self, entry: Entry) -> None:
        self._record(entry)
        if entry.verb == "delete" and entry.status < 300 and _POD.match(entry.path):
            self.deleted += 1
            if self.deleted >= self._wanted:
                self._kill()


def test_fault_38_kills_and_a_broken_line_change_nothing_on_200_nodes(tmp_path: Path) -> None:
    rng = random.Random(SEED)
    codes: list[int] = []
    with ExitStack() as stack:
        cluster = stack.enter_context(world(fleet(NODES, 4), tmp_path))
        strategy = cluster.daemon_set()["spec"]["updateStrategy"]
        before = set(cluster.pod_names().values())
        plan = cluster.plan(
            cluster.spec(
                strategy={"maxUnavailable": LIMIT},
                health={"soak": 0, "nodeTimeout": "5m"},
                waves=[{"name": "all"}],
            )
        )
        address = cluster.cluster.server.address
        line = stack.enter_context(bad_line(address, SEED))
        kubeconfig = cluster.cluster.kubeconfig("")
        kubeconfig["clusters"][0]["cluster"]["server"] = line.url
        bad = tmp_path / "bad"
        bad.write_text(yaml.safe_dump(kubeconfig))
        watcher = stack.enter_context(watching(address, NAMESPACE))
        tripwire = Tripwire(cluster)
        for attempt in itertools.count():
            assert attempt < 40, codes
            with Running("apply", plan, "--kubeconfig", bad, command=COMMAND) as command:
                tripwire.set(rng.randint(15, 45), command.process.kill)
                codes.append(command.process.wait(PATIENCE_S))
            if codes[-1] == 0:
                break
        images, after = cluster.images(), cluster.daemon_set()
        entries = cluster.entries()
        cluster.cluster.server.stop()
    deletes = [e for e in entries if e.verb == "delete" and e.status < 300 and _POD.match(e.path)]
    names = Counter(match[1] for e in deletes if (match := _POD.match(e.path)))
    kills = codes.count(-signal.SIGKILL)
    assert kills >= 4
    assert min(line.fates[fate] for fate in ("reset", "cut", "stall")) >= 1
    assert set(names) == before
    assert set(names.values()) == {1}
    assert all(entry.uid for entry in deletes)
    assert set(images.values()) == {NEW}
    assert watcher.most_down <= LIMIT
    assert after["spec"]["updateStrategy"] == strategy
