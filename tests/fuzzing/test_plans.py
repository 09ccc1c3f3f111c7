"""Plan documents of any kind: read or refused; what is read can be shown in every format."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollout.errors import DocumentError, RolloutError
from rollout.fleet.objects import parse_time
from rollout.fleet.revisions import canonical_json
from rollout.planner import plan as planning
from rollout.planner.graph import check_names, digraph
from rollout.planner.plan import Plan, decode, encode, seal
from rollout.report.dot import plan_dot
from rollout.report.markdown import plan_markdown
from rollout.report.mermaid import plan_mermaid
from rollout.report.table import plan_text
from rollout.report.tree import plan_tree
from rollout.sim.clock import VirtualClock
from rollout.sim.cluster import Cluster
from rollout.sim.fleetfile import default_fleet
from tests.fuzzing.mutations import damaged_value
from tests.simulation.driver import make_plan

SETTINGS = settings(max_examples=150, deadline=None)
FORMATS: tuple[Callable[[Plan], str], ...] = (
    plan_text,
    plan_markdown,
    plan_mermaid,
    plan_dot,
    plan_tree,
)


@pytest.fixture(scope="module")
def good() -> Plan:
    cluster = Cluster(VirtualClock(), default_fleet(4, 2))
    cluster.start()
    target = {"set": {"image": {"agent": "log-agent:2.4"}}}
    made = make_plan(cluster, {"daemonSets": [{"name": "log-agent", "target": target}]})
    return seal(msgspec.structs.replace(made, valid_for_s=86400.0))


@SETTINGS
@given(data=st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    with pytest.raises(DocumentError):
        decode(data, "plan.json")


@SETTINGS
@given(data=st.data())
def test_a_plan_that_somebody_changed_and_sealed_anew_does_no_harm(
    good: Plan, data: st.DataObject
) -> None:
    document = data.draw(damaged_value(msgspec.json.decode(encode(good))))
    try:
        forged = encode(seal(msgspec.convert(document, Plan)))
        plan = decode(forged, "plan.json")
        digraph(plan.steps)
        check_names(plan)
    except (DocumentError, msgspec.ValidationError):
        return
    for render in FORMATS:
        with contextlib.suppress(RolloutError):  # a documented error is as good
            assert isinstance(render(plan), str)


@SETTINGS
@given(
    created_at=st.one_of(
        st.text(max_size=40), st.datetimes().map(str), st.just("9999-12-31T23:59:59Z")
    ),
    valid_for_s=st.one_of(st.none(), st.floats(), st.integers(), st.text(max_size=5)),
    expires_at=st.one_of(st.none(), st.text(max_size=30), st.datetimes().map(str)),
)
def test_any_other_times_are_refused_or_begin_before_they_end(
    good: Plan, created_at: str, valid_for_s: object, expires_at: str | None
) -> None:
    given_times = {"createdAt": created_at, "validForS": valid_for_s, "expiresAt": expires_at}
    document = {**msgspec.json.decode(encode(good)), **given_times}
    with pytest.raises(DocumentError, match="was changed"):
        decode(canonical_json(document) + b"\n", "plan.json")
    try:
        forged = seal(msgspec.convert(document, Plan))
    except (DocumentError, msgspec.ValidationError):
        return
    plan = decode(encode(forged), "plan.json")
    if plan.expires_at:
        assert parse_time(plan.created_at) < parse_time(plan.expires_at)


@SETTINGS
@given(version=st.one_of(st.integers(), st.text(max_size=5), st.none()))
def test_any_other_schema_is_named(good: Plan, version: object) -> None:
    if version == planning.SCHEMA_VERSION:
        return
    document = {**msgspec.json.decode(encode(good)), "schemaVersion": version}
    with pytest.raises(DocumentError, match="plan schema"):
        decode(msgspec.json.encode(document), "plan.json")
