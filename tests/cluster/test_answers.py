"""The pure translation; the whole table over HTTP is in test_client.py."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.cluster.answers import (
    Effect,
    Status,
    decode_status,
    error_of_answer,
    error_of_status,
    retry_after_s,
)
from rollout.errors import (
    Conflict,
    Forbidden,
    Gone,
    NotFound,
    Rejected,
    TransientError,
    UnknownOutcome,
    Unreachable,
)


def body(**fields: object) -> bytes:
    return msgspec.json.encode({"kind": "Status", **fields})


@pytest.mark.parametrize("text", [b"", b"{}", b"null", b'{"kind":"Pod"}', b"<html>", b"\xff"])
def test_only_a_status_is_a_status(text: bytes) -> None:
    assert decode_status(text) is None


def test_unknown_fields_and_null_causes_do_not_hide_the_message() -> None:
    status = decode_status(body(message="m", details={"causes": None, "new": 1}, metadata={}))
    assert status is not None
    assert status.text() == "m"


def test_causes_are_added_only_when_the_message_lacks_them() -> None:
    causes = [{"message": "a must be b"}, {"message": "c must be d"}]
    status = decode_status(body(message="invalid: a must be b", details={"causes": causes}))
    assert status is not None
    assert status.text() == "invalid: a must be b: c must be d"


@pytest.mark.parametrize(
    "said",
    [
        '"map[env:[map[name:TOKEN value:hunter2]]]"',
        'core.EnvVar{Name:"TOKEN", Value:"hunter2", ValueFrom:(*core.EnvVarSource)(nil)}',
        '&core.EnvVar{Name:"TOKEN", Value:"hunter2"}',
        '{"env":[{"name":"TOKEN","value":"hunter2"}]}',
    ],
)
def test_an_object_that_the_server_says_back_is_not_said_on(said: str) -> None:
    """It holds the values of variables, which may be secrets."""
    message = f"spec.template: Invalid value: {said}: field is immutable"
    status = Status(kind="Status", code=422, reason="Invalid", message=message)

    assert status.text() == "spec.template: Invalid value: field is immutable"


def test_the_delay_is_read_from_seconds_dates_and_the_status() -> None:
    soon = datetime.now(UTC) + timedelta(seconds=90)
    assert retry_after_s({"Retry-After": "5"}) == 5.0
    assert retry_after_s({"Retry-After": format_datetime(soon, usegmt=True)}) == pytest.approx(
        90.0, abs=3.0
    )
    assert retry_after_s({"Retry-After": "Wed, 21 Oct 2015 07:28:00 -0000"}) == 0.0
    assert retry_after_s({"Retry-After": "soon"}) is None
    assert retry_after_s({}) is None
    assert retry_after_s({}, decode_status(body(details={"retryAfterSeconds": 3}))) == 3.0


def test_the_same_code_means_more_doubt_after_a_write() -> None:
    for code in (500, 502, 503, 504):
        read = error_of_answer("GET /x", Effect.READ, code, b"", {"Retry-After": "4"})
        write = error_of_answer("PATCH /x", Effect.WRITE, code, b"", {"Retry-After": "4"})
        assert isinstance(read, Unreachable)
        assert read.retry_after == 4.0
        assert isinstance(write, UnknownOutcome)


def test_conflict_and_absence_count_only_from_the_api_server() -> None:
    for code, kind in ((404, NotFound), (409, Conflict), (410, Gone)):
        assert isinstance(error_of_answer("r", Effect.WRITE, code, body(message="m"), {}), kind)
        assert isinstance(error_of_answer("r", Effect.WRITE, code, b"proxy", {}), UnknownOutcome)


def test_a_namespace_that_is_being_terminated_is_no_missing_permission() -> None:
    why = "unable to create new content in namespace logging because it is being terminated"
    cause = {"reason": "NamespaceTerminating", "message": why, "field": "metadata.namespace"}
    refused = body(code=403, reason="Forbidden", message=why, details={"causes": [cause]})

    error = error_of_answer("POST x", Effect.WRITE, 403, refused, {})

    assert isinstance(error, Rejected)
    assert not isinstance(error, Forbidden)
    assert str(error).startswith(f"{why}; nothing can be made there any more")
    assert "permission" not in str(error)


def test_an_error_in_a_watch_is_the_same_as_in_an_answer() -> None:
    assert isinstance(error_of_status("w", Status("Status", 410, "Expired", "old")), Gone)
    assert isinstance(error_of_status("w", Status("Status", 403, "Forbidden", "no")), Forbidden)
    assert isinstance(error_of_status("w", Status("Status")), Unreachable)


@given(st.integers(300, 599), st.binary(max_size=200), st.sampled_from(Effect))
def test_every_answer_has_a_meaning(code: int, text: bytes, effect: Effect) -> None:
    error = error_of_answer("GET /x", effect, code, text, {})
    assert str(error)
    if effect is Effect.WRITE and code >= 500:
        assert not isinstance(error, TransientError), "it must not be repeated blindly"
