"""One run at a time: the lease, its epochs and its waits."""

from __future__ import annotations

from typing import Final

from scripts.mutations.guard import CLAIMS, DEEDS, FAULTS, Guard

LOCKS: Final = (
    Guard(
        "node-claimed-first",
        "two runs take one node down at once",
        "rollout/executor/engine/claims.py",
        "            if node not in self.taken and has_room(node):\n",
        "            if has_room(node):\n",
        (f"{CLAIMS}test_no_node_is_taken_down_by_two_runs_and_all_come_to_their_end",),
    ),
    Guard(
        "known-to-others-first",
        "a run takes nodes down before others know that it is there",
        "rollout/executor/engine/claims.py",
        "        if not self.joined or self.owed:\n",
        "        if not self.joined:\n",
        (f"{CLAIMS}test_no_node_is_taken_down_by_two_runs_and_all_come_to_their_end",),
    ),
    Guard(
        "claim-told-first",
        "a node is taken down before others can have seen that it is claimed",
        "rollout/executor/engine/claims.py",
        "        for node in [node for node, word in self.asked.items() if word <= self.heard]:\n",
        "        for node in list(self.asked):\n",
        (f"{CLAIMS}test_no_node_is_taken_down_by_two_runs_and_all_come_to_their_end",),
    ),
    Guard(
        "claims-anew-behind-a-lapse",
        "a run that was taken for dead goes on as if nothing had been",
        "rollout/executor/engine/engine.py",
        "                if resource == ev.LOCK:\n                    claiming.lapsed(self)\n",
        "",
        (
            "tests/simulation/test_claiming.py::test_after_its_lock_has_lapsed_a_run_claims_before_it_goes_on_although_it_sees_nobody",
        ),
    ),
    Guard(
        "runs-are-watched",
        "a run knows nothing of others that are at work",
        "rollout/executor/run.py",
        "            joins=True,\n",
        "            joins=False,\n",
        ("tests/simulation/test_two_runs.py",),
    ),
    Guard(
        "limit-for-all-runs",
        "two runs have more nodes in flight than either may",
        "rollout/executor/engine/claiming.py",
        "        if limit and flying + len(claims.taken) >= limit:\n            return False\n",
        "",
        (
            "tests/simulation/test_claiming.py::test_a_limit_counts_what_was_claimed_by_another_run_first",
        ),
    ),
    Guard(
        "lock-before-write",
        "two runs write at once (S5)",
        "rollout/cluster/sending.py",
        "        why_not = self._guard()\n        if why_not:\n",
        "        why_not = self._guard()\n        if False:\n",
        (
            "tests/executor/lock/test_lock.py::test_fault_28_a_machine_that_wakes_up_between_two_attempts_sends_nothing_more",
        ),
    ),
    Guard(
        "lock-asked-each-time",
        "a write that waits for its turn goes out when the lock is lost",
        "rollout/cluster/sending.py",
        "            body = self.transport.send(request, permit=self._permit, "
        "timeout_s=self._timeout_s)\n",
        "            body = self.transport.send(request, timeout_s=self._timeout_s)\n",
        (
            "tests/cluster/test_sending.py::test_a_guard_is_asked_behind_the_wait_for_the_rate_limit",
        ),
    ),
    Guard(
        "own-deadline",
        "a holder who was asleep writes beside its successor (S5)",
        "rollout/executor/lock/lock.py",
        "        return not self._lost and self._clock() < self._deadline\n",
        "        return not self._lost\n",
        ("tests/executor/lock/test_lock.py::test_a_write_is_objected_to_with_the_reason",),
    ),
    Guard(
        "counted-from-the-sending",
        "a lease is held longer than its successor waits (S5)",
        "rollout/executor/lock/leaseprotocol.py",
        "        return self.sent + policy.duration_s - policy.margin_s\n",
        "        return self.sent + policy.duration_s + policy.margin_s\n",
        (
            "tests/executor/lock/test_leaseprotocol.py::test_a_lease_is_taken_under_a_new_epoch_and_counts_from_the_sending",
        ),
    ),
    Guard(
        "full-lease-wait",
        "a lease is taken from a holder who may live (S5)",
        "rollout/executor/lock/leaseprotocol.py",
        "    left_s = seen.since + policy.duration_s - now\n",
        "    left_s = 0.0\n",
        ("tests/executor/lock/test_leaseprotocol.py::test_a_holder_who_renewed_just_now_is_alive",),
    ),
    Guard(
        "alive-holder",
        "somebody waits for a lock that its holder renews",
        "rollout/executor/lock/leaseprotocol.py",
        "    if lease is not None and (seen.moved or _looks_fresh(age_s, policy)):\n",
        "    if False:\n",
        ("tests/executor/lock/test_leaseprotocol.py::test_a_holder_who_renewed_just_now_is_alive",),
    ),
    Guard(
        "renewal-not-stored",
        "a renewal counts that never reached the server (S5)",
        "rollout/executor/lock/leaseprotocol.py",
        "        return Again(Tenure(found, tenure.sent))\n",
        "        return Kept(Tenure(found, attempt.sent))\n",
        (
            "tests/executor/lock/test_leaseprotocol.py::test_a_renewal_that_was_not_stored_gives_no_time",
        ),
    ),
    Guard(
        "lease-of-another-life",
        "a lease that was deleted and made anew is taken for ours (S5)",
        "rollout/executor/lock/leaseprotocol.py",
        "    if isinstance(found, Deleted) or found.uid != held.uid:\n",
        "    if isinstance(found, Deleted):\n",
        (
            "tests/executor/lock/test_leaseprotocol.py::test_whatever_else_is_found_the_lease_is_lost",
        ),
    ),
    Guard(
        "old-read-of-a-lease",
        "a run gives its lock up because a lagging server does not show it",
        "rollout/executor/lock/leaseprotocol.py",
        "    if found is None:  # maybe a stale read: another write tells\n"
        "        return Again(tenure)\n",
        '    if found is None:\n        return Lost("was deleted")\n',
        (
            "tests/executor/lock/test_leaseprotocol.py::test_a_stale_read_is_no_loss",
            "tests/executor/lock/test_lock.py::test_a_conflict_and_an_old_read_that_finds_no_lease_lose_nothing",
        ),
    ),
    Guard(
        "epoch",
        "a run goes on although another one has taken over (S9)",
        "rollout/executor/lock/lock.py",
        "        if self._tenures and epoch > self.epoch:\n",
        "        if False:\n",
        (
            "tests/executor/lock/test_lock.py::test_a_higher_epoch_in_a_record_ends_the_lock_for_good",
        ),
    ),
    Guard(
        "new-epoch",
        "a new holder is not known from the old one (S9)",
        "rollout/executor/lock/leaseprotocol.py",
        "    return Attempt(lease, me.identity, epoch, renewed, renewed, sent)\n",
        "    return Attempt(lease, me.identity, lease.epoch if lease else 1, "
        "renewed, renewed, sent)\n",
        ("tests/executor/lock/test_leaseprotocol.py::test_two_holders_are_never_valid_at_once",),
    ),
    Guard(
        "epoch-above-the-record",
        "a lease that was deleted gives an epoch that was used before (S9)",
        "rollout/executor/lock/lock.py",
        "        epoch = max(epoch, self._above + 1)\n",
        "",
        (
            "tests/executor/lock/test_lock.py::test_an_epoch_is_above_all_that_are_known_to_have_been_held",
        ),
    ),
    Guard(
        "epoch-in-the-record",
        "a run overwrites the record of the one that took over (S9)",
        "rollout/executor/holding.py",
        "            if record.epoch > self.lock.epoch:\n",
        "            if False:\n",
        (
            "tests/executor/record/test_keeper.py::test_a_record_under_a_higher_epoch_is_never_overwritten",
        ),
    ),
    Guard(
        "lost-after-silence",
        "a laptop that wakes up behind its successor waits for ever for its lock (L3)",
        "rollout/executor/lock/lock.py",
        "        if (valid, lost) != self._told:\n",
        "        if valid != self._told[0]:\n",
        ("tests/executor/lock/test_lock.py::test_the_old_holder_stops_for_good_when_it_wakes_up",),
    ),
    Guard(
        "stop-before-release",
        "a run writes on under a lease that it has given back (S5)",
        "rollout/executor/lock/lock.py",
        "        self._lose(_RELEASED)\n",
        "",
        ("tests/executor/lock/test_lock.py::test_a_release_that_cannot_be_sent_is_no_error",),
    ),
    Guard(
        "all-leases-or-none",
        "a run holds the lock of one DaemonSet and waits for that of another",
        "rollout/executor/lock/lock.py",
        "        if len(taken) < len(self._names):\n"
        "            self._give_back(taken)\n"
        "            return False\n",
        "        if len(taken) < len(self._names):\n            return False\n",
        (
            "tests/executor/lock/test_lock.py::test_what_was_taken_is_given_back_when_another_is_quicker",
        ),
    ),
    Guard(
        "taken-too-slowly",
        "a run begins under a lock that another has taken over while it was taken (S5)",
        "rollout/executor/lock/lock.py",
        "            elif self._take_all(seen) and self._catch_up():\n",
        "            elif self._take_all(seen) and (self._catch_up() or True):\n",
        (
            "tests/executor/lock/test_lock.py::test_a_lease_that_another_run_takes_while_the_next_is_taken_slowly_ends_the_start",
            "tests/executor/lock/test_lock.py::test_a_lease_that_is_deleted_while_the_next_is_taken_slowly_is_taken_anew",
        ),
    ),
    Guard(
        "renewed-side-by-side",
        "the lock of several DaemonSets lapses again and again on a slow API server",
        "rollout/executor/lock/lock.py",
        "        most = min(len(attempts), _SIDE_BY_SIDE)\n",
        "        most = 1\n",
        (f"{FAULTS}test_fault_14_the_lock_of_several_daemon_sets_is_held_on_a_slow_api_server",),
    ),
    Guard(
        "unlock-waits",
        "a lock that was broken is free while its holder still writes (S5)",
        "rollout/executor/lock/unlocking.py",
        "        if do.alarm.wait(do.duration_s):\n",
        "        if False:\n",
        ("tests/executor/lock/test_unlocking.py::test_an_unlock_that_was_stopped_is_gone_on_with",),
    ),
    Guard(
        "unlock-needs-the-run",
        "a lock is broken that another run has taken meanwhile",
        "rollout/executor/lock/unlocking.py",
        "        if lease is None or not _belongs(lease, run_id):\n",
        "        if lease is None:\n",
        (
            "tests/executor/lock/test_unlocking.py::test_a_lock_that_changed_hands_meanwhile_is_left_alone",
        ),
    ),
    Guard(
        "deleted-lease",
        "a lease that somebody deletes lets a second run write beside the first (S5)",
        "rollout/executor/holding.py",
        "        held_before=found is not None and found.epoch > 0 and found.phase in AT_WORK,\n",
        "",
        (f"{DEEDS}test_a_lease_that_somebody_deletes_lets_no_second_run_write_beside_the_first",),
    ),
    Guard(
        "dead-by-an-old-look",
        "a run that woke up while somebody looked is taken for dead, and its nodes taken down",
        "rollout/executor/engine/claims.py",
        "        if not alive and other.version != version:\n            return True\n",
        "",
        (f"{CLAIMS}test_a_run_that_wrote_while_somebody_looked_is_not_dead_but_looked_at_again",),
    ),
    Guard(
        "claimed-before-the-lapse",
        "a node that was claimed before the lock lapsed is taken down beside another run",
        "rollout/executor/engine/claims.py",
        "        self.ours.clear()\n",
        "",
        (f"{CLAIMS}test_what_was_claimed_before_the_lock_lapsed_is_claimed_anew",),
    ),
    Guard(
        "lost-nodes-are-withdrawn-first",
        "two runs lose a node to each other again and again",
        "rollout/executor/engine/claims.py",
        "return node in self.taken or node in self.lost\n",
        "return node in self.taken\n",
        (f"{CLAIMS}test_a_node_that_was_lost_is_claimed_again_only_when_its_withdrawal_is_told",),
    ),
    Guard(
        "one-claim-at-a-time",
        "a run beside others writes its record without end",
        "rollout/executor/engine/claims.py",
        "        if not self.unsaid or self._said > self.heard:\n",
        "        if not self.unsaid:\n",
        (f"{CLAIMS}test_one_claim_is_written_at_a_time",),
    ),
    Guard(
        "no-claim-without-the-lock",
        "a run claims nodes while others may take it for dead",
        "rollout/executor/engine/claiming.py",
        "    if book.finished is not None or ev.LOCK in book.lost_views:\n",
        "    if book.finished is not None:\n",
        ("tests/simulation/test_claiming.py::test_nothing_is_claimed_while_the_lock_is_in_doubt",),
    ),
    Guard(
        "the-oldest-lease-counts",
        "a run of several DaemonSets writes on when one of its leases has run out (S5)",
        "rollout/executor/lock/lock.py",
        "        self._deadline = min(ends, default=-math.inf)\n",
        "        self._deadline = max(ends, default=-math.inf)\n",
        (
            "tests/executor/lock/test_lock.py::test_several_leases_are_held_no_longer_than_the_one_that_was_renewed_longest_ago",
        ),
    ),
    Guard(
        "lease-uid",
        "a renewal makes a lease anew that somebody has deleted (S5)",
        "rollout/executor/lock/leases.py",
        'metadata |= {"uid": base.uid, "resourceVersion": base.version}',
        'metadata |= {"uid": "", "resourceVersion": base.version}',
        ("tests/executor/lock/test_lock.py::test_a_renewal_names_the_very_lease_and_its_version",),
    ),
    Guard(
        "a-lock-without-its-thread",
        "a run waits for ever for a lock that nobody renews any more (L3)",
        "rollout/executor/lock/lock.py",
        '            self._lose(f"the lock is not renewed any more: {error!r}")\n',
        "",
        ("tests/executor/lock/test_lock.py::test_a_thread_that_cannot_go_on_says_so",),
    ),
    Guard(
        "lease-without-a-namespace",
        "a namespace that is not there passes for a lock that others contend for",
        "rollout/executor/lock/leases.py",
        "            if attempt.base is None:  # it is the namespace that isn't there\n"
        "                raise\n",
        "",
        ("tests/executor/lock/test_lock.py::test_a_lock_in_a_namespace_that_is_not_there_says_so",),
    ),
)
