"""`scripts/bench sim`: pace, memory and HTTP rates of the embedded cluster."""

from __future__ import annotations

import http.client
import re
import socket
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Final
from urllib.parse import quote, urlsplit

from scripts.benchmarks.processes import child
from scripts.benchmarks.servers import ServedCluster, served_cluster
from scripts.benchmarks.sizes import Sizes
from scripts.benchmarks.table import Row, at_most, plain

PAGE: Final = 500
_LIMIT_MB: Final = 4096  # for 100,000 nodes and pods
_CONTINUE: Final = re.compile(rb'"continue":"([^"]+)"')
_VERSION: Final = re.compile(rb'"resourceVersion":"(\d+)"')
_EVENT: Final = b'{"type":"'
_TIMEOUT_S: Final = 120.0


def rows(sizes: Sizes) -> list[Row]:
    """Measure and return the rows."""
    return [*_virtual(sizes), *_memory(sizes), *_served(sizes)]


def _virtual(sizes: Sizes) -> list[Row]:
    found, _ = child("update", sizes.updated)
    real = found["real_s"]
    minutes = found["virtual_s"] / 60
    return [
        plain(
            f"rolling update of {sizes.updated:,} nodes, {minutes:.0f} min virtual",
            f"{real:.1f} s real",
        ),
        plain("  virtual time over real time", f"{found['virtual_s'] / real:,.0f} x"),
        plain("  virtual events (timers run)", f"{found['events'] / real:,.0f} /s"),
        plain("  changes of objects", f"{found['changes'] / real:,.0f} /s"),
        plain("  memory per node after it", f"{found['grown_mb'] * 1024 / sizes.updated:.1f} KB"),
    ]


def _memory(sizes: Sizes) -> list[Row]:
    found, usage = child("store", sizes.stored)
    what = f"{sizes.stored:,} nodes and as many pods"
    return [
        at_most(f"{what}: peak memory", usage.peak_mb, _LIMIT_MB, "MB", digits=0),
        plain(
            "  memory per node with its pod", f"{found['grown_mb'] * 1024 / sizes.stored:.1f} KB"
        ),
        plain("  built and started in", f"{found['built_s']:.1f} s"),
    ]


def _served(sizes: Sizes) -> list[Row]:
    with (
        tempfile.TemporaryDirectory() as directory,
        served_cluster(sizes.served, sizes.start_s, Path(directory)) as cluster,
    ):
        return [*_lists(cluster, sizes), *_watches(cluster, sizes)]


def _lists(cluster: ServedCluster, sizes: Sizes) -> list[Row]:
    found = []
    for plural in ("nodes", "pods"):
        first = _listed(cluster.url, f"/api/v1/{plural}")
        again = median(_listed(cluster.url, f"/api/v1/{plural}") for _ in range(sizes.runs))
        what = f"list of {sizes.served:,} {plural}, pages of {PAGE}"
        found += [
            plain(f"{what}: first time", f"{sizes.served / first:,.0f} objects/s"),
            plain("  after that", f"{sizes.served / again:,.0f} objects/s"),
        ]
    return found


def _listed(url: str, path: str) -> float:
    """Read a whole list in pages and return the seconds that it took."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=_TIMEOUT_S)
    began, token = time.perf_counter(), ""
    while True:
        more = f"&continue={quote(token)}" if token else ""
        connection.request("GET", f"{path}?limit={PAGE}{more}")
        found = _CONTINUE.search(connection.getresponse().read())
        if found is None:
            connection.close()
            return time.perf_counter() - began
        token = found[1].decode()


def _watches(cluster: ServedCluster, sizes: Sizes) -> list[Row]:
    found = []
    for watchers in sizes.watchers:
        seconds = _fanned_out(cluster, watchers, sizes.changes)
        what = f"{sizes.changes:,} changes to {watchers} {'watch' if watchers == 1 else 'watches'}"
        found += [
            plain(what, f"{sizes.changes / seconds:,.0f} changes/s"),
            plain("  delivered", f"{watchers * sizes.changes / seconds:,.0f} events/s"),
        ]
    return found


def _fanned_out(cluster: ServedCluster, watchers: int, changes: int) -> float:
    """Return the seconds from the first change until every watcher has seen the last."""
    version = _version(cluster.url)
    streams = [_watch(cluster.url, version) for _ in range(watchers)]
    with ThreadPoolExecutor(watchers) as pool:
        counted = [pool.submit(_count, stream, changes) for stream in streams]
        began = time.perf_counter()
        cluster.order("touch", changes)
        for watcher in counted:
            watcher.result()
        return time.perf_counter() - began


def _version(url: str) -> str:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=_TIMEOUT_S)
    connection.request("GET", "/api/v1/pods?limit=1")
    found = _VERSION.search(connection.getresponse().read())
    connection.close()
    assert found is not None
    return found[1].decode()


def _watch(url: str, version: str) -> socket.socket:
    """Open a watch with as little of a client as there can be: two cores serve both sides."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    stream = socket.create_connection((parts.hostname, parts.port or 80), _TIMEOUT_S)
    target = f"/api/v1/pods?watch=1&resourceVersion={version}"
    stream.sendall(f"GET {target} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode())
    head = b""
    while b"\r\n\r\n" not in head:
        head += stream.recv(1)
    return stream


def _count(stream: socket.socket, wanted: int) -> None:
    seen, rest = 0, b""
    with stream:
        while seen < wanted:
            data = stream.recv(1 << 16)
            if not data:
                raise ConnectionError(f"a watch ended after {seen} of {wanted} changes")
            joined = rest + data
            seen += joined.count(_EVENT)
            rest = joined[-(len(_EVENT) - 1) :]
