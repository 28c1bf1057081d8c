"""Commands `audit show`, `audit verify` and `report`: what an audit directory has."""

import csv
import io
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import click

from invite_sweeper.audit import (
    AuditDirectory,
    History,
    RunFile,
    Verification,
    filter_lines,
    verify,
    verify_directory,
)
from invite_sweeper.audit.chain import line_hash
from invite_sweeper.audit.events import EVENTS
from invite_sweeper.audit.reader import FileChain, Record
from invite_sweeper.cli.console import json_line, stdout_console, write_json
from invite_sweeper.cli.options import DOCUMENTATION, FILE, PRESENT, Command, option, options
from invite_sweeper.cli.session import load_policy
from invite_sweeper.endings import Advisor
from invite_sweeper.errors import UsageError
from invite_sweeper.files import check_distinct_files, replace_file, write_error
from invite_sweeper.json_text import to_json
from invite_sweeper.models import Invitation, Outcome
from invite_sweeper.report import terminal
from invite_sweeper.report.page import read_page, render_html, render_markdown
from invite_sweeper.report.story import tell_verification
from invite_sweeper.text import escape_unprintable


def _parse_since(text: str, days: int = 0) -> datetime:
    """Return an instant; a date is the beginning of that day in UTC, plus `days`."""
    try:
        if len(text) == len("2026-11-25"):
            return datetime.fromisoformat(f"{text}T00:00Z") + timedelta(days)
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise click.BadParameter(
        f"{text!r} is not a date such as 2026-11-25 or an instant such as 2026-11-25T01:00:00Z."
    )


def _parse_hash(text: str) -> str:
    digits = text.strip().lower()
    if re.fullmatch("[0-9a-f]{64}", digits) is None:
        raise click.BadParameter("A last hash has 64 hex digits.")
    return digits


_PATHS: Final = click.argument(
    "paths", help="An audit directory, or files of runs.", metavar="[DIR or FILE…]",
    nargs=-1, type=PRESENT,
)  # fmt: skip


@click.group(epilog=DOCUMENTATION)
def audit() -> None:
    """List, show and verify the runs of an audit directory."""


@audit.command(cls=Command)
@click.argument(
    "runs", help="Numbers, ids or files of runs; without one, all are listed.", nargs=-1
)
@options("policy", "audit_dir")
@option(
    "Filter", "--event", metavar="NAME", type=click.Choice([each.event for each in EVENTS]),
    help="planned, kept, intent, outcome, …",
)  # fmt: skip
@option(
    "Filter", "--outcome", metavar="NAME", type=click.Choice(list(map(str, Outcome))),
    help="deleted, failed, …",
)  # fmt: skip
@option("Filter", "--username", metavar="GLOB", help="A glob for the invited address.")
@option(
    "Filter", "--since", metavar="TIME", type=_parse_since,
    help="From this date (UTC) or instant on.",
)  # fmt: skip
@option(
    "Filter", "--until", metavar="TIME", type=lambda text: _parse_since(text, days=1),
    help="Up to this date, or before this instant.",
)  # fmt: skip
@option(
    "Output", "-o", "--output", metavar="FORMAT", default="text",
    type=click.Choice(("text", "json", "csv")),
    help="Format of the result on stdout: text, json (lines) or csv.",
)  # fmt: skip
def show(
    runs: Sequence[str],
    policy: Path,
    audit_dir: Path | None,
    output: str,
    **criteria: Any,  # noqa: ANN401
) -> None:
    """List the runs, or show the plan and the outcomes of some.

    Ends with the SHA-256 of the file: what `sweep --plan-sha256` asks for. JSON lines and CSV have
    every line of the file, with its SHA-256.

    Example: invite-sweeper audit show 42 --outcome failed
    """
    is_filtered = any(each is not None for each in criteria.values())
    if runs and all(Path(each).is_file() for each in runs):
        files = [RunFile.of(Path(each).absolute()) for each in runs]
    else:
        directory = _find_directory(policy, audit_dir)
        files = [directory.find(each) for each in runs] or list(directory.files())
    if output != "text":
        lines = (line for file in files for line in filter_lines(file.path, **criteria))
        as_json = (json_line({**record, "line_sha256": line_hash(line)}) for record, line in lines)
        sys.stdout.buffer.writelines(as_json if output == "json" else _csv_lines(lines))
        return
    console, found = stdout_console(), History.read(files).runs
    if not runs and not is_filtered:
        terminal.show_runs(console, found)
        return
    for record in found:
        if is_filtered:
            matching = filter_lines(record.file.path, **criteria)
            terminal.show_lines(console, (fields for fields, _ in matching))
        else:
            terminal.show_run(console, record)
        console.print(f"SHA-256  {FileChain(record.file.path).read().sha256}", soft_wrap=True)


_CSV_COLUMNS: Final = (
    *("ts", "run_id", "seq", "event"),
    *Invitation.__struct_fields__,
    *("rule", "reason", "outcome", "attempts", "http_status", "error_code", "duration_ms", "prev"),
)


def _csv_lines(lines: Iterable[tuple[Record, bytes]]) -> Iterator[bytes]:
    """Yield a header and a row for each record; fields without a column are in `other`."""

    def row(*cells: str) -> bytes:
        file = io.StringIO()
        csv.writer(file).writerow(cells)
        return file.getvalue().encode("utf-8", "backslashreplace")

    yield row(*_CSV_COLUMNS, "other", "line_sha256")
    for record, line in lines:
        other = {name: value for name, value in record.items() if name not in _CSV_COLUMNS}
        cells = [_cell(record.get(name)) for name in _CSV_COLUMNS]
        yield row(*cells, _cell(other or None), line_hash(line))


def _cell(value: object) -> str:
    """Return the text of a value: lists of texts separated by spaces, other values as JSON.

    Control characters and direction marks are escaped, as in text: names come from other people,
    and a file is shown on a terminal sooner or later.
    """
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        value = " ".join(value)
    if value is None or isinstance(value, str):
        return escape_unprintable(neutralize_formula(value or ""))
    return escape_unprintable(to_json(value).decode())


_FORMULA_START = re.compile(r"[\t\r\n]|\s*[=+\-@\uff1d\uff0b\uff0d\uff20]")
"""How a cell begins that a spreadsheet may evaluate, full-width forms included.

Source: OWASP, "CSV Injection". Read 2026-11-26.
"""


def neutralize_formula(text: str) -> str:
    """Return a text for a CSV cell: an apostrophe before what a spreadsheet could evaluate."""
    return f"'{text}" if _FORMULA_START.match(text) else text


@audit.command("verify", cls=Command)
@_PATHS
@options("policy", "audit_dir", "output")
@click.option(
    "--expect-head", metavar="HASH", type=_parse_hash,
    help="A last hash that was kept elsewhere; the log must still end there, or go through it.",
)  # fmt: skip
def verify_command(
    paths: Sequence[Path],
    policy: Path,
    audit_dir: Path | None,
    output: str,
    expect_head: str | None,
) -> None:
    """Verify the files, their chain, and the outcome of each intent.

    Exit code 0: the log is sound. Exit code 3: it is damaged, and the first wrong line is named,
    or unfinished: a run was killed, and the next sweep settles it.

    Example: invite-sweeper audit verify --expect-head HASH
    """
    _, found = _verify_runs(paths, policy, audit_dir, expect_head)
    if output == "json":
        write_json(found)
    else:
        story = tell_verification(found)
        click.echo(f"{story.headline.label}: {story.headline.text}")
        for line in story.lines:
            click.echo(f"{line.label}  {line.text}")
        for item in story.attention:
            click.echo(f"What to do: {item.advice}")
    raise SystemExit(found.exit_code)


def _find_directory(policy: Path, audit_dir: Path | None) -> AuditDirectory:
    return AuditDirectory(audit_dir or policy.parent / load_policy(policy).audit.directory)


def _verify_runs(
    paths: Sequence[Path], policy: Path, audit_dir: Path | None, expect_head: str | None = None
) -> tuple[Sequence[RunFile], Verification]:
    """Verify the files that a command reads: all of a directory, or those that are named.

    Raises:
        UsageError: There are none; the policy that names the directory cannot be read.
    """
    if len(paths) > 1 or (paths and not paths[0].is_dir()):
        files = tuple(sorted(RunFile.of(each.absolute()) for each in paths))
        return files, verify(files, expect_head=expect_head)
    directory = AuditDirectory(paths[0]) if paths else _find_directory(policy, audit_dir)
    if not (files := directory.files()):
        raise UsageError(
            f"{directory.path} contains no file of a run.",
            hint="Name the audit directory: --audit-dir DIR",
        )
    return files, verify_directory(directory, expect_head)


@click.command(cls=Command)
@_PATHS
@options("policy", "audit_dir")
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
    paths: Sequence[Path], policy: Path, audit_dir: Path | None, out: Path | None, form: str | None
) -> None:
    """Write a report of the runs: an HTML page, or Markdown.

    It shows how the newest run and the 30 nights before it ended, what needs attention, who was
    deleted, and whether the audit log is sound.

    Example: invite-sweeper report --out report.html
    """
    files, verification = _verify_runs(paths, policy, audit_dir)
    check_distinct_files({"--out": out}, (("the audit log", each.path) for each in files))
    advisor = Advisor(policy=str(policy))
    if paths or audit_dir is not None:
        advisor = Advisor(audit_dir=str(files[0].path.parent))
    page = read_page(files, verification, advisor)
    if form is None and out is not None:
        form = out.suffix.lower().removeprefix(".")
    text = render_markdown(page) if form == "md" else render_html(page)
    if out is None:
        sys.stdout.write(text)
        return
    try:
        replace_file(out, text.encode())
    except OSError as error:
        raise write_error("The report", out, error) from error
    click.echo(f"Report written to {out}.", err=True)
