"""Discovery: which groups, versions and resources there are, in both of its formats."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from typing import Final

from rollout.sim.resources import RESOURCES, SUBRESOURCES, Resource, Subresource
from rollout.sim.store import Object

METRICS_GROUP: Final = "metrics.k8s.io"
AGGREGATED: Final = "application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"
STORED_ELSEWHERE: Final = {("events.k8s.io", "Event"): ("", "v1", "Event")}
VERSION: Final[Object] = {
    "major": "1",
    "minor": "36",
    "emulationMajor": "1",
    "emulationMinor": "36",
    "minCompatibilityMajor": "1",
    "minCompatibilityMinor": "35",
    "gitVersion": "v1.36.2",
    "gitCommit": "$Format:%H$",
    "gitTreeState": "",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "go1.27.3",
    "compiler": "gc",
    "platform": "linux/amd64",
}


class Discovery:
    """Answers what there is.

    Args:
        metrics: whether the cluster has a metrics server.
        address: `host:port` of the server, as `/api` names it.
    """

    def __init__(self, *, metrics: bool = True, address: str = "127.0.0.1:0") -> None:
        self.address = address
        self._resources = [r for r in RESOURCES if metrics or r.group != METRICS_GROUP]

    def served(self, resource: Resource) -> bool:
        """Whether this cluster serves the resource."""
        return resource in self._resources

    def core_versions(self) -> Object:
        """Return `/api`."""
        return {
            "kind": "APIVersions",
            "versions": ["v1"],
            "serverAddressByClientCIDRs": [
                {"clientCIDR": "0.0.0.0/0", "serverAddress": self.address}
            ],
        }

    def groups(self) -> Object:
        """Return `/apis`."""
        names = dict.fromkeys(resource.group for resource in self._resources if resource.group)
        return {
            "kind": "APIGroupList",
            "apiVersion": "v1",
            "groups": [self._group(name) for name in names],
        }

    def group(self, name: str) -> Object | None:
        """Return `/apis/<group>`, None when there is no such group."""
        if not name or all(resource.group != name for resource in self._resources):
            return None
        return {"kind": "APIGroup", "apiVersion": "v1", **self._group(name)}

    def _group(self, name: str) -> Object:
        versions = [
            {"groupVersion": f"{name}/{version}", "version": version}
            for version in self._versions(name)
        ]
        return {"name": name, "versions": versions, "preferredVersion": versions[0]}

    def _versions(self, group: str) -> list[str]:
        return list(
            dict.fromkeys(
                resource.version for resource in self._resources if resource.group == group
            )
        )

    def resources(self, group: str, version: str) -> Object | None:
        """Return `/apis/<group>/<version>` or `/api/v1`, None when there is none."""
        found = [r for r in self._resources if (r.group, r.version) == (group, version)]
        if not found:
            return None
        listing: Object = {"kind": "APIResourceList"}
        if group:
            listing["apiVersion"] = "v1"
        listing["groupVersion"] = found[0].api_version
        listing["resources"] = [entry for resource in found for entry in _entries(resource)]
        return listing

    def aggregated(self, *, core: bool, version: str) -> Object:
        """Return all groups with their resources, as `/api` (core) or `/apis`.

        Args:
            core: the core group, else all others.
            version: `v2` or `v2beta1` of apidiscovery.k8s.io.
        """
        groups = dict.fromkeys(r.group for r in self._resources if bool(r.group) is not core)
        return {
            "kind": "APIGroupDiscoveryList",
            "apiVersion": f"apidiscovery.k8s.io/{version}",
            "metadata": {},
            "items": [self._aggregated_group(group) for group in groups],
        }

    def _aggregated_group(self, group: str) -> Object:
        return {
            "metadata": {"name": group} if group else {},
            "versions": [
                {
                    "version": version,
                    "resources": [
                        _aggregated(resource)
                        for resource in self._resources
                        if (resource.group, resource.version) == (group, version)
                    ],
                    "freshness": "Current",
                }
                for version in self._versions(group)
            ],
        }


def storage_version_hash(resource: Resource) -> str:
    """Return the hash of the stored version (apiserver's `StorageVersionHash`)."""
    own = (resource.group, resource.version, resource.kind)
    stored = STORED_ELSEWHERE.get((resource.group, resource.kind), own)
    return base64.b64encode(hashlib.sha256("/".join(stored).encode()).digest()[:8]).decode()


def _subresource(resource: Resource, name: str) -> Subresource:
    return SUBRESOURCES.get((resource.plural, name)) or Subresource()


def _entries(resource: Resource) -> Iterable[Object]:
    entry: Object = {
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": list(resource.verbs),
    }
    if resource.short_names:
        entry["shortNames"] = list(resource.short_names)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    if "update" in resource.verbs:
        entry["storageVersionHash"] = storage_version_hash(resource)
    yield entry
    for name in resource.subresources:
        yield _subresource_entry(resource, name)


def _subresource_entry(resource: Resource, name: str) -> Object:
    subresource = _subresource(resource, name)
    entry: Object = {
        "name": f"{resource.plural}/{name}",
        "singularName": "",
        "namespaced": resource.namespaced,
        "kind": subresource.kind or resource.kind,
        "verbs": list(subresource.verbs),
    }
    if subresource.group:
        entry["group"] = subresource.group
        entry["version"] = subresource.version
    return entry


def _aggregated(resource: Resource) -> Object:
    entry: Object = {
        "resource": resource.plural,
        "responseKind": {"group": "", "version": "", "kind": resource.kind},
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": resource.singular,
        "verbs": list(resource.verbs),
    }
    if resource.short_names:
        entry["shortNames"] = list(resource.short_names)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    if resource.subresources:
        entry["subresources"] = [_aggregated_sub(resource, name) for name in resource.subresources]
    return entry


def _aggregated_sub(resource: Resource, name: str) -> Object:
    subresource = _subresource(resource, name)
    return {
        "subresource": name,
        "responseKind": {
            "group": subresource.group,
            "version": subresource.version,
            "kind": subresource.kind or resource.kind,
        },
        "verbs": list(subresource.verbs),
    }
