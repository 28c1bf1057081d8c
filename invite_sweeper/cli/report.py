"""`report`: one self-contained page, or Markdown, from audit logs."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from invite_sweeper.cli.offline import offline


class Form(StrEnum):
    """What the report is written as."""

    HTML = "html"
    MARKDOWN = "md"


@offline
def report(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE", help="Audit logs, of one or many runs.")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="PATH", help="The page; stdout without it.")
    ] = None,
    form: Annotated[
        Form, typer.Option("--format", help="A page, or Markdown for a pull request.")
    ] = Form.HTML,
) -> None:
    """Make one page from audit logs.

    It tells what was done, kept and seen, and whether the logs are sound.

    Example: invite-sweeper report audit/invite-sweeper.jsonl --out report.html
    """
    from invite_sweeper.audit import in_order
    from invite_sweeper.audit.verify import verify
    from invite_sweeper.cli.clashes import raise_if_same
    from invite_sweeper.report.page import chain_of
    from invite_sweeper.report.page import report as make

    raise_if_same({"--out": out}, (("the audit log", path) for path in files))
    paths = in_order(files)
    make(paths, out, form.value, chain_of(verify(paths)))
    if out is not None:
        typer.echo(f"The report is in {out}.", err=True)


def register(app: typer.Typer) -> None:
    """Add the command of this file to the program."""
    app.command()(report)
