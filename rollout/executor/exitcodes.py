"""Which exit code the end of a run has (README, "Exit codes")."""

from __future__ import annotations

from rollout.errors import ExitCode
from rollout.executor.engine.actions import Finish, Outcome

_EXIT_CODES = {
    Outcome.DONE: ExitCode.DONE,
    Outcome.DEFERRED: ExitCode.DEFERRED,
    Outcome.FAILED_NODES: ExitCode.HELD,
    Outcome.HELD: ExitCode.HELD,
    Outcome.ABORTED: ExitCode.HELD,
    Outcome.DEADLINE: ExitCode.DEADLINE,
    Outcome.INCONCLUSIVE: ExitCode.INCONCLUSIVE,
    Outcome.PAUSED: ExitCode.PAUSED,
    Outcome.DRIFT: ExitCode.STALE,
    Outcome.ROLLED_BACK: ExitCode.ROLLED_BACK,
    Outcome.ROLLBACK_INCOMPLETE: ExitCode.ROLLBACK_INCOMPLETE,
}


def exit_code(finish: Finish) -> ExitCode:
    """Return the exit code of a run (README, "Exit codes")."""
    return _EXIT_CODES.get(finish.outcome, finish.refused)
