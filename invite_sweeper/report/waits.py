"""How long due invitations waited until a sweep deleted them.

1. An invitation is due when every entry of it was stale by the policy of the sweep that deleted it
   (`sweep/dates.py`), and the notice of its announcement was over.
2. It waited from then until the instant of that sweep.
3. Where the copy of the policy is missing, or its rule judges by active members, its wait is not
   known.
"""

from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from fractions import Fraction
from math import ceil
from typing import Final

from msgspec import structs

from invite_sweeper.audit.events import Announced, announcement_key
from invite_sweeper.models import Entry, Invitation, parse_timestamp
from invite_sweeper.policy import Policy
from invite_sweeper.sweep.dates import Dates
from invite_sweeper.sweep.selection import Decision, Selector
from invite_sweeper.text import pluralize

_HOUR: Final = timedelta(hours=1)
_DAY: Final = timedelta(days=1)


class Waits:
    """Durations in hours, rounded up, a count for each: memory does not grow with the deletions."""

    def __init__(self) -> None:
        self._hours: Counter[int] = Counter()
        self._unknown = 0

    def add(self, wait: timedelta | None) -> None:
        """Add how long an invitation waited; None where that is not known."""
        if wait is None:
            self._unknown += 1
        else:
            # Below zero where `notice.wait` was shortened after the announcement.
            self._hours[_rounded_up(max(wait, timedelta()), _HOUR)] += 1

    def within(self, percent: int) -> timedelta | None:
        """Return the shortest wait within which this share was deleted; None without a deletion."""
        wanted = ceil(Fraction(self._hours.total() * percent, 100))
        deletions = 0
        for hours, count in sorted(self._hours.items()):
            deletions += count
            if deletions >= wanted:
                return hours * _HOUR
        return None

    def describe(self) -> str:
        """Return the median, and what 95 % took at most; empty without a deletion."""
        median = self.within(50)
        longest = self.within(95)
        parts = []
        if median is not None and longest is not None:
            count = pluralize(self._hours.total(), "deletion")
            parts.append(f"median {_text(median)}, 95 % within {_text(longest)}, of {count}")
        if self._unknown:
            parts.append(f"not known of {pluralize(self._unknown, 'deletion')}")
        return "; ".join(parts)


def _text(wait: timedelta) -> str:
    """Return whole hours, and whole days above two; rounded up, as "within" must be true."""
    if wait < 2 * _DAY:
        return pluralize(wait // _HOUR, "hour")
    return pluralize(_rounded_up(wait, _DAY), "day")


def _rounded_up(wait: timedelta, unit: timedelta) -> int:
    """Return how many whole units contain a wait."""
    return -(-wait // unit)  # `//` rounds down, so that the negative of it rounds up


class DueDates:
    """Finds since when deleted invitations had been due."""

    def __init__(self) -> None:
        self._notice_over: dict[int, datetime] = {}

    def announce(self, event: Announced) -> None:
        """Remember when the notice of an announced invitation is over."""
        notice_over = parse_timestamp(event.deletable_from)
        if notice_over is not None:
            self._notice_over[hash(announcement_key(event))] = notice_over

    def due(self, deleted: Invitation, dates: Dates | None) -> datetime | None:
        """Return since when a deleted invitation had been due; None where that is not known.

        Args:
            deleted: A line of the sweep that deleted it.
            dates: By the policy of that sweep; None without its copy.
        """
        notice_over = self._notice_over.pop(hash(announcement_key(deleted)), None)
        if dates is None:
            return None
        rule = getattr(deleted, "rule", None)
        entries = tuple(_as_invitation(deleted, entry) for entry in deleted.entries)
        named = structs.replace(deleted, entries=())
        stale = dates.stale_from(Decision(named, rule, None, entries=entries))
        if stale is None:
            return None
        if notice_over is None:
            return stale.instant
        return max(stale.instant, notice_over)


def dates_of(policy: Policy, now: datetime, names: Mapping[str, str]) -> Dates:
    """Return what finds since when invitations are stale, by the policy of a run.

    Args:
        now: The instant of the run.
        names: Of its organizations, by id.
    """
    return Dates(policy, Selector(policy, now, names=names), now)


def _as_invitation(named: Invitation, entry: Entry) -> Invitation:
    """Return another entry of an invitation as its list showed it."""
    return structs.replace(
        named,
        source=entry.source,
        project_id=entry.project_id,
        project_name=None,
        invitation_id=entry.invitation_id,
        roles=entry.roles,
        inviter=entry.inviter,
        created_at=entry.created_at,
        expires_at=entry.expires_at,
        status=entry.status,
        project_roles=entry.project_roles,
        entries=(),
    )
