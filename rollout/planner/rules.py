"""The spec's rules as the plan carries them: every default said, every percentage a number."""

from __future__ import annotations

from rollout.planner import budget
from rollout.planner.plan import FailureRules, HealthRules, Limit, RunLimits, Wave
from rollout.planner.waves import PlannedWave
from rollout.quantity import parse_amount
from rollout.spec import Body


def wave(planned: PlannedWave, base: int, body: Body) -> Wave:
    """Return one wave.

    Args:
        planned: its nodes.
        base: nodes that should run the pod; what `maxUnavailable` is taken of.
        body: of the spec.
    """
    return Wave(
        name=planned.name,
        nodes=len(planned.nodes),
        rule=planned.rule,
        bake_s=planned.bake_s,
        max_unavailable=_resolved(planned.max_unavailable, base),
        max_failures=_resolved(body.failure.max_failures_per_wave, len(planned.nodes)),
        pause=planned.pause,
    )


def health(body: Body) -> HealthRules:
    """Return when a node is done and when it has failed."""
    rules = body.health
    return HealthRules(
        soak_s=rules.soak_s,
        node_timeout_s=rules.node_timeout_s,
        start_grace_s=rules.start_grace_s,
        max_restarts=rules.max_restarts,
        pause_restarts=rules.pause_restarts,
        max_flaps=rules.max_flaps,
        progress_deadline_s=rules.progress_deadline_s,
        fail_fast=rules.fail_fast,
    )


def failure(body: Body, updates: int) -> FailureRules:
    """Return how many failures the run survives; percentages are of its replacements."""
    rules = body.failure
    return FailureRules(
        max_failures=budget.resolved(parse_amount(rules.max_failures), updates),
        max_consecutive=rules.max_consecutive,
        max_in_trouble=rules.max_in_trouble,
        max_unreachable=budget.resolved(parse_amount(rules.max_unreachable), updates),
        pause_after=_resolved(rules.pause_after, updates),
        sequential_test=rules.sequential_test,
        on_failure=rules.on_failure,
    )


def _resolved(amount: int | str | None, base: int) -> Limit | None:
    return None if amount is None else budget.resolved(parse_amount(amount), base)


def limits(body: Body) -> RunLimits:
    """Return the limits over all DaemonSets."""
    return RunLimits(
        replacements_per_second=body.limits.replacements_per_second,
        max_nodes_in_flight=body.limits.max_nodes_in_flight,
        max_per_zone=body.limits.max_per_zone,
        max_broken_zones=body.limits.max_broken_zones,
    )
