from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from rollout.errors import DocumentError
from rollout.yamlsource import read_document, read_documents

QUOTES = "YAML reads this as something else than text: write it in quotes"


class Wave(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    name: str = ""
    max_unavailable: int | str | None = None


class Document(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    name: str
    waves: tuple[Wave | int, ...] = ()
    labels: dict[str, str] = {}
    count: int = 0


def value_of(text: str) -> Any:
    return read_document(None, text).value


def convert(text: str) -> Document:
    return read_document(None, text).convert(Document)


def complaint(text: str) -> str:
    with pytest.raises(DocumentError) as caught:
        convert(text)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: 1", 1),
        ("a: 1.5", 1.5),
        ("a: true", True),
        ("a: no", False),
        ("a: ~", None),
        ("a:", None),
        ("a: '1'", "1"),
        ("a: 0o17", "0o17"),
        ("a: 12:30:00", "12:30:00"),
        ("a: 2026-01-02", "2026-01-02"),
        ("a: 2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z"),
        ("a: =", "="),
        ("a: [x, 2]", ["x", 2]),
        ("a: |\n  two\n  lines\n", "two\nlines\n"),
        ("a: &x {b: 1}", {"b": 1}),
    ],
)
def test_scalars_are_plain_data_and_dates_stay_text(text: str, value: object) -> None:
    assert value_of(text) == {"a": value}


def test_keys_are_text_also_where_yaml_sees_something_else() -> None:
    assert value_of("1: a\non: b\n") == {"1": "a", "on": "b"}


def test_an_alias_is_the_value_of_its_anchor() -> None:
    assert value_of("a: &x [1, 2]\nb: *x\n") == {"a": [1, 2], "b": [1, 2]}


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("a: 1\nb: [1, 2\n", 3, "not valid YAML"),
        ("a: 1\n\ta: 2\n", 2, "not valid YAML"),
        ("a: *missing\n", 1, "not valid YAML"),
        ("a: 1\nb: 2\na: 3\n", 3, "key 'a' stands twice"),
        ("a:\n  b: 1\n  b: 1\n", 3, "key 'b' stands twice"),
        ("a: &x {b: 1}\nc:\n  <<: *x\n", 3, "merge keys"),
        ("a:\n  - !!python/object:os.system x\n", 2, "is not read; write plain values"),
        ("a: !!binary aGVsbG8=\n", 1, "is not read; write plain values"),
        ("? [a, b]\n: 1\n", 1, "a key must be text"),
        ("a: \x00", 1, "not valid YAML"),
    ],
)
def test_what_is_not_plain_yaml_is_refused_with_its_line(text: str, line: int, what: str) -> None:
    with pytest.raises(DocumentError, match=f"^<stdin>:{line}: .*{what}"):
        read_document(None, text)


@pytest.mark.parametrize("depth", [150, 100_000])
def test_nesting_without_end_is_refused_and_does_not_break_us(depth: int) -> None:
    with pytest.raises(DocumentError, match=r"^<stdin>:1: .*nested"):
        read_document(None, "[" * depth + "]" * depth)


def test_aliases_of_aliases_cannot_blow_up_memory() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    with pytest.raises(DocumentError, match="alias"):
        read_document(None, "\n".join(lines))


def test_a_document_that_holds_itself_is_refused() -> None:
    with pytest.raises(DocumentError, match="<stdin>:1"):
        read_document(None, "a: &x [*x]\n")


def test_documents_are_read_one_by_one_and_empty_ones_left_out() -> None:
    sources = read_documents(None, "---\na: 1\n---\n---\n# only a comment\n---\nb: 2\n")
    assert [source.value for source in sources] == [{"a": 1}, {"b": 2}]
    assert sources[1].where(("b",)) == "<stdin>:7"


@pytest.mark.parametrize(
    ("text", "what"),
    [("", "is empty"), ("# nothing\n", "is empty"), ("a: 1\n---\nb: 1\n", "holds 2 documents")],
)
def test_where_one_document_is_asked_for_there_must_be_one(text: str, what: str) -> None:
    with pytest.raises(DocumentError, match=f"^<stdin>:1: the file {what}"):
        read_document(None, text)


def test_a_file_is_called_by_the_path_that_the_user_gave(tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text("name: x\nbogus: 1\n", encoding="utf-8")
    source = read_document(path)
    with pytest.raises(DocumentError) as caught:
        source.convert(Document)
    assert str(caught.value).startswith(f"{path}:2: bogus: unknown key")


def test_a_file_that_cannot_be_read_is_named_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match=r"none\.yaml: cannot be read: No such file"):
        read_document(tmp_path / "none.yaml")
    with pytest.raises(DocumentError, match="cannot be read: Is a directory"):
        read_document(tmp_path)


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    path.write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(DocumentError, match=r"image\.png:1: not text in UTF-8"):
        read_document(path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name: x\ncuont: 3\n", "<stdin>:2: cuont: unknown key; did you mean 'count'?"),
        (
            "name: x\nwaves:\n- name: a\n- maxUnavailble: 1\n",
            "<stdin>:4: waves[1].maxUnavailble: unknown key; did you mean 'maxUnavailable'?",
        ),
        (
            "name: x\nzzz: 1\n",
            "<stdin>:2: zzz: unknown key; known here: name, waves, labels, count",
        ),
        ("count: 1\n", "<stdin>:1: 'name' is missing; add it"),
        ("name: x\ncount: many\n", "<stdin>:2: count: expected 'int', got 'str'"),
        (
            "name: 1.30\n",
            f"<stdin>:1: name: expected 'str', got 'float'; {QUOTES}",
        ),
        (
            "name: x\nlabels:\n  ok: a\n  zone: on\n",
            f"<stdin>:2: labels: expected 'str', got 'bool'; {QUOTES}",
        ),
    ],
)
def test_a_complaint_says_where_what_and_the_cure(text: str, expected: str) -> None:
    assert complaint(text) == expected


def test_an_error_at_a_path_that_is_not_there_points_at_the_nearest_parent() -> None:
    source = read_document(None, "a:\n  b:\n    c: 1\n")
    assert source.where(("a", "b", "missing", 3)) == "<stdin>:2"
    assert source.where(("missing",)) == "<stdin>:1"
    assert str(source.error(("a", "b", "x"), "no")) == "<stdin>:2: a.b.x: no"


# YAML folds line separators and refuses control characters, which JSON allows as they are.
printable = st.text(
    st.characters(exclude_categories=["C", "Zl", "Zp"], exclude_characters="\ufeff")
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | printable,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(printable, inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(printable, json_values, min_size=1, max_size=4))
def test_json_is_read_as_json(value: dict[str, Any]) -> None:
    assert value_of(json.dumps(value, ensure_ascii=False)) == value


@given(st.dictionaries(printable, json_values, min_size=1, max_size=4))
def test_what_yaml_writes_is_read_back(value: dict[str, Any]) -> None:
    assert value_of(yaml.safe_dump(value)) == value


@given(st.text(max_size=60))
def test_no_text_breaks_the_reader(text: str) -> None:
    with contextlib.suppress(DocumentError):
        read_documents(None, text)


@pytest.mark.parametrize(
    "text", ["!!python/object:a.B {}", "!!python/name:int", "!x [1]", "!!set {b}"]
)
def test_tags_are_refused_wherever_they_stand(text: str) -> None:
    with pytest.raises(DocumentError, match=r"<stdin>:2: tag '.*' is not read"):
        read_documents(None, f"a:\n  - {text}\n")
