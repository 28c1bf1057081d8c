"""What happened before: what a run needs of earlier runs, from one pass over the last of them.

A run judges by the last 100 days, and by at least the last 30 runs; what is older was deleted,
announced or planned too long ago to decide anything. So the cost of a run does not grow with the
nights before it. What is kept of the past are the answers to the questions below: of deletions
hashes and counts, of runs nothing but what a later one asks for.
"""

import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from typing import Final, NamedTuple, TypeAlias

from invite_sweeper.audit.compact import EntryLog, Fate, HashCounts
from invite_sweeper.audit.directory import AuditDirectory
from invite_sweeper.audit.events import (
    Announced,
    AnnouncementEnded,
    AnnouncementKey,
    Event,
    Intent,
    OutcomeLine,
    Planned,
    RunFinished,
    RunStarted,
    announcement_key,
    expired_by,
)
from invite_sweeper.audit.reader import ChainLine, FileChain, LogReader, RunFile
from invite_sweeper.audit.record import RunRecord
from invite_sweeper.endings import COMPLETE_EXIT_CODES, ExitCode, Status, status_of
from invite_sweeper.models import (
    Invitation,
    InvitationKey,
    ListKey,
    Source,
    UserKey,
    parse_timestamp,
)
from invite_sweeper.outcomes import Outcome
from invite_sweeper.text import casefold_lookalike

WINDOW: Final = timedelta(days=100)
"""How far back a run judges: within it, `max_bounces` counts, and no wait of `notice` is longer."""
_PLANNING_CODES: Final = COMPLETE_EXIT_CODES | {ExitCode.REFUSED}
"""Exit codes of runs with a whole plan; a run that a guard refused may have one."""
_UNKNOWN_INSTANT: Final = datetime(9000, 1, 1, tzinfo=UTC)
"""Of a run without a readable `now`: what it sent counts."""
_APPLIED_CODES: Final = frozenset({ExitCode.DONE, ExitCode.PARTIAL})
"""Exit codes of a sweep that completed a saved plan."""
_NOTHING_SENT: Final = frozenset({Outcome.SKIPPED, Outcome.CHANGED, Outcome.ACCEPTED_BEFORE})
_NOT_ENDED: Final = frozenset({Outcome.SKIPPED, Outcome.CHANGED, Outcome.FAILED})
"""Outcomes that ended nothing, where no intent says that a request may have been sent."""
_GONE: Final = frozenset({Outcome.DELETED, Outcome.ALREADY_GONE})
_NEEDED: Final = frozenset(
    kind.event for kind in (RunStarted, Announced, AnnouncementEnded, OutcomeLine, RunFinished)
)
"""Events that a run decodes, and intents that stay open; of the others only the chain counts."""


class _ListRead(NamedTuple):
    """What a list had when it was last read.

    Attributes:
        position: In the log of entries, then.
        expiring: How many entries reach their `expires_at` on each day.
    """

    entries: int
    position: int
    expiring: Mapping[str, int]


_Lists: TypeAlias = dict[ListKey, _ListRead]


class OpenIntent(NamedTuple):
    """An intent without an outcome: the request may have been sent.

    Attributes:
        run: The run that wrote it; in a restore the request is a POST.
    """

    run: RunRecord
    intent: Intent


class HeldAnnouncement(NamedTuple):
    """An announcement that holds.

    Attributes:
        line: As the sweep wrote it.
        announced_at: The instant of that sweep: ages and waits count from one `now`.
        run_id: Of that sweep.
    """

    line: Announced
    announced_at: datetime
    run_id: str


class SentDeletion(NamedTuple):
    """A DELETE that counts for the limits.

    Attributes:
        instant: The `now` of the run that sent it, which was compared with Atlas's clock.
        place: The project of the entry that names the invitation; the organization for those of
            its own lists.
    """

    instant: datetime
    place: str


class CompleteRun(NamedTuple):
    """What the last complete runs left, the projects by organization.

    Attributes:
        entries: By list; without those that a run has ended since, or that expired; only lists
            that have some.
            Where the last run could not read a list, the number is that of the one before.
        other_scope: The organizations that only runs with other projects or sources read.
    """

    projects: Mapping[str, int]
    entries: Mapping[ListKey, int]
    other_scope: frozenset[str] = frozenset()


class PlanScope(NamedTuple):
    """What two runs have in common if their plans can be compared."""

    policy_sha256: str
    organizations: frozenset[str]
    base_url: str


class LastPlan(NamedTuple):
    """The last whole plan of a scope.

    Attributes:
        keys: Of all entries of each planned invitation, by the key that names it.
        deleted: The entries that its run or a later one has deleted.
    """

    run_id: str
    start: RunStarted
    end: RunFinished
    keys: Mapping[InvitationKey, tuple[InvitationKey, ...]]
    deleted: frozenset[InvitationKey]


class _LastReading(NamedTuple):
    """What runs of one kind last read of an organization.

    Attributes:
        by_sweep: Whether it was a sweep; else a dry run.
        projects: Those that it saw.
    """

    by_sweep: bool
    projects: int
    lists: _Lists


class _Run:
    """The run whose file is being read.

    Attributes:
        position: That of the entries that it ended.
        began_at: Its `now`.
        is_old: It began more than 100 days ago, so that its deletions count for no `max_bounces`.
        opened: Its intents without an outcome so far, by their bytes about the invitation. They
            are decoded only if they stay open: nearly all have an outcome with the same bytes.
        resolved: The keys of outcomes that belong to no intent with the same bytes.
    """

    def __init__(self, record: RunRecord, position: int) -> None:
        self.record = record
        self.position = position
        self.began_at = _UNKNOWN_INSTANT
        self.is_old = False
        self.opened: dict[bytes, ChainLine] = {}
        self.resolved: set[InvitationKey] = set()


def _fields(raw: bytes) -> bytes:
    """Return the bytes of a line about its invitation: the same in its intent and its outcome."""
    return raw[raw.find(b',"invitation_id":') : raw.rfind(b',"rule":')]


class History:
    """The history of an audit directory. `read` builds it.

    Attributes:
        run_ids: Of the runs that were read, in their order.
        last: The last run; None without one.
        last_success: When the last sweep or dry run that succeeded ended; None without one.
        read_s: Seconds that reading the files took.
    """

    def __init__(self) -> None:
        self.run_ids: list[str] = []
        self.last: RunRecord | None = None
        self.last_success: datetime | None = None
        self.read_s = 0.0
        self._sent_since = datetime.min.replace(tzinfo=UTC)
        self._bounced_since: datetime | None = None
        self._applied: dict[str, RunFile] = {}
        self._open: dict[tuple[str, InvitationKey], OpenIntent] = {}
        self._sent: dict[tuple[str, InvitationKey], SentDeletion] = {}
        self._plans: dict[PlanScope, tuple[RunFile, int]] = {}
        self._entries = EntryLog()
        self._readings: dict[tuple[str, str | None], dict[str, _LastReading]] = {}
        self._announcements: dict[str, dict[AnnouncementKey, HeldAnnouncement]] = {}  # by base URL
        self._deletions = HashCounts()  # by organization, place, user
        self._gone_users = HashCounts()
        self._names: dict[str, str] = {}
        self._sunsets: dict[str, dict[Source, date]] = {}
        self._members: dict[tuple[str, str], dict[str, int]] = {}  # by base URL and mode
        self._keep_entries: dict[str, dict[tuple[str, str], int]] = {}  # by base URL

    @classmethod
    def read(
        cls,
        directory: AuditDirectory,
        *,
        now: datetime | None = None,
        period: timedelta = WINDOW,
    ) -> "History":
        """Return what the last runs of an audit directory did.

        Args:
            now: The instant of the run that asks; None to read all runs.
            period: How far back it asks for what was sent, which may be longer than 100 days.

        Raises:
            DamagedLog: The log is damaged, so that a run cannot rely on it.
        """
        history = cls()
        if now is None:
            history.add(directory.reader())
        else:
            history.add_recent(directory, now, period)
        return history

    def add_recent(
        self, directory: AuditDirectory, now: datetime, period: timedelta = WINDOW
    ) -> None:
        """Add the runs by which one judges that began now; as `read` and `add`."""
        self._sent_since = now - period
        self._bounced_since = now - WINDOW
        started_s = time.perf_counter()
        try:
            self.add(directory.recent(now - max(period, WINDOW)))
        finally:
            self.read_s = time.perf_counter() - started_s

    def add(self, reader: LogReader) -> None:
        """Add the runs of a reader; of a damaged log, what precedes the damage.

        Raises:
            DamagedLog: The log is damaged.
        """
        for chain in reader:
            self._add_run(chain)

    def applied_by(self, plan_sha256: str) -> RunFile | None:
        """Return the file of the sweep that completed a saved plan."""
        return self._applied.get(plan_sha256)

    def open_intents(self, base_url: str) -> dict[str, tuple[OpenIntent, ...]]:
        """Return the intents without an outcome against a base URL, of organizations with some."""
        by_organization: dict[str, list[OpenIntent]] = {}
        for opened in self._open.values():
            if opened.run.start.base_url == base_url:
                by_organization.setdefault(opened.intent.org_id, []).append(opened)
        return {org_id: tuple(intents) for org_id, intents in by_organization.items()}

    def announcements(self, base_url: str) -> Mapping[AnnouncementKey, HeldAnnouncement]:
        """Return the announcements that hold against a base URL."""
        return self._announcements.get(base_url, {})

    def sent_within(self, period: timedelta, now: datetime) -> tuple[SentDeletion, ...]:
        """Return the deletions that all runs of the directory sent within a period before now.

        Every intent counts whose DELETE is not proven unsent, whatever its outcome. The instant is
        that of its run: the clock of a machine may step while the run is at work, so that the
        times of its lines prove nothing. A period of 0 has none.
        """
        if not period:
            return ()
        since = now - period
        return tuple(deletion for deletion in self._sent.values() if deletion.instant > since)

    def deleted_within(self, period: timedelta, now: datetime) -> Counter[str]:
        """Return how many deletions `sent_within` has in each place."""
        return Counter(deletion.place for deletion in self.sent_within(period, now))

    def times_deleted(self, *entries: Invitation) -> int:
        """Return how often this user's invitation to the same place was deleted.

        An invitation that returns after each deletion is likely created by another program. The
        places are those of its entries; the highest number counts. Names that look the same are
        one, as for `keep`.
        """
        org_id, user = entries[0].user_key
        user = casefold_lookalike(user)
        places = {entry.scope_id for entry in entries}
        counts = [self._deletions.count((org_id, place, user)) for place in places]
        return max(counts)

    def is_gone(self, user: UserKey) -> bool:
        """Return whether an invitation of the user was deleted, or was gone when it was to be."""
        return self._gone_users.count(user) > 0

    def last_plan(self, scope: PlanScope) -> LastPlan | None:
        """Return the last whole plan of a scope, which is read again from its file.

        Raises:
            DamagedLog: The file was changed since it was read.
        """
        if scope not in self._plans:
            return None
        file, position = self._plans[scope]
        keys: dict[InvitationKey, tuple[InvitationKey, ...]] = {}
        start: RunStarted | None = None
        end: RunFinished | None = None
        for _, event in FileChain(file).events():
            if isinstance(event, Planned):
                keys[event.key] = event.keys
            elif isinstance(event, RunStarted):
                start = event
            elif isinstance(event, RunFinished):
                end = event
        if start is None or end is None:
            return None  # it had both a moment ago
        entries = {key for named in keys.values() for key in named}
        deleted = frozenset(self._entries.deleted_since(position, entries))
        return LastPlan(file.run_id, start, end, keys, deleted)

    def last_complete(self, scope_sha256: str, base_url: str, today: date) -> CompleteRun | None:
        """Return what the last complete runs left; None without one.

        This is what the population guard compares a reading with: a list that suddenly has far
        fewer entries than the program left in it was probably not read to its end, or the
        credentials see less than they did, and then nothing may be deleted by it. So the numbers
        are those of a run that read everything, less what runs ended since: their own deletions
        are no drop, neither those that Atlas confirmed nor those that it may have done. Lists lag
        behind deletions and answers get lost, so an intent counts whatever its outcome. Nor are
        entries that have expired, which leave the lists by themselves.

        A run is complete if it ended with exit code 0, 4 or 10: it was neither refused nor
        stopped. The same holds for each organization in it: one that a guard kept out, or that
        failed, has the numbers of the run before. A dry run counts until there is a sweep: later,
        one with `--accept-population` must not become what sweeps are compared with. Runs of
        another scope count until there is one of this scope: after a change of the policy, the
        projects that both read can still be compared.
        """
        same = self._readings.get((base_url, scope_sha256), {})
        # None: of any scope. An organization that this scope has read counts as it was read there.
        readings = self._readings.get((base_url, None), {}) | same
        if not readings:
            return None
        lists: _Lists = {}
        for reading in readings.values():
            lists |= reading.lists
        # Each list has a position of its own: one that the last run could not read has the number
        # of an earlier run, and what ended in between is missing in it, too.
        positions = {(base_url, key): read.position for key, read in lists.items()}
        gone = self._entries.ended_since(positions, today)
        left: dict[ListKey, int] = {}
        for key, read in lists.items():
            count = read.entries - expired_by(read.expiring, today) - gone[base_url, key]
            if count > 0:
                left[key] = count
        return CompleteRun(
            projects={org_id: reading.projects for org_id, reading in readings.items()},
            entries=left,
            other_scope=frozenset(readings.keys() - same.keys()),
        )

    def sunsets(self, base_url: str) -> dict[Source, date]:
        """Return the end of each source as the last runs against a base URL recorded it."""
        return self._sunsets.get(base_url, {})

    def members(self, base_url: str) -> dict[str, int]:
        """Return how many active members each organization last had, where it was read.

        As for `last_complete`, a dry run counts only where no sweep has read them.
        """
        by_dry_runs = self._members.get((base_url, "dry-run"), {})
        return by_dry_runs | self._members.get((base_url, "sweep"), {})

    def people_of_keep_entries(self, base_url: str) -> Mapping[tuple[str, str], int]:
        """Return the most people whom one run saw behind each keep entry, by name and last day.

        A run counts them from 7 days before the last day of an entry to 7 days after it. Entries
        of nobody are left out, and one whose last day was moved is another entry.
        """
        return self._keep_entries.get(base_url, {})

    def organization_names(self) -> Mapping[str, str]:
        """Return the names of organizations by id, as the last run that knew them recorded them."""
        return self._names

    def _add_run(self, chain: FileChain) -> None:
        """Add a run: what it read counts before what it ended, which its last line says late."""
        run = _Run(RunRecord(chain.file), len(self._entries))
        self.last = run.record
        self.run_ids.append(run.record.run_id)
        for line in chain:
            name = line.header.event
            if name == Intent.event:
                run.opened[_fields(line.raw)] = line
            elif name == Planned.event:
                run.record.planned += 1
            elif name in _NEEDED and (event := chain.decode(line)) is not None:
                self._add(run, line, event)
        for line in run.opened.values():
            intent = chain.decode(line)
            if isinstance(intent, Intent):
                self._add_open(run, intent)

    def _add(self, run: _Run, line: ChainLine, event: Event) -> None:
        record = run.record
        match event:
            case OutcomeLine(recovers=None):
                self._add_outcome(run, line, event)
            case OutcomeLine():
                self._add_recovered(event)
            case Announced() | AnnouncementEnded():
                self._add_announcement(record, event)
            case RunStarted():
                record.start = event
                run.began_at = parse_timestamp(event.now) or _UNKNOWN_INSTANT
                since = self._bounced_since
                run.is_old = since is not None and run.began_at < since
            case RunFinished():
                record.end = event
                record.finished_at = line.header.ts
                self._add_end(record, event, run.position)
            case _:
                pass

    def _add_open(self, run: _Run, intent: Intent) -> None:
        """Add an intent that no outcome has the bytes of."""
        record = run.record
        if intent.key not in run.resolved:
            self._open[record.run_id, intent.key] = OpenIntent(record, intent)
        if record.mode != "restore":
            self._add_entries(record.start.base_url, intent, Fate.ENDED)
            self._add_sent(run, intent)

    def _add_sent(self, run: _Run, request: Intent | OutcomeLine) -> None:
        if run.began_at > self._sent_since:
            key = run.record.run_id, request.key
            self._sent[key] = SentDeletion(run.began_at, request.scope_id)

    def _add_outcome(self, run: _Run, line: ChainLine, event: OutcomeLine) -> None:
        """Add an outcome of the run's own request."""
        record = run.record
        outcome = event.outcome
        record.count(event)
        opened = run.opened.pop(_fields(line.raw), None)
        if opened is None:
            run.resolved.add(event.key)
        if record.mode == "restore":
            return
        if event.replaces is not None:  # its request was counted with the outcome that it replaces
            self._add_gone(run, event, event.replaces, times=-1)
        elif opened is not None and event.attempts > 0 and outcome not in _NOTHING_SENT:
            self._add_sent(run, event)
        if outcome == Outcome.DELETED:
            self._add_entries(record.start.base_url, event, Fate.DELETED)
        elif opened is not None or outcome not in _NOT_ENDED:
            self._add_entries(record.start.base_url, event, Fate.ENDED)
        self._add_gone(run, event, outcome)

    def _add_recovered(self, event: OutcomeLine) -> None:
        """Add what a run found out about a request that an earlier one left open."""
        sender = self._open.pop((event.recovers or "", event.key), None)
        if sender is None or sender.run.mode == "restore":
            return
        if event.outcome in _GONE:
            self._gone_users.add(event.user_key)

    def _add_entries(self, base_url: str, request: Intent | OutcomeLine, fate: Fate) -> None:
        """Add what a request did to each entry of its invitation."""
        self._entries.add(base_url, request.key, fate, request.expires_at)
        for entry in request.entries:
            self._entries.add(base_url, entry.key(request.org_id), fate, entry.expires_at)

    def _add_gone(self, run: _Run, event: OutcomeLine, outcome: str, *, times: int = 1) -> None:
        """Count an invitation that is gone; -1 times where a later outcome counts in its place."""
        if outcome not in _GONE:
            return
        user_key = event.user_key
        self._gone_users.add(user_key, times)
        if outcome != Outcome.DELETED:
            return
        if held := self._announcements.get(run.record.start.base_url):
            held.pop(announcement_key(event), None)
        if not run.is_old:
            org_id, name = user_key
            user = casefold_lookalike(name)
            places = {event.scope_id}
            for entry in event.entries:
                places.add(entry.project_id or org_id)
            for place in places:
                self._deletions.add((org_id, place, user), times)

    def _add_announcement(self, record: RunRecord, event: Announced | AnnouncementEnded) -> None:
        """Add or end an announcement; one of a run without a readable instant does not hold."""
        held = self._announcements.setdefault(record.start.base_url, {})
        key = announcement_key(event)
        held.pop(key, None)  # a new one comes last
        instant = parse_timestamp(record.start.now)
        if isinstance(event, Announced) and instant is not None:
            held[key] = HeldAnnouncement(event, instant, record.run_id)

    def _add_end(self, record: RunRecord, end: RunFinished, position: int) -> None:
        """Add what the last line of a run says; `position` is that of the entries that it ended."""
        start = record.start
        if record.mode == "sweep" and start.plan_sha256 and end.exit_code in _APPLIED_CODES:
            self._applied.setdefault(start.plan_sha256, record.file)
        if record.mode != "restore" and status_of(end.exit_code) is Status.DONE:
            self._add_success(parse_timestamp(record.finished_at))
        for source, day in end.sunsets.items():
            with suppress(ValueError):  # of a later version
                known = self._sunsets.setdefault(start.base_url, {})
                known[Source(source)] = date.fromisoformat(day)
        members = self._members.setdefault((start.base_url, start.mode), {})
        members |= end.members
        self._add_keep_entries(start.base_url, end)
        for organization in end.organizations:
            if organization.name:
                self._names[organization.id] = organization.name
        scope = _plan_scope(start, end)
        if scope is not None:
            self._plans[scope] = record.file, position
        for org_id, projects in _projects(record).items():
            self._add_reading(record, end, org_id, projects, position)

    def _add_success(self, finished_at: datetime | None) -> None:
        """Add when a run succeeded; the clock of an earlier run may have been ahead."""
        if finished_at is None:
            return
        if self.last_success is None or finished_at > self.last_success:
            self.last_success = finished_at

    def _add_reading(
        self, record: RunRecord, end: RunFinished, org_id: str, projects: int, position: int
    ) -> None:
        """Add what a complete run read of an organization, for its scope and for any scope.

        The first sweep takes the place of all dry runs, and after it no dry run counts: one with
        `--accept-population` must not become what sweeps are compared with.
        """
        start = record.start
        is_sweep = start.mode == "sweep"
        for scope_sha256 in {start.scope_sha256, None}:
            readings = self._readings.setdefault((start.base_url, scope_sha256), {})
            before = readings.get(org_id)
            lists: _Lists = {}
            if before is not None and before.by_sweep == is_sweep:
                lists = before.lists
            elif before is not None and before.by_sweep:
                continue  # a dry run after a sweep
            lists = _read_lists(lists, end, org_id, position)
            readings[org_id] = _LastReading(is_sweep, projects, lists)

    def _add_keep_entries(self, base_url: str, end: RunFinished) -> None:
        """Add how many people a run saw behind the keep entries that end; the most count."""
        people = self._keep_entries.setdefault(base_url, {})
        for entry in end.keep_entries:
            if entry.people and entry.until is not None:
                key = entry.name, entry.until
                people[key] = max(people.get(key, 0), entry.people)


def _read_lists(before: _Lists, end: RunFinished, org_id: str, position: int) -> _Lists:
    """Return the lists after a run that read those of an organization; an unread one stays.

    A source that the run did not read stays whole. Of one that it read, only the lists that it
    could not read stay: the others are as it found them, and gone where they had nothing.
    """
    lists = dict(before)
    for read in end.lists:
        if read.org_id != org_id:
            continue
        source = read.source.value
        unread = frozenset(read.unread)
        for key in tuple(lists):
            if key[:2] == (source, org_id) and key[2] not in unread:
                del lists[key]
        counts = read.by_project
        if read.source.is_organization_level:
            counts = {org_id: read.entries}
        for place, count in counts.items():
            if place not in unread:
                expiring = read.expiring.get(place, {})
                lists[source, org_id, place] = _ListRead(count, position, expiring)
    return lists


def _projects(run: RunRecord) -> dict[str, int]:
    """Return the projects of each organization that a complete run read and no guard kept out."""
    if run.end is None or run.exit_code not in COMPLETE_EXIT_CODES or run.mode == "restore":
        return {}
    projects: dict[str, int] = {}
    for organization in run.end.organizations:
        if organization.plan_made and organization.exit_code in COMPLETE_EXIT_CODES:
            projects[organization.id] = organization.projects_seen - organization.projects_gone
    return projects


def _plan_scope(start: RunStarted, end: RunFinished) -> PlanScope | None:
    """Return the scope in which a run planned everything that is stale; None if it did not.

    A sweep of a saved plan and a trimmed plan list only a part of it.
    """
    if (
        start.mode == "restore"
        or start.plan_sha256 is not None
        or start.policy_sha256 is None
        or end.exit_code not in _PLANNING_CODES
        or not end.plan_made
        or end.trimmed
    ):
        return None
    return PlanScope(start.policy_sha256, frozenset(start.organizations), start.base_url)
