"""The checks of one `doctor` run, its verdict and its result."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

import msgspec

from invite_sweeper.endings import ExitCode
from invite_sweeper.errors import RunError
from invite_sweeper.models import OrganizationName
from invite_sweeper.text import organization_label, pluralize


class CheckState(StrEnum):
    """The result of a check."""

    OK = "ok"
    NOTE = "note"
    """Nothing is wrong, but a date comes that requires a change of the policy."""
    WARNING = "warning"
    """A sweep would run, but may not do everything that is expected."""
    FAILED = "failed"
    """A sweep would end with the check's exit code."""


_MAX_NAMED_ORGANIZATIONS: Final = 3


@dataclass(frozen=True, slots=True)
class Check:
    """One check and its result.

    Attributes:
        name: What was checked.
        message: One sentence.
        hint: What to do about it, or "".
        exit_code: What a sweep would end with; 0 unless failed.
        organizations: Those of the credentials with which Atlas was asked, where a policy names
            several sets of credentials; else "".
    """

    name: str
    state: CheckState
    message: str
    hint: str = ""
    exit_code: ExitCode = ExitCode.DONE
    organizations: str = ""

    @property
    def needs_attention(self) -> bool:
        """Whether it is a warning or failed."""
        return self.state in {CheckState.WARNING, CheckState.FAILED}


class CheckResult(msgspec.Struct, frozen=True):
    """One check of `doctor`."""

    check: str
    state: CheckState
    message: str
    hint: str | None
    organizations: str | None


class Completeness(msgspec.Struct, frozen=True):
    """Whom Atlas's events of the last 30 days name as invited, and what became of them.

    Attributes:
        organization: Its id.
        invited: Addresses that were invited.
        listed: Those that a list shows.
        joined: Those of the others that joined.
        deleted: Those of the rest whose invitation the audit log says was deleted.
        unexplained: The addresses that are left.
        lists_complete: Whether every list could be read.
    """

    organization: str
    invited: int
    listed: int
    joined: int
    deleted: int
    unexplained: list[str]
    lists_complete: bool


class DiagnosisResult(msgspec.Struct, frozen=True):
    """The result of `doctor`.

    Attributes:
        verdict: What the checks mean for the next sweep.
        completeness: Of each organization whose events could be read.
        exit_code: What a sweep would end with; 4 if there are only warnings.
    """

    now: datetime
    verdict: str
    organizations: list[OrganizationName]
    checks: list[CheckResult]
    completeness: list[Completeness]
    exit_code: int


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All checks of one `doctor` run, in order.

    Attributes:
        organizations: Names of the policy's organizations by id; None where Atlas did not
            return one.
    """

    now: datetime
    checks: Sequence[Check]
    organizations: Mapping[str, str | None]
    completeness: Sequence[Completeness] = ()

    @property
    def exit_code(self) -> int:
        """Return the code that a sweep would end with, 4 if there are only warnings, or 0."""
        for check in self.checks:
            if check.state is CheckState.FAILED:
                return int(check.exit_code)
        warned = any(check.state is CheckState.WARNING for check in self.checks)
        return int(ExitCode.PARTIAL if warned else ExitCode.DONE)

    @property
    def verdict(self) -> str:
        """Return what the checks mean for the next sweep, in one sentence."""
        states = Counter(check.state for check in self.checks)
        warnings, failures = states[CheckState.WARNING], states[CheckState.FAILED]
        counts = [pluralize(warnings, "warning")] if warnings else []
        counts += [f"{failures} failed"] if failures else []
        labels = [organization_label(*each) for each in self.organizations.items()]
        where = f" of {', '.join(labels)}" if labels else ""
        if len(labels) > _MAX_NAMED_ORGANIZATIONS:
            where = f" of {len(labels)} organizations"
        code = ExitCode(self.exit_code)
        end = f"a sweep{where} would run"
        if failures:
            end = f"a sweep{where} would end with exit code {code} ({code.label})"
        elif warnings:
            end += ", but may not do everything that is expected"
        return f"{', '.join(counts) or 'All checks passed'}: {end}."

    def result(self) -> DiagnosisResult:
        """Return what `--output json` writes."""
        return DiagnosisResult(
            now=self.now,
            verdict=self.verdict,
            organizations=[OrganizationName(*each) for each in self.organizations.items()],
            checks=[
                CheckResult(c.name, c.state, c.message, c.hint or None, c.organizations or None)
                for c in self.checks
            ],
            completeness=list(self.completeness),
            exit_code=self.exit_code,
        )


def ok(name: str, message: str) -> Check:
    """Return a check that passed."""
    return Check(name, CheckState.OK, message)


def note(name: str, message: str, hint: str = "") -> Check:
    """Return a check that passed, with something to plan for."""
    return Check(name, CheckState.NOTE, message, hint)


def warning(name: str, message: str, hint: str = "") -> Check:
    """Return a check that warns."""
    return Check(name, CheckState.WARNING, message, hint)


def failed(name: str, error: RunError) -> Check:
    """Return a check that failed with the error that a sweep would end with."""
    return Check(name, CheckState.FAILED, error.message, error.hint, error.exit_code)
