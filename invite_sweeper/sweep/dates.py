"""The one date of each invitation: from when on it is stale.

It is found by deciding the invitation again at each instant at which a key of the policy begins or
ceases to match one of its entries. `explain`, `list` and the forecast of a plan all ask here; in
which night it goes follows from this date, the wait of `notice` and the limits (`outlook.nights`).
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, time, timedelta
from math import ceil
from typing import Final, NamedTuple

from invite_sweeper.models import Invitation, parse_timestamp
from invite_sweeper.policy import Keep, Policy
from invite_sweeper.sweep.invitations import combine
from invite_sweeper.sweep.selection import Decision, Selector
from invite_sweeper.sweep.steps import keep_unrecordable

NIGHT: Final = timedelta(days=1)
"""Between two sweeps: what is foretold assumes a sweep at this hour each day."""

FOREVER: Final = datetime.max.replace(tzinfo=UTC)


class StaleFrom(NamedTuple):
    """Since when an invitation is stale, or from when on if nothing changes, by which rule."""

    instant: datetime
    rule: str


class StaleDates:
    """Finds from when on invitations are stale.

    Args:
        selector: For the organization of the invitations.
        now: The instant of the run.
    """

    def __init__(self, policy: Policy, selector: Selector, now: datetime) -> None:
        self._policy = policy
        self._selector = selector
        self._now = now

    def stale_from(self, by_policy: Decision, until: datetime = FOREVER) -> StaleFrom | None:
        """Return since when the policy makes an invitation stale, or from when on.

        Args:
            by_policy: The decision about it, before the steps of a run.
            until: The last instant that is asked about; of what is kept now, nothing is decided
                at a later one.

        Returns:
            None where it is not stale by then, and where a list that was not read decides.
        """
        if by_policy.keep_reason == "list_unread":
            return None
        changes = set(self._instants(by_policy.all_entries))
        if not by_policy.stale:
            # Whether it was stale in the past does not matter: its date is the next one.
            changes = {instant for instant in changes if self._now < instant <= until}
        else:
            changes.add(self._now)
        stale_since: datetime | None = None
        for instant in sorted(changes):
            rule = self._rule_at(instant, by_policy)
            if rule is None:  # something keeps it again
                stale_since = None
                continue
            if stale_since is None:
                stale_since = instant
            if instant >= self._now:
                return StaleFrom(stale_since, rule)
        return None

    def _rule_at(self, instant: datetime, by_policy: Decision) -> str | None:
        """Return the rule that makes an invitation stale at an instant; None if it is kept."""
        entries: list[Decision] = []
        for entry in by_policy.all_entries:
            decision = self._selector.decide(entry, instant)
            entries.append(keep_unrecordable(decision))
        if by_policy.invitation.source.stands_for_itself:
            return entries[0].rule
        # At another instant its entries may be several invitations: that of the named one counts.
        named = by_policy.invitation
        invitations = combine(entries, all_read=True)
        own = (invitation for invitation in invitations if named in invitation.all_entries)
        return next(own).rule

    def _instants(self, entries: Sequence[Invitation]) -> Iterator[datetime]:
        """Yield when a key of the policy begins or ceases to match one of the entries."""
        for part in (*self._policy.rules, *self._policy.keep):
            if isinstance(part, Keep) and part.until is not None:
                last_day = datetime.combine(part.until, time(), UTC)
                yield from _sum(last_day, timedelta(days=1))
            keys_of_end = (part.expired, part.expires_within, part.statuses)
            judges_end = any(value is not None for value in keys_of_end)
            for entry in entries:
                yield from _sum(entry.sent_at, part.older_than)
                if judges_end:
                    ends_at = parse_timestamp(entry.expires_at)
                    yield from _sum(ends_at, timedelta())
                    yield from _sum(ends_at, -(part.expires_within or timedelta()))


def _sum(instant: datetime | None, span: timedelta | None) -> Iterator[datetime]:
    """Yield the sum; nothing without an instant or a span, or beyond the calendar."""
    if instant is not None and span is not None:
        with suppress(OverflowError):
            yield instant + span


def first_night(instant: datetime, now: datetime) -> int:
    """Return the number of the first sweep that is not before an instant; 0 is that of now."""
    return max(0, ceil((instant - now) / NIGHT))
