"""Commands `audit verify` and `audit show`."""

import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated

import orjson
import typer

from invite_sweeper.audit import read_runs, sort_by_start
from invite_sweeper.audit.history import missing_shards
from invite_sweeper.audit.paths import DEFAULT_LOG
from invite_sweeper.audit.reader import LineFilter, filter_records
from invite_sweeper.audit.verify import verify as verify_logs
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
        list[Path], typer.Argument(metavar="FILE", help="Audit logs, including rotated ones.")
    ],
    continuation: Annotated[
        bool,
        typer.Option(
            "--continuation", help="The first file continues the chain of an omitted one."
        ),
    ] = False,
    output: OutputOption = Output.TEXT,
) -> None:
    """Verify the hash chain, and that every intent has an outcome.

    Exit code 0: the logs are sound; a torn last line is only a warning. Exit code 3: they are
    damaged or incomplete, and the first wrong line is named.

    Example: invite-sweeper audit verify audit/invite-sweeper.jsonl
    """
    paths = sort_by_start(files)
    status = verify_logs(paths, continuation=continuation)
    if status.error is None and (missing := missing_shards(read_runs(*paths))):
        typer.echo(f"Warning: the logs of shard {', '.join(missing)} are missing.", err=True)
    for warning in status.warnings:
        typer.echo(f"Warning: {warning}", err=True)
    if output is Output.JSON:
        error = status.error
        report = {
            "sound": error is None,
            "lines": status.lines,
            "runs": status.runs,
            "last_hash": status.last_hash,
            "warnings": status.warnings,
            "file": str(error.position.path) if error else None,
            "line": error.position.line if error else None,
            "damage": str(error.kind) if error else None,
            "what": error.message if error else None,
        }
        sys.stdout.buffer.write(orjson.dumps(report, option=orjson.OPT_APPEND_NEWLINE))
    elif status.error is None:
        lines, runs = pluralize(status.lines, "line"), pluralize(status.runs, "run")
        typer.echo(f"Sound: {lines} of {runs}.")
        typer.echo(f"Last hash {status.last_hash}")
    else:
        error = status.error
        typer.echo(f"{error.position.path}:{error.position.line}: {error.kind}: {error.message}")
    raise typer.Exit(int(status.exit_code))


@audit_app.command()
@offline
def show(
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="FILE", help=f"Audit logs; default: {DEFAULT_LOG}."),
    ] = None,
    run: Annotated[
        str | None, typer.Option(metavar="ID", help="A run's id, or the start of it.")
    ] = None,
    project: Annotated[
        str | None, typer.Option(metavar="GLOB", help="A project's id, or a glob for its name.")
    ] = None,
    username: Annotated[
        str | None, typer.Option(metavar="GLOB", help="A glob for the invited address.")
    ] = None,
    outcome: Annotated[str | None, typer.Option(metavar="NAME", help="deleted, failed, …")] = None,
    day: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d"], metavar="YYYY-MM-DD", help="Records of this day in UTC."
        ),
    ] = None,
    event: Annotated[
        str | None, typer.Option(metavar="NAME", help="planned, intent, outcome, …")
    ] = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Show records of audit logs, as a table or as JSON lines.

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
    records = filter_records(sort_by_start(files or [DEFAULT_LOG]), line_filter)
    if output is Output.JSON:
        for record in records:
            sys.stdout.buffer.write(orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE))
        return
    table = LineTable(stdout_console())
    for record in records:
        table.add(record)
    table.close()
