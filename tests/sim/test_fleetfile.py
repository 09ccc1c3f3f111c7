"""The fleet file: what it may say, and what it is told when it says something else."""

from __future__ import annotations

from pathlib import Path

import pytest

from rollout.errors import DocumentError
from rollout.sim.fleetfile import (
    DaemonSetEntry,
    Fleet,
    NodeGroup,
    default_fleet,
    read_fault,
    read_fleet,
)
from rollout.sim.images import Fault, FaultKind, Timing

FULL = """\
seed: 7
nodes:
  - name: edge-{}
    count: 4
    zones: [zone-a, zone-b]
    labels: {pool: edge}
    taints: [{key: dedicated, value: edge, effect: NoSchedule}]
  - {name: broken, ready: false}
daemonSets:
  - name: agent
    namespace: logging
    image: agent:v2
    previousImage: agent:v1
    upToDate: 25%
    strategy: {type: RollingUpdate, maxUnavailable: 10%}
    minReadySeconds: 5
  - manifest:
      apiVersion: apps/v1
      kind: DaemonSet
      metadata: {name: other}
      spec: {}
objects:
  - apiVersion: v1
    kind: ConfigMap
    metadata: {name: settings, namespace: logging}
times:
  start: {median: 20s, sigma: 0.4, stragglers: 0.02, factor: 10}
  stop: 3
images:
  agent:v3: {start: 40s, fault: never-ready, logs: [hello, world]}
  agent:v4: {cpu: 900m, memory: 1Ki}
  "agent:v2@edge-001": {fault: {kind: crash, after: 2m, exitCode: 137, reason: OOMKilled}}
users:
  - name: dev
    token: dev-token
    groups: [developers]
    rules:
      - {verbs: [get, list, watch], apiGroups: ["", apps], resources: [pods, daemonsets]}
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "fleet.yaml"
    path.write_text(text)
    return path


def complaint(tmp_path: Path, text: str) -> str:
    with pytest.raises(DocumentError) as caught:
        read_fleet(written(tmp_path, text))
    return str(caught.value).removeprefix(f"{tmp_path}/")


def test_everything_can_be_said(tmp_path: Path) -> None:
    fleet = read_fleet(written(tmp_path, FULL))
    assert fleet.seed == 7
    assert fleet.nodes[0].names() == ["edge-000", "edge-001", "edge-002", "edge-003"]
    assert fleet.daemon_sets[0].updated_nodes(10) == 3
    assert fleet.default_behaviour.start == Timing(20.0, 0.4, 0.02, 10.0)
    assert fleet.default_behaviour.stop == Timing(3.0)
    assert fleet.images["agent:v3"].fault == Fault(FaultKind.NEVER_READY)
    assert fleet.images["agent:v3"].logs == ("hello", "world")
    assert (fleet.images["agent:v4"].cpu, fleet.images["agent:v4"].memory) == (0.9, 1024.0)
    assert fleet.images["agent:v2@edge-001"].fault == Fault(
        FaultKind.CRASH, after=120.0, exit_code=137, reason="OOMKilled"
    )
    assert [(user.name, user.groups) for user in fleet.users] == [("dev", ("developers",))]
    assert fleet.objects[0]["kind"] == "ConfigMap"


def test_what_a_file_does_not_name_is_there_by_default(tmp_path: Path) -> None:
    fleet = read_fleet(written(tmp_path, "seed: 3\n"), nodes=5, zones=2)
    assert fleet.nodes == (NodeGroup(count=5, zones=("zone-a", "zone-b")),)
    assert [ds.name for ds in fleet.daemon_sets] == ["log-agent"]


def test_an_empty_list_of_daemon_sets_means_none(tmp_path: Path) -> None:
    assert read_fleet(written(tmp_path, "daemonSets: []\n")).daemon_sets == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nodez: []\n", "fleet.yaml:1: nodez: unknown key; did you mean 'nodes'?"),
        (
            "nodes:\n  - name: a\n    cuont: 3\n",
            "fleet.yaml:3: nodes[0].cuont: unknown key; did you mean 'count'?",
        ),
        (
            "nodes:\n  - {name: a, count: 0}\n",
            "fleet.yaml:2: nodes[0].count: there must be at least one node",
        ),
        (
            "nodes:\n  - name: a\n  - name: a\n",
            "fleet.yaml:3: nodes[1].name: node 'a' stands twice; rename the group",
        ),
        (
            "images:\n  a:1:\n    start: soon\n",
            (
                "fleet.yaml:3: images.a:1.start: 'soon' is not a duration; "
                "write '30s', '10m' or '1h30m'"
            ),
        ),
        (
            "daemonSets:\n  - name: a\n",
            "fleet.yaml:2: daemonSets[0]: 'image' is missing; add it, or give a 'manifest'",
        ),
        (
            "daemonSets:\n  - name: a\n    image: b\n    upToDate: 3\n",
            (
                "fleet.yaml:4: daemonSets[0].upToDate: the other nodes run another image; add "
                "'previousImage'"
            ),
        ),
        (
            "daemonSets:\n  - name: a\n    manifest: {kind: DaemonSet}\n",
            "fleet.yaml:2: daemonSets[0]: give either 'manifest' or 'name' and 'image', not both",
        ),
    ],
)
def test_a_mistake_is_named_with_its_line_and_a_cure(
    tmp_path: Path, text: str, message: str
) -> None:
    assert complaint(tmp_path, text) == message


def test_an_unknown_fault_is_refused(tmp_path: Path) -> None:
    text = "images:\n  a:1:\n    fault: explodes\n"
    assert complaint(tmp_path, text).startswith("fleet.yaml:3: images.a:1.fault: ")


def test_an_unknown_taint_effect_is_refused(tmp_path: Path) -> None:
    text = "nodes:\n  - name: a\n    taints: [{key: k, effect: NoSchedul}]\n"
    assert "'NoSchedul' is no taint effect; write NoSchedule" in complaint(tmp_path, text)


def test_the_default_fleet_is_log_agent_on_twenty_nodes_in_three_zones() -> None:
    fleet = default_fleet()
    (group,) = fleet.nodes
    assert group.names()[0] == "node-000"
    assert (group.count, group.zones) == (20, ("zone-a", "zone-b", "zone-c"))
    body = fleet.daemon_sets[0].body()
    assert (body["metadata"]["name"], body["metadata"]["namespace"]) == ("log-agent", "logging")
    (container,) = body["spec"]["template"]["spec"]["containers"]
    assert container == {"name": "agent", "image": "log-agent:2.3"}


def test_numbers_in_names_are_as_wide_as_the_largest() -> None:
    names = NodeGroup(count=1200).names()
    assert (names[0], names[-1]) == ("node-0000", "node-1199")


def test_a_name_without_a_place_for_the_number_gets_it_appended() -> None:
    assert NodeGroup(name="rack", count=2).names() == ["rack-000", "rack-001"]
    assert NodeGroup(name="rack").names() == ["rack"]


def test_zones_go_on_after_z() -> None:
    (group,) = default_fleet(30, 28).nodes
    assert group.zones[25:] == ("zone-z", "zone-aa", "zone-ab")


def test_a_daemon_set_is_up_to_date_unless_something_else_is_said() -> None:
    assert DaemonSetEntry(name="a", image="b").updated_nodes(10) == 10
    assert DaemonSetEntry(name="a", image="b", previous_image="c").updated_nodes(10) == 0


def test_a_fault_is_read_from_a_word_or_from_its_parts() -> None:
    assert read_fault("flap") == Fault(FaultKind.FLAP)
    assert read_fault({"kind": "flap", "after": 8, "lasts": "5s"}) == Fault(
        FaultKind.FLAP, after=8.0, lasts=5.0
    )
    assert read_fault("exits").exit_code == 0
    with pytest.raises(ValueError, match="kind"):
        read_fault({"after": 3})


def test_an_empty_fleet_has_nothing_in_it() -> None:
    assert Fleet().nodes == ()
