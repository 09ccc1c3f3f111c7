from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.planner.diff import MASK, object_diff


def container(name: str = "agent", image: str = "agent:1", **more: Any) -> dict[str, Any]:
    return {"spec": {"containers": [{"name": name, "image": image} | more]}}


def env(name: str, value: str) -> dict[str, Any]:
    return container(env=[{"name": name, "value": value}])


def changed(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    lines = [line for line in object_diff(old, new) if not line.startswith(("---", "+++"))]
    return [f"{line[0]}{line[1:].strip()}" for line in lines if line[0] in "+-"]


def test_a_new_image_shows_as_kubectl_diff_shows_it() -> None:
    assert object_diff(container(), container(image="agent:2")) == (
        "--- current",
        "+++ desired",
        "@@ -1,4 +1,4 @@",
        " spec:",
        "   containers:",
        "-  - image: agent:1",
        "+  - image: agent:2",
        "     name: agent",
    )


def test_equal_objects_show_nothing() -> None:
    assert object_diff(container(), container()) == ()


@pytest.mark.parametrize(
    "name",
    [
        "PASSWORD",
        "DB_PASSWD",
        "MYSQL_PWD",
        "SSH_PASSPHRASE",
        "CLIENT_SECRET",
        "githubToken",
        "AWS_SECRET_ACCESS_KEY",
        "API_KEY",
        "API-KEY",
        "APIKEY",
        "PRIVATE_KEY",
        "GOOGLE_CREDENTIALS",
        "BASIC_AUTH",
    ],
)
def test_a_variable_whose_name_speaks_of_a_secret_is_masked_and_its_change_still_shows(
    name: str,
) -> None:
    lines = changed(env(name, "hunter1"), env(name, "hunter2"))
    assert lines == [f"-value: '{MASK} (before)'", f"+value: '{MASK} (after)'"]


def test_a_secret_that_stays_is_masked_in_the_context_too() -> None:
    old = container(env=[{"name": "TOKEN", "value": "hunter2"}, {"name": "LEVEL", "value": "1"}])
    new = container(env=[{"name": "TOKEN", "value": "hunter2"}, {"name": "LEVEL", "value": "2"}])
    text = "\n".join(object_diff(old, new))
    assert "hunter2" not in text
    assert changed(old, new) == ["-value: '1'", "+value: '2'"]


def test_a_secret_that_comes_or_goes_is_masked() -> None:
    assert "hunter2" not in "\n".join(object_diff(container(), env("TOKEN", "hunter2")))
    assert "hunter2" not in "\n".join(object_diff(env("TOKEN", "hunter2"), container()))


def test_an_annotation_whose_name_speaks_of_a_secret_is_masked() -> None:
    old = {"metadata": {"annotations": {"vault.example.com/token": "s.1"}}}
    new = {"metadata": {"annotations": {"vault.example.com/token": "s.2"}}}
    lines = changed(old, new)
    assert len(lines) == 2
    assert "s.1" not in str(lines)
    assert "s.2" not in str(lines)


@pytest.mark.parametrize(
    "argument", ["--password={}", "--api-key={}", "--auth.token={}", "-token={}", "DB_PASSWORD={}"]
)
def test_a_secret_in_an_argument_is_masked(argument: str) -> None:
    old, new = (container(args=["--v=2", argument.format(x)]) for x in ("hunter1", "hunter2"))
    text = "\n".join(object_diff(old, new))
    assert "hunter" not in text
    assert "--v=2" in text
    assert len(changed(old, new)) == 2


def test_the_value_behind_a_secret_flag_is_masked() -> None:
    old, new = (container(args=["--token", x, "--v=2"]) for x in ("hunter1", "hunter2"))
    text = "\n".join(object_diff(old, new))
    assert "hunter" not in text
    assert "--v=2" in text


def test_a_password_in_an_address_is_masked_and_its_change_still_shows() -> None:
    old, new = (env("DB", f"postgres://u:{x}@db:5432/x") for x in ("hunter1", "hunter2"))
    assert changed(old, new) == [
        f"-value: postgres://u:{MASK} (before)@db:5432/x",
        f"+value: postgres://u:{MASK} (after)@db:5432/x",
    ]
    arguments = container(args=["--db", "postgres://u:hunter2@db"])
    assert "hunter2" not in "\n".join(object_diff(container(), arguments))


@pytest.mark.parametrize("name", ["TOKEN_FILE", "PASSWORD_PATH", "SECRET_NAME", "tokenDir"])
def test_a_variable_that_says_where_a_secret_is_shows(name: str) -> None:
    assert changed(env(name, "/a"), env(name, "/b")) == ["-value: /a", "+value: /b"]


@pytest.mark.parametrize("name", ["auth-proxy", "token-renewer", "secrets-store"])
def test_the_image_of_a_container_shows_whatever_the_containers_name(name: str) -> None:
    lines = changed(container(name), container(name, "agent:2"))
    assert lines == ["-- image: agent:1", "+- image: agent:2"]


@pytest.mark.parametrize(
    ("old", "new", "shown"),
    [
        (
            {"volumes": [{"name": "tls", "secret": {"secretName": "tls-1"}}]},
            {"volumes": [{"name": "tls", "secret": {"secretName": "tls-2"}}]},
            "secretName: tls-2",
        ),
        (
            {"env": [{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k1"}}}]},
            {"env": [{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k2"}}}]},
            "key: k2",
        ),
        (
            {"imagePullSecrets": [{"name": "registry-1"}]},
            {"imagePullSecrets": [{"name": "registry-2"}]},
            "name: registry-2",
        ),
        (
            {"serviceAccountToken": {"path": "a", "audience": "vault"}},
            {"serviceAccountToken": {"path": "b", "audience": "vault"}},
            "path: b",
        ),
    ],
)
def test_a_reference_to_a_secret_is_no_secret(
    old: dict[str, Any], new: dict[str, Any], shown: str
) -> None:
    assert shown in "\n".join(object_diff(old, new))


def test_a_last_applied_configuration_shows_no_secret() -> None:
    annotation = "kubectl.kubernetes.io/last-applied-configuration"
    old = {"metadata": {"annotations": {annotation: '{"env":[{"name":"P","value":"hunter1"}]}'}}}
    new = {"metadata": {"annotations": {annotation: '{"env":[{"name":"P","value":"hunter2"}]}'}}}
    assert "hunter" not in "\n".join(object_diff(old, new))
    assert len(changed(old, new)) == 2


@given(
    st.lists(st.sampled_from(["PASSWORD", "TOKEN", "LEVEL", "MODE"]), unique=True),
    st.lists(st.sampled_from(["PASSWORD", "TOKEN", "LEVEL", "MODE"]), unique=True),
    st.integers(0, 2),
)
def test_no_secret_value_is_ever_shown(before: list[str], after: list[str], change: int) -> None:
    def variables(names: list[str], number: int) -> dict[str, Any]:
        secret = {"PASSWORD", "TOKEN"}
        return container(
            env=[{"name": n, "value": f"{'hunter' if n in secret else 'x'}{number}"} for n in names]
        )

    text = "\n".join(object_diff(variables(before, 0), variables(after, change)))
    assert "hunter" not in text
