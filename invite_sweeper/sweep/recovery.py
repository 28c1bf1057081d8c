"""Resolves what a killed run left open: intents without an outcome."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Final

from invite_sweeper.audit import AuditLog, OpenIntent, OutcomeLine
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
from invite_sweeper.sweep.connection import AtlasReader
from invite_sweeper.text import plural_form, pluralize

_NOT_MEMBERS: Final = frozenset({*INVITED_STATUSES, MembershipStatus.GONE})


def resolvable(
    intents: Iterable[OpenIntent], organizations: frozenset[str], base_url: str
) -> tuple[OpenIntent, ...]:
    """Return the intents without an outcome that a run can resolve.

    Intents of another organization need that organization's credentials. Intents of another
    base URL are skipped: their invitations would seem to be gone here. A run whose first line is
    missing is assumed to have used this one.
    """
    return tuple(
        intent
        for intent in intents
        if intent.invitation.org_id in organizations and intent.base_url in {None, base_url}
    )


class Recovery:
    """Resolves open intents with Atlas and writes their outcomes.

    It is not known whether the DELETE of an open intent was sent, so the outcome claims only
    what Atlas shows: an invitation that is missing is `already_gone`, one that is still there
    with the same date is `failed`. If Atlas cannot answer, the intent stays open.

    A list of users omits users who accepted as well as removed ones. The status of a missing
    user is requested separately, which finds members whom the DELETE removed.

    An intent of a restore is `unknown`: it was a POST, and a user who is there may have been
    invited by someone else.

    Args:
        on_resolved: Called for each intent immediately, because a later error may end the run.
    """

    def __init__(
        self,
        reader: AtlasReader,
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
        listed = {} if isinstance(found, ProjectGone) else {each.id: each for each in found}
        reasons: Counter[str] = Counter()
        for intent in group:
            present = listed.get(intent.invitation.id)
            if present is not None:
                is_same = present.is_dated(intent.invitation.created_at)
                self._record(intent, Outcome.FAILED if is_same else Outcome.ALREADY_GONE)
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
        line = OutcomeLine.from_invitation(
            intent.invitation,
            self._now,
            rule=intent.rule,
            entries=intent.entries,
            outcome=outcome,
            attempts=0,
            http_status=None,
            error_code=None,
            duration_ms=None,
            seen_before=None,
            seen_after=seen_after,
            recovered=True,
            recovers=intent.run_id,
        )
        self._log.write(line)
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
