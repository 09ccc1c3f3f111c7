"""A cluster and the real command beside it: everything goes through processes, files and HTTP.

The embedded cluster runs in the test's own process, so that a test may look at its audit log and
break its images; `rollout` runs as users run it, in a process of its own, which only has its
libraries loaded already (`tests/e2e/warm.py`).
"""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec
import yaml

from rollout.sim.audit import AuditLog, Entry
from rollout.sim.embedded import EmbeddedCluster
from rollout.sim.fleetfile import (
    DaemonSetEntry,
    Fleet,
    NodeGroup,
    UpdateStrategy,
    User,
    default_nodes,
)
from rollout.sim.images import Behaviour, Fault, Timing
from rollout.sim.resources import CONFIG_MAPS, DAEMONSETS, PODS, Resource
from rollout.sim.store import Object
from tests.e2e import warm

Json = dict[str, Any]
COMMAND = (sys.executable, "-m", "rollout")
PATIENCE_S = 300.0  # a command that takes longer hangs, however busy the machine; it is killed
NAMESPACE, NAME = "logging", "log-agent"
OLD, NEW = "log-agent:2.3", "log-agent:2.4"
QUICK = Behaviour(start=Timing(0.15), stop=Timing(0.05))
_WRITES = {"create", "update", "patch", "delete", "deletecollection"}
_POD = re.compile(r"/api/v1/namespaces/[^/]+/pods/([^/?]+)")


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def events(self) -> list[Json]:
        return [json.loads(line) for line in self.out.splitlines()]


def environment(**changes: str) -> dict[str, str]:
    """Return an environment without anything that says which cluster, or how to show things."""
    unwanted = {"KUBECONFIG", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "KUBERNETES_SERVICE_HOST"}
    return {**{k: v for k, v in os.environ.items() if k not in unwanted}, **changes}


def run(
    *arguments: str | Path, stdin: str | None = None, env: dict[str, str] | None = None
) -> Done:
    """Run `rollout` to its end; without `stdin` there is nothing to read."""
    env = environment() if env is None else env
    return Done(*warm.run("rollout", [str(a) for a in arguments], env, stdin or "", PATIENCE_S))


class Running:
    """A command that runs; its standard output is read line by line.

    Args:
        arguments: of the command line.
        env: its whole environment.
        module: what `python -m` would run.
        command: start this instead, cold, as users do.
    """

    def __init__(
        self,
        *arguments: str | Path,
        env: dict[str, str] | None = None,
        module: str = "rollout",
        command: Sequence[str] | None = None,
    ) -> None:
        env = environment() if env is None else env
        given = [str(argument) for argument in arguments]
        self.process = (
            warm.Child(module, given, env) if command is None else _start([*command, *given], env)
        )
        self.lines: list[str] = []
        self._watchdog = threading.Timer(PATIENCE_S, self.process.kill)
        self._watchdog.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._watchdog.cancel()
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def read_until(self, wanted: Callable[[str], bool]) -> str:
        """Read lines until one is the wanted one."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            if wanted(line):
                return line
        raise AssertionError(f"ended too early: {''.join(self.lines)}{self.end().err}")

    def event(self, kind: str, count: int = 1, **fields: object) -> Json:
        """Read the event stream up to the next event, or the `count`-th next one, of a kind."""
        found: Json = {}
        for _ in range(count):
            found = json.loads(self.read_until(lambda line: _is_event(line, kind, fields)))
        return found

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def read_error_line(self) -> str:
        """Read one line of standard error."""
        assert self.process.stderr is not None
        return self.process.stderr.readline()

    def end(self) -> Done:
        """Wait for the end."""
        rest, errors = self.process.communicate(timeout=PATIENCE_S)
        self._watchdog.cancel()
        return Done(self.process.wait(), "".join(self.lines) + rest, errors)


def _start(command: Sequence[str], env: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=env,
    )


def _is_event(line: str, kind: str, fields: Json) -> bool:
    event = json.loads(line)
    return event["type"] == kind and all(event.get(k) == v for k, v in fields.items())


def run_in_terminal(arguments: list[str], answer: str, env: dict[str, str]) -> tuple[int, str]:
    """Run `rollout` on a terminal and type one answer; returns exit code and screen."""
    ours, theirs = pty.openpty()
    with warm.Child("rollout", arguments, env, (theirs, theirs, theirs)) as process:
        os.close(theirs)
        os.write(ours, answer.encode())
        screen = b""
        watchdog = threading.Timer(PATIENCE_S, process.kill)
        watchdog.start()
        try:
            while piece := os.read(ours, 65536):
                screen += piece
        except OSError:  # EIO: the other end is closed
            pass
        finally:
            watchdog.cancel()
            os.close(ours)
    return process.wait(), screen.decode()


@dataclass
class World:
    """One embedded cluster, and a directory with its kubeconfig."""

    cluster: EmbeddedCluster
    directory: Path
    kubeconfig: Path
    tokens: dict[str, str] = field(default_factory=dict)

    # The command

    def rollout(self, *arguments: str | Path, stdin: str | None = None, **env: str) -> Done:
        """Run `rollout` against this cluster."""
        return run(*arguments, stdin=stdin, env=self.environment(**env))

    def start(self, *arguments: str | Path, **env: str) -> Running:
        """Start `rollout` against this cluster."""
        return Running(*arguments, env=self.environment(**env))

    def environment(self, **changes: str) -> dict[str, str]:
        """Return the environment in which this cluster is the current one."""
        state = str(self.directory / "state")
        return environment(**{"XDG_STATE_HOME": state, **changes}, KUBECONFIG=str(self.kubeconfig))

    def plan(self, spec: Path, name: str = "plan.json", *options: str) -> Path:
        """Plan a spec and return the saved plan."""
        path = self.directory / name
        done = self.rollout("plan", "-f", spec, "--out", path, *options)
        assert done.code == 0, done.err
        return path

    def write_kubeconfig(self, name: str, token: str = "") -> Path:
        """Write another kubeconfig for this cluster, for the owner of the token."""
        path = self.directory / name
        path.write_text(yaml.safe_dump(self.cluster.kubeconfig(token)))
        return path

    def spec(self, name: str = "spec.yaml", **changes: Any) -> Path:
        """Write a spec that brings NEW to all nodes; `changes` replace parts of `spec`."""
        path = self.directory / name
        path.write_text(yaml.safe_dump(spec_document(**changes)))
        return path

    # What the cluster knows

    def entries(self) -> list[Entry]:
        """Return the requests so far."""
        with self.cluster.lock:
            return list(self.cluster.audit.entries)

    def writes(self) -> list[Entry]:
        """Return the requests that were meant to change something."""
        return [
            entry
            for entry in self.entries()
            if entry.verb in _WRITES
            and "dryRun=All" not in entry.path
            and "authorization.k8s.io" not in entry.path
        ]

    def deleted_pods(self) -> list[str]:
        """Return the names of the pods that were deleted through the API, in order."""
        return [
            found[1]
            for entry in self.writes()
            if entry.verb == "delete" and entry.status < 300 and (found := _POD.match(entry.path))
        ]

    def objects(self, resource: Resource) -> list[Object]:
        """Return all objects of a resource."""
        with self.cluster.lock:
            return list(self.cluster.cluster.store.scan(resource))

    def daemon_set(self) -> Object:
        """Return the DaemonSet log-agent."""
        return next(ds for ds in self.objects(DAEMONSETS) if ds["metadata"]["name"] == NAME)

    def pods(self) -> dict[str, Object]:
        """Return the pod of each node; one that ends only where there is no other."""
        ending_first = sorted(
            self.objects(PODS), key=lambda pod: "deletionTimestamp" not in pod["metadata"]
        )
        return {pod["spec"]["nodeName"]: pod for pod in ending_first}

    def images(self) -> dict[str, str]:
        """Return the image that each node's pod runs."""
        return {
            node: pod["spec"]["containers"][0]["image"] for node, pod in sorted(self.pods().items())
        }

    def pod_names(self) -> dict[str, str]:
        """Return the name of each node's pod."""
        return {node: pod["metadata"]["name"] for node, pod in self.pods().items()}

    def record(self, name: str = "log-agent-2.4") -> Json | None:
        """Return the run record of a rollout."""
        for found in self.objects(CONFIG_MAPS):
            if found["metadata"]["name"] == f"rollout-{name}":
                record: Json = json.loads(found["data"]["record"])
                return record
        return None

    # What happens to it

    def break_image(self, image: str, fault: Fault | None) -> None:
        """Break an image (`image` or `image@node`), or heal it."""
        with self.cluster.lock:
            self.cluster.cluster.set_image_fault(image, fault)

    def set_image(self, image: str, behaviour: Behaviour) -> None:
        """Change how an image behaves."""
        with self.cluster.lock:
            self.cluster.cluster.set_image(image, behaviour)

    def patch_daemon_set(self, patch: Json) -> None:
        """Change the DaemonSet as another user does."""
        done = self.kubectl(
            *("patch", "daemonset", NAME, "-n", NAMESPACE, "--type", "merge"),
            *("-p", json.dumps(patch)),
        )
        assert done.code == 0, done.err

    def kubectl(self, *arguments: str, stdin: str | None = None) -> Done:
        """Run kubectl against this cluster."""
        return kubectl(self.kubeconfig, *arguments, stdin=stdin)


def kubectl(kubeconfig: Path, *arguments: str, stdin: str | None = None) -> Done:
    """Run kubectl."""
    done = subprocess.run(
        ["kubectl", "--kubeconfig", str(kubeconfig), *arguments],
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
        env=environment(HOME=str(kubeconfig.parent)),
    )
    return Done(done.returncode, done.stdout, done.stderr)


def spec_document(**changes: Any) -> Json:
    """Return a spec that brings NEW to all nodes; `changes` replace parts of `spec`."""
    namespace = changes.pop("namespace", NAMESPACE)
    item = {
        "name": NAME,
        "target": changes.pop("target", {"set": {"image": {"agent": NEW}}}),
        "strategy": changes.pop("strategy", {"maxUnavailable": "50%"}),
    }
    return {
        "apiVersion": "rollout/v1",
        "kind": "Rollout",
        "metadata": {"name": "log-agent-2.4", "namespace": namespace},
        "spec": {
            "daemonSets": [{k: v for k, v in item.items() if v is not None}],
            "waves": "fast",
            "health": {"soak": "100ms"},
            "limits": {"replacementsPerSecond": 100},
            **changes,
        },
    }


def fleet(
    nodes: int = 4,
    zones: int = 2,
    *,
    strategy: UpdateStrategy | None = None,
    up_to_date: int | None = None,
    broken: int = 0,
    users: tuple[User, ...] = (),
    seed: int = 0,
) -> Fleet:
    """Return a fleet with one DaemonSet `log-agent`, whose pods start and stop quickly.

    Args:
        nodes: how many.
        zones: over how many zones.
        strategy: of the DaemonSet.
        up_to_date: this many nodes run its template, the others an earlier one; None: all.
        broken: this many nodes more that are not ready.
        users: who else may talk to the server.
        seed: of all chance, and so of the cluster's identity.
    """
    entry = DaemonSetEntry(name=NAME, namespace=NAMESPACE, image=OLD, strategy=strategy)
    if up_to_date is not None:
        entry = msgspec.structs.replace(entry, image=NEW, previous_image=OLD, up_to_date=up_to_date)
    groups = default_nodes(nodes, zones)
    if broken:
        groups += (NodeGroup(name="broken", count=broken, ready=False),)
    return Fleet(
        seed=seed,
        nodes=groups,
        daemon_sets=(entry,),
        default_behaviour=QUICK.over(Behaviour(logs=())),
        users=users,
    )


def audit_into(events: list[Json]) -> AuditLog:
    """Return an audit log whose events are appended to a list."""
    audit = AuditLog()
    audit.subscribe(events.append)
    return audit


@contextmanager
def world(described: Fleet, directory: Path, *, audit: AuditLog | None = None) -> Iterator[World]:
    """Run a cluster for the length of a test."""
    with EmbeddedCluster(described, audit=audit) as cluster:
        made = World(cluster, directory, directory / "kubeconfig")
        made.write_kubeconfig("kubeconfig")
        yield made
