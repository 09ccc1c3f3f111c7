"""What is believed of what was seen: old states, short lists, strangers, silence."""

from __future__ import annotations

from typing import Final

from scripts.mutations.guard import DRIFT, ENFORCING, LIMITS, STRANGERS, Guard

SIGHTS: Final = (
    Guard(
        "stale-list",
        "an old list is believed, and a new pod forgotten",
        "rollout/cluster/versions.py",
        "        if _is_older(version, self.latest):\n            return False\n",
        "",
        (
            "tests/cluster/test_versions.py::test_a_list_older_than_what_was_seen_is_refused_and_changes_nothing",
        ),
    ),
    Guard(
        "older-list-that-stays",
        "a store that was restored from a backup is refused for ever",
        "rollout/cluster/watch.py",
        "        return self._clock() - self._refused_since >= self._timing.believed_s\n",
        "        return False\n",
        ("tests/cluster/test_watch.py::test_an_older_list_that_stays_is_how_things_are",),
    ),
    Guard(
        "older-bookmarks",
        "a watch that will never tell anything is taken for a quiet cluster",
        "rollout/cluster/watch.py",
        "        elif self._clock() - self._heard_at > self._timing.silence_s:\n",
        "        elif False:\n",
        ("tests/cluster/test_watch.py::test_bookmarks_from_the_past_are_no_sign_of_life",),
    ),
    Guard(
        "nothing-is-awaited-of-a-store-that-was-set-back",
        "a run waits for what its cluster has forgotten",
        "rollout/executor/engine/engine.py",
        "        if self.sight.went_back or ",
        "        if ",
        (
            "tests/simulation/test_guards.py::test_a_cluster_that_was_set_back_ends_the_run_and_the_next_process_goes_on",
        ),
    ),
    Guard(
        "lockout-has-an-end",
        "a run whose credentials are refused waits until its nodes are blamed",
        "rollout/executor/engine/engine.py",
        "                    stopping.watch_lockout(self, now)\n",
        "                    pass\n",
        ("tests/executor/test_faults.py::test_fault_09_a_run_that_is_locked_out_ends_and_says_so",),
    ),
    Guard(
        "short-list-of-nodes",
        "half a list of nodes ends the run as complete",
        "rollout/executor/engine/observing.py",
        '    doubt = disbelief("nodes", _known_nodes(book), listed)\n    if doubt:\n',
        '    doubt = disbelief("nodes", _known_nodes(book), listed)\n    if False:\n',
        (f"{LIMITS}test_half_a_list_of_nodes_stops_the_run",),
    ),
    Guard(
        "short-list-of-pods",
        "half a list of pods makes nodes look bare",
        "rollout/executor/engine/observing.py",
        "    if doubt:\n"
        "        book.stop_for_drift(doubt)\n"
        "        ds.listed = True\n"
        "        return\n",
        "",
        (f"{LIMITS}test_half_a_list_of_pods_stops_the_run",),
    ),
    Guard(
        "old-news-of-a-pod",
        "a lagging watch brings a pod back that is gone",
        "rollout/executor/engine/view.py",
        "        if uid in self._gone and "
        "version_number(pod.metadata.resource_version) <= self._gone[uid]:\n"
        "            return None\n",
        "",
        (
            "tests/executor/engine/test_view.py::test_news_of_a_pod_from_before_it_left_does_not_bring_it_back",
        ),
    ),
    Guard(
        "older-news-of-a-pod",
        "a lagging watch turns a pod back into what it was",
        "rollout/executor/engine/view.py",
        "        if known is not None and _is_older(pod, known):\n            return None\n",
        "",
        ("tests/executor/engine/test_view.py::test_older_news_of_a_pod_changes_nothing",),
    ),
    Guard(
        "pods-of-others",
        "a pod of another owner is counted, and deleted (S2)",
        "rollout/executor/engine/view.py",
        "        if pod.metadata.controller_uid != self.uid:\n"
        "            return self.forget(uid, now, pod.metadata.resource_version)\n",
        "",
        ("tests/executor/engine/test_view.py::test_a_pod_of_another_owner_is_not_seen",),
    ),
    Guard(
        "old-news-of-a-daemon-set",
        "an old state of the DaemonSet is taken for drift",
        "rollout/executor/engine/observing.py",
        "    if ds.live is not None and _is_older(seen, ds.live):\n        return\n",
        "",
        (
            "tests/executor/engine/test_observing.py::test_the_answer_to_the_patch_that_comes_behind_the_watch_is_old_news",
        ),
    ),
    Guard(
        "older-than-the-plan",
        "a DaemonSet from before the plan looks as if it were back already",
        "rollout/executor/engine/observing.py",
        "    if ds.is_from_before_plan(seen):\n",
        "    if False:\n",
        (
            "tests/simulation/test_old_states.py::test_faults_15_a_rollback_sees_the_patch_that_an_old_read_hides",
        ),
    ),
    Guard(
        "way-back-waits-for-pods",
        "a way back that was killed forgets the nodes that it has left without a pod (L1)",
        "rollout/planner/fates.py",
        "        ours = self.changes or node.metadata.name in self.unfinished\n",
        "        ours = self.changes\n",
        (
            "tests/simulation/test_restarts.py::test_a_node_on_the_way_back_fails_at_its_deadline_however_often_we_are_killed",
        ),
    ),
    Guard(
        "way-back-by-hand",
        "a way back that may not be begun leaves people without its commands",
        "rollout/executor/wayback.py",
        "    except Forbidden as error:\n        why",
        "    except ZeroDivisionError as error:\n        why",
        (
            "tests/simulation/test_rights.py::test_where_the_plan_wants_a_way_back_that_may_not_begin_the_commands_do_all_of_it",
        ),
    ),
    Guard(
        "pods-that-were-taken-away",
        "a way back believes in pods that the run has deleted",
        "rollout/executor/planback.py",
        "if not _still_there(fleet, gone):",
        "if True:",
        (
            "tests/simulation/test_old_states.py::test_updates_41_a_way_back_does_not_believe_in_pods_that_the_run_took_away",
        ),
    ),
    Guard(
        "astray-behind-a-way-back",
        "a way back ends although a node that looked untouched is not back",
        "rollout/executor/notback.py",
        'if node.fate == "current" and',
        'if node.fate == "gone" and',
        (
            "tests/simulation/test_old_states.py::test_faults_15_a_rollback_behind_a_killed_run_ends_where_it_says",
        ),
    ),
    Guard(
        "blind",
        "something starts while nothing can be seen",
        "rollout/executor/engine/starting.py",
        "    if sight.is_blind(book, now) or book.finished",
        "    if book.finished",
        (f"{LIMITS}test_nothing_starts_while_a_view_is_lost",),
    ),
    Guard(
        "verdicts-while-blind",
        "a node is judged by what nobody sees any more",
        "rollout/executor/engine/advancing.py",
        " or not sight.can_judge(book, now):\n        return\n",
        ":\n        return\n",
        (
            "tests/simulation/test_faults.py::test_fault_16_nothing_is_judged_by_a_view_that_is_lost",
        ),
    ),
    Guard(
        "lapses-while-blind",
        "a node that was done fails by what nobody sees any more",
        "rollout/executor/engine/book.py",
        " and sight.can_judge(self, now):\n            weighing",
        ":\n            weighing",
        (
            "tests/simulation/test_baking.py::test_a_wave_that_bakes_is_judged_when_its_view_is_back",
        ),
    ),
    Guard(
        "views-of-a-measurement",
        "a gate passes on a picture that was taken while a view was away (S8)",
        "rollout/executor/engine/gating.py",
        " and measurement.at >= book.sight.settled_at\n",
        "\n",
        (f"{LIMITS}test_a_gate_passes_on_no_measurement_in_which_a_view_was_away",),
    ),
    Guard(
        "time-without-a-view",
        "an outage of the API server makes nodes fail",
        "rollout/executor/engine/terms.py",
        "    due = run.due_at + min(lost, book.plan.health.progress_deadline_s)\n",
        "    due = run.due_at\n",
        (
            "tests/simulation/test_faults.py::test_fault_11_no_node_fails_by_the_time_in_which_the_api_server_was_down",
        ),
    ),
    Guard(
        "recreated-by-uid",
        "a DaemonSet that was made anew passes for an older state of ours",
        "rollout/executor/engine/observing.py",
        "    if seen.metadata.uid != ds.planned.uid:\n",
        "    if False:\n",
        (
            "tests/simulation/test_strangers.py::test_a_recreated_daemon_set_is_known_although_no_watch_told_of_its_end",
            "tests/simulation/test_faults.py::test_fault_32_a_run_that_goes_on_knows_a_recreated_daemon_set_for_another_one",
        ),
    ),
    Guard(
        "returned-nodes",
        "a node that comes back with its old pod keeps it",
        "rollout/executor/engine/observing.py",
        "    if name in book.gone_nodes:\n",
        "    if False:\n",
        (
            "tests/simulation/test_strangers.py::test_a_node_that_comes_back_under_its_name_with_its_old_pod_has_its_turn",
        ),
    ),
    Guard(
        "gates-while-blind",
        "a gate passes on a picture that is out of date (S8)",
        "rollout/executor/engine/gating.py",
        "    if measurement.outcome is Outcome.PASSED and not _saw_all(book, measurement, now):\n",
        "    if False:\n",
        (f"{LIMITS}test_a_gate_that_was_measured_without_a_view_of_the_cluster_is_measured_again",),
    ),
    Guard(
        "controller-down",
        "pods are deleted that nobody replaces",
        "rollout/executor/engine/starting.py",
        "    return guarding.is_trusted(book, ds) and zones.is_open(book, ds, run)\n",
        "    return zones.is_open(book, ds, run)\n",
        (
            "tests/simulation/test_guards.py::test_faults_10_and_36_pods_that_are_refused_stop_the_deleting_and_are_quoted",
        ),
    ),
    Guard(
        "controller-silent",
        "a controller that does nothing is trusted for ever",
        "rollout/executor/engine/guarding.py",
        '        guard.silent = True\n        book.note("controller-silent"',
        '        book.note("controller-silent"',
        (
            "tests/simulation/test_guards.py::test_a_controller_that_stays_down_is_not_held_against_the_release",
        ),
    ),
    Guard(
        "pods-refused",
        "pods are deleted whose successors the API server refuses",
        "rollout/executor/engine/guarding.py",
        "    return not ds.pods_refused and not is_silent(book)\n",
        "    return not is_silent(book)\n",
        (
            "tests/simulation/test_guards.py::test_faults_10_and_36_pods_that_are_refused_stop_the_deleting_and_are_quoted",
        ),
    ),
    Guard(
        "drift",
        "the run goes on over somebody else's template or strategy (S9)",
        "rollout/executor/engine/observing.py",
        "        book.stop_for_drift(drift)\n",
        "        pass\n",
        (f"{STRANGERS}test_a_template_edited_in_mid_run_stops_it_before_the_next_delete",),
    ),
    Guard(
        "enforced-once",
        "two tools that both insist on a strategy go on for ever",
        "rollout/executor/engine/reasserting.py",
        "    if not book.enforces_strategy or ds.reasserted or not ds.is_turned_back(seen):\n",
        "    if not book.enforces_strategy or ds.reasserting or not ds.is_turned_back(seen):\n",
        (f"{ENFORCING}test_fault_27_who_insists_is_not_fought_with",),
    ),
    Guard(
        "enforced-under-the-lock",
        "a run that has lost its lock for good waits for a strategy that it may not set (L3)",
        "rollout/executor/engine/reasserting.py",
        "    book.enforces_strategy = False\n",
        "",
        (f"{ENFORCING}test_fault_27_a_run_without_its_lock_enforces_nothing",),
    ),
    Guard(
        "enforcement-ends-with-the-lock",
        "the end of a run without its lock waits for a write that it keeps back itself (L3)",
        "rollout/executor/engine/engine.py",
        "                reasserting.lock_lost(self)\n",
        "",
        (f"{ENFORCING}test_fault_27_a_run_whose_lock_is_lost_meanwhile_gives_the_enforcement_up",),
    ),
    Guard(
        "enforced-as-left",
        "OnDelete is enforced over what somebody else has edited (S9)",
        "rollout/executor/engine/state.py",
        "            and template_digest(seen.spec.template) == "
        "self.planned.target.template_digest\n",
        "",
        (f"{ENFORCING}test_fault_27_a_template_that_somebody_edits_is_nothing_to_enforce",),
    ),
    Guard(
        "drift-before-the-run",
        "a plan for another template, strategy or cluster is applied (S9)",
        "rollout/executor/fitting.py",
        '    if drift.hard or (drift.soft and on_drift == "fail"):\n',
        "    if False:\n",
        (
            "tests/executor/test_fitting.py::test_another_template_or_strategy_is_refused_whatever_is_wished",
        ),
    ),
    Guard(
        "another-cluster",
        "a plan is applied to a cluster that it was not made for (S9)",
        "rollout/planner/drift.py",
        "        if fleet.cluster_uid != plan.cluster.uid:\n",
        "        if False:\n",
        ("tests/planner/test_drift.py::test_another_cluster_is_all_that_is_said",),
    ),
    Guard(
        "recreated",
        "a DaemonSet that was made anew is taken for the old one (S2)",
        "rollout/executor/engine/state.py",
        "        if seen.metadata.uid != self.planned.uid:\n",
        "        if False:\n",
        (f"{LIMITS}test_a_daemon_set_that_was_made_anew_is_another_one",),
    ),
    Guard(
        "strategy-turned-back",
        "the controller replaces pods on its own, and we do so beside it (S9)",
        "rollout/executor/engine/state.py",
        "        if seen.strategy_type != ON_DELETE:\n            return (\n",
        "        if False:\n            return (\n",
        (f"{STRANGERS}test_a_strategy_turned_back_in_mid_run_stops_it",),
    ),
    Guard(
        "a-list-is-a-list",
        "an answer that is no list is taken for an empty one",
        "rollout/cluster/paging.py",
        '        if not (self.kind.endswith("List") and self.metadata.resource_version):\n',
        "        if False:\n",
        (
            "tests/cluster/test_paging.py::test_a_broken_answer_is_a_failed_read_and_never_an_empty_list",
        ),
    ),
    Guard(
        "unread-event",
        "an event that cannot be read is skipped",
        "rollout/cluster/watch.py",
        "            raise Unreachable(message) from error\n",
        "            return\n",
        ("tests/cluster/test_watch.py::test_garbage_is_a_failed_read_and_nothing_is_skipped",),
    ),
    Guard(
        "superseded",
        "a plan is applied whose run another one has replaced",
        "rollout/executor/superseding.py",
        "        if found is not None and old.plan_id == plan.id:\n",
        "        if False:\n",
        (
            "tests/executor/record/test_keeper.py::test_a_plan_whose_run_made_place_for_another_one_is_refused",
        ),
    ),
    Guard(
        "gap-of-a-watch",
        "what a watch tells of the time in which nobody listened is taken for news (S1)",
        "rollout/cluster/watch.py",
        "        while not self._stop.is_set() and not self._has_gap(0.0):\n",
        "        while not self._stop.is_set():\n",
        (
            "tests/cluster/test_watch.py::test_behind_a_gap_the_state_is_listed_anew_for_a_watch_would_tell_history",
            "tests/cluster/test_watch.py::test_behind_a_long_silence_the_state_is_listed_anew",
        ),
    ),
    Guard(
        "watches-that-end-at-once",
        "a server that ends every watch is taken for a quiet cluster",
        "rollout/cluster/watch.py",
        "        if not self._troubled and self._has_gap(pause_s):\n",
        "        if False:\n",
        (
            "tests/cluster/test_watch.py::test_a_server_that_ends_every_watch_at_once_is_not_taken_for_a_quiet_cluster",
        ),
    ),
    Guard(
        "annotation-of-ours",
        "nobody but the record knows the original strategy, and the run goes on (S9)",
        "rollout/executor/engine/state.py",
        "            return self._unmarked(seen)\n",
        '            return ""\n',
        (f"{DRIFT}test_fault_01_an_annotation_of_ours_that_somebody_changes_is_drift",),
    ),
)
