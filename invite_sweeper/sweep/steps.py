"""The steps that follow the policy's decision about an invitation: each can only delete less.

- `Notice`: what is stale waits until it was announced for `notice.wait`.
- `KeepOutsidePlan`: what a saved plan does not list as it is now is kept.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Final, TypeAlias

import msgspec
from msgspec import structs

from invite_sweeper.audit import HeldAnnouncement, end_of_wait
from invite_sweeper.audit.events import Announced, AnnouncementKey, Planned, announcement_key
from invite_sweeper.json_text import rfc3339
from invite_sweeper.models import Entry, Invitation, InvitationKey, is_status_within
from invite_sweeper.outcomes import Counts
from invite_sweeper.sweep.selection import Announcement, Decision
from invite_sweeper.text import plural_form, pluralize

Step: TypeAlias = Callable[[Decision], Decision]
"""Returns a decision as it is, with a remark, or the decision to keep the invitation."""

UNKNOWN_REASONS: Final = frozenset({"inviter_unknown", "list_unread", "no_organization_name"})
"""Reasons of something that could not be read in this run: whether the invitation is still stale is
not known, and its announcement holds."""


class Notice(msgspec.Struct, frozen=True):
    """Lets what is stale wait until its notice is over: exactly then it is due.

    What is announced is the invitation: its list, its id and its date, so that a person who is
    invited anew is announced anew.

    Attributes:
        announced: The announcements that hold.
        now: The instant of the run; an announcement later than that counts for nothing.
        unknown_reasons: What is kept for one of them may be stale still: its announcement holds.
    """

    announced: Mapping[AnnouncementKey, HeldAnnouncement]
    wait: timedelta
    now: datetime
    unknown_reasons: Collection[str] = UNKNOWN_REASONS

    def __call__(self, decision: Decision) -> Decision:
        """Return the decision with what it means for the announcement."""
        if not decision.stale:
            return self._with_ended_announcements(decision)
        held = self._find(decision.invitation)
        if held is None:  # this run announces it, and its wait begins now
            announcement = Announcement(None, end_of_wait(self.now, self.wait), decision.rule)
        else:
            due_at = held.due_at(self.wait)
            is_over = due_at <= self.now
            announcement = Announcement(held.announced_at, None if is_over else due_at)
        return structs.replace(decision, announcement=announcement)

    def _with_ended_announcements(self, kept: Decision) -> Decision:
        """Return the decision to keep an invitation, with the announcements that it ends."""
        if kept.keep_reason in self.unknown_reasons:
            return kept
        announced = tuple(entry for entry in kept.all_entries if self._find(entry))
        if not announced:
            return kept
        return structs.replace(kept, announcement=Announcement(ended_entries=announced))

    def of(self, entries: Iterable[Invitation]) -> "Notice":
        """Return the notice with the announcements of these entries alone."""
        keys = map(announcement_key, entries)
        announced = {key: self.announced[key] for key in keys if key in self.announced}
        return structs.replace(self, announced=announced)

    def after(self, decisions: Iterable[Decision]) -> "Notice":
        """Return the notice as a later sweep has it, by the decisions that this one made."""
        announced = dict(self.announced)
        for decision in decisions:
            announcement = decision.announcement
            if announcement is None:
                continue
            for entry in announcement.ended_entries:
                announced.pop(announcement_key(entry), None)
            due_at = announcement.deletable_from
            if announcement.rule is not None and due_at is not None:  # this sweep announces it
                named = decision.invitation
                line = named.as_event(
                    Announced, rule=announcement.rule, deletable_from=rfc3339(due_at)
                )
                held = HeldAnnouncement(line, self.now, due_at, run_id="")
                announced[announcement_key(named)] = held
        return structs.replace(self, announced=announced)

    def _find(self, entry: Invitation) -> HeldAnnouncement | None:
        """Return the announcement of an entry; None without one, or if it is later than now."""
        held = self.announced.get(announcement_key(entry))
        if held is None or held.announced_at > self.now:
            return None
        return held


def describe_notice(counts: Counts, next_due: datetime, *, dry_run: bool) -> str:
    """Return what is announced, due and waiting, as "12 would be announced, 5 would be deleted, …".

    Args:
        counts: Of the whole plan.
        next_due: When the first of those that are announced or wait may be deleted.
    """
    new = pluralize(counts.announced, "invitation")
    text = f"{new} announced, {counts.due:,} due"
    if dry_run:
        text = f"{new} would be announced, {counts.due:,} would be deleted"
    first_due = f"{next_due:%Y-%m-%d %H:%M} UTC"
    # The new ones wait, too; "wait" counts those that were announced before.
    waiting = counts.waiting - counts.announced
    if not waiting:
        return f"{text}; the first may be deleted from {first_due}."
    if waiting == 1:
        return f"{text}, 1 waits until {first_due}."
    return f"{text}, {waiting:,} wait until {first_due} or later."


class OutsidePlan(msgspec.Struct, frozen=True):
    """How many of a saved plan's invitations a run does not delete.

    Attributes:
        kept: By why the policy or another step keeps them now.
        waiting: Their notice is not over.
        changed: They are not as the plan lists them.
        not_seen: They are gone, or in a list that was not read.
    """

    kept: Counter[str] = msgspec.field(default_factory=Counter[str])
    waiting: int = 0
    changed: int = 0
    not_seen: int = 0

    def __add__(self, other: "OutsidePlan") -> "OutsidePlan":
        """Return those of two organizations together."""
        return OutsidePlan(
            self.kept + other.kept,
            self.waiting + other.waiting,
            self.changed + other.changed,
            self.not_seen + other.not_seen,
        )

    def sentences(self) -> Iterator[str]:
        """Yield sentences about them."""
        for reason, count in sorted(self.kept.items()):
            are = plural_form(count, "is", "are")
            yield f"{count:,} of the plan's invitations {are} kept now: {reason}."
        if self.waiting:
            wait = plural_form(self.waiting, "waits for its", "wait for their")
            yield f"{self.waiting:,} of the plan's invitations {wait} notice now."
        if self.changed:
            are = plural_form(self.changed, "is", "are")
            yield (
                f"{self.changed:,} of the plan's invitations {are} kept because the roles, "
                "projects, inviter, expiry or rule changed since the plan was created."
            )
        if self.not_seen:
            were = plural_form(self.not_seen, "was", "were")
            yield (
                f"{self.not_seen:,} of the plan's invitations {were} not seen: gone, or in a list "
                "that was not read."
            )


class KeepOutsidePlan:
    """Keeps what a plan does not list, or lists with other evidence."""

    def __init__(self, planned: Iterable[Planned]) -> None:
        self._not_seen_yet = {invitation.key: invitation for invitation in planned}
        self._changed = 0
        self._waiting = 0
        self._kept = Counter[str]()

    def __call__(self, decision: Decision) -> Decision:
        """Keep the invitation unless the plan lists it as it is now; record what the plan lists."""
        if not decision.deletable:
            self._record_left(decision)
            return decision
        listed = self._take_listed(decision)
        if listed is None:
            return decision.keep("not_in_plan")
        if not _is_as_listed(decision, listed):
            self._changed += 1
            return decision.keep("changed_since_plan")
        return decision

    def _record_left(self, decision: Decision) -> None:
        """Record why an invitation is not deleted, if the plan lists one of its entries."""
        for entry in decision.all_entries:
            if self._not_seen_yet.pop(entry.key, None) is None:
                continue
            if decision.keep_reason is None:
                self._waiting += 1
            else:
                self._kept[decision.keep_reason] += 1

    def _take_listed(self, decision: Decision) -> Planned | None:
        """Return the line of the plan about a stale invitation, and record that it is seen.

        None where the plan does not list it. What the plan lists under the same key is another
        invitation if its date or name differs, or if the date is not known: that one is gone.
        """
        invitation = decision.invitation
        listed = self._not_seen_yet.get(invitation.key)
        for entry in decision.entries:
            # Where the plan lists one of the other entries, that was an invitation of its own.
            if self._not_seen_yet.pop(entry.key, None) is not None:
                self._changed += 1
        if listed is None or invitation.sent_at is None:
            return None
        if invitation.created_at != listed.created_at or invitation.username != listed.username:
            return None
        del self._not_seen_yet[invitation.key]
        return listed

    def left(self) -> OutsidePlan:
        """Return what the plan lists and this run does not delete."""
        return OutsidePlan(self._kept, self._waiting, self._changed, len(self._not_seen_yet))


def _is_as_listed(decision: Decision, listed: Planned) -> bool:
    """Return whether a stale invitation is now as a plan shows it: what is shown is approved.

    It has changed if its roles, projects, inviter, expiry or rule differ, if it was rejected
    since, or if its DELETE would end an entry that the plan did not show, or showed otherwise.
    """
    invitation = decision.invitation
    if decision.rule != listed.rule:
        return False
    if _evidence(invitation) != _evidence(listed):
        return False
    if not is_status_within(listed.status, invitation.status):
        return False
    shown_entries = {entry.key(listed.org_id): entry for entry in listed.entries}
    return all(_is_approved(entry, shown_entries) for entry in decision.entries)


def _is_approved(entry: Invitation, shown_entries: Mapping[InvitationKey, Entry]) -> bool:
    """Return whether a plan shows an entry that a DELETE would end, as it is now."""
    shown = shown_entries.get(entry.key)
    if shown is None or not is_status_within(shown.status, entry.status):
        return False
    return shown.evidence == entry.as_entry.evidence


def _evidence(invitation: Invitation) -> tuple[object, ...]:
    """Return what a plan shows about an invitation but its status."""
    shown = structs.replace(invitation, status=None)
    return (*shown.evidence, frozenset(invitation.linked_projects))
