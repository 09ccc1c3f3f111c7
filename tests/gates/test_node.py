"""The gate `node`: conditions, taints, pressure; unknown is not passed."""

from __future__ import annotations

from typing import Any

import pytest

from rollout.gates.measurement import Outcome, Reading
from rollout.gates.node import measure
from tests.fleet.builders import make_node, make_pod
from tests.gates.worlds import a_context, a_gate

WELL = {"Ready": "True", "MemoryPressure": "False", "DiskPressure": "False"}


def look(has: dict[str, str], tainted: tuple[str, ...] = (), **fields: Any) -> tuple[Outcome, str]:
    status = {"conditions": [{"type": t, "status": s} for t, s in has.items()]}
    spec = {"taints": [{"key": key, "effect": "NoSchedule"} for key in tainted]}
    node = make_node("n1", status=status, spec=spec)
    found = measure(a_gate("node", at="after-node", **fields), a_context(node=node))
    return (found.otherwise if isinstance(found, Reading) else found.outcome, found.reason)


def test_a_node_that_is_well_passes() -> None:
    assert look(WELL) == (Outcome.PASSED, "1 nodes are well")


@pytest.mark.parametrize(
    ("conditions", "outcome", "reason"),
    [
        ({"Ready": "False"}, Outcome.FAILED, "n1 has Ready False, not True"),
        ({"Ready": "Unknown"}, Outcome.FAILED, "n1 has Ready Unknown, not True"),
        ({"DiskPressure": "True"}, Outcome.FAILED, "n1 has DiskPressure"),
        ({"PIDPressure": "Unknown"}, Outcome.INCONCLUSIVE, "n1 doesn't know its PIDPressure"),
    ],
)
def test_a_node_that_is_not_well_says_why(
    conditions: dict[str, str], outcome: Outcome, reason: str
) -> None:
    assert look(WELL | conditions) == (outcome, reason)


@pytest.mark.parametrize("at", ["after-wave", "after-run", "background"])
def test_old_nodes_stand_for_no_updated_one(at: str) -> None:
    old = make_pod("log-agent-x", "n1")
    found = measure(a_gate("node", at=at), a_context(control=(old,), updated_nodes=()))
    assert not isinstance(found, Reading)
    assert found.outcome is Outcome.NO_DATA


def test_a_condition_that_is_not_there_is_no_data() -> None:
    assert look({}) == (Outcome.NO_DATA, "n1 has no condition Ready")


def test_a_condition_may_be_wanted_false() -> None:
    wanted = {"KernelDeadlock": "False"}
    assert look(WELL | {"KernelDeadlock": "False"}, conditions=wanted)[0] is Outcome.PASSED
    assert look(WELL | {"KernelDeadlock": "True"}, conditions=wanted)[0] is Outcome.FAILED


def test_pressure_may_be_left_out() -> None:
    assert look(WELL | {"MemoryPressure": "True"}, pressure=False)[0] is Outcome.PASSED


def test_a_taint_that_must_not_be_there_fails() -> None:
    assert look(WELL, ("repair",), taints=["repair"]) == (
        Outcome.FAILED,
        "n1 has the taint repair:NoSchedule",
    )
    assert look(WELL, ("other",), taints=["repair"])[0] is Outcome.PASSED
