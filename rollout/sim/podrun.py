"""One pod's life on its node: pull, start, end; what its containers do meanwhile is in `programs`.

A `PodRun` exists while something is going on with a pod; a pod that just runs needs none. It says
what it wants written and when to be called again, and leaves the doing to its `Host`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from rollout.sim import programs
from rollout.sim.clock import Timer
from rollout.sim.images import Behaviour, Fault, FaultKind, Timing
from rollout.sim.podhost import Host, Program
from rollout.sim.podstatus import (
    SIGTERM_GRACE_EXCEEDED,
    ContainerRun,
    container_status,
    read_runs,
    running,
    terminated,
    waiting,
)
from rollout.sim.store import Key, Object
from rollout.sim.timestamps import rfc3339

HEALED_CONFIG: Final = 1.0
PULL_TRY: Final = 1.0


@dataclass(slots=True, eq=False)
class PodRun:
    """One pod on one node."""

    host: Host
    key: Key
    uid: str
    node: str
    restart_policy: str
    containers: list[ContainerRun]
    probed: bool  # has a readiness probe
    programs: dict[str, Program] = field(default_factory=dict)
    phase: str = "Pending"
    sandbox: bool = False
    stopping: bool = False
    ends: float = 0.0  # when it will, once it is stopping
    timer: Timer | None = None

    @classmethod
    def of(cls, host: Host, pod: Object) -> PodRun:
        """Return the run of a pod, in the state that its status tells."""
        meta, spec = pod["metadata"], pod["spec"]
        phase = pod["status"].get("phase", "Pending")
        run = cls(
            host,
            (meta["namespace"], meta["name"]),
            meta["uid"],
            spec["nodeName"],
            spec.get("restartPolicy", "Always"),
            read_runs(pod),
            any("readinessProbe" in container for container in spec["containers"]),
            phase=phase,
            sandbox=phase != "Pending",
        )
        run.programs = {container.name: Program() for container in run.containers}
        return run

    # Starting

    def begin(self) -> None:
        """Take the pod over after it was bound."""
        rejected = self._first_with(FaultKind.REJECTED)
        if rejected is not None:
            self._reject(rejected)
            return
        for container in self.containers:
            container.state = waiting("ContainerCreating")
        self.report()
        self._prepare()

    def _reject(self, fault: Fault) -> None:
        self.phase = "Failed"
        reason = fault.reason or "OutOfcpu"
        message = fault.message or "Pod was rejected: Node didn't have enough resource: cpu"
        self.containers = []
        self.host.record(self, "Warning", reason, message)
        self.report(reason=reason, message=message)
        self.host.settled(self)

    def _prepare(self) -> None:
        """Wait for volumes, then pull and start."""
        if self._first_with(FaultKind.MISSING_CONFIG_MAP) is not None:
            message = 'MountVolume.SetUp failed for volume "config" : configmap "config" not found'
            self.host.record(self, "Warning", "FailedMount", message)
            for container in self.containers:
                self.programs[container.name].fault = self.behaviour(container).fault
            return
        longest = max((self._draw_start(c) for c in self.containers), default=0.0)
        if any(self._unpullable(container) for container in self.containers):
            self._later(min(PULL_TRY, longest), self._start_all)
            return
        for container in self.containers:
            self.host.record(self, "Normal", "Pulling", f'Pulling image "{container.image}"')
        if self.probed:
            self._later(longest / 2, lambda: self._start_all(longest / 2))
        else:
            self._later(longest, self._start_all)

    def _start_all(self, until_ready: float = 0.0) -> None:
        """Start what can be pulled; the rest keeps trying."""
        self.sandbox = True
        for container in self.containers:
            if self._unpullable(container):
                self._pull_failed(container)
            else:
                self._note_pulled(container)
                self.start(container, until_ready)
        self.report()
        self.settle()

    def _note_pulled(self, container: ContainerRun) -> None:
        if not container.pulled:
            message = f'Successfully pulled image "{container.image}"'
            self.host.record(self, "Normal", "Pulled", message)
        container.pulled = True

    def _unpullable(self, container: ContainerRun) -> bool:
        fault = self.behaviour(container).fault
        return fault is not None and fault.kind is FaultKind.UNPULLABLE

    def _pull_failed(self, container: ContainerRun) -> None:
        program = self.programs[container.name]
        program.fault = fault = self.behaviour(container).fault
        message = (fault.message if fault else "") or (
            f'failed to pull and unpack image "{container.image}": not found'
        )
        self.host.record(
            self, "Warning", "Failed", f'Failed to pull image "{container.image}": {message}'
        )
        self.host.record(self, "Warning", "Failed", "Error: ErrImagePull")
        container.state = waiting("ErrImagePull", message)
        program.delay = min(program.delay * 2 or programs.FIRST_BACKOFF, programs.LAST_BACKOFF)
        self.program_later(program, PULL_TRY, lambda: self._back_off_pull(container))

    def _back_off_pull(self, container: ContainerRun) -> None:
        program = self.programs[container.name]
        message = f'Back-off pulling image "{container.image}"'
        self.host.record(self, "Normal", "BackOff", message)
        container.state = waiting("ImagePullBackOff", message)
        self.report()
        self.program_later(program, program.delay, lambda: self._pull_again(container))

    def _pull_again(self, container: ContainerRun) -> None:
        if self._unpullable(container):
            self._pull_failed(container)
        else:
            self.programs[container.name].delay = 0.0
            self._note_pulled(container)
            self.start(container, 0.0)
        self.report()
        self.settle()

    def start(self, container: ContainerRun, until_ready: float) -> None:
        """Start a container; the caller reports it."""
        self.phase = "Running"
        container.state = running(rfc3339(self.host.clock.now()))
        self.programs[container.name].started = self.host.clock.now()
        self.host.record(self, "Normal", "Created", "Container created")
        self.host.record(self, "Normal", "Started", "Container started")
        programs.follow(self, container, until_ready)

    def finish_if_all_ended(self) -> None:
        """End the pod with the last of its containers."""
        if all("terminated" in container.state for container in self.containers):
            failed = any(c.state["terminated"]["exitCode"] for c in self.containers)
            self.phase = "Failed" if failed else "Succeeded"
        self.report()
        self.settle()

    def reconsider(self) -> None:
        """Look at the faults again: somebody has changed them."""
        if self.stopping or self.phase in ("Failed", "Succeeded"):
            self.settle()
            return
        if self.phase == "Pending" and not self.sandbox:
            waits = [p for p in self.programs.values() if p.fault is not None]
            if waits and self._first_with(FaultKind.MISSING_CONFIG_MAP) is None:
                for program in waits:
                    program.fault = None
                self._later(HEALED_CONFIG, self._prepare)
            return
        changed = [
            container
            for container in self.containers
            if container.running
            and self.behaviour(container).fault != self.programs[container.name].fault
        ]
        for container in changed:
            programs.follow(self, container)
        if changed:
            self.report()
        self.settle()

    def reassert(self) -> None:
        """Report the pod again: others wrote to its status while the node was away."""
        self.report()
        self.reconsider()

    def reboot(self, *, doomed: bool) -> None:
        """Go on after the node's reboot: nothing runs, so what was to go is gone.

        Args:
            doomed: whether the pod's deletion was asked for.
        """
        self.cancel()
        if doomed:
            self._end(0)
        elif not self.sandbox:
            self.begin()
        else:
            self._start_again()

    def _start_again(self) -> None:
        for container in self.containers:
            if container.running:
                now = rfc3339(self.host.clock.now())
                container.last_state = terminated(
                    container, self.uid, now, exit_code=255, reason="Unknown"
                )
            if container.running or container.pulled:
                container.restarts += 1
                self.start(container, 0.0)
            else:
                self._pull_again(container)
        self.report()
        self.settle()

    # Ending

    def stop(self, grace: float) -> None:
        """End the pod: its deletion was asked for, with this many seconds at most."""
        stuck = self._first_with(FaultKind.STUCK_TERMINATING)
        if self.stopping:
            return
        self.stopping = True
        self.cancel()
        for container in self.containers:
            if container.running:
                message = f"Stopping container {container.name}"
                self.host.record(self, "Normal", "Killing", message)
        if stuck is not None and stuck.lasts is None:
            return
        wanted = max((self._draw_stop(c) for c in self.containers), default=0.0)
        if stuck is not None and stuck.lasts is not None:
            self._end_after(stuck.lasts, 0)
        elif wanted > grace:
            self._end_after(grace, SIGTERM_GRACE_EXCEEDED)
        else:
            self._end_after(wanted, 0)

    def hurry(self, grace: float) -> None:
        """Shorten the grace period of a pod that is ending."""
        if self.timer is not None and self.ends > self.host.clock.now() + grace:
            self._end_after(grace, SIGTERM_GRACE_EXCEEDED)

    def _end_after(self, delay: float, exit_code: int) -> None:
        self.ends = self.host.clock.now() + delay
        self._later(delay, lambda: self._end(exit_code))

    def _end(self, exit_code: int) -> None:
        now = rfc3339(self.host.clock.now())
        for container in self.containers:
            container.ready = False
            if "terminated" not in container.state:
                container.state = terminated(
                    container,
                    self.uid,
                    now,
                    exit_code=exit_code,
                    reason="Error" if exit_code else "Completed",
                )
        if self.phase not in ("Failed", "Succeeded"):
            self.phase = "Failed" if exit_code else "Succeeded"
        self.report()
        self.host.remove(self)

    # Helpers

    def cancel(self) -> None:
        """Forget everything that was going to happen."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        for program in self.programs.values():
            self.cancel_program(program)

    def statuses(self) -> list[Object]:
        """Return `status.containerStatuses`."""
        return [container_status(container, self.uid) for container in self.containers]

    def cancel_program(self, program: Program) -> None:
        """Forget what was going to happen to a container."""
        if program.timer is not None:
            program.timer.cancel()
            program.timer = None

    def settle(self) -> None:
        """Say so when nothing is going on any more."""
        busy = (
            self.stopping
            or self.timer is not None
            or any(
                program.timer is not None or program.fault is not None or program.delay
                for program in self.programs.values()
            )
        )
        if not busy:
            self.host.settled(self)

    def report(self, reason: str = "", message: str = "") -> None:
        """Write the status of the pod."""
        self.host.write(self, self.phase, sandbox=self.sandbox, reason=reason, message=message)

    def behaviour(self, container: ContainerRun) -> Behaviour:
        """Return what the image of a container does on this node."""
        return self.host.images.behaviour(container.image, self.node)

    def _draw_start(self, container: ContainerRun) -> float:
        timing = self.behaviour(container).start
        assert isinstance(timing, Timing)
        return timing.draw(self.host.rng)

    def _draw_stop(self, container: ContainerRun) -> float:
        timing = self.behaviour(container).stop
        assert isinstance(timing, Timing)
        return timing.draw(self.host.rng)

    def _first_with(self, kind: FaultKind) -> Fault | None:
        for container in self.containers:
            fault = self.behaviour(container).fault
            if fault is not None and fault.kind is kind:
                return fault
        return None

    def _later(self, delay: float, action: Callable[[], None]) -> None:
        if self.timer is not None:
            self.timer.cancel()

        def due() -> None:
            self.timer = None
            if self.host.alive(self.node, due):
                action()

        self.timer = self.host.clock.call_later(delay, due)

    def program_later(self, program: Program, delay: float, action: Callable[[], None]) -> None:
        """Do something to a container in so many seconds; what was to happen before does not."""
        self.cancel_program(program)

        def due() -> None:
            program.timer = None
            if self.host.alive(self.node, due):
                action()

        program.timer = self.host.clock.call_later(delay, due)
