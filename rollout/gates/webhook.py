"""`webhook`: somebody else decides. 2xx passes, 409 and 425 wait, anything else fails.

With `trip` it is an alarm instead: 2xx means roll back now. There a clear "no" (4xx) passes, and
an answer that says nothing (3xx, 5xx, a refused credential) is an error.
"""

from __future__ import annotations

import hashlib
import hmac

import msgspec

from rollout.gates.context import Context, quote
from rollout.gates.document import describe
from rollout.gates.measurement import Measurement, Outcome
from rollout.gates.outside import Answer, Call, OutsideError, ask, read_trust
from rollout.gatespec import WebhookGate
from rollout.quantity import parse_duration

SIGNATURE = "X-Rollout-Signature-256"  # sha256=HEX of the body, as GitHub does it
_WAIT = frozenset({409, 425})
_UNKNOWN = frozenset({401, 403, 407, 408, 429})


def measure(gate: WebhookGate, context: Context) -> Measurement:
    """Post the document once and take the answer's word.

    Raises:
        OutsideError: there's no answer, or (trip) one that says nothing.
    """
    body = msgspec.json.encode(describe(gate, context))
    headers = {**gate.headers, "Content-Type": "application/json"}
    if context.secret is not None:
        headers[SIGNATURE] = sign(context.secret.reveal(), body)
    timeout = parse_duration(gate.timeout)
    trust = read_trust(gate.tls, context)
    answer = ask(Call("POST", gate.url, timeout, headers, body, trust), context.settings)
    outcome = _trip(answer) if gate.trip else _ask(answer)
    said = quote(context, answer.body.decode(errors="replace"), 200)
    reason = f"the receiver says {answer.status}" + (f": {said}" if said else "")
    if gate.trip and outcome is Outcome.FAILED:
        reason = f"tripped: {reason}"
    return Measurement(outcome, context.now, str(answer.status), reason)


def sign(secret: str, body: bytes) -> str:
    """Return the signature of a body: HMAC-SHA256 with the shared secret."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def _ask(answer: Answer) -> Outcome:
    if answer.status in _WAIT:
        return Outcome.WAITING
    return Outcome.PASSED if _accepted(answer) else Outcome.FAILED


def _trip(answer: Answer) -> Outcome:
    if _accepted(answer):
        return Outcome.FAILED
    if 400 <= answer.status < 500 and answer.status not in _UNKNOWN:  # noqa: PLR2004 - RFC 9110
        return Outcome.PASSED
    raise OutsideError(f"the receiver says {answer.status}, neither yes (2xx) nor no (4xx)")


def _accepted(answer: Answer) -> bool:
    return 200 <= answer.status < 300  # noqa: PLR2004 - RFC 9110, section 15.3
