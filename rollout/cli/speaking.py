"""What the commands share that say something to a run: who speaks, to which run, and how."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import click

from rollout.cli.options import ClusterOptions
from rollout.cluster.client import Client
from rollout.cluster.identity import identity, whoami
from rollout.errors import ClusterError, NotFound
from rollout.executor.record.keeper import Keeper
from rollout.executor.record.record import AT_WORK, RunRecord, record_name
from rollout.executor.runs import was_interrupted
from rollout.executor.saying import Speaker, require_plan, speaker
from rollout.fleet.objects import format_time


@dataclass(frozen=True, slots=True)
class Hearing:
    """The record of a run, opened to say something."""

    client: Client
    keeper: Keeper
    record: RunRecord  # as it was found
    who: Speaker

    def say(self, change: Callable[[RunRecord, Speaker], RunRecord]) -> RunRecord:
        """Enter a word on top of what others say at the same time; returns the record."""
        return self.keeper.update(self.record.run_id, lambda found: change(found, self.who))

    def at_work(self) -> bool:
        """Whether a process carries the run out: a record alone outlives one that was killed."""
        record = self.keeper.found or self.record
        try:
            return record.phase in AT_WORK and not was_interrupted(self.client, record)
        except ClusterError:  # what was said is said: that the lock can't be read changes nothing
            return True

    def proven(self) -> Speaker:
        """Return the speaker under the cluster's name for us: for voices, which are counted."""
        return speaker(identity(self.client), self.who.at, self.who.reason)


@contextmanager
def hearing(
    cluster: ClusterOptions, rollout: str, reason: str, plan: str = ""
) -> Iterator[Hearing]:
    """Open the record of a rollout's run.

    Args:
        cluster: which cluster.
        rollout: name of the rollout.
        reason: why, for the record.
        plan: id or digest of the plan that is meant; "" for whichever it is.

    Raises:
        NotFound: when there is no run of this name.
        StaleError: when the run carries out another plan.
    """
    client = cluster.connect()
    try:
        keeper = Keeper(client, client.namespace, rollout)
        record = keeper.read()
        if record is None:
            where = f"{client.namespace}/{record_name(rollout)}"
            raise NotFound(f"there is no run of {rollout}: no ConfigMap {where}; check -n")
        require_plan(record, plan)
        now = format_time(client.server_time())
        yield Hearing(client, keeper, record, speaker(whoami(), now, reason))
    finally:
        client.close()


def go_on(record: RunRecord, namespace: str) -> str:
    """Return how a run goes on that nobody carries out now."""
    return f"'rollout resume {record.name} -n {namespace}' (or 'apply' of its plan) goes on"


def stood_still(record: RunRecord) -> str:
    """Return the phase of a run that nobody carries out now."""
    return "interrupted" if record.phase in AT_WORK else record.phase


def tell(text: str, output: str = "table") -> None:
    """Show one line for people; beside the event stream, where that is the output."""
    click.echo(text, err=output == "jsonl")
