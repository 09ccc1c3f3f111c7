"""Fault 46: plans that expired, were changed, or are signed by nobody who may begin no run."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from msgspec.structs import replace

from rollout.cli.saved import read_plan
from rollout.errors import StaleError
from rollout.executor.applying import carry_out
from rollout.executor.inbox import Inbox
from rollout.executor.session import begin
from rollout.journal.place import Place
from rollout.planner.plan import encode, seal
from rollout.sim import server
from rollout.sim.resources import CONFIG_MAPS
from tests.clustertime import ClusterTime
from tests.e2e.world import NAME, NAMESPACE, NEW, OLD, Done, World, fleet, world
from tests.executor.runworld import QUICK, RUNNER, Heard, run_world

HOUR_S = 3600.0
ROLLOUT = "log-agent-2.4"
THERE = ("-n", NAMESPACE)
CANARY = {"name": "canary", "size": 1, "pause": "approval"}
WAVES = [CANARY, {"name": "rest"}]
ALICE, BOB = "alice@example.com", "bob@example.com"
needs_ssh_keygen = pytest.mark.skipif(
    shutil.which("ssh-keygen") is None, reason="ssh-keygen is missing"
)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[World]:
    with world(fleet(4), tmp_path) as made:
        yield made


def refused(cluster: World, done: Done, code: int, *words: str) -> None:
    """It ends with this code and these words, and the cluster was asked to change nothing."""
    assert done.code == code, done.err + done.out
    assert done.err.startswith("error: ")
    assert [word for word in words if word not in done.err] == [], done.err
    assert cluster.writes() == []


# Expiry


def test_faults_46_an_expired_plan_is_refused_by_the_clock_of_the_cluster(
    cluster: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster_time = ClusterTime(monkeypatch, 0.0)
    plan = cluster.plan(cluster.spec(), "plan.json", "--valid-for", "1h")
    expires_at = read_plan(plan).expires_at
    fits = cluster.rollout("verify", plan)
    assert fits.code == 0, fits.out
    assert f"until {expires_at}, in 59m" in fits.out
    cluster_time.ahead_s = 3.5 * HOUR_S
    refused(cluster, cluster.rollout("apply", plan), 7, f" expired at {expires_at}, 2h", "1h --out")
    checked = cluster.rollout("verify", plan)
    assert checked.code == 7
    assert f"until {expires_at}, 2h" in checked.out


def test_a_wrong_clock_of_this_machine_lets_a_valid_plan_begin(
    cluster: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ClusterTime(monkeypatch, -3 * HOUR_S)
    plan = cluster.plan(cluster.spec(), "plan.json", "--valid-for", "1h")
    for output in ("table", "markdown"):
        shown = cluster.rollout("show", plan, "-o", output)
        assert shown.code == 0
        assert "(2h ago by the clock of this machine): no run of it begins any more" in shown.out
    done = cluster.rollout("apply", plan)
    assert done.code == 0, done.err
    assert set(cluster.images().values()) == {NEW}


def test_faults_46_whether_a_plan_expired_is_not_guessed_without_the_time_of_the_cluster(
    cluster: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = cluster.plan(cluster.spec(), "plan.json", "--valid-for", "1h")
    monkeypatch.setattr(server, "formatdate", lambda **_: "")
    refused(cluster, cluster.rollout("apply", plan), 1, "its answers have no Date")
    made = cluster.rollout("plan", "-f", cluster.spec(), "--valid-for", "1h")
    refused(cluster, made, 1, "its answers have no Date")


def test_a_run_that_was_begun_in_time_goes_on(
    cluster: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster_time = ClusterTime(monkeypatch, 0.0)
    spec = cluster.spec(waves=[CANARY, {**CANARY, "name": "second"}, {"name": "rest"}])
    plan = cluster.plan(spec, "plan.json", "--valid-for", "1h")
    assert cluster.rollout("apply", plan).code == 6
    cluster_time.ahead_s = 3 * HOUR_S
    assert cluster.rollout("approve", ROLLOUT, *THERE, "--wave", "canary").code == 0
    again = cluster.rollout("apply", plan)
    assert again.code == 6, again.err
    assert cluster.rollout("approve", ROLLOUT, *THERE, "--wave", "second").code == 0
    done = cluster.rollout("resume", ROLLOUT, *THERE)
    assert done.code == 0, done.err
    assert set(cluster.images().values()) == {NEW}


def test_faults_46_a_plan_that_expires_while_the_run_waits_is_not_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster_time = ClusterTime(monkeypatch, 0.0)
    with run_world(tmp_path) as made:
        plan = seal(replace(made.planned(), valid_for_s=HOUR_S))
        client = made.client(RUNNER.token)
        session = begin(client, plan, Place("none"))
        cluster_time.ahead_s = 2 * HOUR_S
        with pytest.raises(StaleError, match=f"expired at {plan.expires_at}"):
            carry_out(client, plan, session, Inbox(), Heard(), tuning=QUICK)
        written = {entry.path.split("/")[-2] for entry in made.writes()}
    assert written <= {"leases", NAMESPACE}  # the lock, which is taken and given back
    assert made.record() is None


@pytest.mark.parametrize("given", ["0s", "500ms", "4000d", "soon"])
def test_a_time_to_be_valid_that_is_none_is_wrong_usage(cluster: World, given: str) -> None:
    done = cluster.rollout("plan", "-f", cluster.spec(), "--valid-for", given)
    assert done.code == 64
    assert "--valid-for" in done.err


# Signatures, and the digest that stands for one where none is asked for


def test_faults_46_a_plan_whose_digest_does_not_match_is_refused(cluster: World) -> None:
    plan = cluster.plan(cluster.spec())
    plan.write_bytes(plan.read_bytes().replace(NEW.encode(), b"log-agent:6.6"))
    refused(cluster, cluster.rollout("apply", plan), 65, f"{plan}:1: ", "does not match")


@dataclass(frozen=True)
class Keys:
    """Keys of people, and the file that says whose they are."""

    directory: Path

    def of(self, name: str) -> Path:
        path = self.directory / name
        if not path.exists():
            ssh_keygen("-q", "-t", "ed25519", "-N", "", "-C", name, "-f", path)
        return path

    def allow(self, *lines: tuple[str, str]) -> Path:
        """Write a file of allowed signers: what stands before the key, and whose key it is."""
        path = self.directory / f"allowed-{len(list(self.directory.iterdir()))}"
        keys = [(before, self.of(name).with_suffix(".pub").read_text()) for before, name in lines]
        path.write_text("".join(f"{before} {key}" for before, key in keys))
        return path

    def sign(self, plan: Path, name: str, namespace: str = "rollout") -> None:
        Path(f"{plan}.sig").unlink(missing_ok=True)
        ssh_keygen("-Y", "sign", "-f", self.of(name), "-n", namespace, plan)

    def fingerprint(self, name: str) -> str:
        return ssh_keygen("-l", "-f", self.of(name)).split()[1]


def ssh_keygen(*arguments: str | Path) -> str:
    command = ["ssh-keygen", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return Keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One cluster for all that is refused."""
    with world(fleet(2), tmp_path_factory.mktemp("untouched")) as made:
        yield made


@pytest.fixture
def plan(untouched: World) -> Path:
    return untouched.plan(untouched.spec())


@needs_ssh_keygen
@pytest.mark.parametrize(
    ("signer", "namespace", "before", "words"),
    [
        ("mallory", "rollout", ALICE, "is of nobody who may sign (ssh-keygen: No principal"),
        ("bob", "rollout", ALICE, f"it was signed by {BOB} (key SHA256:"),
        ("alice", "git", ALICE, "it is no signature of this plan in the namespace 'rollout'"),
        ("alice", "rollout", f'{ALICE} namespaces="git"', "not permitted for use in signature"),
        ("alice", "rollout", f'{ALICE} valid-before="20200101"', "key has expired"),
    ],
)
def test_faults_46_a_plan_that_is_signed_wrongly_is_refused(
    untouched: World, plan: Path, keys: Keys, signer: str, namespace: str, before: str, words: str
) -> None:
    allowed = keys.allow((before, "alice"), (BOB, "bob"))
    keys.sign(plan, signer, namespace)
    for command in ("apply", "step"):
        done = untouched.rollout(command, plan, "--allowed-signers", allowed, "--signer", ALICE)
        refused(untouched, done, 65, f"{plan}.sig: ", words, "ssh-keygen -Y sign -f KEY -n rollout")
    checked = untouched.rollout("verify", plan, "--allowed-signers", allowed, "--signer", ALICE)
    assert checked.code == 65
    assert words in checked.out


@needs_ssh_keygen
def test_faults_46_a_plan_that_was_changed_and_sealed_anew_is_not_the_one_that_was_signed(
    untouched: World, plan: Path, keys: Keys
) -> None:
    keys.sign(plan, "alice")
    signed = read_plan(plan)
    limits = replace(signed.limits, replacements_per_second=99.0)
    plan.write_bytes(encode(seal(replace(signed, limits=limits))))
    done = untouched.rollout("apply", plan, "--allowed-signers", keys.allow((ALICE, "alice")))
    refused(untouched, done, 65, "it is no signature of this plan", "incorrect signature")


@needs_ssh_keygen
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "there is no signature of the plan; sign it with 'ssh-keygen -Y sign -f KEY"),
        (b"", "it is no signature of this plan"),
        (b"-----BEGIN SSH SIGNATURE-----\nno\n", "it is no signature of this plan"),
        (b"x" * 70_000, "larger than 65,536 bytes"),
    ],
    ids=["missing", "empty", "cut", "large"],
)
def test_faults_46_a_plan_without_a_signature_is_refused(
    untouched: World, plan: Path, keys: Keys, content: bytes | None, words: str
) -> None:
    signature = Path(f"{plan}.sig")
    signature.unlink(missing_ok=True)
    if content is not None:
        signature.write_bytes(content)
    allowed = keys.allow((ALICE, "alice"))
    done = untouched.rollout("apply", plan, ROLLOUT_ALLOWED_SIGNERS=str(allowed))
    refused(untouched, done, 65, f"{signature}: ", words)


def test_faults_46_an_empty_name_of_the_allowed_signers_switches_no_check_off(
    untouched: World, plan: Path
) -> None:
    done = untouched.rollout("apply", plan, ROLLOUT_ALLOWED_SIGNERS="")
    refused(untouched, done, 64, "ROLLOUT_ALLOWED_SIGNERS is set and names no file")


@needs_ssh_keygen
def test_faults_46_a_spec_is_not_applied_where_plans_are_to_be_signed(
    untouched: World, keys: Keys
) -> None:
    allowed = keys.allow((ALICE, "alice"))
    for command in (("apply", "--yes"), ("step",)):
        done = untouched.rollout(
            *(*command, "-f", untouched.spec()), ROLLOUT_ALLOWED_SIGNERS=str(allowed)
        )
        refused(untouched, done, 65, "a plan that is made now is signed by nobody")


def test_a_plan_that_is_to_be_signed_says_so_where_it_is_saved(
    untouched: World, tmp_path: Path
) -> None:
    out = tmp_path / "new plan.json"
    command = ("plan", "-f", untouched.spec(), "--out", out)
    apply = f"'rollout apply {shlex.quote(str(out))}' carries it out.\n"
    plain = untouched.rollout(*command)
    assert plain.out.endswith(f"Saved to {out}; {apply}")
    signed = untouched.rollout(*command, ROLLOUT_ALLOWED_SIGNERS=str(tmp_path / "allowed"))
    how = f"'ssh-keygen -Y sign -f KEY -n rollout {shlex.quote(str(out))}'"
    first = f"ROLLOUT_ALLOWED_SIGNERS is set, so it is to be signed first: {how}; then {apply}"
    assert signed.out.endswith(f"Saved to {out}; {first}")


@needs_ssh_keygen
def test_without_its_parts_no_signature_is_checked_and_no_plan_applied(
    untouched: World, plan: Path, keys: Keys, tmp_path: Path
) -> None:
    keys.sign(plan, "alice")
    allowed = keys.allow((ALICE, "alice"))
    given = ("apply", plan, "--allowed-signers")
    nowhere = untouched.rollout(*given, allowed, PATH=str(tmp_path))
    refused(untouched, nowhere, 1, "(Debian: apt-get install openssh-client)")
    missing = untouched.rollout(*given, tmp_path / "missing")
    no_file = f"{tmp_path}/missing: there is no file of allowed signers; name one whose lines are"
    refused(untouched, missing, 65, no_file)
    alone = untouched.rollout("apply", plan, "--signer", ALICE)
    refused(untouched, alone, 64, "go with --allowed-signers")
    piped = untouched.rollout("apply", "-", *given[2:], allowed, stdin=plan.read_text())
    refused(untouched, piped, 64, "give --signature")


@needs_ssh_keygen
def test_a_signed_plan_is_applied_and_the_record_says_by_whom(cluster: World, keys: Keys) -> None:
    plan = cluster.plan(cluster.spec(waves=WAVES))
    keys.sign(plan, "alice")
    allowed = keys.allow((BOB, "bob"), (f"{ALICE},ops@example.com", "alice"))
    checked = cluster.rollout("verify", plan, "--allowed-signers", allowed)
    assert checked.code == 0, checked.out
    whose = f"{ALICE} (key {keys.fingerprint('alice')})"
    assert f"by {whose}" in checked.out
    signature = cluster.directory / "elsewhere"
    Path(f"{plan}.sig").rename(signature)
    done = cluster.rollout(
        *("apply", plan, "--allowed-signers", allowed, "--signature", signature),
        *("--signer", "ops@example.com"),
    )
    assert done.code == 6, done.err
    record = cluster.record()
    assert record is not None
    assert record["signedBy"] == whose.replace(ALICE, "ops@example.com")
    status = cluster.rollout("status", NAME, *THERE)
    assert f"of a plan signed by {record['signedBy']}" in status.out


@needs_ssh_keygen
def test_a_signature_is_kept_for_a_resume_from_elsewhere(cluster: World, keys: Keys) -> None:
    plan = cluster.plan(cluster.spec(waves=WAVES))
    keys.sign(plan, "alice")
    allowed = {"ROLLOUT_ALLOWED_SIGNERS": str(keys.allow((ALICE, "alice")))}
    assert cluster.rollout("apply", plan, **allowed).code == 6
    Path(f"{plan}.sig").unlink()
    again = cluster.rollout("apply", plan, **allowed)
    assert again.code == 65, again.err
    assert f"kept beside it: 'rollout resume {ROLLOUT} -n {NAMESPACE}'" in again.err
    plan.unlink()
    assert cluster.rollout("approve", ROLLOUT, *THERE).code == 0
    before = len(cluster.writes())
    done = cluster.rollout("resume", ROLLOUT, *THERE, "--allowed-signers", keys.allow((BOB, "bob")))
    assert done.code == 65, done.err
    assert f"ConfigMap {NAMESPACE}/rollout-{ROLLOUT}-plan: the key " in done.err
    assert len(cluster.writes()) == before
    done = cluster.rollout("resume", ROLLOUT, *THERE, **allowed)
    assert done.code == 0, done.err
    assert set(cluster.images().values()) == {NEW}
    kept = [found for found in cluster.objects(CONFIG_MAPS) if "binaryData" in found]
    assert [list(found["binaryData"]) for found in kept if found["binaryData"]] == []


@needs_ssh_keygen
def test_faults_46_a_run_that_was_begun_without_a_signature_goes_back_but_not_on(
    cluster: World, keys: Keys
) -> None:
    plan = cluster.plan(cluster.spec(waves=WAVES))
    assert cluster.rollout("apply", plan).code == 6
    before = len(cluster.writes())
    allowed = {"ROLLOUT_ALLOWED_SIGNERS": str(keys.allow((ALICE, "alice")))}
    node = next(node for node, image in cluster.images().items() if image == OLD)
    for command in (("resume", ROLLOUT), ("approve", ROLLOUT, "--node", node)):
        done = cluster.rollout(*command, *THERE, **allowed)
        assert done.code == 65, done.err
        assert "was begun where no signature was checked" in done.err
    assert len(cluster.writes()) == before
    keys.sign(plan, "alice")
    with_it = ("approve", ROLLOUT, "--node", node, "--signature", f"{plan}.sig")
    moved = cluster.rollout(*with_it, *THERE, **allowed)
    assert moved.code == 0, moved.err
    done = cluster.rollout("rollback", ROLLOUT, *THERE, **allowed)
    assert done.code == 4, done.err
    assert set(cluster.images().values()) == {OLD}
