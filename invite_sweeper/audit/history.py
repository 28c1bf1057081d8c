"""What happened before: everything that the files of earlier runs say, from one pass over them."""

from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import date, datetime, timedelta
from typing import Final, NamedTuple, TypeAlias, cast

import msgspec
from msgspec import structs

from invite_sweeper.audit.directory import RunFile
from invite_sweeper.audit.events import (
    Announced,
    AnnouncementEnded,
    AnnouncementKey,
    Event,
    Intent,
    Mode,
    OutcomeLine,
    Planned,
    RunFinished,
    RunStarted,
    announcement_key,
    format_timestamp,
)
from invite_sweeper.audit.reader import read_events
from invite_sweeper.endings import COMPLETE_EXIT_CODES, ExitCode, WarningCode
from invite_sweeper.models import (
    Invitation,
    InvitationKey,
    ListKey,
    Outcome,
    Source,
    UserKey,
    parse_timestamp,
)
from invite_sweeper.text import casefold_lookalike

_PLANNING_CODES: Final = COMPLETE_EXIT_CODES | {ExitCode.REFUSED}
"""Exit codes of runs with a whole plan; a run that a guard refused may have one."""
_APPLIED_CODES: Final = frozenset({ExitCode.DONE, ExitCode.PARTIAL})
"""Exit codes of a sweep that completed a saved plan."""
_NOTHING_SENT: Final = frozenset({Outcome.SKIPPED, Outcome.CHANGED, Outcome.ACCEPTED_BEFORE})
_STILL_LISTED: Final = frozenset({Outcome.SKIPPED, Outcome.CHANGED, Outcome.FAILED})
_Lists: TypeAlias = dict[ListKey, tuple[int, set[InvitationKey]]]
"""The entries that a list had when it was last read, and those that requests have ended since."""


_NOT_STARTED: Final = RunStarted(
    mode=cast("Mode", ""),
    tool_version="",
    policy_sha256=None,
    policy_path=None,
    organizations=(),
    actors={},
    base_url="",
    now="",
    shard=None,
)


class RunRecord(msgspec.Struct, eq=False):
    """One run.

    Attributes:
        start: Its first line; one without values if it was killed before.
        end: Its last line; None if the run did not finish, or is at work.
        finished_at: When the last line was written, RFC 3339; "" without one.
        planned: Its `planned` lines.
        outcomes: Its outcomes, without those of an interrupted run that it resolved.
        ended: The entries that its requests ended, or may have ended.
        last_hash: Of the last line, of a run that has just ended; "" otherwise.
    """

    file: RunFile
    start: RunStarted = _NOT_STARTED
    end: RunFinished | None = None
    finished_at: str = ""
    planned: int = 0
    outcomes: Counter[str] = msgspec.field(default_factory=Counter)
    ended: set[InvitationKey] = set()
    last_hash: str = ""

    def without_people(self) -> "RunRecord":
        """Return it for readers to whom no person is named.

        Warnings about the policy are left out: a pattern of it may be a person's address.
        """
        if self.end is None:
            return self
        warnings = tuple(
            structs.replace(warning, people=())
            for warning in self.end.warnings
            if warning.code != WarningCode.POLICY
        )
        end = structs.replace(self.end, warnings=warnings, removed_members=())
        return structs.replace(self, end=end)

    @property
    def run_id(self) -> str:
        """The id of the run."""
        return self.file.run_id

    @property
    def mode(self) -> str:
        """The mode; "" without a first line."""
        return self.start.mode

    @property
    def exit_code(self) -> int | None:
        """The exit code; None if the run did not finish."""
        return self.end.exit_code if self.end is not None else None


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


class CompleteRun(NamedTuple):
    """What the last complete runs left, the projects by organization.

    Attributes:
        entries: By list; without those that a run has ended since, and only lists that have some.
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
    deleted: set[InvitationKey]


class History:
    """The history of an audit directory. `read` builds it.

    Attributes:
        runs: In the order in which they began.
    """

    def __init__(self) -> None:
        self.runs: list[RunRecord] = []
        self._open: dict[tuple[str, InvitationKey], OpenIntent] = {}
        self._sent: dict[tuple[str, InvitationKey], tuple[str, str]] = {}  # to time and project
        self._plans: dict[PlanScope, LastPlan] = {}
        self._planned: dict[InvitationKey, tuple[InvitationKey, ...]] = {}  # by the run just read
        self._deleted: set[InvitationKey] = set()
        self._announcements: dict[str, dict[AnnouncementKey, HeldAnnouncement]] = {}  # by base URL
        self._deletions: Counter[tuple[str, str, str]] = Counter()  # by organization, place, user
        self._gone_users: set[UserKey] = set()

    @classmethod
    def read(cls, files: Iterable[RunFile]) -> "History":
        """Return the history of runs, whose files are in order; see `add`."""
        history = cls()
        for file in files:
            history.add(file)
        return history

    def add(self, file: RunFile) -> None:
        """Add the next run; of a damaged file, what precedes the damage.

        Raises:
            DamagedLog: A file or a line cannot be read; a run cannot rely on the rest.
        """
        run = RunRecord(file)
        self.runs.append(run)
        self._planned, self._deleted = {}, set()
        for header, event in read_events(file.path):
            self._add(run, header.ts, event)
        if run.end is not None and (scope := _plan_scope(run.start, run.end)) is not None:
            plan = LastPlan(run.run_id, run.start, run.end, self._planned, self._deleted)
            self._plans[scope] = plan

    def last_sweep(self) -> RunRecord | None:
        """Return the last sweep, finished or not."""
        return next((run for run in reversed(self.runs) if run.mode == "sweep"), None)

    def applied_by(self, plan_sha256: str) -> RunRecord | None:
        """Return the sweep that completed a saved plan."""
        applied = (
            run
            for run in self.runs
            if (run.mode, run.start.plan_sha256) == ("sweep", plan_sha256)
            and run.exit_code in _APPLIED_CODES
        )
        return next(applied, None)

    def open_intents(self, base_url: str) -> dict[str, tuple[OpenIntent, ...]]:
        """Return the intents without an outcome against a base URL, of organizations with some."""
        found: dict[str, tuple[OpenIntent, ...]] = {}
        for each in self._open.values():
            if each.run.start.base_url == base_url:
                org_id = each.intent.org_id
                found[org_id] = (*found.get(org_id, ()), each)
        return found

    def announcements(self, base_url: str) -> Mapping[AnnouncementKey, HeldAnnouncement]:
        """Return the announcements that hold against a base URL."""
        return self._announcements.get(base_url, {})

    def deleted_within(self, period: timedelta, now: datetime) -> Counter[str]:
        """Return how many invitations all runs of the directory deleted within a period before now.

        Every intent counts whose DELETE is not proven unsent, whatever its outcome. One with a
        date after now counts as well: the clock was set back. A period of 0 has none.

        Returns:
            The numbers by the project of the entry that names the invitation; by the organization
            for those of its own lists.
        """
        since = format_timestamp(now - period)
        return Counter(place for ts, place in self._sent.values() if period and ts > since)

    def times_deleted(self, *entries: Invitation) -> int:
        """Return how often this user's invitation to the same place was deleted.

        An invitation that returns after each deletion is likely created by another program. The
        places are those of its entries; the highest number counts. Names that look the same are
        one, as for `keep`.
        """
        org_id, user = entries[0].user_key
        user = casefold_lookalike(user)
        return max(self._deletions[org_id, each.scope_id, user] for each in entries)

    def is_gone(self, user: UserKey) -> bool:
        """Return whether an invitation of the user was deleted, or was gone when it was to be."""
        return user in self._gone_users

    def last_plan(self, scope: PlanScope) -> LastPlan | None:
        """Return the last whole plan of a scope."""
        return self._plans.get(scope)

    def last_complete(self, scope_sha256: str, base_url: str) -> CompleteRun | None:
        """Return what the last complete runs left; None without one.

        A run is complete if it ended with exit code 0, 4 or 10: it was neither refused nor
        stopped. The same holds for each organization in it: one that a guard kept out, or that
        failed, has the numbers of the run before. A dry run counts until there is a sweep: later,
        one with `--accept-population` must not become what sweeps are compared with. Runs of
        another scope count until there is one of this scope.
        """
        runs = [run for run in self.runs if run.start.base_url == base_url]
        ranks: dict[str, tuple[bool, bool]] = {}
        for run in runs:
            rank = _rank(run, scope_sha256)
            ranks |= {org_id: min(rank, ranks.get(org_id, rank)) for org_id in _projects(run)}
        projects: dict[str, int] = {}
        lists: _Lists = {}
        for run in runs:
            for org_id, count in _projects(run).items():
                if ranks[org_id] == _rank(run, scope_sha256):
                    projects[org_id] = count
                    lists = _read_lists(lists, run, org_id)
            for key in run.ended:
                if key[:3] in lists:
                    lists[key[:3]][1].add(key)
        left = {key: count - len(ended) for key, (count, ended) in lists.items()}
        entries = {key: count for key, count in left.items() if count > 0}
        others = frozenset(org_id for org_id, rank in ranks.items() if rank[0])
        return CompleteRun(projects, entries, others) if ranks else None

    def sunsets(self, base_url: str) -> dict[Source, date]:
        """Return the end of each source as the last runs against a base URL recorded it."""
        found: dict[Source, date] = {}
        for end in self._ended_runs(base_url):
            for source, day in end.sunsets.items():
                with suppress(ValueError):  # of a later version
                    found[Source(source)] = date.fromisoformat(day)
        return found

    def members(self, base_url: str) -> dict[str, int]:
        """Return how many active members each organization last had, where it was read.

        As for `last_complete`, a dry run counts only where no sweep has read them.
        """
        found: dict[str, int] = {}
        for mode in ("dry-run", "sweep"):
            for end in self._ended_runs(base_url, mode):
                found |= end.members
        return found

    def organization_names(self) -> dict[str, str]:
        """Return the names of organizations by id, as the last run that knew them recorded them."""
        return {
            each.id: each.name
            for run in self.runs
            if run.end is not None
            for each in run.end.organizations
            if each.name
        }

    def _ended_runs(self, base_url: str, mode: str | None = None) -> list[RunFinished]:
        return [
            run.end
            for run in self.runs
            if run.end is not None and run.start.base_url == base_url and mode in {None, run.mode}
        ]

    def _add(self, run: RunRecord, ts: str, line: Event) -> None:
        match line:
            case RunStarted() as event:
                run.start = event
            case RunFinished() as event:
                run.end, run.finished_at = event, ts
            case Planned() as event:
                run.planned += 1
                self._planned[event.key] = event.keys
            case Intent() as event:
                self._add_intent(run, ts, event)
            case OutcomeLine() as event:
                self._add_outcome(run, event)
            case Announced() | AnnouncementEnded() as event:
                self._add_announcement(run, event)
            case _:
                pass

    def _add_intent(self, run: RunRecord, ts: str, event: Intent) -> None:
        key = run.run_id, event.key
        self._open[key] = OpenIntent(run, event)
        if run.mode != "restore":
            self._sent[key] = ts, event.scope_id
            run.ended.update(event.keys)

    def _add_outcome(self, run: RunRecord, event: OutcomeLine) -> None:
        if event.recovers is None:
            run.outcomes[event.outcome] += 1
        if event.replaces is not None:
            run.outcomes[event.replaces] -= 1
        key = event.recovers or run.run_id, event.key
        opened = self._open.pop(key, None)
        sender = run if opened is None else opened.run
        if sender.mode == "restore":
            return
        unsent = event.attempts == 0 or event.outcome in _NOTHING_SENT
        if unsent and event.recovers is None and event.replaces is None:
            self._sent.pop(key, None)
        if event.outcome in _STILL_LISTED:
            sender.ended.difference_update(event.keys)
        else:
            sender.ended.update(event.keys)
        if event.outcome in {Outcome.DELETED, Outcome.ALREADY_GONE}:
            self._gone_users.add(event.user_key)
        if event.outcome == Outcome.DELETED:
            self._add_deletion(run, event)

    def _add_deletion(self, run: RunRecord, event: OutcomeLine) -> None:
        org_id, user = event.user_key
        user = casefold_lookalike(user)
        self._deletions.update((org_id, place, user) for place in {key[2] for key in event.keys})
        for deleted in (self._deleted, *(plan.deleted for plan in self._plans.values())):
            deleted.update(event.keys)
        held = self._announcements.get(run.start.base_url, {})
        held.pop(announcement_key(event), None)

    def _add_announcement(self, run: RunRecord, event: Announced | AnnouncementEnded) -> None:
        held = self._announcements.setdefault(run.start.base_url, {})
        held.pop(announcement_key(event), None)
        instant = parse_timestamp(run.start.now)
        if isinstance(event, Announced) and instant is not None:
            held[announcement_key(event)] = HeldAnnouncement(event, instant, run.run_id)


def _rank(run: RunRecord, scope_sha256: str) -> tuple[bool, bool]:
    """Return how well a run can be compared; the lowest is best."""
    return run.start.scope_sha256 != scope_sha256, run.mode == "dry-run"


def _projects(run: RunRecord) -> dict[str, int]:
    """Return the projects of each organization that a complete run read and no guard kept out."""
    if run.end is None or run.exit_code not in COMPLETE_EXIT_CODES or run.mode == "restore":
        return {}
    return {
        each.id: each.projects_seen - each.projects_gone
        for each in run.end.organizations
        if each.plan_made and each.exit_code in COMPLETE_EXIT_CODES
    }


def _read_lists(lists: _Lists, run: RunRecord, org_id: str) -> _Lists:
    """Return the lists after a run that read those of an organization; an unread one stays."""
    for read in run.end.lists if run.end is not None else ():
        if read.org_id != org_id:
            continue
        own, unread = (read.source.value, org_id), frozenset(read.unread)
        counts = {org_id: read.entries} if read.source.is_organization_level else read.by_project
        old = {key: found for key, found in lists.items() if key[:2] != own or key[2] in unread}
        new: _Lists = {(*own, id_): (n, set()) for id_, n in counts.items() if id_ not in unread}
        lists = old | new
    return lists


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
