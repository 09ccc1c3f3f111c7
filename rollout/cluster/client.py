"""The API server as a few typed verbs: the one way in which the program reads and writes a cluster.

Bodies are decoded from raw bytes into the fields that the caller names; a delete always names the
UID that it means. What any of the libraries underneath raises comes out as one of `rollout.errors`.
"""

from __future__ import annotations

import enum
import functools
import threading
import time
from pathlib import Path
from typing import TypeVar

import msgspec

from rollout.cluster import bodies
from rollout.cluster.answers import Effect
from rollout.cluster.connect import load_target
from rollout.cluster.limit import DEFAULT_RATE, Rate, WriteLimiter
from rollout.cluster.paging import PAGE_SIZE, Listing, Page, Query, list_all
from rollout.cluster.paths import resource_path
from rollout.cluster.retry import DEFAULT_PATIENCE, Patience
from rollout.cluster.sending import Guard, Sender
from rollout.cluster.transport import Request, Stream, Transport
from rollout.errors import ClusterError, NotFound

FIELD_MANAGER = "rollout"

T = TypeVar("T")


class PatchKind(enum.Enum):
    """How a patch body is meant; the values are the content types."""

    MERGE = "application/merge-patch+json"
    STRATEGIC = "application/strategic-merge-patch+json"


def connect(
    kubeconfig: Path | None = None,
    context: str | None = None,
    namespace: str | None = None,
    *,
    patience: Patience = DEFAULT_PATIENCE,
    rate: Rate = DEFAULT_RATE,
    stop: threading.Event | None = None,
) -> Client:
    """Return a client for the cluster that kubectl would use; makes no request yet.

    Args:
        kubeconfig: this file only; None: KUBECONFIG, ~/.kube/config, or the pod's own account.
        context: None for the current one.
        namespace: None for the context's own.
        patience: how long reads and refused writes are repeated.
        rate: limit for writes.
        stop: when set, every wait inside the client ends at once; `close` sets it.

    Raises:
        UsageError: the file or context that was asked for doesn't exist.
        ClusterError: there's no usable configuration.
    """
    transport = Transport(functools.partial(load_target, kubeconfig), context)
    sender = Sender(
        transport,
        patience=patience,
        limiter=WriteLimiter(rate),
        stop=stop or threading.Event(),
    )
    return Client(sender, namespace or transport.target.namespace)


class Client:
    """One cluster, one identity; safe to use from many threads.

    Args:
        sender: sends each request until it is answered.
        namespace: what objects without a namespace belong to.
    """

    def __init__(self, sender: Sender, namespace: str) -> None:
        self.namespace = namespace
        self._sender = sender

    @property
    def server(self) -> str:
        """The server's URL."""
        return self._sender.transport.target.server

    @property
    def context(self) -> str:
        """Name of the kubeconfig context, or `in-cluster`."""
        return self._sender.transport.target.context

    @property
    def clock_skew_s(self) -> float | None:
        """How far our wall clock is ahead of the server's; None before the first answer."""
        return self._sender.transport.skew.seconds

    def server_time(self) -> float:
        """Return the time by the server's clock, as far as its answers tell: seconds since 1970."""
        return time.time() - (self.clock_skew_s or 0.0)

    def told_time(self) -> float:
        """Return the same where an answer has told it, for what must not go by our own clock.

        Raises:
            ClusterError: when no answer has.
        """
        if self.clock_skew_s is None:
            raise ClusterError(
                f"{self.server}: its answers have no Date, so its time is not known, and no plan "
                "that expires can be made or begun; a proxy may have taken it out"
            )
        return self.server_time()

    @property
    def held_back_s(self) -> float:
        """How long writes through this object waited before their last sending, summed up.

        For our own rate, for a server that asked for patience, and for earlier attempts.
        """
        return self._sender.held_back_s

    def urgent(self, total_s: float) -> Client:
        """Return a client on the same connections that tries at most `total_s` (> 0) seconds.

        Its writes neither queue behind others nor ask a guard: for the lease, which must be
        renewed in time, and on which the guard itself rests.
        """
        return Client(self._sender.urgent(total_s), self.namespace)

    def guarded(self, guard: Guard) -> Client:
        """Return a client on the same connections whose every write asks the guard first.

        It is asked behind all waiting, right before the bytes go out, and again before each
        repetition; a write that it keeps back raises `Withheld`.
        """
        return Client(self._sender.guarded(guard), self.namespace)

    def close(self) -> None:
        """End all waits and close the connections."""
        self._sender.close()

    # Reads

    def get(self, path: str, type_: type[T], query: Query | None = None) -> T:
        """Return one object, or the whole answer of a path that is no collection of its own.

        Raises:
            NotFound: it doesn't exist.
            ClusterError: any other failure.
        """
        return self._sender.read(Request("GET", path, query or {}, Effect.READ), type_)

    def text(self, path: str, query: Query) -> bytes:
        """Return an answer that isn't JSON, such as a container's log.

        Raises:
            NotFound: it doesn't exist.
            ClusterError: any other failure.
        """
        return self._sender.text(Request("GET", path, query, Effect.READ))

    def get_or_none(self, path: str, type_: type[T]) -> T | None:
        """Return one object, or None if the API server says that it doesn't exist."""
        try:
            return self.get(path, type_)
        except NotFound:
            return None

    def list(
        self,
        path: str,
        item_type: type[T],
        *,
        label_selector: str = "",
        field_selector: str = "",
        page_size: int = PAGE_SIZE,
    ) -> Listing[T]:
        """Return all objects of a collection as they were at one version.

        When the version of the first page expires before the last page, or pages differ in
        version, the list starts anew and at last comes in one piece.

        Args:
            path: of the collection.
            item_type: what each item is decoded into; other fields are skipped.
            label_selector: Kubernetes syntax, empty for all.
            field_selector: Kubernetes syntax, empty for all.
            page_size: objects per request.
        """
        query = bodies.selectors(label_selector, field_selector)

        def read(query: Query) -> Page[T]:
            request = Request("GET", path, query, Effect.READ, gzip=True)
            goes_on = "continue" in query
            ask = self._sender.read if goes_on else self._sender.read_first_page
            return ask(request, Page[item_type])  # type: ignore[valid-type]  # mypy knows no generic at run time

        return list_all(read, query, page_size)

    def watch(
        self,
        path: str,
        version: str,
        *,
        timeout_s: int,
        silence_s: float,
        label_selector: str = "",
        field_selector: str = "",
    ) -> Stream:
        """Open one watch connection with bookmarks; never retried.

        Args:
            path: of the collection.
            version: events after this one.
            timeout_s: after which the server ends it.
            silence_s: after which reading raises TimeoutError.
            label_selector: Kubernetes syntax, empty for all.
            field_selector: Kubernetes syntax, empty for all.
        """
        query = {
            **bodies.selectors(label_selector, field_selector),
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(timeout_s),
        }
        return self._sender.stream(Request("GET", path, query, Effect.READ), silence_s)

    def review_access(
        self,
        verb: str,
        group: str,
        resource: str,
        *,
        subresource: str = "",
        namespace: str = "",
        name: str = "",
    ) -> bool:
        """Ask whether we may do something, without doing it (SelfSubjectAccessReview)."""
        body = bodies.access_review(
            verb=verb,
            group=group,
            resource=resource,
            subresource=subresource,
            namespace=namespace,
            name=name,
        )
        path = resource_path("authorization.k8s.io/v1", "selfsubjectaccessreviews")
        request = Request("POST", path, {}, Effect.READ, body)
        return self._sender.read(request, bodies.AccessReview).status.allowed

    def server_version(self) -> tuple[int, int, str]:
        """Return major, minor and the full version, such as `(1, 36, "v1.36.1")`."""
        said = self._sender.read(Request("GET", "/version", {}, Effect.READ), bodies.Version)
        return (
            bodies.leading_number(said.major),
            bodies.leading_number(said.minor),
            said.git_version,
        )

    # Writes

    def create(
        self,
        path: str,
        body: object,
        type_: type[T],
        *,
        dry_run: bool = False,
    ) -> T:
        """Create an object in the collection and return it as the server stored it.

        Raises:
            Conflict: it exists already.
            UnknownOutcome: it may have been created; read before anything else.
        """
        query = bodies.write_query(FIELD_MANAGER, dry_run=dry_run)
        return self._sender.write(
            Request("POST", path, query, _effect(dry_run=dry_run), body), type_
        )

    def replace(self, path: str, body: object, type_: type[T]) -> T:
        """Replace an object; with a resourceVersion in the body only if it's still at that version.

        Raises:
            Conflict: somebody else changed it.
            UnknownOutcome: it may have been replaced; read before anything else.
        """
        query = bodies.write_query(FIELD_MANAGER, dry_run=False)
        return self._sender.write(Request("PUT", path, query, Effect.WRITE, body), type_)

    def patch(
        self,
        path: str,
        body: object,
        kind: PatchKind,
        type_: type[T],
        *,
        dry_run: bool = False,
    ) -> T:
        """Patch an object and return the result.

        Args:
            path: of the object, or of its subresource.
            body: what changes.
            kind: how the body is meant.
            type_: what the answer is decoded into.
            dry_run: let the server default, validate and admit, but store nothing.

        Raises:
            Conflict: a resourceVersion or UID in the body differs.
            UnknownOutcome: it may have been patched; read before anything else.
        """
        query = bodies.write_query(FIELD_MANAGER, dry_run=dry_run)
        request = Request("PATCH", path, query, _effect(dry_run=dry_run), body, kind.value)
        return self._sender.write(request, type_)

    def delete(
        self,
        path: str,
        *,
        uid: str,
        propagation: str = "",
    ) -> None:
        """Ask for the deletion of exactly the object with this UID.

        Args:
            path: of the object.
            uid: which it must have.
            propagation: what becomes of what it owns; empty for the server's default.

        Raises:
            NotFound: there's no object of this name.
            Conflict: the name belongs to another object now.
            UnknownOutcome: it may have been deleted; read before anything else.
        """
        body = bodies.delete_options(uid, propagation)
        self._sender.write(Request("DELETE", path, {}, Effect.WRITE, body), msgspec.Raw)


def _effect(*, dry_run: bool) -> Effect:
    """A dry run changes nothing, so it may be asked again whatever became of its answer."""
    return Effect.READ if dry_run else Effect.WRITE
