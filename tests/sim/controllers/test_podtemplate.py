"""The pods that a template makes (behaviour.md 1.2, 1.4, 6.2)."""

from __future__ import annotations

from rollout.sim.controllers.decisions import Target
from rollout.sim.controllers.podtemplate import PodTemplate
from rollout.sim.store import Object

OLD_TERM = {"matchExpressions": [{"key": "pool", "operator": "Exists"}]}
PREFERRED = [{"weight": 1, "preference": OLD_TERM}]


def daemon_set(**spec: object) -> Object:
    template = {
        "metadata": {
            "labels": {"app": "agent"},
            "annotations": {"note": "1"},
            "finalizers": ["a.b/keep"],
        },
        "spec": {"containers": [{"name": "c", "image": "x"}], **spec},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": "agent", "namespace": "ns", "uid": "u"},
        "spec": {"template": template},
    }


def made(body: Object, node: str = "n1", generation: str = "3") -> Object:
    return PodTemplate(body, Target("hash", generation)).for_node(node)


def test_labels_annotations_finalizers_and_owner_are_set() -> None:
    meta = made(daemon_set())["metadata"]
    assert meta["generateName"] == "agent-"
    assert meta["labels"] == {
        "app": "agent",
        "controller-revision-hash": "hash",
        "pod-template-generation": "3",
    }
    assert (meta["annotations"], meta["finalizers"]) == ({"note": "1"}, ["a.b/keep"])
    (owner,) = meta["ownerReferences"]
    assert (owner["kind"], owner["controller"], owner["blockOwnerDeletion"]) == (
        "DaemonSet",
        True,
        True,
    )


def test_an_unknown_generation_leaves_no_label() -> None:
    assert "pod-template-generation" not in made(daemon_set(), generation="")["metadata"]["labels"]


def test_required_node_affinity_is_replaced_and_the_rest_is_kept() -> None:
    affinity = {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [OLD_TERM]},
            "preferredDuringSchedulingIgnoredDuringExecution": PREFERRED,
        },
        "podAntiAffinity": {"x": 1},
    }
    spec = made(daemon_set(affinity=affinity, nodeSelector={"pool": "edge"}))["spec"]
    required = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert required == {
        "nodeSelectorTerms": [
            {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]}
        ]
    }
    node_affinity = spec["affinity"]["nodeAffinity"]
    assert node_affinity["preferredDuringSchedulingIgnoredDuringExecution"] == PREFERRED
    assert spec["affinity"]["podAntiAffinity"] == {"x": 1}
    assert spec["nodeSelector"] == {"pool": "edge"}
    assert "nodeName" not in spec


def test_pods_of_one_template_share_what_does_not_name_the_node() -> None:
    template = PodTemplate(daemon_set(), Target("hash", "1"))
    first, second = template.for_node("a"), template.for_node("b")
    assert first["spec"]["containers"] is second["spec"]["containers"]
    assert first["metadata"]["labels"] is second["metadata"]["labels"]


def test_host_network_tolerates_a_missing_network() -> None:
    keys = [t["key"] for t in made(daemon_set(hostNetwork=True))["spec"]["tolerations"]]
    assert keys[-1] == "node.kubernetes.io/network-unavailable"
    assert len(keys) == 7
