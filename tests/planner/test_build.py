from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.errors import DocumentError
from rollout.fleet import marks
from rollout.fleet.snapshot import Fleet
from rollout.planner.graph import digraph
from rollout.planner.plan import Plan
from tests.planner.worlds import (
    NEW_IMAGE,
    ON_DELETE,
    ROLLING,
    ZONE,
    fates_of,
    make_fleet,
    make_item,
    make_node,
    make_pod,
    make_revision,
    make_spec,
    make_template,
    nodes_by_name,
    plan_of,
    the_daemon_set,
    waves_of,
)

LIVE = make_item(target={"live": True})
OLD = make_template()
NEW = make_template(image="agent:2")
STALE = "node.kubernetes.io/unreachable"


def kinds(plan: Plan) -> list[str]:
    return [step.kind for step in plan.steps]


def complaint(*args: Any, **more: Any) -> str:
    with pytest.raises(DocumentError) as caught:
        plan_of(*args, **more)
    return str(caught.value)


# What is to be done.


def test_ten_old_nodes_are_ten_replacements() -> None:
    plan = plan_of(make_fleet(10))
    assert set(fates_of(plan).values()) == {"update"}
    assert (plan.totals.update, plan.totals.nodes) == (10, 10)
    assert kinds(plan).count("update") == 10
    assert kinds(plan)[0] == "prepare"
    assert kinds(plan)[-1] == "restore"
    assert plan.has_changes


def test_nodes_that_are_on_the_target_are_not_counted() -> None:
    nodes = [make_node(f"n{i}") for i in range(10)]
    pods = [
        make_pod(n.metadata.name, hash_="h2" if i < 3 else "h1", generation="2" if i < 3 else "1")
        for i, n in enumerate(nodes)
    ]
    history = [make_revision(1, OLD), make_revision(2, NEW)]
    fleet = make_fleet(nodes, pods, template=NEW, revisions=history, template_generation="2")
    plan = plan_of(fleet, make_spec(LIVE))
    assert (plan.totals.current, plan.totals.update) == (3, 7)


def test_where_everything_is_as_it_shall_be_there_is_nothing_to_do() -> None:
    plan = plan_of(make_fleet(5), make_spec(LIVE))
    assert not plan.has_changes
    assert plan.steps == ()
    assert plan.waves == ()
    assert plan.totals.current == 5


def test_no_matching_node_is_nothing_to_do_but_the_template() -> None:
    plan = plan_of(make_fleet([]), make_spec(LIVE))
    assert not plan.has_changes
    assert plan_of(make_fleet([])).totals.update == 0


def test_only_settings_is_one_step_and_no_replacement() -> None:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "20%"}}
    manifest = {
        "metadata": {"name": "agent"},
        "spec": {"template": OLD, "updateStrategy": strategy},
    }
    spec = make_spec(make_item(target={"manifest": "a.yaml"}), manifests={"agent": manifest})
    plan = plan_of(make_fleet(5), spec)
    assert kinds(plan) == ["restore"]
    assert plan.totals.update == 0
    ds = the_daemon_set(plan)
    assert ds.original_strategy == ROLLING
    assert ds.final_strategy["rollingUpdate"] == {"maxUnavailable": "20%", "maxSurge": 0}
    assert any("20%" in line for line in ds.diff)


def test_a_manifest_with_a_new_template_is_a_full_rollout() -> None:
    manifest = {"metadata": {"name": "agent"}, "spec": {"template": NEW}}
    spec = make_spec(make_item(target={"manifest": "a.yaml"}), manifests={"agent": manifest})
    plan = plan_of(make_fleet(3), spec)
    assert kinds(plan).count("update") == 3
    assert the_daemon_set(plan).target.revision is None


def test_a_revision_target_names_the_revision_that_comes_back() -> None:
    history = [make_revision(1, NEW), make_revision(2, OLD)]
    pods = [make_pod("n1", hash_="h2", generation="2"), make_pod("n2", hash_="h1", generation="1")]
    fleet = make_fleet(2, pods, revisions=history, template_generation="2")
    plan = plan_of(fleet, make_spec(make_item(target={"revision": 1})))
    ds = the_daemon_set(plan)
    assert (ds.current.revision, ds.current.hash) == (2, "h2")
    assert (ds.target.revision, ds.target.hash) == (1, "h1")
    assert fates_of(plan) == {"n1": "update", "n2": "current"}


def test_a_restart_replaces_every_pod() -> None:
    plan = plan_of(make_fleet(3), make_spec(make_item(target={"restart": True})))
    assert plan.totals.update == 3
    assert the_daemon_set(plan).changes_template


def test_live_under_on_delete_replaces_old_pods_and_patches_nothing() -> None:
    fleet = make_fleet(
        2,
        template=NEW,
        revisions=[make_revision(1, OLD), make_revision(2, NEW)],
        template_generation="2",
        strategy=ON_DELETE,
    )
    plan = plan_of(fleet, make_spec(LIVE))
    assert kinds(plan) == ["update", "barrier", "update", "barrier"]
    assert the_daemon_set(plan).owner_on_delete
    assert the_daemon_set(plan).diff == ()


def test_on_delete_by_its_owners_choice_is_neither_set_nor_restored() -> None:
    plan = plan_of(make_fleet(2, strategy=ON_DELETE))
    assert kinds(plan)[0] == "prepare"
    assert "restore" not in kinds(plan)
    assert the_daemon_set(plan).final_strategy == ON_DELETE


# Left over from an earlier run: OnDelete that we set, with the original beside it.


def left_over(**more: Any) -> Any:
    stored = msgspec.json.encode(ROLLING).decode()
    annotations = {marks.ORIGINAL_STRATEGY: stored, marks.RUN: "r1", marks.PLAN: "sha256:x"}
    return make_fleet(2, strategy=ON_DELETE, annotations=annotations, **more)


def test_a_plan_in_the_middle_of_a_run_still_knows_the_owners_strategy() -> None:
    ds = the_daemon_set(plan_of(left_over()))
    assert not ds.owner_on_delete
    assert (ds.live_strategy, ds.original_strategy, ds.final_strategy) == (
        ON_DELETE,
        ROLLING,
        ROLLING,
    )


def test_a_strategy_that_an_earlier_run_left_on_delete_is_restored_though_no_pod_changes() -> None:
    plan = plan_of(left_over(), make_spec(LIVE))
    assert plan.totals.update == 0
    assert kinds(plan) == ["restore"]


# Who is left out.


def test_nodes_that_were_not_ready_before_are_deferred_and_the_others_finish() -> None:
    nodes = [
        make_node(f"n{i}", ready=i >= 3, taints=[(STALE, "NoSchedule")] if i < 3 else [])
        for i in range(10)
    ]
    plan = plan_of(make_fleet(nodes))
    assert (plan.totals.deferred, plan.totals.update) == (3, 7)
    assert nodes_by_name(plan)["n0"].reason == "node was not ready before the run"
    assert the_daemon_set(plan).desired == 7


def test_a_template_that_narrows_its_selector_shows_pods_to_be_removed_apart() -> None:
    nodes = [make_node(f"n{i}", labels={"pool": "ab"[i % 2]}) for i in range(4)]
    target = {"set": {"field": {"spec.nodeSelector": {"pool": "a"}}}}
    plan = plan_of(make_fleet(nodes), make_spec(make_item(target=target)))
    assert (plan.totals.update, plan.totals.ineligible, plan.totals.removed) == (2, 2, 2)
    assert [n.name for n in the_daemon_set(plan).nodes if n.removes_pod] == ["n1", "n3"]
    assert the_daemon_set(plan).desired == 2


def test_a_template_that_widens_its_selector_takes_the_new_nodes_in() -> None:
    live = make_template(nodeSelector={"pool": "a"})
    nodes = [make_node("n1", labels={"pool": "a"}), make_node("n2", labels={"pool": "b"})]
    target = {"set": {"field": {"spec.nodeSelector": None}}}
    fleet = make_fleet(nodes, [make_pod("n1")], template=live)
    plan = plan_of(fleet, make_spec(make_item(target=target)))
    assert nodes_by_name(plan)["n2"].reason == "no pod yet; the controller creates it"
    assert plan.totals.update == 2


# Mistakes that only the cluster shows.


@pytest.mark.parametrize(
    ("body", "path", "what"),
    [
        (
            {"nodes": {"exclude": ["n9"]}},
            "spec.nodes.exclude[0]",
            "the cluster has no node 'n9'; check the name",
        ),
        (
            {"nodes": {"selector": "pool=x"}},
            "spec.nodes.selector",
            "'pool=x' matches no node; see 'kubectl get nodes -L KEY'",
        ),
        (
            {"waves": [{"nodes": ["n1", "n9"]}]},
            "spec.waves[0].nodes[1]",
            "the cluster has no node 'n9'",
        ),
        ({"waves": [{"selector": "pool=x"}]}, "spec.waves[0].selector", "'pool=x' matches no node"),
    ],
)
def test_a_name_or_selector_that_matches_nothing_is_a_typing_error(
    body: dict[str, Any], path: str, what: str
) -> None:
    text = complaint(make_fleet(3), make_spec(**body))
    assert re.match(rf"<stdin>:\d+: {re.escape(path)}: {re.escape(what)}", text)


def test_a_selector_that_matches_nothing_is_refused_also_beside_nodes_that_never_fit() -> None:
    nodes = [make_node("n1"), make_node("cp", taints=[("node-role/control-plane", "NoSchedule")])]
    spec = make_spec(nodes={"selector": "pool=x"})
    assert "'pool=x' matches no node" in complaint(make_fleet(nodes, [make_pod("n1")]), spec)


def test_a_selector_that_matches_only_excluded_nodes_is_no_typing_error() -> None:
    nodes = [make_node("n1", labels={"pool": "a"})]
    spec = make_spec(nodes={"selector": "pool=a", "exclude": ["n1"]})
    assert plan_of(make_fleet(nodes), spec).totals.deferred == 1


def test_an_after_that_names_no_daemonset_of_the_spec_is_refused() -> None:
    spec = make_spec(make_item(after={"daemonSet": "driver"}))
    text = complaint(make_fleet(2), spec)
    assert "'driver' is not a DaemonSet of this spec; it has agent" in text


# Limits.


def test_the_limits_are_printed_with_their_base() -> None:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "10%", "maxSurge": 0}}
    plan = plan_of(
        make_fleet(37, strategy=strategy),
        make_spec(failure={"maxFailures": "5%"}, waves=[{"size": 9, "maxUnavailable": "50%"}]),
    )
    assert the_daemon_set(plan).max_unavailable.text == "10% of 37 = 4"
    assert plan.failure.max_failures.text == "5% of 37 = 2"
    limit = plan.waves[0].max_unavailable
    assert limit is not None
    assert limit.text == "50% of 37 = 19"


def broken_fleet(count: int, broken: int, **more: Any) -> Any:
    nodes = [make_node(f"n{i}") for i in range(count)]
    pods = [make_pod(f"n{i}", ready=i >= broken) for i in range(count)]
    return make_fleet(nodes, pods, **more)


def test_a_budget_that_broken_pods_use_up_is_said_with_names_and_the_way_out() -> None:
    plan = plan_of(broken_fleet(5, 2))
    (warning,) = plan.warnings
    assert "already used up by n0, n1" in warning
    assert warning.endswith("Way out: mend them, or raise maxUnavailable")
    assert plan_of(broken_fleet(5, 0)).warnings == ()


def test_labels_that_no_node_has_are_named() -> None:
    rules = [{"size": 1, "spread": "zoen"}, {"by": "rakc"}]
    plan = plan_of(make_fleet(3), make_spec(waves=rules, nodes={"order": ["label:pol", "zone"]}))
    assert [text.split(";")[0] for text in plan.warnings] == [
        "no node has the label rakc: waves 'by' it are none",
        "no node has the label zoen: to 'spread' over it changes nothing",
        "no node has the label pol: to 'order' by it changes nothing",
    ]
    labelled = make_fleet([make_node("n1"), make_node("n2", labels={"rack": "a"})])
    assert plan_of(labelled, make_spec(waves=[{"by": "rack"}])).warnings == ()


TAINTED = [make_node("n1"), make_node("n2", taints=[("gpu", "NoSchedule")])]


def test_a_pod_that_the_controller_will_remove_for_good_is_named_with_the_way_out() -> None:
    plan = plan_of(make_fleet(TAINTED))
    (warning,) = plan.warnings
    assert "the pods on n2 are removed for good when RollingUpdate is back" in warning
    assert "taint gpu:NoSchedule is not tolerated" in warning


@pytest.mark.parametrize(
    "fleet",
    [
        make_fleet(TAINTED, strategy=ON_DELETE),
        make_fleet(TAINTED, [make_pod("n1")]),
        make_fleet(TAINTED, template=NEW),
    ],
    ids=["it never rolls by itself", "there is no pod", "nothing is to be done"],
)
def test_no_removal_is_announced_where_none_comes(fleet: Fleet) -> None:
    assert plan_of(fleet).warnings == ()


def test_a_strategy_that_stays_on_delete_removes_no_pod_of_a_tainted_node() -> None:
    fleet = make_fleet([*TAINTED, make_node("n3")])
    (warning,) = plan_of(fleet, make_spec(nodes={"exclude": ["n3"]})).warnings
    assert "stays OnDelete" in warning


def test_broken_nodes_that_are_left_out_use_up_the_budget_all_the_same() -> None:
    surge = {"strategy": {"maxUnavailable": 0, "maxSurge": 1}}
    item = make_item("agent", {"set": {"image": {"agent": "agent:2"}}}, **surge)
    plan = plan_of(broken_fleet(5, 1), make_spec(item, nodes={"exclude": ["n0"]}))
    warning = next(text for text in plan.warnings if "used up" in text)
    assert "the budget (maxSurge 1) is already used up by n0; " in warning
    assert warning.endswith("Way out: mend them, or raise maxSurge")


ZONES: dict[str, Any] = {"waves": [{"by": "topology.kubernetes.io/zone"}]}


def zoned_fleet(*broken: str) -> Any:
    zones = {f"n{i}": {"topology.kubernetes.io/zone": "abc"[i % 3]} for i in range(6)}
    nodes = [make_node(name, labels=labels) for name, labels in zones.items()]
    return make_fleet(nodes, [make_pod(name, ready=name not in broken) for name in zones])


def test_nodes_33_a_broken_node_that_would_hold_up_the_waves_before_its_own_goes_first() -> None:
    spec = make_spec(**ZONES)
    assert waves_of(plan_of(zoned_fleet("n5"), spec)) == [
        ["n5"],
        ["n0", "n3"],
        ["n1", "n4"],
        ["n2"],
    ]
    assert plan_of(zoned_fleet("n5"), spec).waves[0].name == "repair"


def test_nodes_37_a_broken_node_that_holds_up_nothing_waits_for_its_zone() -> None:
    roomy = make_item(
        "agent", {"set": {"image": {"agent": "agent:2"}}}, strategy={"maxUnavailable": 2}
    )
    in_order = [["n0", "n3"], ["n1", "n4"], ["n5", "n2"]]
    assert waves_of(plan_of(zoned_fleet("n5"), make_spec(roomy, **ZONES))) == in_order
    assert waves_of(plan_of(zoned_fleet("n0", "n3"), make_spec(**ZONES)))[0] == ["n0", "n3"]


def test_a_wave_of_its_own_limit_counts_what_is_broken_behind_it() -> None:
    roomy = make_item(
        "agent", {"set": {"image": {"agent": "agent:2"}}}, strategy={"maxUnavailable": 2}
    )
    waves = [{"name": "repair", "nodes": ["n0"], "maxUnavailable": 1}, {"name": "others"}]
    plan = plan_of(zoned_fleet("n5"), make_spec(roomy, waves=waves))
    assert [wave.name for wave in plan.waves] == ["repair-3", "repair", "others"]
    assert waves_of(plan)[0] == ["n5"]


def test_broken_nodes_go_first() -> None:
    nodes = [make_node(f"n{i}") for i in range(5)]
    pods = [make_pod(f"n{i}", ready=i != 3) for i in range(5)]
    assert waves_of(plan_of(make_fleet(nodes, pods)))[0] == ["n3"]


# Several DaemonSets.


def two(scope: str = "node", **fleets: Any) -> Plan:
    spec = make_spec(
        make_item("driver", {"set": {"image": {"driver": "driver:2"}}}),
        make_item(
            "plugin",
            {"set": {"image": {"plugin": "plugin:2"}}},
            after={"daemonSet": "driver", "scope": scope},
        ),
        waves=[1, "100%"],
    )
    return plan_of(
        [
            fleets.get("driver") or make_fleet(3, name="driver"),
            fleets.get("plugin") or make_fleet(3, name="plugin"),
        ],
        spec,
    )


def test_two_daemonsets_share_their_waves() -> None:
    plan = two()
    assert len(plan.waves) == 2
    after = {step.id: step.after for step in plan.steps}
    assert after["update/plugin/n1"] == ("update/driver/n1",)
    assert plan.totals.nodes == 6


def test_one_behind_the_end_of_the_other_has_waves_of_its_own() -> None:
    plan = two("all")
    assert len(plan.waves) == 4
    by_name = {ds.name: ds for ds in plan.daemon_sets}
    assert {n.wave for n in by_name["driver"].nodes} == {1, 2}
    assert {n.wave for n in by_name["plugin"].nodes} == {3, 4}


def test_three_daemonsets_two_of_them_behind_the_end_of_the_first() -> None:
    items = [
        make_item(name, {"set": {"image": {name: "x:2"}}}, **after)
        for name, after in (
            ("a", {}),
            ("b", {"after": {"daemonSet": "a", "scope": "all"}}),
            ("c", {"after": {"daemonSet": "b"}}),
        )
    ]
    plan = plan_of([make_fleet(2, name=name) for name in "abc"], make_spec(*items))
    assert kinds(plan).count("update") == 6


def test_faults_55_a_cycle_between_two_daemonsets_is_printed() -> None:
    items = [
        make_item("a", {"live": True}, after={"daemonSet": "b"}),
        make_item("b", {"live": True}, after={"daemonSet": "a"}),
    ]
    text = complaint([make_fleet(1, name="a"), make_fleet(1, name="b")], make_spec(*items))
    assert "'after' makes a cycle: " in text
    assert "a -> b -> a" in text or "b -> a -> b" in text


# The document.


def test_a_node_shows_its_pod_with_revision_and_zone() -> None:
    node = nodes_by_name(plan_of(make_fleet([make_node("n1", "a")])))["n1"]
    assert node.zone == "a"
    assert node.pod is not None
    assert (node.pod.name, node.pod.uid) == ("agent-n1", "uid-agent-n1")
    assert (node.pod.revision, node.pod.hash) == (1, "h1")


def test_a_pod_of_a_pruned_revision_has_no_number() -> None:
    fleet = make_fleet(1, [make_pod("n1", hash_="gone", generation="0")])
    pod = nodes_by_name(plan_of(fleet))["n1"].pod
    assert pod is not None
    assert (pod.revision, pod.hash) == (None, "gone")


def test_preconditions_are_in_the_plan() -> None:
    plan = plan_of(make_fleet(1, generation=7))
    ds = the_daemon_set(plan)
    assert plan.cluster.uid == "uid-cluster"
    assert plan.cluster.version == "v1.36.0"
    assert (ds.uid, ds.generation, ds.key) == ("uid-agent", 7, "logging/agent")
    assert ds.current.template_digest != ds.target.template_digest


def test_health_and_limits_are_resolved_to_seconds() -> None:
    plan = plan_of(spec=make_spec(health={"soak": "1m", "nodeTimeout": "5m", "startGrace": 3}))
    assert (plan.health.soak_s, plan.health.node_timeout_s) == (60.0, 300.0)
    assert plan.health.start_grace_s == 3.0


def test_our_own_node_is_in_the_last_wave() -> None:
    plan = plan_of(make_fleet(4), make_spec(waves=[1]), own_node="n1")
    assert waves_of(plan) == [["n2"], ["n3"], ["n4"], ["n1"]]


def test_other_objects_of_a_manifest_are_named() -> None:
    spec = replace(make_spec(LIVE), ignored=("ConfigMap settings",))
    (warning,) = plan_of(make_fleet(1), spec).warnings
    assert warning == "the manifest also holds ConfigMap settings, which rollout leaves alone"


worlds = st.lists(
    st.fixed_dictionaries(
        {
            "zone": st.sampled_from(["", "a", "b"]),
            "ready": st.booleans(),
            "cordoned": st.booleans(),
            "taints": st.sampled_from([(), ((STALE, "NoSchedule"),), (("x", "NoExecute"),)]),
        }
    ),
    max_size=8,
)
bodies = st.fixed_dictionaries(
    {},
    optional={
        "waves": st.sampled_from(["fast", "critical", "manual", [1, 2], [{"by": ZONE}]]),
        "nodes": st.sampled_from([{"cordoned": "exclude"}, {"deferNotReady": False}]),
    },
)


@given(worlds, bodies, st.sampled_from([NEW_IMAGE, {"live": True}, {"restart": True}]))
def test_every_node_is_accounted_for_and_each_update_is_one_step_in_one_wave(
    world: list[dict[str, Any]], body: dict[str, Any], target: Any
) -> None:
    fleet = make_fleet([make_node(f"n{i}", **options) for i, options in enumerate(world)])
    plan = plan_of(fleet, make_spec(make_item(target=target), **body))
    totals = plan.totals
    assert totals.nodes == len(world)
    assert totals.nodes == totals.update + totals.current + totals.deferred + totals.ineligible
    updates = sorted(name for name, fate in fates_of(plan).items() if fate == "update")
    assert sorted(name for wave in waves_of(plan) for name in wave) == updates
    assert [wave.nodes for wave in plan.waves] == [len(wave) for wave in waves_of(plan)]
    for name, node in nodes_by_name(plan).items():
        assert (node.wave is not None) == (node.fate == "update")
        assert node.wave is None or name in waves_of(plan)[node.wave - 1]
    digraph(plan.steps)
