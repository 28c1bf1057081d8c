"""People as a document: the pending ones, why each is kept or deleted, and what runs did."""

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple

import msgspec
from msgspec import structs

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
from invite_sweeper.audit.file_chain import RunFile
from invite_sweeper.audit.person import Deletion, HistoryLine, last_deletions
from invite_sweeper.errors import Advisor
from invite_sweeper.explain import Explanation, PendingInvitation
from invite_sweeper.json_text import parse_timestamp
from invite_sweeper.models import Invitation, ListUnreadable, Source, person_named
from invite_sweeper.outcomes import OUTCOMES_OF_RESTORES, Outcome
from invite_sweeper.report.document import (
    Attention,
    Document,
    Fact,
    Section,
    describe_instant,
    with_content,
)
from invite_sweeper.report.rows import (
    PEOPLE_AND_IDS,
    Row,
    meanings_of,
    place_of_list,
    sorted_rows,
    why_kept,
)
from invite_sweeper.report.table import Table, display_text
from invite_sweeper.sweep.selection import describe_keep_reason
from invite_sweeper.text import (
    escape_unprintable,
    exact_glob,
    organization_label,
    pluralize,
    shorten_list,
    upper_first,
)


def rows_of_history(lines: Iterable[HistoryLine], names: Mapping[str, str]) -> Iterator[Row]:
    """Yield what runs did with people, a row each line: the one history of a person.

    Args:
        names: Of the organizations, by id.
    """
    for line in lines:
        event = line.event
        mode = line.start.mode
        row = Row(_invitation_of(event), names, event.event)
        if isinstance(event, Invitation):
            row = Row.of_line(event, names)
        match event:
            case Planned():
                row.outcome = "would be deleted" if mode == "dry-run" else "planned"
            case OutcomeLine(recovers=str() as recovered):
                sender = recovered if line.sent_by is None else line.sent_by.label
                row.outcome = f"unknown, then {event.outcome}"
                row.detail = f"sent by run {sender}"
            case AnnouncementEnded(reason=reason):
                row.outcome = "announcement ended"
                row.reason = describe_keep_reason(reason)
            case Announced() | Kept():
                row.outcome = event.event
            case WouldBeAnnounced():
                row.outcome = "would be announced"
            case ListUnreadable():
                row.outcome = "not read"
                row.reason = event.reason
            case _:
                pass
        known = line.request
        if isinstance(known, OutcomeLine) and known is not event:
            by = line.record.recovered_requests[known.key].by
            row.outcome = f"{row.outcome}, then {known.outcome}"
            row.detail = f"found by run {by}"
        row.when = describe_instant(line.ts)
        number = line.run.number or line.run.path.name  # one that was named may have no number
        row.by = f"{mode} {number}"
        yield row


def _invitation_of(event: Event) -> Invitation:
    """Return what stands for an invitation in a line about none: its place, where it has one."""
    unread = event if isinstance(event, ListUnreadable) else ListUnreadable()
    return Invitation(
        invitation_id="",
        project_id=unread.project_id,
        project_name=unread.project_name,
        org_id=unread.org_id or "",
        username=None,
        roles=(),
        inviter=None,
        created_at=None,
        expires_at=None,
        age_days=None,
        source=unread.source,
    )


def _what_happened(line: HistoryLine) -> str:
    """Return what a run did, or what a line of its file records, without person and place."""
    text = line.event.event.replace("_", " ")
    match line.event:
        case OutcomeLine() as outcome:
            text = _outcome(outcome, line.sent_by)
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
        case Kept() as kept:
            text = f"kept: {why_kept(kept)}"
        case ListUnreadable(reason=reason):
            text = f"{text}: {reason}"
        case _:
            pass
    return text


def _outcome(event: OutcomeLine, sent_by: RunFile | None) -> str:
    words = event.outcome.replace("_", " ")
    if event.outcome == Outcome.DELETED:
        words = f"{words} by rule {event.rule}"
    if event.recovers is not None:
        sender = event.recovers if sent_by is None else sent_by.label
        words = f"{words} (sent by run {sender})"
    return f"{words}: {event.reason}" if event.reason else words


def _day(text: str) -> str:
    instant = parse_timestamp(text)
    return f"{instant:%Y-%m-%d}" if instant is not None else "an unknown day"


def document_of_lines(
    lines: Iterable[HistoryLine], names: Mapping[str, str], closing: tuple[Fact, ...] = ()
) -> Document:
    """Return what runs did, a row for each line."""
    rows = tuple(rows_of_history(lines, names))
    section = Section(facts=meanings_of(rows), table=Table.of("history", PEOPLE_AND_IDS, rows))
    return Document(sections=(section,), closing=closing)


def section_of_people(people: Iterable[Invitation], names: Mapping[str, str]) -> Section:
    """Return the table of some people; `names` are those of organizations by id."""
    rows = sorted_rows(Row.of_line(person, names) for person in people)
    return Section(table=Table.of("people", PEOPLE_AND_IDS, rows))


def document_of_list(
    invitations: Sequence[PendingInvitation], names: Mapping[str, str]
) -> Document:
    """Return a row for each invitation, in their order, and how many are stale and kept.

    Args:
        names: Of the organizations, by id.
    """
    if not invitations:
        return Document(Fact("No invitation matches", ""))
    stale = sum(invitation.rule is not None for invitation in invitations)
    counts = f"{stale:,} stale, {len(invitations) - stale:,} kept."
    if any(invitation.goes_at for invitation in invitations):
        counts += " The limits may make a day later."
    rows = [Row.of_line(invitation, names) for invitation in invitations]
    headline = Fact(pluralize(len(rows), "invitation"), counts)
    return Document(headline, sections=(Section(table=Table.of("listed", PEOPLE_AND_IDS, rows)),))


# What `explain` shows ----------------------------------------------------------------------------

_DONE: Final = (Announced, AnnouncementEnded, Intent, OutcomeLine)
"""What a run did with a person; the other lines have what it saw."""
_SEEN: Final = (Planned, Kept, WouldBeAnnounced)
EVENTS_OF_PEOPLE: Final = frozenset(line.event for line in (*_DONE, *_SEEN))
_MAX_SHOWN: Final = 10
_MAX_NAMES: Final = 20


class OrganizationName(msgspec.Struct, frozen=True):
    """An organization as results name it; `name` is None where Atlas did not return it."""

    id: str
    name: str | None

    @property
    def label(self) -> str:
        """The name with the id, or the id alone."""
        return organization_label(self.id, self.name)


class PersonHistory(NamedTuple):
    """What earlier runs did with a person in an organization.

    Attributes:
        person: As the last run knew the person.
        lines: In the order of the runs; where none did anything, what the last one saw.
        restores: Whether the command invites the person again; else it shows all lines.
        command: Empty for a person without a username.
    """

    person: Invitation
    lines: Sequence[HistoryLine]
    restores: bool
    command: str

    @property
    def shown(self) -> Sequence[HistoryLine]:
        """The last ten of the lines."""
        return self.lines[-_MAX_SHOWN:]

    def facts(self) -> Iterator[Fact]:
        """Yield how many lines are left out, and the next command."""
        name = display_text(self.person.username)
        left_out = len(self.lines) - len(self.shown)
        if left_out > 0:
            yield Fact(name, f"{left_out:,} earlier lines")
        if self.command:
            does = "Invite again" if self.restores else "All lines"
            yield Fact(name, f"{does}: {self.command}", is_whole=True)

    def to_json(self) -> dict[str, object]:
        """Return it with the fields of each line."""
        return {
            "org_id": self.person.org_id,
            "username": self.person.username,
            "deeds": [_line_json(line) for line in self.lines],
            "restores": self.restores,
            "command": self.command,
        }


def _line_json(line: HistoryLine) -> dict[str, object]:
    return {
        "run": line.run.number,
        "run_id": line.run.run_id,
        "mode": line.start.mode,
        "now": line.start.now,
        "event": line.event.event,
        "outcome": None,  # unless the line has one
        "rule": None,
        **structs.asdict(line.event),
        "text": _what_happened(line),
    }


def history_of(
    person: Invitation,
    lines: Sequence[HistoryLine],
    advisor: Advisor,
    organization_ids: Container[str],
    *,
    is_there: bool,
) -> PersonHistory:
    """Return the history of one person in one organization.

    Args:
        person: As the last of these lines has it.
        organization_ids: Those of the policy, in which a restore may invite.
        is_there: Atlas shows the person, who needs no second invitation.
    """
    done = [line for line in lines if isinstance(line.event, _DONE)]
    deletions = last_deletions(lines, unconfirmed=True)
    restores = bool(deletions) and not (is_there or _is_restored(lines, deletions[-1]))
    restores = restores and person.org_id in organization_ids and bool(person.username)
    command = ""
    if person.username:
        name = exact_glob(person.username)
        command = advisor.history(name)
        if restores:
            is_confirmed = all(deletion.is_confirmed for deletion in deletions)
            words = () if is_confirmed else ("--include-unconfirmed",)
            command = advisor.restore(name, *words)
    return PersonHistory(person, done or lines[-1:], restores, command)


def _is_restored(lines: Iterable[HistoryLine], last: Deletion) -> bool:
    """Return whether a run after the last deletion found or made the person pending or a member."""
    return any(line.run > last.line.run and _has_restored(line) for line in lines)


def _has_restored(line: HistoryLine) -> bool:
    """Return whether a person was pending or a member after a line."""
    return isinstance(line.event, OutcomeLine) and line.event.outcome in OUTCOMES_OF_RESTORES


class Search(msgspec.Struct, frozen=True):
    """The result of `explain`.

    Attributes:
        terms: What was searched for.
        projects: Number of projects in scope.
        invitations: Number of invitations that were read.
        out_of_scope: Projects in the policy's organizations that it excludes.
        unreadable: Lists that may contain more invitations, and organizations.
        found: The invitations of which an entry matches a term, those of a person together.
        history: What earlier runs did with the people who match.
        unknown: The terms that match no one.
        members: Who is an active member: usernames by the organization's id, of the people who were
            asked for by name and are in no list.
    """

    terms: tuple[str, ...]
    now: datetime
    sources: tuple[Source, ...]
    projects: int
    invitations: int
    organizations: list[OrganizationName]
    out_of_scope: list[str]
    unreadable: list[ListUnreadable]
    found: list[Explanation]
    history: list[PersonHistory]
    unknown: tuple[str, ...]
    members: dict[str, list[str]]
    exit_code: int

    def to_json(self) -> dict[str, object]:
        """Return the fields, with those of each line of a history."""
        return structs.asdict(self) | {"history": [each.to_json() for each in self.history]}


def document_of_search(result: Search, *, verbose: bool = False) -> Document:
    """Return whom Atlas shows, with why, then what runs did with the people who match."""
    names = {each.id: each.name or each.id for each in result.organizations}
    rows = [Row.of_line(found, names) for found in result.found]
    why = tuple(fact for found in result.found for fact in _facts_of(found, verbose=verbose))
    pending = Section("Pending", facts=why, table=Table.of("pending", PEOPLE_AND_IDS, rows))
    where = "the lists that were read" if result.unreadable else "any list"
    are_known = {found.person for found in result.found}
    sentences = []
    for org_id, username, text in _members(result):
        are_known.add(person_named(org_id, username))
        sentences.append(escape_unprintable(text))
    for history in result.history:
        if history.person.person not in are_known:
            name = display_text(history.person.username) or "A person without an address"
            sentences.append(f"{name}: not in {where}.")
    lines = [line for history in result.history for line in history.shown]
    rows_of_runs = tuple(rows_of_history(lines, names))
    next_commands = [fact for history in result.history for fact in history.facts()]
    history_section = Section(
        "What the runs did",
        facts=(*meanings_of(rows_of_runs), *next_commands),
        table=Table.of("history", PEOPLE_AND_IDS, rows_of_runs),
    )
    sections = with_content((pending, Section(sentences=tuple(sentences)), history_section))
    attention = tuple(_attention(result, names, where))
    return _searched(result)._replace(sections=sections, attention=attention)


def _members(result: Search) -> Iterator[tuple[str, str, str]]:
    """Yield the organization and the name of each active member, and a sentence that says so."""
    last_lines = {history.person.person: history.lines[-1] for history in result.history}
    names = {each.id: each.name or each.id for each in result.organizations}
    for org_id, usernames in result.members.items():
        for username in usernames:
            organization = names.get(org_id, org_id)
            text = f"{username} is an active member of the organization {organization}"
            last = last_lines.get(person_named(org_id, username))
            if last is not None and _has_restored(last):
                text += f", restored by run {last.run.number}"
            yield org_id, username, f"{text}."


def _searched(result: Search) -> Document:
    """Return how much was searched, and what was not."""
    invitations = pluralize(result.invitations, "invitation")
    projects = pluralize(result.projects, "project")
    text = f"{invitations} in {projects} ({', '.join(result.sources)})."
    excluded: tuple[Fact, ...] = ()
    if result.out_of_scope:
        excluded = (Fact("", f"{describe_excluded(result.out_of_scope)}."),)
    return Document(Fact("Searched", text), excluded)


def _attention(result: Search, names: Mapping[str, str], where: str) -> Iterator[Attention]:
    """Yield the terms that match no one, and what could not be read."""
    if result.unknown:
        terms = escape_unprintable(" ".join(map(repr, result.unknown)))
        yield Attention(f"Nothing found for {terms} in {where}, nor in an earlier run")
    for unreadable in result.unreadable:
        why = escape_unprintable(f"{place_of_list(unreadable, names)}: {unreadable.reason}")
        yield Attention("Could not be read", (why,))


def _facts_of(explanation: Explanation, *, verbose: bool) -> Iterator[Fact]:
    """Yield the decision about an invitation, its entries and with `-v` the policy."""
    is_due = explanation.reason is None and explanation.deletable_from is None
    name = display_text(explanation.username or f"id {explanation.invitation_id}")
    decision = f"{upper_first(explanation.description)}."
    yield Fact(name, escape_unprintable(decision), "bad" if is_due else "good")
    details = [*_entries(explanation), *(explanation.policy if verbose else ())]
    yield from (Fact(_BELOW, escape_unprintable(detail)) for detail in details)


_BELOW: Final = "  "
"""The label of what is below a decision: a document is indented by blanks alone."""


def _entries(explanation: Explanation) -> Iterator[str]:
    """Yield the condition, then each entry with its place and its status.

    A project has its name, where Atlas returned it.
    """
    if explanation.condition:
        yield explanation.condition
    names = dict[str | None, str | None](explanation.linked_projects)
    names[explanation.project_id] = explanation.project_name
    for entry in (explanation.as_entry, *explanation.entries):
        project = names.get(entry.project_id) or entry.project_id
        place = f", project {project}" if project else ""
        status = entry.status or "no status"
        yield f"{entry.source}{place}, id {entry.invitation_id}, {status}"


def describe_excluded(projects: Sequence[str]) -> str:
    """Return that these projects, at least one, were not searched."""
    names = escape_unprintable(shorten_list(projects, _MAX_NAMES))
    return f"Not searched, as the policy excludes them: {names}"
