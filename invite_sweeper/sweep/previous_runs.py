"""What earlier runs left: open intents and their recovery, population, changed policy.

A killed run leaves intents without an outcome. `Recovery` asks Atlas about each one and writes
the outcome. `PolicyChange` compares the decisions of a changed policy with the last sweep's.
"""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol

from invite_sweeper.audit import (
    AuditLog,
    DeletionHistory,
    LogPath,
    OpenIntent,
    invitation_fields,
    last_population,
    last_sweep_policy,
    open_intents,
    outcome_fields,
    read_runs,
)
from invite_sweeper.audit.history import RunRecord
from invite_sweeper.errors import AuditLogError, ExitCode, GuardRefused, InvalidPolicy
from invite_sweeper.models import (
    INVITED_STATUSES,
    SOURCES_OF_USERS,
    Invitation,
    ListUnreadable,
    MembershipStatus,
    Outcome,
    Project,
    ProjectGone,
    UserStatus,
)
from invite_sweeper.policy import Policy, parse_policy
from invite_sweeper.sweep.discovery import ListReader
from invite_sweeper.sweep.guards import Population
from invite_sweeper.sweep.selection import Decision, Selector
from invite_sweeper.text import plural_form, pluralize

_APPLIED = frozenset({ExitCode.DONE, ExitCode.PARTIAL})


@dataclass(frozen=True, slots=True)
class PreviousRuns:
    """The audit logs of earlier runs, rotated files included, oldest first.

    They are read while the lock is held, so nothing is appended in between. A damaged line
    stops the run: a deletion it recorded may have been sent.
    """

    files: Sequence[Path]

    @classmethod
    def find(cls, log_path: LogPath) -> "PreviousRuns":
        """Return the logs that runs with this path have written so far."""
        return cls(log_path.files())

    def open_intents(self, organizations: frozenset[str], base_url: str) -> tuple[OpenIntent, ...]:
        """Return the intents without an outcome that this run can resolve.

        Intents of another organization need that organization's credentials. Intents of another
        base URL are skipped: their invitations would seem to be gone here. A run that did not
        record its base URL is assumed to have used this one.
        """
        return tuple(
            intent
            for intent in open_intents(*self.files)
            if intent.invitation.org_id in organizations and intent.base_url in {None, base_url}
        )

    def population(
        self, shard: str | None, organizations: frozenset[str], base_url: str
    ) -> Population | None:
        """Return what the last complete run of the same shard, organizations and URL left."""
        last = last_population(
            *self.files, shard=shard, organizations=organizations, base_url=base_url
        )
        return Population(last.projects, last.invitations) if last is not None else None

    def deletion_history(self) -> DeletionHistory:
        """Return how often each invitation was deleted before."""
        return DeletionHistory(*self.files)

    def was_applied(self, digest: str) -> bool:
        """Return whether a sweep has completed this plan; an interrupted one has not."""
        return self.applied_by(digest) is not None

    def applied_by(self, digest: str) -> RunRecord | None:
        """Return the sweep that completed this plan; None without one."""
        return next((run for run in read_runs(*self.files) if _is_applied_by(run, digest)), None)

    def contains(self, run_id: str) -> bool:
        """Return whether the logs have a run."""
        return any(run.run_id == run_id for run in read_runs(*self.files))

    def last_policy_sha256(self) -> str | None:
        """Return the hash of the last sweep's policy; None without a sweep."""
        return last_sweep_policy(*self.files)


def _is_applied_by(run: RunRecord, digest: str) -> bool:
    applied = run.mode == "sweep" and run.exit_code in _APPLIED
    return applied and run.start_record.get("plan_sha256") == digest


def policy_copy_path(log_path: LogPath, sha256: str) -> Path:
    """Return the path of a policy's copy, beside the lock file of the audit log."""
    return log_path.lock_path.with_name(f"policy-{sha256[:16]}.yaml")


def save_policy_copy(log_path: LogPath, policy: Policy, data: bytes) -> None:
    """Save the policy of a sweep, so that a later run can show the effect of a change.

    Raises:
        AuditLogError: The copy could not be written. Nothing was deleted.
    """
    path = policy_copy_path(log_path, policy.sha256)
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(data)
    except OSError as error:
        raise AuditLogError(f"Could not save the policy copy {path}: {error.strerror}.") from None


def load_policy_copy(log_path: LogPath, sha256: str) -> Policy | None:
    """Return an earlier policy from its copy; None if it is missing, invalid or another one."""
    path = policy_copy_path(log_path, sha256)
    try:
        policy = parse_policy(path.read_bytes(), str(path))
    except (OSError, InvalidPolicy):
        return None
    return policy if policy.sha256 == sha256 else None


_MAX_LISTED = 1000


@dataclass(slots=True)
class PolicyChange:
    """How a new policy changes which of the current invitations are stale.

    Attributes:
        previous: The policy of the last sweep; None without a copy of it.
        added: Stale only by the new policy, as `project: username`; the first 1000.
        removed: Stale only by the old policy; the first 1000.
    """

    previous: Selector | None
    added: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    added_count: int = 0
    removed_count: int = 0

    def observe(self, decision: Decision) -> Decision:
        """Record one decision and return it unchanged."""
        was_stale = self.previous is not None and self.previous.decide(decision.invitation).stale
        who = f"{decision.invitation.project_name}: {decision.invitation.username or '?'}"
        if decision.stale and not was_stale:
            self.added_count += 1
            self.added.extend([who] * (len(self.added) < _MAX_LISTED))
        elif was_stale and not decision.stale:
            self.removed_count += 1
            self.removed.extend([who] * (len(self.removed) < _MAX_LISTED))
        return decision

    def as_error(self, policy_sha256: str) -> GuardRefused:
        """Return the error that stops the first run with a changed policy."""
        return GuardRefused(
            "The policy has changed since the last sweep (quarantine). "
            f"It adds {pluralize(self.added_count, 'stale invitation')} "
            f"and removes {self.removed_count:,}.",
            hint=f"Read the plan, then accept the policy with --accept-policy {policy_sha256}",
        )


_NOT_MEMBERS: Final = frozenset({*INVITED_STATUSES, MembershipStatus.GONE})


class UserStatusReader(ListReader, Protocol):
    """The read access to Atlas that a recovery needs."""

    async def membership_status(self, invitation: Invitation) -> UserStatus | ListUnreadable:
        """Return the status of a user who is missing from a list of pending users."""
        ...


class Recovery:
    """Resolves open intents with Atlas and writes their outcomes.

    It is not known whether the DELETE of an open intent was sent, so the outcome claims only
    what Atlas shows: an invitation that is missing is `already_gone`, one that is still there
    is `failed`. If Atlas cannot answer, the intent stays open.

    A list of users omits users who accepted as well as removed ones. The status of a missing
    user is requested separately, which finds members whom the DELETE removed.

    An intent of a restore is `unknown`: it was a POST, and a user who is there may have been
    invited by someone else.

    Args:
        on_resolved: Called for each intent immediately, because a later error may end the run.
    """

    def __init__(
        self,
        reader: UserStatusReader,
        log: AuditLog,
        now: datetime,
        on_resolved: Callable[[OpenIntent, Outcome], None],
    ) -> None:
        self._reader = reader
        self._log = log
        self._now = now
        self._on_resolved = on_resolved

    async def run(self, intents: Sequence[OpenIntent]) -> tuple[str, ...]:
        """Resolve each intent from the list that its invitation was in.

        Returns:
            One message for each list and reason why intents stay open.

        Raises:
            RunError: A response concerned the run, or the log cannot be written.
        """
        by_list: dict[tuple[str, str], list[OpenIntent]] = {}
        for intent in intents:
            if intent.from_restore:
                self._record(intent, Outcome.UNKNOWN)
                continue
            key = (intent.invitation.source, intent.invitation.project_id)
            by_list.setdefault(key, []).append(intent)
        messages = [
            message for group in by_list.values() for message in await self._resolve_list(group)
        ]
        await self._log.sync()
        return tuple(messages)

    async def _resolve_list(self, group: Sequence[OpenIntent]) -> Sequence[str]:
        """Resolve the intents of one list; return messages about those that stay open."""
        first = group[0].invitation
        project = Project(first.project_id, first.project_name, first.org_id)
        found = await self._reader.invitations(project, first.source)
        if isinstance(found, ListUnreadable):
            return [_describe_unresolved(first, len(group), found.reason)]
        present_ids = set() if isinstance(found, ProjectGone) else {each.id for each in found}
        reasons: Counter[str] = Counter()
        for intent in group:
            if intent.invitation.id in present_ids:
                self._record(intent, Outcome.FAILED)
            elif first.source not in SOURCES_OF_USERS or isinstance(found, ProjectGone):
                # A deleted project has no memberships left that the DELETE could have removed.
                self._record(intent, Outcome.ALREADY_GONE)
            else:
                reasons.update(await self._resolve_missing_user(intent))
        return [_describe_unresolved(first, count, reason) for reason, count in reasons.items()]

    async def _resolve_missing_user(self, intent: OpenIntent) -> Sequence[str]:
        """Resolve a user who is not in the list; return the reason if that fails."""
        user_status = await self._reader.membership_status(intent.invitation)
        if isinstance(user_status, ListUnreadable):
            return (user_status.reason,)
        self._record(intent, _outcome_of_missing_user(user_status), user_status.status)
        return ()

    def _record(self, intent: OpenIntent, outcome: Outcome, seen_after: str | None = None) -> None:
        self._log.write(
            "outcome",
            **invitation_fields(intent.invitation, self._now),
            rule=intent.rule,
            **outcome_fields(outcome, seen=(None, seen_after), recovers=intent.run_id),
        )
        self._on_resolved(intent, outcome)


def _outcome_of_missing_user(user_status: UserStatus) -> Outcome:
    """Return what is certain about a user who is not in the list of pending users."""
    if user_status.still_member:
        return (
            Outcome.ACCEPTED_BEFORE
            if user_status.status == MembershipStatus.ACTIVE
            else Outcome.FAILED
        )
    if user_status.status == MembershipStatus.ACTIVE:
        return Outcome.ACCEPTED_DURING
    return Outcome.ALREADY_GONE if user_status.status in _NOT_MEMBERS else Outcome.UNKNOWN


def _describe_unresolved(first: Invitation, count: int, reason: str) -> str:
    where = first.project_name or f"organization {first.org_id}"
    deletions, remain = pluralize(count, "deletion"), plural_form(count, "remains", "remain")
    return f"{deletions} of an earlier run in {where} {remain} unresolved: {reason}"
