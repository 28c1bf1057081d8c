"""Announce before deleting: a stale invitation waits until an earlier sweep has announced it.

What is announced is the invitation: its list, its id and its date, so that a person who is
invited anew is announced anew. The audit log is the only memory, see `History.announcements`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from invite_sweeper.audit.events import AnnouncementKey, announcement_key
from invite_sweeper.audit.history import History
from invite_sweeper.models import Invitation
from invite_sweeper.policy import Policy
from invite_sweeper.sweep.selection import Announcement, Decision
from invite_sweeper.text import plural_form, pluralize

UNKNOWN_REASONS: Final = frozenset({"inviter_unknown", "list_unread"})
"""Reasons that say nothing about whether the invitation is still stale: nothing changes."""


def notice_steps(
    policy: Policy, history: History, base_url: str, now: datetime
) -> "tuple[Notice, ...]":
    """Return the step of the policy's `notice`; none without one."""
    if policy.notice is None:
        return ()
    return (Notice(history.announcements(base_url), policy.notice.wait, now),)


def describe_notice(
    *, announced: int, due: int, waiting: int, next_due: datetime, dry_run: bool
) -> str:
    """Return what is announced, due and waiting, as "12 would be announced, 5 deleted, …".

    Args:
        waiting: Announced by earlier sweeps, and the notice is not over.
        next_due: When the first of those that are announced or wait may be deleted.
    """
    verbs = ("would be announced", "deleted") if dry_run else ("announced", "due")
    day = f"{next_due.day} {next_due:%B %Y, %H:%M} UTC"
    until = f"until {day}" if waiting == 1 else f"until {day} or later"
    rest = (
        f", {waiting:,} {plural_form(waiting, 'waits', 'wait')} {until}"
        if waiting
        else f"; the first may be deleted from {day}"
    )
    return f"{pluralize(announced, 'invitation')} {verbs[0]}, {due:,} {verbs[1]}{rest}."


@dataclass(frozen=True, slots=True)
class Notice:
    """Keeps what is stale until it has been announced for `wait`. Exactly `wait` is enough.

    Attributes:
        announced: The instants of the sweeps that announced, of announcements that hold.
        now: The instant of the run; an announcement later than that counts for nothing.
    """

    announced: Mapping[AnnouncementKey, datetime]
    wait: timedelta
    now: datetime

    def __call__(self, decision: Decision) -> Decision:
        """Return the decision with what it means for the announcement."""
        if not decision.stale:
            ended = tuple(one for one in decision.all_entries if self._announced_at(one))
            if not ended or decision.keep_reason in UNKNOWN_REASONS:
                return decision
            return decision._replace(announcement=Announcement(ended=ended))
        announced_at = self._announced_at(decision.invitation)
        due_at = (announced_at or self.now) + self.wait
        if announced_at is not None and due_at <= self.now:
            return decision
        rule = decision.rule if announced_at is None else None
        announcement = Announcement(announced_at, due_at, rule)
        return decision._replace(rule=None, keep_reason="notice_pending", announcement=announcement)

    def _announced_at(self, entry: Invitation) -> datetime | None:
        """Return when an entry was announced; None if it was not, or only later than now."""
        found = self.announced.get(announcement_key(entry))
        return found if found is not None and found <= self.now else None
