"""Queries of Prometheus, as far as a gate must understand them. Pure text, no I/O.

Three things: placeholders are filled in so that no value can leave its quotes; the series that a
query reads are found, so that the age of their samples can be asked for; and so is how far its
windows reach back. This is a scanner, not a parser: the server says what is wrong with a query.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

Value = str | tuple[str, ...]  # several: for a regular expression, joined by |

NAMES = frozenset({"namespace", "wave", "run", "plan", "daemonset", "daemonsets", "revision"}) | {
    *("oldRevision", "node", "nodes")
}
AGE = "age"  # the time since the change, for windows: rate(errors[{{age}}])
_SEVERAL = frozenset({"daemonsets", "nodes"})
_HOLE = re.compile(r"\{\{\s*([A-Za-z]+)\s*\}\}")
_TOKEN = re.compile(
    r"""(?P<skip>\s+|\#[^\n]*)
      | (?P<string>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`)
      | (?P<hole>\{\{\s*[A-Za-z]+\s*\}\})
      | (?P<word>[A-Za-z_:][A-Za-z0-9_:]*)
      | (?P<number>\.?[0-9][0-9A-Za-z_.]*)
      | (?P<sign>=~|!~|!=|==|>=|<=|.)""",
    re.VERBOSE | re.DOTALL,
)
_GROUPING = frozenset({"by", "without", "on", "ignoring", "group_left", "group_right"})
_WORDS = frozenset({"and", "or", "unless", "bool", "offset", "atan2", "inf", "nan"})
_DURATION = re.compile(r"(\d+)(ms|s|m|h|d|w|y)")
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "y": 31536000}


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    start: int
    end: int


def placeholders(query: str) -> frozenset[str]:
    """Return the names of the placeholders in a query."""
    return frozenset(match[1] for match in _HOLE.finditer(query))


def check_query(query: str) -> None:
    """Refuse placeholders that don't exist, or stand where a value could not be made safe.

    Raises:
        ValueError: with the placeholder and what to do.
    """
    for name in placeholders(query):
        if name not in NAMES | {AGE}:
            known = ", ".join(sorted(NAMES | {AGE}))
            raise ValueError(f"{{{{{name}}}}} is unknown; known are {known}")
    example: dict[str, Value] = {name: ("a", "b") if name in _SEVERAL else "a" for name in NAMES}
    render(query, {**example, AGE: "1s"})


def render(query: str, values: Mapping[str, Value]) -> str:
    """Fill in the placeholders.

    Inside quotes a value is escaped for them, and behind `=~` and `!~` also for the regular
    expression; outside of quotes only `{{age}}` may stand, which is ours.

    Args:
        query: with `{{name}}` in it.
        values: by name.

    Raises:
        ValueError: a placeholder has no value, or stands in the wrong place.
    """
    parts: list[str] = []
    before = ""
    for token in _tokens(query, skip=False):
        if token.kind == "string":
            parts.append(_fill(token.text, values, regex=before in ("=~", "!~")))
        elif token.kind == "hole":
            parts.append(_bare(token.text, values))
        else:
            parts.append(token.text)
        if token.kind != "skip":
            before = token.text
    return "".join(parts)


def selectors(query: str) -> tuple[str, ...]:
    """Return the series that a query reads: `errors{job="a"}`, without windows and offsets."""
    tokens = list(_tokens(query))
    found: list[str] = []
    position = 0
    while position < len(tokens):
        token = tokens[position]
        following = tokens[position + 1].text if position + 1 < len(tokens) else ""
        if token.kind == "word" and token.text in _GROUPING and following == "(":
            position = _closing(tokens, position + 1)
        elif token.text == "[":
            position = _closing(tokens, position)
        elif token.kind == "word" and _is_metric(token.text, following):
            last = _closing(tokens, position + 1) if following == "{" else position
            found.append(query[token.start : tokens[last].end])
            position = last
        elif token.text == "{":
            last = _closing(tokens, position)
            found.append(query[token.start : tokens[last].end])
            position = last
        position += 1
    return tuple(dict.fromkeys(found))


def longest_window(query: str) -> float:
    """Return how many seconds the widest window of a query reaches back; 0 without one.

    A window with an offset is a comparison with the past, and is not counted.
    """
    tokens = list(_tokens(query))
    longest = 0.0
    for position, token in enumerate(tokens):
        if token.text != "[":
            continue
        end = _closing(tokens, position)
        if end + 1 < len(tokens) and tokens[end + 1].text.lower() == "offset":
            continue
        inside = query[token.end : tokens[end].start].partition(":")[0]
        longest = max(longest, sum(int(n) * _SECONDS[u] for n, u in _DURATION.findall(inside)))
    return longest


def _tokens(query: str, *, skip: bool = True) -> Iterator[_Token]:
    for match in _TOKEN.finditer(query):
        kind = str(match.lastgroup)
        if kind != "skip" or not skip:
            yield _Token(kind, match[0], match.start(), match.end())


def _is_metric(word: str, following: str) -> bool:
    if word.lower() in _WORDS or word in _GROUPING:
        return False
    return following != "(" and following not in ("by", "without")


def _closing(tokens: Sequence[_Token], opening: int) -> int:
    """Return the position of the bracket that closes the one at `opening`, or the end."""
    pairs = {"(": ")", "{": "}", "[": "]"}
    depth = 0
    for position in range(opening, len(tokens)):
        text = tokens[position].text
        depth += (text in pairs) - (text in pairs.values())
        if depth == 0:
            return position
    return len(tokens) - 1


def _fill(literal: str, values: Mapping[str, Value], *, regex: bool) -> str:
    quote = literal[0]

    def value_of(match: re.Match[str]) -> str:
        name = match[1]
        if name == AGE:
            raise ValueError("{{age}} stands in a window, not in quotes: rate(errors[{{age}}])")
        if quote == "`":
            raise ValueError(f"{match[0]} cannot be escaped in backquotes; use double quotes")
        value = _value(name, values)
        if isinstance(value, tuple) and not regex:
            raise ValueError(f"{match[0]} may be several; write =~{match[0]!r} with quotes")
        if not regex:
            assert isinstance(value, str)
            return _escape(value, quote)
        several = (value,) if isinstance(value, str) else value
        return _escape("(?:" + "|".join(map(re.escape, several)) + ")", quote)

    return _HOLE.sub(value_of, literal)


def _bare(hole: str, values: Mapping[str, Value]) -> str:
    match = _HOLE.fullmatch(hole)
    assert match is not None
    if match[1] != AGE:
        raise ValueError(f'{hole} must stand in quotes: label="{hole}"')
    return str(_value(AGE, values))


def _value(name: str, values: Mapping[str, Value]) -> Value:
    if name not in values:
        cure = "; it needs a run that has begun" if name == AGE else ""
        raise ValueError(f"{{{{{name}}}}} has no value here{cure}")
    return values[name]


def _escape(value: str, quote: str) -> str:
    """Return text for between Go's quotes: nothing in it can end them."""
    escaped = []
    for character in value:
        if character in (quote, "\\"):
            escaped.append(f"\\{character}")
        elif character.isprintable() and character.isascii():
            escaped.append(character)
        else:
            escaped.append(
                "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", "replace"))
            )
    return "".join(escaped)
