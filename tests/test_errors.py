from __future__ import annotations

import inspect

import pytest

from rollout import errors
from rollout.errors import ExitCode, RolloutError


def every_error() -> list[type[RolloutError]]:
    classes = [c for _, c in inspect.getmembers(errors, inspect.isclass)]
    return [c for c in classes if issubclass(c, RolloutError)]


def test_the_exit_codes_are_the_contract_with_scripts() -> None:
    assert {code.name: code.value for code in ExitCode} == {
        "DONE": 0,
        "ERROR": 1,
        "CHANGES_PENDING": 2,
        "HELD": 3,
        "ROLLED_BACK": 4,
        "ROLLBACK_INCOMPLETE": 5,
        "PAUSED": 6,
        "STALE": 7,
        "DEADLINE": 8,
        "INCONCLUSIVE": 9,
        "LOCKED": 10,
        "NOT_AUTHORISED": 11,
        "DEFERRED": 12,
        "USAGE": 64,
        "BAD_DOCUMENT": 65,
        "INTERRUPTED": 130,
        "TERMINATED": 143,
    }


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.UsageError, 64),
        (errors.DocumentError, 65),
        (errors.ClusterError, 1),
        (errors.NotFound, 1),
        (errors.Forbidden, 11),
        (errors.Unreachable, 1),
        (errors.StaleError, 7),
        (errors.LockedError, 10),
    ],
)
def test_an_error_says_how_the_command_ends(error: type[RolloutError], code: int) -> None:
    assert error.exit_code == code


@pytest.mark.parametrize("error", every_error())
def test_every_error_is_in_the_tree_that_the_module_draws(error: type[RolloutError]) -> None:
    assert errors.__doc__ is not None
    assert error.__name__ in errors.__doc__


def test_a_transient_error_carries_the_delay_that_the_server_wants() -> None:
    assert errors.Throttled("busy", retry_after=2.5).retry_after == 2.5
    assert errors.Unreachable("gone").retry_after is None
