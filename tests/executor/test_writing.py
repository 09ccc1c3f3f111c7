"""Patches that wait for their turn, and what has changed meanwhile."""

from __future__ import annotations

from pathlib import Path

from rollout.cluster.client import PatchKind
from rollout.cluster.fleet import daemon_set_path, read_fleet
from rollout.executor import events as ev
from rollout.executor.actions import Prepare
from rollout.executor.engine import Engine
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
