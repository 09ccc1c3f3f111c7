from __future__ import annotations

import copy
from typing import Any

import pytest

from rollout.sim import decoding, defaults, patches, validation
from rollout.sim.resources import DAEMONSETS
from tests.sim.recorded import answer, request

REFUSED = [
    "create, labels do not match selector",
    "create, both limits zero",
    "create, both limits set",
    "create, percent over 100",
    "create, percent malformed",
    "create, unknown strategy",
    "create, negative minReadySeconds",
]
ROLLING = "spec.updateStrategy.rollingUpdate"


def body(template: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    found: dict[str, Any] = copy.deepcopy(request("03", "create with defaults"))
    found["spec"].update(spec)
    found["spec"]["template"]["spec"].update(template or {})
    return found


def stored(sent: dict[str, Any]) -> dict[str, Any]:
    return defaults.with_defaults(DAEMONSETS, decoding.decode(DAEMONSETS, sent)[0])


def complaints(sent: dict[str, Any]) -> list[tuple[str, str]]:
    causes = validation.validate_create(DAEMONSETS, stored(sent))
    return [(cause.field, cause.message) for cause in causes]


def limits(**values: Any) -> dict[str, Any]:
    return body(updateStrategy={"type": "RollingUpdate", "rollingUpdate": values})


@pytest.mark.parametrize("name", REFUSED)
def test_recorded_refusals(name: str) -> None:
    causes = validation.validate_create(DAEMONSETS, stored(request("03", name)))
    assert validation.invalid(DAEMONSETS, "agent", causes).body() == answer("03", name)


@pytest.mark.parametrize("name", ["selector is immutable", "patch with wrong uid"])
def test_recorded_refusals_of_changes(name: str) -> None:
    old = answer("03", "get when available")
    new = patches.merge_patch(old, request("03", name))
    causes = validation.validate_update(DAEMONSETS, new, old)
    assert validation.invalid(DAEMONSETS, "agent", causes).body() == answer("03", name)


@pytest.mark.parametrize(
    "values",
    [
        {"maxUnavailable": 1},
        {"maxUnavailable": 5000},  # numbers have no upper limit
        {"maxUnavailable": "100%"},
        {"maxUnavailable": 0, "maxSurge": 1},
        {"maxUnavailable": "0%", "maxSurge": "1%"},
    ],
)
def test_exactly_one_limit_may_be_non_zero(values: dict[str, Any]) -> None:
    assert complaints(limits(**values)) == []


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (
            {"maxSurge": 1},  # maxUnavailable defaults to 1
            [("maxSurge", "Invalid value: 1: may not be set when maxUnavailable is non-zero")],
        ),
        (
            {"maxUnavailable": "10%", "maxSurge": "10%"},
            [("maxSurge", 'Invalid value: "10%": may not be set when maxUnavailable is non-zero')],
        ),
        (
            {"maxUnavailable": "0%", "maxSurge": 0},
            [("maxUnavailable", "Required value: cannot be 0 when maxSurge is 0")],
        ),
        (
            {"maxUnavailable": -1},
            [("maxUnavailable", "Invalid value: -1: must be greater than or equal to 0")],
        ),
        (
            {"maxUnavailable": 0, "maxSurge": "101%"},
            [("maxSurge", 'Invalid value: "101%": must not be greater than 100%')],
        ),
        (
            {"maxUnavailable": 0, "maxSurge": "-5%"},
            [
                (
                    "maxSurge",
                    (
                        'Invalid value: "-5%": a valid percent string must be a numeric string '
                        "followed by an ending '%' (e.g. '1%',  or '93%', regex used for "
                        "validation is '[0-9]+%')"
                    ),
                ),
                ("maxUnavailable", "Required value: cannot be 0 when maxSurge is 0"),
            ],
        ),
    ],
)
def test_limits_that_are_refused(values: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    assert complaints(limits(**values)) == [
        (f"{ROLLING}.{field}", message) for field, message in expected
    ]


def test_nothing_is_looked_at_under_on_delete() -> None:
    strategy = {"type": "OnDelete", "rollingUpdate": {"maxUnavailable": "ten", "maxSurge": -1}}
    assert complaints(body(updateStrategy=strategy)) == []


def test_leftover_limits_are_checked_on_the_way_back() -> None:
    leftover = {"maxUnavailable": "ten", "maxSurge": 0}
    old = stored(body(updateStrategy={"type": "OnDelete", "rollingUpdate": leftover}))
    new = patches.merge_patch(old, {"spec": {"updateStrategy": {"type": "RollingUpdate"}}})
    causes = validation.validate_update(DAEMONSETS, new, old)
    assert [cause.reason for cause in causes] == ["FieldValueInvalid", "FieldValueRequired"]


@pytest.mark.parametrize(
    ("template", "field", "message"),
    [
        (
            {"restartPolicy": "Never"},
            "spec.template.spec.restartPolicy",
            'Unsupported value: "Never": supported values: "Always"',
        ),
        (
            {"activeDeadlineSeconds": 5},
            "spec.template.spec.activeDeadlineSeconds",
            "Forbidden: activeDeadlineSeconds in DaemonSet is not Supported",
        ),
    ],
)
def test_templates_run_always_and_for_ever(
    template: dict[str, Any], field: str, message: str
) -> None:
    assert complaints(body(template)) == [(field, message)]


def test_an_empty_selector_is_refused() -> None:
    assert complaints(body(selector={})) == [
        ("spec.selector", "Invalid value: {}: empty selector is invalid for daemonset")
    ]


def test_a_missing_selector_matches_nothing() -> None:
    assert complaints(body(selector=None)) == [
        (
            "spec.template.metadata.labels",
            'Invalid value: {"app":"agent"}: `selector` does not match template `labels`',
        )
    ]


def test_an_unknown_selector_operator_is_named() -> None:
    selector = {"matchExpressions": [{"key": "app", "operator": "Is", "values": ["agent"]}]}
    assert complaints(body(selector=selector)) == [
        (
            "spec.selector.matchExpressions[0].operator",
            'Invalid value: "Is": not a valid selector operator',
        )
    ]


@pytest.mark.parametrize("field", ["minReadySeconds", "revisionHistoryLimit"])
def test_numbers_are_not_negative(field: str) -> None:
    below, zero = body(), body()
    below["spec"][field], zero["spec"][field] = -1, 0
    text = "Invalid value: -1: must be greater than or equal to 0"
    assert complaints(below) == [(f"spec.{field}", text)]
    assert complaints(zero) == []


def test_an_update_that_leaves_the_spec_alone_is_fine() -> None:
    old = answer("03", "get when available")
    new = patches.merge_patch(old, {"metadata": {"annotations": {"note": "1"}}})
    assert validation.validate_update(DAEMONSETS, new, old) == []


def test_status_numbers_are_not_negative_and_collisions_only_rise() -> None:
    old = answer("03", "get when available")
    old["status"]["collisionCount"] = 2
    new = patches.merge_patch(old, {"status": {"numberReady": -1, "collisionCount": 1}})
    causes = validation.validate_update(DAEMONSETS, new, old, "status")
    assert [(cause.field, cause.message) for cause in causes] == [
        ("status.numberReady", "Invalid value: -1: must be greater than or equal to 0"),
        ("status.collisionCount", "Invalid value: 1: cannot be decremented"),
    ]
