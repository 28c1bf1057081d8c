"""Command `report`: one self-contained HTML page, or Markdown, of an audit directory."""

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from invite_sweeper.cli.options import (
    FILE,
    OUTPUT,
    Command,
    offline,
    option,
    options,
)
from invite_sweeper.cli.session import find_runs
from invite_sweeper.endings import Advisor
from invite_sweeper.files import (
    check_distinct_files,
    regular_file_target,
    replace_file,
    write_error,
)
from invite_sweeper.report.page import read_page, render_html, render_markdown


@click.command(cls=Command)
@click.argument(
    "paths",
    help="An audit directory, or files of runs.",
    metavar="[DIR or FILE…]",
    nargs=-1,
    type=FILE,
)
@options("policy", "audit_dir")
@option(
    OUTPUT, "--out", metavar="FILE", type=FILE,
    help="Write the report to this file; default: stdout.",
)  # fmt: skip
@option(
    OUTPUT, "--format", "form", metavar="FORMAT",
    type=click.Choice(("html", "md")),
    help="html or md; default: the suffix of --out, else html.",
)  # fmt: skip
@offline
def report(
    paths: Sequence[Path],
    policy: Path,
    audit_dir: Path | None,
    out: Path | None,
    form: str | None,
) -> None:
    """Write a report of the runs: an HTML page, or Markdown.

    It shows how the newest run and the 30 nights before it ended, what needs attention, who was
    deleted, and whether the audit log is sound.

    Example: invite-sweeper report --out report.html
    """
    runs = find_runs(paths, policy, audit_dir)
    check_distinct_files({"--out": out}, (("the audit log", each.path) for each in runs.files))
    folder = paths[0] if paths else audit_dir
    if folder is not None and runs.directory is None:
        folder = folder.parent
    advisor = Advisor(policy=str(policy)) if folder is None else Advisor(audit_dir=str(folder))
    page = read_page(runs.files, runs.verify(), advisor)
    if form is None and out is not None:
        form = out.suffix.lower().removeprefix(".")
    text = render_markdown(page) if form == "md" else render_html(page)
    if out is None:
        sys.stdout.write(text)
        return
    try:
        if regular_file_target(out) is None:
            out.write_text(text, encoding="utf-8")
        else:
            replace_file(out, text.encode())
    except OSError as error:
        raise write_error("The report", out, error) from error
    click.echo(f"Report written to {out}.", err=True)
