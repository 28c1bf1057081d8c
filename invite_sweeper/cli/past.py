"""What earlier runs did with the people whom `explain` is asked about."""

from collections.abc import Container, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

import msgspec

from invite_sweeper.audit import LineFilter
from invite_sweeper.audit.events import (
    Announced,
    AnnouncementEnded,
    Intent,
    Kept,
    OutcomeLine,
    Planned,
    WouldBeAnnounced,
)
from invite_sweeper.audit.person import HistoryLine, HistoryReader, last_deletions
from invite_sweeper.cli.session import Session
from invite_sweeper.models import Invitation, PersonKey, Source, identify_person
from invite_sweeper.names import exact_glob
from invite_sweeper.outcomes import Outcome
from invite_sweeper.report.document import describe_instant
from invite_sweeper.report.people import what_happened

_DONE: Final = (Announced, AnnouncementEnded, Intent, OutcomeLine)
"""What a run did with a person; the other lines have what it saw."""
_SEEN: Final = (Planned, Kept, WouldBeAnnounced)
_EVENTS: Final = frozenset(line.event for line in (*_DONE, *_SEEN))
_MAX_SHOWN: Final = 10
_RESTORED: Final = frozenset({Outcome.RESTORED, Outcome.ACTIVE, Outcome.ALREADY_THERE})


class Deed(msgspec.Struct, frozen=True, kw_only=True):
    """What one run did with one invitation of a person.

    Attributes:
        run: The number of the run.
        now: Its instant, RFC 3339.
        text: What it did, in words.
    """

    run: int
    run_id: str
    mode: str
    now: str
    event: str
    outcome: str | None
    rule: str | None
    text: str
    source: Source
    project_id: str | None
    project_name: str | None
    invitation_id: str


class PersonHistory(msgspec.Struct, frozen=True, kw_only=True):
    """What earlier runs did with a person in an organization.

    Attributes:
        deeds: In the order of the runs; where none did anything, what the last one saw.
        restores: Whether the command invites the person again; else it shows all lines.
        command: Empty for a person without a username.
    """

    org_id: str
    username: str | None
    deeds: list[Deed]
    restores: bool
    command: str

    @property
    def person(self) -> PersonKey:
        """Identifies the person, as `Invitation.person`."""
        last = self.last
        place_id = last.project_id or self.org_id
        key = (last.source, self.org_id, place_id, last.invitation_id)
        return identify_person(self.username, key)

    @property
    def last(self) -> Deed:
        """What was done or seen last."""
        return self.deeds[-1]

    def lines(self) -> Iterator[str]:
        """Yield what the runs did, the last ten times, and the next command."""
        left_out = len(self.deeds) - _MAX_SHOWN
        if left_out > 0:
            yield f"{left_out:,} earlier lines"
        for deed in self.deeds[-_MAX_SHOWN:]:
            when = describe_instant(deed.now)
            place = f", project {deed.project_name}" if deed.project_name else ""
            yield f"Run {deed.run}, {when}, {deed.mode}: {deed.text}{place}"
        if self.command:
            label = "Invite again" if self.restores else "All lines"
            yield f"{label}: {self.command}"


class Past(NamedTuple):
    """What earlier runs did with people.

    Attributes:
        names: The usernames of these people, and the ids of all their invitations.
    """

    histories: tuple[PersonHistory, ...]
    names: frozenset[str]


def read_past(session: Session, terms: Iterable[str], pending: Container[PersonKey]) -> Past:
    """Return what runs against this Atlas did with the people whose name or id a glob matches.

    All runs of the audit directory are read; of a damaged log what can be read, with a warning.

    Args:
        pending: The people whom Atlas shows, and who need no second invitation.
    """
    history = HistoryReader(LineFilter(events=_EVENTS, terms=terms))
    people: dict[PersonKey, list[HistoryLine]] = {}
    names: set[str] = set()
    for line in session.read_runs(history.read):
        if isinstance(line.event, Invitation) and line.start.base_url == session.base_url:
            people.setdefault(line.event.person, []).append(line)
            names |= _names(line.event)
    histories: list[PersonHistory] = []
    for person, lines in people.items():
        histories.append(_history_of_person(session, lines, is_pending=person in pending))
    return Past(tuple(histories), frozenset(names))


def _names(invitation: Invitation) -> set[str]:
    """Return by what a line may have been asked for: the username, and the id of each entry."""
    ids = {invitation.invitation_id, *(entry.invitation_id for entry in invitation.entries)}
    return ids if invitation.username is None else {*ids, invitation.username}


def _history_of_person(
    session: Session, lines: Sequence[HistoryLine], *, is_pending: bool
) -> PersonHistory:
    """Return the history of one person in one organization."""
    last = lines[-1].event
    assert isinstance(last, Invitation)  # noqa: S101 - no other line has a person
    done = [line for line in lines if isinstance(line.event, _DONE)]
    deletions = [deletion.line for deletion in last_deletions(lines, unconfirmed=True)]
    is_deleted = bool(deletions) and not (is_pending or _is_restored(lines, deletions))
    is_in_policy = last.org_id in session.policy.organization_ids
    restores = last.username is not None and is_in_policy and is_deleted
    command = ""
    if restores:
        is_confirmed = all(line.is_deletion() for line in deletions)
        words = () if is_confirmed else ("--include-unconfirmed",)
        command = session.advisor.restore(exact_glob(last.username or ""), *words)
    elif last.username is not None:
        command = session.advisor.history(exact_glob(last.username))
    return PersonHistory(
        org_id=last.org_id,
        username=last.username,
        deeds=[_deed(line) for line in done or lines[-1:]],
        restores=restores,
        command=command,
    )


def _is_restored(lines: Iterable[HistoryLine], deletions: Iterable[HistoryLine]) -> bool:
    """Return whether a run after the last deletion invited the person again."""
    last = max(line.run for line in deletions)
    for line in lines:
        event = line.event
        is_later = line.run > last
        if is_later and isinstance(event, OutcomeLine) and event.outcome in _RESTORED:
            return True
    return False


def _deed(line: HistoryLine) -> Deed:
    event = line.event
    assert isinstance(event, Invitation)  # noqa: S101 - as above
    return Deed(
        run=line.run.number,
        run_id=line.run.run_id,
        mode=line.start.mode,
        now=line.start.now,
        event=line.event.event,
        outcome=getattr(event, "outcome", None),
        rule=getattr(event, "rule", None),
        text=what_happened(line),
        source=event.source,
        project_id=event.project_id,
        project_name=event.project_name,
        invitation_id=event.invitation_id,
    )
