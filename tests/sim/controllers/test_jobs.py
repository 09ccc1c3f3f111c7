"""Jobs: run once, fail, run late, and go away."""

from __future__ import annotations

from rollout.sim.resources import JOBS, PODS
from rollout.sim.steadystate import ADMIN
from rollout.sim.store import Object
from tests.sim.smallworld import SmallWorld


def job(world: SmallWorld, **spec: object) -> None:
    pod_spec = {"restartPolicy": "Never", "containers": [{"name": "c", "image": "check:1"}]}
    template = {"spec": {**pod_spec, "nodeName": "n0"}}
    body = {"metadata": {"name": "check"}, "spec": {"template": template, **spec}}
    world.registry.create(JOBS, "default", body, ADMIN)


def world_with(fault: str | dict[str, object] | None = None) -> SmallWorld:
    world = SmallWorld(1, daemon_sets=())
    if fault is not None:
        world.fault("check:1", fault)
    return world


def outcome(world: SmallWorld) -> dict[str, str]:
    status: Object = world.get(JOBS, "check")["status"]
    return {c["type"]: c["reason"] for c in status.get("conditions") or ()}


def test_a_job_is_complete_when_its_pod_succeeded() -> None:
    world = world_with()
    job(world)
    world.wait(0.5)
    assert world.get(JOBS, "check")["status"]["active"] == 1
    world.wait(10)
    assert outcome(world)["Complete"] == "CompletionsReached"
    status = world.get(JOBS, "check")["status"]
    assert status["succeeded"] == 1
    assert "completionTime" in status
    (pod,) = world.pods()
    assert pod["status"]["phase"] == "Succeeded"
    assert pod["metadata"]["labels"]["job-name"] == "check"
    ((key, uid),) = world.get(JOBS, "check")["spec"]["selector"]["matchLabels"].items()
    assert pod["metadata"]["labels"][key] == uid == world.get(JOBS, "check")["metadata"]["uid"]


def test_a_job_may_choose_its_pods_itself() -> None:
    world = world_with()
    labels = {"my": "label"}
    pod_spec = {"restartPolicy": "Never", "containers": [{"name": "c", "image": "check:1"}]}
    template = {"metadata": {"labels": labels}, "spec": pod_spec}
    selector = {"matchLabels": labels}
    job(world, manualSelector=True, selector=selector, template=template)
    world.wait(0.5)
    assert world.get(JOBS, "check")["spec"]["selector"] == selector
    assert "job-name" not in world.pods()[0]["metadata"]["labels"]


def test_a_job_fails_when_its_pods_failed_too_often() -> None:
    world = world_with({"kind": "exits", "exitCode": 3})
    job(world, backoffLimit=1)
    world.wait(5)
    assert outcome(world) == {}
    world.wait(60)
    assert outcome(world)["Failed"] == "BackoffLimitExceeded"
    assert world.get(JOBS, "check")["status"]["failed"] == 2


def test_a_job_fails_at_its_deadline() -> None:
    world = world_with("unpullable")
    job(world, activeDeadlineSeconds=30)
    world.wait(25)
    assert outcome(world) == {}
    world.wait(10)
    assert outcome(world)["Failed"] == "DeadlineExceeded"
    assert world.pods() == []


def test_a_job_may_need_several_pods() -> None:
    world = world_with()
    job(world, completions=3, parallelism=2)
    world.wait(30)
    assert world.get(JOBS, "check")["status"]["succeeded"] == 3
    assert len(world.pods()) == 3


def test_a_finished_job_goes_after_its_time_with_its_pods() -> None:
    world = world_with()
    job(world, ttlSecondsAfterFinished=60)
    world.wait(30)
    assert world.store.count(JOBS) == 1
    world.wait(60)
    assert world.store.count(JOBS) == 0
    assert world.store.count(PODS) == 0
