"""Lease objects on the wire: reads, compare-and-swap writes, and times as `MicroTime` wants them.

Knows how a lease is stored, not what it means: that is `leaseprotocol`. After every write it says
what is there, by the answer or by a read, so a lost answer is nothing special for its callers.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from rollout.cluster.client import Client
from rollout.cluster.paths import resource_path
from rollout.errors import ClusterError, Conflict, NotFound, UnknownOutcome
from rollout.executor.lock.leaseprotocol import Attempt, Deleted, Found, LeaseState
from rollout.executor.lock.steadyclock import steady_clock
from rollout.fleet.marks import MANAGED_BY, MANAGED_BY_US
from rollout.fleet.objects import JsonObject, Meta, Struct, parse_time

COORDINATION = "coordination.k8s.io/v1"
PREFIX = "rollout-"
WAITS_FOR = f"{PREFIX[:-1]}/waits-for"  # annotation: why nothing moves, as the holder says it
_MOST_SAID = 500  # characters of it
_MICRO = 1_000_000
_SLACK = 2.0  # a call may take so many times as long as the one before
_OTHER_UID = "Precondition failed: UID"  # says the store itself: that object is no more


@dataclass(frozen=True, slots=True, order=True)
class LeaseName:
    """The lease of one DaemonSet."""

    namespace: str
    daemon_set: str

    @property
    def name(self) -> str:
        """Name of the Lease object."""
        return f"{PREFIX}{self.daemon_set}"

    def __str__(self) -> str:
        """Return the DaemonSet for a sentence."""
        return f"{self.namespace}/{self.daemon_set}"


class LeaseSpec(Struct, frozen=True):
    """`spec` of a Lease; every field may be missing."""

    holder_identity: str | None = None
    lease_transitions: int | None = None
    acquire_time: str | None = None
    renew_time: str | None = None


class Lease(Struct, frozen=True):
    """A Lease of `coordination.k8s.io/v1`."""

    metadata: Meta
    spec: LeaseSpec = LeaseSpec()

    def state(self) -> LeaseState:
        """Return what the protocol needs of it."""
        return LeaseState(
            uid=self.metadata.uid,
            version=self.metadata.resource_version,
            holder=self.spec.holder_identity or "",
            epoch=self.spec.lease_transitions or 0,
            acquired=self.spec.acquire_time or "",
            renewed=self.spec.renew_time or "",
        )


class LeaseStore:
    """The leases of a cluster.

    Args:
        client: of the cluster.
        duration_s: what new leases say about themselves; nobody judges them by it.
        patience_s: how long a call may take, repetitions included.
        least_s: the same once the server was seen to be quick; a lease must be renewed in time,
            so a lost answer must be noticed soon. None: always `patience_s`.
        clock: own steady clock in seconds.
        wall: seconds since the epoch; only for times that people read.
    """

    def __init__(
        self,
        client: Client,
        duration_s: float,
        patience_s: float,
        *,
        least_s: float | None = None,
        clock: Callable[[], float] = steady_clock,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._endless, self._clock = client, clock
        self._most_s, self._least_s = patience_s, least_s or patience_s
        self._client = client.urgent(patience_s)
        self._duration_s = duration_s
        self._wall = wall
        self._last_stamp_us = 0
        self._seen: dict[LeaseName, JsonObject] = {}  # what others wrote into it stays
        self.saying = ""  # what the holder waits for; each renewal takes it along

    def read(self, name: LeaseName) -> LeaseState | None:
        """Return the lease of a DaemonSet, or None if there is none."""
        with self._timed():
            found: JsonObject | None = self._client.get_or_none(_path(name), dict)
        return None if found is None else self._understand(name.namespace, found)[1]

    def said(self, name: LeaseName) -> str:
        """Return what the holder waits for, by the lease as it was read last."""
        metadata = self._seen.get(name, {}).get("metadata") or {}
        return str((metadata.get("annotations") or {}).get(WAITS_FOR, ""))

    def held(self, namespace: str) -> dict[LeaseName, LeaseState]:
        """Return all leases of ours in a namespace that somebody holds."""
        found = self._client.list(_collection(namespace), dict, label_selector=MANAGED_BY_US).items
        leases = dict(self._understand(namespace, raw) for raw in found)
        return {name: lease for name, lease in leases.items() if lease.holder}

    def write(self, name: LeaseName, attempt: Attempt) -> Found:
        """Try a write, and return what there is after it, by the answer or by a read.

        Raises:
            ClusterError: when the write is refused, or it can't be found out what came of it.
        """
        try:
            with self._timed():
                sent = self._send(name, attempt)
            return self._understand(name.namespace, sent)[1]
        except NotFound:
            if attempt.base is None:  # it is the namespace that isn't there
                raise
            return Deleted()
        except (Conflict, UnknownOutcome) as error:
            return Deleted() if _OTHER_UID in str(error) else self.read(name)

    def stamp(self) -> str:
        """Return the server's time as `MicroTime`, later than every stamp before it."""
        now_us = round(self._server_time() * _MICRO)
        self._last_stamp_us = max(now_us, self._last_stamp_us + 1)
        return micro_time(self._last_stamp_us)

    def age_s(self, stamp: str) -> float | None:
        """Return how long ago that was, by the server's clock; None if it's no time."""
        try:
            return self._server_time() - parse_time(stamp)
        except ValueError:
            return None

    @contextmanager
    def _timed(self) -> Iterator[None]:
        """Give the next call time by how long this one took, answered or not: servers differ."""
        began = self._clock()
        try:
            yield
        finally:
            wanted = max(_SLACK * (self._clock() - began), self._least_s)
            self._client = self._endless.urgent(min(wanted, self._most_s))

    def _server_time(self) -> float:
        return self._wall() - (self._client.clock_skew_s or 0.0)

    def _understand(self, namespace: str, raw: JsonObject) -> tuple[LeaseName, LeaseState]:
        try:
            lease = msgspec.convert(raw, Lease)
        except msgspec.ValidationError as error:
            raise ClusterError(f"the server's answer is no lease: {error}") from None
        name = LeaseName(namespace, lease.metadata.name.removeprefix(PREFIX))
        self._seen[name] = raw
        return name, lease.state()

    def _send(self, name: LeaseName, attempt: Attempt) -> JsonObject:
        """Create or replace the lease; the UID keeps a replacement from creating a deleted one."""
        base = attempt.base
        known = self._seen[name] if base else {}
        metadata: JsonObject = {**known.get("metadata", {}), "name": name.name}
        metadata["labels"] = {**(metadata.get("labels") or {}), **MANAGED_BY}
        metadata.pop("managedFields", None)
        metadata["annotations"] = self._annotations(metadata, attempt)
        body: JsonObject = {"apiVersion": COORDINATION, "kind": "Lease", "metadata": metadata}
        body["spec"] = {**(known.get("spec") or {}), **self._spec(attempt)}
        if base is None:
            return self._client.create(_collection(name.namespace), body, dict)
        metadata |= {"uid": base.uid, "resourceVersion": base.version}
        return self._client.replace(_path(name), body, dict)

    def _annotations(self, metadata: JsonObject, attempt: Attempt) -> JsonObject:
        """Return what stands there, with what we wait for; behind a release, nobody waits."""
        others = {k: v for k, v in (metadata.get("annotations") or {}).items() if k != WAITS_FOR}
        if not (attempt.holder and self.saying):
            return others
        return {**others, WAITS_FOR: self.saying[:_MOST_SAID]}

    def _spec(self, attempt: Attempt) -> JsonObject:
        return {
            "holderIdentity": attempt.holder or None,
            "leaseDurationSeconds": max(1, math.ceil(self._duration_s)),
            "leaseTransitions": attempt.epoch,
            "acquireTime": attempt.acquired or None,
            "renewTime": attempt.renewed,
        }


def micro_time(microseconds: int) -> str:
    """Return microseconds since the epoch as `MicroTime`: UTC, always with six digits."""
    seconds, rest = divmod(microseconds, _MICRO)
    whole = datetime.fromtimestamp(seconds, UTC)
    return f"{whole:%Y-%m-%dT%H:%M:%S}.{rest:06}Z"


def _collection(namespace: str) -> str:
    return resource_path(COORDINATION, "leases", namespace=namespace)


def _path(name: LeaseName) -> str:
    return resource_path(COORDINATION, "leases", namespace=name.namespace, name=name.name)
