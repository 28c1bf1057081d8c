"""What runs did with people, in words: one line of `audit show`, and of `explain`."""

from collections.abc import Mapping

from invite_sweeper.audit.events import (
    Announced,
    AnnouncementEnded,
    Event,
    Intent,
    Kept,
    OutcomeLine,
    Planned,
    WouldBeAnnounced,
)
from invite_sweeper.audit.person import HistoryLine
from invite_sweeper.models import Invitation, ListUnreadable, parse_timestamp
from invite_sweeper.outcomes import Outcome
from invite_sweeper.report.rows import place_name
from invite_sweeper.report.wording import MAX_SENTENCE_LENGTH, display_text
from invite_sweeper.sweep.selection import describe_keep_reason
from invite_sweeper.text import organization_label


def what_happened(line: HistoryLine) -> str:
    """Return what a run did, or what a line of its file records, without person and place."""
    text = line.event.event.replace("_", " ")
    match line.event:
        case OutcomeLine() as outcome:
            text = _outcome(outcome)
        case Intent():
            request = "invitation" if line.start.mode == "restore" else "deletion"
            text = f"{request} sent, no outcome"
        case Planned(rule=rule):
            verb = "would be deleted" if line.start.mode == "dry-run" else "planned"
            text = f"{verb} by rule {rule}"
        case Announced(deletable_from=due):
            text = f"announced, may be deleted from {_day(due)}"
        case WouldBeAnnounced(deletable_from=due):
            text = f"would be announced, and may be deleted from {_day(due)}"
        case AnnouncementEnded(reason=reason):
            text = f"announcement ended: {describe_keep_reason(reason)}"
        case Kept(reason=reason, unread=unread):
            text = f"kept: {describe_keep_reason(reason, unread)}"
        case ListUnreadable(reason=reason):
            text = f"{text}: {reason}"
        case _:
            pass
    return text


def place_of(event: Event, names: Mapping[str, str]) -> str:
    """Return the project with its organization, or the organization; empty without one.

    Args:
        names: The names of organizations by id.
    """
    if not isinstance(event, Invitation | ListUnreadable) or event.org_id is None:
        return ""
    organization = organization_label(event.org_id, names.get(event.org_id))
    return place_name(event, organization, full=True)


def describe_line(line: HistoryLine, names: Mapping[str, str]) -> str:
    """Return what happened to whom, where, and in which list."""
    event = line.event
    parts = [display_text(what_happened(line), MAX_SENTENCE_LENGTH)]
    if isinstance(event, Invitation):
        parts.append(display_text(event.username) or f"id {display_text(event.invitation_id)}")
    parts.append(place_of(event, names))
    if isinstance(event, Invitation | ListUnreadable):
        parts.append(event.source)
    return " · ".join(filter(None, parts))


def _outcome(event: OutcomeLine) -> str:
    words = event.outcome.replace("_", " ")
    if event.outcome == Outcome.DELETED:
        words = f"{words} by rule {event.rule}"
    if event.recovers is not None:
        words = f"{words} (sent by run {event.recovers})"
    return f"{words}: {event.reason}" if event.reason else words


def _day(text: str) -> str:
    instant = parse_timestamp(text)
    return f"{instant:%Y-%m-%d}" if instant is not None else "an unknown day"
