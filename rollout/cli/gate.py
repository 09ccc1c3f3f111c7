"""`rollout gate`: look at the gates of a spec, and measure one of them now."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from rollout.cli.allowing import Allowed, allow_options
from rollout.cli.options import FILE, ClusterOptions, cluster_options
from rollout.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from rollout.gates.context import WaveInfo
    from rollout.gates.measurement import Measurement
    from rollout.planner.plan import Plan
    from rollout.spec import LoadedSpec

_KINDS = {
    "pods": "availability, restarts and waiting reasons of the new pods, against the old ones",
    "node": "conditions, taints and pressure of the node",
    "events": "Warning events of the new pods, newer than their step",
    "logs": "a pattern in the logs of the new pods",
    "resources": "CPU and memory of the new pods, from metrics.k8s.io",
    "prometheus": "a query of a Prometheus server, or its alerts",
    "http": "status and content of an answer, also of the node's own pod",
    "webhook": "a POST whose status decides; or, as a trip, takes the release back",
    "command": "the exit code of a program on this machine, where commands are allowed",
    "job": "a Kubernetes Job on the updated node",
    "approval": "so many people's word, none of them the plan's author",
    "pause": "a length of time",
    "window": "times of the week in which something may begin",
    "plugin": "what an installed package brings (entry point group rollout.gates)",
}


@click.group()
def gate() -> None:
    """Look at gates, and measure one of them now.

    \b
    Example:
      rollout gate run plans/error-rate-canary.yaml error-rate
    """


@gate.command("list", short_help="List the kinds of gates, or the gates of a spec.")
@click.argument("spec", type=FILE, required=False)
def list_(*, spec: Path | None) -> None:
    """List the kinds of gates; with a SPEC, its gates, where they stand and what they bear.

    \b
    Example:
      rollout gate list plans/error-rate-canary.yaml
    """
    from rollout.report.table import text_table

    if spec is None:
        click.echo(text_table(("KIND", "LOOKS AT"), list(_KINDS.items())))
        return
    from rollout.planner.gateplaces import resolve
    from rollout.report.gates import (
        GATE_HEADERS,
        failing_text,
        measured_text,
        where_text,
    )
    from rollout.specfile import load_spec

    body = load_spec(spec).spec.spec
    rows = [
        (
            g.name,
            g.kind,
            g.at,
            where_text(g),
            measured_text(g),
            failing_text(g, body.failure.on_failure),
        )
        for g in resolve(body, body.health.soak_s)
    ]
    click.echo(text_table(GATE_HEADERS, rows) if rows else "The spec has no gates.")


@gate.command()
@click.argument("spec", type=FILE)
@click.argument("name")
@click.option("--node", help="Measure it for this node.")
@click.option("--age", metavar="DURATION", help="Take the change to be so old, as in 5m.")
@click.option("--wave", metavar="NAME", help="Take this wave to be the gate's.")
@allow_options
@cluster_options
def run(
    *,
    spec: Path,
    name: str,
    node: str | None,
    age: str | None,
    wave: str | None,
    allowed: Allowed,
    cluster: ClusterOptions,
) -> int:
    """Measure the gate NAME of a SPEC once, now, and exit by what it says; changes no node.

    0: it passes. 3: it fails. 9: it is inconclusive, has no data, waits, or could not be measured.
    A Job is waited for. Outside of a run there is no change yet: what a gate needs of it, --age and
    --wave say.

    \b
    Example:
      rollout gate run plans/maintenance-window.yaml windows
    """
    from rollout.cli.planning import make_plan, read_spec
    from rollout.gates.measurement import Outcome

    loaded = read_spec(spec, None)
    settings = allowed.settings()
    client = cluster.connect()
    try:
        plan = make_plan(client, loaded, cluster.namespace)
        found = next((g for g in plan.gates if g.name == name), None)
        if found is None:
            known = ", ".join(g.name for g in plan.gates) or "none"
            raise UsageError(f"the spec has no gate '{name}'; it has {known}")
        from rollout.executor.oneshot import Assumed, measure_once

        assumed = Assumed(node, _age(age), _wave(loaded, plan, wave))
        measured = measure_once(client, plan, found, settings, assumed)
    finally:
        client.close()
    click.echo(_text(plan, name, measured))
    if measured.outcome is Outcome.PASSED:
        return ExitCode.DONE
    failed = measured.outcome is Outcome.FAILED or (
        measured.outcome is Outcome.NO_DATA and found.on_no_data == "failure"
    )
    return ExitCode.HELD if failed else ExitCode.INCONCLUSIVE


def _age(text: str | None) -> float | None:
    from rollout.quantity import parse_duration

    if text is None:
        return None
    try:
        return parse_duration(text)
    except ValueError as error:
        raise UsageError(f"--age: {error}") from None


def _wave(loaded: LoadedSpec, plan: Plan, name: str | None) -> WaveInfo | None:
    """Return a wave of the plan; where nothing is left to update, one that the spec names."""
    from rollout.gates.context import WaveInfo
    from rollout.spec import WaveRule

    if name is None:
        return None
    rules = loaded.spec.spec.waves
    written = rules if isinstance(rules, tuple) else ()
    names = [wave.name for wave in plan.waves] or [
        rule.name if isinstance(rule, WaveRule) else "" for rule in written
    ]
    if name not in names:
        known = ", ".join(filter(None, names)) or "none"
        raise UsageError(f"the plan has no wave '{name}'; it has {known}")
    return WaveInfo(names.index(name) + 1, name)


def _text(plan: Plan, name: str, measured: Measurement) -> str:
    value = f" ({measured.value})" if measured.value else ""
    why = f": {measured.reason}" if measured.reason else ""
    return f"gate {name} of rollout {plan.name}: {measured.outcome.value}{value}{why}"
