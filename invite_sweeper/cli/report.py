"""Command `report`: a page about the runs of a period, as HTML or Markdown."""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import click

from invite_sweeper.audit.record import Fold
from invite_sweeper.cli.options import (
    FILE,
    PATHS,
    SectionedCommand,
    check_outside,
    option,
    option_once,
    options,
    period_options,
    verify_runs,
)
from invite_sweeper.cli.streams import print_line
from invite_sweeper.endings import DAMAGED_ADVICE
from invite_sweeper.errors import Advisor, DamagedLog
from invite_sweeper.files import check_replaceable, replace_file, write_error
from invite_sweeper.report.markdown import render_markdown
from invite_sweeper.report.page import render_html
from invite_sweeper.report.period import is_report, read_period


@click.command(cls=SectionedCommand)
@PATHS
@options("policy", "audit_dir")
@period_options(since="the 30 nights up to the newest run", until="the newest run")
@option_once("Filter", "--organization", metavar="ID", help="The id of the only organization.")
@option(
    "Output", "--out", metavar="FILE", type=FILE,
    help="Write the report to this file; default: stdout.",
)  # fmt: skip
@option(
    "Output", "--format", "form", metavar="FORMAT",
    type=click.Choice(("html", "md")),
    help="html or md; default: the suffix of --out, else html.",
)  # fmt: skip
def report(
    paths: Sequence[Path],
    policy: Path,
    audit_dir: Path | None,
    since: datetime | None,
    until: datetime | None,
    organization: str | None,
    out: Path | None,
    form: str | None,
) -> None:
    """Write a report of a period: an HTML page, or Markdown.

    It shows each night with its counts, who was announced, deleted, restored and kept by which
    entry, the policies in force, what is pending, what needs attention, and whether the audit log
    is sound. A night is a day in UTC.

    Example: invite-sweeper report --since 2026-11-01 --out november.html
    """
    fold = Fold()
    files, verification = verify_runs(paths, policy, audit_dir, fold=fold)
    if not files:
        raise DamagedLog(verification.damage or "", hint=DAMAGED_ADVICE)
    if verification.damage is not None:
        warning = f"The audit log is damaged: {verification.damage}"
        print_line(warning, "Warning: ")
    folder = files[0].path.parent
    is_directory = not paths or paths[0].is_dir()  # files that are named may be copies
    if out is not None:
        check_outside("--out", out, folder if is_directory else None)
        check_replaceable("--out", out, "a report", is_report)
    advisor = Advisor(policy=str(policy))
    if paths or audit_dir is not None:
        advisor = Advisor(audit_dir=str(folder))
    now = datetime.now(UTC) if is_directory else None
    document = read_period(
        files,
        verification,
        fold,
        advisor,
        since,
        until,
        now=now,
        organization=organization,
    )
    if form is None and out is not None:
        form = out.suffix.lower().removeprefix(".")
    text = render_markdown(document) if form == "md" else render_html(document)
    data = text.encode()  # also where the locale has another encoding: the page names UTF-8
    if out is None:
        sys.stdout.buffer.write(data)
        return
    try:
        replace_file(out, data)
    except OSError as error:
        raise write_error("The report", out, error) from error
    click.echo(f"Report written to {out}.", err=True)
