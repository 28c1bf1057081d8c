"""Print lists on a terminal: pending people, the runs of a directory, what runs did with people."""

from collections.abc import Iterable, Mapping
from typing import Final

from rich.console import Console
from rich.text import Text

from invite_sweeper.advice import Advisor
from invite_sweeper.audit import RunRecord
from invite_sweeper.audit.intents import IntentLedger
from invite_sweeper.audit.person import HistoryLine
from invite_sweeper.models import Invitation
from invite_sweeper.report.columns import listed_columns
from invite_sweeper.report.document import Table
from invite_sweeper.report.layout import entries, label_text, print_parts, table_parts
from invite_sweeper.report.person import describe_line
from invite_sweeper.report.rows import Row, sorted_rows
from invite_sweeper.report.story import story_of
from invite_sweeper.report.terminal import table_by_place
from invite_sweeper.report.wording import describe_instant
from invite_sweeper.text import escape_unprintable, organization_label, pluralize, truncate


def show_people(console: Console, people: Iterable[Invitation], names: Mapping[str, str]) -> None:
    """Print people below their projects; `names` are those of organizations by id."""
    labels: dict[str, str] = {}
    for org_id, name in names.items():
        labels[org_id] = organization_label(org_id, name)
    rows = sorted_rows(Row(invitation, labels) for invitation in people)
    if rows:
        print_parts(console, table_parts(table_by_place(rows, rows), console.width))


def show_listed(
    console: Console, invitations: Iterable[Invitation], names: Mapping[str, str]
) -> None:
    """Print a row for each invitation, in their order, and how many are stale and kept.

    Args:
        names: Of the organizations, by id.
    """
    rows = [Row(invitation, names) for invitation in invitations]
    if not rows:
        console.print("No invitation matches.")
        return
    table = Table.of("listed", "", listed_columns(rows), rows, total=len(rows))
    stale = sum(row.is_stale for row in rows)
    kept = len(rows) - stale
    count = f"{pluralize(len(rows), 'invitation')}: {stale:,} stale, {kept:,} kept."
    if any(row.goes for row in rows):
        count += " The limits may make a day later."
    print_parts(console, (*table_parts(table, console.width), Text(count)))


def show_runs(console: Console, records: Iterable[RunRecord], ledger: IntentLedger) -> None:
    """Print a line for each run.

    Args:
        ledger: Which runs were recovered, once all records were read.
    """
    # Which killed run was recovered is known once all files are read: its row is made anew then.
    # Of a year of nights, memory holds the rows, and the records of the killed runs alone.
    rows: list[tuple[Text, Text]] = []
    killed: dict[int, RunRecord] = {}
    for record in records:
        if record.end is None:
            killed[len(rows)] = record
        rows.append(_row_of_run(record))
    recovered = ledger.recovered_by_file()
    for index, record in killed.items():
        record.recover(recovered.get(record.file.name))
        rows[index] = _row_of_run(record)
    if rows:
        print_parts(console, entries(rows, console.width))


def _row_of_run(record: RunRecord) -> tuple[Text, Text]:
    """Return the number, instant and mode of a run, and how it ended."""
    began = describe_instant(record.start.now)
    mode = record.mode or "run"  # one that was killed before its first line
    label = f"{record.file.number}  {began}  {mode}"
    headline = story_of(record, Advisor()).headline
    text = Text.assemble(label_text(headline), f"  {headline.text}")
    if record.start.reason is not None:
        reason = truncate(record.start.reason, _MAX_REASON_LENGTH)
        text.append(f" · reason: {escape_unprintable(reason)}")
    return Text(label), text


_MAX_REASON_LENGTH: Final = 80
"""Of a line in the list of runs; each run by itself shows the whole reason."""


def show_lines(console: Console, lines: Iterable[HistoryLine], names: Mapping[str, str]) -> None:
    """Print what runs did, a line each with its run; in a file on one line, as `grep` needs it.

    Args:
        names: The names of organizations by id.
    """
    for line in lines:
        run = line.run.path.name  # a file that was named on the command line may have no number
        if line.run.number:
            run = f"{line.run.number:>3}"
        label = f"{run}  {describe_instant(line.ts)}  {line.start.mode:<7}"
        text = describe_line(line, names)
        if console.is_terminal:
            print_parts(console, entries([(Text(label), Text(text))], console.width))
        else:
            console.print(Text(f"{label}  {text}"), soft_wrap=True)
