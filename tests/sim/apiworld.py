"""An API server without controllers, on a virtual clock, spoken to without a transport."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from typing import Any

from rollout.sim.admission import Admission
from rollout.sim.api import Api, Handler
from rollout.sim.clock import VirtualClock
from rollout.sim.rbac import ADMIN, User
from rollout.sim.registry import Caller, Registry
from rollout.sim.requests import Request, Response, Stream
from rollout.sim.resources import DAEMONSETS, NODES, PODS
from rollout.sim.store import Object, Store

TESTER = Caller("kubernetes-admin", ("system:masters",), "tester")
USERS = {"admin": ADMIN, "dev": User("dev")}
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"
DAEMONSET_PATH = "/apis/apps/v1/namespaces/default/daemonsets"
POD_PATH = "/api/v1/namespaces/default/pods"
CONFIG_MAP_PATH = "/api/v1/namespaces/default/configmaps"


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    text: str

    @property
    def body(self) -> Any:
        return json.loads(self.text)

    @property
    def names(self) -> list[str]:
        return [item["metadata"]["name"] for item in self.body["items"]]


class ApiWorld:
    """A registry with an API in front of it."""

    def __init__(self, *, seed: int = 1, history: int = 20_000, taints: bool = False) -> None:
        self.clock = VirtualClock()
        self.store = Store(history)
        self.registry = Registry(
            self.store,
            self.clock,
            random.Random(seed),
            admission_rules=Admission(taint_new_nodes=taints),
        )
        self.api = Api(self.registry, tokens=USERS)
        self.handler: Handler = self.api

    def request(
        self, method: str, target: str, body: Any = None, *, user: str | None = "admin", **more: str
    ) -> Request:
        headers = {"user-agent": "tester/1.0", "content-type": "application/json"}
        headers |= {name.replace("_", "-"): value for name, value in more.items()}
        if user is not None:
            headers["authorization"] = f"Bearer {user}"
        raw = (
            body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        )
        return Request.parse(method, target, headers, raw)

    def send(
        self, method: str, target: str, body: Any = None, *, user: str | None = "admin", **more: str
    ) -> Answer:
        answer = self.handler.handle(self.request(method, target, body, user=user, **more))
        assert isinstance(answer, Response)
        return Answer(answer.status, answer.headers, answer.render().decode())

    def get(self, target: str, **more: str) -> Answer:
        return self.send("GET", target, **more)

    def patch(self, target: str, body: Any, kind: str = MERGE, **more: str) -> Answer:
        return self.send("PATCH", target, body, content_type=kind, **more)

    def watch(self, target: str, **more: str) -> Stream:
        separator = "&" if "?" in target else "?"
        request = self.request("GET", f"{target}{separator}watch=1", **more)
        answer = self.handler.handle(request)
        assert isinstance(answer, Stream)
        return answer

    # Objects to begin with

    def node(self, name: str, **labels: str) -> Object:
        body = {"metadata": {"name": name, "labels": labels}}
        return self.registry.create(NODES, "", body, TESTER)

    def pod(self, name: str, labels: dict[str, str] | None = None, **spec: Any) -> Object:
        body = {
            "metadata": {"name": name, "labels": labels or {}},
            "spec": {"containers": [{"name": "a", "image": "agent:v1"}], **spec},
        }
        return self.registry.create(PODS, "default", body, TESTER)

    def daemonset(self, name: str = "agent", **spec: Any) -> Object:
        return self.registry.create(DAEMONSETS, "default", daemonset(name, **spec), TESTER)

    def config_map(self, name: str, **labels: str) -> Answer:
        body = {"metadata": {"name": name, "labels": labels}}
        return self.send("POST", CONFIG_MAP_PATH, body)


def daemonset(name: str = "agent", **spec: Any) -> Object:
    labels = {"app": name}
    return {
        "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "a", "image": "agent:v1"}]},
            },
            **spec,
        },
    }


def events(stream: Stream) -> list[tuple[str, str]]:
    """What a watch has told since the last look: types and names."""
    return [(event["type"], event["object"]["metadata"].get("name", "")) for event in raw(stream)]


def raw(stream: Stream) -> list[Any]:
    """What a watch has told since the last look, whole."""
    return [json.loads(line) for line in b"".join(stream.take()).splitlines()]
