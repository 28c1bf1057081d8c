"""The message about a run: what happened, what to do, numbers, people, what waits, evidence.

Slack, Teams and ping monitors show its lines, each in its own markup; a webhook has the result.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from invite_sweeper.audit import RunRecord
from invite_sweeper.endings import Status, status_of
from invite_sweeper.report.announcements import WaitingInvitation, count_unread
from invite_sweeper.report.document import Document, describe_instant, display_text
from invite_sweeper.report.rows import (
    Row,
    first_rows,
    is_of_several,
    organization_labels_of,
    place_name,
    rows_of,
)
from invite_sweeper.text import plural_form, pluralize

MAX_USERS: Final = 10
"""Users that a message with `details: true` names, and announced users likewise."""


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
    yield ChatLine(f"invite-sweeper: {message.headline}")
    for attention in message.story.attention:
        for text in attention.text.split("\n"):
            yield ChatLine(text)
        if attention.hint.text:
            yield ChatLine(f"What to do: {attention.hint.text}", attention.hint.command)
    for section in message.story.sections:
        for line in section.facts:
            yield ChatLine(f"• {line.label}: {line.text}")
    for line in message.story.facts:
        yield ChatLine(f"{line.label}: {line.text}")
    if details:
        yield from _deletions(message)
    if message.waiting:
        yield from _waiting(message, message.waiting, details=details)
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


def _waiting(
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
    unread = count_unread(announced)
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
