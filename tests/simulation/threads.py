"""Threads, queues and time of a virtual machine: the real program runs on them, in one thread.

Every thread of the program becomes a greenlet; whoever would wait goes back to the hub, which
moves the virtual clock. Two runs with one seed are the same to the last switch. The program knows
nothing of it: while a machine is installed, the names `time`, `threading`, `queue` and the like in
its modules mean the machine's own. A process can be killed between any two switches, and then does
nothing more.
"""

from __future__ import annotations

import concurrent.futures
import math
import queue
import random
import secrets
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, tzinfo
from types import ModuleType, TracebackType
from typing import Any, Self

import click
from greenlet import getcurrent, greenlet

from rollout.cli import running
from rollout.cluster.client import Client, connect
from rollout.executor.inbox import Inbox
from rollout.executor.lock import processes
from rollout.gates import outside
from rollout.journal.file import _write_all
from rollout.sim.clock import VirtualClock
from tests.simulation.disk import Disk
from tests.simulation.outsideworld import Outside
from tests.simulation.systemnames import places
from tests.simulation.terminal import Keyboard, Screen

MOMENT_S = 1e-6  # no wait is shorter: a rounded-off rest would else never let the time go on


class Killed(BaseException):
    """The process of this task is dead; nothing it does has an effect."""


class Process:
    """What dies together: the tasks of one command, and its connections.

    Args:
        name: tells it from all others.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.dead = False
        self.tasks: dict[Task, None] = {}  # in the order of their start: the same in every run
        self.at_death: list[Callable[[], None]] = []
        self.screen: list[str] = []
        self.inbox: Inbox | None = None  # where signals go, while somebody listens
        self.answers: deque[str] | None = None  # of who sits at its terminal; None: there is none

    def check(self) -> None:
        """Raise when the process is dead."""
        if self.dead:
            raise Killed


class Task(greenlet):
    """One thread of a process."""

    def __init__(self, machine: Machine, process: Process, target: Callable[[], object]) -> None:
        super().__init__(self._live, parent=machine.hub)
        self.process = process
        self.over = False
        self.ended = Place(machine)
        self._target = target
        process.tasks[self] = None

    def _live(self, *_first: object) -> None:
        try:
            if not self.process.dead:
                self._target()
        except Killed:
            pass
        finally:
            self.over = True
            self.process.tasks.pop(self, None)
            self.ended.wake_all()


class _Wait:
    """One task at one place, until it is woken or its time is over."""

    def __init__(self, task: greenlet) -> None:
        self.task = task
        self.over = False
        self.woken = False


class Place:
    """Where tasks wait for each other."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._waits: deque[_Wait] = deque()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait to be woken; False when the time is over."""
        wait = _Wait(getcurrent())
        self._waits.append(wait)
        self._machine.suspend(wait, timeout)
        return wait.woken

    def wake_one(self) -> None:
        """Let the task that has waited longest go on."""
        while self._waits:
            wait = self._waits.popleft()
            if not wait.over:
                wait.woken = True
                self._machine.resume_soon(wait)
                return

    def wake_all(self) -> None:
        """Let all go on."""
        for _ in range(len(self._waits)):
            self.wake_one()


class Machine:
    """One virtual machine; made, and its clock moved, by one and the same greenlet.

    Args:
        clock: its time.
        rng: the source of all its chance.
        dial: connects a process with the cluster.
    """

    def __init__(
        self, clock: VirtualClock, rng: random.Random, dial: Callable[[Process], Client]
    ) -> None:
        self.clock = clock
        self.rng = rng
        self.dial = dial
        self.hub = getcurrent()
        self.started = clock.now()
        self.processes: dict[str, Process] = {}
        self.outside = Outside(clock.now, self.sleep)
        self._outside = Process("outside")
        self.disk = Disk(self)
        self._fakes = _fakes(self)

    def process(self) -> Process:
        """Return a new process."""
        made = Process(f"process-{len(self.processes)}")
        self.processes[made.name] = made
        return made

    @property
    def current(self) -> Process:
        """The process that runs now."""
        task = getcurrent()
        return task.process if isinstance(task, Task) else self._outside

    def spawn(self, process: Process, target: Callable[[], object]) -> Task:
        """Start a task as soon as what runs now waits."""
        task = Task(self, process, target)
        self.clock.call_later(0.0, task.switch)
        return task

    def kill(self, process: Process) -> None:
        """End a process as SIGKILL does; the task that calls this goes on to its next wait."""
        if process.dead:
            return
        process.dead = True
        for callback in process.at_death:
            callback()
        self.clock.call_later(0.0, lambda: self._bury(process))

    def _bury(self, process: Process) -> None:
        for task in list(process.tasks):
            if task:
                task.throw(Killed)
            process.tasks.pop(task, None)

    def sleep(self, seconds: float) -> None:
        """Wait so long."""
        self.suspend(_Wait(getcurrent()), seconds)

    def suspend(self, wait: _Wait, timeout: float | None) -> None:
        """Go back to the hub until the wait is over."""
        task = wait.task
        if not isinstance(task, Task):  # the hub itself: it moves the clock
            self.clock.run_until(lambda: wait.woken, 1e9 if timeout is None else max(timeout, 0.0))
            wait.over = True
            return
        task.process.check()
        timer = (
            self.clock.call_later(max(timeout, MOMENT_S), lambda: self._resume(wait))
            if timeout is not None
            else None
        )
        self.hub.switch()
        wait.over = True
        if timer is not None:
            timer.cancel()
        task.process.check()

    def resume_soon(self, wait: _Wait) -> None:
        """Let a task go on when what runs now waits."""
        self.clock.call_later(0.0, lambda: self._resume(wait))

    def _resume(self, wait: _Wait) -> None:
        if not wait.over and isinstance(wait.task, Task) and wait.task:
            wait.over = True
            wait.task.switch()

    @contextmanager
    def installed(self) -> Iterator[Self]:
        """Let the program run on this machine."""
        changes = [(holder, key, self._fakes[id(real)]) for holder, key, real in places()]
        before = [(holder, key, holder[key]) for holder, key, _ in changes]
        state, contexts = random.getstate(), click.globals._local
        screen, errors, keyboard = sys.stdout, sys.stderr, sys.stdin
        random.seed(self.rng.randrange(2**32))
        sys.stdout = sys.stderr = Screen(self)
        sys.stdin = Keyboard(self)
        click.globals._local = _Own()  # type: ignore[assignment] # click's stack of contexts
        for holder, key, fake in changes:
            holder[key] = fake
        try:
            yield self
        finally:
            for holder, key, real in before:
                holder[key] = real
            random.setstate(state)
            sys.stdout, sys.stderr, sys.stdin = screen, errors, keyboard
            click.globals._local = contexts


class _Time(ModuleType):
    """`time` by the machine's clock."""

    def __init__(self, machine: Machine) -> None:
        super().__init__("time")
        self.time = machine.clock.now
        self.monotonic = lambda: machine.clock.now() - machine.started
        self.perf_counter = self.monotonic
        self.clock_gettime = lambda _clock: machine.clock.now() - machine.started
        self.sleep = machine.sleep

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


class _Event:
    def __init__(self, machine: Machine) -> None:
        self._set = False
        self._place = Place(machine)

    def is_set(self) -> bool:
        return self._set

    def set(self) -> None:
        self._set = True
        self._place.wake_all()

    def clear(self) -> None:
        self._set = False

    def wait(self, timeout: float | None = None) -> bool:
        return self._set or self._place.wait(timeout) or self._set


class _Lock:
    """Also stands for `RLock`: a task that has it may take it again."""

    def __init__(self, machine: Machine) -> None:
        self._owner: greenlet | None = None
        self._depth = 0
        self._place = Place(machine)

    def acquire(self) -> bool:
        me = getcurrent()
        while self._owner not in (None, me):
            self._place.wait()
        self._owner = me
        self._depth += 1
        return True

    def release(self) -> None:
        self._depth -= 1
        if not self._depth:
            self._owner = None
            self._place.wake_one()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.release()


class _Condition(_Lock):
    """`Condition` with a lock of its own."""

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine)
        self._clock = machine.clock
        self._changed = Place(machine)

    def wait_for(self, predicate: Callable[[], object], timeout: float | None = None) -> bool:
        end = math.inf if timeout is None else self._clock.now() + timeout
        while not predicate():
            left = end - self._clock.now()
            if left <= 0:
                return False
            self.release()
            self._changed.wait(None if left == math.inf else left)
            self.acquire()
        return True

    def notify_all(self) -> None:
        self._changed.wake_all()


class _Thread:
    def __init__(
        self,
        machine: Machine,
        *,
        target: Callable[..., object],
        name: str = "",
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        daemon: bool | None = None,
    ) -> None:
        self.name, self.daemon = name, daemon
        self._machine = machine
        self._target = lambda: target(*args, **(kwargs or {}))
        self._task: Task | None = None

    def start(self) -> None:
        self._task = self._machine.spawn(self._machine.current, self._target)

    def is_alive(self) -> bool:
        return self._task is not None and not self._task.over

    def join(self, timeout: float | None = None) -> None:
        if self._task is not None and not self._task.over:
            self._task.ended.wait(timeout)


class _Queue:
    """`SimpleQueue`, and `Queue` without a limit."""

    def __init__(self, machine: Machine, _maxsize: int = 0) -> None:
        self._items: deque[Any] = deque()
        self._place = Place(machine)

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:  # noqa: FBT001, FBT002 - as the real one
        del block, timeout
        self._items.append(item)
        self._place.wake_one()

    def get(self, block: bool = True, timeout: float | None = None) -> Any:  # noqa: FBT001, FBT002 - as the real one
        if not self._items and block:
            self._place.wait(timeout)
        return self.get_nowait()

    def get_nowait(self) -> Any:
        if not self._items:
            raise queue.Empty
        return self._items.popleft()

    put_nowait = put

    def empty(self) -> bool:
        return not self._items

    def qsize(self) -> int:
        return len(self._items)


class _Future(concurrent.futures.Future[Any]):
    def __init__(self, machine: Machine) -> None:
        super().__init__()
        self._place = Place(machine)
        self.add_done_callback(lambda _: self._place.wake_all())

    def result(self, timeout: float | None = None) -> Any:
        if not self.done():
            self._place.wait(timeout)
        return super().result(0)


class _Pool:
    """`ThreadPoolExecutor`: tasks that take work from one queue."""

    def __init__(
        self, machine: Machine, max_workers: int = 8, thread_name_prefix: str = ""
    ) -> None:
        del thread_name_prefix
        self._machine = machine
        self._most = max_workers
        self._work: deque[tuple[_Future, Callable[[], object]]] = deque()
        self._busy: dict[Task, None] = {}
        self._ended = False

    def submit(self, function: Callable[..., object], *args: Any, **kwargs: Any) -> _Future:
        assert not self._ended, "cannot schedule new futures after shutdown"
        future = _Future(self._machine)
        self._work.append((future, lambda: function(*args, **kwargs)))
        if len(self._busy) < self._most:
            self._busy[self._machine.spawn(self._machine.current, self._serve)] = None
        return future

    def _serve(self) -> None:
        task = getcurrent()
        assert isinstance(task, Task)
        while self._work:
            future, call = self._work.popleft()
            try:
                future.set_result(call())
            except Exception as error:  # noqa: BLE001 - as the real one
                future.set_exception(error)
        self._busy.pop(task, None)

    def map(self, function: Callable[[Any], object], items: Iterable[Any]) -> Iterator[Any]:
        futures = [self.submit(function, item) for item in items]
        return (future.result() for future in futures)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.shutdown()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 - as the real one
        self._ended = True
        if cancel_futures:
            self._work.clear()
        while wait and self._busy:
            next(iter(self._busy)).ended.wait()


class _Random(ModuleType):
    """`random` whose generators without a seed draw theirs from the machine."""

    def __init__(self, machine: Machine) -> None:
        super().__init__("random")
        self._machine = machine

    def Random(self, seed: object = None) -> random.Random:  # noqa: N802 - as the real one
        return random.Random(self._machine.rng.random() if seed is None else repr(seed))

    def __getattr__(self, name: str) -> Any:
        return getattr(random, name)


class _Own:
    """`threading.local` for tasks."""

    def __init__(self) -> None:
        object.__setattr__(self, "_of", weakref.WeakKeyDictionary())

    def __getattr__(self, name: str) -> Any:
        try:
            return self._of[getcurrent()][name]
        except KeyError:
            raise AttributeError(name) from None

    def __setattr__(self, name: str, value: object) -> None:
        self._of.setdefault(getcurrent(), {})[name] = value


def _fakes(machine: Machine) -> dict[int, Any]:
    """Return what stands for the real things, by their identity."""
    fake_time = _Time(machine)
    made: dict[str, Callable[..., object]] = {
        "Thread": lambda **given: _Thread(machine, **given),
        "Event": lambda: _Event(machine),
        "Lock": lambda: _Lock(machine),
        "Condition": lambda: _Condition(machine),
        "RLock": lambda: _Lock(machine),
    }
    fake_threading = _overlay(threading, made)
    simple = lambda: _Queue(machine)  # noqa: E731 - one of several makers
    fake_queue = _overlay(queue, {"SimpleQueue": simple, "Queue": lambda n=0: _Queue(machine, n)})
    fake_secrets = _overlay(
        secrets, {"token_hex": lambda n=16: f"{machine.rng.getrandbits(8 * n):0{2 * n}x}"}
    )
    pairs: list[tuple[object, object]] = [
        (time, fake_time),
        (time.time, fake_time.time),
        (time.monotonic, fake_time.monotonic),
        (time.sleep, fake_time.sleep),
        (threading, fake_threading),
        (queue, fake_queue),
        (random, _Random(machine)),
        (secrets, fake_secrets),
        (
            concurrent.futures.ThreadPoolExecutor,
            lambda *given, **named: _Pool(machine, *given, **named),
        ),
        (datetime, _datetime(machine)),
        (connect, lambda *_, **__: machine.dial(machine.current)),
        (
            outside.ask,
            lambda call, settings: machine.outside.ask(machine.current.name, call, settings),
        ),
        (running.stop_on_signals, lambda inbox, *_: _listen(machine, inbox)),
        (_write_all, machine.disk.write),
        (processes.this_process, lambda: machine.current.name),
        (
            processes.has_ended,
            lambda name: name in machine.processes and machine.processes[name].dead,
        ),
    ]
    return {id(real): fake for real, fake in pairs}


@contextmanager
def _listen(machine: Machine, inbox: Inbox) -> Iterator[None]:
    machine.current.inbox = inbox
    yield
    machine.current.inbox = None


def _datetime(machine: Machine) -> type[datetime]:
    class Datetime(datetime):
        """`datetime` whose `now` is the machine's."""

        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return cls.fromtimestamp(machine.clock.now(), tz)

    return Datetime


def _overlay(module: ModuleType, changes: dict[str, Callable[..., object]]) -> ModuleType:
    """Return a module that is like another one but for these names."""
    made = ModuleType(module.__name__)
    made.__dict__.update({**vars(module), **changes})
    return made
