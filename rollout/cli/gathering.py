"""Options that belong together and come into a command as one argument."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])


def gathered(
    name: str, make: Callable[..., object], *options: Callable[[Any], Any]
) -> Callable[[F], F]:
    """Return a decorator that adds options to a command.

    Args:
        name: of the one argument in which they come in.
        make: makes its value from theirs, in the order in which they are given here.
        options: made with `click.option`, as the help shows them.
    """

    def add(command: F) -> F:
        @functools.wraps(command)
        def gather(*args: object, **given: object) -> object:
            value = make(*(given.pop(param) for param in params))
            return command(*args, **{name: value}, **given)

        for option in reversed(options):
            option(gather)
        added = vars(gather)["__click_params__"][-len(options) :]
        params = [param.name for param in reversed(added)]
        return cast("F", gather)

    return add
