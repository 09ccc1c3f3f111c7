"""Where in a JSON answer a value stands: `$.items[0].status` or `$['a.b'][2]`. Pure.

A path names exactly one value: no wildcards, filters or scripts, so nothing in it can run.
"""

from __future__ import annotations

import re

Step = str | int
_STEP = re.compile(
    r"""\.(?P<name>[A-Za-z_][A-Za-z0-9_-]*)
      | \[(?P<index>[0-9]{1,9})\]
      | \[(?P<quote>['"])(?P<key>(?:(?!(?P=quote)).)+)(?P=quote)\]""",
    re.VERBOSE,
)


def parse_path(text: str) -> tuple[Step, ...]:
    """Take a path apart.

    Raises:
        ValueError: with the part that isn't understood.
    """
    if not text.startswith("$"):
        raise ValueError(f"'{text}' does not begin with '$'; write for example $.status.phase")
    steps: list[Step] = []
    position = 1
    while position < len(text):
        match = _STEP.match(text, position)
        if match is None:
            raise ValueError(
                f"'{text[position:]}' is not a step; use .name, ['name'] and [0] "
                "(a path names one value)"
            )
        steps.append(int(match["index"]) if match["index"] else match["name"] or match["key"])
        position = match.end()
    return tuple(steps)


def find(document: object, steps: tuple[Step, ...]) -> object:
    """Return the value at a path.

    Raises:
        KeyError: there is none; with the path up to where it ends.
    """
    shown = "$"
    for step in steps:
        shown += f"[{step}]" if isinstance(step, int) else f".{step}"
        has_item = isinstance(step, int) and isinstance(document, list) and step < len(document)
        if not has_item and not (isinstance(document, dict) and step in document):
            raise KeyError(shown)
        document = document[step]  # type: ignore[index] # one of the two above
    return document
