"""Writes that wait for their turn: for others, and for the record that explains them."""

from __future__ import annotations

from pathlib import Path

import pytest

from rollout.cluster.client import PatchKind
from rollout.cluster.fleet import daemon_set_path, read_fleet
from rollout.executor.engine import events as ev
from rollout.executor.engine.actions import DeletePod, Prepare
from rollout.executor.engine.engine import Engine
from rollout.executor.writing import Writer
from rollout.fleet.objects import DaemonSet
from tests.executor.runworld import run_world


def test_a_patch_is_not_made_on_a_strategy_that_somebody_has_changed_meanwhile(
    tmp_path: Path,
) -> None:
    with run_world(tmp_path) as world:
        client, plan = world.client(), world.planned()
        engine = Engine(plan)
        fleet = read_fleet(client, "logging", "log-agent", cluster_uid="", nodes=())
        engine.observe(ev.DaemonSetSeen("log-agent", fleet.daemon_set), 0.0)
        engine.observe(ev.RevisionsSeen("log-agent", fleet.revisions), 0.0)
        assert engine.decide(0.0) == [Prepare("log-agent")]
        theirs = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 3, "maxSurge": 0}}
        path = daemon_set_path("logging", "log-agent")
        edit = {"spec": {"updateStrategy": theirs}}
        edited = client.patch(path, edit, PatchKind.MERGE, DaemonSet)
        engine.observe(ev.DaemonSetSeen("log-agent", edited), 1.0)
        told: list[ev.Event] = []

        Writer(client, plan, engine, "run-1", told.append).perform(Prepare("log-agent"))

        assert told == [ev.Answered(Prepare("log-agent"), ev.Answer.CONFLICT)]
        assert client.get(path, DaemonSet).spec.update_strategy == theirs


def test_a_defect_in_what_explains_a_delete_keeps_no_run_waiting_for_its_answer(
    tmp_path: Path,
) -> None:
    """No node is blamed for it, and no pod is deleted (S4)."""

    def explained() -> None:
        raise ZeroDivisionError("ours")

    with run_world(tmp_path) as world:
        plan, told = world.planned(), list[ev.Event]()
        delete = DeletePod("log-agent", "node-000", "log-agent-x", "uid")
        writer = Writer(world.client(), plan, Engine(plan), "run-1", told.append)

        with pytest.raises(ZeroDivisionError):
            writer.perform(delete, explained)

    why = "the run record could not be written: ZeroDivisionError('ours')"
    assert told == [ev.Answered(delete, ev.Answer.NOT_ALLOWED, why)]
