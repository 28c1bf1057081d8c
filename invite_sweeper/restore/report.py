"""The records of a restore in the audit log, its result and its exit code."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

from invite_sweeper.audit import (
    AuditLog,
    Intent,
    InvitationFields,
    OpenIntent,
    OutcomeLine,
    RestoreCounts,
    RestoreFinished,
    error_fields,
)
from invite_sweeper.endings import Advisor, ExitCode, Reason
from invite_sweeper.errors import AuditLogError, ErrorParts, RunError
from invite_sweeper.models import OrganizationName
from invite_sweeper.restore.deletions import DeletedInvitation, RestoreOutcome, RestoreResult


class RestoreRecorder:
    """Writes the `intent` and `outcome` records of one restore.

    The invitation's fields are those of the deleted one, its old id included.

    Args:
        now: From which ages are counted.
    """

    def __init__(self, log: AuditLog, now: datetime) -> None:
        self._log = log
        self._now = now

    def write_intent(self, deleted: DeletedInvitation) -> None:
        """Record that a POST is about to be sent; `sync` writes it to disk."""
        line = Intent.from_invitation(
            deleted.invitation, self._now, rule=deleted.rule, restores=deleted.run_id
        )
        self._log.write(line)

    def write_outcome(
        self, deleted: DeletedInvitation, result: RestoreResult, duration_ms: float
    ) -> None:
        """Record the outcome of one invitation."""
        line = OutcomeLine.from_invitation(
            deleted.invitation,
            self._now,
            rule=deleted.rule,
            restores=deleted.run_id,
            outcome=result.outcome,
            attempts=result.attempts,
            http_status=result.http_status,
            error_code=result.error_code,
            duration_ms=round(duration_ms, 1),
        )
        self._log.write(line)

    def write_unresolved(self, intent: OpenIntent) -> None:
        """Record that the result of a POST of a killed restore is unknown.

        Users that are invited or members by now are skipped; the others are invited again.
        """
        line = OutcomeLine.from_invitation(
            intent.invitation,
            self._now,
            rule=intent.rule,
            outcome=RestoreOutcome.UNKNOWN,
            attempts=0,
            http_status=None,
            error_code=None,
            duration_ms=None,
            recovered=True,
            recovers=intent.run_id,
        )
        self._log.write(line)

    async def sync(self) -> None:
        """Return when all records are on disk."""
        await self._log.sync()


_INCOMPLETE_OUTCOMES = (RestoreOutcome.FAILED, RestoreOutcome.UNKNOWN, RestoreOutcome.SKIPPED)
_COPIED_FIELDS = ("requests", "retries", "rate_limited", "duration_s")


def is_added(deleted: DeletedInvitation, result: RestoreResult) -> bool:
    """Return whether a user became an active member who had not been one before."""
    return result.outcome is RestoreOutcome.ACTIVE and not deleted.was_member


class RestoredInvitation(InvitationFields, frozen=True, kw_only=True):
    """A deleted invitation, and what a restore made of it.

    Attributes:
        outcome: As in the audit log; `would_restore` in a dry run.
    """

    deleted_by_run: str
    outcome: str
    http_status: int | None
    error_code: str | None
    reason: str | None


class UncertainInvitation(InvitationFields, frozen=True, kw_only=True):
    """A deletion that Atlas did not confirm.

    Attributes:
        known: What is known about it.
    """

    deleted_by_run: str
    known: str


class RestoreSummary(RestoreCounts, frozen=True, kw_only=True):
    """The result of `restore`.

    Attributes:
        now: The one instant of the run.
        deleted_by_run: The run whose deletions are restored; None without deletions.
        error: What stopped the restore; None when it completed.
        advice: What to do about reasons that are not an error, with exact commands.
    """

    run_id: str
    mode: Literal["restore"] = "restore"
    now: datetime
    audit_log: str
    base_url: str
    organizations: Sequence[OrganizationName]
    deleted_by_run: str | None
    error: ErrorParts | None
    exit_code: int
    reasons: Sequence[Reason]
    advice: Sequence[str]
    warnings: Sequence[str]
    invitations: Sequence[RestoredInvitation]
    uncertain_invitations: Sequence[UncertainInvitation]


@dataclass(slots=True)
class RestoreReport:
    """The state and result of one restore.

    Attributes:
        deletions: The selected deletions of the run to undo.
        base_url: Of Atlas.
        advisor: The facts that advice is made of, but for the log.
        uncertain: Deletions in doubt that are not restored, of users that are still missing.
        warnings: Sentences for the operator.
        organization_names: As earlier runs recorded them, by id.
        to_restore: Those of users that are still missing.
        results: The result of each; in a dry run, only of those that need no invitation.
        reached_atlas: The lists were read, so there is a result to show.
        declined: The user did not confirm.
        reasons: Why the restore did not do everything; empty if it did.
    """

    run_id: str
    now: datetime
    dry_run: bool
    audit_log: str
    deletions: Sequence[DeletedInvitation]
    base_url: str = ""
    advisor: Advisor = field(default_factory=Advisor)
    uncertain: Sequence[DeletedInvitation] = ()
    warnings: Sequence[str] = ()
    organization_names: Mapping[str, str] = field(default_factory=dict)
    to_restore: Sequence[DeletedInvitation] = ()
    results: Mapping[DeletedInvitation, RestoreResult] = field(default_factory=dict)
    reached_atlas: bool = False
    declined: bool = False
    requests: int = 0
    retries: int = 0
    rate_limited: int = 0
    duration_s: float = 0.0
    error: RunError | None = None
    exit_code: int = 0
    reasons: tuple[Reason, ...] = ()

    @property
    def outcomes(self) -> Counter[RestoreOutcome]:
        """Return the number of results by outcome."""
        return Counter(result.outcome for result in self.results.values())

    @property
    def organizations(self) -> tuple[str, ...]:
        """Return the ids of the organizations of all deletions, sorted."""
        both = (*self.deletions, *self.uncertain)
        return tuple(sorted({each.invitation.org_id for each in both}))

    @property
    def undone_run(self) -> str | None:
        """Return the run whose deletions are restored; None without deletions."""
        return next((each.run_id for each in (*self.deletions, *self.uncertain)), None)

    @property
    def added(self) -> tuple[DeletedInvitation, ...]:
        """Return the deletions of pending users that Atlas added as active members instead."""
        return tuple(each for each, result in self.results.items() if is_added(each, result))

    @property
    def is_incomplete(self) -> bool:
        """Whether an invitation failed, was not sent, or has an unknown result."""
        return any(self.outcomes[outcome] for outcome in _INCOMPLETE_OUTCOMES)

    @property
    def advice(self) -> tuple[str, ...]:
        """Return what to do about reasons that are not an error, with exact commands."""
        return () if self.error is not None else self._advisor.advise(self.reasons)

    @property
    def _advisor(self) -> Advisor:
        return replace(self.advisor, audit_log=self.audit_log, run_id=self.run_id)

    async def finish(self, log: AuditLog | None, error: RunError | None) -> None:
        """Write `run_finished`; if that fails, the restore ends with the exit code 7."""
        self._set_end(error)
        if log is None:
            return
        try:
            ended = error_fields(self.error.to_json() if self.error is not None else None)
            names = self.organization_names
            known = {each: names[each] for each in self.organizations if each in names}
            finished = RestoreFinished(
                **self._totals(),
                organization_names=known,
                reasons=self.reasons,
                **ended,
                exit_code=self.exit_code,
            )
            log.write(finished)
            await log.sync()
        except AuditLogError as log_error:
            self._set_end(error if isinstance(error, AuditLogError) else log_error)

    def summary(self) -> RestoreSummary:
        """Return what `--output json` writes."""
        return RestoreSummary(
            run_id=self.run_id,
            now=self.now,
            audit_log=self.audit_log,
            base_url=self.base_url,
            organizations=[
                OrganizationName(each, self.organization_names.get(each))
                for each in self.organizations
            ],
            deleted_by_run=self.undone_run,
            **self._totals(),
            error=self.error.to_json() if self.error is not None else None,
            exit_code=self.exit_code,
            reasons=self.reasons,
            advice=self.advice,
            warnings=self.warnings,
            invitations=[self._restored(each) for each in self.deletions],
            uncertain_invitations=[
                UncertainInvitation.from_invitation(
                    each.invitation, self.now, deleted_by_run=each.run_id, known=each.doubt
                )
                for each in self.uncertain
            ],
        )

    def outcome_of(self, deleted: DeletedInvitation) -> str:
        """Return the outcome of one deletion, or what a restore would do."""
        result = self.results.get(deleted)
        if result is not None:
            return result.outcome.value
        return "would_restore" if deleted in self.to_restore else RestoreOutcome.SKIPPED.value

    def _restored(self, deleted: DeletedInvitation) -> RestoredInvitation:
        result = self.results.get(deleted, RestoreResult(RestoreOutcome.SKIPPED))
        return RestoredInvitation.from_invitation(
            deleted.invitation,
            self.now,
            deleted_by_run=deleted.run_id,
            outcome=self.outcome_of(deleted),
            http_status=result.http_status,
            error_code=result.error_code,
            reason=result.reason or None,
        )

    def _totals(self) -> dict[str, Any]:
        outcomes = self.outcomes
        return {
            "dry_run": self.dry_run,
            "wanted": len(self.deletions),
            "to_restore": len(self.to_restore),
            "uncertain": len(self.uncertain),
            **{outcome.value: outcomes[outcome] for outcome in RestoreOutcome},
            **{name: getattr(self, name) for name in _COPIED_FIELDS},
        }

    def _set_end(self, error: RunError | None) -> None:
        self.error = error
        if error is not None:
            self.exit_code, self.reasons = int(error.exit_code), error.reasons
            error.hint = error.hint or self._advisor.hint(error.exit_code, error.reasons)
            return
        found = (Reason.NOT_INVITED, self.is_incomplete), (Reason.MADE_ACTIVE, self.added)
        self.reasons = tuple(reason for reason, count in found if count)
        self.exit_code = int(ExitCode.PARTIAL if self.reasons else ExitCode.DONE)
