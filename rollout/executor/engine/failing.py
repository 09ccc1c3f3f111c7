"""How many failures are too many: counts results, and says in one sentence when to stop.

It knows numbers and the plan's rules, nothing of the cluster. A result that says nothing about the
release (a node that was broken before the run, a zone without power) is kept apart.
"""

from __future__ import annotations

from collections import Counter

from rollout.executor.engine import sprt
from rollout.planner.plan import FailureRules, Limit, Plan


class Failures:
    """The results of one run.

    Args:
        plan: whose rules hold.
    """

    def __init__(self, plan: Plan) -> None:
        self._rules: FailureRules = plan.failure
        self._waves = plan.waves
        # A way back, which no failure may stop (S10), bears all of them.
        self._bears_all = plan.failure.max_failures.value >= plan.totals.update
        self._caps: dict[int, int | None] = {1: None}  # by wave
        self.total = 0  # failed nodes that speak against the release
        self.excused = 0  # failed nodes that say nothing about it
        self.new = 0  # failures of this process: those from before were seen by somebody
        self.in_a_row = 0
        self.done_in: Counter[int] = Counter()  # by wave
        self.failed_in: Counter[int] = Counter()
        self.excused_in: Counter[int] = Counter()

    def succeeded(self, wave: int) -> None:
        """A node of this wave is done."""
        self.done_in[wave] += 1
        self.in_a_row = 0

    def lapsed(self, wave: int) -> None:
        """A node of this wave that was done is not any more; it fails next."""
        self.done_in[wave] -= 1

    def failed(self, wave: int, *, excused: bool, new: bool) -> None:
        """A node of this wave has failed.

        Args:
            wave: its wave.
            excused: that says nothing about the release.
            new: it happened in this process, not in an earlier one of the run.
        """
        if excused:
            self.excused += 1
            self.excused_in[wave] += 1
            return
        self.total += 1
        self.failed_in[wave] += 1
        self.in_a_row += 1
        self.new += new

    def healed(self, wave: int, *, excused: bool) -> None:
        """A failed node got well (or left): its failure is taken back."""
        if excused:
            self.excused -= 1
            self.excused_in[wave] -= 1
        else:
            self.total -= 1
            self.failed_in[wave] -= 1
            self.in_a_row = max(0, self.in_a_row - 1)

    def too_many(self, wave: int) -> str:
        """Return why the run must stop after a failure in this wave; "" when it need not."""
        of_wave = self._waves[wave - 1]
        if self.total > self._rules.max_failures.value:
            return _over("maxFailures", self.total, self._rules.max_failures)
        limit = of_wave.max_failures
        if limit is not None and self.failed_in[wave] > limit.value:
            text = _over("maxFailuresPerWave", self.failed_in[wave], limit)
            return f"wave {of_wave.name}: {text}"
        consecutive = self._rules.max_consecutive
        if consecutive is not None and self.in_a_row > consecutive:
            return (
                f"{self.in_a_row} nodes failed one after the other (maxConsecutive {consecutive})"
            )
        if self._proves_bad(wave):
            return self._proof(wave)
        return ""

    def still_too_many(self) -> bool:
        """Whether any limit of a count is still exceeded after a node got well."""
        return bool(self.pauses()) or any(
            self.too_many(number) for number in range(1, len(self._waves) + 1)
        )

    def pauses(self) -> str:
        """Return why the run pauses; "" when it need not."""
        limit = self._rules.pause_after
        if limit is None or not self.new or self.total <= limit.value:
            return ""
        return _over("pauseAfter", self.total, limit)

    def most_at_once(self, wave: int) -> int | None:
        """Return how many nodes of a wave may be in flight; None: no such limit.

        Behind a wave in which nodes failed, the next one does not grow: the limits bore the
        failures, but they are no ground for more speed. Settled when the wave begins.
        """
        if wave not in self._caps:
            before = wave - 1
            suspect = bool(self.failed_in[before]) and not self._bears_all
            grown_from = self._caps.get(before) or self._waves[before - 1].nodes
            self._caps[wave] = grown_from if suspect else None
        return self._caps[wave]

    def without_success(self, wave: int) -> bool:
        """Whether a wave ended without a single success, which no limit excuses."""
        failed = self.failed_in[wave] + self.excused_in[wave]
        return bool(failed) and not self.done_in[wave] and not self._bears_all

    def _proves_bad(self, wave: int) -> bool:
        large = self._waves[wave - 1].nodes >= sprt.ENOUGH
        if not (self._rules.sequential_test and large):
            return False
        return sprt.opinion(self.failed_in[wave], self.done_in[wave]) == "bad"

    def _proof(self, wave: int) -> str:
        failed, done = self.failed_in[wave], self.done_in[wave]
        return (
            f"the release is bad: {failed} of {failed + done} nodes of wave "
            f"{self._waves[wave - 1].name} failed, more than 1% of failures explains "
            "(sequentialTest)"
        )


def _over(name: str, count: int, limit: Limit) -> str:
    nodes = "1 node" if count == 1 else f"{count} nodes"
    return f"{nodes} failed ({name} {limit.text})"
