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
    Intent,
    OutcomeLine,
    RunFinished,
    RunStarted,
    announcement_key,
)
from invite_sweeper.audit.file_chain import FileChain, RunFile
from invite_sweeper.audit.reader import LogReader
from invite_sweeper.audit.record import Fold, RunRecord
from invite_sweeper.endings import ExitCode, Status, status_of
from invite_sweeper.json_text import parse_timestamp
from invite_sweeper.models import Source
from invite_sweeper.outcomes import Outcome

_NIGHT_MAY_BE_EARLY: Final = timedelta(hours=1)
"""A wait of three days is over in the third night, although a night never begins on the second."""


def end_of_wait(announced_at: datetime, wait: timedelta) -> datetime:
    """Return when the wait of an announcement is over, an hour early; of a short one half."""
    return announced_at + max(wait - _NIGHT_MAY_BE_EARLY, wait / 2)


ANNOUNCED_WITHIN: Final = timedelta(days=100)
"""How far back announcements hold: a `wait` is at most 90 days, and a sweep may be days late."""
_UNKNOWN_INSTANT: Final = datetime(9000, 1, 1, tzinfo=UTC)
"""Of a run without a readable `now`. It is after all others, so that what the run sent counts."""
_APPLIED_CODES: Final = frozenset({ExitCode.DONE, ExitCode.PARTIAL})
"""Exit codes of a sweep that completed a saved plan."""


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
        return max(end_of_wait(self.announced_at, wait), self.deletable_from)


_Announcements: TypeAlias = dict[AnnouncementKey, HeldAnnouncement]
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

    def announce(self, run: RunRecord, line: Announced) -> None:
        """Add an announcement; one without readable instants does not hold."""
        key = announcement_key(line)
        self.announcements.pop(key, None)  # a new one comes last
        announced_at = parse_timestamp(run.start.now)
        deletable_from = parse_timestamp(line.deletable_from)
        if announced_at is not None and deletable_from is not None:
            held = HeldAnnouncement(line, announced_at, deletable_from, run.run_id)
            self.announcements[key] = held

    def add_end(self, start: RunStarted, end: RunFinished) -> None:
        """Add what the last line of a run records."""
        for organization in end.organizations:
            if organization.projects_seen:  # else they could not be listed
                key = (start.scope_sha256, organization.id)
                self.projects_seen[key] = organization.projects_seen
        for source, day in end.sunsets.items():
            with suppress(ValueError):  # a later version may know another source
                self.sunsets[Source(source)] = date.fromisoformat(day)


class History:
    """The history of an audit directory. `read` builds it.

    Attributes:
        sent: How many deletions runs sent within `limits.period`, by the project of the entry that
            names the invitation, or its organization. Every intent counts whose DELETE is not
            proven unsent, with any outcome. It has the instant of its run: the clock of a machine
            may step while the run is at work, so that the times of its lines prove nothing.
        missing: The numbers of the files that are gone, which this run accepts.
        accepted_at: When the last run began that accepted missing files; None without one.
        last_success: When the last sweep or dry run that succeeded ended; None without one.
    """

    def __init__(self) -> None:
        self.sent = Counter[str]()
        self.missing: tuple[int, ...] = ()
        self.accepted_at: datetime | None = None
        self.last_success: datetime | None = None
        self._sent_since = _UNKNOWN_INSTANT
        self._pasts: defaultdict[str, _AtlasPast] = defaultdict(_AtlasPast)  # by base URL
        self._names: dict[str, str] = {}
        self._applied: dict[str, RunFile] = {}  # by the SHA-256 of the plan
        self._fold = Fold()

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
        self,
        directory: AuditDirectory,
        now: datetime,
        *,
        period: timedelta,
        back: timedelta,
        accepts_missing: bool = False,
    ) -> None:
        """Add the runs by which one judges that began now.

        Args:
            period: Within which deletions count as sent; of 0, none do.
            back: How far back runs may have announced something, or applied a plan.
            accepts_missing: The operator said to go on without the files that are gone.

        Raises:
            DamagedLog: As `add`.
        """
        self._sent_since = now - period if period else _UNKNOWN_INSTANT
        since = now - max(period, back)
        self.add(directory.recent(since, accepts_missing=accepts_missing))

    def add(self, reader: LogReader) -> None:
        """Add the runs of a reader; of a damaged log, what precedes the damage.

        Raises:
            DamagedLog: The log is damaged, so that a run cannot rely on it.
        """
        for chain in reader:
            self._add_run(chain)
            if chain.read().accepted and chain.first is not None:
                start = chain.decode(chain.first)
                if isinstance(start, RunStarted):
                    self.accepted_at = parse_timestamp(start.now) or _UNKNOWN_INSTANT
        self.missing = tuple(number for gone in reader.missing for number in gone)

    def applied_by(self, plan_sha256: str) -> RunFile | None:
        """Return the file of the sweep that completed a saved plan."""
        return self._applied.get(plan_sha256)

    def open_intents(self, base_url: str) -> Mapping[str, Sequence[OpenIntent]]:
        """Return the open requests against a base URL, of organizations with some."""
        by_organization: defaultdict[str, list[OpenIntent]] = defaultdict(list)
        for run in self._fold.runs.values():
            if run.start.base_url != base_url:
                continue
            for intent in run.left.values():
                by_organization[intent.org_id].append(OpenIntent(run.file, run.start, intent))
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
        run = RunRecord(chain.file)
        wanted = {Announced.event, AnnouncementEnded.event}
        for _, event in self._fold.follow(run, chain, chain.decode, wanted):
            past = self._pasts[run.start.base_url]
            match event:
                case RunStarted():
                    if self._counts_for_limits(event) or past.announcements:
                        wanted.add(OutcomeLine.event)
                case Announced():
                    past.announce(run, event)
                    wanted.add(OutcomeLine.event)
                case AnnouncementEnded():
                    past.announcements.pop(announcement_key(event), None)
                case OutcomeLine(outcome=Outcome.DELETED, recovers=None):
                    past.announcements.pop(announcement_key(event), None)
                case RunFinished():
                    self._add_end(run, event)
                    past.add_end(run.start, event)
                case _:
                    pass
        if self._counts_for_limits(run.start):
            self.sent.update(run.sent)

    def _counts_for_limits(self, start: RunStarted) -> bool:
        """Return whether it is a sweep that began within the period."""
        return start.mode != "restore" and _began_at(start) > self._sent_since

    def _add_end(self, run: RunRecord, end: RunFinished) -> None:
        """Add the last line of a run."""
        start = run.start
        if start.mode == "sweep" and start.plan_sha256 and end.exit_code in _APPLIED_CODES:
            self._applied.setdefault(start.plan_sha256, run.file)
        if start.mode != "restore" and status_of(end.exit_code) is Status.DONE:
            self._add_success(parse_timestamp(run.finished_at))
        for organization in end.organizations:
            if organization.name:
                self._names[organization.id] = organization.name

    def _add_success(self, finished_at: datetime | None) -> None:
        """Add when a run succeeded; the clock of an earlier run may have been ahead."""
        if finished_at is None:
            return
        if self.last_success is None or finished_at > self.last_success:
            self.last_success = finished_at


def _began_at(start: RunStarted) -> datetime:
    """Return the `now` of a run; without one that can be read, an instant after all others."""
    return parse_timestamp(start.now) or _UNKNOWN_INSTANT
