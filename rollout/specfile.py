"""Reads specs and the manifests that they name: the files, and nothing else."""

from __future__ import annotations

import sys
from pathlib import Path

from rollout.errors import UsageError
from rollout.fleet.objects import JsonObject
from rollout.spec import API_VERSION, DaemonSetItem, LoadedSpec, Spec
from rollout.yamlsource import Source, read_document, read_documents


def load_spec(path: Path) -> LoadedSpec:
    """Read and check a spec and the manifests that it names; `-` reads standard input.

    Raises:
        DocumentError: with `file:line` and a cure, on anything that is wrong in them.
    """
    source = _read(path)
    if not isinstance(source.value, dict):
        raise source.error((), "a spec is a mapping with apiVersion, kind, metadata and spec")
    version = source.value.get("apiVersion")
    if version != API_VERSION:
        raise source.error(("apiVersion",), f"is {version!r}; this tool reads '{API_VERSION}'")
    spec = source.convert(Spec)
    names = [item.name for item in spec.spec.daemon_sets]
    for index, item in enumerate(spec.spec.daemon_sets):
        if item.name in names[:index]:
            raise source.error(
                ("spec", "daemonSets", index, "name"), f"'{item.name}' stands twice; name it once"
            )
    manifests: dict[str, JsonObject] = {}
    ignored: list[str] = []
    for index, item in enumerate(spec.spec.daemon_sets):
        if item.target.manifest is not None:
            found, others = _load_manifest(path, item, source, index)
            manifests[item.name] = found
            ignored.extend(others)
    return LoadedSpec(spec, source, manifests, tuple(dict.fromkeys(ignored)))


def _read(path: Path) -> Source:
    if str(path) == "-":
        return read_document(None, sys.stdin.read())
    return read_document(path)


def _load_manifest(
    spec_path: Path, item: DaemonSetItem, source: Source, index: int
) -> tuple[JsonObject, list[str]]:
    """Find the item's DaemonSet among the documents of its manifest; name what else is there."""
    at = ("spec", "daemonSets", index, "target", "manifest")
    name = item.target.manifest
    assert name is not None
    if name == "-":
        if str(spec_path) == "-":
            raise UsageError("spec and manifest cannot both come from standard input; use a file")
        documents = read_documents(None, sys.stdin.read())
    else:
        documents = read_documents(spec_path.parent / name)
    found: JsonObject | None = None
    others: list[str] = []
    for document in _flatten(documents):
        value = document.value
        metadata = value.get("metadata") or {}
        label = f"{value.get('kind')} {metadata.get('name')}"
        namespace = metadata.get("namespace")
        wanted = item.namespace or source.value["metadata"].get("namespace", "")
        is_it = (
            value.get("apiVersion") == "apps/v1"
            and value.get("kind") == "DaemonSet"
            and metadata.get("name") == item.name
            and (not namespace or not wanted or namespace == wanted)
        )
        if not is_it:
            others.append(label)
            continue
        if found is not None:
            raise source.error(at, f"{name} holds the DaemonSet {item.name} twice; keep one")
        if not isinstance((value.get("spec") or {}).get("template"), dict):
            raise document.error(("spec",), "the DaemonSet has no spec.template; add it")
        found = value
    if found is None:
        there = f"; it holds {', '.join(others)}" if others else ""
        raise source.error(at, f"{name} holds no apps/v1 DaemonSet '{item.name}'{there}")
    return found, others


def _flatten(documents: list[Source]) -> list[Source]:
    """Unpack `kind: List` documents, as `kubectl get -o yaml` writes them."""
    flat: list[Source] = []
    for document in documents:
        if not isinstance(document.value, dict):
            raise document.error((), "a Kubernetes object is a mapping; is it the right file?")
        if document.value.get("kind") == "List":
            flat.extend(
                Source(document.name, item, {})
                for item in document.value.get("items") or ()
                if isinstance(item, dict)
            )
        else:
            flat.append(document)
    return flat
