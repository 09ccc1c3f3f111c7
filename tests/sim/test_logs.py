"""`pods/log` with scripted logs."""

from __future__ import annotations

import pytest

from rollout.sim.logs import scripted
from rollout.sim.requests import Stream
from rollout.sim.resources import PODS
from rollout.sim.store import Object
from rollout.sim.timestamps import rfc3339
from tests.sim.apiworld import POD_PATH, TESTER, ApiWorld

LOG = f"{POD_PATH}/p/log"


@pytest.fixture
def world() -> ApiWorld:
    return ApiWorld()


def write(world: ApiWorld, pod: Object, *lines: str) -> None:
    for line in lines:
        world.api.logs.write(pod["metadata"]["uid"], "a", line)
        world.clock.advance(1)


def test_a_log_is_plain_text(world: ApiWorld) -> None:
    write(world, world.pod("p", nodeName="n"), "one", "two")
    answer = world.get(LOG)
    assert (answer.status, answer.text) == (200, "one\ntwo\n")


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("tailLines=1", "three\n"),
        ("tailLines=0", ""),
        ("sinceSeconds=2", "two\nthree\n"),
        ("limitBytes=5", "one\nt"),
        ("timestamps=true&tailLines=1", "2026-09-21T14:13:22.000000000Z three\n"),
        ("container=a&tailLines=1", "three\n"),
    ],
)
def test_a_part_of_a_log_can_be_asked_for(world: ApiWorld, query: str, text: str) -> None:
    write(world, world.pod("p", nodeName="n"), "one", "two", "three")
    assert world.get(f"{LOG}?{query}").text == text


def test_the_log_before_a_restart_is_kept_apart(world: ApiWorld) -> None:
    pod = world.pod("p", nodeName="n")
    write(world, pod, "old")
    assert world.get(f"{LOG}?previous=true").status == 400
    world.api.logs.restart(pod["metadata"]["uid"], "a")
    write(world, pod, "new")
    assert world.get(LOG).text == "new\n"
    assert world.get(f"{LOG}?previous=true").text == "old\n"


def test_a_log_can_be_followed(world: ApiWorld) -> None:
    pod = world.pod("p", nodeName="n")
    write(world, pod, "one")
    stream = world.handler.handle(world.request("GET", f"{LOG}?follow=true"))
    assert isinstance(stream, Stream)
    write(world, pod, "two")
    assert b"".join(stream.take()) == b"one\ntwo\n"
    stream.close()
    write(world, pod, "three")
    assert stream.take() == []


@pytest.mark.parametrize(
    ("spec", "query", "message"),
    [
        ({}, "", "pod p does not have a host assigned"),
        ({"nodeName": "n"}, "?container=z", "container z is not valid for pod p"),
        (
            {"nodeName": "n", "containers": [{"name": x, "image": "i"} for x in ("a", "b")]},
            "",
            "a container name must be specified for pod p, choose one of: [a b]",
        ),
    ],
)
def test_a_log_that_is_not_there_says_why(
    world: ApiWorld, spec: Object, query: str, message: str
) -> None:
    world.pod("p", **spec)
    answer = world.get(LOG + query)
    assert (answer.status, answer.body["message"]) == (400, message)


def container(world: ApiWorld, state: Object, last: Object | None = None) -> None:
    pod = world.pod("p", nodeName="n")
    entry = {"name": "a", "image": "agent:v1", "imageID": "", "ready": False, "restartCount": 0}
    status = {
        **pod["status"],
        "containerStatuses": [{**entry, "state": state, "lastState": last or {}}],
    }
    world.registry.update(
        PODS, "default", "p", {**pod, "status": status}, TESTER, subresource="status"
    )


def test_a_container_that_waits_has_no_log(world: ApiWorld) -> None:
    container(world, {"waiting": {"reason": "ImagePullBackOff"}})
    assert world.get(LOG).body["message"] == (
        'container "a" in pod "p" is waiting to start: ImagePullBackOff'
    )


def test_a_script_writes_a_line_a_second_from_the_start_of_the_container(world: ApiWorld) -> None:
    world.api.logs.script = scripted(lambda image, node: [f"{image} on {node}", "ready"])
    container(world, {"running": {"startedAt": rfc3339(world.clock.now())}})
    assert world.get(LOG).text == "agent:v1 on n\n"
    world.clock.advance(1)
    assert world.get(LOG).text == "agent:v1 on n\nready\n"


def test_what_ended_has_written_its_last_line_and_is_the_log_until_the_restart(
    world: ApiWorld,
) -> None:
    world.api.logs.script = scripted(lambda _image, _node: ["one", "two", "three"])
    begin = world.clock.now()
    span = {"startedAt": rfc3339(begin - 9), "finishedAt": rfc3339(begin - 8)}
    ended = {"terminated": {"exitCode": 1, **span}}
    container(world, {"waiting": {"reason": "CrashLoopBackOff"}}, ended)
    assert world.get(LOG).text == "one\ntwo\n"
    assert world.get(f"{LOG}?previous=true").text == "one\ntwo\n"


def test_a_script_knows_the_instance_before_the_last_restart(world: ApiWorld) -> None:
    world.api.logs.script = scripted(lambda _image, _node: ["one", "two"])
    begin = world.clock.now()
    span = {"startedAt": rfc3339(begin - 9), "finishedAt": rfc3339(begin - 5)}
    running = {"running": {"startedAt": rfc3339(begin)}}
    container(world, running, {"terminated": {"exitCode": 1, **span}})
    assert world.get(LOG).text == "one\n"
    assert world.get(f"{LOG}?previous=true").text == "one\ntwo\n"
