"""Each spec in plans/ does on the embedded cluster, with its fleet, what its header promises."""

from __future__ import annotations

import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
import yaml

from rollout.cli import sim
from rollout.errors import ExitCode
from rollout.executor.engine.actions import Outcome
from rollout.fleet import marks
from rollout.sim.fleetfile import Fleet, NodeGroup, default_fleet, read_fault, read_fleet
from rollout.sim.resources import CONFIG_MAPS, NODES
from rollout.sim.store import Object
from tests.e2e.playing import Played, Stage
from tests.e2e.world import QUICK, run_in_terminal, world
from tests.gates.prometheus import Prometheus

PLANS = Path(__file__).parents[2] / "plans"
ZONE = "topology.kubernetes.io/zone"
RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"
APPROVED = range(1, 5)  # of the step-through; the others ask for no approval of waves
VOICES = {"two-people": ("ben", "eva")}


@dataclass(frozen=True)
class Expected:
    """What a plan of the spec says on its fleet."""

    totals: str
    waves: tuple[str, ...]  # name and number of nodes
    warnings: tuple[str, ...] = ()
    outcome: Outcome = Outcome.DONE


EXPECTED = {
    "log-agent": Expected(
        "24 to replace in 2 waves, 0 up to date, 0 left out, 2 not for this DaemonSet",
        ("canary 3", "rest 21"),
    ),
    "cni": Expected(
        "37 to replace in 10 waves, 0 up to date, 0 left out, 0 not for this DaemonSet",
        ("canary 3", *(f"workers-{n} 4" for n in range(1, 8)), "workers-8 3", "control-plane 3"),
    ),
    "csi-driver": Expected(
        "25 to replace in 5 waves, 0 up to date, 0 left out, 4 not for this DaemonSet",
        ("batch 8", "web 5", "web-rest 4", "databases 5", "rest 3"),
    ),
    "gpu-stack": Expected(
        "27 to replace in 2 waves, 0 up to date, 0 left out, 36 not for this DaemonSet",
        ("canary 3", "rest 6"),
    ),
    "security-agent": Expected(
        "24 to replace in 4 waves, 0 up to date, 0 left out, 0 not for this DaemonSet",
        ("canary 1", "eu-central-1a 7", "eu-central-1b 8", "eu-central-1c 8"),
        ("the manifest also holds ConfigMap falco, which rollout leaves alone",),
    ),
    "zone-by-zone": Expected(
        "18 to replace in 5 waves, 0 up to date, 0 left out, 0 not for this DaemonSet",
        ("canary 1", "eu-central-1a 6", "eu-central-1b 6", "eu-central-1c 4", "rest 1"),
    ),
    "step-through": Expected(
        "4 to replace in 4 waves, 0 up to date, 0 left out, 0 not for this DaemonSet",
        ("wave-1 1", "wave-2 1", "wave-3 1", "wave-4 1"),
    ),
    "surge": Expected(
        "16 to replace in 3 waves, 0 up to date, 0 left out, 0 not for this DaemonSet",
        ("wave-1 1", "wave-2 4", "wave-3 11"),
    ),
    "gitops-live": Expected(
        "12 to replace in 3 waves, 5 up to date, 6 left out, 0 not for this DaemonSet",
        ("wave-1 1", "wave-2 5", "wave-3 6"),
        outcome=Outcome.DEFERRED,
    ),
    "restart": Expected(
        "20 to replace in 6 waves, 0 up to date, 0 left out, 0 not for this DaemonSet",
        ("first 1", "quarter-1 5", "quarter-2 5", "quarter-3 5", "quarter-4 3", "bastion 1"),
    ),
    "rollback": Expected(
        "5 to replace in 1 wave, 15 up to date, 0 left out, 0 not for this DaemonSet",
        ("wave-1 5",),
    ),
    "error-rate-canary": Expected(
        "8 to replace in 2 waves, 0 up to date, 0 left out, 0 not for this DaemonSet",
        ("canary 2", "rest 6"),
    ),
    "log-pattern": Expected(
        "8 to replace in 2 waves, 0 up to date, 0 left out, 0 not for this DaemonSet",
        ("canary 2", "rest 6"),
    ),
    "maintenance-window": Expected(
        "9 to replace in 2 waves, 0 up to date, 0 left out, 0 not for this DaemonSet",
        ("web 6", "databases 3"),
    ),
    "two-person-approval": Expected(
        "6 to replace in 2 waves, 0 up to date, 0 left out, 0 not for this DaemonSet",
        ("canary 1", "rest 5"),
    ),
    "fleet-5000": Expected(
        "5000 to replace in 6 waves, 0 up to date, 0 left out, 0 not for this DaemonSet",
        ("wave-1 1", "wave-2 5", "wave-3 50", "wave-4 250", "wave-5 1250", "wave-6 3444"),
    ),
}
SMALL = [name for name in EXPECTED if name != "fleet-5000"]  # are carried out as they are


def spec_of(name: str) -> Path:
    return PLANS / f"{name}.yaml"


def fleet_of(name: str) -> Fleet:
    return read_fleet(PLANS / "fleets" / f"{name}.yaml")


Show = Callable[[str], tuple[Stage, str, Played]]


@pytest.fixture(scope="module")
def show(tmp_path_factory: pytest.TempPathFactory) -> Show:
    """Return a function that plans and plays a spec of plans/, once for all tests."""
    known: dict[str, tuple[Stage, str, Played]] = {}

    def once(name: str) -> tuple[Stage, str, Played]:
        if name not in known:
            stage = Stage(fleet_of(name), tmp_path_factory.mktemp(name))
            planned = stage.plan(spec_of(name))
            played = stage.play(planned.plan, approved=APPROVED, voices=VOICES)
            known[name] = stage, planned.done.out, played
        return known[name]

    return once


Play = Callable[[str], Played]


@pytest.fixture(scope="module")
def play(show: Show) -> Play:
    return lambda name: show(name)[2]


def containers(pod: Object) -> dict[str, Any]:
    return {c["name"]: c for c in pod["spec"]["containers"]}


def all_ready(stage: Stage, played: Played) -> bool:
    pods = stage.pods(played.plan).values()
    return all(
        c["status"] == "True"
        for p in pods
        for c in p["status"]["conditions"]
        if c["type"] == "Ready"
    )


# All of them


def test_every_spec_has_its_fleet_and_its_tests() -> None:
    assert {path.stem for path in PLANS.glob("*.yaml")} == set(EXPECTED)
    assert {path.stem for path in (PLANS / "fleets").iterdir()} == set(EXPECTED)


def test_every_manifest_belongs_to_a_spec() -> None:
    texts = "".join(spec_of(name).read_text() for name in EXPECTED)
    for path in (PLANS / "manifests").iterdir():
        assert f"manifest: manifests/{path.name}" in texts


@pytest.mark.parametrize("name", EXPECTED)
def test_its_header_says_what_it_is_for_and_how_to_try_it(name: str) -> None:
    header = re.match(r"(#.*\n)+", spec_of(name).read_text())
    assert header is not None
    assert re.match(r"# [A-Z0-9]", header[0])
    start = header[0].index(f"rollout sim start --fleet plans/fleets/{name}.yaml")
    kubeconfig = next(p.default for p in sim.start.params if p.name == "kubeconfig")
    export = header[0].index(f"export KUBECONFIG={kubeconfig}")  # as the cluster writes it
    assert start < export < header[0].index("rollout", header[0].index("\n", export))
    assert f"-f plans/{name}.yaml" in header[0]
    assert f"For plans/{name}.yaml" in (PLANS / "fleets" / f"{name}.yaml").read_text()


@pytest.mark.parametrize("name", SMALL)
def test_its_plan_is_as_expected(show: Show, name: str) -> None:
    _, out, played = show(name)
    expected = EXPECTED[name]
    assert f"\nPlan: {expected.totals}.\n" in out
    assert tuple(f"{wave.name} {wave.nodes}" for wave in played.plan.waves) == expected.waves
    assert played.plan.warnings == expected.warnings


@pytest.mark.parametrize("name", SMALL)
def test_carrying_it_out_brings_every_planned_node_to_the_target(show: Show, name: str) -> None:
    stage, _, played = show(name)
    planned = {(s.daemon_set, s.node) for s in played.plan.steps if s.kind == "update"}
    assert played.finish.outcome is EXPECTED[name].outcome
    assert played.replaced() == planned
    assert set(played.oracle.deletes.values()) == {1}
    assert all_ready(stage, played) or name == "gitops-live"  # where one node is down
    played.assert_waves_follow_each_other()


@pytest.mark.parametrize("name", SMALL)
def test_carrying_it_out_leaves_the_strategy_as_the_spec_wants_it(play: Play, name: str) -> None:
    played = play(name)
    for ds in played.plan.daemon_sets:
        after = played.after[ds.name]
        wanted = played.before[ds.name]["spec"]["updateStrategy"]
        if name == "security-agent":
            wanted = {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxUnavailable": "10%", "maxSurge": 0},
            }
        assert after["spec"]["updateStrategy"] == wanted
        assert not set(marks.ALL) & set(after["metadata"]["annotations"])


# Each for itself


def test_log_agent_begins_with_a_node_of_every_zone(play: Play) -> None:
    played = play("log-agent")
    canaries = played.journal.order("log-agent")[:3]
    assert {played.zone(node) for node in canaries} == {f"eu-central-1{z}" for z in "abc"}
    assert played.oracle.most_down == 6  # a quarter of 24


def test_log_agent_plans_without_a_fleet_file_as_well(tmp_path: Path) -> None:
    planned = Stage(default_fleet(), tmp_path).plan(spec_of("log-agent"))
    assert "Plan: 20 to replace in 2 waves" in planned.done.out
    zones = {n.zone for n in planned.plan.daemon_sets[0].nodes if n.wave == 1}
    assert zones == {"zone-a", "zone-b", "zone-c"}


def test_cni_goes_from_ordinary_workers_to_the_control_plane_in_small_batches(play: Play) -> None:
    played = play("cni")
    order = played.journal.order("cilium")
    assert {played.zone(node) for node in order[:3]} == {f"eu-central-1{z}" for z in "abc"}
    assert all(node.startswith("worker-") for node in order[:3])
    assert all(node.startswith("control-plane-") for node in order[-3:])
    assert {"worker-cordoned", "ingress-000"} < set(order[3:-3])
    assert played.oracle.most_down == 2
    assert played.journal.most_at_once(played.subjects(10)) == 1
    images = {c["image"] for p in played.new.values() for c in p["spec"]["initContainers"]}
    assert images == {"quay.io/cilium/cilium:v1.18.2"}


def test_cni_cannot_surge_and_the_plan_says_why(tmp_path: Path) -> None:
    document = yaml.safe_load(spec_of("cni").read_text())
    document["spec"]["daemonSets"][0]["strategy"] = {"maxUnavailable": 0, "maxSurge": 1}
    spec = tmp_path / "surge.yaml"
    spec.write_text(yaml.safe_dump(document))
    done = Stage(fleet_of("cni"), tmp_path).plan(spec).done
    assert done.code == ExitCode.BAD_DOCUMENT
    assert "DaemonSet cilium cannot surge" in done.err
    assert "port 4244, which two pods on one node cannot both have" in done.err


def test_csi_driver_takes_the_databases_late_and_one_by_one(play: Play) -> None:
    played = play("csi-driver")
    order = played.journal.order("ebs-csi-node")
    pools = [pool for pool, _ in itertools.groupby(node.split("-")[0] for node in order)]
    assert pools == ["batch", "web", "db", "infra"]
    assert played.oracle.most_down == 3
    assert played.journal.most_at_once(played.subjects(4)) == 1


def test_csi_driver_changes_all_three_containers_and_drops_a_variable(play: Play) -> None:
    for pod in play("csi-driver").new.values():
        found = containers(pod)
        tags = {name: c["image"].rpartition(":")[2] for name, c in found.items()}
        assert tags == {
            "ebs-plugin": "v1.48.0",
            "node-driver-registrar": "v2.14.0",
            "liveness-probe": "v2.16.0",
        }
        env = {variable["name"] for variable in found["ebs-plugin"]["env"]}
        assert env == {"CSI_ENDPOINT", "CSI_NODE_NAME"}


DRIVER, PLUGIN, EXPORTER = (
    "nvidia-driver-daemonset",
    "nvidia-device-plugin-daemonset",
    "nvidia-dcgm-exporter",
)


def test_gpu_stack_takes_driver_then_plugin_then_exporter_on_each_node(play: Play) -> None:
    played = play("gpu-stack")
    journal = played.journal
    of_node = defaultdict(list)
    for daemon_set, node in played.oracle.history:
        of_node[node].append(daemon_set)
    assert len(of_node) == 9
    assert {tuple(names) for names in of_node.values()} == {(DRIVER, PLUGIN, EXPORTER)}
    assert not +played.oracle.overlaps  # a node belongs to one of them at a time
    for node in of_node:
        assert journal.ended((DRIVER, node)) <= journal.began[PLUGIN, node]
        assert journal.ended((PLUGIN, node)) <= journal.began[EXPORTER, node]
    steps = {step.id: step.after for step in played.plan.steps}
    for node in of_node:  # and not only since they happen to stand in this order
        assert steps[f"update/{PLUGIN}/{node}"] == (f"update/{DRIVER}/{node}",)
        assert steps[f"update/{EXPORTER}/{node}"] == (f"update/{PLUGIN}/{node}",)


def test_gpu_stack_works_on_two_nodes_at_most_over_all_three(play: Play) -> None:
    played = play("gpu-stack")
    assert played.journal.most_at_once(played.journal.began) == 2


def test_gpu_stack_has_a_canary_of_every_model(show: Show) -> None:
    stage, _, played = show("gpu-stack")
    models = {
        stage.cluster.registry.get(NODES, "", node)["metadata"]["labels"]["nvidia.com/gpu.product"]
        for node in played.wave(1)
    }
    assert models == {"NVIDIA-L4", "NVIDIA-A100-SXM4-80GB", "NVIDIA-H100-80GB-HBM3"}


def test_gpu_stack_leaves_the_driver_on_delete_as_its_owner_has_it(play: Play) -> None:
    played = play("gpu-stack")
    assert played.after[DRIVER]["spec"]["updateStrategy"] == {"type": "OnDelete"}
    assert {s.daemon_set for s in played.plan.steps if s.kind == "restore"} == {PLUGIN, EXPORTER}


def test_security_agent_takes_the_whole_daemon_set_and_nothing_else(show: Show) -> None:
    stage, _, played = show("security-agent")
    after = played.after["falco"]
    assert after["metadata"]["labels"]["app.kubernetes.io/version"] == "0.41.3"
    assert after["spec"]["minReadySeconds"] == 2
    assert {containers(p)["falco"]["image"] for p in played.new.values()} == {
        "falcosecurity/falco:0.41.3"
    }
    config = stage.cluster.registry.get(CONFIG_MAPS, "falco", "falco")
    assert config["data"] == {"falco.yaml": "engine: {kind: modern_ebpf}\n"}


def test_security_agent_goes_back_by_itself_when_one_node_fails(tmp_path: Path) -> None:
    with world(fleet_of("security-agent"), tmp_path) as cluster:
        cluster.set_image("*", QUICK)
        cluster.break_image("falcosecurity/falco:0.41.3", read_fault("crash"))
        old = cluster.pod_names()
        done = cluster.rollout("apply", "-f", spec_of("security-agent"), "--yes")
        images, now = cluster.images(), cluster.pod_names()
    assert done.code == ExitCode.ROLLED_BACK, done.err
    assert set(images.values()) == {"falcosecurity/falco:0.40.0"}
    assert {node for node in old if now[node] != old[node]} == {"control-plane-000"}


def test_zone_by_zone_finishes_a_zone_before_the_next(play: Play) -> None:
    played = play("zone-by-zone")
    zones = [played.zone(node) for node in played.journal.order("node-local-dns")]
    assert [zone for zone, _ in itertools.groupby(zones)] == [
        *(f"eu-central-1{z}" for z in "abc"),
        "",
    ]


def test_zone_by_zone_keeps_the_limits_of_zone_and_pace(play: Play) -> None:
    played = play("zone-by-zone")
    for number in range(2, 5):
        assert played.journal.most_at_once(played.subjects(number)) == 2
    assert played.journal.most_begun_in_a_second() <= 4  # 2 saved up, 2 a second


def test_zone_by_zone_changes_fields_of_any_path(play: Play) -> None:
    for pod in play("zone-by-zone").new.values():
        cache = containers(pod)["node-cache"]
        assert pod["metadata"]["annotations"]["prometheus.io/port"] == "9253"
        assert cache["args"][1] == "169.254.20.10,10.96.0.10"
        assert cache["resources"]["limits"] == {"memory": "256Mi"}
        assert cache["env"] == [{"name": "GOMEMLIMIT", "value": "200MiB"}]


def test_step_through_stops_behind_every_node(tmp_path: Path) -> None:
    stage = Stage(fleet_of("step-through"), tmp_path)
    played = stage.play(stage.plan(spec_of("step-through")).plan)
    assert played.finish.outcome is Outcome.PAUSED
    assert played.replaced() == {("speaker", "rack1-000")}


def test_step_through_asks_before_each_node_and_goes_on_another_day(tmp_path: Path) -> None:
    with world(fleet_of("step-through"), tmp_path) as cluster:
        cluster.set_image("*", QUICK)
        plan = cluster.plan(spec_of("step-through"))
        env = cluster.environment(TERM="xterm")
        blind = cluster.rollout("step", plan, stdin="y\n")  # no terminal: nothing counts as a yes
        today, screen = run_in_terminal(["step", str(plan)], "y\ny\nn\n", env)
        half = Counter(cluster.images().values())
        tomorrow, again = run_in_terminal(["step", str(plan)], "all\n", env)
        whole = Counter(cluster.images().values())
    assert blind.code == ExitCode.PAUSED
    assert today == ExitCode.PAUSED, screen
    assert "Next: rack1-001 (wave wave-2, DaemonSet speaker)." in screen
    assert "Next: rack2-000 (wave wave-3, DaemonSet speaker)." in screen
    assert half == {"quay.io/metallb/speaker:v0.14.9": 2, "quay.io/metallb/speaker:v0.15.2": 2}
    assert tomorrow == ExitCode.DONE
    assert re.search(r"rack1-000: \S+@\S+ let it go at 20", again)
    assert "Next: rack2-000 (" in again
    assert whole == {"quay.io/metallb/speaker:v0.15.2": 4}


def test_surge_leaves_no_node_without_a_ready_pod(show: Show) -> None:
    _, out, played = show("surge")
    assert "surge by hand-over: an old pod loses the label app.kubernetes.io/instance" in out
    assert played.oracle.most_down == 0
    assert played.journal.most_at_once(played.subjects(3)) == 4  # 20% of 16
    assert all(played.journal.ready[at] > began for at, began in played.journal.began.items())


def test_surge_releases_a_label_that_no_service_selects(play: Play) -> None:
    (ds,) = play("surge").plan.daemon_sets
    assert ds.hand_over is not None
    assert (ds.hand_over.label, ds.hand_over.affected) == ("app.kubernetes.io/instance", ())


def test_gitops_live_changes_nothing_in_the_daemon_set(play: Play) -> None:
    played = play("gitops-live")
    before, after = played.before["node-exporter"], played.after["node-exporter"]
    assert after["spec"] == before["spec"]
    for field in ("generation", "labels", "annotations"):
        assert after["metadata"][field] == before["metadata"][field]
    assert {step.kind for step in played.plan.steps} == {"update", "barrier"}


def test_gitops_live_leaves_out_what_the_spec_and_the_cluster_say(play: Play) -> None:
    played = play("gitops-live")
    (ds,) = played.plan.daemon_sets
    assert {n.name: n.deferred_by for n in ds.nodes if n.fate == "deferred"} == {
        "worker-017": "excluded",
        "worker-cordoned": "cordoned",
        "worker-down": "not-ready",
        "worker-edge-000": "excluded",
        "worker-edge-001": "excluded",
        "worker-edge-002": "excluded",
    }


def test_restart_makes_new_pods_of_the_same_template(play: Play) -> None:
    played = play("restart")
    before, after = (d["kube-proxy"]["spec"]["template"] for d in (played.before, played.after))
    assert after["spec"] == before["spec"]
    assert set(after["metadata"]["annotations"]) == {RESTARTED_AT}
    assert played.journal.order("kube-proxy")[-1] == "bastion"
    assert played.oracle.most_down == 4  # 20% of 20


def test_rollback_touches_only_what_runs_the_bad_revision(play: Play) -> None:
    played = play("rollback")
    bad = "fluent/fluent-bit:4.1.0"
    broken = {at for at, pod in played.old.items() if containers(pod)["fluent-bit"]["image"] == bad}
    assert len(broken) == 5
    assert played.replaced() == broken
    hashes = Counter(
        pod["metadata"]["labels"]["controller-revision-hash"] for pod in played.new.values()
    )
    (ds,) = played.plan.daemon_sets
    assert hashes == {ds.target.hash: 20}
    assert ds.target.revision == 1


# Gates


def test_error_rate_canary_looks_five_times_between_canary_and_rest(play: Play) -> None:
    played = play("error-rate-canary")
    began = sorted(played.journal.began.values())
    assert len(began) == 8
    assert began[2] - began[1] > 3 + 4 * 1  # initialDelay, and four intervals


def test_error_rate_canary_takes_a_release_that_raises_the_rate_back(
    tmp_path: Path, real_prometheus: Prometheus
) -> None:
    spec = tmp_path / "spec.yaml"
    text = spec_of("error-rate-canary").read_text()
    spec.write_text(text.replace("http://127.0.0.1:9090", real_prometheus.url))
    real_prometheus.exporter.set("error_rate", 0.5)
    with world(fleet_of("error-rate-canary"), tmp_path) as cluster:
        cluster.set_image("*", QUICK)
        old = cluster.pod_names()
        done = cluster.rollout("apply", "-f", spec, "--yes", "--allow-host", "127.0.0.1")
        images, now = cluster.images(), cluster.pod_names()
    assert done.code == ExitCode.ROLLED_BACK, done.err
    assert set(images.values()) == {"edge-proxy:1.7"}
    assert sum(old[node] != now[node] for node in old) == 2  # of the canary only


def test_log_pattern_waits_until_every_new_pod_says_that_it_is_ready(play: Play) -> None:
    played = play("log-pattern")
    (gate,) = played.plan.gates
    assert (gate.kind, gate.at) == ("logs", "after-node")
    assert len(played.replaced()) == 8


def test_log_pattern_stops_a_release_that_writes_errors_after_the_canary(tmp_path: Path) -> None:
    spec = tmp_path / "bad.yaml"
    spec.write_text(spec_of("log-pattern").read_text().replace("3.2.1", "3.2.2"))
    with world(fleet_of("log-pattern"), tmp_path) as cluster:
        cluster.set_image("*", QUICK)
        old = cluster.pod_names()
        done = cluster.rollout("apply", "-f", spec, "--yes")
        images, now = cluster.images(), cluster.pod_names()
    assert done.code == ExitCode.ROLLED_BACK, done.err
    assert 'level=error msg="cannot export"' in done.out + done.err
    assert set(images.values()) == {"otel-agent:3.2.0"}
    assert 0 < sum(old[node] != now[node] for node in old) <= 2  # of the canary only


def test_maintenance_window_begins_nodes_at_night_only(play: Play) -> None:
    played = play("maintenance-window")
    zone = ZoneInfo("Europe/Berlin")
    hours = {
        node: datetime.fromtimestamp(at, zone) for (_, node), at in played.journal.began.items()
    }
    assert len(hours) == 9
    assert all(at.hour >= 22 or at.hour < 4 for at in hours.values())
    assert all(at.hour in (1, 2) for node, at in hours.items() if node.startswith("db"))


def test_two_person_approval_ends_until_two_others_have_said_yes(tmp_path: Path) -> None:
    with world(fleet_of("two-person-approval"), tmp_path) as cluster:
        cluster.set_image("*", QUICK)
        plan = cluster.plan(spec_of("two-person-approval"))
        first = cluster.rollout("apply", plan, "--yes")
        half = Counter(cluster.images().values())
        say = ("approve", "vpn-agent-1.9", "--gate", "two-people", "-n", "network")
        ends = []
        for who in ("ben", "ben", "eva"):
            config = cluster.write_kubeconfig(who, f"{who}-token")
            said = cluster.rollout(*say, "--kubeconfig", config)
            assert said.code == ExitCode.DONE, said.err
            assert f"has your voice ({'2' if who == 'eva' else '1'} of 2)" in said.out
            ends.append(cluster.rollout("apply", plan, "--yes").code)
        whole = Counter(cluster.images().values())
    assert first.code == ExitCode.PAUSED, first.err
    assert half == {"vpn-agent:1.8": 5, "vpn-agent:1.9": 1}
    assert ends == [ExitCode.PAUSED, ExitCode.PAUSED, ExitCode.DONE]
    assert whole == {"vpn-agent:1.9": 6}


# 5,000 nodes


def tenth(fleet: Fleet) -> Fleet:
    def smaller(group: NodeGroup) -> NodeGroup:
        return msgspec.structs.replace(group, count=group.count // 10)

    return msgspec.structs.replace(fleet, nodes=tuple(map(smaller, fleet.nodes)))


def test_fleet_5000_plans_in_waves_that_grow(tmp_path: Path) -> None:
    planned = Stage(fleet_of("fleet-5000"), tmp_path).plan(spec_of("fleet-5000"))
    expected = EXPECTED["fleet-5000"]
    assert f"\nPlan: {expected.totals}.\n" in planned.done.out
    assert tuple(f"{w.name} {w.nodes}" for w in planned.plan.waves) == expected.waves
    assert planned.plan.warnings == ()
    first = [s.node for s in planned.plan.steps if s.kind == "update" and s.wave <= 2]
    assert min(first) != "arm-0000"  # shuffled: not simply the first names


def test_fleet_5000_keeps_its_limits_on_a_tenth_of_the_nodes(tmp_path: Path) -> None:
    document = yaml.safe_load(spec_of("fleet-5000").read_text())
    document["spec"]["limits"] |= {"maxNodesInFlight": 20, "maxPerZone": 6}
    spec = tmp_path / "tenth.yaml"
    spec.write_text(yaml.safe_dump(document))
    stage = Stage(tenth(fleet_of("fleet-5000")), tmp_path)
    played = stage.play(stage.plan(spec).plan)
    assert [wave.nodes for wave in played.plan.waves] == [1, 5, 5, 25, 125, 339]
    check_5000(stage, played, in_flight=20, in_zone=6)


@pytest.mark.slow
def test_fleet_5000_keeps_its_limits(tmp_path: Path) -> None:
    stage = Stage(fleet_of("fleet-5000"), tmp_path)
    played = stage.play(stage.plan(spec_of("fleet-5000")).plan)
    check_5000(stage, played, in_flight=200, in_zone=60)


def check_5000(stage: Stage, played: Played, *, in_flight: int, in_zone: int) -> None:
    journal = played.journal
    by_zone = defaultdict(list)
    for node in played.plan.daemon_sets[0].nodes:
        by_zone[node.zone].append(("vector", node.name))
    assert played.finish.outcome is Outcome.DONE
    assert len(played.replaced()) == played.plan.totals.update
    assert all_ready(stage, played)
    played.assert_waves_follow_each_other()
    assert journal.most_at_once(journal.began) == in_flight
    assert max(journal.most_at_once(found) for found in by_zone.values()) == in_zone
    assert journal.most_begun_in_a_second() <= 50  # 25 saved up, 25 a second


def test_fleet_5000_with_another_seed_has_another_canary(tmp_path: Path) -> None:
    stage = Stage(tenth(fleet_of("fleet-5000")), tmp_path)
    other = tmp_path / "other.yaml"
    other.write_text(spec_of("fleet-5000").read_text().replace("seed: 5000", "seed: 5001"))
    ours, others = (
        next(s.node for s in stage.plan(spec).plan.steps if s.kind == "update")
        for spec in (spec_of("fleet-5000"), other)
    )
    assert ours != others
