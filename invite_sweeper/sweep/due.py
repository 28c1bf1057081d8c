"""Which sweep may delete an invitation first, if nothing changes.

It is the first one after the date from which the policy makes it stale, and after the wait of
`notice`. The roles of a kept person count, too: each goes when it is stale by itself, and with
`over_limit: trim` it takes the place of another invitation. The limits are for `outlook.nights`.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import NamedTuple

from invite_sweeper.audit import is_recordable
from invite_sweeper.models import Invitation
from invite_sweeper.policy import Policy
from invite_sweeper.sweep.dates import FOREVER, NIGHT, StaleDates, StaleFrom, first_night
from invite_sweeper.sweep.selection import Decision


class DueInvitation(NamedTuple):
    """An invitation that a sweep will delete if nothing changes.

    Attributes:
        night: The first sweep that finds it stale with its notice over; 0 is that of now.
    """

    invitation: Invitation
    night: int


class FirstNights:
    """Finds which sweep may delete an invitation first.

    Args:
        dates: From when on the invitations of an organization are stale.
        now: The instant of the run.
    """

    def __init__(self, policy: Policy, dates: StaleDates, now: datetime) -> None:
        self._notice = policy.notice
        self._dates = dates
        self._now = now

    def of(self, by_policy: Decision, decision: Decision) -> Iterator[DueInvitation]:
        """Yield an invitation and each role of a kept person, with its first night.

        What no sweep deletes is left out.

        Args:
            by_policy: The decision about it, before the steps of a run.
            decision: After them.
        """
        night = self._night_of(by_policy, decision)
        if night is not None:
            yield DueInvitation(decision.invitation, night)
        for role, stale in self._dates.roles_from(by_policy):
            night = self._night_from(stale, (role,))
            if night is not None:
                yield DueInvitation(role, night)

    def _night_of(self, by_policy: Decision, decision: Decision) -> int | None:
        """Return the first sweep that may delete an invitation.

        None where nothing foretells it: it never is stale, or a step keeps it for good.
        """
        if decision.stale:
            return 0
        announcement = decision.announcement
        if announcement is not None and announcement.deletable_from is not None:
            return first_night(announcement.deletable_from, self._now)
        if by_policy.stale:  # a step keeps it, and no date ends that
            return None
        stale = self._dates.stale_from(by_policy)
        return self._night_from(stale, by_policy.all_entries) if stale is not None else None

    def _night_from(self, stale: StaleFrom, entries: Iterable[Invitation]) -> int | None:
        """Return the first sweep that may delete what is stale from an instant on."""
        if not all(is_recordable(entry, stale.rule) for entry in entries):
            return None  # what the audit log cannot record is kept on that day
        night = first_night(stale.instant, self._now)
        if self._notice is not None:
            # The sweep that finds it stale announces it. One a wait later deletes it.
            night += first_night(self._now + self._notice.wait, self._now)
        return night if night <= last_night(self._now) else None


def last_night(now: datetime) -> int:
    """Return the last night that has a date: `until` may be the last day of the calendar."""
    return (FOREVER - now) // NIGHT
