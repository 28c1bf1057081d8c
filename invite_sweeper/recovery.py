"""What a run that was cut off left open: each intent without an outcome gets one.

Nobody knows whether the DELETE of such an intent was sent. Atlas is asked whether the
invitation is still there, and only that is claimed: gone is `already_gone` (by our DELETE or
otherwise), still there is `failed`. Where Atlas cannot be asked, the intent stays open.

A list of users shows whoever accepted as little as whoever was removed. So of a user that it
does not show Atlas is asked what has become, and a member whom the DELETE has hit is found.

An intent of a restore is of a POST, and whoever is there may be there without it: `unknown`.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final, Protocol

from invite_sweeper.audit import AuditLog, OpenIntent, invitation_fields, outcome_fields
from invite_sweeper.inventory import (
    INVITED_STATUSES,
    USER_LISTS,
    Gone,
    Invitation,
    MembershipStatus,
    Project,
    Unreadable,
)
from invite_sweeper.outcome import Aftermath, Outcome
from invite_sweeper.plural import counted, fitting
from invite_sweeper.walk import Reader

_NOT_MEMBERS: Final = frozenset({*INVITED_STATUSES, MembershipStatus.GONE})


class Witness(Reader, Protocol):
    """What a recovery needs of Atlas."""

    async def aftermath(self, invitation: Invitation) -> Aftermath | Unreadable:
        """Give what has become of somebody whom a list of users does not show."""
        ...


class Recovery:
    """Asks Atlas about open intents, and writes their outcomes.

    Args:
        settled: Told of each one at once, as what comes after it may end the run.
    """

    def __init__(
        self,
        witness: Witness,
        log: AuditLog,
        now: datetime,
        settled: Callable[[OpenIntent, Outcome], None],
    ) -> None:
        self._witness = witness
        self._log = log
        self._now = now
        self._settled = settled

    async def run(self, intents: Sequence[OpenIntent]) -> tuple[str, ...]:
        """Look for each in the list that it came from, and settle it.

        Returns:
            A sentence for each list that could not be asked.

        Raises:
            RunError: Atlas's answer was about the run, or the log cannot be written.
        """
        by_list: dict[tuple[str, str], list[OpenIntent]] = {}
        for intent in intents:
            if intent.of_restore:
                self._settle(intent, Outcome.UNKNOWN)
                continue
            key = (intent.invitation.source, intent.invitation.project_id)
            by_list.setdefault(key, []).append(intent)
        lost = [sentence for group in by_list.values() for sentence in await self._list(group)]
        await self._log.durable()
        return tuple(lost)

    async def _list(self, group: Sequence[OpenIntent]) -> Sequence[str]:
        """Settle what came from one list; give sentences about what could not be."""
        first = group[0].invitation
        project = Project(first.project_id, first.project_name, first.org_id)
        found = await self._witness.invitations(project, first.source)
        if isinstance(found, Unreadable):
            return [_unsettled(first, len(group), found.reason)]
        there = set() if isinstance(found, Gone) else {each.id for each in found}
        reasons: Counter[str] = Counter()
        for intent in group:
            if intent.invitation.id in there:
                self._settle(intent, Outcome.FAILED)
            elif first.source not in USER_LISTS or isinstance(found, Gone):
                # With a project all memberships of it are gone: nobody was hit by us.
                self._settle(intent, Outcome.ALREADY_GONE)
            else:
                reasons.update(await self._unseen(intent))
        return [_unsettled(first, count, reason) for reason, count in reasons.items()]

    async def _unseen(self, intent: OpenIntent) -> Sequence[str]:
        """Settle a user that is not invited any more; give why that could not be done."""
        seen = await self._witness.aftermath(intent.invitation)
        if isinstance(seen, Unreadable):
            return (seen.reason,)
        self._settle(intent, _outcome_of(seen), seen.status)
        return ()

    def _settle(self, intent: OpenIntent, outcome: Outcome, seen: str | None = None) -> None:
        self._log.write(
            "outcome",
            **invitation_fields(intent.invitation, self._now),
            rule=intent.rule,
            **outcome_fields(outcome, seen=(None, seen), recovers=intent.run_id),
        )
        self._settled(intent, outcome)


def _outcome_of(seen: Aftermath) -> Outcome:
    """Say what is certain of a user whom the list of the invited does not show."""
    if seen.there:
        return Outcome.ACCEPTED_BEFORE if seen.status == MembershipStatus.ACTIVE else Outcome.FAILED
    if seen.status == MembershipStatus.ACTIVE:
        return Outcome.ACCEPTED_DURING
    return Outcome.ALREADY_GONE if seen.status in _NOT_MEMBERS else Outcome.UNKNOWN


def _unsettled(first: Invitation, count: int, reason: str) -> str:
    where = first.project_name or f"organization {first.org_id}"
    deletions, stay = counted(count, "deletion"), fitting(count, "stays", "stay")
    return f"{deletions} of an earlier run in {where} {stay} unsettled: {reason}"
