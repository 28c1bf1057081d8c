"""The report of a period as a document: nights, people, policies, what is pending, the verdict.

What it has of the newest run is its story; it adds the verification of the files.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Final

from invite_sweeper.audit import RunFile, RunRecord, Verdict, Verification
from invite_sweeper.audit.events import Announced, Intent, Kept, OutcomeLine, WouldBeAnnounced
from invite_sweeper.audit.record import Fold
from invite_sweeper.endings import Status
from invite_sweeper.errors import Advisor, UsageError
from invite_sweeper.report.document import (
    MAX_TABLE_ROWS,
    Document,
    Fact,
    Section,
    describe_instant,
    with_content,
)
from invite_sweeper.report.nights import (
    COUNTED,
    Night,
    NightRun,
    last_night_over,
    nights_of,
    pending_after,
    picture_of,
    silence_after,
    verdict_of,
)
from invite_sweeper.report.period_reader import (
    KeepEntry,
    PeriodReader,
    PolicyInForce,
    SweptAccount,
    find_period,
    first_instant,
)
from invite_sweeper.report.rows import (
    ANNOUNCED_CAPTION,
    KEPT_CAPTION,
    PEOPLE,
    WOULD_BE_ANNOUNCED_CAPTION,
    announced_rows,
    kept_rows,
    meanings_of,
    name_of,
    organization_labels_of,
    rows_of,
    sorted_rows,
)
from invite_sweeper.report.run import unread_section
from invite_sweeper.report.story import advisor_of, story_of
from invite_sweeper.report.table import Cell, Column
from invite_sweeper.report.verdicts import document_of_verification
from invite_sweeper.text import (
    describe_span,
    plural_form,
    upper_first,
)

_DOUBT: Final = "The log is damaged: what follows comes from it and may be wrong."
_TITLES: Final = {"restore": "Invitation restore", "dry-run": "Invitation sweep, dry run"}
_START: Final = re.compile(rb"(# |<!doctype html>.*?<title>)Invitation (sweep|restore)", re.DOTALL)
"""How a report begins, in Markdown and in HTML: with one of its titles."""


def is_report(start: bytes) -> bool:
    """Return whether a file that starts so is a report."""
    return _START.match(start) is not None


def read_period(
    files: Sequence[RunFile],
    verification: Verification,
    fold: Fold,
    advisor: Advisor,
    since: datetime | None = None,
    until: datetime | None = None,
    *,
    now: datetime | None = None,
    organization: str | None = None,
) -> Document:
    """Return the report of a period.

    Memory holds three runs at most, and beyond them counts of each run and 500 rows of each table.

    Args:
        files: The files of the runs, oldest first; at least one.
        verification: Of the files.
        fold: Of their runs, by the verification.
        since: The first instant; None for 30 nights.
        until: The instant after the last one; None for the night of the newest run.
        now: The nights without a run count up to it, or to `until`; None for the newest run alone,
            as of files that are copies.
        organization: The id of the one that the report is about; None for all.

    Raises:
        UsageError: The period ends before it begins, or no run began in it.
    """
    folder = files[0].path.parent
    files = [file for file in files if file.name not in verification.left_aside]
    about_it = advisor._replace(organization=organization or "")
    instants = tuple(map(first_instant, files))
    period = find_period(instants, since, until)
    reader = PeriodReader(period, verification, fold, organization)
    reader.read(files, instants)
    newest = reader.newest
    if newest is None:
        about = f" that is about organization {organization}" if organization is not None else ""
        known = [began.date() for began in instants if began is not None]
        span = describe_span(f"{min(known)}", f"{max(known)}") if known else "an unknown time"
        raise UsageError(
            f"No run of {folder}{about} began in the period. Its runs are of {span}.",
            hint="Name another period with --since and --until; list the runs:",
            command=advisor.list_runs(),
        )
    last = None if now is None else last_night_over(now)
    if last is not None and until is not None:
        last = min(last, period.last)
    nights: tuple[Night, ...] = ()
    if len(reader.runs) > 1:  # a single run is shown as it is
        first = None  # that of the first run, unless there are earlier runs
        if organization is None and any(began and began < period.since for began in instants):
            first = period.first
        nights = tuple(nights_of(reader.runs, first=first, last=last))
    log = document_of_verification(verification, advisor, folder)
    story = story_of(newest, advisor)
    # Of a damaged file the verification says all that is known.
    of_newest = story.attention if newest.is_whole else ()
    # The newest run may be one that the verification found without an end: that is shown once.
    found = dict.fromkeys((*log.attention, *of_newest, *silence_after(nights, advisor)))
    attention = tuple(found)
    verdict = verdict_of(nights, story, attention) if nights else story.headline
    is_damaged = verification.verdict is Verdict.DAMAGED
    if is_damaged:
        verdict = Fact(Status.DAMAGED.label, f"{log.headline.text} {_DOUBT}", "bad")
    return Document(
        title=_title(reader, nights),
        headline=verdict,
        facts=tuple(_facts(newest, reader, None if is_damaged else log)),
        attention=attention,
        sections=with_content(_sections(newest, story, nights, reader, about_it)),
    )


def _title(reader: PeriodReader, nights: Sequence[Night]) -> str:
    if len(nights) > 1:
        return f"Invitation sweeps from {nights[0].day} to {nights[-1].day}"
    newest = reader.runs[-1]
    name = "Invitation sweeps"
    if len(reader.runs) == 1:
        name = _TITLES.get(newest.mode, "Invitation sweep")
    return f"{name}, {newest.day}"


def _facts(newest: RunRecord, reader: PeriodReader, log: Document | None) -> Iterator[Fact]:
    """Yield what a report is about, what is pending, and whether the log is sound.

    Args:
        log: None where it is damaged, which the verdict says.
    """
    if reader.organization is not None:
        yield Fact("Organization", name_of(reader.organization, organization_labels_of(newest)))
    if reader.scan is not None:
        scan = reader.scan
        run = f"{_run_name(scan)} of {describe_instant(scan.start.now)}"
        yield Fact("Pending", f"{pending_after(scan):,} after {run}")
    if log is not None:
        label, text, style, *_ = log.headline
        yield Fact("Audit log", f"{label.lower()}: {text}", style)
        yield from log.facts


def _run_name(run: RunRecord) -> str:
    return f"{run.mode} {run.file.label}"


# Sections ----------------------------------------------------------------------------------------


def _sections(
    newest: RunRecord,
    story: Document,
    nights: Sequence[Night],
    reader: PeriodReader,
    advisor: Advisor,
) -> Iterator[Section]:
    """Yield the nights, the newest run, and who was concerned by what."""
    yield _nights_of(nights, advisor.list_runs())
    if nights:
        yield Section("The newest run", (story.headline, *story.facts))
    else:
        yield Section("The run", story.facts)
    yield from story.sections
    if newest.is_whole:
        yield unread_section(newest, advisor_of(newest, advisor), MAX_TABLE_ROWS)
    if reader.scan is not None:
        yield from _pending(reader, reader.scan, advisor)
    yield from _of_period(reader, advisor.list_runs)
    labels = organization_labels_of(newest)
    accounts = tuple(reader.accounts())
    yield Section.of("Accounts", "accounts", _accounts(labels), accounts, advisor.list_runs())
    yield Section("Remarks", sentences=story.remarks)


def _pending(reader: PeriodReader, run: RunRecord, advisor: Advisor) -> Iterator[Section]:
    """Yield who was pending in a sweep or a dry run.

    A deletion that a sweep sent is in the tables of the period.
    """
    list_run = advisor_of(run, advisor).list_run
    as_of = ""
    if run is not reader.newest:  # such as before a restore
        as_of = f", as of {_run_name(run)}"
    is_dry_run = run.mode == "dry-run"
    planned = sorted_rows(row for row in rows_of(run) if not row.outcome)  # nothing was sent
    caption = "Invitations that would be deleted" if is_dry_run else "Planned, and nothing was sent"
    yield Section.of(f"{caption}{as_of}", "invitations", PEOPLE, planned, list_run())
    if is_dry_run:
        caption = f"{WOULD_BE_ANNOUNCED_CAPTION}{as_of}"
        command = list_run("--event", WouldBeAnnounced.event)
        yield Section.of(caption, "due", PEOPLE, announced_rows(run), command)
    command = list_run("--event", Kept.event)
    yield Section.of(f"{KEPT_CAPTION}{as_of}", "kept", PEOPLE, kept_rows(run), command)


def _of_period(reader: PeriodReader, list_runs: Callable[..., str]) -> Iterator[Section]:
    """Yield what the runs of a period did to whom, and under which policy, the newest first.

    Args:
        list_runs: Returns the command that lists the runs, or with a filter their lines.
    """
    for key, caption, newest, event in (
        ("deletions", "Planned deletions and what became of them", reader.deletions, OutcomeLine),
        ("announced", ANNOUNCED_CAPTION, reader.announced, Announced),
        ("restored", "Invitations of restores and what became of them", reader.restored, Intent),
    ):
        command = list_runs("--event", event.event)
        table = Section.of(caption, key, PEOPLE, newest.rows(), command)
        yield table._replace(total=newest.total, facts=meanings_of(newest.rows()))
    entries = tuple(reader.entries())
    caption = "Invitations that each keep entry kept"
    yield Section.of(caption, "entries", _ENTRIES, entries[::-1], list_runs())
    if len(reader.runs) > 1:  # of a single run, the table of what it kept has them
        caption = "Kept by an entry of the policy"
        command = list_runs("--event", Kept.event)
        kept = tuple(reader.kept.values())
        yield Section.of(caption, "kept-by", PEOPLE, kept[::-1], command)
    given = [run for run in reversed(reader.runs) if run.reason is not None]
    yield Section.of("Reasons that were given", "reasons", _REASONS, given, list_runs())
    policies = tuple(reader.policies())[::-1]
    table = Section.of("Policies in force", "policies", _POLICIES, policies, list_runs())
    yield table._replace(texts=tuple(_texts_of(policies)))


def _nights_of(nights: Sequence[Night], command: str) -> Section:
    """Return the nights, with a picture of several."""
    caption = ""
    picture = None
    if len(nights) == 1:
        caption = f"The night of {nights[0].day}"
    elif nights:
        caption = f"The nights from {nights[0].day} to {nights[-1].day}"
        picture = picture_of(nights)
    return Section.of(caption, "nights", _NIGHTS, nights[::-1], command)._replace(picture=picture)


def _texts_of(policies: Iterable[PolicyInForce]) -> Iterator[Fact]:
    """Yield what was changed in each policy, and its text."""
    for policy in policies:
        noun = plural_form(len(policy.runs), "run", "runs")
        runs = f"The policy of {noun} {policy.numbers}"
        if policy.change:
            yield Fact(f"{runs}: what was changed", policy.change)
        if policy.text is not None:
            yield Fact(f"{runs}: its text", policy.text)


# Columns -----------------------------------------------------------------------------------------


def _number(value: int | None) -> str:
    return "not known" if value is None else f"{value:,}"


def _count(name: str, night: Night) -> str:
    return _number(night.number(name))


def _pending_of(night: Night) -> str:
    if night.scan is None:
        return _number(None)
    note = "" if night.scan.is_whole else " (not all lists read)"
    return f"{_number(night.scan.pending)}{note}"


def _ended(night: Night) -> Cell:
    """Return how its best sweep ended, and how many others were not done."""
    best = night.deciding[0]
    return Cell("; ".join((best.text, *night.others)), best.status.style)


_ENTRIES: Final[tuple[Column[KeepEntry], ...]] = (
    Column("From", lambda entry: entry.runs[0].day, "date"),
    Column("To", lambda entry: entry.runs[-1].day, "date"),
    Column("Entry", lambda entry: entry.reason.partition(":")[2]),
    Column("Kept at most", lambda entry: _number(max(entry.counts)), "number"),
    Column("Kept last", lambda entry: _number(entry.counts[-1]), "number"),
    Column("Runs", lambda entry: _number(len(entry.runs)), "number"),
)
_NIGHTS: Final[tuple[Column[Night], ...]] = (
    Column("Night", lambda night: str(night.day), "date"),
    Column("Runs", lambda night: ", ".join(night.labels) or "none"),
    *(Column(upper_first(name), partial(_count, name), "number") for name in COUNTED),
    Column("Pending", _pending_of, "number"),
    Column("Outcome", _ended),
)
_REASONS: Final[tuple[Column[NightRun], ...]] = (
    Column("Night", lambda run: run.day, "date"),
    Column("Run", lambda run: run.label),
    Column("Reason", lambda run: run.reason),
)


def _accounts(labels: Mapping[str, str]) -> tuple[Column[SweptAccount], ...]:
    """Return the columns of accounts; `labels` are those of the organizations, by id."""
    return (
        Column("From", lambda account: account.runs[0].day, "date"),
        Column("To", lambda account: account.runs[-1].day, "date"),
        Column("Organization", lambda account: name_of(account.org_id, labels)),
        Column("Account", lambda account: account.name, "code"),
    )


_POLICIES: Final[tuple[Column[PolicyInForce], ...]] = (
    Column("In force", lambda policy: policy.nights, "date"),
    Column("Runs", lambda policy: policy.numbers),
    Column("Policy", lambda policy: policy.runs[-1].policy_path),
    Column("SHA-256", lambda policy: policy.sha256, "code"),
)
