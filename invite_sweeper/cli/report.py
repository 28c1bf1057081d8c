"""Command `report`: one self-contained HTML page, Markdown or JSON from audit logs."""

from pathlib import Path
from typing import Annotated

import typer

from invite_sweeper.audit import in_order
from invite_sweeper.audit.verify import verify
from invite_sweeper.cli.options import offline, value
from invite_sweeper.files import check_distinct_files
from invite_sweeper.report.html.chain import chain_result
from invite_sweeper.report.html.rendering import Format, write_report

app = typer.Typer(rich_markup_mode=None)


_BY_SUFFIX = {".md": Format.MARKDOWN, ".json": Format.JSON}


@app.command()
@offline
def report(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE", help="Audit logs of one or more runs.")
    ],
    out: Annotated[Path | None, value(None, "PATH", "The file; default: stdout.")] = None,
    form: Annotated[
        Format | None,
        typer.Option("--format", help="Default: the suffix of --out (.html, .md, .json); html."),
    ] = None,
    run: Annotated[
        str | None, value(None, "ID", "A run's id, or the start of it; default: the newest.")
    ] = None,
) -> None:
    """Write a report from audit logs: an HTML page, Markdown or JSON.

    It shows how the newest run, or that of --run, and the nights before it ended, what needs
    attention, what was deleted and kept, and whether the logs are sound.

    Example: invite-sweeper report audit/invite-sweeper.jsonl --out report.html
    """
    check_distinct_files({"--out": out}, (("the audit log", path) for path in files))
    paths = in_order(files)
    suffix = out.suffix.lower() if out is not None else ""
    form = form or _BY_SUFFIX.get(suffix, Format.HTML)
    write_report(paths, out, form, chain_result(verify(paths)), run or "")
    if out is not None:
        typer.echo(f"Report written to {out}.", err=True)
