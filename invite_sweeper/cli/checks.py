"""The checks of `doctor`, what they mean for the next sweep, and the output."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import groupby
from typing import Final, Literal

import msgspec
from rich.console import Console
from rich.text import Text

from invite_sweeper.endings import ExitCode
from invite_sweeper.errors import Interrupted, RunError
from invite_sweeper.report.people import OrganizationName
from invite_sweeper.report.sending import NotSent
from invite_sweeper.report.terminal import print_trimmed, two_columns
from invite_sweeper.text import escape_unprintable, organization_label, pluralize


class Check(msgspec.Struct, frozen=True):
    """One check of `doctor`.

    Attributes:
        check: What was checked.
        state: After a warning a sweep would run, but may not do everything that is expected.
        message: What was found.
        hint: What to do about it; empty if nothing.
        organization: The id of the organization that it is about; None if about all.
        exit_code: What a sweep would end with; 0 unless failed.
    """

    check: str
    state: Literal["ok", "warning", "failed"]
    message: str
    hint: str = ""
    organization: str | None = None
    exit_code: int = 0


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

    def add(self, name: str, message: str, hint: str = "", *, warns: bool = False) -> None:
        """Add a check that passed, or that warns; only one that warns has a hint."""
        state: Literal["ok", "warning"] = "warning" if warns else "ok"
        self.checks.append(Check(name, state, message, hint if warns else "", self.organization))

    def failed(self, name: str, error: RunError, exit_code: int) -> None:
        """Add a check that failed with the error that a sweep would end with, each once."""
        messages = {check.message for check in self.checks}
        parts = error.parts()
        message = parts["message"]
        if message not in messages:
            check = Check(name, "failed", message, parts["hint"], self.organization, exit_code)
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
                self.add(name, error.message, error.parts()["hint"], warns=True)
            else:
                self.failed(name, error, int(error.exit_code))

    def result(self, organizations: Sequence[OrganizationName]) -> DiagnosisResult:
        """Return the checks with the verdict."""
        failed = [check for check in self.checks if check.state == "failed"]
        warnings = sum(check.state == "warning" for check in self.checks)
        if failed:
            code = ExitCode(failed[0].exit_code)  # where the sweep would stop
            ending = f"end with exit code {code} ({code.label})"
        elif warnings:
            code = ExitCode.PARTIAL
            ending = "run, but may not do everything that is expected"
        else:
            code = ExitCode.DONE
            ending = "run"
        counts = []
        if warnings:
            counts.append(pluralize(warnings, "warning"))
        if failed:
            counts.append(f"{len(failed)} failed")
        verdict = f"{', '.join(counts) or 'All checks passed'}: a sweep would {ending}."
        return DiagnosisResult(datetime.now(UTC), verdict, organizations, self.checks, code)


_STYLES: Final = {"ok": "green", "warning": "yellow", "failed": "bold red"}


def show_checks(console: Console, result: DiagnosisResult, *, quiet: bool = False) -> None:
    """Write each check with its hint below, and the verdict; control characters are escaped.

    The checks of each organization have a heading. A terminal gets lines that are wrapped at
    words; elsewhere no line is.

    Args:
        quiet: Leave out what is right, and the verdict if everything is.
    """
    checks = result.checks
    if quiet:
        checks = [check for check in checks if check.state != "ok"]
        if not checks:
            return
    if not console.is_terminal:
        console.width = 1_000_000
    labels = {
        organization.id: organization_label(organization.id, organization.name)
        for organization in result.organizations
    }
    for org_id, group in groupby(checks, key=lambda check: check.organization):
        if org_id is not None:
            console.print(Text(escape_unprintable(f"organization {labels[org_id]}"), "bold"))
        print_trimmed(console, two_columns(map(_row, group), width=len("warning")))
    console.print(Text(escape_unprintable(result.verdict), "bold"))


def _row(check: Check) -> tuple[Text, Text]:
    lines = [*check.message.split("\n"), check.hint]
    shown = [escape_unprintable(line) for line in lines if line]
    state = Text(check.state, _STYLES[check.state])
    message = Text.assemble((f"{check.check}: ", "bold"), "\n".join(shown))
    return state, message
