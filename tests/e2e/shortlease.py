"""Runs `apply` of a saved plan with a short lease: `python -m tests.e2e.shortlease PLAN SECONDS`.

The command itself has no option for it, as no user needs one.
"""

from __future__ import annotations

import sys
from pathlib import Path

from rollout.cli.running import reporter_for, stop_on_signals
from rollout.cli.saved import read_plan
from rollout.cluster.client import connect
from rollout.executor.applying import carry_out
from rollout.executor.exitcodes import exit_code
from rollout.executor.inbox import Inbox
from rollout.executor.session import begin
from rollout.executor.tuning import Tuning
from rollout.journal.place import Place


def main(path: Path, lease_s: float) -> int:
    plan = read_plan(path)
    client = connect()
    try:
        session = begin(client, plan, Place("none"))
        reporter = reporter_for("jsonl", session.told)
        inbox = Inbox()
        with stop_on_signals(inbox, reporter):
            tuning = Tuning(lease_s=lease_s)
            result = carry_out(client, plan, session, inbox, reporter, tuning=tuning)
        code = exit_code(result.finish)
        reporter.end(result.plan, result, code)
        return code
    finally:
        client.close()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), float(sys.argv[2])))
