"""Reads specs and the manifests that they name: the files, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec

from rollout.errors import UsageError
from rollout.fleet.objects import JsonObject
from rollout.gates.conditions import ConditionError, check
from rollout.spec import API_VERSION, PROFILES, DaemonSetItem, LoadedSpec, Spec, window_gates
from rollout.yamlsource import Source, read_document, read_documents


def load_spec(path: Path) -> LoadedSpec:
    """Read and check a spec and the manifests that it names; `-` reads standard input.

    Raises:
        DocumentError: with `file:line` and a cure, on anything that is wrong in them.
    """
    source = _read(path)
    if not isinstance(source.value, dict):
        raise source.error((), "a spec is a mapping with apiVersion, kind, metadata and spec")
    if source.value.get("kind") == "Plan":
        raise source.error((), "this is a saved plan, not a spec; 'apply' takes it without -f")
    version = source.value.get("apiVersion")
    if version != API_VERSION:
        said = "is missing" if version is None else f"is {version!r}"
        raise source.error(("apiVersion",), f"{said}; this tool reads '{API_VERSION}'")
    spec = source.convert(Spec)
    names = [item.name for item in spec.spec.daemon_sets]
    for index, item in enumerate(spec.spec.daemon_sets):
        if item.name in names[:index]:
            raise source.error(
                ("spec", "daemonSets", index, "name"), f"'{item.name}' stands twice; name it once"
            )
    taken = {gate.name for gate in window_gates(spec.spec)}
    _check_names(source, "gates", [gate.name for gate in spec.spec.gates], taken)
    _check_names(source, "notify", [sink.name for sink in spec.spec.notify], set())
    _check_conditions(source, spec)
    return _with_manifests(path, spec, source)


def _check_names(source: Source, key: str, names: list[str], taken: set[str]) -> None:
    for index, name in enumerate(names):
        if name in taken:
            message = f"'{name}' stands twice; verdicts and messages go by name"
            raise source.error(("spec", key, index, "name"), message)
        taken.add(name)


def _check_conditions(source: Source, spec: Spec) -> None:
    for index, gate in enumerate(spec.spec.gates):
        try:
            check(gate)
        except ConditionError as error:
            field, _, why = str(error).partition(": ")
            raise source.error(("spec", "gates", index, field), why) from None


def _with_manifests(path: Path, spec: Spec, source: Source) -> LoadedSpec:
    """Read every manifest file once, also where several DaemonSets come from one stream."""
    files: dict[str, list[Source]] = {}
    taken: dict[str, JsonObject] = {}
    for index, item in enumerate(spec.spec.daemon_sets):
        name = item.target.manifest
        if name is None:
            continue
        if name not in files:
            files[name] = _flatten(_read_manifest(path, name))
        taken[item.name] = _find(files[name], item, source, index)
    ours = {id(manifest) for manifest in taken.values()}
    others = [d.value for found in files.values() for d in found if id(d.value) not in ours]
    return LoadedSpec(spec, source, taken, tuple(dict.fromkeys(_label(o) for o in others)))


def with_waves(loaded: LoadedSpec, text: str) -> LoadedSpec:
    """Return the spec with other waves: a profile, or sizes such as `1,10%,100%`.

    Raises:
        UsageError: when it is neither.
    """
    sizes = tuple(int(s) if s.isdigit() else s for s in text.replace(" ", "").split(","))
    try:
        body = msgspec.structs.replace(loaded.spec.spec, waves=text if text in PROFILES else sizes)
    except ValueError as error:
        or_profile = f"; or a profile: {', '.join(PROFILES)}"
        raise UsageError(f"--waves {text}: {error}{or_profile}") from None
    return replace(loaded, spec=msgspec.structs.replace(loaded.spec, spec=body))


def _read(path: Path) -> Source:
    if str(path) == "-":
        return read_document(None)
    return read_document(path)


def _read_manifest(spec_path: Path, name: str) -> list[Source]:
    if name != "-":
        return read_documents(spec_path.parent / name)
    if str(spec_path) == "-":
        raise UsageError("spec and manifest cannot both come from standard input; use a file")
    return read_documents(None)


def _find(documents: list[Source], item: DaemonSetItem, source: Source, index: int) -> JsonObject:
    """Find the item's DaemonSet among the documents of its manifest."""
    at = ("spec", "daemonSets", index, "target", "manifest")
    name = item.target.manifest
    wanted = item.namespace or source.value["metadata"].get("namespace", "")
    found = [d for d in documents if _is_it(d.value, item.name, wanted)]
    if not found:
        there = ", ".join(f"{_label(d.value)}{_place(d.value, wanted)}" for d in documents)
        holds = f"; it holds {there}" if there else ""
        raise source.error(at, f"{name} holds no apps/v1 DaemonSet '{item.name}'{holds}")
    if len(found) > 1:
        raise source.error(at, f"{name} holds the DaemonSet {item.name} twice; keep one")
    spec = found[0].value.get("spec")
    if not isinstance(spec, dict) or not isinstance(spec.get("template"), dict):
        raise found[0].error(("spec",), "the DaemonSet has no spec.template; add it")
    manifest: JsonObject = found[0].value
    return manifest


def _is_it(value: JsonObject, name: str, namespace: str) -> bool:
    metadata = value.get("metadata") or {}
    return (
        value.get("apiVersion") == "apps/v1"
        and value.get("kind") == "DaemonSet"
        and metadata.get("name") == name
        and metadata.get("namespace") in (None, "", namespace or metadata.get("namespace"))
    )


def _label(value: JsonObject) -> str:
    return f"{value.get('kind')} {(value.get('metadata') or {}).get('name')}"


def _place(value: JsonObject, wanted: str) -> str:
    """Name the namespace of an object where it is not the one that is wanted."""
    namespace = (value.get("metadata") or {}).get("namespace")
    if not namespace or not wanted or namespace == wanted:
        return ""
    return f" in namespace {namespace}, not {wanted}"


def _flatten(documents: list[Source]) -> list[Source]:
    """Unpack `kind: List` documents, as `kubectl get -o yaml` writes them."""
    flat: list[Source] = []
    for document in documents:
        if not isinstance(document.value, dict):
            raise document.error((), "a Kubernetes object is a mapping; is it the right file?")
        if not isinstance(document.value.get("metadata") or {}, dict):
            raise document.error(("metadata",), "is a mapping in a Kubernetes object; mend it")
        items = document.value.get("items")
        if document.value.get("kind") == "List" and isinstance(items, list):
            flat.extend(_flatten([Source(document.name, item, {}) for item in items]))
        else:
            flat.append(document)
    return flat
