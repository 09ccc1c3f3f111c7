from __future__ import annotations

from pathlib import Path

import pytest

from tests.spectexts import HEAD, complaint, load, with_target


def test_the_smallest_spec_has_every_default(tmp_path: Path) -> None:
    spec = load(tmp_path, HEAD).spec
    body = spec.spec
    assert (spec.metadata.name, spec.metadata.namespace) == ("agent-2", "logging")
    assert body.waves is None  # the profile standard
    assert body.nodes.order == ()
    assert body.nodes.defer_not_ready
    assert body.nodes.cordoned == "include"
    assert (body.health.soak_s, body.health.node_timeout_s) == (10.0, 600.0)
    assert "ErrImagePull" in body.health.fail_fast
    assert (body.failure.max_failures, body.failure.on_failure) == (0, "hold")
    assert body.limits.max_nodes_in_flight is None
    assert body.limits.replacements_per_second == 5.0
    assert body.daemon_sets[0].strategy is None


@pytest.mark.parametrize(
    ("target", "kind"),
    [
        ("{restart: true}", "restart"),
        ("{live: true}", "live"),
        ("{revision: 7}", "revision"),
        ("{set: {image: {agent: 'agent:2'}}}", "set"),
    ],
)
def test_each_target_says_its_kind(tmp_path: Path, target: str, kind: str) -> None:
    loaded = load(tmp_path, with_target(target))
    assert loaded.spec.spec.daemon_sets[0].target.kind == kind


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (HEAD.replace("v1\n", "v2\n", 1), "spec.yaml:1: apiVersion: is 'rollout/v2'; this tool"),
        (HEAD.replace("apiVersion: rollout/v1\n", ""), "spec.yaml:1: apiVersion: is missing; this"),
        (HEAD.replace("Rollout", "Deployment"), "spec.yaml:2: kind: "),
        ("[1, 2]\n", "spec.yaml:1: a spec is a mapping with apiVersion, kind"),
        ("just text\n", "spec.yaml:1: a spec is a mapping with apiVersion, kind"),
        (HEAD + "  wave: standard\n", "spec.yaml:8: spec.wave: unknown key; did you mean 'waves'?"),
        (
            HEAD + "      after: {}\n",
            "spec.yaml:8: spec.daemonSets[0].after: 'daemonSet' is missing",
        ),
        (HEAD.replace("name: agent-2, ", ""), "spec.yaml:3: metadata: 'name' is missing; add it"),
        (
            HEAD.replace("name: agent-2", "name: 2"),
            "spec.yaml:3: metadata.name: expected 'str', got",
        ),
        (
            HEAD.replace("name: agent-2", "name: ''"),
            "spec.yaml:3: metadata.name: expected 'str' of length >= 1",
        ),
        (
            with_target("{}"),
            "spec.yaml:7: spec.daemonSets[0].target: it is empty; give exactly one",
        ),
        (
            with_target("{live: true, revision: 3}"),
            "spec.yaml:7: spec.daemonSets[0].target: revision and live exclude each other; give",
        ),
        (with_target("{restart: false}"), "spec.yaml:7: spec.daemonSets[0].target.restart: "),
        (with_target("{revision: 0}"), "spec.yaml:7: spec.daemonSets[0].target.revision: expected"),
        (with_target("{set: {}}"), "spec.yaml:7: spec.daemonSets[0].target.set: nothing is set"),
        (
            HEAD + "    - {name: agent, target: {live: true}}\n",
            "spec.yaml:8: spec.daemonSets[1].name: 'agent' stands twice; name it once",
        ),
        (
            HEAD + "  waves: slow\n",
            "spec.yaml:8: spec.waves: 'slow' is not a profile; known are fast",
        ),
        (HEAD + "  waves: []\n", "spec.yaml:8: spec.waves: the list is empty; leave the key out"),
        (HEAD + "  waves: [1, 0]\n", "spec.yaml:8: spec.waves: 0 would select nothing; write 1"),
        (HEAD + "  waves: [1, 120%]\n", "spec.yaml:8: spec.waves: '120%' is over 100%; write at"),
        (
            HEAD + "  waves:\n    - {size: 1}\n    - {size: 0%}\n",
            "spec.yaml:10: spec.waves[1].size: 0 would select nothing",
        ),
        (
            HEAD + "  waves:\n    - {size: 1}\n    - {slice: 2}\n",
            "spec.yaml:10: spec.waves[1].slice: unknown key; did you mean",
        ),
        (
            HEAD + "  waves: [{selector: 'a in'}]\n",
            "spec.yaml:8: spec.waves[0].selector: 'a in' is",
        ),
        (HEAD + "  waves: [{bake: soon}]\n", "spec.yaml:8: spec.waves[0].bake: 'soon' is not a"),
        (
            HEAD + "  waves: [{nodes: [n1], size: 1}]\n",
            "spec.yaml:8: spec.waves[0].nodes: excludes selector, size and by; the list is",
        ),
        (
            HEAD + "  waves: [{by: zone, size: 1}]\n",
            "spec.yaml:8: spec.waves[0].by: excludes spread and size; every value",
        ),
        (
            HEAD + "  waves: [{maxUnavailable: 0}]\n",
            "spec.yaml:8: spec.waves[0].maxUnavailable: 0 would select nothing",
        ),
        (
            HEAD + "  nodes: {order: [size]}\n",
            "spec.yaml:8: spec.nodes.order: 'size' is not a key; use",
        ),
        (
            HEAD + "  nodes: {cordoned: maybe}\n",
            "spec.yaml:8: spec.nodes.cordoned: invalid enum value 'maybe'; write exclude or",
        ),
        (
            HEAD.replace("kind: Rollout", "kind: rollout"),
            "spec.yaml:2: kind: invalid enum value 'rollout'; write Rollout",
        ),
        (
            HEAD.replace("name: agent-2", "name: agent_2"),
            "spec.yaml:3: metadata.name: 'agent_2' cannot be part of an object's name; write",
        ),
        (
            HEAD.replace("name: agent-2", f"name: {'a' * 241}"),
            "spec.yaml:3: metadata.name: 'aaa",
        ),
        (
            HEAD + "  limits: {maxPerZone: 1}\n  failure: {maxFailures: 0.5}\n",
            "spec.yaml:9: spec.failure.maxFailures: expected 'int | str', got 'float'; write a",
        ),
        (HEAD + "  nodes: {selector: '=x'}\n", "spec.yaml:8: spec.nodes.selector: '=x' is not a"),
        (HEAD + "  nodes: {cordoned: maybe}\n", "spec.yaml:8: spec.nodes.cordoned: invalid enum"),
        (HEAD + "  health: {soak: 5}\n  nodez: {}\n", "spec.yaml:9: spec.nodez: unknown key"),
        # A key that was left out has no line of its own: its parent's stands for it.
        (HEAD + "  health: {soak: 1h}\n", "spec.yaml:8: spec.health: nodeTimeout: must be longer"),
        (
            HEAD + "  health:\n    soak: 11m\n    nodeTimeout: 10m\n",
            "spec.yaml:10: spec.health.nodeTimeout: must be longer than soak",
        ),
        (HEAD + "  health: {maxRestarts: -1}\n", "spec.yaml:8: spec.health.maxRestarts: expected"),
        (
            HEAD + "  failure: {maxFailures: '-1'}\n",
            "spec.yaml:8: spec.failure.maxFailures: '-1' is",
        ),
        (
            HEAD + "  failure: {maxFailures: 5, pauseAfter: 5}\n",
            "spec.yaml:8: spec.failure.pauseAfter: 5 must be less than maxFailures (5), or",
        ),
        (
            HEAD + "  failure:\n    maxFailures: 5\n    pauseAfter: 2%\n",
            "spec.yaml:10: spec.failure.pauseAfter: write it as maxFailures is written, count or",
        ),
        (
            HEAD + "  failure: {maxFailuresPerWave: x}\n",
            "spec.yaml:8: spec.failure.maxFailuresPerWave: 'x' is not a count",
        ),
        (
            HEAD + "  failure: {maxUnreachable: 101%}\n",
            "spec.yaml:8: spec.failure.maxUnreachable: '101%' is over 100%",
        ),
        (HEAD + "  failure: {maxConsecutive: -1}\n", "spec.yaml:8: spec.failure.maxConsecutive: "),
        (
            HEAD + "  health: {pauseRestarts: 5, maxRestarts: 2}\n",
            "spec.yaml:8: spec.health.pauseRestarts: 5 must be less than maxRestarts (2), or the",
        ),
        (HEAD + "  limits: {maxNodesInFlight: 0}\n", "spec.yaml:8: spec.limits.maxNodesInFlight: "),
        (
            HEAD + "  limits: {replacementsPerSecond: 0}\n",
            "spec.yaml:8: spec.limits.replacementsPerSecond: ",
        ),
    ],
)
def test_each_mistake_is_one_clear_error_with_file_and_line(
    tmp_path: Path, text: str, expected: str
) -> None:
    found = complaint(tmp_path, text)
    assert found.startswith(expected)
    assert "\n" not in found


@pytest.mark.parametrize(
    ("strategy", "line", "what"),
    [
        ("{maxUnavailable: 0}", 8, "maxUnavailable: cannot be 0 when maxSurge is 0"),
        ("{maxUnavailable: 0%, maxSurge: 0}", 8, "maxUnavailable: cannot be 0 when maxSurge is 0"),
        ("{maxUnavailable: 0, maxSurge: 0%}", 8, "maxUnavailable: cannot be 0 when maxSurge is 0"),
        ("{maxSurge: 1}", 8, "maxSurge: may not be set when maxUnavailable is non-zero"),
        ("{maxUnavailable: 1, maxSurge: 1}", 8, "maxSurge: may not be set when"),
        ("{maxUnavailable: 10%, maxSurge: 5%}", 8, "maxSurge: may not be set when"),
        ("{maxUnavailable: 101%}", 8, "maxUnavailable: '101%' is over 100%"),
        ("{maxUnavailable: '5'}", 8, "maxUnavailable: '5' is not a count or a percentage"),
        ("{maxUnavailable: -1}", 8, "maxUnavailable: '-1' is not a count or a percentage"),
        ("{maxUnavailable: 0, maxSurge: lots}", 8, "maxSurge: 'lots' is not a count"),
        ("\n        maxUnavailable: 0\n        maxSurge: 0", 9, "maxUnavailable: cannot be 0"),
        ("\n        maxUnavailable: 2\n        maxSurge: 1", 10, "maxSurge: may not be set"),
    ],
)
def test_limits_that_kubernetes_refuses_are_refused_where_they_stand(
    tmp_path: Path, strategy: str, line: int, what: str
) -> None:
    found = complaint(tmp_path, f"{HEAD}      strategy: {strategy}\n")
    assert found.startswith(f"spec.yaml:{line}: spec.daemonSets[0].strategy")
    assert what in found


@pytest.mark.parametrize("strategy", ["{maxUnavailable: 5000}", "{maxUnavailable: 100%}", "{}"])
def test_limits_that_kubernetes_takes_are_taken(tmp_path: Path, strategy: str) -> None:
    load(tmp_path, f"{HEAD}      strategy: {strategy}\n")
