"""A second pair of eyes: follows the pods over plain HTTP and counts nodes without a ready one."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

Json = dict[str, Any]


class Watcher:
    """Counts, after every change that the API server tells of.

    Args:
        address: `host:port` of the API server.
        namespace: where the pods are.
    """

    def __init__(self, address: str, namespace: str) -> None:
        self._connection = http.client.HTTPConnection(address, timeout=300)
        path = f"/api/v1/namespaces/{namespace}/pods"
        self._connection.request("GET", path)
        listed = json.loads(self._connection.getresponse().read())
        self._ready: dict[str, dict[str, bool]] = {}
        self.touched: list[str] = []  # nodes in the order in which they first lost their pod
        self.most_down = 0
        self.changes = 0
        for pod in listed["items"]:
            self._take(pod, gone=False)
        version = listed["metadata"]["resourceVersion"]
        self._connection.request("GET", f"{path}?watch=1&resourceVersion={version}")
        self._stream = self._connection.getresponse()
        self._thread = threading.Thread(target=self._follow)
        self._thread.start()

    def join(self) -> None:
        """Wait until the server has closed the stream."""
        self._thread.join()
        self._connection.close()

    def _follow(self) -> None:
        try:
            for line in self._stream:
                event = json.loads(line)
                self.changes += 1
                self._take(event["object"], gone=event["type"] == "DELETED")
                down = [n for n, pods in self._ready.items() if not any(pods.values())]
                self.touched += [node for node in down if node not in self.touched]
                self.most_down = max(self.most_down, len(down))
        except http.client.HTTPException:  # the server stopped in the middle of a chunk
            pass

    def _take(self, pod: Json, *, gone: bool) -> None:
        node, uid = pod["spec"].get("nodeName"), pod["metadata"]["uid"]
        if node is None:
            return
        pods = self._ready.setdefault(node, {})
        conditions = pod.get("status", {}).get("conditions", [])
        ready = any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
        pods[uid] = ready and not pod["metadata"].get("deletionTimestamp")
        if gone:
            del pods[uid]


@contextmanager
def watching(address: str, namespace: str) -> Iterator[Watcher]:
    """Watch until the API server stops; the caller must stop it before the end of the block."""
    watcher = Watcher(address, namespace)
    try:
        yield watcher
    finally:
        watcher.join()
