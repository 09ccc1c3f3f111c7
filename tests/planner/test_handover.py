from __future__ import annotations

from typing import Any

import msgspec
import pytest

from rollout.errors import DocumentError
from rollout.fleet.objects import LabelSelector
from rollout.fleet.selecting import Selecting, Selectors
from rollout.planner.build import Subject, build_plan
from rollout.planner.desired import desired_state
from rollout.planner.handover import choose_release, refusal
from rollout.planner.plan import Plan
from tests.planner.worlds import (
    NOW,
    make_fleet,
    make_item,
    make_spec,
    make_template,
    the_daemon_set,
)

LABELS = {"app": "agent", "tier": "node"}


def selector(**labels: str) -> LabelSelector:
    return LabelSelector(match_labels=labels)


def expression(key: str, operator: str, *values: str) -> LabelSelector:
    raw = {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}
    return msgspec.convert(raw, LabelSelector)


SERVICE = Selecting("Service", "agent", selector(app="agent"))
BUDGET = Selecting("PodDisruptionBudget", "agents", selector(app="agent", tier="node"))
OTHER = Selecting("Service", "other", selector(app="other"))


def ports(**port: Any) -> dict[str, Any]:
    template = make_template()
    template["spec"]["containers"][0]["ports"] = [port]
    return template


def test_two_pods_side_by_side_are_refused_where_they_would_take_the_same_port() -> None:
    text = refusal(ports(containerPort=80, hostPort=8080))
    assert "container agent takes hostPort 8080" in text
    on_host = ports(containerPort=80)
    on_host["spec"]["hostNetwork"] = True
    assert "hostNetwork" in refusal(on_host)
    assert "port 80" in refusal(on_host)


@pytest.mark.parametrize("template", [make_template(), make_template(hostNetwork=True)])
def test_pods_without_ports_of_the_host_fit_side_by_side(template: dict[str, Any]) -> None:
    assert refusal(template) == ""
    assert refusal(ports(containerPort=80)) == ""


def test_the_label_that_fewest_others_select_is_released() -> None:
    release = choose_release(selector(app="agent", tier="node"), LABELS, [SERVICE, OTHER])
    assert release is not None
    assert (release.label, release.value, release.affected) == ("tier", "node", ())


def test_whoever_selects_the_label_is_named() -> None:
    release = choose_release(selector(app="agent"), LABELS, [SERVICE, BUDGET, OTHER])
    assert release is not None
    assert release.affected == ("Service agent", "PodDisruptionBudget agents")


@pytest.mark.parametrize(
    ("own", "label"),
    [
        (expression("app", "In", "agent"), "app"),
        (expression("tier", "Exists"), "tier"),
        (expression("gpu", "DoesNotExist"), None),
        (expression("tier", "NotIn", "x"), None),
        (selector(app="agent"), "app"),
        (selector(), None),
    ],
)
def test_only_a_label_whose_absence_breaks_the_selector_can_be_released(
    own: LabelSelector, label: str | None
) -> None:
    release = choose_release(own, LABELS, ())
    assert (release.label if release else None) == label


@pytest.mark.parametrize("kind", ["DaemonSet", "ReplicaSet", "ReplicationController"])
def test_a_label_behind_which_a_controller_takes_the_pods_over_is_not_released(kind: str) -> None:
    other = Selecting(kind, "other", selector(tier="node"))
    release = choose_release(selector(app="agent", tier="node"), LABELS, [BUDGET, other])
    assert release is not None
    assert (release.label, release.adopters) == ("tier", ())


def test_who_adopts_whatever_is_released_is_named() -> None:
    by_mark = expression("rollout/released-from", "Exists")
    other = Selecting("ReplicaSet", "other", by_mark)
    release = choose_release(selector(app="agent"), LABELS, [other])
    assert release is not None
    assert release.adopters == ("ReplicaSet other",)


def test_a_stateful_set_adopts_by_name_only() -> None:
    other = Selecting("StatefulSet", "db", selector(tier="node"))
    release = choose_release(selector(app="agent"), LABELS, [other])
    assert release is not None
    assert (release.adopters, release.counting) == ((), ("StatefulSet db",))


# In the plan.


def surge_plan(
    template: dict[str, Any] | None = None,
    others: tuple[Selecting, ...] = (SERVICE,),
    unseen: tuple[str, ...] = (),
    **more: Any,
) -> Plan:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": "10%"}}
    fleet = make_fleet(11, template=template, strategy=strategy, **more)
    spec = make_spec(make_item())
    wanted = desired_state(spec, 0, spec.spec.spec.daemon_sets[0], fleet, "")
    return build_plan(spec, [Subject(fleet, wanted, Selectors(others, unseen))], "v1.36.0", NOW)


def test_surge_is_planned_as_a_hand_over_with_its_budget_and_warnings() -> None:
    plan = surge_plan()
    ds = the_daemon_set(plan)
    assert ds.hand_over is not None
    assert (ds.hand_over.label, ds.hand_over.affected) == ("app", ("Service agent",))
    assert ds.budget.text == "10% of 11 = 2"
    (warning,) = plan.warnings
    assert "Service agent no longer selects them" in warning


def test_surge_that_cannot_work_is_refused_with_the_reason_and_the_way_out() -> None:
    with pytest.raises(DocumentError) as caught:
        surge_plan(ports(containerPort=80, hostPort=8080))
    text = str(caught.value)
    assert "maxSurge 10% of 11 = 2: DaemonSet agent cannot surge: container agent takes" in text
    assert "write 'strategy: {maxUnavailable: 1, maxSurge: 0}' for it" in text


def test_surge_is_refused_where_another_controller_would_take_old_pods_over() -> None:
    everything = Selecting("ReplicaSet", "greedy", expression("gpu", "DoesNotExist"))
    with pytest.raises(DocumentError) as caught:
        surge_plan(others=(everything,))
    text = str(caught.value)
    assert "cannot surge: ReplicaSet greedy would take over an old pod without the label app" in (
        text
    )


def test_a_stateful_set_that_selects_old_pods_is_told_of() -> None:
    everything = Selecting("StatefulSet", "db", expression("gpu", "DoesNotExist"))
    (warning,) = surge_plan(others=(everything,)).warnings
    assert "old pods without the label app are selected by StatefulSet db" in warning


def test_controllers_that_may_not_be_listed_are_warned_of_where_pods_are_handed_over() -> None:
    unseen = ("Service", "DaemonSet", "ReplicaSet", "StatefulSet")
    (warning,) = surge_plan(others=(), unseen=unseen).warnings
    assert "DaemonSets and ReplicaSets of namespace logging may not be listed" in warning
    assert "old pods without the label app" in warning
    assert "'kubectl get daemonsets,replicasets -n logging -o wide'" in warning
    assert surge_plan(others=(), unseen=("Service",)).warnings == ()
