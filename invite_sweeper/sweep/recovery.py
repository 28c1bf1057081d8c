"""Resolves what a killed run left open: intents without an outcome, when their list is read.

It is not known whether the DELETE of an open intent was sent, so the outcome claims only what
Atlas shows: an invitation that is missing is `already_gone`, one that is still there with the
same date is `failed`. If Atlas cannot answer, the intent stays open.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from typing import Final

from invite_sweeper.atlas.reader import UserStatus
from invite_sweeper.atlas.unreadable import contradicted_404
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
    ProjectGone,
)
from invite_sweeper.outcomes import Outcome, Sending
from invite_sweeper.sweep.reading import ReadingBuilder
from invite_sweeper.sweep.result import Result
from invite_sweeper.text import plural_form, pluralize

_GONE: Final = frozenset({Outcome.ALREADY_GONE, Outcome.ACCEPTED_DURING})
_NOT_MEMBERS: Final = frozenset({*INVITED_STATUSES, MembershipStatus.GONE})


class Recovery:
    """Resolves the open intents of one organization and writes their outcomes.

    A list of users omits users who accepted as well as removed ones. The status of a missing
    user is requested separately, which finds members that the DELETE removed. An intent of a
    restore is `unknown`: it was a POST, and another administrator may have invited a user who is
    there.

    Args:
        result: Gets the members that a run removed, and why intents stay open, as warnings.
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
        self._listed_projects = scope.project_names if scope is not None else {}
        self._by_list: defaultdict[ListKey, list[OpenIntent]] = defaultdict(list)
        for open_intent in intents:
            if open_intent.run.mode == "restore":
                self._record(open_intent, Outcome.UNKNOWN)
            else:
                self._by_list[open_intent.intent.list_key].append(open_intent)

    async def resolve_list(
        self, list_ref: ListRef, answer: Invitations | ListUnreadable | ProjectGone
    ) -> None:
        """Resolve the intents of a list that was read.

        Raises:
            RunError: A response concerned the run, or the log cannot be written.
        """
        project, source = list_ref
        open_intents = self._by_list.pop((source.value, project.org_id, project.id), [])
        if not open_intents:
            return
        first = open_intents[0].intent
        where = first.project_name or f"organization {first.org_id}"
        unresolved = Counter[str]()
        for open_intent in open_intents:
            reason = await self._resolve(open_intent, answer)
            if reason is not None:
                unresolved[reason] += 1
        for reason, count in unresolved.items():
            remain = plural_form(count, "remains", "remain")
            self._result.warn_of(
                WarningCode.RECOVERY,
                f"{pluralize(count, 'deletion')} of an earlier run in {where} {remain} "
                f"unresolved: {reason}",
            )

    async def _resolve(
        self, open_intent: OpenIntent, answer: Invitations | ListUnreadable | ProjectGone
    ) -> str | None:
        """Record what became of an intent; return why that is not known, if it is not."""
        if isinstance(answer, ListUnreadable):
            return answer.reason
        if isinstance(answer, ProjectGone):  # no membership is left that the DELETE removed
            self._record(open_intent, Outcome.ALREADY_GONE)
            return None
        intent = open_intent.intent
        for entry in answer:
            if entry.invitation_id == intent.invitation_id:
                # A person who was invited anew keeps the id, and has another date.
                is_same = entry.matches_date(intent.sent_at)
                self._record(open_intent, Outcome.FAILED if is_same else Outcome.ALREADY_GONE)
                return None
        if intent.source not in SOURCES_OF_USERS:
            self._record(open_intent, Outcome.ALREADY_GONE)
            return None
        status = await self._reader.membership_status(intent)
        if isinstance(status, ListUnreadable):
            return status.reason
        self._record(open_intent, _outcome_of_missing_user(status), status.status)
        return None

    async def resolve_rest(self) -> None:
        """Read the lists that the run does not read, and resolve their intents.

        Raises:
            RunError: As `resolve_list`.
        """
        for open_intents in tuple(self._by_list.values()):
            intent = open_intents[0].intent
            list_ref = ListRef(intent.place, intent.source)
            answer = await self._reader.invitations(intent.place, intent.source)
            # A 404 is not believed of a project that Atlas listed in this run.
            if isinstance(answer, ProjectGone) and intent.scope_id in self._listed_projects:
                answer = contradicted_404(list_ref)
            await self.resolve_list(list_ref, answer)

    def _record(
        self, open_intent: OpenIntent, outcome: Outcome, seen_after: str | None = None
    ) -> None:
        """Write the outcome of an intent, and count it.

        Args:
            seen_after: The status that Atlas shows of the user now.
        """
        sent = Sending(seen_after=seen_after)
        self._write(
            OutcomeLine.of(open_intent.intent, outcome, sent, recovers=open_intent.run.run_id)
        )
        # An invitation that is still listed was not deleted: this run plans it anew.
        self._builder.count(recovered=int(outcome in _GONE))
        if outcome is Outcome.ACCEPTED_DURING:
            self._result.removed_member(open_intent.intent)
            self._result.stopped_by.append(Reason.REMOVED_MEMBER)
        is_unknown = outcome is Outcome.UNKNOWN and open_intent.run.mode != "restore"
        self._builder.unverified += is_unknown


def _outcome_of_missing_user(seen: UserStatus) -> Outcome:
    """Return what is certain about a user who is not in the list of pending users."""
    if seen.status == MembershipStatus.ACTIVE:
        # The user accepted. Where the membership does not exist any more, the DELETE removed it.
        return Outcome.ACCEPTED_BEFORE if seen.still_member else Outcome.ACCEPTED_DURING
    if seen.still_member:  # the list does not show the user, and the user's own page does
        return Outcome.FAILED
    return Outcome.ALREADY_GONE if seen.status in _NOT_MEMBERS else Outcome.UNKNOWN
