"""`audit verify` and `audit show`: the audit log, proven and read."""

import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated

import orjson
import typer

from invite_sweeper.audit import read_runs, sort_by_start
from invite_sweeper.audit.history import missing_shards
from invite_sweeper.audit.paths import DEFAULT_LOG
from invite_sweeper.audit.reader import LineFilter
from invite_sweeper.audit.reader import filter_records as choose
from invite_sweeper.audit.verify import verify as follow
from invite_sweeper.cli.console import stdout_console
from invite_sweeper.cli.options import Output, OutputOption, offline
from invite_sweeper.report.tables import LineTable
from invite_sweeper.text import pluralize

audit_app = typer.Typer(
    help="Read and verify an audit log.", no_args_is_help=True, rich_markup_mode=None
)
app = typer.Typer(rich_markup_mode=None)
app.add_typer(audit_app, name="audit")


@audit_app.command()
@offline
def verify(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE", help="Audit logs, rotated ones too.")
    ],
    continuation: Annotated[
        bool,
        typer.Option(
            "--continuation", help="The first file goes on with the chain of one not given."
        ),
    ] = False,
    output: OutputOption = Output.TEXT,
) -> None:
    """Verify the chain, and that every intent has an outcome.

    Ends with 0 where the logs are sound (a torn last line alone is a warning), with 3 where
    they are damaged or incomplete; then the first line that is wrong is named.

    Example: invite-sweeper audit verify audit/invite-sweeper.jsonl
    """
    paths = sort_by_start(files)
    found = follow(paths, continuation=continuation)
    if found.error is None and (missing := missing_shards(read_runs(*paths))):
        typer.echo(f"Warning: no log of shard {', '.join(missing)} is among these.", err=True)
    for warning in found.warnings:
        typer.echo(f"Warning: {warning}", err=True)
    if output is Output.JSON:
        error = found.error
        report = {
            "sound": error is None,
            "lines": found.lines,
            "runs": found.runs,
            "last_hash": found.last_hash,
            "warnings": found.warnings,
            "file": str(error.position.path) if error else None,
            "line": error.position.line if error else None,
            "damage": str(error.kind) if error else None,
            "what": error.message if error else None,
        }
        sys.stdout.buffer.write(orjson.dumps(report, option=orjson.OPT_APPEND_NEWLINE))
    elif found.error is None:
        typer.echo(f"Sound: {pluralize(found.lines, 'line')} of {pluralize(found.runs, 'run')}.")
        typer.echo(f"Last line {found.last_hash}")
    else:
        error = found.error
        typer.echo(f"{error.position.path}:{error.position.line}: {error.kind}: {error.message}")
    raise typer.Exit(int(found.exit_code))


@audit_app.command()
@offline
def show(
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="FILE", help="Audit logs; without any, the usual one."),
    ] = None,
    run: Annotated[
        str | None, typer.Option(metavar="ID", help="A run's id, or its beginning.")
    ] = None,
    project: Annotated[
        str | None, typer.Option(metavar="GLOB", help="An id, or a glob on the name.")
    ] = None,
    username: Annotated[
        str | None, typer.Option(metavar="GLOB", help="On the invited address.")
    ] = None,
    outcome: Annotated[str | None, typer.Option(metavar="NAME", help="deleted, failed, …")] = None,
    day: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], metavar="YYYY-MM-DD", help="A day in UTC."),
    ] = None,
    event: Annotated[
        str | None, typer.Option(metavar="NAME", help="planned, intent, outcome, …")
    ] = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Show lines of audit logs, as a table or as they are.

    Example: invite-sweeper audit show --outcome failed --day 2026-11-25
    """
    line_filter = LineFilter(
        run=run,
        project=project,
        username=username,
        outcome=outcome,
        day=day.date() if day is not None else None,
        event=event,
    )
    records = choose(sort_by_start(files or [DEFAULT_LOG]), line_filter)
    if output is Output.JSON:
        for record in records:
            sys.stdout.buffer.write(orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE))
        return
    table = LineTable(stdout_console())
    for record in records:
        table.add(record)
    table.close()
