"""One line why nothing moves, always: also before the run has begun, and while it only waits."""

from __future__ import annotations

from pathlib import Path

import pytest

from rollout.executor.engine.actions import Outcome
from tests.executor.runworld import run_world


@pytest.mark.parametrize(
    ("match", "said"),
    [
        ("verbs: [list], resources: [nodes]", "waiting for the first list of nodes"),
        ("verbs: [patch], resources: [daemonsets]", "waiting for the API server to take the patch"),
        ("verbs: [delete], resources: [pods]", "the API server has not answered the delete"),
    ],
)
def test_a_heartbeat_names_the_answer_that_is_waited_for(
    tmp_path: Path, match: str, said: str
) -> None:
    faults = f"faults: [{{name: slow, match: {{users: [runner], {match}}}, delay: 3s, count: 1}}]"
    with run_world(tmp_path, faults) as world:
        result, heard = world.apply(world.planned(strategy={"maxUnavailable": 1}))
        assert world.hits("slow") == 1
    assert result.finish.outcome is Outcome.DONE
    assert any(said in line for line in heard.said), heard.said
