"""How an object's place becomes a URL path; names are quoted, so no name can leave its segment."""

from __future__ import annotations

from urllib.parse import quote


def resource_path(
    api_version: str, plural: str, *, namespace: str = "", name: str = "", subresource: str = ""
) -> str:
    """Return the path of a collection, of one object, or of its subresource.

    Args:
        api_version: `v1`, or group and version such as `apps/v1`.
        plural: resource name in lower case, such as `daemonsets`.
        namespace: empty for cluster scope, or for all namespaces of a namespaced resource.
        name: empty for the collection.
        subresource: such as `status` or `eviction`; needs a name.
    """
    prefix = "/apis/" if "/" in api_version else "/api/"
    scope = f"/namespaces/{quote(namespace, safe='')}" if namespace else ""
    parts = [plural, *(quote(part, safe="") for part in (name, subresource) if part)]
    return f"{prefix}{api_version}{scope}/{'/'.join(parts)}"
