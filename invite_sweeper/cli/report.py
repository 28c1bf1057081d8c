"""`report`: one self-contained page, or Markdown, from audit logs."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from invite_sweeper.audit import sort_by_start
from invite_sweeper.audit.verify import verify
from invite_sweeper.cli.options import offline
from invite_sweeper.files import check_distinct_files
from invite_sweeper.report.html import chain_result
from invite_sweeper.report.html import write_report as make

app = typer.Typer(rich_markup_mode=None)


class ReportFormat(StrEnum):
    """What the report is written as."""

    HTML = "html"
    MARKDOWN = "md"


@app.command()
@offline
def report(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE", help="Audit logs, of one or many runs.")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="PATH", help="The page; stdout without it.")
    ] = None,
    form: Annotated[
        ReportFormat, typer.Option("--format", help="A page, or Markdown for a pull request.")
    ] = ReportFormat.HTML,
) -> None:
    """Write one page from audit logs.

    It tells what was done, kept and seen, and whether the logs are sound.

    Example: invite-sweeper report audit/invite-sweeper.jsonl --out report.html
    """
    check_distinct_files({"--out": out}, (("the audit log", path) for path in files))
    paths = sort_by_start(files)
    make(paths, out, form.value, chain_result(verify(paths)))
    if out is not None:
        typer.echo(f"The report is in {out}.", err=True)
