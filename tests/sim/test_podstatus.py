"""The parts of a pod's status."""

from __future__ import annotations

from rollout.sim.podstatus import (
    ContainerRun,
    conditions,
    container_id,
    container_status,
    image_id,
    read_runs,
    running,
    terminated,
    unready_status,
    waiting,
)
from rollout.sim.store import Object


def by_type(items: list[Object]) -> dict[str, Object]:
    return {item["type"]: item for item in items}


def test_a_pod_is_ready_when_all_its_containers_are() -> None:
    runs = [ContainerRun("a", "x", ready=True), ContainerRun("b", "x"), ContainerRun("c", "x")]
    found = by_type(conditions((), runs, "t", sandbox=True, ended=""))
    assert found["Ready"]["status"] == "False"
    assert found["Ready"]["message"] == "containers with unready status: [b c]"
    for run in runs:
        run.ready = True
    assert by_type(conditions((), runs, "t", sandbox=True, ended=""))["Ready"]["status"] == "True"


def test_an_unchanged_condition_is_the_very_same_object() -> None:
    runs = [ContainerRun("a", "x", ready=True)]
    first = conditions((), runs, "t1", sandbox=True, ended="")
    second = conditions(first, runs, "t2", sandbox=True, ended="")
    assert all(old is new for old, new in zip(first, second, strict=True))


def test_conditions_of_other_writers_are_kept() -> None:
    scheduled = {"type": "PodScheduled", "status": "True"}
    found = conditions((scheduled,), [], "t", sandbox=False, ended="")
    assert found[-1] is scheduled


def test_an_ended_pod_says_how() -> None:
    found = by_type(conditions((), [], "t", sandbox=True, ended="PodCompleted"))
    assert found["Ready"]["reason"] == "PodCompleted"
    assert found["Initialized"] == {
        "type": "Initialized",
        "status": "True",
        "lastProbeTime": None,
        "lastTransitionTime": "t",
        "reason": "PodCompleted",
    }


def test_a_container_that_never_ran_has_no_id_and_no_image() -> None:
    status = container_status(ContainerRun("a", "x", waiting("ContainerCreating")), "uid")
    assert status["imageID"] == ""
    assert "containerID" not in status


def test_a_status_is_read_back_as_it_was_written() -> None:
    run = ContainerRun("a", "x", running("t"), ready=True, restarts=2, pulled=True)
    pod = {
        "spec": {"containers": [{"name": "a", "image": "x"}]},
        "status": {"containerStatuses": [container_status(run, "uid")]},
    }
    assert read_runs(pod) == [run]


def test_an_ended_container_tells_when_it_ran() -> None:
    run = ContainerRun("a", "x", running("t1"))
    state = terminated(run, "uid", "t2", exit_code=137, reason="OOMKilled")["terminated"]
    assert (state["startedAt"], state["finishedAt"]) == ("t1", "t2")
    assert state["containerID"] == container_id("uid", "a", 0)


def test_an_image_has_one_digest_wherever_it_comes_from() -> None:
    assert image_id("host:5000/a/b:1").startswith("host:5000/a/b@sha256:")
    assert image_id("b") != image_id("b:1")
    assert image_id("b@sha256:abc") == "b@sha256:abc"


def test_only_ready_turns_when_a_node_dies() -> None:
    status = {
        "phase": "Running",
        "conditions": [
            {"type": "Ready", "status": "True", "lastTransitionTime": "t1"},
            {"type": "ContainersReady", "status": "True", "lastTransitionTime": "t1"},
        ],
    }
    turned = unready_status(status, "t2")
    assert turned["conditions"][0] == {
        "type": "Ready",
        "status": "False",
        "lastTransitionTime": "t2",
    }
    assert turned["conditions"][1] is status["conditions"][1]
    assert unready_status(turned, "t3") == turned
