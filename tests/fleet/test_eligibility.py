from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.fleet.eligibility import (
    Eligibility,
    Toleration,
    automatic_tolerations,
    compile_requirements,
    evaluate,
)
from rollout.fleet.objects import Taint

K8S = "node.kubernetes.io"


def decide(
    spec: dict[str, Any] | None = None,
    *taints: Taint,
    name: str = "n1",
    labels: dict[str, str] | None = None,
) -> Eligibility:
    requirements = compile_requirements({"spec": spec or {}})
    return evaluate(requirements, name=name, labels=labels or {}, taints=taints)


def answers(*args: Any, **kwargs: Any) -> tuple[bool, bool]:
    found = decide(*args, **kwargs)
    return found.should_run, found.should_continue


def required(*terms: dict[str, Any]) -> dict[str, Any]:
    key = "requiredDuringSchedulingIgnoredDuringExecution"
    return {"affinity": {"nodeAffinity": {key: {"nodeSelectorTerms": list(terms)}}}}


def expression(key: str, operator: str, *values: str) -> dict[str, Any]:
    return {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}


def field(operator: str, *values: str) -> dict[str, Any]:
    return {"matchFields": [{"key": "metadata.name", "operator": operator, "values": list(values)}]}


def tolerate(key: str = "", operator: str = "", value: str = "", effect: str = "") -> Any:
    item = {"key": key, "operator": operator, "value": value, "effect": effect}
    return {"tolerations": [{k: v for k, v in item.items() if v}]}


EVERYTHING = tolerate(operator="Exists")

# behaviour.md section 1.1, the whole table.
TAINT_ROWS = [
    pytest.param({}, Taint("dedicated", "NoSchedule", "db"), (False, True), id="custom NoSchedule"),
    pytest.param(
        {},
        Taint("node-role.kubernetes.io/control-plane", "NoSchedule"),
        (False, True),
        id="control plane",
    ),
    pytest.param({}, Taint("dedicated", "NoExecute"), (False, False), id="custom NoExecute"),
    pytest.param({}, Taint("dedicated", "PreferNoSchedule"), (True, True), id="PreferNoSchedule"),
    pytest.param({}, Taint(f"{K8S}/unschedulable", "NoSchedule"), (True, True), id="cordoned"),
    pytest.param({}, Taint(f"{K8S}/not-ready", "NoExecute"), (True, True), id="not-ready evicts"),
    pytest.param(
        {}, Taint(f"{K8S}/unreachable", "NoExecute"), (True, True), id="unreachable evicts"
    ),
    pytest.param({}, Taint(f"{K8S}/not-ready", "NoSchedule"), (False, True), id="not-ready"),
    pytest.param({}, Taint(f"{K8S}/unreachable", "NoSchedule"), (False, True), id="unreachable"),
    pytest.param(
        {}, Taint(f"{K8S}/out-of-service", "NoExecute"), (False, False), id="out of service"
    ),
    pytest.param(
        {}, Taint(f"{K8S}/network-unavailable", "NoSchedule"), (False, True), id="no network"
    ),
    pytest.param(
        {"hostNetwork": True},
        Taint(f"{K8S}/network-unavailable", "NoSchedule"),
        (True, True),
        id="no network, hostNetwork",
    ),
    pytest.param({}, Taint(f"{K8S}/disk-pressure", "NoSchedule"), (True, True), id="disk"),
    pytest.param({}, Taint(f"{K8S}/memory-pressure", "NoSchedule"), (True, True), id="memory"),
    pytest.param({}, Taint(f"{K8S}/pid-pressure", "NoSchedule"), (True, True), id="pid"),
    pytest.param({}, Taint(f"{K8S}/disk-pressure", "NoExecute"), (False, False), id="disk evicts"),
    pytest.param(EVERYTHING, Taint("dedicated", "NoExecute"), (True, True), id="tolerates all"),
    pytest.param(
        EVERYTHING, Taint(f"{K8S}/not-ready", "NoSchedule"), (True, True), id="CNI on a dead node"
    ),
]


@pytest.mark.parametrize(("spec", "taint", "expected"), TAINT_ROWS)
def test_taints_decide_as_in_the_controller(
    spec: dict[str, Any], taint: Taint, expected: tuple[bool, bool]
) -> None:
    assert answers(spec, taint) == expected


def test_one_no_execute_among_no_schedules_takes_the_pod_away() -> None:
    both = (Taint("a", "NoSchedule"), Taint("b", "NoExecute", "x"))
    found = decide({}, *both)
    assert (found.should_run, found.should_continue) == (False, False)
    assert found.reason == "taint b=x:NoExecute is not tolerated"


@pytest.mark.parametrize(
    ("spec", "expected", "reason"),
    [
        ({"nodeSelector": {"pool": "a"}}, (True, True), ""),
        ({"nodeSelector": {"pool": "b"}}, (False, False), "nodeSelector pool=b does not match"),
        ({"nodeSelector": {"gpu": ""}}, (False, False), "nodeSelector gpu= does not match"),
        ({"nodeName": "n1"}, (True, True), ""),
        ({"nodeName": "n2"}, (False, False), "the template is bound to node n2"),
        (required(expression("pool", "In", "a", "b")), (True, True), ""),
        (required(expression("pool", "In", "b")), (False, False), "required node affinity does"),
        (required(expression("pool", "NotIn", "b")), (True, True), ""),
        (required(expression("gpu", "NotIn", "b")), (True, True), ""),
        (required(expression("pool", "Exists")), (True, True), ""),
        (required(expression("gpu", "Exists")), (False, False), "required"),
        (required(expression("gpu", "DoesNotExist")), (True, True), ""),
        (required(expression("cores", "Gt", "7")), (True, True), ""),
        (required(expression("cores", "Gt", "8")), (False, False), "required"),
        (required(expression("cores", "Lt", "9")), (True, True), ""),
        (required(expression("pool", "Gt", "1")), (False, False), "required"),
        (required(expression("pool", "Like", "a")), (False, False), "required"),
        (required(field("In", "n1")), (True, True), ""),
        (required(field("NotIn", "n1")), (False, False), "required"),
        (required(expression("pool", "In", "b"), field("In", "n1")), (True, True), ""),
        (required(expression("pool", "In", "a") | field("In", "n2")), (False, False), "required"),
        (required({}), (False, False), "required"),
        (required(), (False, False), "required"),
        ({"affinity": {"nodeAffinity": {}}}, (True, True), ""),
        (
            {"nodeSelector": {"pool": "b"}} | required(expression("pool", "In", "a")),
            (False, False),
            "nodeSelector",
        ),
    ],
)
def test_name_selector_and_affinity_decide_as_in_the_controller(
    spec: dict[str, Any], expected: tuple[bool, bool], reason: str
) -> None:
    found = decide(spec, labels={"pool": "a", "cores": "8"})
    assert (found.should_run, found.should_continue) == expected
    assert found.reason.startswith(reason)
    assert bool(found.reason) == (not found.should_run)


@pytest.mark.parametrize("label", ["1_000", " 9", "9.0", "9" * 20, "x"])
def test_a_label_that_go_does_not_read_as_a_number_is_neither_greater_nor_less(label: str) -> None:
    for operator in ("Gt", "Lt"):
        spec = required(expression("cores", operator, "5"))
        assert answers(spec, labels={"cores": label}) == (False, False)


def test_a_mismatch_takes_the_pod_away_whatever_the_taints() -> None:
    spec = {"nodeSelector": {"pool": "b"}}
    assert answers(spec, Taint("dedicated", "NoSchedule")) == (False, False)


def test_preferred_affinity_resources_and_ports_are_not_looked_at() -> None:
    preferred = {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1}]}
    container = {
        "name": "agent",
        "resources": {"requests": {"cpu": "1000"}},
        "ports": [{"hostPort": 80}],
    }
    spec = {
        "affinity": {"nodeAffinity": preferred, "podAntiAffinity": {}},
        "containers": [container],
    }
    assert answers(spec) == (True, True)


@pytest.mark.parametrize(
    ("toleration", "taint", "tolerated"),
    [
        (("k", "Equal", "v", "NoSchedule"), ("k", "NoSchedule", "v"), True),
        (("k", "Equal", "v", "NoSchedule"), ("k", "NoSchedule", "w"), False),
        (("k", "Equal", "v", "NoSchedule"), ("k", "NoExecute", "v"), False),
        (("k", "Equal", "v", ""), ("k", "NoExecute", "v"), True),
        (("k", "Equal", "", ""), ("k", "NoSchedule", ""), True),
        (("k", "Exists", "", ""), ("k", "NoExecute", "v"), True),
        (("k", "Exists", "", "NoSchedule"), ("k", "NoExecute", "v"), False),
        (("", "Exists", "", ""), ("any", "NoExecute", "v"), True),
        (("", "Exists", "", "NoExecute"), ("any", "NoSchedule", "v"), False),
        (("other", "Exists", "", ""), ("k", "NoSchedule", "v"), False),
    ],
)
def test_a_toleration_accepts_a_taint_as_in_core_v1(
    toleration: tuple[str, str, str, str], taint: tuple[str, str, str], *, tolerated: bool
) -> None:
    assert Toleration(*toleration).tolerates(Taint(*taint)) is tolerated


def test_a_toleration_without_an_operator_means_equal() -> None:
    assert answers(tolerate("k", "", "v"), Taint("k", "NoSchedule", "v")) == (True, True)
    assert answers(tolerate("k", "", "v"), Taint("k", "NoSchedule", "w")) == (False, True)


# behaviour.md section 1.2, the whole table.
AUTOMATIC = [
    ("not-ready", "NoExecute"),
    ("unreachable", "NoExecute"),
    ("disk-pressure", "NoSchedule"),
    ("memory-pressure", "NoSchedule"),
    ("pid-pressure", "NoSchedule"),
    ("unschedulable", "NoSchedule"),
]


def own(key: str, effect: str) -> dict[str, str]:
    return {"key": f"{K8S}/{key}", "operator": "Exists", "effect": effect}


def test_the_controller_adds_six_tolerations_to_every_pod() -> None:
    assert automatic_tolerations({}) == [own(*row) for row in AUTOMATIC]


def test_a_pod_on_the_host_network_also_tolerates_a_missing_network() -> None:
    added = automatic_tolerations({"hostNetwork": True})
    assert added == [*(own(*row) for row in AUTOMATIC), own("network-unavailable", "NoSchedule")]


def test_the_users_own_tolerations_stay_in_front() -> None:
    mine = {"key": "gpu", "operator": "Exists"}
    assert automatic_tolerations({"tolerations": [mine]})[0] == mine


def test_a_matching_toleration_is_overwritten_and_loses_its_seconds() -> None:
    mine = own("not-ready", "NoExecute") | {"tolerationSeconds": 300}
    found = automatic_tolerations({"tolerations": [mine, {"key": "gpu", "operator": "Exists"}]})
    assert found[0] == own("not-ready", "NoExecute")
    assert len(found) == 7


def test_every_matching_toleration_is_overwritten() -> None:
    mine = [own("not-ready", "NoExecute") | {"tolerationSeconds": s} for s in (300, 600)]
    found = automatic_tolerations({"tolerations": mine})
    assert all("tolerationSeconds" not in item for item in found)


def test_a_toleration_of_another_operator_or_effect_is_left_alone() -> None:
    mine = own("not-ready", "NoSchedule") | {"tolerationSeconds": 5}
    assert automatic_tolerations({"tolerations": [mine]})[0] == mine


def test_the_template_itself_is_not_changed() -> None:
    mine = own("not-ready", "NoExecute") | {"tolerationSeconds": 300}
    spec = {"tolerations": [mine]}
    automatic_tolerations(spec)
    assert spec == {"tolerations": [own("not-ready", "NoExecute") | {"tolerationSeconds": 300}]}


names = st.sampled_from(["a", "b", "c"])
effects = st.sampled_from(["NoSchedule", "NoExecute", "PreferNoSchedule"])
taints_ = st.lists(st.builds(Taint, names, effects, st.sampled_from(["", "x"])), max_size=4)
tolerations_ = st.lists(
    st.fixed_dictionaries(
        {"key": names, "operator": st.sampled_from(["Equal", "Exists"])},
        optional={"value": st.just("x"), "effect": effects},
    ),
    max_size=3,
)


@given(taints_, tolerations_)
def test_a_node_that_must_run_the_pod_may_also_keep_it(
    taints: list[Taint], tolerations: list[dict[str, str]]
) -> None:
    found = decide({"tolerations": tolerations}, *taints)
    assert found.should_continue or not found.should_run
    assert bool(found.reason) == (not found.should_run)


@given(taints_, tolerations_, tolerations_)
def test_one_more_toleration_never_takes_a_node_away(
    taints: list[Taint], tolerations: list[dict[str, str]], more: list[dict[str, str]]
) -> None:
    before = answers({"tolerations": tolerations}, *taints)
    after = answers({"tolerations": tolerations + more}, *taints)
    assert after >= before


@given(taints_, tolerations_)
def test_the_order_of_taints_changes_no_answer(
    taints: list[Taint], tolerations: list[dict[str, str]]
) -> None:
    spec = {"tolerations": tolerations}
    assert answers(spec, *taints) == answers(spec, *reversed(taints))
