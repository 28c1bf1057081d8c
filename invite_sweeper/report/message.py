"""The message about a run: what happened, what to do, numbers, people, what waits, evidence.

Slack, Teams and ping monitors show its lines, each in its own markup; a webhook has the result.
An announcement that holds waits if the run saw its invitation, or did not read its list: it could
not, or was narrowed to other projects. What was deleted, accepted or kept meanwhile does not wait,
nor does what the policy no longer reads.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from msgspec import structs

from invite_sweeper.audit import HeldAnnouncement, History, RunRecord
from invite_sweeper.audit.events import (
    Announced,
    AnnouncementKey,
    WouldBeAnnounced,
    announcement_key,
)
from invite_sweeper.audit.totals import RunFinished
from invite_sweeper.endings import Status, status_of
from invite_sweeper.models import Invitation, rfc3339
from invite_sweeper.names import casefold_visible
from invite_sweeper.outcomes import Outcome
from invite_sweeper.report.document import Document, describe_instant, display_text
from invite_sweeper.report.rows import (
    Row,
    announced_rows,
    first_rows,
    is_of_several,
    organization_labels_of,
    place_name,
    rows_of,
)
from invite_sweeper.sweep.selection import Decision
from invite_sweeper.text import plural_form, pluralize

MAX_USERS: Final = 10
"""Users that a message with `details: true` names, and announced users likewise."""


_ENDED: Final = frozenset(
    {
        Outcome.DELETED,
        Outcome.ALREADY_GONE,
        Outcome.ACCEPTED_BEFORE,
    }
)
"""Outcomes after which the invitation is not there."""


class WaitingInvitation(Announced, frozen=True, kw_only=True, omit_defaults=True):
    """An announced invitation that waits for its deletion.

    Attributes:
        announced_at: The instant of the sweep that announced it; None in a dry run that finds
            that a sweep would.
        new: This run announced it, or a sweep in place of this dry run would.
        unread: Its list was not read this time.
    """

    announced_at: str | None
    new: bool
    unread: bool = False

    def to_json(self, *, details: bool) -> dict[str, object]:
        """Return it for a receiver; without `details`, without a person.

        An id of a list of users is that of a person.
        """
        fields = structs.asdict(self)
        del fields["age_days"]  # that of the announcement
        if not self.unread:
            del fields["unread"]
        if details:
            return fields
        return {name: fields[name] for name in _WITHOUT_PEOPLE if name in fields}


_WITHOUT_PEOPLE: Final = (
    "source",
    "org_id",
    "project_id",
    "project_name",
    "rule",
    "announced_at",
    "deletable_from",
    "new",
    "unread",
)
"""Fields that name no person."""


class SeenAnnouncements:
    """Records which announced invitations a run sees whose announcement it does not end.

    Attributes:
        keys: The announcements of those that it has seen.
    """

    def __init__(self, announced: Collection[AnnouncementKey]) -> None:
        self.keys: set[AnnouncementKey] = set()
        self._announced = announced

    def __call__(self, _by_policy: Decision, decision: Decision) -> None:
        """Record one decision of a run."""
        key = announcement_key(decision.invitation)
        has_ended = decision.announcement is not None and decision.announcement.ended_entries
        if key in self._announced and not has_ended:
            self.keys.add(key)


def find_waiting(
    history: History,
    run: RunRecord,
    seen: Collection[AnnouncementKey],
    wait: timedelta,
) -> tuple[WaitingInvitation, ...]:
    """Return what waits after a run, the next to be deleted first.

    Args:
        history: With the run itself, if it has a file.
        seen: The announced invitations that the run saw and did not find fresh or kept.
        wait: Of the policy in force: it counts from the announcement.
    """
    ended_keys = {row.event.key for row in rows_of(run) if row.outcome in _ENDED}
    waiting = list(_would_wait(run))
    for key, held in history.announcements(run.start.base_url).items():
        if held.line.key in ended_keys:
            continue
        is_new = held.run_id == run.run_id
        is_seen = is_new or key in seen
        if is_seen or _may_be_there(held.line, run):
            waiting.append(_waiting(held, wait, new=is_new, unread=not is_seen))
    return tuple(sorted(waiting, key=_order))


def _order(invitation: WaitingInvitation) -> tuple[str, ...]:
    """Sort the next to be deleted first, and of one instant those of one inviter together."""
    return (
        invitation.deletable_from,
        invitation.inviter or "",
        invitation.username or "",
        invitation.invitation_id,
    )


def _waiting(
    held: HeldAnnouncement, wait: timedelta, *, new: bool, unread: bool
) -> WaitingInvitation:
    return held.line.as_event(
        WaitingInvitation,
        rule=held.line.rule,
        deletable_from=rfc3339(held.due_at(wait)),
        announced_at=rfc3339(held.announced_at),
        new=new,
        unread=unread,
    )


def _would_wait(run: RunRecord) -> Iterator[WaitingInvitation]:
    """Yield what a sweep would announce, from the file of a dry run."""
    for row in announced_rows(run):
        line = row.event
        if isinstance(line, WouldBeAnnounced):
            yield line.as_event(
                WaitingInvitation,
                rule=line.rule,
                deletable_from=line.deletable_from,
                announced_at=None,
                new=True,
            )


def _may_be_there(invitation: Invitation, record: RunRecord) -> bool:
    """Return whether an invitation that the run did not see may be in its list for all that.

    The run should have read the list, and did not: of an organization that failed, no list counts
    as read to its end.
    """
    if invitation.org_id not in record.start.organizations:
        return False
    if _is_outside(invitation, record.start.projects):
        return True
    end = record.end or RunFinished(exit_code=0)
    for result in end.lists:  # one for each organization that was read and each of its sources
        if result.org_id == invitation.org_id and result.source == invitation.source:
            return invitation.place_id in result.unread
    return invitation.source not in end.sources_retired


def _is_outside(invitation: Invitation, projects: Collection[str]) -> bool:
    """Return whether an invitation is in a project to which a run was not narrowed.

    Args:
        projects: Names or ids to which it was narrowed; none where it was not.
    """
    if not projects or invitation.source.is_organization_level:
        return False
    wanted = {casefold_visible(name.strip()) for name in projects}
    names = {casefold_visible(invitation.project_name or ""), invitation.project_id}
    return wanted.isdisjoint(names)


# The message --------------------------------------------------------------------------------------


class RunMessage(NamedTuple):
    """What a message to receivers has about the end of a run.

    Attributes:
        nameless: The story for receivers without `details`, which names no person.
        waiting: What is announced and waits; None if it is not known.
        list_run: The command that lists the run.
        list_pending: The command that lists what waits, with all that is pending.
    """

    run: RunRecord
    story: Document
    nameless: Document
    finished_at: datetime
    waiting: tuple[WaitingInvitation, ...] | None
    list_run: str
    list_pending: str

    @property
    def has_succeeded(self) -> bool:
        """Whether the run did everything."""
        return status_of(self.run.exit_code) is Status.DONE

    @property
    def headline(self) -> str:
        """How the run ended, in a line."""
        return f"{self.story.headline.label}: {self.story.headline.text}"

    def without_people(self) -> "RunMessage":
        """Return it with numbers, and the commands that list the names in place of them."""
        return self._replace(run=self.run.without_people(), story=self.nameless)

    def place(self, row: Row) -> str:
        """Return the place of a row, with its organization where the run is about several."""
        return place_name(row.event, row.organization, full=is_of_several(self.run))


class ChatLine(NamedTuple):
    """A line of a message.

    Attributes:
        command: Follows the text, to be copied as it is; empty if none does.
    """

    text: str
    command: str = ""

    @property
    def plain(self) -> str:
        """The line without markup."""
        return f"{self.text} {self.command}".rstrip()


def chat_lines(message: RunMessage, *, details: bool) -> Iterator[ChatLine]:
    """Yield the lines of a message; the first one is the headline."""
    headline, *attention = message.story.brief()
    yield ChatLine(f"invite-sweeper: {headline.text}")
    yield from map(ChatLine._make, attention)
    for section in message.story.sections:
        for line in section.facts:
            yield ChatLine(f"• {line.label}: {line.text}")
    for line in message.story.facts:
        yield ChatLine(f"{line.label}: {line.text}")
    if details:
        yield from _deletions(message)
    if message.waiting:
        yield from _announced(message, message.waiting, details=details)
    run = message.run
    if run.last_hash and run.mode != "dry-run":  # it is not the SHA-256 of a plan
        yield ChatLine(f"Last hash: {run.last_hash}")


def _deletions(message: RunMessage) -> Iterator[ChatLine]:
    """Yield a line for each planned deletion to name: those that need attention first."""
    rows = rows_of(message.run)
    for row in first_rows(rows, MAX_USERS):
        outcome = display_text(row.outcome or "planned").replace("_", " ")
        place = message.place(row)
        yield ChatLine(f"- {row.user} in {place}: {outcome}")
    left = len(rows) - MAX_USERS
    if left > 0:
        yield ChatLine(f"And {pluralize(left, 'more invitation')}:", message.list_run)


def _announced(
    message: RunMessage, waiting: Sequence[WaitingInvitation], *, details: bool
) -> Iterator[ChatLine]:
    """Yield how many wait, of at least one, and with details the first of them, new ones first."""
    yield ChatLine(f"Announced: {_counts(waiting)}")
    if not details:
        yield ChatLine("To list them:", message.list_pending)
        return
    new_first = sorted(waiting, key=lambda invitation: not invitation.new)
    labels = organization_labels_of(message.run)
    for invitation in new_first[:MAX_USERS]:
        row = Row.of_line(invitation, labels)
        inviter = display_text(invitation.inviter_label) or "(not known)"
        parts = [f"deletable from {describe_instant(row.due)}", f"invited by {inviter}"]
        if not invitation.new:
            parts.append("announced before")
        if invitation.unread:
            parts.append("its list was not read this time")
        place = message.place(row)
        yield ChatLine(f"- {row.user} in {place}: {', '.join(parts)}")
    left = len(waiting) - MAX_USERS
    if left > 0:
        yield ChatLine(f"And {pluralize(left, 'more announced invitation')}:", message.list_pending)


def _counts(waiting: Sequence[WaitingInvitation]) -> str:
    """Return how many wait, how many of them are new, and from when the first may be deleted."""
    # What a sweep would announce, after a dry run, has no instant yet.
    announced = [invitation for invitation in waiting if invitation.announced_at is not None]
    parts = []
    if announced:
        new = sum(invitation.new for invitation in announced)
        verb = plural_form(len(announced), "waits", "wait")
        parts.append(f"{pluralize(len(announced), 'invitation')} {verb} to be deleted")
        parts.append(f"{new:,} announced by this run")
    unread = sum(invitation.unread for invitation in announced)
    if unread:
        parts.append(f"{unread:,} in lists that were not read this time")
    would_be_announced = len(waiting) - len(announced)
    if would_be_announced:
        more = " more" if announced else ""
        parts.append(f"a sweep would announce {would_be_announced:,}{more}")
    due = describe_instant(waiting[0].deletable_from)
    return f"{', '.join(parts)}; the first may be deleted from {due}."


def first_lines(
    lines: Iterable[ChatLine], max_size: int, size: Callable[[ChatLine], int], command: str
) -> list[ChatLine]:
    """Return the lines that a message can have, and what counts those before the last one.

    The last line is always there: it is the evidence of what was done.

    Args:
        size: Returns what a line takes of `max_size`.
        command: Lists everything.
    """
    *lines_before, last = lines
    taken: list[ChatLine] = []
    left = max_size - size(last)
    for line in lines_before:
        left -= size(line)
        if left < 0:
            more = pluralize(len(lines_before) - len(taken), "more line")
            return [*taken, ChatLine(f"And {more}:", command), last]
        taken.append(line)
    return [*taken, last]
