"""Small damage to good documents: what an editor, a bad disk or an attacker leaves behind."""

from __future__ import annotations

from typing import Any, TypeAlias

from hypothesis import strategies as st

Path: TypeAlias = tuple[str | int, ...]

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(["", "0", "-1", "1e999", "100%", "-5%", "10m", "../../etc", "\x00", "a" * 300]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@st.composite
def damaged_text(draw: st.DrawFn, text: str) -> str:
    """Return the text with some lines lost, doubled, swapped, or with foreign characters."""
    lines = text.split("\n")
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(lines) - 1))
        match draw(st.sampled_from(["lose", "double", "swap", "indent", "insert", "replace"])):
            case "lose":
                lines = lines[:at] + lines[at + 1 :] or [""]
            case "double":
                lines.insert(at, lines[at])
            case "swap":
                other = draw(st.integers(0, len(lines) - 1))
                lines[at], lines[other] = lines[other], lines[at]
            case "indent":
                lines[at] = "  " + lines[at]
            case "insert":
                where = draw(st.integers(0, len(lines[at])))
                junk = draw(st.text(min_size=1, max_size=6))
                lines[at] = lines[at][:where] + junk + lines[at][where:]
            case "replace":
                key, colon, _ = lines[at].partition(":")
                lines[at] = f"{key}{colon} {draw(SCALARS)}"
    return "\n".join(lines)


@st.composite
def damaged_value(draw: st.DrawFn, document: Any) -> Any:
    """Return a copy of plain data in which one value was replaced, lost or added."""
    return _replaced(document, draw(st.sampled_from(_paths(document))), draw)


def _paths(value: Any, path: Path = ()) -> list[Path]:
    found = [path]
    if isinstance(value, dict):
        for key, item in value.items():
            found += _paths(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            found += _paths(item, (*path, index))
    return found


def _replaced(value: Any, path: Path, draw: st.DrawFn) -> Any:
    if not path:
        return draw(VALUES)
    step, rest = path[0], path[1:]
    if isinstance(value, dict):
        assert isinstance(step, str)
        copy = dict(value)
        if not rest and draw(st.booleans()):
            del copy[step]
        else:
            copy[step] = _replaced(value[step], rest, draw)
        return copy
    assert isinstance(step, int)
    items = list(value)
    if not rest and draw(st.booleans()):
        items.insert(step, items[step])
    else:
        items[step] = _replaced(items[step], rest, draw)
    return items
