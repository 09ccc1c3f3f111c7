"""Tells the audit log of a request that came to the API server, and of its answer."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from rollout.sim.audit import AuditLog, Entry
from rollout.sim.auditevents import (
    RESPONSE_COMPLETE,
    RESPONSE_STARTED,
    Answered,
    Asked,
    event,
    notes,
    user_info,
)
from rollout.sim.bodies import read_body
from rollout.sim.clock import Clock
from rollout.sim.errors import StatusError
from rollout.sim.rbac import ANONYMOUS, Authorizer, Decision, User
from rollout.sim.requests import Answer, Request, Response, Stream, Target
from rollout.sim.store import Object

OK: Final = 200
_FAILURE: Final = 400


class RequestAuditor:
    """Turns requests into entries and, where somebody asks for them, audit events.

    Args:
        log: gets them.
        clock: gives the time.
        authorizer: says whose token came with a request.
    """

    def __init__(self, log: AuditLog, clock: Clock, authorizer: Authorizer) -> None:
        self._log = log
        self._clock = clock
        self._authorizer = authorizer

    def answered(
        self,
        request: Request,
        target: Target,
        user: User,
        answer: Answer,
        *,
        received: float,
        decision: Decision | None = None,
        fault: str = "",
    ) -> None:
        """Tell of a request that the server answered.

        Args:
            request: what came.
            target: what it was for.
            user: who it was from, or whom the sender acted as.
            answer: what went back; of a stream, its end will be told as well.
            received: when it came, in seconds since the Unix epoch.
            decision: what the authorizer said, None when it was not asked.
            fault: the injected fault that answered instead of the API, "" for none.
        """
        status = answer.status if isinstance(answer, Response) else OK
        self.remember(request, target, user, status, fault)
        if self._log.asked_for:
            asked = self._asked(request, target, user, received)
            self._tell(asked, request, answer, notes(decision, fault))

    def remember(
        self, request: Request, target: Target, user: User, status: int, fault: str = ""
    ) -> None:
        """Keep the entry alone: all there is of a request that never reached the server."""
        uid = _bound_to(request) if target.verb == "delete" and not fault else ""
        now = self._clock.now()
        self._log.record(Entry(now, user.name, target.verb, request.target, status, fault, uid))

    def _asked(self, request: Request, target: Target, user: User, received: float) -> Asked:
        sender = self._sender(request, user)
        acts_as = user if sender is not user and user is not ANONYMOUS else None
        return Asked(
            received,
            request.method.lower() if target.resource is None else target.verb,
            request.target,
            _info(sender),
            request.headers.get("user-agent", ""),
            target.resource,
            target.namespace,
            target.name,
            target.subresource,
            {} if acts_as is None else _info(acts_as),
        )

    def _sender(self, request: Request, user: User) -> User:
        """Return whose token it was; another than `user` where that one is impersonated."""
        if "impersonate-user" not in request.headers:
            return user
        try:
            return self._authorizer.sender(request.headers)
        except StatusError:
            return user

    def _tell(
        self, asked: Asked, request: Request, answer: Answer, annotations: dict[str, str]
    ) -> None:
        if isinstance(answer, Stream):
            self._tell_stage(asked, annotations, RESPONSE_STARTED)
            if answer.closed:
                self._tell_stage(asked, annotations, RESPONSE_COMPLETE)
            answer.on_close.append(lambda: self._tell_stage(asked, annotations, RESPONSE_COMPLETE))
            return
        sent = read_body(request.media_type, request.body) if request.body else None
        returned = _returned(answer) if asked.whole or answer.status >= _FAILURE else None
        answered = Answered(self._clock.now(), answer.status, sent, returned)
        self._log.tell(event(asked, answered, annotations))

    def _tell_stage(self, asked: Asked, annotations: dict[str, str], stage: str) -> None:
        self._log.tell(event(asked, Answered(self._clock.now(), OK), annotations, stage))


def _info(user: User) -> Object:
    return user_info(user.name, user.groups, user.uid)


def _returned(response: Response) -> Any:  # noqa: ANN401 - JSON
    return read_body(response.content_type, response.render())


class _Preconditions(msgspec.Struct, frozen=True):
    uid: str | None = None


class _DeleteOptions(msgspec.Struct, frozen=True):
    preconditions: _Preconditions | None = None


def _bound_to(request: Request) -> str:
    """Return the UID that a delete names, "" where it names none that can be read."""
    try:
        options = msgspec.json.decode(request.body, type=_DeleteOptions)
    except (msgspec.DecodeError, UnicodeDecodeError):  # another form; the answer says what of it
        return ""
    return (options.preconditions and options.preconditions.uid) or ""
