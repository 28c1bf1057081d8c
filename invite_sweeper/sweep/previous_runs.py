"""What earlier runs left: open intents and their recovery, population, changed policy."""

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

# What earlier runs left behind, as far as this run has to mind it.


_APPLIED = frozenset({ExitCode.DONE, ExitCode.PARTIAL})


@dataclass(frozen=True, slots=True)
class PreviousRuns:
    """The audit log of earlier runs, rotated files included, oldest first.

    Read while the lock is held, so nothing is added meanwhile. A damaged line refuses the
    run: what is not known was perhaps sent.
    """

    files: Sequence[Path]

    @classmethod
    def find(cls, log_path: LogPath) -> "PreviousRuns":
        """Find the logs that runs with this path have written so far."""
        return cls(log_path.files())

    def open_intents(self, organizations: frozenset[str], base_url: str) -> tuple[OpenIntent, ...]:
        """Give the intents of runs that were cut off, as far as they are this run's to settle.

        Those of another organization are for its own credentials, and those of another Atlas
        are not known to this one: what is pending there would seem to be gone. A run that did
        not tell which Atlas it asked is taken to be of this.
        """
        return tuple(
            intent
            for intent in open_intents(*self.files)
            if intent.invitation.org_id in organizations and intent.base_url in {None, base_url}
        )

    def population(
        self, shard: str | None, organizations: frozenset[str], base_url: str
    ) -> Population | None:
        """Give what the last complete run of the same shard, organizations and Atlas left."""
        last = last_population(
            *self.files, shard=shard, organizations=organizations, base_url=base_url
        )
        return Population(last.projects, last.invitations) if last is not None else None

    def deletion_history(self) -> DeletionHistory:
        """Give how often each invitation was deleted before."""
        return DeletionHistory(*self.files)

    def was_applied(self, digest: str) -> bool:
        """Tell whether a sweep by this plan has gone through; one that was cut off has not."""
        return any(_is_applied_by(run, digest) for run in read_runs(*self.files))

    def last_policy_sha256(self) -> str | None:
        """Give the hash of the last sweep's policy; None where there was no sweep."""
        return last_sweep_policy(*self.files)


def _is_applied_by(run: RunRecord, digest: str) -> bool:
    applied = run.mode == "sweep" and run.exit_code in _APPLIED
    return applied and run.start_record.get("plan_sha256") == digest


def policy_copy_path(log_path: LogPath, sha256: str) -> Path:
    """Name the copy of a policy that is kept beside the lock of the audit log."""
    return log_path.lock_path.with_name(f"policy-{sha256[:16]}.yaml")


def save_policy_copy(log_path: LogPath, policy: Policy, data: bytes) -> None:
    """Keep the policy of a sweep, so that the next one can tell what a change of it does.

    Raises:
        AuditUnwritable: It cannot be kept. Nothing was deleted.
    """
    path = policy_copy_path(log_path, policy.sha256)
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(data)
    except OSError as error:
        raise AuditLogError(f"The policy's copy {path} cannot be kept: {error.strerror}.") from None


def load_policy_copy(log_path: LogPath, sha256: str) -> Policy | None:
    """Read the copy of an earlier policy; None where there is none, or not the one meant."""
    path = policy_copy_path(log_path, sha256)
    try:
        policy = parse_policy(path.read_bytes(), str(path))
    except (OSError, InvalidPolicy):
        return None
    return policy if policy.sha256 == sha256 else None


# A changed policy, held against the one before on tonight's data. Pure.


_MAX_LISTED = 1000


@dataclass(slots=True)
class PolicyChange:
    """What a new policy adds to the stale invitations, and what it takes away.

    Attributes:
        before: The policy of the last sweep; None where no copy of it was kept.
        added: Stale by the new policy alone; the first of them, as `project: username`.
        removed: Stale by the old policy alone; the first of them.
    """

    previous: Selector | None
    added: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    added_count: int = 0
    removed_count: int = 0

    def observe(self, decision: Decision) -> Decision:
        """Take one decision into account; it stays as it is."""
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
        """Give the refusal that a changed policy ends with, once its effect was shown."""
        return GuardRefused(
            "The policy has changed since the last sweep (quarantine). "
            f"It adds {pluralize(self.added_count, 'stale invitation')} "
            f"and takes {self.removed_count:,} away.",
            hint=f"Read the plan; then lift it once with --accept-policy {policy_sha256}",
        )


# What a run that was cut off left open: each intent without an outcome gets one.
#
# Nobody knows whether the DELETE of such an intent was sent. Atlas is asked whether the
# invitation is still there, and only that is claimed: gone is `already_gone` (by our DELETE or
# otherwise), still there is `failed`. Where Atlas cannot be asked, the intent stays open.
#
# A list of users shows whoever accepted as little as whoever was removed. So of a user that it
# does not show Atlas is asked what has become, and a member whom the DELETE has hit is found.
#
# An intent of a restore is of a POST, and whoever is there may be there without it: `unknown`.


_NOT_MEMBERS: Final = frozenset({*INVITED_STATUSES, MembershipStatus.GONE})


class UserStatusReader(ListReader, Protocol):
    """What a recovery needs of Atlas."""

    async def membership_status(self, invitation: Invitation) -> UserStatus | ListUnreadable:
        """Give what has become of somebody whom a list of users does not show."""
        ...


class Recovery:
    """Asks Atlas about open intents, and writes their outcomes.

    Args:
        settled: Told of each one at once, as what comes after it may end the run.
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
        """Look for each in the list that it came from, and settle it.

        Returns:
            A sentence for each list that could not be asked.

        Raises:
            RunError: Atlas's answer was about the run, or the log cannot be written.
        """
        by_list: dict[tuple[str, str], list[OpenIntent]] = {}
        for intent in intents:
            if intent.from_restore:
                self._record(intent, Outcome.UNKNOWN)
                continue
            key = (intent.invitation.source, intent.invitation.project_id)
            by_list.setdefault(key, []).append(intent)
        messages = [
            sentence for group in by_list.values() for sentence in await self._resolve_list(group)
        ]
        await self._log.sync()
        return tuple(messages)

    async def _resolve_list(self, group: Sequence[OpenIntent]) -> Sequence[str]:
        """Settle what came from one list; give sentences about what could not be."""
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
                # With a project all memberships of it are gone: nobody was hit by us.
                self._record(intent, Outcome.ALREADY_GONE)
            else:
                reasons.update(await self._resolve_missing_user(intent))
        return [_describe_unresolved(first, count, reason) for reason, count in reasons.items()]

    async def _resolve_missing_user(self, intent: OpenIntent) -> Sequence[str]:
        """Settle a user that is not invited any more; give why that could not be done."""
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
    """Say what is certain of a user whom the list of the invited does not show."""
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
    deletions, stay = pluralize(count, "deletion"), plural_form(count, "stays", "stay")
    return f"{deletions} of an earlier run in {where} {stay} unsettled: {reason}"
