"""Background gates in runs of two DaemonSets: each change of either is looked behind."""

from __future__ import annotations

from typing import Any

import pytest

from rollout.executor.engine.actions import Outcome
from rollout.executor.engine.state import Phase
from rollout.gates.context import Context
from tests.simulation.driver import VirtualRun
from tests.simulation.gateworld import Script, World, gate

AFTER = [{}, {"after": {"daemonSet": "log-agent", "scope": "all"}}]


def last_change(run: VirtualRun, name: str) -> float:
    return max(step.started_at for step in run.engine.daemon_sets[name].steps.values())


@pytest.mark.parametrize("second", AFTER)
def test_each_strategy_comes_back_behind_a_pass_that_is_newer_than_its_last_change(
    second: dict[str, Any],
) -> None:
    world = World(4, second=second, waves="fast", gates=[gate("all", "background", interval="2m")])
    script = Script(all=["ok"])
    run = world.start(script)
    restored: dict[str, float] = {}

    def note() -> bool:
        for ds in run.engine.daemon_sets.values():
            if ds.phase in (Phase.RESTORING, Phase.RESTORED):
                restored.setdefault(ds.name, world.clock.now())
        return run.finish is not None

    assert world.clock.run_until(note, 7200.0)
    assert run.finish is not None
    assert run.finish.outcome is Outcome.DONE
    assert set(restored) == {"log-agent", "net-agent"}
    for name, at in restored.items():
        assert any(last_change(run, name) <= seen < at for seen in script.times("all")), name
    run.kill()


@pytest.mark.parametrize("second", AFTER)
def test_a_gate_that_turns_bad_in_the_middle_stops_both(second: dict[str, Any]) -> None:
    world = World(12, second=second, gates=[gate("all", "background", onFailure="rollback")])
    seen: list[Context] = []

    def judge(context: Context) -> str:
        seen.append(context)
        return "bad" if len(context.updated) >= 5 else "ok"

    run = world.start(Script(all=[judge]))
    finish = run.run()
    assert (finish.outcome, finish.reaction) == (Outcome.HELD, "rollback")
    assert {ds.name for ds in seen[-1].daemon_sets} == {"log-agent", "net-agent"}
    assert 5 <= world.deletes <= 5 + 2 * 2 + 2, "nothing starts within more than one interval"
    assert world.clock.now() - seen[-1].now < 10.0


def test_a_background_gate_that_was_good_for_the_first_is_asked_behind_the_second() -> None:
    world = World(
        3,
        second=AFTER[1],
        waves="fast",
        gates=[gate("all", "background", interval="1h")],
    )

    def judge(context: Context) -> str:
        sets = {pod.metadata.controller_uid for pod in context.updated}
        return "bad" if len(sets) == 2 else "ok"

    run = world.start(Script(all=[judge]))
    finish = run.run()
    assert finish.outcome is Outcome.HELD
    assert run.engine.done_count == 6
    assert "gate all (background) failed" in finish.message
