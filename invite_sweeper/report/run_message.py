"""What receivers get about the end of a run: a document for people, fields for programs."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from msgspec import structs

from invite_sweeper.audit import RunRecord
from invite_sweeper.endings import Status, may_repeat
from invite_sweeper.errors import Advisor
from invite_sweeper.report.document import Attention, Document, Section, describe_instant
from invite_sweeper.report.rows import (
    Row,
    organization_names_of,
    planned_rows,
    rows_of,
    sorted_rows,
)
from invite_sweeper.report.run import planned_result, result_json
from invite_sweeper.report.story import last_hash_of, story_of
from invite_sweeper.report.table import display_text
from invite_sweeper.sweep.waiting import WaitingInvitation
from invite_sweeper.text import plural_form, pluralize

MAX_USERS: Final = 10
"""Users that a message with `details: true` names, and announced users likewise."""
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
"""Fields of an announcement that name no person."""


class RunMessage(NamedTuple):
    """What receivers get about the end of a run.

    Attributes:
        waiting: What is announced and waits; None where it is not known.
        advisor: Of the run.
        details: Whether people are named.
    """

    run: RunRecord
    finished_at: datetime
    waiting: tuple[WaitingInvitation, ...] | None
    advisor: Advisor
    details: bool = False

    def for_readers(self, *, details: bool) -> "RunMessage":
        """Return it for readers to whom people are named, or none is."""
        run = self.run if details else self.run.without_people()
        return self._replace(run=run, details=details)

    @property
    def has_succeeded(self) -> bool:
        """Whether the run did everything."""
        return self.run.status is Status.DONE

    @property
    def document(self) -> Document:
        """The story, whom it concerns and what waits; at last the evidence of what was done."""
        story = story_of(self.run, self.advisor)
        sections = list(story.sections)
        if self.details:
            sections.append(self._deletions())
        if self.waiting:
            sections.append(self._announced(self.waiting))
        return story._replace(sections=tuple(sections), closing=tuple(last_hash_of(self.run)))

    @property
    def fields(self) -> Mapping[str, object]:
        """The result as `--output json` has it, with the story and everything that waits.

        People are named only with `details`: of the plan the first, of what waits all.
        """
        document = self.document
        fields = result_json(self.run)
        del fields["lists"], fields["invitations"], fields["plan"]
        fields |= {
            "headline": next(document.brief()).text,
            "attention": [_attention(attention) for attention in document.attention],
            "succeeded": self.has_succeeded,
            "verdict": self.run.status,
            "retryable": may_repeat(fields["reasons"]),
            "finished_at": self.finished_at,
            "announcements": None,
        }
        if self.waiting is not None:
            fields["announcements"] = [
                _announcement(invitation, details=self.details) for invitation in self.waiting
            ]
        if self.details:
            planned = sorted_rows(planned_rows(self.run))[:MAX_USERS]
            fields["invitations"] = [planned_result(row) for row in planned]
        return fields

    def _deletions(self) -> Section:
        """Return the planned deletions: those that need attention first."""
        rows = rows_of(self.run)
        sentences = []
        for row in sorted_rows(rows)[:MAX_USERS]:
            outcome = display_text(row.outcome or "planned").replace("_", " ")
            sentences.append(f"{row.person_in_place}: {outcome}")
        command = self.advisor.list_run()
        return Section(sentences=tuple(sentences), total=len(rows), command=command)

    def _announced(self, waiting: Sequence[WaitingInvitation]) -> Section:
        """Return how many wait, of at least one, and with details the first, new ones first."""
        sentences = []
        if self.details:
            new_first = sorted(waiting, key=lambda invitation: not invitation.new)
            sentences = [self._waiting(invitation) for invitation in new_first[:MAX_USERS]]
        return Section(
            _counts(waiting),
            sentences=tuple(sentences),
            total=len(waiting),
            command=self.advisor.pending(),
        )

    def _waiting(self, invitation: WaitingInvitation) -> str:
        row = Row.of_line(invitation, organization_names_of(self.run))
        inviter = display_text(invitation.inviter_label) or "(not known)"
        parts = [f"deletable from {describe_instant(row.due)}", f"invited by {inviter}"]
        if not invitation.new:
            parts.append("announced before")
        if invitation.unread:
            parts.append("its list was not read this time")
        return f"{row.person_in_place}: {', '.join(parts)}"


def _counts(waiting: Sequence[WaitingInvitation]) -> str:
    """Return how many wait, how many of them are new, and from when the first may be deleted."""
    verb = plural_form(len(waiting), "waits for its", "wait for their")
    parts = [f"{pluralize(len(waiting), 'invitation')} {verb} notice"]
    new = sum(invitation.new for invitation in waiting)
    if new:
        parts.append(f"{new:,} new")
    unread = sum(invitation.unread for invitation in waiting)
    if unread:
        parts.append(f"{unread:,} in lists that were not read this time")
    due = describe_instant(waiting[0].deletable_from)
    return f"{', '.join(parts)}; the first may be deleted from {due}."


def _attention(attention: Attention) -> dict[str, object]:
    """Return what needs attention; a hint is as in an error, with its command beside it."""
    hint = attention.hint
    return {**attention._asdict(), "hint": hint.sentence, "command": hint.command}


def _announcement(invitation: WaitingInvitation, *, details: bool) -> dict[str, object]:
    """Return what waits; without `details`, without a person.

    An id of a list of users is that of a person.
    """
    fields = structs.asdict(invitation)
    del fields["age_days"]  # that of the announcement
    if not invitation.unread:
        del fields["unread"]
    if details:
        return fields
    return {name: fields[name] for name in _WITHOUT_PEOPLE if name in fields}
