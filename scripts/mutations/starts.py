"""What may begin: budgets, order, pace, and the words of people."""

from __future__ import annotations

from typing import Final

from scripts.mutations.guard import (
    DEEDS,
    FAULTS,
    GATES,
    LIMITS,
    STORIES,
    STRANGERS,
    Guard,
    Place,
)

STARTS: Final = (
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
        "wave-limit",
        "a wave has more nodes down than it may (S1)",
        "rollout/executor/state.py",
        "        return own if wave_limit is None else min(own, wave_limit.value)\n",
        "        return own\n",
        (f"{LIMITS}test_a_limit_of_one_lets_one_node_go_down_at_a_time",),
    ),
    Guard(
        "nodes-in-flight",
        "more nodes are in flight than the whole run may have",
        "rollout/executor/starting.py",
        "    if limit and book.in_flight >= limit:\n        return None\n",
        "",
        (f"{LIMITS}test_a_limit_of_one_lets_one_node_go_down_at_a_time",),
    ),
    Guard(
        "zone-cap",
        "more nodes of a zone are in flight than may be",
        "rollout/executor/starting.py",
        "    if cap and book.zone_load.get(run.zone, 0) >= cap:\n        return False\n",
        "",
        (f"{LIMITS}test_a_limit_of_one_lets_one_node_go_down_at_a_time",),
    ),
    Guard(
        "broken-zones",
        "trouble is carried into a further zone",
        "rollout/executor/zones.py",
        "    return len(ds.view.broken_zones) < limit\n",
        "    return True\n",
        (
            "tests/simulation/test_dead_nodes.py::test_nodes_40_with_two_zones_that_hold_unavailable_pods_nothing_starts_in_a_third",
        ),
    ),
    Guard(
        "pace",
        "replacements follow each other faster than they may",
        "rollout/executor/pacing.py",
        "        if self._tokens < 1.0 - 1e-9:\n",
        "        if False:\n",
        (f"{LIMITS}test_replacements_follow_each_other_at_the_given_pace",),
    ),
    Guard(
        "most-at-once",
        "a wave behind failures is as large as if there were none",
        "rollout/executor/starting.py",
        "    return most is None or book.in_flight < most\n",
        "    return True\n",
        (
            "tests/simulation/test_failure_policy.py::test_nodes_36_behind_a_wave_with_a_failure_the_next_one_does_not_grow",
        ),
    ),
    Guard(
        "nodes-in-trouble",
        "a release in trouble is carried to further nodes",
        "rollout/executor/starting.py",
        "    return limit is not None and book.in_trouble > limit\n",
        "    return False\n",
        (
            "tests/simulation/test_failure_policy.py::test_with_too_many_nodes_in_trouble_nothing_starts_and_the_run_says_why",
        ),
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
        "gates-before-a-delete",
        "a pod goes before the gates of its node have passed (S8)",
        "rollout/executor/starting.py",
        "    asks = run.lane is not Lane.VERIFY and bool(nodegates.gates_before(book, run))\n",
        "    asks = False\n",
        ("tests/simulation/test_gates.py::test_random_gates_never_let_a_run_go_on_without_a_pass",),
    ),
    Guard(
        "handed-over-node",
        "the old pod goes before its successor has passed (S1)",
        "rollout/executor/starting.py",
        "    if hands_over and works and not run.released_uid:\n",
        "    if False:\n",
        (f"{LIMITS}test_in_a_hand_over_no_node_is_without_a_ready_pod",),
    ),
    Guard(
        "unreachable-nodes",
        "a pod is deleted whose kubelet is silent",
        "rollout/executor/unreachable.py",
        "    return run.node not in ds.broken_before or book.plan.rules.defer_not_ready\n",
        "    return False\n",
        (
            "tests/simulation/test_dead_nodes.py::test_nodes_49_a_node_that_comes_back_in_time_is_updated_in_the_end",
        ),
    ),
    Guard(
        "most-unreachable",
        "a release that takes its neighbours down marches on",
        "rollout/executor/unreachable.py",
        "    if len(names) > limit.value:\n",
        "    if False:\n",
        (
            "tests/simulation/test_dead_nodes.py::test_more_nodes_that_turn_not_ready_than_allowed_hold_the_run_without_blame",
        ),
    ),
    Guard(
        "wave-approval",
        "a wave is left without the approval that the plan asks for",
        "rollout/executor/book.py",
        "        if run.step.wave in self.wishes.waves or self.stepping.on:\n",
        "        if True:\n",
        (
            "tests/simulation/test_control.py::test_nodes_57_an_approved_node_passes_an_approval_that_nobody_gave",
        ),
    ),
    Guard(
        "approval-binds",
        "an approval for another plan counts",
        "rollout/executor/saying.py",
        '    if plan not in ("", record.plan_id, record.plan_digest):\n',
        "    if False:\n",
        ("tests/executor/test_saying.py::test_updates_37_a_word_for_another_plan_is_refused",),
    ),
    Guard(
        "stop-at",
        "a wave begins behind the one at which the run was to stop",
        "rollout/executor/book.py",
        "        if self.stop_at and run.step.wave > self.stop_at and not self.stop_why:\n",
        "        if False:\n",
        ("tests/simulation/test_control.py::test_a_run_stops_behind_the_wave_that_was_chosen",),
    ),
    Guard(
        "bake",
        "the next wave begins before this one has baked",
        "rollout/executor/book.py",
        "        if bake and not run.step.daemon_set and end > now > BEFORE:\n",
        "        if False:\n",
        (f"{LIMITS}test_a_wave_bakes_before_the_next_one_begins",),
    ),
    Guard(
        "left-out-nodes",
        "the strategy is restored, and the controller replaces what was left out",
        "rollout/executor/starting.py",
        "    if kept and not ds.planned.owner_on_delete:\n",
        "    if False:\n",
        (
            "tests/simulation/test_control.py::test_a_node_that_is_skipped_at_the_prompt_is_left_alone",
        ),
    ),
    Guard(
        "write-again-after-a-stop",
        "a delete that was not done is repeated after a stop (S6)",
        "rollout/executor/answering.py",
        "    if step.state is StepState.DELETING or book.stopping:\n"
        "        _let_go(book, ds, step)\n"
        "    else:  # the second half",
        "    if step.state is StepState.DELETING or book.stopping:\n"
        "        book.actions.append(write)\n"
        "    else:  # the second half",
        (f"{LIMITS}test_a_delete_that_was_not_done_is_not_repeated_after_a_stop",),
    ),
    Guard(
        "windows",
        "a node begins outside of the windows that the plan allows",
        "rollout/executor/starting.py",
        "        if best.lane is not Lane.VERIFY and book.gating.shut(now) is not None:\n"
        "            return None\n",
        "",
        (
            f"{GATES}test_a_window_that_closes_lets_nodes_in_flight_finish_and_the_rest_wait_for_the_next",
        ),
    ),
    Guard(
        "window-of-a-node",
        "a node begins outside of the windows that are its own",
        "rollout/executor/starting.py",
        " and (guard := gatewindows.shut_for(book, best, now)):\n",
        " and (guard := gatewindows.shut_for(book, best, now)) and False:\n",
        (f"{GATES}test_a_window_of_one_zone_keeps_the_other_zone_from_nothing",),
    ),
    Guard(
        "pods-of-the-target",
        "a pod that is new already is deleted (S3)",
        "rollout/executor/starting.py",
        '        not ds.is_target(pod) or pod.metadata.uid == run.retry_uid != ""\n',
        "        True\n",
        (f"{FAULTS}test_fault_39_the_next_job_goes_on_and_one_that_comes_too_early_is_told",),
    ),
    Guard(
        "one-try-a-word",
        "a node is tried again and again for one word (S3)",
        "rollout/executor/retrying.py",
        "    return bool(born) and all(at < float(int(asked)) for at in born)\n",
        "    return bool(born)\n",
        (
            "tests/simulation/test_back_past_the_dead.py::test_one_word_is_one_try_also_when_another_process_hears_it",
        ),
    ),
)
