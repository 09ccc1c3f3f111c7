"""What a container does once its image runs: get ready, flap, crash, be started again.

Works on the `PodRun` of its pod, which holds what it has come to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rollout.sim.images import Fault, FaultKind
from rollout.sim.podhost import Program
from rollout.sim.podstatus import ContainerRun, terminated, waiting
from rollout.sim.store import Object
from rollout.sim.timestamps import rfc3339

if TYPE_CHECKING:
    from rollout.sim.podrun import PodRun

FIRST_BACKOFF: Final = 10.0  # seconds, of crash loops and image pulls
LAST_BACKOFF: Final = 300.0
CRASH_FORGIVEN: Final = 600.0  # a container that ran this long starts its backoff anew
CRASH_AT_START: Final = 0.5
FIRST_RESTART: Final = 1.0
FLAP_UP: Final = 8.0
FLAP_DOWN: Final = 5.0
JOB_RUN: Final = 1.0


def follow(run: PodRun, container: ContainerRun, until_ready: float = 0.0) -> None:
    """Do what the image does once it runs."""
    program = run.programs[container.name]
    run.cancel_program(program)
    program.fault = fault = run.behaviour(container).fault
    kind = fault.kind if fault is not None else None
    crashes_first = kind is FaultKind.CRASH and fault is not None and not fault.after
    container.ready = not (until_ready or crashes_first or kind is FaultKind.NEVER_READY)
    if kind is FaultKind.NEVER_READY:
        message = "Readiness probe failed: HTTP probe failed with statuscode: 503"
        run.host.record(run, "Warning", "Unhealthy", message)
    elif until_ready:
        run.program_later(program, until_ready, lambda: _turn_ready(run, container))
    else:
        _schedule_fault(run, container, program, fault)


def _turn_ready(run: PodRun, container: ContainerRun) -> None:
    follow(run, container)
    run.report()
    run.settle()


def _schedule_fault(
    run: PodRun, container: ContainerRun, program: Program, fault: Fault | None
) -> None:
    kind, after = (fault.kind, fault.after) if fault is not None else (None, None)
    if kind is FaultKind.CRASH and fault is not None:
        delay = after or CRASH_AT_START
        run.program_later(program, delay, lambda: _exit(run, container, fault.exit_code))
    elif kind is FaultKind.FLAP:
        run.program_later(program, after or FLAP_UP, lambda: _flap(run, container))
    elif kind is FaultKind.KILLS_NODE:
        delay = CRASH_AT_START if after is None else after
        run.program_later(program, delay, lambda: run.host.lose_node(run.node))
    elif kind is FaultKind.EXITS and fault is not None:
        delay = JOB_RUN if after is None else after
        run.program_later(program, delay, lambda: _exit(run, container, fault.exit_code))
    elif run.restart_policy != "Always":
        run.program_later(program, JOB_RUN, lambda: _exit(run, container, 0))


def _flap(run: PodRun, container: ContainerRun) -> None:
    program = run.programs[container.name]
    fault = program.fault
    container.ready = not container.ready
    if not container.ready:
        message = "Readiness probe failed: HTTP probe failed with statuscode: 503"
        run.host.record(run, "Warning", "Unhealthy", message)
    run.report()
    up = (fault.after if fault else None) or FLAP_UP
    down = (fault.lasts if fault else None) or FLAP_DOWN
    run.program_later(program, up if container.ready else down, lambda: _flap(run, container))


def _exit(run: PodRun, container: ContainerRun, exit_code: int) -> None:
    """End a container by itself; start it again as the restart policy says."""
    program = run.programs[container.name]
    now = run.host.clock.now()
    reason = (program.fault.reason if program.fault else "") or (
        "Error" if exit_code else "Completed"
    )
    ended = terminated(container, run.uid, rfc3339(now), exit_code=exit_code, reason=reason)
    container.ready = False
    if run.restart_policy == "Never" or (run.restart_policy == "OnFailure" and not exit_code):
        container.state = ended
        run.finish_if_all_ended()
        return
    if now - program.started >= CRASH_FORGIVEN:
        program.delay = 0.0
    _await_restart(run, container, program, ended)


def _await_restart(run: PodRun, container: ContainerRun, program: Program, ended: Object) -> None:
    if program.delay:
        message = (
            f"back-off {_seconds(program.delay)} restarting failed container={container.name} "
            f"pod={run.key[1]}_{run.key[0]}({run.uid})"
        )
        container.state, container.last_state = waiting("CrashLoopBackOff", message), ended
        run.host.record(
            run,
            "Warning",
            "BackOff",
            f"Back-off restarting failed container {container.name} in pod "
            f"{run.key[1]}_{run.key[0]}({run.uid})",
        )
    else:
        container.state = ended
    wait = program.delay or FIRST_RESTART
    program.delay = min(program.delay * 2 or FIRST_BACKOFF, LAST_BACKOFF)
    run.program_later(program, wait, lambda: _restart(run, container))
    run.report()


def _restart(run: PodRun, container: ContainerRun) -> None:
    if "terminated" in container.state:
        container.last_state = container.state
    container.restarts += 1
    run.start(container, 0.0)
    run.report()
    run.settle()


def _seconds(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
