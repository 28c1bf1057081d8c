"""Commands `audit show` and `audit verify`: what an audit directory has."""

import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from invite_sweeper.audit import (
    AuditDirectory,
    History,
    LineFilter,
    LogReader,
    RunFile,
    RunRecord,
)
from invite_sweeper.audit.events import EVENTS
from invite_sweeper.audit.file_chain import FileChain
from invite_sweeper.audit.person import HistoryLine, HistoryReader
from invite_sweeper.audit.reader import read_run, read_whole_run
from invite_sweeper.audit.record import Fold
from invite_sweeper.audit.search import read_all
from invite_sweeper.cli.options import (
    DEFAULT_PLAN_MAX_AGE,
    DEFAULT_POLICIES,
    FILE,
    PATHS,
    POLICY_VARIABLE,
    ROWS_OUTPUT,
    SectionedCommand,
    find_directory,
    find_policy,
    option,
    option_once,
    options,
    period_options,
    verify_runs,
)
from invite_sweeper.cli.streams import DOCUMENTATION, OUTPUTS, print_error, print_line
from invite_sweeper.endings import ExitCode
from invite_sweeper.errors import Advisor, DamagedLog, RunError, UsageError
from invite_sweeper.files import is_file
from invite_sweeper.json_text import json_line
from invite_sweeper.models import Invitation
from invite_sweeper.outcomes import Outcome
from invite_sweeper.policy import parse_duration_option
from invite_sweeper.report import terminal
from invite_sweeper.report.csv_rows import csv_cell, csv_row
from invite_sweeper.report.document import Fact
from invite_sweeper.report.people import document_of_lines
from invite_sweeper.report.period_reader import describe_change, printable_lines
from invite_sweeper.report.run import lines_to_approve, list_of_runs, plan_to_apply, whole_run
from invite_sweeper.report.terminal import stdout_console
from invite_sweeper.report.verdicts import document_of_verification
from invite_sweeper.text import pluralize, shell_command

_T = TypeVar("_T")
_OF_THE_RUNS: Final = Path("-")
"""`--policy` without a PATH."""


def _parse_hash(text: str) -> str:
    digits = text.strip().lower()
    if re.fullmatch("[0-9a-f]{64}", digits) is None:
        raise click.BadParameter("A last hash has 64 hex digits.")
    return digits


@click.group(epilog=DOCUMENTATION)
def audit() -> None:
    """List, show and verify the runs of an audit directory."""


@audit.command(cls=SectionedCommand)
@click.argument(
    "runs",
    nargs=-1,
    help="Numbers, days, ids or files of runs, or last; without one, all are listed.",
)
@option(
    "Target", "--policy", metavar="[PATH]", type=FILE, envvar=POLICY_VARIABLE,
    default=find_policy, show_default=DEFAULT_POLICIES, is_flag=False, flag_value=str(_OF_THE_RUNS),
    help="The policy file. Without PATH: print the policy of RUN; of two, what was changed.",
)  # fmt: skip
@options("audit_dir")
@option(
    "Filter", "--event", metavar="NAME", type=click.Choice([line.event for line in EVENTS]),
    help="planned, kept, intent, outcome, …",
)  # fmt: skip
@option(
    "Filter", "--outcome", metavar="NAME", type=click.Choice(list(map(str, Outcome))),
    help="deleted, failed, …",
)  # fmt: skip
@option_once("Filter", "--username", metavar="GLOB", help="A glob for the invited address.")
@option_once("Filter", "--organization", metavar="ID", help="The id of the organization.")
@period_options()
@ROWS_OUTPUT
@option("Output", "-v", "--verbose", is_flag=True, help="Show ids, too.")
def show(
    runs: Sequence[str],
    policy: Path,
    audit_dir: Path | None,
    output: str,
    event: str | None,
    verbose: bool,
    **criteria: Any,
) -> None:
    """List runs, show what they did, or what became of people.

    With a filter and without RUN, all runs are searched: --username shows what became of a
    person. Of each deletion the text has the outcome, JSON lines and CSV every line.
    The text of a RUN ends with the SHA-256 of the file. That of a dry run is what
    `sweep --plan-sha256` asks for, and is left out where the plan cannot be applied. JSON lines
    and CSV have every line of the file, with its SHA-256.

    Example: invite-sweeper audit show --username 'ada@*'
    """
    is_filtered = event is not None or any(value is not None for value in criteria.values())
    _check_period(criteria["since"], criteria["until"])
    if policy == _OF_THE_RUNS:
        if is_filtered or output != "text":
            raise click.UsageError(
                "--policy without PATH prints text: no filter and no other format belongs to it."
            )
        raise SystemExit(_show_policies(runs, audit_dir))
    shown = _ShownRuns(runs, policy, audit_dir)
    wanted = LineFilter(events=None if event is None else {event}, **criteria)
    lines = shown.read_parts(partial(_lines_of_run, wanted))
    if output == "json":
        sys.stdout.buffer.writelines(map(json_line, lines))
    elif output == "csv":
        sys.stdout.buffer.writelines(_csv_lines(lines))
    elif is_filtered:
        _show_lines(shown, HistoryReader(wanted), with_ids=verbose)
    elif shown.named:
        for run in shown.read(read_whole_run):
            _show_run(shown, run, with_ids=verbose)
    else:
        records = shown.all_records()
        document = list_of_runs(records, datetime.now(UTC))
        terminal.show_document(stdout_console(), document)
    raise SystemExit(shown.exit_code)


def _check_period(since: datetime | None, until: datetime | None) -> None:
    if since is not None and until is not None and since >= until:
        raise click.BadParameter("--since is not before --until: no line can be between them.")


def _show_run(shown: "_ShownRuns", run: RunRecord, *, with_ids: bool) -> None:
    """Print all that one run did, the rules that were in force, and the hash of its file."""
    shown.settle(run)
    end = (*_lines_about_policy(run), *_lines_about_file(shown, run))
    document = whole_run(run, end, shown.advisor)
    terminal.show_document(stdout_console(), document, with_ids=with_ids)


def _show_lines(shown: "_ShownRuns", history: HistoryReader, *, with_ids: bool) -> None:
    """Print what the runs did with the people who are asked for, or that no line matches."""
    found: list[HistoryLine] = []
    closing: list[Fact] = []
    for lines in filter(None, shown.read(history.read)):
        found += lines
        if shown.named:
            record = _read_record(FileChain(lines[0].run, hashed=True))
            closing += _lines_about_file(shown, record)
            shown.settle(lines[0].record)
    if found:
        document = document_of_lines(found, history.names, tuple(closing))
        terminal.show_document(stdout_console(), document, with_ids=with_ids)
    else:
        print_line(f"No line of {pluralize(len(history.runs), 'run')} matches.")


class _ShownRuns:
    """The runs that `audit show` reads, and what is damaged.

    A damaged log is reported, and what can be read is shown: nothing is decided by it.

    Attributes:
        policy: As on the command line, like `audit_dir`.
        exit_code: Of the command.
        named: The files of the runs that the command line names.
        fold: What became of the requests of the directory's runs that were read.
    """

    def __init__(self, runs: Sequence[str], policy: Path, audit_dir: Path | None) -> None:
        self.policy = policy
        self.audit_dir = audit_dir
        self.exit_code = int(ExitCode.DONE)
        self.fold = Fold()
        self.named: tuple[RunFile, ...] = ()
        self._reader = LogReader(())
        # A number is that of a run, as for every other command, also where a file has that name.
        are_files = all(is_file(run) and not run.isdecimal() for run in runs)
        self._is_by_path = bool(runs) and are_files
        if self._is_by_path:
            self.named = tuple(RunFile.of(Path(run).absolute()) for run in runs)
            return
        directory = find_directory(policy, audit_dir)
        try:
            directory.check_not_empty()
            self._reader = directory.reader()
            for warning in directory.warnings_of_missing_files():
                print_line(warning.message, "Warning: ")
        except DamagedLog as error:  # HEAD
            self._report(error)
            self._reader = LogReader(directory.files())
        try:
            self.named = tuple(file for run in runs for file in directory.find_all(run))
        except UsageError:
            self._read_directory()  # a file that is missing may be that of the run
            raise

    @property
    def advisor(self) -> Advisor:
        """What makes exact commands about these runs; where it names no policy, that of the run."""
        if self.audit_dir is not None:
            return Advisor(audit_dir=str(self.audit_dir))
        return Advisor() if self._is_by_path else Advisor(policy=str(self.policy))

    def read(self, read_run_file: Callable[[FileChain], _T]) -> Iterator[_T]:
        """Yield what is read of the file of each run, with its SHA-256 where runs are named."""
        return self.read_parts(lambda chain: (read_run_file(chain),))

    def read_parts(self, read_run_file: Callable[[FileChain], Iterable[_T]]) -> Iterator[_T]:
        """Yield the parts that are read of the file of each run, as `read` does."""
        if not self.named:
            yield from read_all(self._reader, read_run_file, self._report)
            return
        self._read_directory()
        for file in self.named:
            yield from read_all(LogReader((file,), hashed=True), read_run_file, self._report)

    def _read_directory(self) -> None:
        """Report what is damaged, and add up what became of requests that killed runs left open."""
        for _ in self.all_records():
            pass

    def all_records(self) -> Iterator[RunRecord]:
        """Yield the records of all runs, without their lines; the fold adds them up."""
        yield from read_all(self._reader, lambda chain: (read_run(chain, self.fold),), self._report)

    def settle(self, run: RunRecord) -> None:
        """Add what later runs of the directory recorded of the requests of a named run."""
        known = self.fold.runs.get(run.run_id)
        if known is not None:
            run.recover_as(known)

    def _report(self, error: DamagedLog) -> None:
        self.exit_code = int(error.exit_code)
        print_error(error.having(consequence=""))


def _read_record(chain: FileChain) -> RunRecord:
    """Return the record of a run whose lines are chosen: what it left open is not shown."""
    return read_run(chain, Fold())


# What follows a run: the rules that were in force, and the hash of its file.


def _lines_about_policy(record: RunRecord) -> Iterator[Fact]:
    """Yield the command that prints the policy of a run, if its file has it."""
    if record.policy is not None:
        yield Fact("Policy", shell_command("audit", "show", str(record.file.path), "--policy"))


def _policy_of(run: RunRecord) -> str:
    """Return the policy of a run.

    Raises:
        UsageError: Its file does not have it.
    """
    if run.policy is not None:
        return run.policy
    sha256 = run.start.policy_sha256
    raise UsageError(
        f"{run.file.path} does not have the policy of its run: an earlier version wrote it.",
        hint=f"That version kept a copy beside the file: policies/{sha256}.yaml" if sha256 else "",
    )


def _show_policies(runs: Sequence[str], audit_dir: Path | None) -> int:
    """Print the policy of a run byte for byte, or what was changed from one run to another.

    Returns:
        The exit code of the command.

    Raises:
        UsageError: The file of a run does not have its policy.
    """
    wrong_number = click.UsageError(
        "--policy without PATH prints the policy of one RUN, or of two what was changed."
    )
    if not runs:
        raise wrong_number
    path = Path(os.environ.get(POLICY_VARIABLE) or find_policy())
    shown = _ShownRuns(runs, path, audit_dir)
    if len(shown.named) > 2:  # noqa: PLR2004 - a diff is of two
        raise wrong_number
    policies = [_policy_of(run) for run in shown.read(_read_record)]
    if len(policies) < len(shown.named):
        pass  # what was damaged is reported
    elif len(policies) > 1:
        click.echo(describe_change(*map(printable_lines, policies)))
    elif sys.stdout.isatty():
        click.echo(printable_lines(policies[0]))
    else:
        sys.stdout.buffer.write(policies[0].encode())
    return shown.exit_code


def _lines_about_file(shown: _ShownRuns, record: RunRecord) -> Iterator[Fact]:
    """Yield the SHA-256 of a file, or what a second person needs of the plan in it."""
    if record.mode != "dry-run":
        yield Fact("SHA-256", record.sha256)
        return
    now = datetime.now(UTC)
    max_age = parse_duration_option("--plan-max-age", DEFAULT_PLAN_MAX_AGE)
    try:
        directory = _directory_of_plan(shown, record)
        history = History.read(directory, now, back=max_age) if directory is not None else None
        plan = plan_to_apply(record, history, max_age=max_age, now=now)
    except RunError as refusal:
        yield Fact("Plan", f"It cannot be applied. {refusal.message}")
    else:
        yield from lines_to_approve(record.start, plan)


def _directory_of_plan(shown: _ShownRuns, record: RunRecord) -> AuditDirectory | None:
    """Return the audit directory in which a plan may have been used; None where none is known.

    It is the one that has the file; of a copy, that of the options or of the plan's own policy.
    """
    path = record.file.path
    if path.with_name("HEAD").is_file():
        return AuditDirectory(path.parent)
    policy = shown.policy if shown.policy.is_file() else Path(record.start.policy_path or "")
    with suppress(UsageError):  # a policy that cannot be read names no directory
        return find_directory(policy, shown.audit_dir)
    return None


# The lines of runs, as JSON lines and as CSV.


def _lines_of_run(wanted: LineFilter, chain: FileChain) -> Iterator[dict[str, object]]:
    """Yield the lines of a run that match, with its number, its mode, and the hash of the line."""
    mode: object = None
    for record, line in wanted.matching(chain):
        if mode is None and chain.first is not None:  # it was read before any line matched
            mode = chain.parse(chain.first).get("mode")
        yield {**record, "run": chain.file.number, "mode": mode, "line_sha256": line.hash}


_CSV_COLUMNS: Final = (
    *("ts", "run", "run_id", "mode", "seq", "event"),
    *Invitation.__struct_fields__,
    *("rule", "reason", "outcome", "attempts", "http_status", "error_code", "duration_ms", "prev"),
)


def _csv_lines(lines: Iterable[dict[str, object]]) -> Iterator[bytes]:
    """Yield a header and a row for each line; the fields without a column are in `other`."""
    yield csv_row((*_CSV_COLUMNS, "other", "line_sha256"))
    for line in lines:
        cells = [csv_cell(line.pop(name, None)) for name in _CSV_COLUMNS]
        line_sha256 = str(line.pop("line_sha256"))
        yield csv_row((*cells, csv_cell(line or None), line_sha256))


@audit.command("verify", cls=SectionedCommand)
@PATHS
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
    or unfinished: a run was killed, and the next one recovers what it left.

    Example: invite-sweeper audit verify --expect-head HASH
    """
    _, verification = verify_runs(paths, policy, audit_dir, expect_head)
    if output == "json":
        OUTPUTS.write(json_line(verification))
    else:
        directory = paths[0] if paths and paths[0].is_dir() else audit_dir
        advisor = Advisor(policy=str(policy), audit_dir=str(directory or ""))
        document = document_of_verification(verification, advisor)
        terminal.show_document(stdout_console(), document)
    raise SystemExit(verification.exit_code)
