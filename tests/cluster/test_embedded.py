"""Client and reflector against the embedded cluster: the whole API, over HTTP."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from rollout.cluster.client import Client, PatchKind
from rollout.cluster.watch import Changed, Listed, News, Reflector, Removed
from rollout.errors import Conflict, NotFound, Rejected
from rollout.sim.api import Api
from rollout.sim.clock import RealClock
from rollout.sim.cluster import Cluster
from rollout.sim.fleetfile import default_fleet
from rollout.sim.server import Server
from tests.cluster.world import talking_to

NODES = "/api/v1/nodes"
PODS = "/api/v1/namespaces/logging/pods"
DAEMONSET = "/apis/apps/v1/namespaces/logging/daemonsets/log-agent"
CONFIG_MAPS = "/api/v1/namespaces/logging/configmaps"
SIZE = 7


class Meta(msgspec.Struct, frozen=True, rename="camel"):
    name: str
    uid: str
    namespace: str = ""
    resource_version: str = ""
    deletion_timestamp: str | None = None


class Item(msgspec.Struct, frozen=True):
    metadata: Meta


@contextmanager
def embedded() -> Iterator[tuple[Cluster, Server]]:
    lock = threading.RLock()
    clock = RealClock(lock)
    cluster = Cluster(clock, default_fleet(nodes=SIZE))
    server = Server(Api(cluster.registry, tokens=None), lock)
    clock.start()
    server.start()
    with lock:
        cluster.start()
    try:
        yield cluster, server
    finally:
        with lock:
            cluster.stop()
        server.stop()
        clock.stop()


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    with (
        embedded() as (_, server),
        talking_to(server.url, tmp_path, user={"token": "admin"}) as client,
    ):
        yield client


def test_a_list_is_paged_and_complete(client: Client) -> None:
    whole = client.list(NODES, Item)
    paged = client.list(NODES, Item, page_size=2)
    assert len(paged.items) == SIZE
    assert [i.metadata.name for i in paged.items] == [i.metadata.name for i in whole.items]


def test_selectors_reach_the_server(client: Client) -> None:
    name = client.list(NODES, Item).items[0].metadata.name
    by_field = client.list(PODS, Item, field_selector=f"spec.nodeName={name}")
    assert len(by_field.items) == 1
    assert not client.list(PODS, Item, label_selector="app=nobody").items
    with pytest.raises(Rejected):
        client.list(PODS, Item, label_selector="a===b")


def test_an_object_lives_through_all_verbs(client: Client) -> None:
    path = f"{CONFIG_MAPS}/record"
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "record"}}
    created = client.create(CONFIG_MAPS, body, Item)
    with pytest.raises(Conflict):
        client.create(CONFIG_MAPS, body, Item)
    patched = client.patch(path, {"data": {"a": "1"}}, PatchKind.MERGE, Item)
    assert int(patched.metadata.resource_version) > int(created.metadata.resource_version)
    client.patch(path, {"data": {"b": "2"}}, PatchKind.STRATEGIC, Item)
    assert client.get(path, dict)["data"] == {"a": "1", "b": "2"}
    stale = {**body, "metadata": {"name": "record", "resourceVersion": "1"}}
    with pytest.raises(Conflict):
        client.replace(path, stale, Item)
    client.patch(path, {"data": {"a": "dry"}}, PatchKind.MERGE, Item, dry_run=True)
    assert client.get(path, dict)["data"]["a"] == "1"
    with pytest.raises(Conflict):
        client.delete(path, uid="another")
    client.delete(path, uid=created.metadata.uid)
    assert client.get_or_none(path, Item) is None
    with pytest.raises(NotFound):
        client.delete(path, uid=created.metadata.uid)


def test_an_unknown_field_is_refused_and_not_dropped(client: Client) -> None:
    with pytest.raises(Rejected, match="bogus"):
        client.patch(DAEMONSET, {"spec": {"bogus": 1}}, PatchKind.MERGE, Item)


def test_a_wrong_value_is_refused_with_its_reason(client: Client) -> None:
    with pytest.raises(Rejected, match="minReadySeconds"):
        client.patch(DAEMONSET, {"spec": {"minReadySeconds": -1}}, PatchKind.STRATEGIC, Item)


def test_permissions_and_version_can_be_asked_for(client: Client) -> None:
    assert client.review_access("delete", "", "pods", namespace="logging")
    assert client.server_version()[:2] == (1, 36)


def test_a_replacement_is_followed_event_by_event(client: Client) -> None:
    news: queue.SimpleQueue[News[Item]] = queue.SimpleQueue()
    reflector = Reflector(client, "pods", PODS, Item, news.put)
    reflector.start()
    listed = news.get(timeout=120.0)
    assert isinstance(listed, Listed)
    assert len(listed.items) == SIZE
    old = listed.items[0].metadata
    client.delete(f"{PODS}/{old.name}", uid=old.uid)
    known = {item.metadata.uid for item in listed.items}
    removed = replaced = False
    while not (removed and replaced):
        match news.get(timeout=120.0):
            case Removed(_, item):
                removed = item.metadata.uid == old.uid
            case Changed(_, item):
                replaced = replaced or item.metadata.uid not in known
            case other:
                raise AssertionError(other)
    reflector.stop(60.0)
    assert not reflector._thread.is_alive()
