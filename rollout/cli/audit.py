"""`rollout audit`: what is in the journals on this machine, and whether nobody changed them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from rollout.cli.options import ClusterOptions, cluster_options, output_option
from rollout.errors import DocumentError, ExitCode

if TYPE_CHECKING:
    from rollout.executor.record.journalheads import Testimony
    from rollout.journal.chain import Reading

_MOST_TEXT: Final = 2000  # characters of one cell
_EMPTY: Final = (
    "it is empty: all lines are missing, or its process was killed before the first one was written"
)


@click.group()
def audit() -> None:
    """Check and show the journals that runs keep on this machine.

    A run writes down what it is about to do before it does it, what came of it, and all that it
    told. The journals are in $XDG_STATE_HOME/rollout (default: ~/.local/state/rollout), or where
    --journal or ROLLOUT_JOURNAL said.

    \b
    Example:
      rollout audit verify
    """


@audit.command(short_help="Check that no journal was changed.")
@click.argument("journal", metavar="[JOURNAL|RUN_ID]", required=False)
@cluster_options
def verify(*, journal: str | None, cluster: ClusterOptions) -> int:
    """Check that no line of a journal was changed, taken out, moved or added.

    Each line holds the hash of the one before. Without an argument, all journals are checked. A
    broken chain ends with exit code 65 and names the first line that is wrong; also when the run
    went on with a new journal since (--recover-from-cluster), which is named then: the old one
    stays broken. A last line that was cut off is named, and no error: the process was killed, or
    the disk was full. A file without a single line is an error.

    The file alone can't show that whole lines were cut off at its end. The run's record in the
    cluster can: it names where the journal stood. Where the cluster can't be asked, it says so.

    \b
    Examples:
      rollout audit verify 3f2a9c1d
      rollout audit verify runs/nightly.jsonl
    """
    from rollout.executor.witness import Witness
    from rollout.journal.file import broken_text, read_journal, torn_text

    broken = []
    with closing(Witness(cluster.connect)) as witness:
        for path in _paths(journal):
            reading = read_journal(path)
            if reading.broken:
                broken.append(f"{broken_text(path, reading)}{_next_step(path)}")
                continue
            if not (reading.head.seq or reading.torn):
                broken.append(f"{path}: {_EMPTY}{_next_step(path)}")
                continue
            said = witness.about(path, reading)
            if said.wrong:  # or the run has written on since we read
                reading = read_journal(path)
                said = witness.about(path, reading)
            if reading.torn:
                click.echo(f"Warning: {path}: {torn_text(reading)}.", err=True)
            if said.wrong:
                broken.append(f"{path}: {said.text}{_next_step(path)}")
                continue
            click.echo(f"{path}: {_verdict(reading, said)}; {said.text}")
    if broken:
        raise DocumentError("\n".join(broken))
    return ExitCode.DONE


@audit.command()
@click.argument("journal", metavar="JOURNAL|RUN_ID")
@output_option("table", "jsonl")
def show(*, journal: str, output: str) -> int:
    """Show a journal line by line, as far as its chain holds.

    \b
    Example:
      rollout audit show 3f2a9c1d
    """
    from rollout.journal.file import broken_text, read_journal

    for path in _paths(journal):
        reading = read_journal(path)
        with path.open("rb") as file:
            good = file.read(reading.size).decode()
        click.echo(good if output == "jsonl" else _table(good), nl=output != "jsonl")
        if reading.broken:
            raise DocumentError(broken_text(path, reading))
    return ExitCode.DONE


def _paths(given: str | None) -> list[Path]:
    from rollout.journal.place import all_journals, journals_of

    if given is None:
        found = all_journals()
        if not found:
            click.echo("There are no journals on this machine yet.")
        return found
    if Path(given).exists():
        return [Path(given)]
    found = journals_of(given)
    if not found:
        raise DocumentError(
            f"{given}: neither a file nor the id of a run that has a journal on this machine; "
            "'rollout runs' shows the ids, and --journal may have put it elsewhere"
        )
    return found


def _next_step(path: Path) -> str:
    """Say how the run goes on without a journal that is broken, or where it did."""
    from rollout.journal.file import recovered_in

    after = recovered_in(path)
    if after is not None:
        return f"; the run has left it for {after}, this file stays as it is"
    return "; a run that has not ended goes on with --recover-from-cluster, in a new journal"


def _verdict(reading: Reading, said: Testimony) -> str:
    from rollout.executor.record.record import ENDED

    first = reading.first
    if not first:
        return "empty"
    ended = f"ended: {_cell(reading.last, 'outcome', 'message')}"
    if reading.last.get("type") != "end":
        ended = "no end yet: the run goes on, was killed, or its last lines are gone"
        if said.phase in ENDED:
            gone = "" if said.to_the_end else ", or its last lines are gone"
            ended = f"no end in it: another command ended the run ({said.phase}){gone}"
    lines = f"{reading.head.seq} lines are whole (last hash {reading.head.hash[:16]})"
    return f"run {_cell(first, 'run')} of {_cell(first, 'rollout')}: {lines}; {ended}"


def _table(lines: str) -> str:
    import msgspec

    from rollout.report.table import text_table

    rows = []
    for line in filter(None, lines.split("\n")):  # other line ends may stand in a text
        entry = msgspec.json.decode(line, type=dict)
        what = _cell(entry, "action", "notice", "phase")
        detail = _cell(entry, "answer", "message", "outcome")
        subject = _cell(entry, "node", "daemonSet")
        known = (_cell(entry, key) for key in ("seq", "time", "type"))
        rows.append((*known, what, subject, detail))
    return text_table(("SEQ", "TIME", "TYPE", "WHAT", "ON", "DETAIL"), rows)


def _cell(entry: Mapping[str, Any], *keys: str) -> str:
    """Return the first of these that an entry has, fit for a terminal: anybody can write one."""
    from rollout.gates.measurement import plain

    return next((plain(str(entry[key]), _MOST_TEXT) for key in keys if entry.get(key)), "")
