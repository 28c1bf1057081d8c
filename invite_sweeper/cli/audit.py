"""Commands `audit verify` and `audit show`."""

import csv
import re
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer

from invite_sweeper.audit.chain import line_hash
from invite_sweeper.audit.damage import Damage
from invite_sweeper.audit.events import EVENTS, InvitationFields
from invite_sweeper.audit.files import DEFAULT_LOG, in_order
from invite_sweeper.audit.reader import LineFilter, Record, filter_lines
from invite_sweeper.audit.verify import ChainStatus, LogStatus, Verdict
from invite_sweeper.audit.verify import verify as verify_logs
from invite_sweeper.cli.console import stdout_console
from invite_sweeper.cli.json_output import json_line, write_json
from invite_sweeper.cli.options import (
    Output,
    OutputOption,
    offline,
    require_command,
    value,
)
from invite_sweeper.errors import ErrorParts, UsageError
from invite_sweeper.json_text import to_json
from invite_sweeper.models import Outcome
from invite_sweeper.program import command
from invite_sweeper.report.record_table import RecordTable
from invite_sweeper.restore.deletions import RestoreOutcome
from invite_sweeper.text import escape_unprintable, neutralize_formula, pluralize

audit_app = typer.Typer(rich_markup_mode=None)
app = typer.Typer(rich_markup_mode=None)
app.add_typer(audit_app, name="audit")

audit_app.callback(invoke_without_command=True, help="Read and verify an audit log.")(
    require_command
)

_HASH_DIGITS: Final = 64


@audit_app.command()
@offline
def verify(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE", help="Audit logs, including rotated ones, in any order."),
    ],
    expect_head: Annotated[
        str | None,
        value(None, "HASH", "A last hash that was kept elsewhere; the log must still contain it."),
    ] = None,
    continuation: Annotated[
        bool,
        typer.Option(
            "--continuation", help="The files before the first one were left out on purpose."
        ),
    ] = False,
    output: OutputOption = Output.TEXT,
) -> None:
    """Verify the hash chain over all files and their intents.

    Says what the files prove about the beginning and the end of the log. Exit code 0: the logs
    are sound; a torn last line is only a warning. Exit code 3: they are damaged, and the first
    wrong line is named, or unfinished: a run was killed, and the next sweep resolves its intents.

    Example: invite-sweeper audit verify audit/invite-sweeper.jsonl
    """
    head = None if expect_head is None else _parse_hash(expect_head)
    status = verify_logs(files, continuation=continuation, expect_head=head)
    for warning in status.warnings:
        typer.echo(escape_unprintable(f"Warning: {warning}"), err=True)
    if output is Output.JSON:
        write_json(Verification.of(status))
    else:
        for line in _to_text(status):
            typer.echo(escape_unprintable(line))
    raise typer.Exit(int(status.exit_code))


def _to_text(status: ChainStatus) -> Iterator[str]:
    """Yield the lines of the result; names and run IDs in them come from the log."""
    error = status.error
    if error is not None:
        yield f"{error.position}: {error.kind}: {error.message}"
        parts = (error.consequence, error.kind.hint, f"More: {command('help', 'audit')}")
        yield from (f"  {part}" for part in parts if part)
        return
    yield f"Sound: {pluralize(status.lines, 'line')} of {pluralize(status.runs, 'run')}."
    for log in status.logs:
        yield f"{log.name}: {log.beginning}; {log.end}."
    yield f"Last hash {status.last_hash}"


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """The result of `audit verify`.

    Attributes:
        verdict: Unfinished: a run was killed, and the next sweep resolves its intents.
        sound: Neither damaged nor unfinished.
        file: The file with the first wrong line; None for sound logs.
        line: The number of that line, from 1.
        damage: The kind of damage.
        affected_runs: The runs that the damage concerns.
        logs: Without a damaged one and those after it.
        error: The damage in three parts; None for sound logs.
    """

    verdict: Verdict
    sound: bool
    lines: int
    runs: int
    last_hash: str
    warnings: tuple[str, ...]
    file: str | None
    line: int | None
    damage: Damage | None
    affected_runs: tuple[str, ...]
    logs: tuple[LogStatus, ...]
    exit_code: int
    error: ErrorParts | None

    @classmethod
    def of(cls, status: ChainStatus) -> "Verification":
        """Return the result of a verification."""
        error = status.error
        parts: ErrorParts | None = None
        if error is not None:
            parts = {
                "message": error.message,
                "consequence": error.consequence,
                "hint": error.kind.hint,
            }
        return cls(
            verdict=status.verdict,
            sound=error is None,
            lines=status.lines,
            runs=status.runs,
            last_hash=status.last_hash,
            warnings=status.warnings,
            file=str(error.position.path) if error is not None else None,
            line=error.position.line if error is not None else None,
            damage=error.kind if error is not None else None,
            affected_runs=error.runs if error is not None else (),
            logs=status.logs,
            exit_code=status.exit_code,
            error=parts,
        )


def _parse_hash(text: str) -> str:
    digits = text.strip().lower()
    if len(digits) != _HASH_DIGITS or set(digits) - set("0123456789abcdef"):
        raise UsageError(
            "--expect-head is not a hash.", hint=f"Pass the {_HASH_DIGITS} digits of a last hash."
        )
    return digits


class ShowOutput(StrEnum):
    """The format of `audit show`."""

    TEXT = "text"
    JSON = "json"
    CSV = "csv"


_EVENTS: Final = tuple(dict.fromkeys(each.event for each in EVENTS))
_OUTCOMES: Final = tuple(dict.fromkeys(each.value for each in (*Outcome, *RestoreOutcome)))


@audit_app.command()
@offline
def show(
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="FILE", help=f"Audit logs; default: {DEFAULT_LOG}."),
    ] = None,
    run: Annotated[str | None, value(None, "ID", "A run's id, or the start of it.")] = None,
    group: Annotated[
        str | None,
        value(None, "ID", "The id of a command's first run: the records of all its runs."),
    ] = None,
    project: Annotated[
        str | None, value(None, "GLOB", "A project's id, or a glob for its name.")
    ] = None,
    username: Annotated[str | None, value(None, "GLOB", "A glob for the invited address.")] = None,
    outcome: Annotated[str | None, value(None, "NAME", "deleted, failed, …")] = None,
    day: Annotated[
        datetime | None,
        value(None, "YYYY-MM-DD", "Records of this day in UTC.", formats=["%Y-%m-%d"]),
    ] = None,
    since: Annotated[
        str | None, value(None, "TIME", "Records from this date (UTC) or RFC 3339 instant on.")
    ] = None,
    until: Annotated[
        str | None, value(None, "TIME", "Records up to this date, or before this instant.")
    ] = None,
    event: Annotated[str | None, value(None, "NAME", "planned, kept, intent, outcome, …")] = None,
    output: Annotated[
        ShowOutput,
        typer.Option(
            "-o", "--output", help="Format of the result on stdout.", case_sensitive=False
        ),
    ] = ShowOutput.TEXT,
) -> None:
    """Show records of audit logs: as a table, as JSON lines or as CSV.

    JSON lines and CSV have the SHA-256 of each line of the log, `line_sha256`.

    Example: invite-sweeper audit show --outcome deleted --since 2026-11-01 --until 2026-11-30
    """
    if outcome is not None and outcome not in _OUTCOMES:
        raise UsageError(
            f"--outcome {outcome!r} is not an outcome.", hint=f"Use one of {', '.join(_OUTCOMES)}."
        )
    if event is not None and event not in _EVENTS:
        raise UsageError(
            f"--event {event!r} is not an event.", hint=f"Use one of {', '.join(_EVENTS)}."
        )
    line_filter = LineFilter(
        run=run,
        group=group,
        project=project,
        username=username,
        outcome=outcome,
        day=day.date() if day is not None else None,
        event=event,
        since=None if since is None else _parse_time("--since", since, end_of_day=False),
        until=None if until is None else _parse_time("--until", until, end_of_day=True),
    )
    lines = filter_lines(in_order(files or [DEFAULT_LOG]), line_filter)
    if output is ShowOutput.TEXT:
        table = RecordTable(stdout_console())
        for record, _ in lines:
            table.add(record)
        table.close()
        return
    render = _json_lines if output is ShowOutput.JSON else _csv_lines
    for data in render(lines):
        sys.stdout.buffer.write(data)


def _parse_time(option: str, text: str, *, end_of_day: bool) -> datetime:
    """Return an instant; a date is the beginning of the day in UTC, or the end of it."""
    try:
        if len(text) == len("2026-11-25"):
            day = datetime.combine(date.fromisoformat(text), datetime.min.time(), UTC)
            return day + timedelta(days=end_of_day)
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise UsageError(
        f"{option} {text!r} is not a date or an instant.",
        hint="Write a date such as 2026-11-25, or an instant such as 2026-11-25T01:00:00Z.",
    )


def _json_lines(lines: Iterable[tuple[Record, bytes]]) -> Iterator[bytes]:
    for record, line in lines:
        fields = {**record, "line_sha256": line_hash(line)}
        yield json_line(fields)


_CSV_COLUMNS: Final = (
    "ts",
    "run_id",
    "seq",
    "event",
    *InvitationFields.__struct_fields__,
    "rule",
    "reason",
    "outcome",
    "attempts",
    "http_status",
    "error_code",
    "duration_ms",
    "prev",
)


class _Echo:
    """A file for `csv.writer` that returns each row instead of writing it."""

    def write(self, row: str) -> str:
        return row


def _csv_lines(lines: Iterable[tuple[Record, bytes]]) -> Iterator[bytes]:
    """Yield a header and a row for each record; fields without a column are in `other`."""
    writer = csv.writer(_Echo())

    def row(cells: Iterable[str]) -> bytes:
        text: str = writer.writerow(list(cells))
        return text.encode("utf-8", "backslashreplace")

    yield row((*_CSV_COLUMNS, "other", "line_sha256"))
    for record, line in lines:
        other = {name: value for name, value in record.items() if name not in _CSV_COLUMNS}
        cells = [_cell(record.get(name)) for name in _CSV_COLUMNS]
        yield row((*cells, _cell(other or None), line_hash(line)))


def _cell(value: object) -> str:
    """Return the text of a value: lists of texts separated by spaces, other values as JSON."""
    if value is None or isinstance(value, str):
        text = neutralize_formula(value or "")
    elif isinstance(value, list) and all(isinstance(part, str) for part in value):
        text = neutralize_formula(" ".join(value))
    else:
        text = to_json(value).decode()
    return _AFTER_SEMICOLON.sub(";'", text)


_AFTER_SEMICOLON: Final = re.compile(r";(?=\s*[=+\-@\uff1d\uff0b\uff0d\uff20])")
"""A cell starts here where a spreadsheet separates cells by semicolons; quotes do not help."""
