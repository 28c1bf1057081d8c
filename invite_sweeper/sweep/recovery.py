"""Resolves what a killed run left open: intents without an outcome, when their list is read.

It is not known whether the DELETE of an open intent was sent, so the outcome claims only what
Atlas shows: an invitation that is missing is `already_gone`, one that is still there with the
same date is `failed`. If Atlas cannot answer, the intent stays open.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from typing import Final

from invite_sweeper.atlas.reader import UserStatus
from invite_sweeper.atlas.responses import still_shown
from invite_sweeper.audit import OpenIntent
from invite_sweeper.audit.events import Event, OutcomeLine
from invite_sweeper.endings import Reason, WarningCode
from invite_sweeper.models import (
    INVITED_STATUSES,
    SOURCES_OF_USERS,
    Invitations,
    ListKey,
    ListRef,
    ListUnreadable,
    MembershipStatus,
    Outcome,
    ProjectGone,
    Sending,
)
from invite_sweeper.sweep.reading import ReadingBuilder
from invite_sweeper.sweep.result import Result
from invite_sweeper.text import plural_form, pluralize

_GONE: Final = frozenset({Outcome.ALREADY_GONE, Outcome.ACCEPTED_DURING})
_NOT_MEMBERS: Final = frozenset({*INVITED_STATUSES, MembershipStatus.GONE})


class Recovery:
    """Resolves the open intents of one organization and writes their outcomes.

    A list of users omits users who accepted as well as removed ones. The status of a missing
    user is requested separately, which finds members whom the DELETE removed. An intent of a
    restore is `unknown`: it was a POST, and a user who is there may have been invited by someone
    else.

    Args:
        result: Is told at once of members whom a run removed, and why intents stay open.
        builder: Counts what became of the intents.
    """

    def __init__(
        self,
        result: Result,
        builder: ReadingBuilder,
        write: Callable[[Event], None],
        intents: Iterable[OpenIntent],
    ) -> None:
        self._result = result
        self._builder = builder
        self._reader = builder.organization.client.reader
        self._write = write
        scope = builder.scope
        self._shown = scope.project_names if scope is not None else {}
        self._by_list: defaultdict[ListKey, list[OpenIntent]] = defaultdict(list)
        for each in intents:
            if each.run.mode == "restore":
                self._record(each, Outcome.UNKNOWN)
            else:
                self._by_list[each.intent.key[:3]].append(each)

    async def settle(
        self, list_ref: ListRef, found: Invitations | ListUnreadable | ProjectGone
    ) -> None:
        """Resolve the intents of a list that was read.

        Raises:
            RunError: A response concerned the run, or the log cannot be written.
        """
        project, source = list_ref
        opened = self._by_list.pop((source.value, project.org_id, project.id), [])
        if not opened:
            return
        left: Counter[str] = Counter()
        is_of_users = source in SOURCES_OF_USERS and not isinstance(found, ProjectGone)
        # A deleted project has no memberships left that the DELETE could have removed.
        listed = {each.invitation_id: each for each in found} if isinstance(found, tuple) else {}
        for each in opened:
            intent = each.intent
            if isinstance(found, ListUnreadable):
                left[found.reason] += 1
            elif (present := listed.get(intent.invitation_id)) is not None:
                is_same = present.is_dated(intent.sent_at)
                self._record(each, Outcome.FAILED if is_same else Outcome.ALREADY_GONE)
            elif not is_of_users:
                self._record(each, Outcome.ALREADY_GONE)
            else:
                status = await self._reader.membership_status(intent)
                if isinstance(status, ListUnreadable):
                    left[status.reason] += 1
                else:
                    self._record(each, _outcome_of_missing_user(status), status.status)
        for reason, count in left.items():
            one = opened[0].intent
            where = one.project_name or f"organization {one.org_id}"
            remain = plural_form(count, "remains", "remain")
            self._result.warn_of(
                WarningCode.RECOVERY,
                f"{pluralize(count, 'deletion')} of an earlier run in {where} {remain} "
                f"unresolved: {reason}",
            )

    async def settle_rest(self) -> None:
        """Read the lists that the run does not read, and resolve their intents.

        Raises:
            RunError: As `settle`.
        """
        for opened in tuple(self._by_list.values()):
            one = opened[0].intent
            found = await self._reader.invitations(one.place, one.source)
            if isinstance(found, ProjectGone) and one.scope_id in self._shown:
                found = still_shown(ListRef(one.place, one.source))
            await self.settle(ListRef(one.place, one.source), found)

    def _record(self, opened: OpenIntent, outcome: Outcome, seen_after: str | None = None) -> None:
        sent, recovers = Sending(seen_after=seen_after), opened.run.run_id
        self._write(OutcomeLine.of(opened.intent, outcome, sent, recovers=recovers))
        # One that is still listed was no deletion: this run plans it anew.
        self._builder.count(recovered=int(outcome in _GONE))
        if outcome is Outcome.ACCEPTED_DURING:
            self._result.removed_member(opened.intent)
            self._result.stopped_by.append(Reason.REMOVED_MEMBER)
        is_unknown = outcome is Outcome.UNKNOWN and opened.run.mode != "restore"
        self._builder.unverified += is_unknown


def _outcome_of_missing_user(seen: UserStatus) -> Outcome:
    """Return what is certain about a user who is not in the list of pending users."""
    if seen.status == MembershipStatus.ACTIVE:
        return Outcome.ACCEPTED_BEFORE if seen.still_member else Outcome.ACCEPTED_DURING
    if seen.still_member:
        return Outcome.FAILED
    return Outcome.ALREADY_GONE if seen.status in _NOT_MEMBERS else Outcome.UNKNOWN
