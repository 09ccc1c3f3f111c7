"""The guards that make a rollout safe, each with the change that takes it away and its killers.

`old` stands exactly once in `file`; `new` is the same program without the guard. A guard that
stands at several places is taken away at all of them. A killer is a test that must fail then.
"""

from __future__ import annotations

from dataclasses import dataclass

STORIES = "tests/simulation/test_scenarios.py::test_what_went_wrong_once_stays_mended"
STRANGERS = "tests/simulation/test_strangers.py::"
FAULTS = "tests/simulation/test_faults.py::"
DEEDS = "tests/simulation/test_guarded_deeds.py::"


@dataclass(frozen=True, slots=True)
class Place:
    """One place at which a guard stands."""

    file: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Guard:
    """One guard."""

    name: str
    why: str  # what it keeps from happening
    file: str
    old: str
    new: str
    killers: tuple[str, ...]
    more: tuple[Place, ...] = ()  # where it stands as well

    @property
    def places(self) -> tuple[Place, ...]:
        """All places at which it stands."""
        return (Place(self.file, self.old, self.new), *self.more)


GUARDS = (
    Guard(
        "uid-precondition",
        "a repeated delete would hit the new pod of the same name (S2)",
        "rollout/cluster/bodies.py",
        '        "preconditions": {"uid": uid},\n',
        "",
        (f"{DEEDS}test_every_delete_names_a_uid_and_every_write_has_its_record",),
    ),
    Guard(
        "record-before-write",
        "a patched DaemonSet that nobody can explain (S4)",
        "rollout/executor/run.py",
        "            self.before_first_write()\n",
        "",
        (f"{DEEDS}test_every_delete_names_a_uid_and_every_write_has_its_record",),
    ),
    Guard(
        "lock-before-write",
        "two runs write at once (S5)",
        "rollout/cluster/sending.py",
        "        why_not = self._guard()\n        if why_not:\n",
        "        why_not = self._guard()\n        if False:\n",
        ("tests/executor/test_lock.py",),
    ),
    Guard(
        "epoch",
        "a run goes on although another one has taken over (S9)",
        "rollout/executor/lock.py",
        "        if self._tenures and epoch > self.epoch:\n",
        "        if False:\n",
        ("tests/executor/test_lock.py::test_a_higher_epoch_in_a_record_ends_the_lock_for_good",),
    ),
    Guard(
        "unknown-outcome-read",
        "a write whose answer was lost is taken for done",
        "rollout/executor/answering.py",
        "            step.awaiting_answer = True\n"
        "            book.actions.append(ReadPod(write))\n",
        "            _taken_away(book, ds, step, write, event, now)\n",
        (f"{DEEDS}test_a_delete_that_was_never_sent_is_sent_again",),
    ),
    Guard(
        "drift",
        "the run goes on over somebody else's template or strategy (S9)",
        "rollout/executor/observing.py",
        "        book.stop_for_drift(drift)\n    resolve",
        "        pass\n    resolve",
        (f"{STRANGERS}test_a_template_edited_in_mid_run_stops_it_before_the_next_delete",),
    ),
    Guard(
        "soak-reset",
        "a pod that was not ready meanwhile counts as soaked",
        "rollout/executor/view.py",
        "            self.ready_since.pop(uid, None)\n"
        "        if not pod.ready:\n            self.ready_since.pop(uid, None)\n",
        "        if not pod.ready:\n            pass\n",
        (f"{DEEDS}test_a_pod_that_flaps_soaks_anew",),
    ),
    Guard(
        "budget",
        "more nodes are down than may be (S1)",
        "rollout/executor/state.py",
        "        return run.node in self.view.unavailable or len(self.view.used) < budget\n",
        "        return True\n",
        (f"{DEEDS}test_what_is_down_for_another_reason_uses_the_budget_too",),
    ),
    Guard(
        "slots",
        "unavailable nodes are all replaced at once (S1)",
        "rollout/executor/state.py",
        "        if len(self.view.held) >= budget:\n            return False\n",
        "",
        (f"{DEEDS}test_what_was_down_before_is_replaced_at_the_same_pace",),
    ),
    Guard(
        "one-step-a-node",
        "two DaemonSets work on one node at once",
        "rollout/executor/starting.py",
        "        if best.node in book.busy_nodes:",
        "        if False and best.node in book.busy_nodes:",
        (f"{DEEDS}test_two_daemon_sets_take_turns_on_every_node",),
    ),
    Guard(
        "controller-down",
        "pods are deleted that nobody replaces",
        "rollout/executor/starting.py",
        "    return guarding.is_trusted(book, ds) and zones.is_open(book, ds, run)\n",
        "    return zones.is_open(book, ds, run)\n",
        ("tests/simulation/test_guards.py",),
    ),
    Guard(
        "stale-list",
        "an old list is believed, and a new pod forgotten",
        "rollout/cluster/versions.py",
        "        if _is_older(version, self.latest):\n            return False\n",
        "",
        ("tests/cluster/test_versions.py",),
    ),
    Guard(
        "stop-is-a-stop",
        "something starts after a hold (S6)",
        "rollout/executor/controlling.py",
        "    if book.stopping and not _moves_in_pause(book, run):\n        return False\n",
        "",
        (f"{STRANGERS}test_a_stopped_run_finishes_what_is_in_flight_and_starts_nothing",),
        more=(
            Place(
                "rollout/executor/starting.py",
                "    if book.stopping:\n        _start_approved(book, now)\n        return\n",
                "",
            ),
            Place(
                "rollout/executor/starting.py",
                "    while not book.stopping:\n",
                "    while True:\n",
            ),
        ),
    ),
    Guard(
        "predecessors",
        "a node that leaves opens the way behind it (S7)",
        "rollout/executor/book.py",
        "            if not run.blockers:  # else",
        "            if True:  # else",
        (f"{STORIES}[a-node-that-leaves-while-its-step-is-blocked]",),
    ),
    Guard(
        "a-released-pod-that-ends",
        "the only pod that works is deleted (S1)",
        "rollout/executor/starting.py",
        "    if released is not None and released.terminating:\n",
        "    if False:\n",
        (f"{STORIES}[a-way-back-right-behind-a-surge]",),
    ),
    Guard(
        "a-step-whose-node-left",
        "an answer that comes late brings a step back to life without a slot",
        "rollout/executor/answering.py",
        "    if step.state is StepState.GONE:  # its node left while we waited\n        return\n",
        "",
        (f"{FAULTS}test_fault_23_a_node_that_disappears_in_mid_step_gives_its_slot_back",),
    ),
    Guard(
        "approval-binds",
        "an approval for another plan counts",
        "rollout/executor/saying.py",
        '    if plan not in ("", record.plan_id, record.plan_digest):\n',
        "    if False:\n",
        ("tests/executor/test_saying.py",),
    ),
    Guard(
        "gate-without-data",
        "a gate that measured nothing good passes (S8)",
        "rollout/gates/verdict.py",
        '    if not tally.passed:\n        text = f"none of',
        '    if False:\n        text = f"none of',
        ("tests/gates/test_verdict.py",),
    ),
    Guard(
        "gate-deadline",
        "a gate passes by its deadline (S8)",
        "rollout/gates/verdict.py",
        "    return Verdict(Status.INCONCLUSIVE, text + _because(tally))\n\n\ndef _going_on",
        "    return Verdict(Status.PASSED, text + _because(tally))\n\n\ndef _going_on",
        ("tests/gates/test_verdict.py",),
    ),
)
