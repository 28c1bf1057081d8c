"""The result of a run: what it saw and did, why it did not do everything, and its exit code.

It is the last line of the run's file, `RunFinished`, which every output takes as it is.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any, Final, Protocol

from msgspec import structs

from invite_sweeper.audit.events import (
    KeepEntry,
    OrganizationResult,
    PlanChanges,
    Planned,
    RunFinished,
    RunWarning,
)
from invite_sweeper.counts import Counts, count_values, total
from invite_sweeper.endings import ExitCode, Reason, WarningCode, WarningLevel
from invite_sweeper.errors import RunError
from invite_sweeper.models import Invitation, Outcome, Source
from invite_sweeper.sweep.command import Command, Organization, requests_of
from invite_sweeper.text import pluralize, shorten_list

_MAX_NAMED: Final = 10
MAX_WARNINGS: Final = 1000
"""Warnings that the result contains at most; the view shows all of them."""


class View(Protocol):
    """What the operator sees during a run. Its implementation is a layer above."""

    def lists_found(self, count: int, where: str) -> None:
        """Show that this number of lists will be read, too."""

    def list_done(self) -> None:
        """Show that one list was read, or could not be."""

    def deleting_started(self, deletions: int, where: str) -> None:
        """Show that this number of deletions begins."""

    def deletion_done(self, outcome: Outcome) -> None:
        """Show that one deletion ended."""

    def warn(self, warning: RunWarning) -> None:
        """Show a warning or remark; the run continues."""

    async def confirms(self, result: RunFinished) -> bool:
        """Show the plan and return whether the operator agrees to it."""


class Result:
    """Collects what becomes known during one run.

    Attributes:
        error: What stopped the run as a whole; None while nothing did.
        stopped_by: Why deletions were skipped although no error stopped the run.
        removed_members: The username of each active member that this run removed, or whose
            removal by an interrupted run it found.
        plan_made: The plan of the run is complete and on disk.
        changes: It compared with the last one; None if there is none.
        question_s: How long the question was open.
    """

    def __init__(self, command: Command, organizations: Sequence[Organization], view: View) -> None:
        self.command = command
        self.organizations = organizations
        self.view = view
        self.warnings: list[RunWarning] = []
        self.error: RunError | None = None
        self.stopped_by: list[Reason] = []
        self.removed_members: list[str] = []
        self.plan_made = False
        self.changes: PlanChanges | None = None
        self.question_s = 0.0
        today = command.now.date()
        self.warn_of(WarningCode.POLICY, *command.policy.warnings(today), level=WarningLevel.REMARK)

    def warn(self, *warnings: RunWarning) -> None:
        """Show warnings and record them, each once."""
        for each in warnings:
            if each not in self.warnings:
                if len(self.warnings) < MAX_WARNINGS:
                    self.warnings.append(each)
                self.view.warn(each)

    def warn_of(
        self, code: WarningCode, *messages: str, level: WarningLevel = WarningLevel.WARNING
    ) -> None:
        """Show warnings of one kind and record them."""
        self.warn(*(RunWarning(code, message, level) for message in messages))

    def report_ends(self, organizations: Iterable[Organization]) -> None:
        """Report lists that Atlas has retired or will retire soon.

        The last announcement of a day counts. One that is retired before it is a reason of the
        run's end; after it nothing is wrong, and the other lists of the policy go on.
        """
        command, sources, found = self.command, self.command.policy.sources, tuple(organizations)
        sunsets = {s: day for each in found for s, day in each.client.sunsets.items()}
        retired = {s: each for one in found for s, each in one.retired.items()}
        last_days = LAST_KNOWN_ENDS | command.history.sunsets(command.base_url) | sunsets
        today = command.now.date()
        for source, each in retired.items():
            ended = source in last_days and last_days[source] <= today
            when = "as announced" if ended else "before the day that was announced"
            text = f"{each.reason.removesuffix('.')}, {when}. {source.replacement_hint(sources)}"
            level = WarningLevel.REMARK if ended else WarningLevel.URGENT
            self.warn_of(WarningCode.RETIRED_SOURCE, text, level=level)
            if not ended:
                self.stopped_by.append(Reason.RETIRED_SOURCE)
        upcoming = {source: day for source, day in sunsets.items() if source not in retired}
        self.warn(*sunset_warnings(upcoming, sources, today))

    def removed_member(self, event: Invitation) -> None:
        """Report at once that a user accepted while the DELETE was in flight, and was removed."""
        who, where = event.username or event.invitation_id, event.project_name or event.org_id
        self.removed_members.append(event.username or "")
        self.warn_of(
            WarningCode.REMOVED_MEMBER,
            f"{who} accepted while the deletion was in flight and was removed from {where} as an "
            "active member.",
            level=WarningLevel.URGENT,
        )

    def unverified(self, count: int) -> None:
        """Warn that the status of removed users could not be checked afterwards."""
        if count:
            self.warn_of(
                WarningCode.UNVERIFIED,
                f"{count} of the removed users could not be checked afterwards: they may have "
                "accepted just before. The check requires the role Organization Member.",
            )

    def still_listed(self, found: Sequence[Planned]) -> None:
        """Warn that invitations are still in a list although an answer said otherwise."""
        if not found:
            return
        named = [
            f"{each.username or each.invitation_id} ({each.project_name or each.org_id})"
            for each in found
        ]
        self.warn_of(
            WarningCode.STILL_THERE,
            f"Atlas's lists still contain {pluralize(len(found), 'invitation')} after a response "
            f"that said otherwise: {shorten_list(named, _MAX_NAMED)}. Run the command again "
            "later; if they stay, ask MongoDB support.",
            level=WarningLevel.URGENT,
        )

    def finished(self) -> RunFinished:
        """Return what is known so far, as the last line of the run says it."""
        command, policy, organizations = self.command, self.command.policy, self.organizations
        results, planned = self._organization_results(), [o for o in organizations if o.is_planned]
        code, error, reasons = self._end(results)
        counts, sources = total(results), policy.sources
        oldest = min((each.oldest for each in planned if each.oldest), default=None)
        # A list whose replacements the policy reads can end without a change of the policy.
        needed = [each for each in sources if not each.is_replaced_by(sources)]
        ends = [day for each in organizations if (day := each.client.sunset(needed)) is not None]
        return RunFinished(
            **count_values(counts),
            requests=sum(each.requests for each in results),
            retries=sum(each.retries for each in results),
            rate_limited=sum(each.rate_limited for each in results),
            duration_s=round(command.clock() - command.started_s - self.question_s, 3),
            exit_code=int(code),
            error=error.to_json() if error is not None else None,
            reasons=reasons,
            warnings=tuple(self.warnings),
            plan_made=self.plan_made,
            plan_complete=self.plan_made and all(each.plan_complete for each in results),
            changes=self.changes,
            sources_retired=tuple({s.value: None for each in organizations for s in each.retired}),
            oldest_pending_days=round((command.now - oldest) / _DAY, 1) if oldest else None,
            sunset=min(ends).isoformat() if ends else None,
            sunsets={
                source.value: day.isoformat()
                for each in organizations
                for source, day in each.client.sunsets.items()
            },
            members={e.id: len(e.members) for e in organizations if e.members is not None},
            removed_members=tuple(dict.fromkeys(filter(None, self.removed_members))),
            keep_entries=tuple(
                KeepEntry(
                    name=entry.name,
                    reason=entry.reason,
                    until=entry.until.isoformat() if entry.until else None,
                    matched=counts.kept_by_reason.get(f"keep:{entry.name}", 0),
                )
                for entry in (policy.keep if self.plan_made else ())
            ),
            organizations=results,
            lists=tuple(read for each in planned for read in each.list_results(sources)),
        )

    def _organization_results(self) -> tuple[OrganizationResult, ...]:
        """Return the result of each organization."""
        found, requests = [], requests_of(self.organizations)
        retired_early = Reason.RETIRED_SOURCE in self.stopped_by
        for each in self.organizations:
            counts = each.counts + Counts(**dict[str, Any](each.outcomes))
            counts = structs.replace(counts, not_verified=counts.deleted - counts.verified)
            error = each.error or self.error
            is_told = counts.skipped or len(self.organizations) == 1
            reasons = _reasons(counts, self.stopped_by if is_told else ())
            made = each.is_planned and (self.plan_made or error is None)
            found.append(
                OrganizationResult(
                    **count_values(counts),
                    id=each.id,
                    name=each.name,
                    exit_code=int(
                        self._code(counts, reasons) if error is None else error.exit_code
                    ),
                    error=error.to_json() if error is not None else None,
                    reasons=reasons if error is None else error.reasons,
                    visible=each.visible,
                    plan_made=made,
                    plan_complete=made and not (each.unread or retired_early),
                    **requests.get(each.id, {}),
                )
            )
        return tuple(found)

    def _end(
        self, results: Sequence[OrganizationResult]
    ) -> tuple[ExitCode, RunError | None, tuple[str, ...]]:
        """Return the exit code of the run, the error that stopped it, and the reasons."""
        if self.error is not None:
            return self.error.exit_code, self.error, self.error.reasons
        errors = [each.error for each in self.organizations if each.error is not None]
        told = (reason for each in results for reason in each.reasons)
        reasons = tuple(dict.fromkeys((*told, *self.stopped_by)))
        if errors and len(errors) == len(results):
            worst = min(errors, key=lambda each: _WORST_FIRST.index(each.exit_code))
            return worst.exit_code, worst, reasons
        if errors:
            return ExitCode.PARTIAL, errors[0], reasons
        return self._code(total(results), reasons), None, reasons

    def _code(self, counts: Counts, reasons: Sequence[str]) -> ExitCode:
        if reasons or counts.skipped:
            return ExitCode.PARTIAL
        detailed = self.command.detailed_exit_code and self.command.dry_run
        return ExitCode.STALE if detailed and counts.stale else ExitCode.DONE


_DAY: Final = timedelta(days=1)
_WORST_FIRST: Final = (
    *(ExitCode.INTERRUPTED, ExitCode.AUDIT, ExitCode.DEFECT, ExitCode.CREDENTIALS),
    *(ExitCode.UNREACHABLE, ExitCode.REFUSED, ExitCode.PARTIAL, ExitCode.USAGE),
    *(ExitCode.LOCKED, ExitCode.STALE, ExitCode.DONE),
)


def _reasons(counts: Counts, stopped_by: Iterable[Reason]) -> tuple[Reason, ...]:
    """Return why a run without an error did not do everything."""
    found = (
        (Reason.MISSING_ROLE, counts.missing_role),
        (Reason.UNREADABLE_PROJECTS, counts.projects_unreadable),
        (Reason.FAILED_DELETIONS, counts.failed),
        (Reason.UNKNOWN_DELETIONS, counts.unknown),
        (Reason.REMOVED_MEMBER, counts.accepted_during),
        (Reason.STILL_THERE, counts.still_there),
    )
    return tuple(dict.fromkeys((*(reason for reason, count in found if count), *stopped_by)))


# What ends: a list, as Atlas announces it and as its 410 says, and the secret of an account.

LAST_KNOWN_ENDS: Final = {
    Source.INVITES: date(2027, 7, 1),
    Source.ORG_INVITES: date(2027, 7, 1),
}
"""The ends that Atlas had announced when this version was made.

Source: `x-sunset` in the OpenAPI document of 2026-08-21. The day has moved three times, so it
holds only where neither a `Sunset` header nor the audit log has another one.
"""
SUNSET_WARNING_DAYS: Final = 180
"""Runs warn this long before a list ends: time to change a policy and to watch the result."""
SUNSET_URGENT_DAYS: Final = 30


def sunset_warnings(
    sunsets: Mapping[Source, date], sources: Collection[Source], today: date
) -> Iterator[RunWarning]:
    """Warn about each list that Atlas will stop serving, from 180 days before.

    It is a remark for a policy that has nothing to change.

    Args:
        sunsets: The day that Atlas named, by source.
        sources: Of the policy.
        today: The day of the run.
    """
    for source, day in sorted(sunsets.items()):
        left = (day - today).days
        if left > SUNSET_WARNING_DAYS:
            continue
        text = f"Atlas announced {day} as the last day of the list {source}."
        if left > 0:
            text = f"Atlas stops serving the list {source} on {day}, in {pluralize(left, 'day')}."
        is_urgent = left <= SUNSET_URGENT_DAYS and not source.is_replaced_by(sources)
        level = WarningLevel.URGENT if is_urgent else WarningLevel.REMARK
        text = f"{text} {source.replacement_hint(sources)}"
        yield RunWarning(WarningCode.SUNSET, text, level)


SECRET_WARNING_DAYS: Final = 14


def secret_warnings(expiries: Sequence[datetime], now: datetime) -> tuple[RunWarning, ...]:
    """Warn about a secret that ends soon, unless it has ended: then another one is in use.

    Args:
        expiries: When the secrets of the service account expire, the first one first.
        now: The instant of the run.

    Source: Atlas documentation of service accounts (read 2026-11).
    """
    live = [each for each in expiries if each > now]
    if not live or live[0] - now >= (SECRET_WARNING_DAYS + 1) * _DAY:
        return ()
    left = pluralize((live[0] - now) // _DAY, "day")
    other = f"; another one ends on {live[-1]:%Y-%m-%d}" if len(live) > 1 else ""
    return (
        RunWarning(
            WarningCode.SECRET,
            f"A secret of the service account ends on {live[0]:%Y-%m-%d}, in {left}{other}. "
            "A new secret leaves the old one at most 7 days. Atlas's own alert covers service "
            "accounts of an organization only.",
        ),
    )
