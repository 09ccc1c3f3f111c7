"""Which cluster and as whom: real files, no request."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml

from rollout.cluster.client import connect
from rollout.cluster.connect import Target, load_target
from rollout.errors import ClusterError, ExitCode, Forbidden, UsageError
from tests.cluster.world import CERTIFICATE, Reply, pod, serve, write_kubeconfig

URL = "http://127.0.0.1:8001"


def token_of(target: Target) -> str:
    return str(target.configuration.api_key["BearerToken"])


def test_context_namespace_and_server_come_from_the_file(tmp_path: Path) -> None:
    path = tmp_path / "config"
    write_kubeconfig(path, URL + "/", context="prod", namespace="logging")
    target = load_target(path, None)
    assert (target.context, target.namespace, target.server) == ("prod", "logging", URL)


def test_an_explicit_namespace_wins_and_the_last_resort_is_default(tmp_path: Path) -> None:
    path = tmp_path / "config"
    write_kubeconfig(path, URL)
    for asked, expected in ((None, "default"), ("mine", "mine")):
        client = connect(path, None, asked)
        assert client.namespace == expected
        client.close()


def test_our_settings_hold_whatever_the_file_says(tmp_path: Path) -> None:
    path = tmp_path / "config"
    write_kubeconfig(path, URL)
    configuration = load_target(path, None).configuration
    assert configuration.retries is False
    assert configuration.connection_pool_maxsize == 32
    assert configuration.keep_alive


def test_several_files_are_merged_and_the_first_that_names_something_wins(tmp_path: Path) -> None:
    first, second, empty = tmp_path / "a", tmp_path / "b", tmp_path / "empty"
    write_kubeconfig(first, URL, context="one", namespace="first")
    write_kubeconfig(second, URL + "9", context="two", namespace="second")
    document = yaml.safe_load(second.read_text())
    document["contexts"].append({"name": "one", "context": {"cluster": "x", "user": "y"}})
    second.write_text(yaml.safe_dump(document))
    empty.write_text("")
    files = os.pathsep.join([str(tmp_path / "missing"), str(empty), str(first), str(second)])
    environ = {"KUBECONFIG": files}
    assert load_target(None, None, environ=environ).context == "one"
    assert load_target(None, None, environ=environ).namespace == "first"
    assert load_target(None, "two", environ=environ).namespace == "second"


def test_an_unknown_context_is_answered_with_those_that_exist(tmp_path: Path) -> None:
    path = tmp_path / "config"
    write_kubeconfig(path, URL, context="prod")
    with pytest.raises(UsageError, match=r"context 'prd' is not in .*config; it has: prod"):
        load_target(path, "prd")


def test_a_file_that_was_asked_for_must_exist(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nowhere does not exist") as caught:
        load_target(tmp_path / "nowhere", None)
    assert caught.value.exit_code is ExitCode.USAGE


def test_without_any_configuration_the_places_are_named(tmp_path: Path) -> None:
    environ = {"KUBECONFIG": str(tmp_path / "gone")}
    with pytest.raises(ClusterError, match=r"no kubeconfig found .*gone.*--kubeconfig") as caught:
        load_target(None, None, environ=environ, service_account=tmp_path)
    assert caught.value.exit_code is ExitCode.ERROR


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [1\nb: 2\n", r"config:2: not YAML"),
        ("just text", "not a mapping"),
        ("contexts: 7\ncurrent-context: x", "contexts is not a list"),
        ("contexts: [{nome: x}]", "contexts is not a list of named entries"),
        ("apiVersion: v1", "no current context"),
        ("\x00", "cannot be read"),
    ],
)
def test_a_broken_file_is_said_in_one_line(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises((ClusterError, UsageError), match=words) as caught:
        load_target(path, None)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"clusters": []}, "names the cluster 'c', which is not in"),
        ({"users": []}, "names the user 'u', which is not in"),
        ({"clusters": [{"name": "c", "cluster": {}}]}, "the server None is not an http"),
        ({"clusters": [{"name": "c", "cluster": {"server": "ftp://x"}}]}, "'ftp://x' is not"),
        ({"clusters": [{"name": "c", "cluster": {"server": "http://"}}]}, "'http://' is not"),
        (
            {"clusters": [{"name": "c", "cluster": {"server": "https://h:99999"}}]},
            "'https://h:99999' is not",
        ),
        (
            {
                "clusters": [
                    {
                        "name": "c",
                        "cluster": {"server": "https://h", "certificate-authority": "gone.pem"},
                    }
                ]
            },
            "gone.pem",
        ),
        (
            {"users": [{"name": "u", "user": {"auth-provider": {"name": "azure"}}}]},
            "auth-provider 'azure' gave no token",
        ),
    ],
)
def test_what_cannot_work_is_refused_before_any_request(
    tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    path = tmp_path / "config"
    write_kubeconfig(path, URL)
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **change}))
    with pytest.raises(ClusterError, match=words):
        load_target(path, None)


def test_a_password_in_the_url_is_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "config"
    write_kubeconfig(path, "https://me:hidden@example.test:6443/prefix")
    assert load_target(path, None).server == "https://example.test:6443/prefix"


# Credentials


def plugin(directory: Path, script: str) -> dict[str, Any]:
    path = directory / "plugin"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return {
        "exec": {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": str(path),
            "interactiveMode": "Never",
            "installHint": "install it from example.test",
        }
    }


def credential(token: str) -> str:
    return json.dumps(
        {
            "apiVersion": "client.authentication.k8s.io/v1",
            "kind": "ExecCredential",
            "status": {"token": token},
        }
    )


def test_an_exec_plugin_gives_the_token(tmp_path: Path) -> None:
    path = tmp_path / "config"
    write_kubeconfig(path, URL, user=plugin(tmp_path, f"echo '{credential('from-plugin')}'"))
    assert token_of(load_target(path, None)) == "Bearer from-plugin"


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo 'please log in' >&2; exit 3", "returned 3. please log in"),
        ("echo garbage", "failed to decode"),
        ("echo '{}'", "missing key"),
    ],
)
def test_a_failed_plugin_is_no_anonymous_access(
    tmp_path: Path, script: str, words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "config"
    write_kubeconfig(path, URL, user=plugin(tmp_path, script))
    with pytest.raises(Forbidden, match=words) as caught:
        load_target(path, None)
    assert caught.value.exit_code is ExitCode.NOT_AUTHORISED
    assert "install it from example.test" in str(caught.value)
    assert capfd.readouterr().err == ""


def test_a_missing_plugin_is_named_with_its_hint(tmp_path: Path) -> None:
    user = plugin(tmp_path, "true")
    user["exec"]["command"] = "no-such-plugin"
    path = tmp_path / "config"
    write_kubeconfig(path, URL, user=user)
    with pytest.raises(Forbidden, match=r"'no-such-plugin' failed: .*; install it from"):
        load_target(path, None)


def test_a_plugin_is_asked_again_when_its_token_stops_working(tmp_path: Path) -> None:
    count = tmp_path / "count"
    script = f"echo x >> {count}; n=$(wc -l < {count}); echo '{credential('T')}' | sed s/T/t$n/"
    path = tmp_path / "config"
    with serve(
        lambda asked: Reply(
            pod("a", 1), 200 if asked.headers["authorization"] == "Bearer t2" else 401
        )
    ) as world:
        write_kubeconfig(path, world.url, user=plugin(tmp_path, script))
        client = connect(path)
        client.get("/api/v1/pods/a", dict)
        client.get("/api/v1/pods/a", dict)
        client.close()
    assert count.read_text() == "x\nx\n", "once at the start, once after the 401"


def test_a_token_file_may_end_in_a_line_end(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("abc\n")
    path = tmp_path / "config"
    write_kubeconfig(path, URL, user={"tokenFile": str(tmp_path / "token")})
    target = load_target(path, None)
    assert token_of(target) == "Bearer abc"
    target.configuration.auth_settings()
    assert token_of(target) == "Bearer abc"


def test_impersonation_is_sent_and_not_ignored(tmp_path: Path) -> None:
    user = {
        "token": "t",
        "as": "jane",
        "as-uid": "42",
        "as-groups": ["dev", "ops"],
        "as-user-extra": {"reason/why": ["audit"]},
    }
    path = tmp_path / "config"
    with serve(lambda _: Reply(pod("a", 1))) as world:
        write_kubeconfig(path, world.url, user=user)
        client = connect(path)
        client.get("/api/v1/pods/a", dict)
        client.close()
    headers = world.asked[0].headers
    assert headers["impersonate-user"] == "jane"
    assert headers["impersonate-uid"] == "42"
    assert headers["impersonate-group"] in ("ops", "dev, ops")
    assert headers["impersonate-extra-reason%2fwhy"] == "audit"
    assert load_target(path, None).headers.count(("Impersonate-Group", "dev")) == 1


# Inside a pod


def account(directory: Path) -> dict[str, str]:
    (directory / "token").write_text("pod-token\n")
    (directory / "namespace").write_text("logging")
    (directory / "ca.crt").write_text(CERTIFICATE.read_text())
    return {
        "KUBECONFIG": str(directory / "none"),
        "KUBERNETES_SERVICE_HOST": "fd00::1",
        "KUBERNETES_SERVICE_PORT": "443",
    }


def test_inside_a_pod_its_own_account_is_used(tmp_path: Path) -> None:
    target = load_target(None, None, environ=account(tmp_path), service_account=tmp_path)
    assert target.server == "https://[fd00::1]:443"
    assert (target.context, target.namespace) == ("in-cluster", "logging")
    assert token_of(target).lower() == "bearer pod-token"


def test_a_kubeconfig_goes_before_the_pods_account(tmp_path: Path) -> None:
    environ = account(tmp_path)
    write_kubeconfig(tmp_path / "none", URL, context="prod")
    target = load_target(None, None, environ=environ, service_account=tmp_path)
    assert target.context == "prod"


def test_a_broken_account_is_said(tmp_path: Path) -> None:
    environ = account(tmp_path)
    del environ["KUBERNETES_SERVICE_HOST"]
    with pytest.raises(ClusterError, match="inside a pod, but"):
        load_target(None, None, environ=environ, service_account=tmp_path)


@pytest.mark.parametrize(
    ("server", "cluster", "expected"),
    [
        ("http://127.0.0.1:8001", {}, None),
        ("http://localhost:8001", {}, None),
        ("http://[::1]:8001", {}, None),
        ("http://kube.example:8001", {}, "http://env.example:3128"),
        ("http://127.0.0.1:8001", {"proxy-url": "http://own.example"}, "http://own.example"),
        ("http://kube.example:8001", {"proxy-url": "http://own.example"}, "http://own.example"),
    ],
)
def test_the_environments_proxy_is_not_asked_for_this_machine(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    server: str,
    cluster: dict[str, str],
    expected: str | None,
) -> None:
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://env.example:3128")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    write_kubeconfig(tmp_path / "config", server, cluster=cluster)
    assert load_target(tmp_path / "config", None).configuration.proxy == expected
