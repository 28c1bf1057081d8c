"""Verdicts as documents: of `doctor` about the next sweep, of `audit verify` about the log."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final, Literal, TypeAlias

import msgspec

from invite_sweeper.audit import Verdict, Verification
from invite_sweeper.audit.events import MissingAccepted
from invite_sweeper.audit.record import Recovered, Unfinished
from invite_sweeper.endings import DAMAGED_ADVICE, ExitCode, Style
from invite_sweeper.errors import Advisor
from invite_sweeper.report.document import Attention, Document, Fact, Section, describe_instant
from invite_sweeper.report.people import OrganizationName
from invite_sweeper.report.story import describe_recovery, run_without_end
from invite_sweeper.report.table import Cell, Column, Table
from invite_sweeper.text import Hint, escape_unprintable, plural_form, pluralize

State: TypeAlias = Literal["ok", "warning", "failed"]


class Check(msgspec.Struct, frozen=True):
    """One check of `doctor`.

    Attributes:
        check: What was checked.
        state: After a warning a sweep would run, but may not do everything that is expected.
        message: What was found.
        hint: What to do about it; empty if nothing.
        organization: The id of the organization that it is about; None if about all.
        exit_code: What a sweep would end with; 0 unless failed.
        command: What does that, to be copied; empty without one.
    """

    check: str
    state: State
    message: str
    hint: str = ""
    organization: str | None = None
    exit_code: int = 0
    command: str = ""


class DiagnosisResult(msgspec.Struct, frozen=True):
    """The result of `doctor`.

    Attributes:
        verdict: What the checks mean for the next sweep.
        exit_code: What a sweep would end with; 4 if there are only warnings.
    """

    now: datetime
    verdict: str
    organizations: Sequence[OrganizationName]
    checks: Sequence[Check]
    exit_code: int


def diagnosis_of(
    checks: Sequence[Check], now: datetime, organizations: Sequence[OrganizationName]
) -> DiagnosisResult:
    """Return the checks with the verdict."""
    headline, code = _verdict(checks)
    return DiagnosisResult(now, headline.sentence, organizations, checks, code)


def _verdict(checks: Sequence[Check]) -> tuple[Fact, ExitCode]:
    """Return what the checks mean for the next sweep, and the exit code of `doctor`."""
    failed = [check for check in checks if check.state == "failed"]
    warnings = sum(check.state == "warning" for check in checks)
    counts = []
    if warnings:
        counts.append(pluralize(warnings, "warning"))
    if failed:
        code = ExitCode(failed[0].exit_code)  # where the sweep would stop
        counts.append(f"{len(failed)} failed")
        text = f"a sweep would end with exit code {code} ({code.label})."
        return Fact(", ".join(counts), text, "bad"), code
    if warnings:
        text = "a sweep would run, but may not do everything that is expected."
        return Fact(", ".join(counts), text, "warning"), ExitCode.PARTIAL
    return Fact("All checks passed", "a sweep would run.", "good"), ExitCode.DONE


_STYLES: Final[Mapping[State, Style]] = {"ok": "good", "warning": "warning", "failed": "bad"}


def document_of_checks(result: DiagnosisResult, *, with_passed: bool = True) -> Document:
    """Return a row for each check, then what is not right with what to do, and the verdict.

    Args:
        with_passed: Not only what is not right.
    """
    names = {each.id: each.name or each.id for each in result.organizations}
    shown = [check for check in result.checks if with_passed or check.state != "ok"]
    columns: tuple[Column[Check], ...] = (
        Column("Check", lambda check: check.check),
        Column("Where", lambda check: names.get(check.organization or "")),
        Column("Found", lambda check: " ".join(check.message.split())),
        Column("Outcome", lambda check: Cell(check.state, _STYLES[check.state]), "state"),
    )
    facts = tuple(fact for check in shown if check.state != "ok" for fact in _facts_of(check))
    headline, _ = _verdict(result.checks)
    section = Section(facts=facts, table=Table.of("checks", columns, shown))
    return Document(headline, sections=(section,))


def _facts_of(check: Check) -> Iterator[Fact]:
    """Yield a check with its hint, and the command of it by itself, so that it can be copied."""
    found = f"{check.message}\n{check.hint}".rstrip()
    text = "\n".join(map(escape_unprintable, found.split("\n")))
    yield Fact(check.check, text, _STYLES[check.state])
    if check.command:
        yield Fact("  ", escape_unprintable(check.command), is_whole=True)


# The verification of an audit log -----------------------------------------------------------------


def document_of_verification(
    verification: Verification, advisor: Advisor, folder: Path | None = None
) -> Document:
    """Return the verdict, what a later run recovered, and what needs attention.

    Args:
        advisor: Makes the command that goes on with a killed run.
        folder: Files in it are named without it.
    """
    if verification.damage is not None:
        return _document_of_damage(verification.damage, folder)
    lines = (
        Fact("Last hash", verification.last_hash),
        *_recovered(verification),
        *_missing(verification),
    )
    if verification.expected_at is not None:
        expected = escape_unprintable(f"that of {verification.expected_at}")
        lines = (Fact("Expected hash", expected), *lines)
    if verification.verdict is Verdict.SOUND:
        return Document(Fact("Sound", _intact(verification), "good"), lines)
    headline = Fact("Unfinished", " ".join(_left_open(verification)), "warning")
    chain = Fact("Chain", _intact(verification))
    commands = dict.fromkeys(run.again for run in verification.unfinished)
    attention = tuple(run_without_end(words, advisor) for words in commands)
    return Document(headline, (chain, *lines), attention=attention)


def _document_of_damage(damage: str, folder: Path | None) -> Document:
    text = damage if folder is None else damage.replace(f"{folder}/", "")
    headline = Fact("Damaged", escape_unprintable(text), "bad")
    attention = Attention("The audit log does not verify", (), Hint(DAMAGED_ADVICE))
    return Document(headline, attention=(attention,))


def _intact(verification: Verification) -> str:
    """Return how many lines of how many runs are intact, and from which run on."""
    text = f"{pluralize(verification.lines, 'line')} of {pluralize(verification.files, 'run')}"
    first_run = verification.first_run or 1
    if first_run > 1:  # earlier files were moved away
        text += f", from run {first_run} on"
    return f"{text}."


def _recovered(verification: Verification) -> Iterator[Fact]:
    for run in verification.recovered:
        label = "Recovered" if run.by is not None else "Cut off"
        text = f"Run {_run_name(run)}: {describe_recovery(run)}."
        yield Fact(label, escape_unprintable(text))


def _missing(verification: Verification) -> Iterator[Fact]:
    lost = verification.missing_accepted
    if lost:
        yield Fact("Lost", f"{MissingAccepted(lost).text}, which a later run accepted.")
    if verification.left_aside:
        names = ", ".join(verification.left_aside)
        yield Fact("Left aside", f"{names}: put back, and not continued by the next file.")
    if verification.head_missing:
        yield Fact("HEAD", "It is missing: later files may be missing, too.")


def _left_open(verification: Verification) -> Iterator[str]:
    """Yield a sentence for each run that left something open."""
    for run in verification.unfinished:
        name = f"Run {_run_name(run)}"
        if run.now is not None:
            name += f", a {run.mode} of {describe_instant(run.now)},"
        text = "has no last line: it is still running, or it was killed"
        if run.sent:
            noun = "invitation" if run.mode == "restore" else "deletion"
            have = plural_form(run.intents, "has", "have")
            text = f"sent {pluralize(run.sent, noun)}, of which {run.intents:,} {have} no outcome"
        yield escape_unprintable(f"{name} {text}.")


def _run_name(run: Unfinished | Recovered) -> str:
    return str(run.run or run.file)
