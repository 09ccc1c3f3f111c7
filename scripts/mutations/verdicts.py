"""When a node, a wave, a gate or a run is taken for good or for bad."""

from __future__ import annotations

from typing import Final

from scripts.mutations.guard import BAKING, DEEDS, LIMITS, Guard

VERDICTS: Final = (
    Guard(
        "soak-reset",
        "a pod that was not ready meanwhile counts as soaked",
        "rollout/executor/engine/view.py",
        "            self.ready_since.pop(uid, None)\n"
        "        if not pod.ready:\n"
        "            self.ready_since.pop(uid, None)\n",
        "        if not pod.ready:\n            pass\n",
        (f"{DEEDS}test_a_pod_that_flaps_soaks_anew",),
    ),
    Guard(
        "drift-before-rollback",
        "a run that a drift ends leaves what is in flight for a way back that it may not go (S9)",
        "rollout/executor/engine/engine.py",
        "        if self.drift_why:\n            return False\n",
        "",
        (
            "tests/simulation/test_control.py::test_a_way_back_that_a_drift_forbids_takes_no_patience_from_what_is_in_flight",
        ),
    ),
    Guard(
        "released-already-ends",
        "a released pod that somebody is ending is deleted once more",
        "rollout/executor/engine/advancing.py",
        '    if released.terminating:\n        book.end(ds, run, StepState.DONE, "", now)\n'
        "        return\n",
        "",
        (
            "tests/simulation/test_hand_over_news.py::test_an_old_pod_that_somebody_ends_is_not_deleted_once_more",
        ),
    ),
    Guard(
        "release-not-seen",
        "an old pod whose release is heard of late works on beside its successor for good",
        "rollout/executor/engine/advancing.py",
        "        return  # the release was accepted and is not seen yet\n",
        '        book.end(ds, run, StepState.DONE, "", now)\n        return\n',
        (
            "tests/simulation/test_hand_over_news.py::test_an_old_pod_whose_release_is_heard_of_late_is_ended_behind_its_successor",
        ),
    ),
    Guard(
        "soak",
        "a node counts as done before it was available for the soak time",
        "rollout/executor/engine/health.py",
        "    if now < done_at:\n",
        "    if False:\n",
        (f"{LIMITS}test_a_node_soaks_before_the_next_one_goes",),
    ),
    Guard(
        "node-ready",
        "a node that is not ready counts as done",
        "rollout/executor/engine/health.py",
        "    return Verdict(healthy=node is not None and node.ready, soaking=True)\n",
        "    return Verdict(healthy=True, soaking=True)\n",
        (f"{LIMITS}test_a_pod_on_a_node_that_is_not_ready_is_not_healthy",),
    ),
    Guard(
        "wrong-revision",
        "a new pod of another template counts as done",
        "rollout/executor/engine/health.py",
        "    if stranger is not None:\n",
        "    if False and stranger is not None:\n",
        (f"{LIMITS}test_a_new_pod_of_another_template_is_a_failure",),
    ),
    Guard(
        "restarts",
        "a pod that restarts counts as healthy",
        "rollout/executor/engine/health.py",
        "    if restarts_of(pod) > rules.max_restarts:\n",
        "    if False:\n",
        (
            "tests/simulation/test_failure_policy.py::test_nodes_27_restarts_while_it_soaks_fail_the_step_with_the_reason_of_the_last_end",
        ),
    ),
    Guard(
        "flaps",
        "a pod that flaps for ever counts as healthy",
        "rollout/executor/engine/health.py",
        "    if flaps > rules.max_flaps:\n",
        "    if False:\n",
        (
            "tests/simulation/test_time_limits.py::test_faults_22_a_pod_that_flaps_too_often_has_failed",
        ),
    ),
    Guard(
        "fail-fast",
        "an image that cannot be pulled is waited for until the deadline",
        "rollout/executor/engine/health.py",
        "    if stuck is not None and now >= _fail_fast_from(pod, rules):\n",
        "    if False and stuck is not None:\n",
        (
            "tests/simulation/test_failure_policy.py::test_abort_leaves_all_as_it_is_and_awaits_nothing",
        ),
    ),
    Guard(
        "start-grace",
        "an image that is pulled late is taken for one that is missing",
        "rollout/executor/engine/health.py",
        "    return created + rules.start_grace_s\n",
        "    return created\n",
        (
            "tests/simulation/test_failure_policy.py::test_with_too_many_nodes_in_trouble_nothing_starts_and_the_run_says_why",
        ),
    ),
    Guard(
        "min-ready-seconds",
        "a pod is available before minReadySeconds are over (S1)",
        "rollout/executor/engine/view.py",
        "        return since is not None and not pod.terminating and now >= since + "
        "self.min_ready_s\n",
        "        return since is not None and not pod.terminating\n",
        (
            "tests/executor/engine/test_view.py::test_a_pod_is_available_after_min_ready_seconds_and_not_before",
        ),
    ),
    Guard(
        "node-timeout",
        "a node is waited for without end (L3)",
        "rollout/executor/engine/terms.py",
        "    if run.state not in IN_FLIGHT or run.started_at != began or run.barred:\n",
        "    if True:\n",
        (
            "tests/simulation/test_time_limits.py::test_nodes_53_a_pod_stuck_terminating_fails_its_node_and_says_what_holds_it",
        ),
    ),
    Guard(
        "found-over-its-time",
        "a run that goes on begins another node beside one that is over its time (S6)",
        "rollout/executor/engine/advancing.py",
        "    terms.end_if_over(book, ds, run, now)\n",
        "",
        (
            "tests/simulation/test_restarts.py::test_a_run_that_goes_on_behind_a_failed_node_begins_no_other_before_that_has_failed",
        ),
    ),
    Guard(
        "unsettled-hand-overs",
        "a run calls itself complete beside a released pod that nobody looks after",
        "rollout/executor/engine/starting.py",
        " and settling.settle(book, ds)\n",
        "\n",
        (
            "tests/simulation/test_hand_over_ends.py::test_a_failed_hand_over_is_taken_back_before_the_run_is_complete",
        ),
    ),
    Guard(
        "time-without-a-controller",
        "a hand-over fails because the controller is down, and its old pod is left",
        "rollout/executor/engine/terms.py",
        "    if run.released_uid and ds.hands_over:\n",
        "    if False:\n",
        (
            "tests/simulation/test_hand_over_ends.py::test_a_hand_over_waits_for_the_controller_beyond_the_time_of_its_node",
        ),
    ),
    Guard(
        "adopted-pods",
        "another controller takes over the old pods of a hand-over, and may end them",
        "rollout/planner/build.py",
        "    if not why and release is not None and release.adopters:\n",
        "    if False:\n",
        (
            "tests/planner/test_handover.py::test_surge_is_refused_where_another_controller_would_take_old_pods_over",
        ),
    ),
    Guard(
        "node-time-from-the-cluster",
        "a restart of ours gives a node more time",
        "rollout/executor/engine/storedtimes.py",
        "    return min((time for time in times if time is not None), default=inf)\n",
        "    return inf\n",
        (
            "tests/simulation/test_restarts.py::test_what_was_not_written_down_yet_is_told_by_the_old_pod",
        ),
    ),
    Guard(
        "progress-deadline",
        "a run on which nothing gets done goes on without end (L3)",
        "rollout/executor/engine/deadlines.py",
        "    if now < due:\n        _look_at(book, due)\n        return\n",
        "    if True:\n        return\n",
        (
            "tests/simulation/test_time_limits.py::test_updates_02_a_run_on_which_nothing_gets_done_ends_at_its_deadline",
        ),
    ),
    Guard(
        "progress-not-while-paused",
        "a pause uses up the time of the nodes behind it",
        "rollout/executor/engine/deadlines.py",
        "    if book.stopping or book.stepping.asked",
        "    if book.stepping.asked",
        ("tests/simulation/test_time_limits.py::test_a_pause_is_not_counted_against_the_deadline",),
    ),
    Guard(
        "progress-from-the-cluster",
        "a restart of ours gives a run more time",
        "rollout/executor/engine/deadlines.py",
        "        earlier = book.times.counted_from if first else None\n",
        "        earlier = None\n",
        (
            "tests/simulation/test_restarts.py::test_a_run_with_nothing_in_flight_ends_at_its_deadline_however_often_we_are_killed",
        ),
    ),
    Guard(
        "waits-outlast-a-restart",
        "a wait with a deadline of its own uses up the run's time behind a restart",
        "rollout/executor/engine/storedtimes.py",
        "        return None if now >= progress.changed_at + soon_s else stored\n",
        "        return stored\n",
        (
            "tests/simulation/test_restarts.py::test_the_time_of_an_open_question_is_not_counted_not_even_by_the_process_behind_it",
        ),
    ),
    Guard(
        "node-time-from-the-record",
        "a restart of ours gives a node without a pod its whole time again",
        "rollout/executor/engine/starting.py",
        "min(now, earlier, told) if found",
        "min(now, told) if found",
        (
            "tests/simulation/test_restarts.py::test_a_pod_that_is_made_anew_again_and_again_gives_its_node_no_more_time",
        ),
    ),
    Guard(
        "record-before-a-pod-is-taken-away",
        "what a process began in its last second gets its whole time again",
        "rollout/executor/engine/storedtimes.py",
        "        started = inf if unnamed is None or any(True for _ in pods) else unnamed\n",
        "        started = inf\n",
        (
            "tests/simulation/test_restarts.py::test_nodes_03_a_first_process_loses_no_time_however_soon_it_is_killed",
        ),
    ),
    Guard(
        "pod-write-waits-for-the-record",
        "a pod is taken away before the record says so",
        "rollout/executor/run.py",
        "            explained = self._announced().result\n"
        "            self.writers.submit(self.writer.perform, action, explained, decided)\n",
        "            self.writers.submit(self.writer.perform, action)\n",
        (
            "tests/simulation/test_restarts.py::test_the_record_names_a_node_before_its_pod_is_taken_away",
        ),
    ),
    Guard(
        "pod-write-waits-until-the-record-is-stored",
        "a pod is taken away while the record that says so is on its way",
        "rollout/executor/run.py",
        "            explained = self._announced().result\n"
        "            self.writers.submit(self.writer.perform, action, explained, decided)\n",
        "            self._announced()\n"
        "            self.writers.submit(self.writer.perform, action, decided=decided)\n",
        (
            "tests/simulation/test_restarts.py::test_the_record_names_a_node_before_its_pod_is_taken_away",
        ),
    ),
    Guard(
        "validation-goes-on-from-its-begin",
        "a restart of ours gives a gate its whole time again",
        "rollout/executor/engine/gaterecord.py",
        "for g in gates if killed and g.status",
        "for g in gates if False and g.status",
        (
            "tests/simulation/test_gates.py::test_nodes_04_a_validation_that_began_8_minutes_before_a_restart_has_2_of_10_left",
        ),
    ),
    Guard(
        "min-ready-as-it-is",
        "minReadySeconds that are raised in mid-run are ignored to its end",
        "rollout/executor/engine/observing.py",
        "    if seconds == ds.view.min_ready_s:\n",
        "    if True:\n",
        (
            "tests/simulation/test_guards.py::test_min_ready_seconds_count_as_they_are_now_for_what_is_available",
        ),
    ),
    Guard(
        "no-word-that-outlasts-its-second",
        "a pod that somebody takes between two processes makes its node fail at once",
        "rollout/executor/engine/storedtimes.py",
        "    if times.stored.begun_since is not None and _has_unnamed(book, now):\n",
        "    if times.stored.begun_since is not None:\n",
        (
            "tests/simulation/test_restarts.py::test_a_pod_that_somebody_took_while_nobody_looked_gives_its_node_its_whole_time",
        ),
    ),
    Guard(
        "found-in-flight-is-kept-at-once",
        "processes that are killed soon one after the other give a node time without end",
        "rollout/executor/engine/storedtimes.py",
        "    return run.inherited and book.resumed\n",
        "    return False\n",
        (
            "tests/simulation/test_restarts.py::test_a_node_that_somebody_began_has_an_end_however_soon_each_process_is_killed",
        ),
    ),
    Guard(
        "failed-node-stays-failed",
        "a node that has failed gets its whole time again by a restart",
        "rollout/executor/engine/storedtimes.py",
        "        book.times.failed[run.id] = run\n",
        "        pass\n",
        (
            "tests/simulation/test_restarts.py::test_a_node_that_has_failed_gets_no_second_turn_from_a_restart",
        ),
    ),
    Guard(
        "retry-begins-anew",
        "a node that somebody wants tried again fails at once behind a restart",
        "rollout/executor/engine/storedtimes.py",
        "    return started if asked <= started else inf\n",
        "    return started\n",
        (
            "tests/simulation/test_restarts.py::test_a_retry_gives_a_node_its_whole_time_again_also_behind_a_restart",
        ),
    ),
    Guard(
        "max-failures",
        "more nodes fail than may",
        "rollout/executor/engine/failing.py",
        "        if self.total > self._rules.max_failures.value:\n",
        "        if False:\n",
        (
            "tests/executor/engine/test_failing.py::test_a_limit_stops_when_it_is_exceeded_and_not_when_it_is_reached",
        ),
    ),
    Guard(
        "wave-failures",
        "more nodes of a wave fail than may",
        "rollout/executor/engine/failing.py",
        "        if limit is not None and self.failed_in[wave] > limit.value:\n",
        "        if False:\n",
        (
            "tests/executor/engine/test_failing.py::test_a_limit_stops_when_it_is_exceeded_and_not_when_it_is_reached",
        ),
    ),
    Guard(
        "consecutive-failures",
        "nodes fail one after the other without end",
        "rollout/executor/engine/failing.py",
        "        if consecutive is not None and self.in_a_row > consecutive:\n",
        "        if False:\n",
        (
            "tests/executor/engine/test_failing.py::test_a_limit_stops_when_it_is_exceeded_and_not_when_it_is_reached",
        ),
    ),
    Guard(
        "sequential-test",
        "a release that is proved bad goes on",
        "rollout/executor/engine/failing.py",
        "        if self._proves_bad(wave):\n",
        "        if False:\n",
        (
            "tests/simulation/test_failure_policy.py::test_the_sequential_test_stops_a_bad_release_that_every_limit_would_bear",
        ),
    ),
    Guard(
        "without-a-success",
        "a wave without a single success lets the next one begin",
        "rollout/executor/engine/failing.py",
        "        return bool(failed) and not self.done_in[wave] and not self._bears_all\n",
        "        return False\n",
        (
            "tests/executor/engine/test_failing.py::test_an_excused_failure_is_no_ground_to_stop_but_a_wave_needs_a_success",
        ),
    ),
    Guard(
        "relapses",
        "a canary that crashes while its wave bakes stays done",
        "rollout/executor/engine/weighing.py",
        "        if why:\n            lapse",
        "        if False:\n            lapse",
        (f"{BAKING}test_a_canary_that_crashes_while_its_wave_bakes_stops_the_run",),
    ),
    Guard(
        "lapsed-nodes",
        "a node that goes down behind its update stays done",
        "rollout/executor/engine/weighing.py",
        '        lapse(book, ds, run, "the node turned not ready after its update", now)\n',
        "        pass\n",
        (
            "tests/simulation/test_dead_nodes.py::test_commands_20_a_node_that_turns_not_ready_after_its_update_has_failed",
        ),
    ),
    Guard(
        "gate-without-data",
        "a gate that measured nothing good passes (S8)",
        "rollout/gates/verdict.py",
        '    if not tally.passed:\n        text = f"none of',
        '    if False:\n        text = f"none of',
        ("tests/gates/test_verdict.py::test_the_arithmetic_is_argos_but_nothing_unknown_passes",),
    ),
    Guard(
        "gate-deadline",
        "a gate passes by its deadline (S8)",
        "rollout/gates/verdict.py",
        "    return Verdict(Status.INCONCLUSIVE, text + _because(tally))\n\n\ndef _going_on",
        "    return Verdict(Status.PASSED, text + _because(tally))\n\n\ndef _going_on",
        ("tests/gates/test_verdict.py",),
    ),
    Guard(
        "no-data",
        "missing data count as passed (S8)",
        "rollout/gates/verdict.py",
        "        outcome = rules.no_data\n",
        "        outcome = Outcome.PASSED\n",
        (
            "tests/gates/test_verdict.py::test_commands_22_no_data_is_inconclusive_and_with_on_no_data_a_failure",
        ),
    ),
    Guard(
        "gate-errors",
        "a gate that cannot be measured waits without end",
        "rollout/gates/verdict.py",
        "    if tally.errors_in_a_row > rules.consecutive_error_limit:\n",
        "    if False:\n",
        (
            "tests/gates/test_verdict.py::test_commands_23_the_fifth_error_in_a_row_is_one_and_a_recovery_goes_on",
        ),
    ),
    Guard(
        "gate-failures",
        "a measurement that failed is outvoted (S8)",
        "rollout/gates/verdict.py",
        "    if rules.failure_limit is not None and tally.failed > rules.failure_limit:\n",
        "    if False:\n",
        (
            "tests/gates/test_verdict.py::test_commands_22_no_data_is_inconclusive_and_with_on_no_data_a_failure",
        ),
    ),
    Guard(
        "before-the-change",
        "a measurement from before the change passes the gate behind it (S8)",
        "rollout/gates/verdict.py",
        "    if not measurement.at >= tally.since:\n        return tally\n",
        "",
        ("tests/gates/test_verdict.py::test_a_measurement_from_before_the_change_says_nothing",),
    ),
    Guard(
        "not-measured-at-the-end",
        "a background gate that was never measured has passed (S8)",
        "rollout/gates/verdict.py",
        '        return Verdict(Status.NOT_MEASURED, "nothing was measured")\n',
        '        return Verdict(Status.PASSED, "nothing was measured")\n',
        ("tests/gates/test_verdict.py::test_nothing_measured_is_not_measured_and_not_passed",),
    ),
    Guard(
        "not-a-number",
        "NaN passes a gate (S8)",
        "rollout/gates/conditions.py",
        '        return Judgement(Outcome.NO_DATA, "the value is not a number (NaN)")\n',
        "        pass\n",
        (
            "tests/gates/test_conditions.py::test_no_value_and_nan_are_no_data_whatever_the_condition_says",
        ),
    ),
    Guard(
        "infinite",
        "an infinite value passes a gate (S8)",
        "rollout/gates/conditions.py",
        "    if found.outcome is Outcome.PASSED and infinite:\n",
        "    if False:\n",
        ("tests/gates/test_conditions.py::test_an_infinite_value_never_passes_but_can_fail",),
    ),
    Guard(
        "condition-error",
        "a condition that cannot be evaluated passes a gate (S8)",
        "rollout/gates/conditions.py",
        "        return Judgement(Outcome.ERROR, plain(str(error)))\n",
        "        return Judgement(Outcome.PASSED)\n",
        (
            "tests/gates/test_conditions.py::test_what_cannot_be_evaluated_to_true_or_false_is_an_error_and_never_passes",
        ),
    ),
    Guard(
        "late-measurement",
        "a measurement that nobody waits for any more decides",
        "rollout/executor/engine/gatebook.py",
        "        if meter is None or meter.round != round_ or meter.asked_at is None:\n",
        "        if meter is None:\n",
        (
            "tests/executor/engine/test_gatebook.py::test_a_measurement_that_never_ends_is_an_error_and_is_asked_again",
        ),
    ),
    Guard(
        "silent-gate",
        "a gate that never answers keeps the run waiting without end (L3)",
        "rollout/executor/engine/gatebook.py",
        '            lost = Measurement(Outcome.ERROR, meter.asked_at, reason=f"no '
        'answer within {limit}")\n'
        "            self.measured(meter.id, round_, lost, now)\n",
        "            del limit\n",
        (
            "tests/executor/engine/test_gatebook.py::test_a_measurement_that_never_ends_is_an_error_and_is_asked_again",
        ),
    ),
    Guard(
        "background-since-the-change",
        "a background gate that passed before the last node lets the run end (S8)",
        "rollout/executor/engine/backgroundgates.py",
        "    return any(m.outcome is Outcome.PASSED and m.at >= changed for m in "
        "run.tally.recent)\n",
        "    return any(m.outcome is Outcome.PASSED for m in run.tally.recent)\n",
        (
            "tests/simulation/test_gates.py::test_a_background_gate_has_looked_behind_the_last_change_before_the_run_ends",
        ),
    ),
    Guard(
        "own-approval",
        "the author of a plan approves it alone",
        "rollout/gates/approval.py",
        '    if author.partition("@")[0] == who.partition("@")[0]:\n',
        "    if False:\n",
        ("tests/gates/test_people.py::test_the_author_of_the_plan_does_not_count",),
    ),
    Guard(
        "pause-in-full",
        "a pause that another process takes over is too short (S8)",
        "rollout/executor/engine/gaterecord.py",
        "        began=format_time(math.ceil(run.began)),  #",
        "        began=format_time(run.began),  #",
        (
            "tests/executor/engine/test_gaterecord.py::test_the_next_process_waits_no_shorter_for_a_pause_than_the_plan_says",
        ),
    ),
    Guard(
        "watched-is-no-excuse",
        "a node that the release itself broke in a run before counts as broken before the run",
        "rollout/executor/engine/state.py",
        "        } - self.watched\n",
        "        }\n",
        (
            "tests/simulation/test_failure_policy.py::test_updates_53_what_the_release_broke_in_an_unfinished_run_is_no_excuse_in_the_next",
        ),
    ),
    Guard(
        "watched-has-its-time",
        "a node that a new run watches fails at once, though its cause was mended",
        "rollout/executor/engine/starting.py",
        "    told = now if run.node in ds.watched else storedtimes.told_by(pods)\n",
        "    told = storedtimes.told_by(pods)\n",
        (
            "tests/simulation/test_failure_policy.py::test_updates_53_what_the_release_broke_in_an_unfinished_run_is_no_excuse_in_the_next",
        ),
    ),
    Guard(
        "a-slot-is-given-back-once",
        "a failed node that gets well gives a slot back that it does not hold, and too many begin",
        "rollout/executor/engine/answering.py",
        "    if step.state not in IN_FLIGHT:\n        return\n    book.release",
        "    book.release",
        (
            "tests/simulation/test_hand_over_ends.py::test_a_failed_node_that_gets_well_gives_no_slot_back_twice_where_its_old_pod_stays",
        ),
    ),
    Guard(
        "gates-behind-the-first-lists",
        "a gate is asked about a cluster that is not listed yet (S8)",
        "rollout/executor/engine/gating.py",
        "    if not _sees_all(book):\n        return\n",
        "",
        (
            "tests/simulation/test_gates_again.py::test_no_gate_is_asked_before_the_first_lists_are_there",
        ),
    ),
    Guard(
        "window-of-a-node-that-waits",
        "a node whose gate passes late is begun when the window has closed",
        "rollout/executor/engine/gating.py",
        "    if not controlling.may_start(book, run) or book.gating.shut(now) is not None:\n",
        "    if not controlling.may_start(book, run):\n",
        (
            "tests/simulation/test_gates.py::test_a_node_whose_gate_passes_when_the_window_has_closed_waits_for_the_next",
        ),
    ),
    Guard(
        "a-zone-is-down-by-half",
        "one other node that is down in its zone excuses what the release broke",
        "rollout/executor/engine/zones.py",
        "    if not down or 2 * down < control:\n",
        "    if not down:\n",
        (
            "tests/simulation/test_dead_nodes.py::test_a_node_that_goes_down_with_few_others_of_its_zone_speaks_against_the_release",
        ),
    ),
    Guard(
        "silent-while-blind",
        "a run that sees nothing says that the controller does nothing",
        "rollout/executor/engine/guarding.py",
        "    if not sight.can_judge(book, now):\n"
        "        book.at(now + PATIENCE_S, lambda at: _overdue(book, ds, node, since, at))\n"
        "    elif",
        "    if",
        (
            "tests/simulation/test_guards.py::test_a_controller_is_not_called_silent_by_a_view_that_is_lost",
        ),
    ),
    Guard(
        "the-end-waits-for-its-patch",
        "a run ends while nobody knows what became of its patch (S11)",
        "rollout/executor/engine/engine.py",
        "        if any(d.phase in (Phase.PREPARING, Phase.RESTORING) for d in",
        "        if any(d.phase in () for d in",
        (
            "tests/simulation/test_control.py::test_a_run_that_is_paused_ends_only_when_it_knows_what_became_of_its_patch",
        ),
    ),
)
