from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from rollout.errors import UsageError
from rollout.specfile import load_spec
from tests.spectexts import HEAD, complaint, load, with_target

DAEMON_SET = """\
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent, namespace: logging}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec: {containers: [{name: agent, image: "agent:2"}]}
"""


def stdin_of(text: str) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(text.encode()), encoding="utf-8")


def test_a_manifest_is_found_beside_the_spec_and_taken_whole(tmp_path: Path) -> None:
    (tmp_path / "agent.yaml").write_text(DAEMON_SET, encoding="utf-8")
    loaded = load(tmp_path, with_target("{manifest: agent.yaml}"))
    assert loaded.manifests["agent"]["spec"]["template"]["spec"]["containers"] == [
        {"name": "agent", "image": "agent:2"}
    ]
    assert loaded.ignored == ()


def test_other_objects_of_a_manifest_are_named_and_left_alone(tmp_path: Path) -> None:
    others = (
        "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings, namespace: logging}\n"
        f"---\n{DAEMON_SET.replace('name: agent,', 'name: other,')}"
    )
    (tmp_path / "agent.yaml").write_text(DAEMON_SET + others, encoding="utf-8")
    loaded = load(tmp_path, with_target("{manifest: agent.yaml}"))
    assert loaded.manifests.keys() == {"agent"}
    assert [label.split("/")[-1].split()[-1] for label in loaded.ignored] == ["settings", "other"]


def test_a_list_as_kubectl_writes_it_is_unpacked(tmp_path: Path) -> None:
    item = "\n".join(f"  {line}" for line in DAEMON_SET.splitlines())
    text = f"apiVersion: v1\nkind: List\nitems:\n-{item[1:]}\n"
    (tmp_path / "agent.yaml").write_text(text, encoding="utf-8")
    assert load(tmp_path, with_target("{manifest: agent.yaml}")).manifests.keys() == {"agent"}


@pytest.mark.parametrize(
    ("manifest", "expected"),
    [
        (
            DAEMON_SET.replace("name: agent,", "name: other,"),
            "holds no apps/v1 DaemonSet 'agent'; it holds DaemonSet other",
        ),
        (DAEMON_SET.replace("apps/v1", "extensions/v1beta1"), "holds no apps/v1 DaemonSet 'agent'"),
        (
            DAEMON_SET.replace("namespace: logging", "namespace: x"),
            "it holds DaemonSet agent in namespace x, not logging",
        ),
        (f"{DAEMON_SET}---\n{DAEMON_SET}", "holds the DaemonSet agent twice; keep one"),
    ],
)
def test_a_manifest_without_the_one_daemonset_is_refused_at_the_line_that_names_it(
    tmp_path: Path, manifest: str, expected: str
) -> None:
    (tmp_path / "agent.yaml").write_text(manifest, encoding="utf-8")
    found = complaint(tmp_path, with_target("{manifest: agent.yaml}"))
    assert found.startswith("spec.yaml:7: spec.daemonSets[0].target.manifest: agent.yaml holds")
    assert expected in found


@pytest.mark.parametrize(
    ("manifest", "expected"),
    [
        ("- 1\n", "agent.yaml:1: a Kubernetes object is a mapping"),
        ("a: [\n", "agent.yaml:2: not valid YAML"),
        ("kind: List\nitems: [text]\n", "agent.yaml:1: a Kubernetes object is a mapping"),
        ("kind: List\nitems: [{metadata: x}]\n", "agent.yaml:1: metadata: is a mapping"),
        (
            "apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {name: agent}\nspec: {}\n",
            "agent.yaml:4: spec: the DaemonSet has no spec.template; add it",
        ),
        (
            "apiVersion: apps/v1\nkind: DaemonSet\nmetadata: agent\nspec: {}\n",
            "agent.yaml:3: metadata: ",
        ),
        (
            "apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {name: agent}\nspec: text\n",
            "agent.yaml:4: spec: ",
        ),
    ],
)
def test_a_mistake_in_the_manifest_points_into_the_manifest(
    tmp_path: Path, manifest: str, expected: str
) -> None:
    (tmp_path / "agent.yaml").write_text(manifest, encoding="utf-8")
    assert complaint(tmp_path, with_target("{manifest: agent.yaml}")).startswith(expected)


def test_a_manifest_that_is_not_there_is_named(tmp_path: Path) -> None:
    found = complaint(tmp_path, with_target("{manifest: none.yaml}"))
    assert "none.yaml: cannot be read: No such file" in found


def test_a_manifest_may_come_from_standard_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", stdin_of(DAEMON_SET))
    assert "agent" in load(tmp_path, with_target("{manifest: '-'}")).manifests


def test_a_spec_may_come_from_standard_input_but_not_with_its_manifest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stdin", stdin_of(HEAD))
    assert load_spec(Path("-")).spec.metadata.name == "agent-2"
    monkeypatch.setattr(sys, "stdin", stdin_of(with_target("{manifest: '-'}")))
    with pytest.raises(UsageError, match="spec and manifest cannot both come from standard input"):
        load_spec(Path("-"))


def test_two_daemonsets_may_come_from_one_stream(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = DAEMON_SET.replace("name: agent,", "name: exporter,")
    settings = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\n"
    monkeypatch.setattr(sys, "stdin", stdin_of(f"{DAEMON_SET}---\n{other}---\n{settings}"))
    text = with_target("{manifest: '-'}") + "    - {name: exporter, target: {manifest: '-'}}\n"
    loaded = load(tmp_path, text)
    assert loaded.manifests.keys() == {"agent", "exporter"}
    assert loaded.ignored == ("ConfigMap settings",)


def test_a_daemonset_of_the_spec_is_not_called_left_alone(tmp_path: Path) -> None:
    other = DAEMON_SET.replace("name: agent,", "name: exporter,")
    (tmp_path / "all.yaml").write_text(f"{DAEMON_SET}---\n{other}", encoding="utf-8")
    text = with_target("{manifest: all.yaml}") + (
        "    - {name: exporter, target: {manifest: all.yaml}}\n"
    )
    assert load(tmp_path, text).ignored == ()


GATED = (
    HEAD
    + """\
  gates:
    - {name: errors, kind: pods, at: after-wave}
    - name: %s
      kind: http
      at: %s
      url: https://example.com/
      successCondition: %s
"""
)


@pytest.mark.parametrize(
    ("name", "at", "condition", "wanted"),
    [
        ("errors", "after-wave", "result < 1", "spec.yaml:10: spec.gates[1].name: 'errors' stands"),
        ("a", "sometimes", "result < 1", "spec.yaml:12: spec.gates[1].at: "),
        ("a", "preflight", "result <", "spec.yaml:14: spec.gates[1].successCondition: not CEL"),
        ("a", "preflight", "bogus", "spec.yaml:14: spec.gates[1].successCondition: 'bogus' is unk"),
    ],
)
def test_what_is_wrong_with_a_gate_is_found_at_its_line(
    tmp_path: Path, name: str, at: str, condition: str, wanted: str
) -> None:
    assert complaint(tmp_path, GATED % (name, at, condition)).startswith(wanted)


def test_a_gate_may_not_have_the_name_of_the_windows(tmp_path: Path) -> None:
    windows = '  windows: [{allow: "0 22 * * *", for: 1h}]\n'
    assert "spec.gates[1].name: 'windows' stands twice" in complaint(
        tmp_path, GATED % ("windows", "preflight", "result < 1") + windows
    )


def test_a_sink_is_named_once(tmp_path: Path) -> None:
    sink = "{name: ops, kind: slack, url: 'https://example.com/'}"
    text = HEAD + f"  notify: [{sink}, {sink}]\n"
    assert "spec.notify[1].name: 'ops' stands twice" in complaint(tmp_path, text)
