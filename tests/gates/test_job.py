"""The gate `job` on the embedded cluster: a Job that passes, fails, cannot pull its image."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rollout.executor.engine.gaterecord import MOST_TEXT
from rollout.gates.job import job_body, job_name
from rollout.gates.measurement import Outcome
from rollout.sim.images import Behaviour, Fault, FaultKind, Timing
from rollout.sim.resources import JOBS, PODS
from rollout.sim.store import Object
from tests.e2e.world import NAMESPACE
from tests.fleet.builders import make_node
from tests.gates.scene import Scene, scene
from tests.gates.worlds import a_context, a_gate

NODE = "node-000"


def exits(code: int) -> Behaviour:
    return Behaviour(start=Timing(0.05), fault=Fault(FaultKind.EXITS, after=0.05, exit_code=code))


IMAGES = {
    "check:good": exits(0),
    "check:bad": exits(3),
    "check:lost": Behaviour(fault=Fault(FaultKind.UNPULLABLE)),
    "check:slow": Behaviour(start=Timing(0.05)),
}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with scene(tmp_path_factory.mktemp("job"), images=IMAGES) as running:
        yield running


def a_job(image: str, name: str = "", **fields: Any) -> Any:
    job = {"template": {"spec": {"containers": [{"name": "check", "image": f"check:{image}"}]}}}
    return a_gate("job", name=name or image, at="after-node", job=job, **fields)


def ended(job: Object) -> bool:
    return any(c["type"] in ("Complete", "Failed") for c in job["status"].get("conditions", ()))


def jobs(scene: Scene) -> list[Object]:
    return scene.world.objects(JOBS)


def measured(scene: Scene, gate: Any) -> tuple[Outcome, str]:
    """Measure a gate with an id of its own until its Job is over."""
    own = {"gate": f"gate/after-node/{gate.name}"}
    first = scene.measure(gate, NODE, **own)
    assert first.outcome is Outcome.WAITING, first
    name = job_name(scene.picture(NODE, **own))
    scene.wait_for(JOBS, lambda job: job["metadata"]["name"] == name and ended(job))
    found = scene.measure(gate, NODE, **own)
    return found.outcome, found.reason


def test_a_job_that_completes_passes_and_is_removed(shared: Scene) -> None:
    outcome, reason = measured(shared, a_job("good"))
    assert outcome is Outcome.PASSED
    assert reason.endswith("completed")
    assert jobs(shared) == []


def test_a_job_that_cannot_be_written_down_is_not_created_and_not_removed(shared: Scene) -> None:
    def full(_verb: str, _gate: str, _name: str) -> bool:
        return False

    found = shared.measure(a_job("good", "unwritten"), NODE, gate="gate/x/unwritten", intend=full)
    assert found.outcome is Outcome.ERROR
    assert "journal" in found.reason
    assert jobs(shared) == []


def test_a_job_that_fails_tells_its_exit_code(shared: Scene) -> None:
    outcome, reason = measured(shared, a_job("bad"))
    assert outcome is Outcome.FAILED
    assert "BackoffLimitExceeded" in reason
    said = r"the Job rollout-gate-\w+ failed; container check ended with exit code 3"
    ended = re.search(said, reason)
    assert ended is not None, "what the record keeps of the reason has the exit code"
    assert ended.end() < MOST_TEXT
    assert jobs(shared) == []


def test_a_job_that_cannot_pull_its_image_is_inconclusive_at_once(shared: Scene) -> None:
    gate = a_job("lost")
    own = {"gate": "gate/after-node/lost"}
    assert shared.measure(gate, NODE, **own).outcome is Outcome.WAITING

    def trouble(pod: Object) -> bool:
        statuses = pod["status"].get("containerStatuses", ())
        waiting = [s["state"].get("waiting", {}).get("reason", "") for s in statuses]
        return any("Image" in reason for reason in waiting)

    shared.wait_for(PODS, trouble)
    found = shared.measure(gate, NODE, **own)
    assert found.outcome is Outcome.INCONCLUSIVE
    assert "container check: " in found.reason
    assert "Image" in found.reason
    assert jobs(shared) == []


@pytest.mark.parametrize(
    ("keep", "image", "left"),
    [
        ("onFailure", "good", 0),
        ("onFailure", "bad", 1),
        ("always", "good", 1),
    ],
)
def test_a_job_is_kept_by_its_rule(keep: str, image: str, left: int, tmp_path: Path) -> None:
    with scene(tmp_path, images=IMAGES) as running:
        measured(running, a_job(image, keep=keep))
        assert len(jobs(running)) == left
        for job in jobs(running):
            assert "ttlSecondsAfterFinished" not in job["spec"]


def test_a_measurement_that_is_repeated_after_a_crash_makes_no_second_job(shared: Scene) -> None:
    gate, own = a_job("slow", name="again"), {"gate": "gate/after-node/again"}
    for _ in range(3):
        found = shared.measure(gate, NODE, **own)
        assert found.outcome is Outcome.WAITING
        assert found.again_at is not None
    (job,) = jobs(shared)
    shared.client.delete(
        f"/apis/batch/v1/namespaces/{NAMESPACE}/jobs/{job['metadata']['name']}",
        uid=job["metadata"]["uid"],
        propagation="Background",
    )


def test_a_job_from_before_the_change_says_nothing(tmp_path: Path) -> None:
    with scene(tmp_path, images=IMAGES) as running:
        gate = a_job("good", keep="always")
        measured(running, gate)
        (old,) = jobs(running)
        own = {"gate": "gate/after-node/good"}
        later = running.measure(gate, NODE, since=running.picture().now + 60, **own)
        assert later.outcome is Outcome.WAITING
        assert "is older than the change and goes" in later.reason
        assert old["metadata"]["uid"] not in {job["metadata"]["uid"] for job in jobs(running)}


def test_the_job_runs_on_the_updated_node_whatever_its_taints(tmp_path: Path) -> None:
    with scene(tmp_path, images=IMAGES) as running:
        running.world.kubectl("taint", "node", NODE, "repair=now:NoSchedule")
        measured(running, a_job("bad", keep="always"))
        pods = [p for p in running.world.objects(PODS) if "job-name" in p["metadata"]["labels"]]
        assert [pod["spec"]["nodeName"] for pod in pods] == [NODE]


def test_what_the_spec_says_of_the_job_stands() -> None:
    job: dict[str, Any] = {
        "backoffLimit": 2,
        "template": {
            "metadata": {"labels": {"team": "ops"}},
            "spec": {
                "restartPolicy": "OnFailure",
                "containers": [{"name": "a", "image": "b"}],
                "affinity": {"podAffinity": {}},
                "tolerations": [{"key": "x", "operator": "Exists"}],
            },
        },
    }
    gate = a_gate("job", at="after-node", job=job, timeLimit="90s")
    body = job_body(gate, a_context(node=make_node("n1")))
    assert (body["spec"]["backoffLimit"], body["spec"]["activeDeadlineSeconds"]) == (2, 90)
    template = body["spec"]["template"]
    assert template["metadata"]["labels"]["team"] == "ops"
    assert template["metadata"]["labels"]["rollout/run"] == "run-1"
    assert template["spec"]["restartPolicy"] == "OnFailure"
    assert set(template["spec"]["affinity"]) == {"podAffinity", "nodeAffinity"}
    assert len(template["spec"]["tolerations"]) == 2
    assert job["template"]["spec"]["tolerations"] == [{"key": "x", "operator": "Exists"}]


def test_every_run_gate_and_node_has_a_job_of_its_own() -> None:
    context = a_context(node=make_node("n1"))
    others = [
        replace(context, run="run-2"),
        replace(context, gate="gate/after-node/other"),
        replace(context, digest="sha256:other"),
        replace(context, node=make_node("n2")),
        replace(context, node=None),
    ]
    names = {job_name(c) for c in (context, *others)}
    assert len(names) == 6
    assert job_name(context) == job_name(replace(context, now=0.0, began=0.0))
