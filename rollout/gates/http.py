"""`http`: a request whose status, and a value in whose answer, decide."""

from __future__ import annotations

import msgspec

from rollout.cluster.paths import resource_path
from rollout.fleet.objects import Pod
from rollout.gates.conditions import has_conditions
from rollout.gates.context import Context, quote
from rollout.gates.measurement import Measurement, Outcome, Reading
from rollout.gates.outside import Answer, Call, OutsideError, ask, read_trust
from rollout.gates.promserver import credentials
from rollout.gatespec import HttpGate
from rollout.gatespec.jsonpath import find, parse_path
from rollout.gatespec.outside import PodPort
from rollout.quantity import parse_duration
from rollout.unreadable import UNREADABLE

# These say something about the way there, nothing about what was asked for.
_UNKNOWN = frozenset({401, 403, 407, 408, 425, 429})
_SERVER_ERROR = 500


class _PodStatus(msgspec.Struct, frozen=True):
    pod_ip: str = msgspec.field(name="podIP", default="")


class _PodMeta(msgspec.Struct, frozen=True):
    uid: str


class _PodAddress(msgspec.Struct, frozen=True):
    metadata: _PodMeta
    status: _PodStatus = _PodStatus()


def measure(gate: HttpGate, context: Context) -> Reading | Measurement:
    """Ask once.

    Raises:
        OutsideError: there's no answer, or one that says nothing.
    """
    answer = ask(_call(gate, context), context.settings)
    if answer.status not in gate.expected_status:
        return _unexpected(answer, context)
    if not has_conditions(gate):
        return Measurement(Outcome.PASSED, context.now, str(answer.status))
    try:
        document = msgspec.json.decode(answer.body)
    except UNREADABLE:
        raise OutsideError(f"the answer ({answer.status}) is not JSON") from None
    try:
        return Reading(find(document, parse_path(gate.json_path or "$")))
    except KeyError as missing:
        text = f"the answer has no {missing.args[0]}"
        return Measurement(Outcome.NO_DATA, context.now, str(answer.status), text)


def _call(gate: HttpGate, context: Context) -> Call:
    url = gate.url if gate.pod_port is None else _pod_url(gate.pod_port, gate, context)
    return Call(
        gate.method,
        url,
        parse_duration(gate.timeout),
        {**gate.headers, **credentials(gate.auth, gate.username, context)},
        None if gate.body is None else gate.body.encode(),
        read_trust(gate.tls, context),
        pod=gate.pod_port is not None,
    )


def _unexpected(answer: Answer, context: Context) -> Measurement:
    said = quote(context, answer.body.decode(errors="replace"), 120)
    text = f"the server says {answer.status}" + (f": {said}" if said else "")
    if answer.redirects:
        raise OutsideError(f"{text}; redirects are not followed, give the final address")
    if answer.status in _UNKNOWN or answer.status >= _SERVER_ERROR:
        raise OutsideError(text)
    return Measurement(Outcome.FAILED, context.now, str(answer.status), text)


def _pod_url(wanted: PodPort, gate: HttpGate, context: Context) -> str:
    pod = _pod_of(wanted, context)
    where = resource_path("v1", "pods", namespace=pod.metadata.namespace, name=pod.metadata.name)
    found = context.client.urgent(parse_duration(gate.timeout)).get(where, _PodAddress)
    if found.metadata.uid != pod.metadata.uid:
        raise OutsideError(
            f"pod {pod.metadata.name} has been replaced; asked again at the next turn"
        )
    address = found.status.pod_ip
    if not address:
        raise OutsideError(f"pod {pod.metadata.name} has no IP yet")
    host = f"[{address}]" if ":" in address else address
    return f"{wanted.scheme}://{host}:{wanted.port}{gate.path}"


def _pod_of(wanted: PodPort, context: Context) -> Pod:
    """Return the updated pod of the node that the gate is measured for."""
    if context.node is None:
        raise OutsideError("podPort is asked for each node; use it at before-node or after-node")
    owners = {d.uid for d in context.daemon_sets if wanted.daemon_set in ("", d.name)}
    name = context.node.metadata.name
    found = [
        pod
        for pod in context.updated
        if pod.target_node == name and pod.metadata.controller_uid in owners and not pod.terminating
    ]
    if len(found) != 1:
        which = f" of {wanted.daemon_set}" if wanted.daemon_set else ""
        raise OutsideError(
            f"node {name} has {len(found)} updated pods{which}, not one; name podPort.daemonSet "
            "where the rollout has several"
        )
    return found[0]
