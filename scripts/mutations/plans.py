"""What a saved plan must be before a run of it is begun: in time, and signed by whoever may."""

from __future__ import annotations

from typing import Final

from scripts.mutations.guard import Guard

_SIGNED: Final = "tests/e2e/test_signed.py::"
_WRONGLY: Final = f"{_SIGNED}test_faults_46_a_plan_that_is_signed_wrongly_is_refused"

PLANS: Final = (
    Guard(
        "expired-plan",
        "a run of an old plan begins",
        "rollout/executor/validity.py",
        "    if late_s >= 0:\n",
        "    if False:\n",
        (f"{_SIGNED}test_faults_46_an_expired_plan_is_refused_by_the_clock_of_the_cluster",),
    ),
    Guard(
        "expired-while-waiting",
        "a run of a plan begins that expired while it waited for a lock, a window or a gate",
        "rollout/executor/applying.py",
        "require_valid(run.client, plan)",
        "pass",
        (f"{_SIGNED}test_faults_46_a_plan_that_expires_while_the_run_waits_is_not_begun",),
    ),
    Guard(
        "expired-by-whose-clock",
        "a wrong clock of this machine decides whether a plan has expired",
        "rollout/executor/validity.py",
        "    late_s = client.told_time() - parse_time(plan.expires_at)\n",
        "    import time\n\n    late_s = time.time() - parse_time(plan.expires_at)\n",
        (
            f"{_SIGNED}test_faults_46_an_expired_plan_is_refused_by_the_clock_of_the_cluster",
            f"{_SIGNED}test_a_wrong_clock_of_this_machine_lets_a_valid_plan_begin",
        ),
    ),
    Guard(
        "expired-by-no-clock",
        "whether a plan has expired is guessed where the cluster does not tell its time",
        "rollout/cluster/client.py",
        "        if self.clock_skew_s is None:\n",
        "        if False:\n",
        (
            f"{_SIGNED}test_faults_46_whether_a_plan_expired_is_not_guessed_without_the_time_of_the_cluster",
        ),
    ),
    Guard(
        "sealed-expiry",
        "somebody gives a plan a later expiry than it was made with",
        "rollout/planner/plan.py",
        "id=_id(digest, plan), expires_at=_expires_at(plan)\n",
        "id=_id(digest, plan), expires_at=plan.expires_at\n",
        ("tests/planner/test_plan.py::test_a_later_expiry_than_the_plan_was_given_is_refused",),
    ),
    Guard(
        "signature-of-a-plan",
        "a plan is applied that nobody has signed who may",
        "rollout/cli/apply.py",
        "        return saved, signers.of_file(saved, plan)\n",
        "        return saved, None\n",
        (_WRONGLY, f"{_SIGNED}test_faults_46_a_plan_without_a_signature_is_refused"),
    ),
    Guard(
        "signature-of-a-walk",
        "a plan is walked through that nobody has signed who may",
        "rollout/cli/step.py",
        "        signed = signers.of_file(saved, plan)\n",
        "        signed = None\n",
        (_WRONGLY,),
    ),
    Guard(
        "signature-of-a-spec",
        "a plan that is made on the spot passes for one that was signed",
        "rollout/cli/signing.py",
        "        if self.required:\n",
        "        if False:\n",
        (f"{_SIGNED}test_faults_46_a_spec_is_not_applied_where_plans_are_to_be_signed",),
    ),
    Guard(
        "signature-of-a-resume",
        "a run goes on with a kept plan that nobody has signed who may",
        "rollout/cli/resume.py",
        "        checked = signed_plan(run, plan, signers)\n",
        "        checked = None\n",
        (
            f"{_SIGNED}test_a_signature_is_kept_for_a_resume_from_elsewhere",
            f"{_SIGNED}test_faults_46_a_run_that_was_begun_without_a_signature_goes_back_but_not_on",
        ),
    ),
    Guard(
        "signature-of-a-node",
        "a node moves by a kept plan that nobody has signed who may",
        "rollout/cli/control.py",
        "    checked = None if at_work else signed_plan(run, plan_file, signers)\n",
        "    checked = None\n",
        (f"{_SIGNED}test_faults_46_a_run_that_was_begun_without_a_signature_goes_back_but_not_on",),
    ),
    Guard(
        "kept-signature",
        "a signed run can be resumed on the machine of its plan only",
        "rollout/executor/record/planstore.py",
        "    if signature:\n",
        "    if False:\n",
        (f"{_SIGNED}test_a_signature_is_kept_for_a_resume_from_elsewhere",),
    ),
    Guard(
        "whose-signature",
        "a signature counts for somebody else, for another purpose, or after its time",
        "rollout/signature.py",
        "        if not checked.returncode:\n",
        "        if True:\n",
        (_WRONGLY,),
    ),
)
