from __future__ import annotations

import base64
import copy
import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.cluster.client import Client
from rollout.gates.secrets import HIDDEN, LARGEST, Secret, SecretError, read_secret
from rollout.gatespec import SecretRef
from tests.cluster.world import Asked, Reply, serve, talking_to
from tests.gates.worlds import a_context

NOBODY = cast("Client", None)
VALUE = "hunter2 +/=?"


def ref(**fields: Any) -> SecretRef:
    return msgspec.convert(fields, SecretRef)


def test_a_secret_comes_from_the_environment() -> None:
    assert read_secret(ref(env="KEY"), NOBODY, "", {"KEY": VALUE}).reveal() == VALUE


def test_a_secret_comes_from_a_file_without_its_last_line_end(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"{VALUE}\n")
    assert read_secret(ref(file=str(tmp_path / "key")), NOBODY, "").reveal() == VALUE


@pytest.mark.parametrize(("named", "namespace"), [("", "logging"), ("vault", "vault")])
def test_a_secret_comes_from_a_secret_of_the_cluster(
    tmp_path: Path, named: str, namespace: str
) -> None:
    def scenario(asked: Asked) -> Reply:
        assert asked.path == f"/api/v1/namespaces/{namespace}/secrets/prom"
        return Reply({"data": {"token": base64.b64encode(VALUE.encode()).decode()}})

    wanted = ref(secret={"name": "prom", "key": "token", "namespace": named})
    with serve(scenario) as world, talking_to(world.url, tmp_path) as client:
        assert read_secret(wanted, client, "logging").reveal() == VALUE


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, "Secret logging/prom has no key 'token'; add it"),
        ({"token": "%%%"}, "Secret logging/prom, key token: not base64"),
        ({"token": ""}, "the secret in Secret logging/prom, key token is empty"),
        ({"token": "/w=="}, "is not text in UTF-8"),
        ({"token": base64.b64encode(b"x" * (LARGEST + 1)).decode()}, "is larger than 64 KiB"),
    ],
)
def test_a_secret_that_is_not_usable_says_where_and_not_what(
    tmp_path: Path, data: dict[str, str], message: str
) -> None:
    wanted = ref(secret={"name": "prom", "key": "token"})
    with (
        serve(lambda _: Reply({"data": data})) as world,
        talking_to(world.url, tmp_path) as client,
        pytest.raises(SecretError) as caught,
    ):
        read_secret(wanted, client, "logging")
    assert message in str(caught.value)
    assert "%%%" not in str(caught.value)


def test_a_secret_that_is_not_there_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SecretError, match="environment variable KEY is not set; export it"):
        read_secret(ref(env="KEY"), NOBODY, "", {})
    with pytest.raises(SecretError, match=r"key cannot be read: No such file .*check the path"):
        read_secret(ref(file=str(tmp_path / "key")), NOBODY, "")
    with (
        serve(lambda _: Reply({}, status=403)) as world,
        talking_to(world.url, tmp_path) as client,
        pytest.raises(SecretError, match="Secret logging/prom cannot be read"),
    ):
        read_secret(ref(secret={"name": "prom", "key": "token"}), client, "logging")


def test_no_representation_of_a_secret_shows_it() -> None:
    secret = Secret(VALUE)
    shown = f"{secret} {secret!r} {[secret]} {replace(a_context(), secret=secret)}"
    assert "hunter2" not in shown
    assert HIDDEN in shown
    for write in (pickle.dumps, copy.deepcopy, json.dumps, msgspec.json.encode):
        with pytest.raises(TypeError):
            write(secret)


@given(st.text(min_size=1, max_size=40), st.text(max_size=20), st.text(max_size=20))
def test_a_secret_is_taken_out_of_any_text_in_every_form(
    value: str, before: str, after: str
) -> None:
    secret = Secret(value)
    raw = value.encode()
    for form in (value, quote(value, safe=""), base64.b64encode(raw).decode()):
        hidden = secret.redact(f"{before}{form}{after}")
        assert form not in hidden.replace(HIDDEN, "") or form in before + after + HIDDEN


def test_the_lines_of_a_key_are_secrets_as_well() -> None:
    key = "-----BEGIN KEY-----\nabcdefghijkl\nmnopqrstuvwx\n"
    assert "mnop" not in Secret(key).redact("bad line: mnopqrstuvwx")
