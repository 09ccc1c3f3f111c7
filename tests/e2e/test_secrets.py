"""Planted secrets are searched for in every output of whole runs."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from rollout.sim.fleetfile import User
from rollout.sim.images import Fault, FaultKind
from rollout.sim.resources import CONFIG_MAPS, EVENTS
from tests.cluster.world import Asked, Reply, serve
from tests.cluster.world import World as Receiver
from tests.e2e.world import NAME, NAMESPACE, NEW, Done, World, fleet, world

THERE = ("-n", NAMESPACE)
ROLLOUT = "log-agent-2.4"
ALLOW = ("--allow-host", "127.0.0.1", "--allow-commands")
PLANTED = {
    name: f"planted/{name.lower()}+7f3a9c"
    for name in ("BEARER", "BASIC", "HOOK_KEY", "PAGER_KEY", "DESK_KEY", "SMOKE")
}


def forms(secret: str) -> set[str]:
    """Return the secret as it may leak: as it is, quoted, in base64, and its core alone."""
    encoded = base64.b64encode(secret.encode()).decode()
    basic = base64.b64encode(f"ann:{secret}".encode()).decode()
    return {secret, quote(secret, safe=""), encoded, basic, secret.partition("/")[2]}


def echo(asked: Asked) -> Reply:
    """Answer with all that was sent, as careless servers do."""
    said = {"headers": asked.headers, "body": asked.body, "path": asked.path, "value": 1}
    return Reply(said, 500 if asked.path.startswith("/bad") else 200)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with serve(echo) as made:
        yield made


def gates(url: str) -> list[dict[str, Any]]:
    common = {"at": "after-wave", "interval": "1s", "dryRun": True, "consecutiveErrorLimit": 0}
    of = {
        "bearer": {"kind": "http", "url": f"{url}/x", "secretRef": {"env": "BEARER"}},
        "shown": {
            "kind": "http",
            "url": f"{url}/x",
            "secretRef": {"env": "BEARER"},
            "jsonPath": "$.headers.authorization",
            "successCondition": "result == 'x'",
        },
        "basic": {
            "kind": "http",
            "url": f"{url}/bad",
            "secretRef": {"env": "BASIC"},
            "auth": "basic",
            "username": "ann",
        },
        "metrics": {
            "kind": "prometheus",
            "url": url,
            "query": "up",
            "successCondition": "result > 0",
            "secretRef": {"env": "BASIC"},
            "auth": "basic",
            "username": "ann",
        },
        "desk": {"kind": "webhook", "url": f"{url}/bad", "secretRef": {"env": "DESK_KEY"}},
        "smoke": {
            "kind": "command",
            "argv": ["/bin/sh", "-c", "echo no: $ROLLOUT_SECRET; exit 1"],
            "secretRef": {"env": "SMOKE"},
        },
    }
    return [{"name": name, **common, **gate} for name, gate in of.items()]


def sinks(url: str) -> list[dict[str, Any]]:
    return [
        {
            "name": "hook",
            "kind": "webhook",
            "url": f"{url}/bad/hook",
            "secretRef": {"env": "HOOK_KEY"},
        },
        {"name": "chat", "kind": "slack", "urlFrom": {"env": "CHAT_URL"}},
        {"name": "lost", "kind": "slack", "urlFrom": {"env": "NO_URL"}},
        {
            "name": "pager",
            "kind": "pagerduty",
            "url": f"{url}/bad/pager",
            "secretRef": {"env": "PAGER_KEY"},
        },
        {"name": "ds", "kind": "events"},
    ]


def everything(cluster: World, commands: list[Done]) -> dict[str, str]:
    """Return all that anybody could read afterwards, by where."""
    found = {f"command {n}": done.out + done.err for n, done in enumerate(commands)}
    for path in cluster.directory.rglob("*"):
        if path.is_file() and path != cluster.kubeconfig:
            found[str(path)] = path.read_bytes().decode(errors="replace")
    for resource in (CONFIG_MAPS, EVENTS):
        for obj in cluster.objects(resource):
            found[f"{resource.plural}/{obj['metadata']['name']}"] = msgspec.json.encode(
                obj
            ).decode()
    return found


def test_no_planted_secret_is_in_any_output(tmp_path: Path, receiver: Receiver) -> None:
    addresses = {
        "CHAT_URL": f"{receiver.url}/bad/planted-chat-7f3a9c",
        "NO_URL": "planted-address-7f3a9c without a scheme",
    }
    with world(fleet(2), tmp_path) as cluster:
        spec = cluster.spec(
            waves=[1, "100%"], gates=gates(receiver.url), notify=sinks(receiver.url)
        )
        plan = cluster.plan(spec)

        def rollout(*arguments: str | Path) -> Done:
            return cluster.rollout(*arguments, **PLANTED, **addresses)

        done = [rollout("apply", plan, *ALLOW, "-o", "jsonl")]
        assert done[0].code == 0, done[0].err
        done += [rollout("gate", "run", spec, gate["name"], *ALLOW) for gate in gates("")]
        done += [
            rollout("status", NAME, *THERE, "-o", "json"),
            rollout("history", NAME, *THERE),
            rollout("undo", NAME, *THERE, "--yes", *ALLOW),
        ]
        found = everything(cluster, done)
    sent = "".join(f"{asked.headers} {asked.body}" for asked in receiver.asked)
    assert PLANTED["BEARER"] in sent  # so that the secrets were there to leak
    assert PLANTED["PAGER_KEY"] in sent
    assert "notify lost was not told" in found["command 0"]
    assert "***" in found["command 0"]  # and were hidden where they would have been shown
    wanted = set().union(*map(forms, PLANTED.values()), ["planted-chat", "planted-address"])
    leaks = [(where, form) for where, text in found.items() for form in wanted if form in text]
    assert leaks == []


ENV, NOTE = "planted/env+7f3a9c", "planted/note+7f3a9c"
TOKEN = "planted/token+7f3a9c"  # noqa: S105 - it is nobody's
SHOWN = {
    "show": ("table", "json", "dot", "mermaid", "markdown"),
    "graph": ("tree", "dot", "mermaid", "json"),
    "verify": ("table", "json"),
}


def test_nothing_of_what_the_cluster_keeps_secret_is_in_the_output_of_any_command(
    tmp_path: Path,
) -> None:
    """A variable and an annotation of the template, what `kubectl apply` noted, the own token."""
    admin = User("admin", TOKEN, groups=("system:masters",))
    with world(fleet(2, users=(admin,)), tmp_path) as cluster:
        config = cluster.write_kubeconfig("admin", TOKEN)
        cluster.kubectl("set", "env", f"daemonset/{NAME}", *THERE, f"PASSWORD={ENV}")
        note = {
            "example.com/password": NOTE,
            "kubectl.kubernetes.io/last-applied-configuration": ENV,
        }
        meta = {"metadata": {"annotations": note}}
        cluster.patch_daemon_set({**meta, "spec": {"template": meta}})
        ready = cluster.kubectl("rollout", "status", f"ds/{NAME}", *THERE, "--timeout=60s")
        assert ready.code == 0, ready.err
        done: list[Done] = []

        def rollout(*arguments: str | Path) -> Done:
            done.append(cluster.rollout(*arguments, "--kubeconfig", config))
            return done[-1]

        cluster.break_image(f"{NEW}@node-001", Fault(FaultKind.UNPULLABLE))
        spec, junit = cluster.spec(), tmp_path / "junit.xml"
        plans = [tmp_path / "one.json", tmp_path / "two.json"]
        for output, plan in zip(("table", "json"), plans, strict=True):
            assert rollout("plan", "-f", spec, "--out", plan, "-o", output).code == 0
        for output in SHOWN["verify"]:
            assert rollout("verify", plans[0], "-o", output).code == 0
        assert rollout("apply", plans[0], "-o", "jsonl", "--junit", junit).code == 3
        for output in ("table", "json"):
            rollout("runs", "-o", output)
            rollout("status", NAME, *THERE, "-o", output)
            rollout("history", NAME, *THERE, "-o", output)
        assert rollout("rollback", ROLLOUT, *THERE, "-o", "jsonl").code == 4
        assert rollout("apply", "-f", spec, "--yes").code == 3
        assert rollout("cleanup", "--dry-run", *THERE).code == 0
        assert rollout("undo", NAME, *THERE, "--yes", "--to-revision", "2").code in (0, 4)
        journal = next((tmp_path / "state").rglob("*.jsonl"))
        assert rollout("audit", "verify", journal).code == 0
        offline: list[tuple[str | Path, ...]]
        offline = [("audit", "show", journal, "-o", output) for output in ("table", "jsonl")]
        offline += [("show", plans[0], "-o", output) for output in SHOWN["show"]]
        offline += [("graph", plans[0], "-o", output) for output in SHOWN["graph"]]
        offline += [("plan-diff", *plans, "-o", output) for output in ("table", "json")]
        done += [cluster.rollout(*arguments) for arguments in offline]
        config.unlink()
        found = everything(cluster, done)
        live = msgspec.json.encode(cluster.daemon_set()).decode()
    assert ENV in live
    assert NOTE in live
    assert junit.exists()
    assert [d.err for d in done if d.code not in (0, 3, 4)] == []
    wanted = set().union(*map(forms, (ENV, NOTE, TOKEN)))
    leaks = [(where, form) for where, text in found.items() for form in wanted if form in text]
    assert leaks == []
