"""People as a document: the pending ones, and what runs did with them."""

from collections.abc import Iterable, Mapping

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
from invite_sweeper.report.document import (
    MAX_SENTENCE_LENGTH,
    Fact,
    Section,
    Table,
    describe_instant,
    display_text,
)
from invite_sweeper.report.rows import Row, listed_columns, place_name, sorted_rows, table_by_place
from invite_sweeper.sweep.selection import describe_keep_reason
from invite_sweeper.text import organization_label, pluralize


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


def _place_of(event: Event, names: Mapping[str, str]) -> str:
    """Return the project with its organization, or the organization; empty without one.

    Args:
        names: The names of organizations by id.
    """
    if not isinstance(event, Invitation | ListUnreadable) or event.org_id is None:
        return ""
    organization = organization_label(event.org_id, names.get(event.org_id))
    return place_name(event, organization, full=True)


def _describe_line(line: HistoryLine, names: Mapping[str, str]) -> str:
    """Return what happened to whom, where, and in which list."""
    event = line.event
    parts = [display_text(what_happened(line), MAX_SENTENCE_LENGTH)]
    if isinstance(event, Invitation):
        parts.append(display_text(event.username) or f"id {display_text(event.invitation_id)}")
    parts.append(_place_of(event, names))
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


def by_place(people: Iterable[Invitation], names: Mapping[str, str]) -> Section:
    """Return people below their projects; `names` are those of organizations by id."""
    labels: dict[str, str] = {}
    for org_id, name in names.items():
        labels[org_id] = organization_label(org_id, name)
    rows = sorted_rows(Row(invitation, labels) for invitation in people)
    return Section(table=table_by_place(rows, rows)) if rows else Section()


def list_of(invitations: Iterable[Invitation], names: Mapping[str, str]) -> Section:
    """Return a row for each invitation, in their order, and how many are stale and kept.

    Args:
        names: Of the organizations, by id.
    """
    rows = [Row(invitation, names) for invitation in invitations]
    if not rows:
        return Section(sentences=("No invitation matches.",))
    stale = sum(row.is_stale for row in rows)
    kept = len(rows) - stale
    count = f"{pluralize(len(rows), 'invitation')}: {stale:,} stale, {kept:,} kept."
    if any(row.goes for row in rows):
        count += " The limits may make a day later."
    table = Table.of("listed", "", listed_columns(rows), rows, total=len(rows))
    return Section(table=table, sentences=(count,))


def fact_of(line: HistoryLine, names: Mapping[str, str]) -> Fact:
    """Return what a run did, with the run.

    Args:
        names: The names of organizations by id.
    """
    run = line.run.path.name  # a file that was named on the command line may have no number
    if line.run.number:
        run = f"{line.run.number:>3}"
    label = f"{run}  {describe_instant(line.ts)}  {line.start.mode:<7}"
    return Fact(label, _describe_line(line, names))
