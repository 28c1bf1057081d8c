"""What a run did, in numbers and sentences: `RunSummary` and `RunWarning`.

The summary is the only set of these numbers. Standard output, the `run_finished` line, the
metrics and the notifications are all rendered from it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from invite_sweeper.audit import error_fields
from invite_sweeper.audit.events import PlanChanges, PolicyDifference, Unseen, total_unseen
from invite_sweeper.counts import Counts, count_values, total
from invite_sweeper.endings import Advisor, ExitCode, Reason, RunWarning, WarningCode, WarningLevel
from invite_sweeper.errors import ErrorParts, RunError
from invite_sweeper.models import Invitation, Outcome
from invite_sweeper.policy import Keep
from invite_sweeper.sweep.changes import merge_changes
from invite_sweeper.text import organization_label, pluralize

_NOT_IN_RUN_FINISHED = frozenset(
    {"run_id", "now", "mode", "audit_log", "audit_last_hash", "checkpoint", "advice"}
)
"""The other lines of the run have the first three; the others are known from the file, or
follow from the reasons."""
NOT_ON_STDOUT = ("shard", "finished_at", "advisor")


@dataclass(frozen=True, slots=True)
class OrganizationSummary(Counts):
    """What a run saw and did in one organization; an entry of `organizations` in the JSON result.

    Attributes:
        id: The organization's id.
        name: None where Atlas did not return it.
        run_id: The run of its credentials in the audit log; organizations may share one.
        exit_code: Of this run.
        error: What stopped this run, in three parts; None when it completed.
        reasons: Why this run did not do everything; empty if it did.
        visible: False if the credentials see no project of it.
        plan_made: Whether the number of stale invitations is known: each list was read, or could
            not be.
        plan_complete: Whether every list in scope was read.
        requests: Sent with these credentials; None where other organizations share them, as
            are `retries` and `rate_limited`.
    """

    id: str
    name: str | None
    run_id: str
    exit_code: int = 0
    error: ErrorParts | None = None
    reasons: tuple[Reason, ...] = ()
    visible: bool = True
    plan_made: bool = False
    plan_complete: bool = False
    requests: int | None = None
    retries: int | None = None
    rate_limited: int | None = None

    @property
    def label(self) -> str:
        """The name with the id, or the id alone."""
        return organization_label(self.id, self.name)


@dataclass(frozen=True, slots=True)
class RunSummary(Counts):
    """What a run saw and did; the contract's `--output json`, field by field.

    Attributes:
        now: The one instant of the run, RFC 3339.
        requests: Sent to Atlas, sign-in included.
        rate_limited: Answers with status 429.
        duration_s: From the start of the run, without the time that the question was open.
        audit_last_hash: SHA-256 of the log's last line, to be kept elsewhere.
        plan_made: Whether the plan is complete: each list was read, or could not be.
        sunset: The first day on which Atlas stops serving something that the policy needs: not
            a list whose replacements it reads as well.
        sources_retired: Sources that Atlas no longer serves.
        oldest_pending_days: Age of the oldest invitation seen; None where no date was readable.
        organizations: The organizations of the policy, in its order.
        reasons: Why the run did not do everything; empty if it did.
        error: What stopped the run, in three parts; None when it completed.
        advice: What to do about reasons that are not an error, with exact commands.
        plan_complete: Whether every list in scope was read.
        warnings: What the operator should know.
        changes: What is new or gone since the last plan of the same policy; None without one.
        policy_change: What the policy changes that `quarantine` has not accepted; else None.
        unseen: Whom the policy does not see; None where it reads each list, or before the plan.
        shard: `I/N`; None where the run was not one of several. Not on stdout.
        finished_at: Aware UTC; None before the end. Not on stdout.
        advisor: The facts that advice is made of. Not on stdout.
    """

    run_id: str
    mode: str
    now: str
    requests: int = 0
    retries: int = 0
    rate_limited: int = 0
    duration_s: float = 0.0
    audit_log: str = ""
    exit_code: int = 0
    audit_last_hash: str = ""
    plan_made: bool = False
    sunset: str | None = None
    sources_retired: tuple[str, ...] = ()
    oldest_pending_days: float | None = None
    organizations: tuple[OrganizationSummary, ...] = ()
    plan_complete: bool = False
    reasons: tuple[Reason, ...] = ()
    error: ErrorParts | None = None
    advice: tuple[str, ...] = ()
    warnings: tuple[RunWarning, ...] = ()
    checkpoint: str | None = None
    changes: PlanChanges | None = None
    policy_change: PolicyDifference | None = None
    unseen: Unseen | None = None
    shard: str | None = None
    finished_at: datetime | None = None
    advisor: Advisor = field(default_factory=Advisor)

    @property
    def organization_labels(self) -> Mapping[str, str]:
        """The name with the id of each organization, by id."""
        return {each.id: each.label for each in self.organizations}

    @property
    def succeeded(self) -> bool:
        """Whether the run did everything that was asked."""
        return ExitCode(self.exit_code).succeeded

    @property
    def has_effect(self) -> bool:
        """Whether the run deleted or announced something, or a dry run found something stale."""
        attempted = any(getattr(self, outcome) for outcome in Outcome)
        return attempted or self.announced > 0 or (self.mode == "dry-run" and self.stale > 0)

    @property
    def finished_s(self) -> float:
        """The end of the run as a Unix time; 0.0 before the end."""
        return self.finished_at.timestamp() if self.finished_at is not None else 0.0

    @property
    def sunset_at(self) -> datetime | None:
        """The start of the day on which Atlas stops serving something; None where unknown."""
        if self.sunset is None:
            return None
        return datetime.combine(date.fromisoformat(self.sunset), datetime.min.time(), UTC)

    @property
    def days_to_sunset(self) -> float | None:
        """From the start of the run, negative once the day has passed; None where unknown."""
        end = self.sunset_at
        return (end - datetime.fromisoformat(self.now)) / timedelta(days=1) if end else None

    def to_json(self) -> dict[str, object]:
        """Return the object that `--output json` writes."""
        values = asdict(self)
        for key in NOT_ON_STDOUT:
            del values[key]
        values["organizations"] = [_identity_first(each) for each in values["organizations"]]
        return _identity_first(values)

    def to_run_finished(self) -> dict[str, Any]:
        """Return the fields of the `run_finished` line, `exit_code` last."""
        values = {k: v for k, v in self.to_json().items() if k not in _NOT_IN_RUN_FINISHED}
        values["organizations"] = [each.id for each in self.organizations]
        values["organization_names"] = {o.id: o.name for o in self.organizations if o.name}
        values |= error_fields(self.error)
        values["exit_code"] = values.pop("exit_code")
        return values


def _identity_first(values: Mapping[str, object]) -> dict[str, object]:
    """Return the fields with those first that say what the counts are about."""
    names = ("id", "name", "run_id", "mode", "now")
    return {**{name: values[name] for name in names if name in values}, **values}


_REQUEST_COUNTS: Final = ("requests", "retries", "rate_limited")


_PRIORITY_CODES: Final = (ExitCode.INTERRUPTED, ExitCode.AUDIT)
_WORST_FIRST: Final = (
    ExitCode.DEFECT,
    ExitCode.CREDENTIALS,
    ExitCode.UNREACHABLE,
    ExitCode.REFUSED,
)


def group_exit_code(codes: Sequence[int]) -> ExitCode:
    """Return the exit code of a command from those of its runs.

    If they differ: 8 or 7 if a run ended so; 10 if all succeeded; 4 if some did, at least in
    part; otherwise the worst.
    """
    ends = frozenset(map(ExitCode, codes))
    if len(ends) == 1:
        return next(iter(ends))
    for code in _PRIORITY_CODES:
        if code in ends:
            return code
    if all(code.succeeded for code in ends):
        return ExitCode.STALE
    if any(code.succeeded or code is ExitCode.PARTIAL for code in ends):
        return ExitCode.PARTIAL
    return next((code for code in _WORST_FIRST if code in ends), ExitCode.DEFECT)


def merge_summaries(summaries: Sequence[RunSummary]) -> RunSummary:
    """Return one summary of the runs of one command, with the id of the first run.

    Numbers are added up; runs share the mode, the instant, the shard and the log.
    """
    if len(summaries) == 1:
        return summaries[0]
    return replace(
        summaries[0],
        **count_values(total(summaries)),
        **{name: sum(getattr(each, name) for each in summaries) for name in _REQUEST_COUNTS},
        duration_s=max(each.duration_s for each in summaries),
        plan_made=any(each.plan_made for each in summaries),
        organizations=tuple(i for each in summaries for i in each.organizations),
        sunset=min((s.sunset for s in summaries if s.sunset), default=None),
        sources_retired=tuple(dict.fromkeys(r for s in summaries for r in s.sources_retired)),
        oldest_pending_days=max(
            (s.oldest_pending_days for s in summaries if s.oldest_pending_days is not None),
            default=None,
        ),
        plan_complete=all(each.plan_complete for each in summaries),
        advice=tuple(dict.fromkeys(each for s in summaries for each in s.advice)),
        warnings=tuple(dict.fromkeys(w for each in summaries for w in each.warnings)),
        changes=merge_changes([each.changes for each in summaries if each.plan_made]),
        policy_change=next((s.policy_change for s in summaries if s.policy_change), None),
        unseen=total_unseen(each.unseen for each in summaries),
        reasons=tuple(dict.fromkeys(each for s in summaries for each in s.reasons)),
        error=next((s.error for s in summaries if s.error), None),
        exit_code=int(group_exit_code([each.exit_code for each in summaries])),
    )


def with_end(
    summary: RunSummary,
    error: RunError | None,
    *,
    stopped_by: Iterable[Reason] = (),
    detailed_exit_code: bool = False,
) -> RunSummary:
    """Return the summary with how the run ended: exit code, reasons and error.

    Args:
        error: What stopped the run; None if it completed.
        stopped_by: Reasons that the counts do not show.
        detailed_exit_code: A dry run that finds stale invitations ends with 10 instead of 0.
    """
    if error is not None:
        code, failure = error.exit_code, error.to_json()
        failure["hint"] = failure["hint"] or summary.advisor.hint(code, error.reasons)
        end: dict[str, Any] = {"exit_code": int(code), "reasons": error.reasons, "error": failure}
        organizations = tuple(replace(each, **end) for each in summary.organizations)
        return replace(summary, organizations=organizations, **end)
    stopped_by = tuple(stopped_by)
    all_reasons = _incomplete_reasons(summary, stopped_by)
    code = ExitCode.PARTIAL if all_reasons or summary.skipped else ExitCode.DONE
    if code is ExitCode.DONE and detailed_exit_code and summary.mode == "dry-run" and summary.stale:
        code = ExitCode.STALE
    organizations = tuple(
        replace(
            each,
            exit_code=int(code),
            # The reasons of a run may concern one of its organizations only.
            reasons=_incomplete_reasons(each, stopped_by if each.skipped else ())
            if len(summary.organizations) > 1
            else all_reasons,
        )
        for each in summary.organizations
    )
    return replace(
        summary,
        exit_code=int(code),
        reasons=all_reasons,
        advice=summary.advisor.advise(all_reasons),
        organizations=organizations,
    )


def _incomplete_reasons(
    counts: RunSummary | OrganizationSummary, stopped_by: Sequence[Reason]
) -> tuple[Reason, ...]:
    """Return why a run without an error did not do everything."""
    found = (
        (Reason.MISSING_ROLE, counts.missing_role),
        (Reason.UNREADABLE_PROJECTS, counts.projects_unreadable),
        (Reason.FAILED_DELETIONS, counts.failed),
        (Reason.UNKNOWN_DELETIONS, counts.unknown),
        (Reason.REMOVED_MEMBER, counts.accepted_during),
        (Reason.STILL_THERE, counts.still_there),
    )
    reasons = (reason for reason, count in found if count)
    return tuple(dict.fromkeys((*reasons, *stopped_by)))


def removed_member_warning(invitation: Invitation, advisor: Advisor) -> RunWarning:
    """Warn that a user accepted during the DELETE, with the command that invites them again."""
    who = invitation.username or invitation.id
    where = invitation.project_name or invitation.org_id
    return RunWarning(
        WarningCode.REMOVED_MEMBER,
        f"{who} accepted while the deletion was in flight and was removed from {where} as an "
        f"active member. {advisor.restore(invitation.username)}",
        WarningLevel.URGENT,
    )


def unverified_warning(count: int) -> RunWarning:
    """Warn that the status of removed users could not be checked afterwards."""
    return RunWarning(
        WarningCode.UNVERIFIED,
        f"{count} of the removed users could not be checked afterwards: they may have accepted "
        "just before. The check requires the role Organization Member.",
    )


_MAX_NAMED: Final = 10


def still_there_warnings(
    invitations: Sequence[Invitation], claim: str = "Atlas confirmed the deletion of"
) -> tuple[RunWarning, ...]:
    """Warn that invitations are still in their list although an answer claimed otherwise."""
    if not invitations:
        return ()
    named = ", ".join(
        f"{each.username or each.id} ({each.project_name or each.org_id})"
        for each in invitations[:_MAX_NAMED]
    )
    rest = f" and {len(invitations) - _MAX_NAMED} more" if len(invitations) > _MAX_NAMED else ""
    count = pluralize(len(invitations), "invitation")
    return (
        RunWarning(
            WarningCode.STILL_THERE,
            f"{claim} {count} that Atlas's lists still contain: {named}{rest}. "
            "Run the command again later; if they stay, ask MongoDB support.",
            WarningLevel.URGENT,
        ),
    )


def unused_keep_warnings(
    keep: Iterable[Keep], kept: Mapping[str, int], today: date
) -> tuple[RunWarning, ...]:
    """Warn about keep entries in force that matched no invitation: they may be misspelt.

    Args:
        kept: Invitations by the reason for which they were kept.
        today: The day of the run.
    """
    return tuple(
        RunWarning(
            WarningCode.UNUSED_KEEP,
            f"The keep entry {entry.name!r} matched no invitation: check its spelling.",
            WarningLevel.REMARK,
        )
        for entry in keep
        if entry.is_active(today) and not kept.get(f"keep:{entry.name}")
    )
