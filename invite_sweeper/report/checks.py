"""The checks of `doctor`: what they mean for the next sweep, and as a document."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import groupby
from typing import Final, Literal, TypeAlias

import msgspec

from invite_sweeper.endings import ExitCode, Style
from invite_sweeper.errors import Interrupted, RunError
from invite_sweeper.report.document import Document, Fact, Section
from invite_sweeper.report.people import OrganizationName
from invite_sweeper.report.receivers.sending import NotSent
from invite_sweeper.text import Hint, escape_unprintable, organization_label, pluralize

State: TypeAlias = Literal["ok", "warning", "failed"]


class Check(msgspec.Struct, frozen=True):
    """One check of `doctor`.

    Attributes:
        check: What was checked.
        state: After a warning a sweep would run, but may not do everything that is expected.
        message: What was found.
        hint: What to do about it, with the command; empty if nothing.
        organization: The id of the organization that it is about; None if about all.
        exit_code: What a sweep would end with; 0 unless failed.
        command: The command at the end of the hint; empty without one.
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


class Checks:
    """Collects checks, in their order.

    Attributes:
        checks: Those so far.
        organization: That of the checks that follow; None if they are about all.
    """

    def __init__(self) -> None:
        self.checks: list[Check] = []
        self.organization: str | None = None

    def add(
        self, name: str, message: str, hint: str = "", command: str = "", *, warns: bool = False
    ) -> None:
        """Add a check that passed, or that warns; only one that warns has a hint."""
        if warns:
            self._add(name, "warning", message, hint, command)
        else:
            self._add(name, "ok", message)

    def failed(self, name: str, error: RunError, exit_code: int) -> None:
        """Add a check that failed with the error that a sweep would end with, each once."""
        if all(check.message != error.message for check in self.checks):
            self._add(name, "failed", error.message, error.hint, error.command, exit_code)

    def _add(
        self,
        name: str,
        state: State,
        message: str,
        hint: str = "",
        command: str = "",
        exit_code: int = 0,
    ) -> None:
        hint = Hint(hint, command).sentence
        check = Check(name, state, message, hint, self.organization, exit_code, command)
        self.checks.append(check)

    @contextmanager
    def step(self, name: str, *, warns: bool = False) -> Iterator[None]:
        """Take a step of a sweep: an error is a failed check, and the rest of the step is left.

        Args:
            warns: A sweep only warns of the error and continues, as of a message that is not sent.
        """
        try:
            yield
        except Interrupted:
            raise
        except NotSent as error:
            self.add(name, f"It would get nothing: {error}.", error.fix, warns=True)
        except RunError as error:
            if warns:
                self.add(name, error.message, error.hint, error.command, warns=True)
            else:
                self.failed(name, error, int(error.exit_code))

    def result(self, now: datetime, organizations: Sequence[OrganizationName]) -> DiagnosisResult:
        """Return the checks with the verdict."""
        headline, code = _verdict(self.checks)
        verdict = f"{headline.label}: {headline.text}"
        return DiagnosisResult(now, verdict, organizations, self.checks, code)


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
_WIDTH: Final = len("warning")


def document_of_checks(result: DiagnosisResult, *, with_passed: bool = True) -> Document:
    """Return each check with its hint below, those of an organization together, and the verdict.

    Args:
        with_passed: Not only what is not right.
    """
    labels = {
        organization.id: organization_label(organization.id, organization.name)
        for organization in result.organizations
    }
    shown = [check for check in result.checks if with_passed or check.state != "ok"]
    facts: list[Fact] = []
    for org_id, checks in groupby(shown, key=lambda check: check.organization):
        if org_id is not None:
            facts.append(Fact("", f"organization {labels[org_id]}", "strong"))
        facts += (fact for check in checks for fact in _facts_of(check))
    headline, _ = _verdict(result.checks)
    return Document(headline, sections=(Section(facts=tuple(facts)),))


def _facts_of(check: Check) -> Iterator[Fact]:
    """Yield a check with its hint, and the command of it by itself, so that it can be copied."""
    hint = check.hint.removesuffix(check.command).rstrip()
    lines = [f"{check.check}: {check.message}", *filter(None, [hint])]
    text = "\n".join(escape_unprintable(part) for line in lines for part in line.split("\n"))
    yield Fact(check.state.ljust(_WIDTH), text, _STYLES[check.state])
    if check.command:
        yield Fact(" " * (_WIDTH + 2), escape_unprintable(check.command), is_whole=True)
