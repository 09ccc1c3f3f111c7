"""What becomes of objects when their owners go."""

from __future__ import annotations

import pytest

from rollout.sim.registry import DeleteOptions
from rollout.sim.resources import CONFIG_MAPS, DAEMONSETS
from rollout.sim.steadystate import ADMIN
from rollout.sim.store import Object
from tests.sim.smallworld import SmallWorld, terminating


def owned(world: SmallWorld, name: str, *owners: Object, blocking: bool = True) -> Object:
    references = [
        {
            "apiVersion": owner["apiVersion"],
            "kind": owner["kind"],
            "name": owner["metadata"]["name"],
            "uid": owner["metadata"]["uid"],
            "blockOwnerDeletion": blocking,
        }
        for owner in owners
    ]
    body = {"metadata": {"name": name, "ownerReferences": references}}
    return world.registry.create(CONFIG_MAPS, "default", body, ADMIN)


def remove(world: SmallWorld, name: str, propagation: str | None = None) -> None:
    options = DeleteOptions(propagation=propagation)
    world.registry.delete(CONFIG_MAPS, "default", name, ADMIN, options)


def names(world: SmallWorld) -> set[str]:
    return {obj["metadata"]["name"] for obj in world.store.scan(CONFIG_MAPS, "default")}


@pytest.fixture
def world() -> SmallWorld:
    return SmallWorld(2)


def test_background_deletes_the_owner_first_and_then_all_below(world: SmallWorld) -> None:
    parent = owned(world, "parent")
    child = owned(world, "child", parent)
    owned(world, "grandchild", child)
    world.wait(1)
    remove(world, "parent", "Background")
    assert names(world) == {"child", "grandchild"}
    world.wait(1)
    assert names(world) == set()


def test_foreground_waits_for_what_blocks_it(world: SmallWorld) -> None:
    parent = owned(world, "parent")
    child = owned(world, "child", parent)
    world.registry.update(
        CONFIG_MAPS,
        "default",
        "child",
        {**child, "metadata": {**child["metadata"], "finalizers": ["a.b/keep"]}},
        ADMIN,
    )
    world.wait(1)
    remove(world, "parent", "Foreground")
    world.wait(5)
    parent = world.get(CONFIG_MAPS, "parent")
    assert parent["metadata"]["finalizers"] == ["foregroundDeletion"]
    child = world.get(CONFIG_MAPS, "child")
    assert terminating(child)
    freed = {k: v for k, v in child["metadata"].items() if k != "finalizers"}
    world.registry.update(CONFIG_MAPS, "default", "child", {**child, "metadata": freed}, ADMIN)
    world.wait(1)
    assert names(world) == set()


def test_orphans_lose_their_owner_and_stay(world: SmallWorld) -> None:
    owned(world, "child", owned(world, "parent"))
    world.wait(1)
    remove(world, "parent", "Orphan")
    world.wait(1)
    assert names(world) == {"child"}
    assert "ownerReferences" not in world.get(CONFIG_MAPS, "child")["metadata"]


def test_an_object_with_another_owner_left_stays(world: SmallWorld) -> None:
    first, second = owned(world, "first"), owned(world, "second")
    owned(world, "child", first, second)
    world.wait(1)
    remove(world, "first")
    world.wait(1)
    (reference,) = world.get(CONFIG_MAPS, "child")["metadata"]["ownerReferences"]
    assert reference["name"] == "second"


def test_an_object_whose_owner_never_was_is_deleted(world: SmallWorld) -> None:
    parent = owned(world, "parent")
    ghost = {**parent, "metadata": {**parent["metadata"], "uid": "no-such-uid"}}
    owned(world, "child", ghost)
    world.wait(1)
    assert names(world) == {"parent"}


def test_a_daemon_set_can_be_deleted_in_the_foreground(world: SmallWorld) -> None:
    world.registry.delete(
        DAEMONSETS, "default", "agent", ADMIN, DeleteOptions(propagation="Foreground")
    )
    world.wait(0.1)
    assert world.daemon_set()["metadata"]["finalizers"] == ["foregroundDeletion"]
    assert all(map(terminating, world.pods()))
    world.wait(5)
    assert world.pods() == []
    assert world.store.get(DAEMONSETS, ("default", "agent")) is None
