"""The steps that follow the policy's decision about an invitation: each can only keep more.

`keep_unrecordable` follows the decision about each entry, the others that about an invitation.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypeAlias

from invite_sweeper.audit import History, SavedPlan, is_recordable
from invite_sweeper.audit.events import AnnouncementKey, Planned, announcement_key
from invite_sweeper.counts import Counts
from invite_sweeper.models import Invitation, InvitationKey, entries_of
from invite_sweeper.sweep.selection import Announcement, Decision
from invite_sweeper.text import plural_form, pluralize

Step: TypeAlias = Callable[[Decision], Decision]


def apply_steps(steps: Iterable[Step], decision: Decision) -> Decision:
    """Return the decision after all steps."""
    for step in steps:
        decision = step(decision)
    return decision


def keep_unrecordable(decision: Decision) -> Decision:
    """Keep what the audit log cannot record."""
    if decision.stale and not is_recordable(decision.invitation):
        return decision.keep("unrecordable")
    return decision


@dataclass(frozen=True, slots=True)
class KeepBounced:
    """Keeps what was deleted `max_bounces` times: another program may re-create it each time."""

    history: History
    max_bounces: int

    def __call__(self, decision: Decision) -> Decision:
        """Keep the invitation, or mark it with the number of its deletions."""
        if not decision.stale:
            return decision
        count = self.history.times_deleted(decision.invitation, entries_of(decision.entries))
        marked = decision._replace(bounced=count) if count else decision
        return marked.keep("bounced") if 0 < count >= self.max_bounces else marked


UNKNOWN_REASONS: Final = frozenset({"inviter_unknown", "list_unread"})
"""Reasons that say nothing about whether the invitation is still stale: nothing changes."""


@dataclass(frozen=True, slots=True)
class Notice:
    """Keeps what is stale until it has been announced for `wait`. Exactly `wait` is enough.

    What is announced is the invitation: its list, its id and its date, so that a person who is
    invited anew is announced anew.

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
        return decision.keep("notice_pending")._replace(announcement=announcement)

    def _announced_at(self, entry: Invitation) -> datetime | None:
        """Return when an entry was announced; None if it was not, or only later than now."""
        found = self.announced.get(announcement_key(entry))
        return found if found is not None and found <= self.now else None


def describe_notice(counts: Counts, next_due: datetime, *, dry_run: bool) -> str:
    """Return what is announced, due and waiting, as "12 would be announced, 5 would be deleted, …".

    Args:
        counts: Of the whole plan.
        next_due: When the first of those that are announced or wait may be deleted.
    """
    waiting = counts.kept_by_reason.get("notice_pending", 0) - counts.announced
    verbs = ("would be announced", "would be deleted") if dry_run else ("announced", "due")
    day = f"{next_due:%Y-%m-%d %H:%M} UTC"
    until = f"until {day}" if waiting == 1 else f"until {day} or later"
    rest = (
        f", {waiting:,} {plural_form(waiting, 'waits', 'wait')} {until}"
        if waiting
        else f"; the first may be deleted from {day}"
    )
    announced = pluralize(counts.announced, "invitation")
    return f"{announced} {verbs[0]}, {counts.planned:,} {verbs[1]}{rest}."


class KeepOutsidePlan:
    """Keeps what a saved plan does not list, or lists with other evidence.

    Attributes:
        kept_by_reason: Planned invitations that are kept now, by reason.
        changed: Planned invitations that are kept because they have changed.
    """

    def __init__(self, saved: SavedPlan) -> None:
        self._remaining: dict[InvitationKey, Planned] = {each.key: each for each in saved.planned}
        self.kept_by_reason: dict[str, int] = {}
        self.changed = 0

    def __call__(self, decision: Decision) -> Decision:
        """Keep the invitation, or record why one is kept that the plan may list."""
        if decision.keep_reason is None:
            reason = self._keep_reason(decision)
            return decision if reason is None else decision.keep(reason)
        for entry in decision.all_entries:
            if self._remaining.pop(entry.key, None) is not None:
                count = self.kept_by_reason.get(decision.keep_reason, 0)
                self.kept_by_reason[decision.keep_reason] = count + 1
        return decision

    def _keep_reason(self, decision: Decision) -> str | None:
        """Return why a stale invitation is kept; None if the plan lists it as it is now.

        Approved is what was shown: an invitation is another one if its date is unknown or
        differs, and it has changed if its roles, projects, inviter, expiry or rule differ, or if
        its DELETE would end an entry that the plan did not show.
        """
        invitation = decision.invitation
        planned = self._remaining.pop(invitation.key, None)
        for entry in decision.entries:  # it was another invitation when the plan was made
            self.changed += self._remaining.pop(entry.key, None) is not None
        if planned is None or not isinstance(invitation.created_at, datetime):
            return "not_in_plan"
        listed = planned.invitation()
        if (invitation.created_at, invitation.username) != (listed.created_at, listed.username):
            return "not_in_plan"
        ends_no_more = {each.key for each in decision.entries} <= set(planned.keys)
        same = decision.rule == planned.rule and _evidence(invitation) == _evidence(listed)
        if ends_no_more and same:
            return None
        self.changed += 1
        return "changed_since_plan"

    def differences(self) -> Iterator[str]:
        """Yield sentences about what the plan lists and this run does not delete."""
        for reason, count in sorted(self.kept_by_reason.items()):
            are = plural_form(count, "is", "are")
            yield f"{count:,} of the plan's invitations {are} kept now: {reason}."
        if self.changed:
            yield (
                f"{self.changed:,} of the plan's invitations "
                f"{plural_form(self.changed, 'is', 'are')} kept because the roles, projects, "
                "inviter, expiry or rule changed since the plan was created."
            )
        if self._remaining:
            yield (
                f"{len(self._remaining):,} of the plan's invitations "
                f"{plural_form(len(self._remaining), 'was', 'were')} not seen: "
                "gone, or in a list that was not read."
            )


def _evidence(invitation: Invitation) -> tuple[object, ...]:
    """Return what a plan shows about an invitation; its status decides by the rule that matches."""
    shown = invitation._replace(status=None)
    return (*shown.evidence, frozenset(invitation.linked_projects))
