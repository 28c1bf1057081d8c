"""What earlier runs left: open intents and their recovery, population, changed policy.

A killed run leaves intents without an outcome. `Recovery` asks Atlas about each one and writes
the outcome. `PolicyChange` compares the decisions of a changed policy with the last sweep's.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
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
    last_sweep,
    open_intents,
    outcome_fields,
    read_runs,
)
from invite_sweeper.audit.history import RunRecord
from invite_sweeper.audit.reader import require_audit_log
from invite_sweeper.errors import (
    AuditLogError,
    ExitCode,
    GuardRefused,
    InvalidPolicy,
    Reason,
    UsageError,
)
from invite_sweeper.models import (
    INVITED_STATUSES,
    SOURCES_OF_USERS,
    Invitation,
    ListUnreadable,
    MembershipStatus,
    Outcome,
    Population,
    Project,
    ProjectGone,
    UserStatus,
)
from invite_sweeper.policy import Policy, parse_policy
from invite_sweeper.sweep.changes import ChangeTracker, PlanScope, PolicyDifference
from invite_sweeper.sweep.discovery import ListReader
from invite_sweeper.sweep.scope import ProjectFilter, RunScope, scope_sha256
from invite_sweeper.sweep.selection import Decision, Selector, no_filter
from invite_sweeper.text import plural_form, pluralize

_APPLIED = frozenset({ExitCode.DONE, ExitCode.PARTIAL})


@contextmanager
def refuse_unreadable() -> Iterator[None]:
    """Raise GuardRefused if the history cannot be read: a guard that misses a part of it fails."""
    try:
        yield
    except (UsageError, OSError) as error:
        message = (
            error.message
            if isinstance(error, UsageError)
            else f"The directory {error.filename} cannot be read: {error.strerror}."
        )
        raise GuardRefused(
            f"Earlier runs cannot be read. {message}",
            hint="Restore the file, or decompress it. Moving it away removes its interrupted "
            "deletions, used plans and bounced invitations from what later runs know.",
            reasons=(Reason.EARLIER_RUNS,),
        ) from error


@dataclass(frozen=True, slots=True)
class AcceptedPolicy:
    """The policy of the last finished sweep.

    Attributes:
        quarantine: Whether it set `quarantine`; this decides about a change of the policy.
        policy: Its copy, or the reason why there is none.
    """

    sha256: str | None
    quarantine: bool
    policy: "Policy | str"


@dataclass(frozen=True, slots=True)
class PreviousRuns:
    """The audit logs of earlier runs, rotated and compressed files included, oldest first.

    They are read while the lock is held, so nothing is appended in between. A damaged line or
    an unreadable file stops the run: a deletion it recorded may have been sent.
    """

    files: Sequence[Path]

    @classmethod
    def find(cls, log_path: LogPath) -> "PreviousRuns":
        """Return the logs that runs with this path have written so far.

        Raises:
            GuardRefused: A directory or a file cannot be read, or a file is not an audit log.
        """
        with refuse_unreadable():
            files = log_path.files()
            for file in files:
                require_audit_log(file)
        return cls(files)

    def open_intents(self, organizations: frozenset[str], base_url: str) -> tuple[OpenIntent, ...]:
        """Return the intents without an outcome that this run can resolve.

        Intents of another organization need that organization's credentials. Intents of another
        base URL are skipped: their invitations would seem to be gone here. A run that did not
        record its base URL is assumed to have used this one.
        """
        with refuse_unreadable():
            found = open_intents(*self.files)
        return tuple(
            intent
            for intent in found
            if intent.invitation.org_id in organizations and intent.base_url in {None, base_url}
        )

    def population(self, policy: Policy, base_url: str) -> Population:
        """Return what the last complete runs left; see `last_population`."""
        with refuse_unreadable():
            return last_population(
                *self.files,
                scope_sha256=scope_sha256(policy),
                organizations=policy.organization_ids,
                base_url=base_url,
            )

    def last_plan(self, scope: PlanScope) -> ChangeTracker | None:
        """Return the last plan of a scope, to compare a new one with it; None without one."""
        with refuse_unreadable():
            return ChangeTracker.find(self.files, scope)

    def deletion_history(self) -> DeletionHistory:
        """Return how often each invitation was deleted before."""
        with refuse_unreadable():
            return DeletionHistory(*self.files)

    def was_applied(self, digest: str) -> bool:
        """Return whether a sweep has completed this plan; an interrupted one has not."""
        return self.applied_by(digest) is not None

    def applied_by(self, digest: str) -> RunRecord | None:
        """Return the sweep that completed this plan; None without one."""
        with refuse_unreadable():
            runs = read_runs(*self.files)
            return next((run for run in runs if _is_applied_by(run, digest)), None)

    def contains(self, run_id: str) -> bool:
        """Return whether the logs have a run."""
        with refuse_unreadable():
            return any(run.run_id == run_id for run in read_runs(*self.files))

    def accepted_policy(self, log_path: LogPath) -> AcceptedPolicy | None:
        """Return the policy of the last finished sweep; None without a sweep.

        A sweep of an earlier version did not record whether its policy set `quarantine`. It
        saved a copy only if it did, so a copy that is there and cannot be read counts as set.
        """
        with refuse_unreadable():
            run = last_sweep(*self.files)
        if run is None:
            return None
        sha256 = run.policy_sha256
        copy = load_policy_copy(log_path, sha256 or "")
        quarantine = run.quarantine
        if quarantine is None and isinstance(copy, Policy):
            quarantine = copy.limits.quarantine
        elif quarantine is None:
            quarantine = policy_copy_path(log_path, sha256 or "").exists()
        return AcceptedPolicy(sha256, quarantine, copy)


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


def load_policy_copy(log_path: LogPath, sha256: str) -> Policy | str:
    """Return an earlier policy from its copy, or the reason why that is not possible."""
    path = policy_copy_path(log_path, sha256)
    try:
        policy = parse_policy(path.read_bytes(), str(path))
    except FileNotFoundError:
        return f"there is not a copy of it at {path}"
    except OSError as error:
        return f"its copy {path} cannot be read ({error.strerror})"
    except InvalidPolicy:
        return f"its copy {path} is not a valid policy"
    return policy if policy.sha256 == sha256 else f"its copy {path} was changed"


_MAX_LISTED = 20


class PolicyChange:
    """How a new policy changes which of the current invitations are stale.

    Args:
        policy: The new policy.
        accepted: The last accepted policy; None before the first sweep.
        accepted_option: The value of `--accept-policy`, which names another policy.
        bounces: Returns the filter that keeps invitations deleted `max_bounces` times.

    Attributes:
        added: Stale only by the new policy, as `project: username`; the first 20.
        removed: Stale only by the old policy; the first 20.
    """

    def __init__(
        self,
        policy: Policy,
        accepted: AcceptedPolicy | None,
        now: datetime,
        *,
        accepted_option: str | None = None,
        bounces: Callable[[int], Callable[[Decision], Decision]] = lambda _max: no_filter,
    ) -> None:
        self._policy = policy
        self._accepted = accepted
        self._accepted_option = accepted_option
        old = accepted.policy if accepted is not None else None
        self._old = old if isinstance(old, Policy) else None
        if self._old is not None:
            self._decide_old = Selector(self._old, now).decide
            self._keep_old = bounces(self._old.limits.max_bounces)
        self._old_scope = RunScope(())
        self._scope_messages: list[str] = []
        self.added: list[str] = []
        self.removed: list[str] = []
        self.added_count = 0
        self.removed_count = 0

    def observe_scope(self, scope: RunScope) -> None:
        """Compare which projects and lists the two policies read."""
        if self._old is None:
            return
        old_filter = ProjectFilter(self._old)
        visible = (*scope.projects, *scope.excluded)
        old_ids = frozenset(each.id for each in visible if old_filter.includes(each))
        self._old_scope = replace(scope, in_scope_ids=old_ids)
        for ids, text in (
            (scope.in_scope_ids - old_ids, "newly in scope"),
            (old_ids - scope.in_scope_ids, "no longer in scope: their invitations stay"),
        ):
            if ids:
                are = plural_form(len(ids), "is", "are")
                self._scope_messages.append(f"{pluralize(len(ids), 'project')} {are} {text}")

    def observe(self, decision: Decision) -> Decision:
        """Record one decision and return it unchanged."""
        was_stale = self._was_stale(decision.invitation)
        who = f"{decision.invitation.project_name}: {decision.invitation.username or '?'}"
        if decision.stale and not was_stale:
            self.added_count += 1
            self.added.extend([who] * (len(self.added) < _MAX_LISTED))
        elif was_stale and not decision.stale:
            self.removed_count += 1
            self.removed.extend([who] * (len(self.removed) < _MAX_LISTED))
        return decision

    def _was_stale(self, invitation: Invitation) -> bool:
        old = self._old
        if (
            old is None
            or invitation.source not in old.sources
            or invitation.org_id not in old.organization_ids
        ):
            return False
        in_scope = self._old_scope.in_scope_ids
        if not invitation.source.is_organization_level and invitation.project_id not in in_scope:
            return False
        decision = self._decide_old(self._old_scope.with_project_names(invitation))
        return self._keep_old(decision).stale

    def messages(self) -> tuple[str, ...]:
        """Return the differences, as sentences for the operator."""
        sentences = [*self._setting_messages(), *self._scope_messages]
        if self._old is None:  # the plan lists all of them
            return tuple(sentences)
        for verb, names, count in (
            ("also delete", self.added, self.added_count),
            ("keep", self.removed, self.removed_count),
        ):
            sentences += [f"The new policy would {verb} {each}" for each in names]
            if count > len(names):
                sentences.append(f"The new policy would {verb} {count - len(names):,} more")
        return tuple(sentences)

    def difference(self) -> PolicyDifference:
        """Return the differences with their counts."""
        return PolicyDifference(
            policy_sha256=self._policy.sha256,
            accepted_sha256=self._accepted.sha256 if self._accepted is not None else None,
            compared=self._old is not None,
            added=self.added_count,
            removed=self.removed_count,
            sentences=self.messages(),
        )

    def _setting_messages(self) -> Iterator[str]:
        """Yield the changed limits and lists: they change no decision, but what is deleted."""
        if self._old is None:
            return
        for name, new in self._policy.limits:
            if (old := getattr(self._old.limits, name)) != new:
                yield f"The new policy changes limits.{name} from {_yaml(old)} to {_yaml(new)}"
        for text, sources in (
            ("also reads", set(self._policy.sources) - set(self._old.sources)),
            ("does not read", set(self._old.sources) - set(self._policy.sources)),
        ):
            if sources:
                yield f"The new policy {text} {', '.join(sorted(sources))}"

    def as_error(self) -> GuardRefused:
        """Return the error that stops the first run with a changed policy."""
        return GuardRefused(
            " ".join(self._reasons()),
            hint=f"Read the plan, then accept the policy with --accept-policy "
            f"{self._policy.sha256}",
            reasons=(Reason.QUARANTINE,),
        )

    def _reasons(self) -> Iterator[str]:
        accepted = self._accepted
        if accepted is None:
            yield "No sweep has accepted a policy in this audit log yet (quarantine)."
        else:
            yield "The policy has changed since the last sweep (quarantine)."
        if accepted is not None and not self._policy.limits.quarantine:
            yield "It removes quarantine, which the last accepted policy set: it must be accepted."
        if accepted is not None and isinstance(accepted.policy, str):
            yield f"The last accepted policy cannot be compared: {accepted.policy}."
        if self._old is None:
            yield f"{pluralize(self.added_count, 'invitation')} would be deleted by this policy."
        else:
            added = pluralize(self.added_count, "stale invitation")
            yield f"It adds {added} and removes {self.removed_count:,}."
        if self._accepted_option is not None:
            yield "--accept-policy names another policy."


def _yaml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value}"


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
