"""What happened before: the answers to the four questions of a run, from one pass over the log.

What was sent within `limits.period`, which announcements hold, which intents are open, and which
plan was applied. A run reads as far back as these need, and at least the last 30 runs, so it costs
no more after a thousand nights. Every line is checked there; one is decoded only if an answer
depends on it, and on the deletions of old nights none does.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from typing import Final, NamedTuple, TypeAlias

from invite_sweeper.audit.directory import AuditDirectory
from invite_sweeper.audit.events import (
    Announced,
    AnnouncementEnded,
    AnnouncementKey,
    Event,
    Intent,
    OutcomeLine,
    RunStarted,
    announcement_key,
)
from invite_sweeper.audit.file_chain import ChainLine, FileChain
from invite_sweeper.audit.reader import LogReader
from invite_sweeper.audit.run_file import RunFile
from invite_sweeper.audit.totals import RunFinished
from invite_sweeper.endings import ExitCode, Status, status_of
from invite_sweeper.models import InvitationKey, Source, parse_timestamp
from invite_sweeper.outcomes import Outcome

ANNOUNCED_WITHIN: Final = timedelta(days=100)
"""How far back announcements hold: a `wait` is at most 90 days, and a sweep may be days late."""
_UNKNOWN_INSTANT: Final = datetime(9000, 1, 1, tzinfo=UTC)
"""Of a run without a readable `now`. It is after all others, so that what the run sent counts."""
_APPLIED_CODES: Final = frozenset({ExitCode.DONE, ExitCode.PARTIAL})
"""Exit codes of a sweep that completed a saved plan."""
_NOTHING_SENT: Final = frozenset({Outcome.SKIPPED, Outcome.CHANGED, Outcome.ACCEPTED_BEFORE})
"""Outcomes of an intent after which no DELETE was sent."""
_INTENT: Final = Intent.event
_OUTCOME: Final = OutcomeLine.event
_DECODED: Final = frozenset(kind.event for kind in (Announced, AnnouncementEnded, RunFinished))
"""Beside these and the first line, only requests are decoded, as far as they count."""


_UNANSWERED: Final = f',"outcome":"{Outcome.UNKNOWN}"'.encode()
"""What the line of a request has whose answer was lost. No name can: JSON escapes its quotes."""


class OpenIntent(NamedTuple):
    """A request of which it is not known what became: without an outcome, or without an answer.

    Attributes:
        file: Of the run that wrote it.
        start: The first line of that run; in a restore the request is a POST.
        intent: Of a DELETE whose answer was lost its `unknown` outcome, which has the same fields.
    """

    file: RunFile
    start: RunStarted
    intent: Intent | OutcomeLine


class HeldAnnouncement(NamedTuple):
    """An announcement that holds.

    Attributes:
        line: As the sweep wrote it.
        announced_at: The instant of that sweep: ages and waits count from one `now`.
        deletable_from: What it announced.
        run_id: Of that sweep.
    """

    line: Announced
    announced_at: datetime
    deletable_from: datetime
    run_id: str

    def due_at(self, wait: timedelta) -> datetime:
        """Return when its notice is over: not before the day that the inviter was told.

        Args:
            wait: Of the policy in force; it counts from the announcement.
        """
        return max(self.announced_at + wait, self.deletable_from)


_Announcements: TypeAlias = dict[AnnouncementKey, HeldAnnouncement]
_RequestKey: TypeAlias = tuple[str, InvitationKey]
"""The id of the run that sent a request, and the entry that the request names."""
_OrganizationInScope: TypeAlias = tuple[str | None, str]
"""The `scope_sha256` of a run, and the id of an organization."""


class _AtlasPast:
    """What runs against one Atlas left. A base URL names it: none of it holds for another one.

    Attributes:
        announcements: Those that hold.
        projects_seen: How many projects of each organization the last run of each scope saw.
        sunsets: When each source ends, as the last run that knew it recorded it.
    """

    def __init__(self) -> None:
        self.announcements: _Announcements = {}
        self.projects_seen: dict[_OrganizationInScope, int] = {}
        self.sunsets: dict[Source, date] = {}

    def add_end(self, start: RunStarted, end: RunFinished) -> None:
        """Add what the last line of a run records."""
        for organization in end.organizations:
            if organization.projects_seen:  # else they could not be listed
                key = (start.scope_sha256, organization.id)
                self.projects_seen[key] = organization.projects_seen
        for source, day in end.sunsets.items():
            with suppress(ValueError):  # a later version may know another source
                self.sunsets[Source(source)] = date.fromisoformat(day)


class _Run:
    """The run whose file is being read.

    Args:
        sent_since: Since when deletions count for the limits.

    Attributes:
        past: Of the Atlas that it runs against; the run is added to it.
        began_at: Its `now`.
        counts_for_limits: It is a sweep that began within the `limits.period` of the run that asks.
        opened: Its intents without an outcome so far, by their bytes about the invitation. They
            are decoded only if they stay open: nearly all have an outcome with the same bytes.
        resolved: The keys of outcomes that belong to no intent with the same bytes.
    """

    def __init__(
        self, file: RunFile, start: RunStarted, past: _AtlasPast, sent_since: datetime
    ) -> None:
        self.file = file
        self.start = start
        self.past = past
        self.began_at = parse_timestamp(start.now) or _UNKNOWN_INSTANT
        self.counts_for_limits = start.mode != "restore" and self.began_at > sent_since
        self.opened: dict[bytes, ChainLine] = {}
        self.resolved: set[InvitationKey] = set()


def _invitation_bytes(raw: bytes) -> bytes:
    """Return the bytes of a line about its invitation: the same in its intent and its outcome.

    `chain.HashChain` writes the fields of an event in the order of its struct.
    """
    return raw[raw.find(b',"invitation_id":') : raw.rfind(b',"rule":')]


class History:
    """The history of an audit directory. `read` builds it.

    Attributes:
        sent: How many deletions runs sent within `limits.period`, by the project of the entry that
            names the invitation, or its organization. Every intent counts whose DELETE is not
            proven unsent, with any outcome. It has the instant of its run: the clock of a machine
            may step while the run is at work, so that the times of its lines prove nothing.
        missing: The file of the last run, where `HEAD` names it and it is gone; else None.
        lost_run: The id of the last run, where its file and `HEAD` are gone; else "".
        last_success: When the last sweep or dry run that succeeded ended; None without one.
    """

    def __init__(self) -> None:
        self.sent = Counter[str]()
        self.missing: RunFile | None = None
        self.lost_run = ""
        self.last_success: datetime | None = None
        self._sent_since = _UNKNOWN_INSTANT
        self._pasts: defaultdict[str, _AtlasPast] = defaultdict(_AtlasPast)  # by base URL
        self._names: dict[str, str] = {}
        self._applied: dict[str, RunFile] = {}  # by the SHA-256 of the plan
        self._open: dict[_RequestKey, OpenIntent] = {}

    @classmethod
    def read(
        cls,
        directory: AuditDirectory,
        now: datetime,
        *,
        period: timedelta = ANNOUNCED_WITHIN,
        back: timedelta = ANNOUNCED_WITHIN,
    ) -> "History":
        """Return what the last runs of an audit directory did; see `add_recent`."""
        history = cls()
        history.add_recent(directory, now, period=period, back=back)
        return history

    def add_recent(
        self, directory: AuditDirectory, now: datetime, *, period: timedelta, back: timedelta
    ) -> None:
        """Add the runs by which one judges that began now.

        Args:
            period: Within which deletions count as sent; of 0, none do.
            back: How far back runs may have announced something, or applied a plan.

        Raises:
            DamagedLog: As `add`.
        """
        self._sent_since = now - period if period else _UNKNOWN_INSTANT
        self.lost_run = directory.lost_run()
        self.add(directory.recent(now - max(period, back)))

    def add(self, reader: LogReader) -> None:
        """Add the runs of a reader; of a damaged log, what precedes the damage.

        Raises:
            DamagedLog: The log is damaged, so that a run cannot rely on it.
        """
        self.missing = reader.missing
        for chain in reader:
            self._add_run(chain)

    def applied_by(self, plan_sha256: str) -> RunFile | None:
        """Return the file of the sweep that completed a saved plan."""
        return self._applied.get(plan_sha256)

    def open_intents(self, base_url: str) -> Mapping[str, Sequence[OpenIntent]]:
        """Return the open requests against a base URL, of organizations with some."""
        by_organization: defaultdict[str, list[OpenIntent]] = defaultdict(list)
        for open_intent in self._open.values():
            if open_intent.start.base_url == base_url:
                by_organization[open_intent.intent.org_id].append(open_intent)
        return by_organization

    def announcements(self, base_url: str) -> Mapping[AnnouncementKey, HeldAnnouncement]:
        """Return the announcements that hold against a base URL."""
        return self._past_of(base_url).announcements

    def projects_seen(self, base_url: str, scope_sha256: str, org_id: str) -> int:
        """Return how many projects of an organization the last finished run of a scope saw.

        0 where no run did.
        """
        return self._past_of(base_url).projects_seen.get((scope_sha256, org_id), 0)

    def sunsets(self, base_url: str) -> dict[Source, date]:
        """Return the end of each source as the last runs against a base URL recorded it."""
        return self._past_of(base_url).sunsets

    def organization_names(self) -> Mapping[str, str]:
        """Return the names of organizations by id, as the last run that knew them recorded them."""
        return self._names

    def _past_of(self, base_url: str) -> _AtlasPast:
        """Return what runs against a base URL left; of a URL without runs, nothing."""
        return self._pasts.get(base_url) or _AtlasPast()

    def _add_run(self, chain: FileChain) -> None:
        """Add a run. Its lines are decoded as far as a later run asks for them."""
        first_line = next(iter(chain), None)
        start = None if first_line is None else chain.decode(first_line)
        if not isinstance(start, RunStarted):  # it was killed before its first line
            return
        run = _Run(chain.file, start, self._pasts[start.base_url], self._sent_since)
        for line in chain:
            event_name = line.header.event
            if event_name == _INTENT:
                run.opened[_invitation_bytes(line.raw)] = line
            elif event_name == _OUTCOME:
                self._add_outcome(run, chain, line)
            elif event_name in _DECODED:
                self._add_event(run, line, chain.decode(line))
        for line in run.opened.values():
            intent = chain.decode(line)
            if isinstance(intent, Intent):
                self._add_open(run, intent)

    def _add_event(self, run: _Run, line: ChainLine, event: Event | None) -> None:
        """Add an event of a run."""
        match event:
            case Announced() | AnnouncementEnded():
                self._add_announcement(run, event)
            case RunFinished():
                self._add_end(run, event, line.header.ts)
            case _:
                pass

    def _add_open(self, run: _Run, intent: Intent) -> None:
        """Add an intent whose bytes no outcome has: it is open, unless one has its key."""
        if intent.key not in run.resolved:
            self._open[run.file.run_id, intent.key] = OpenIntent(run.file, run.start, intent)
        if run.counts_for_limits:
            self.sent[intent.scope_id] += 1

    def _add_outcome(self, run: _Run, chain: FileChain, line: ChainLine) -> None:
        """Add what became of a request of the run, or of one that an earlier run left open."""
        invitation_bytes = _invitation_bytes(line.raw)
        is_unanswered = _UNANSWERED in line.raw
        is_asked_for = run.counts_for_limits or run.past.announcements or is_unanswered
        # Nearly all outcomes settle an intent of the run that has the same bytes.
        if not is_asked_for and run.opened.pop(invitation_bytes, None) is not None:
            return
        event = chain.decode(line)
        if not isinstance(event, OutcomeLine):
            return
        if event.recovers is not None:
            self._open.pop((event.recovers, event.key), None)
            return
        if run.opened.pop(invitation_bytes, None) is None:
            run.resolved.add(event.key)
        elif run.counts_for_limits and _was_sent(event):
            self.sent[event.scope_id] += 1
        if run.start.mode == "restore":
            return
        if event.outcome == Outcome.UNKNOWN:
            self._open[run.file.run_id, event.key] = OpenIntent(run.file, run.start, event)
        elif event.outcome == Outcome.DELETED:
            run.past.announcements.pop(announcement_key(event), None)

    def _add_announcement(self, run: _Run, event: Announced | AnnouncementEnded) -> None:
        """Add or end an announcement; one without readable instants does not hold."""
        announcements = run.past.announcements
        key = announcement_key(event)
        announcements.pop(key, None)  # a new one comes last
        if not isinstance(event, Announced) or run.began_at == _UNKNOWN_INSTANT:
            return
        deletable_from = parse_timestamp(event.deletable_from)
        if deletable_from is not None:
            announcements[key] = HeldAnnouncement(
                event, run.began_at, deletable_from, run.file.run_id
            )

    def _add_end(self, run: _Run, end: RunFinished, finished_at: str) -> None:
        """Add the last line of a run."""
        start = run.start
        if start.mode == "sweep" and start.plan_sha256 and end.exit_code in _APPLIED_CODES:
            self._applied.setdefault(start.plan_sha256, run.file)
        if start.mode != "restore" and status_of(end.exit_code) is Status.DONE:
            self._add_success(parse_timestamp(finished_at))
        for organization in end.organizations:
            if organization.name:
                self._names[organization.id] = organization.name
        run.past.add_end(start, end)

    def _add_success(self, finished_at: datetime | None) -> None:
        """Add when a run succeeded; the clock of an earlier run may have been ahead."""
        if finished_at is None:
            return
        if self.last_success is None or finished_at > self.last_success:
            self.last_success = finished_at


def _was_sent(event: OutcomeLine) -> bool:
    """Return whether the DELETE of an intent may have been sent, by its outcome."""
    return event.attempts > 0 and event.outcome not in _NOTHING_SENT
