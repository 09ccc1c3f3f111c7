"""Writes: each names exactly what it means, stands in the record first, and is never guessed."""

from __future__ import annotations

from typing import Final

from scripts.mutations.guard import CLEANING, COMMANDS, DEEDS, DRIFT, FAULTS, Guard

WRITES: Final = (
    Guard(
        "uid-precondition",
        "a repeated delete would hit the new pod of the same name (S2)",
        "rollout/cluster/bodies.py",
        '        "preconditions": {"uid": uid},\n',
        "",
        (f"{DEEDS}test_every_delete_names_a_uid_and_every_write_has_its_record",),
    ),
    Guard(
        "release-uid",
        "a hand-over hits the new pod of the same name (S2)",
        "rollout/executor/patches.py",
        '        "metadata": {\n'
        '            "uid": uid,\n'
        '            "labels": {\n'
        "                given.label: None,",
        '        "metadata": {\n            "labels": {\n                given.label: None,',
        ("tests/executor/test_patches.py::test_a_patch_of_a_pod_names_the_very_pod",),
    ),
    Guard(
        "take-back-uid",
        "a released pod of another life gets its label back (S2)",
        "rollout/executor/patches.py",
        '            "uid": uid,\n            "labels": {**labels,',
        '            "labels": {**labels,',
        ("tests/executor/test_patches.py::test_the_selector_matches_a_pod_that_was_taken_back",),
    ),
    Guard(
        "fresh-decision",
        "a pod goes on a decision of long ago, while the server asked for patience (S1)",
        "rollout/executor/writing.py",
        "            if age > FRESH_S:\n",
        "            if age > 600 * FRESH_S:\n",
        (
            f"{COMMANDS}test_a_delete_that_had_to_wait_is_decided_anew_when_other_nodes_are_down_by_then",
        ),
    ),
    Guard(
        "last-pod-of-a-hand-over",
        "an old pod goes, as it was decided, behind whose successor somebody took away (S1)",
        "rollout/executor/writing.py",
        " if self._is_last(write) else ",
        " if False else ",
        (
            f"{COMMANDS}test_a_delete_that_had_to_wait_is_decided_anew_when_the_successor_is_down_by_then",
        ),
    ),
    Guard(
        "unfit-node",
        "a pod is deleted where nothing would take its place (faults.md 26)",
        "rollout/executor/engine/unfit.py",
        'return "" if found.should_run else found.reason',
        'return ""',
        (f"{FAULTS}test_fault_26_a_taint_in_mid_run_keeps_the_pod_that_nothing_would_replace",),
    ),
    Guard(
        "after-a-failure",
        "a DaemonSet goes on where the one that has to go first there has failed (S7)",
        "rollout/executor/engine/unfit.py",
        "    if first is not None and first.state in",
        "    if False and first is not None and first.state in",
        (
            "tests/simulation/test_failure_policy.py::test_where_the_first_daemon_set_fails_the_one_after_it_leaves_the_node_alone",
        ),
    ),
    Guard(
        "patch-version",
        "a DaemonSet that somebody has changed meanwhile is patched over (S9)",
        "rollout/executor/patches.py",
        '        "uid": planned.uid,\n        "resourceVersion": live.metadata.resource_version,\n',
        '        "uid": planned.uid,\n',
        (
            "tests/executor/test_patches.py::test_a_patch_of_the_daemon_set_names_the_very_object_and_its_version",
        ),
    ),
    Guard(
        "patch-uid",
        "a DaemonSet that was made anew gets the patch of the old one (S2)",
        "rollout/executor/patches.py",
        '        "uid": planned.uid,\n        "resourceVersion": live',
        '        "resourceVersion": live',
        (
            "tests/executor/test_patches.py::test_a_patch_of_the_daemon_set_names_the_very_object_and_its_version",
        ),
    ),
    Guard(
        "cleanup-version",
        "a cleanup overwrites what somebody has changed meanwhile",
        "rollout/executor/patches.py",
        '            "uid": live.metadata.uid,\n'
        '            "resourceVersion": live.metadata.resource_version,\n',
        '            "uid": live.metadata.uid,\n',
        (
            "tests/executor/test_patches.py::test_a_patch_of_the_daemon_set_names_the_very_object_and_its_version",
        ),
    ),
    Guard(
        "cleanup-changed",
        "a cleanup that is tried again overwrites the strategy that somebody has set meanwhile",
        "rollout/executor/cleaning.py",
        "                if _said(live) != said:\n",
        "                if False:\n",
        (f"{CLEANING}test_a_strategy_that_somebody_changes_meanwhile_is_not_written_over",),
    ),
    Guard(
        "patched-template",
        "a template is set that is not the one that was signed off",
        "rollout/executor/patches.py",
        "    if template_digest(template) != planned.target.template_digest:\n",
        "    if False:\n",
        (
            "tests/executor/test_patches.py::test_a_template_that_the_plan_has_not_seen_is_not_patched",
        ),
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
        "record-swap",
        "a record that somebody else has written meanwhile is lost (S4)",
        "rollout/executor/record/record.py",
        'if key != "managedFields"}',
        'if key not in {"managedFields", "resourceVersion"}}',
        (
            "tests/executor/record/test_keeper.py::test_a_record_that_somebody_else_wrote_meanwhile_is_not_overwritten",
        ),
    ),
    Guard(
        "patch-on-a-change",
        "a patch that had to wait takes away what somebody changed meanwhile",
        "rollout/executor/writing.py",
        "        if ds.live is not None and ds.drift(ds.live):\n",
        "        if False:\n",
        (
            "tests/executor/test_writing.py::test_a_patch_is_not_made_on_a_strategy_that_somebody_has_changed_meanwhile",
        ),
    ),
    Guard(
        "released-pod-known-again",
        "a list from right before a release leaves the old pod beside the new one",
        "rollout/executor/engine/observing.py",
        "    if pod.metadata.uid == step.replaced_uid:\n",
        "    if False:\n",
        (
            "tests/simulation/test_hand_over_news.py::test_a_list_from_right_before_a_release_leaves_no_old_pod_behind",
        ),
    ),
    Guard(
        "record-of-this-run",
        "a run writes into the record of its successor (S4)",
        "rollout/executor/record/keeper.py",
        "            if record is None or record.run_id != run_id:\n",
        "            if record is None:\n",
        (
            "tests/executor/record/test_keeper.py::test_a_run_writes_nothing_into_the_record_of_its_successor",
        ),
    ),
    Guard(
        "record-unknown-outcome",
        "a record whose answer was lost is taken for written (S4)",
        "rollout/executor/record/keeper.py",
        "                if now != before or isinstance(error, Conflict):\n"
        "                    raise self._changed() from None\n"
        "                if not tries_left:\n"
        "                    raise\n",
        "                return\n",
        (
            "tests/executor/record/test_keeper.py::test_a_write_without_an_answer_is_resolved_by_a_read",
        ),
    ),
    Guard(
        "journal-before-write",
        "a write goes out that is not in the journal",
        "rollout/executor/run.py",
        "        return [action for action in actions if not isinstance(action, WRITES)]\n",
        "        return actions\n",
        (f"{DEEDS}test_a_write_whose_line_is_not_on_the_disk_does_not_go_out",),
    ),
    Guard(
        "unknown-outcome-read",
        "a write whose answer was lost is taken for done",
        "rollout/executor/engine/answering.py",
        "            step.awaiting_answer = True\n"
        "            book.actions.append(ReadPod(write))\n",
        "            _taken_away(book, ds, step, write, event, now)\n",
        (f"{DEEDS}test_a_delete_that_was_never_sent_is_sent_again",),
    ),
    Guard(
        "a-lost-write-is-not-repeated",
        "a write without an answer is sent again before anybody has looked",
        "rollout/cluster/answers.py",
        "    if effect is Effect.WRITE:\n        return UnknownOutcome",
        "    if False:\n        return UnknownOutcome",
        (
            "tests/cluster/test_sending.py::test_a_write_without_a_clear_answer_is_of_unknown_outcome_and_never_repeated",
        ),
    ),
    Guard(
        "a-storm-of-patches",
        "a patch that a server in trouble does not take is sent without a pause",
        "rollout/executor/engine/answering.py",
        "    elif ds.patch_is_unsure:",
        "    elif False:",
        (
            "tests/simulation/test_guards.py::test_a_patch_that_nobody_knows_the_fate_of_is_not_repeated_in_a_storm",
        ),
    ),
    Guard(
        "deletes-that-are-never-done",
        "a run goes on for ever whose deletes are never done (L3)",
        "rollout/executor/engine/deadlines.py",
        "    return run.asked_at if run.state is StepState.DELETING else run.started_at\n",
        "    return run.started_at\n",
        (
            "tests/simulation/test_guards.py::test_deletes_that_are_never_done_end_the_run_at_its_deadline_with_the_servers_words",
        ),
    ),
    Guard(
        "a-patch-without-an-answer",
        "a patch whose answer was lost is taken for done",
        "rollout/executor/engine/answering.py",
        "            ds.generation = event.generation\n"
        "            ds.phase = Phase.OBSERVING\n"
        "            observing.resolve(book, ds, now)\n"
        "        case ev.Answer.UNKNOWN | ev.Answer.CONFLICT:\n"
        "            ds.patch_is_unsure = event.answer is ev.Answer.UNKNOWN\n"
        "            book.actions.append(ReadDaemonSet(ds.name))\n",
        "            ds.generation = event.generation\n"
        "            ds.phase = Phase.OBSERVING\n"
        "            observing.resolve(book, ds, now)\n"
        "        case ev.Answer.UNKNOWN | ev.Answer.CONFLICT:\n"
        "            ds.phase = Phase.OBSERVING\n",
        (f"{FAULTS}test_fault_01_a_conflict_over_nothing_that_matters_is_tried_again",),
    ),
    Guard(
        "a-step-whose-node-left",
        "an answer that comes late brings a step back to life without a slot",
        "rollout/executor/engine/answering.py",
        "    if step.state is StepState.GONE:  # its node left while we waited\n        return\n",
        "",
        (f"{DEEDS}test_an_answer_that_comes_when_its_node_has_left_changes_nothing",),
    ),
    Guard(
        "rate-limit",
        "a server that asks for patience is asked all the faster",
        "rollout/cluster/sending.py",
        "            self._limiter.refused(error.retry_after)\n",
        "            pass\n",
        ("tests/cluster/test_sending.py::test_a_429_halves_the_rate_of_later_writes",),
    ),
    Guard(
        "retry-after",
        "a server that asks for patience is asked again at once",
        "rollout/cluster/retry.py",
        "        return max(jitter(state), asked or 0.0)\n",
        "        return jitter(state)\n",
        ("tests/cluster/test_retry.py::test_the_last_error_comes_out_itself",),
    ),
    Guard(
        "strategy-from-the-record",
        "a way back leaves OnDelete behind where our annotation is gone (S11)",
        "rollout/executor/planback.py",
        "_Found(replace(fleet, recorded_strategy=ds.original_strategy), ",
        "_Found(fleet, ",
        (
            f"{DRIFT}test_the_way_back_knows_the_strategy_from_the_record_where_the_annotation_is_gone",
        ),
    ),
    Guard(
        "left-out-on-a-way-back",
        "a rollback says that all is back although a dead node holds the new revision",
        "rollout/executor/notback.py",
        "    return open_ | left_out(result.sets.values()) | missed(result)\n",
        "    return open_ | missed(result)\n",
        (
            "tests/simulation/test_back_past_the_dead.py::test_a_node_that_died_with_the_new_pod_is_not_back_and_only_its_pod_is_named",
        ),
    ),
    Guard(
        "cleanup-looks-again-under-the-lock",
        "a cleanup acts on what was so before it had the lock",
        "rollout/executor/cleaning.py",
        "        found = survey(client, scope, me.run_id)\n",
        "        found = before\n",
        (f"{CLEANING}test_all_is_looked_at_again_once_the_lock_is_held",),
    ),
    Guard(
        "cleanup-under-the-lock",
        "a cleanup writes beside a run that has taken its place (S5)",
        "rollout/executor/cleaning.py",
        "        yield client.guarded(lock.objection), lock.epoch\n",
        "        yield client, lock.epoch\n",
        (f"{CLEANING}test_nothing_is_written_when_the_lock_has_run_out",),
    ),
    Guard(
        "cleanup-epoch",
        "a run that wakes up behind a cleanup finds nothing above its own epoch (S9)",
        "rollout/executor/cleaning.py",
        "me, above=found.epoch, on_wait",
        "me, on_wait",
        (f"{CLEANING}test_a_cleanup_writes_under_an_epoch_above_all_that_a_record_names",),
    ),
    Guard(
        "both-guards",
        "a pod is deleted without a look at the lock, as its decision is fresh (S5)",
        "rollout/cluster/sending.py",
        "            guard=lambda: before() or guard(),\n",
        "            guard=guard,\n",
        ("tests/cluster/test_sending.py::test_a_client_that_is_guarded_twice_asks_both",),
    ),
    Guard(
        "unread-pods-are-read-again",
        "a write without an answer is repeated on what the view shows, which may lag",
        "rollout/executor/engine/answering.py",
        "    if event.answer is not ev.Answer.ACCEPTED:\n"
        "        book.at(now + _AGAIN_S, lambda _: book.actions.append(ReadPod(write)))\n"
        "        return\n",
        "",
        (
            "tests/simulation/test_guards.py::test_a_delete_without_an_answer_is_not_repeated_while_nobody_can_read_its_pod",
        ),
    ),
    Guard(
        "take-back-without-an-answer",
        "an old pod is taken for taken back whose patch was lost on its way",
        "rollout/executor/engine/answering.py",
        "        undone = is_released\n",
        "        undone = False\n",
        (
            "tests/simulation/test_hand_over_ends.py::test_taking_back_is_tried_until_the_server_says_what_became_of_it",
        ),
    ),
    Guard(
        "release-without-an-answer",
        "a pod is taken for handed over whose patch was lost on its way",
        "rollout/executor/engine/answering.py",
        "        undone = pod is not None and not is_released\n",
        "        undone = False\n",
        (
            "tests/simulation/test_hand_over_ends.py::test_a_release_that_was_lost_before_the_server_is_made_after_all",
        ),
    ),
    Guard(
        "old-pods-are-read-as-well",
        "an old pod is left beside the new one as the answer to its patch was lost",
        "rollout/executor/engine/settling.py",
        "    if event.answer is ev.Answer.UNKNOWN:\n"
        "        book.actions.append(ReadPod(write))\n"
        "        return\n",
        "",
        (
            "tests/simulation/test_hand_over_ends.py::test_taking_back_is_tried_until_the_server_says_what_became_of_it",
        ),
    ),
)
