"""The gate `approval`: so many people have said yes to this very plan, none of them its author.

Who somebody is, is the cluster's word, written into the record with the approval. Pure.
"""

from __future__ import annotations

from rollout.gates.context import Context
from rollout.gates.measurement import Measurement, Outcome
from rollout.gatespec import ApprovalGate
from rollout.quantity import cut


def measure(gate: ApprovalGate, context: Context) -> Measurement:
    """Count the approvals in the record; waits while there are too few."""
    ours = [a for a in context.approvals if a.gate in (context.gate, gate.name)]
    last = {a.who: a for a in sorted(ours, key=lambda a: a.at)}  # a person's last word counts
    words = [a for a in last.values() if not why_not(gate, context.author, a.who)]
    refused = [a for a in words if not a.approved and a.digest == context.digest]
    if refused:
        why = f": {refused[0].reason}" if refused[0].reason else ""
        return Measurement(Outcome.FAILED, context.now, reason=f"{refused[0].who} said no{why}")
    given = sorted(a.who for a in words if a.approved and a.digest == context.digest)
    value = f"{len(given)} of {gate.minimum}"
    if len(given) >= gate.minimum:
        return Measurement(Outcome.PASSED, context.now, value, f"approved by {cut(given)}")
    passed_over = [_why_passed_over(gate, context, a.who, a.digest) for a in last.values()]
    parts = [f"waits for {gate.minimum - len(given)} more of {gate.minimum} approvals"]
    parts += [f"approved by {cut(given)}"] if given else []
    parts += [f"asked are {cut(gate.approvers)}"] if gate.approvers else []
    parts += [text for text in passed_over if text]
    return Measurement(Outcome.WAITING, context.now, value, "; ".join(parts))


def why_not(gate: ApprovalGate, author: str, who: str) -> str:
    """Return why somebody's voice doesn't count; "" when it does.

    Args:
        gate: that asks.
        author: who made the plan; a like name on another host is not somebody else.
        who: speaks, under the cluster's name.
    """
    if author.partition("@")[0] == who.partition("@")[0]:
        return f"{who} made the plan and doesn't count"
    asked = bool(who) and (not gate.approvers or who in gate.approvers)
    return "" if asked else f"{who} is not asked"


def _why_passed_over(gate: ApprovalGate, context: Context, who: str, digest: str) -> str:
    other = "" if digest == context.digest else f"{who} approved another plan"
    return why_not(gate, context.author, who) or other
