"""`rollout status`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import click

from rollout.cli.options import DAEMON_SET, ClusterOptions, cluster_options, output_option

if TYPE_CHECKING:
    from rollout.cluster.client import Client
    from rollout.executor.record.record import RunRecord
    from rollout.fleet.objects import JsonObject
    from rollout.fleet.snapshot import Fleet


@click.command()
@click.argument("daemonset", type=DAEMON_SET)
@output_option("table", "json")
@cluster_options
def status(*, daemonset: str, output: str, cluster: ClusterOptions) -> None:
    """Show where a DaemonSet stands: per node, and in one sentence; for OnDelete too.

    \b
    Example:
      rollout status log-agent -n logging
    """
    import msgspec

    from rollout.cli.painting import painted
    from rollout.cluster.fleet import (
        read_fleet,
        read_nodes,
        read_released,
    )
    from rollout.executor.runs import lock_of, was_interrupted
    from rollout.report.state import daemon_set_state, state_text

    client = cluster.connect()
    try:
        fleet = read_fleet(client, client.namespace, daemonset, nodes=read_nodes(client))
        now = client.server_time()
        live = fleet.daemon_set.metadata
        released = read_released(client, live.namespace, live.uid)
        record = _record(client, fleet)
        last = _last_record(client, fleet) if record is None else None
        record = record or _unmarked(fleet, last)
        fleet = replace(fleet, recorded_strategy=_strategy_before(fleet, record or last))
        gone = record is not None and was_interrupted(client, record)
        lock = lock_of(client, live.namespace, live.name)
        state = daemon_set_state(fleet, record, now, released, last, lock, interrupted=gone)
    finally:
        client.close()
    as_json = output == "json"
    click.echo(msgspec.json.encode(state).decode() if as_json else painted(state_text(state)))


def _record(client: Client, fleet: Fleet) -> RunRecord | None:
    """Return the record that the DaemonSet's own marks name, if it can be read."""
    from rollout.errors import Forbidden, StaleError
    from rollout.executor.record.keeper import Keeper
    from rollout.fleet import marks

    annotations = fleet.daemon_set.metadata.annotations
    if marks.ROLLOUT not in annotations:
        return None
    namespace, _, name = annotations[marks.ROLLOUT].partition("/")
    try:
        return Keeper(client, namespace, name).read()
    except Forbidden:
        return None
    except StaleError as error:  # the nodes can be shown all the same
        click.echo(f"warning: {error}", err=True)
        return None


def _strategy_before(fleet: Fleet, record: RunRecord | None) -> JsonObject | None:
    """Return the strategy of before the last run, where it may not be back yet."""
    from rollout.executor.record.record import NOTHING_LEFT

    if record is None or record.phase in NOTHING_LEFT:
        return None
    uid = fleet.daemon_set.metadata.uid
    return next((ds.original_strategy for ds in record.daemon_sets if ds.uid == uid), None)


def _unmarked(fleet: Fleet, last: RunRecord | None) -> RunRecord | None:
    """Return the record of a run that is not done with a DaemonSet that is OnDelete by choice.

    Such a one is not marked; that its template is the run's tells that it has begun.
    """
    from rollout.executor.record.record import ENDED
    from rollout.fleet.revisions import template_digest

    live = fleet.daemon_set
    if last is None or live.strategy_type != "OnDelete":
        return None
    if last.phase in ENDED and last.phase != "aborted":
        return None
    ours = [ds for ds in last.daemon_sets if ds.uid == live.metadata.uid]
    if last.phase in ("rolling back", "rollback incomplete"):
        aims = {ds.previous_digest for ds in ours}
    else:
        aims = {ds.target_digest for ds in ours}
    return last if template_digest(live.spec.template) in aims else None


def _last_record(client: Client, fleet: Fleet) -> RunRecord | None:
    """Return the record of the run that worked on the DaemonSet last, if it can be found."""
    from rollout.errors import Forbidden
    from rollout.executor.runs import read_records

    meta = fleet.daemon_set.metadata
    try:
        found = read_records(client, meta.namespace)
    except Forbidden:
        return None
    records = [
        one.record
        for one in found
        if one.record is not None and any(ds.uid == meta.uid for ds in one.record.daemon_sets)
    ]
    return max(records, key=lambda record: record.order, default=None)
