from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from rollout.cluster.retry import Patience, build_policy
from rollout.errors import ClusterError, Conflict, Throttled, UnknownOutcome, Unreachable


class Attempts:
    """Fails with the given errors, then returns how often it was called."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors = list(errors)
        self.calls = 0

    def __call__(self) -> int:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return self.calls


def run(
    attempts: Callable[[], int],
    sleeps: list[float],
    patience: Patience,
    *,
    reached: bool = True,
    stop: threading.Event | None = None,
) -> int:
    policy = build_policy(patience, stop or threading.Event(), lambda: reached, sleeps.append)
    result: int = policy(attempts)
    return result


def test_transient_failures_are_repeated() -> None:
    assert run(Attempts(Unreachable("x"), Throttled("y")), [], Patience()) == 3


@pytest.mark.parametrize(
    "error",
    [
        Conflict("x"),
        UnknownOutcome("x"),
        ClusterError("x"),
        KeyboardInterrupt(),
        ValueError("a bug"),
    ],
)
def test_nothing_else_is(error: BaseException) -> None:
    attempts = Attempts(error)
    with pytest.raises(type(error)):
        run(attempts, [], Patience())
    assert attempts.calls == 1


def test_the_last_error_comes_out_itself() -> None:
    with pytest.raises(Throttled, match="second"):
        run(Attempts(Unreachable("first"), Throttled("second", 99.0)), [], Patience(total_s=50.0))


def test_the_wait_is_at_least_what_the_server_asks() -> None:
    sleeps: list[float] = []
    run(Attempts(Throttled("x", 4.0), Unreachable("x", 3.0)), sleeps, Patience())
    assert sleeps[0] >= 4.0
    assert sleeps[1] >= 3.0


def test_the_total_bounds_the_waiting() -> None:
    sleeps: list[float] = []
    with pytest.raises(Unreachable):
        run(Attempts(*[Unreachable("x")] * 500), sleeps, Patience(total_s=10.0))
    assert 0 < sum(sleeps) < 10.0


def test_a_server_never_reached_has_its_own_shorter_bound() -> None:
    sleeps: list[float] = []
    with pytest.raises(Unreachable):
        run(Attempts(*[Unreachable("x")] * 500), sleeps, Patience(total_s=1e6), reached=False)
    assert sum(sleeps) < 2.0


def test_a_stop_ends_it_after_the_attempt_that_runs() -> None:
    stop = threading.Event()
    stop.set()
    attempts = Attempts(Unreachable("x"), Unreachable("x"))
    with pytest.raises(Unreachable):
        run(attempts, [], Patience(), stop=stop)
    assert attempts.calls == 1


def test_a_stop_wakes_a_long_wait() -> None:
    stop = threading.Event()
    policy = build_policy(Patience(total_s=600.0), stop, lambda: True)
    caught: list[BaseException] = []

    def work() -> None:
        try:
            policy(Attempts(*[Throttled("x", 300.0)] * 5))
        except Throttled as error:
            caught.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    stop.set()
    thread.join(60.0)
    assert not thread.is_alive()
    assert caught


def test_threads_may_share_a_policy() -> None:
    policy = build_policy(Patience(), threading.Event(), lambda: True, lambda _: None)
    results: list[int] = []

    def work() -> None:
        results.extend(policy(Attempts(Unreachable("x"))) for _ in range(100))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [2] * 800
