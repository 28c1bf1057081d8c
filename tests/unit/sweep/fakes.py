"""Stateful fakes: an in-memory Atlas, and an in-memory audit log that can fail."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from builders import ORG

from invite_sweeper.atlas.http import RequestCounters
from invite_sweeper.audit.events import Intent, OutcomeLine
from invite_sweeper.errors import AuditLogError
from invite_sweeper.models import (
    Invitation,
    Invitations,
    ListUnreadable,
    Project,
    ProjectGone,
    Source,
)
from invite_sweeper.outcomes import Outcome, Sending


@dataclass
class FakeAtlas:
    """Stands for the client of an organization: its lists do not contain what it deleted.

    A DELETE in an organization ends what its other lists and those of its projects show of the
    person. What is in `results` stays, whatever the answer says. What was asked for, requested and
    deleted is recorded in order, by name, id of a project, of an organization or an invitation.

    Attributes:
        listed: The projects, or why one is not known, that `projects` returns; an error is raised.
        lists: Invitations by source and place, as `show` adds them.
        list_results: Results of listings instead, by source and place or by place; an error is
            raised.
        teams: Ids of the teams of a project, by project id; none by default.
        results: Results of deletions other than `deleted`, by invitation id.
        members: The active members of every organization, or why they are not known.
        answers: Whether a person is an active member, asked for by name; by default none is.
        on_list: Called with the project of a list that is read.
        on_delete: Called with an invitation whose deletion begins.
        answer: Called before a request is sent; what it returns is the answer, or None for the
            usual one.
        gate: While it is clear, deletions block; it is set by default.
    """

    actor = "client"

    listed: list[Project | ListUnreadable] | Exception = field(default_factory=list)
    names: dict[str, str] | Exception = field(default_factory=lambda: {ORG: "Alpha"})
    expiries: tuple[datetime, ...] = ()
    lists: dict[tuple[Source, str], tuple[Invitation, ...]] = field(default_factory=dict)
    list_results: dict[object, object] = field(default_factory=dict)
    teams: dict[str, frozenset[str] | ListUnreadable | Exception] = field(default_factory=dict)
    results: dict[str, Sending] = field(default_factory=dict)
    waits_s: dict[str, list[float]] = field(default_factory=dict)
    members: frozenset[str] | ListUnreadable = frozenset()
    answers: dict[str, bool | ListUnreadable] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    requested: list[str] = field(default_factory=list)
    teams_requested: list[str] = field(default_factory=list)
    api_keys: dict[str, str] | ListUnreadable = field(default_factory=dict)
    keys_requested: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    on_list: Callable[[Project], object] = id
    on_delete: Callable[[Invitation], object] = id
    answer: Callable[[Invitation, Sending], Awaitable[Sending | None]] | None = None
    clock_skew_s: float | None = 0.0
    sunsets: dict[Source, date] = field(default_factory=dict)
    counters: RequestCounters = field(default_factory=RequestCounters)
    in_flight: int = 0
    max_in_flight: int = 0
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.gate.set()
        self.server = self.reader = self

    def deleter(self, sources: Sequence[Source], absent: frozenset[object]) -> "FakeAtlas":
        self.deletes_from = sources
        self.absent = absent
        return self

    def show(self, *invitations: Invitation) -> None:
        for each in invitations:
            key = each.source, each.place_id
            self.lists[key] = (*self.lists.get(key, ()), each)

    async def projects(self) -> tuple[Project | ListUnreadable, ...]:
        return tuple(_raised(self.listed))

    async def invitations(
        self, project: Project, source: Source = Source.INVITES
    ) -> Invitations | ListUnreadable | ProjectGone:
        self.requested.append(project.id)
        self.on_list(project)
        await asyncio.sleep(0)
        key = source, project.id
        result = self.list_results.get(key, self.list_results.get(project.id))
        return self.lists.get(key, ()) if result is None else _raised(result)

    async def organizations(self) -> dict[str, str]:
        return _raised(self.names)

    async def secret_expiries(self, _org_id: str) -> tuple[datetime, ...]:
        return self.expiries

    async def api_key_names(self, org_id: str) -> dict[str, str] | ListUnreadable:
        self.keys_requested.append(org_id)
        await asyncio.sleep(0)
        return self.api_keys

    async def project_teams(self, project: Project) -> frozenset[str] | ListUnreadable:
        self.teams_requested.append(project.id)
        await asyncio.sleep(0)
        return _raised(self.teams.get(project.id, frozenset()))

    async def active_members(self, _org_id: str) -> frozenset[str] | ListUnreadable:
        return self.members

    async def is_active_member(self, _org_id: str, username: str) -> bool | ListUnreadable:
        self.asked.append(username)
        await asyncio.sleep(0)
        return self.answers.get(username, False)

    def try_acquire(self, invitation: Invitation) -> float:
        waits = self.waits_s.get(invitation.place_id)
        return waits.pop(0) if waits else 0.0

    async def delete(self, invitation: Invitation, progress: Sending) -> Sending:
        self.on_delete(invitation)
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        try:
            answer = None if self.answer is None else await self.answer(invitation, progress)
            if answer is not None:
                return answer
            progress.attempts += 1
            progress.response_pending = True
            await asyncio.sleep(0)
            await self.gate.wait()
        finally:
            self.in_flight -= 1
        progress.response_pending = False
        progress.http_status = 204
        result = self.results.get(invitation.invitation_id)
        if result is not None:
            return result
        self.deleted.append(invitation.invitation_id)
        for key, listed in self.lists.items():
            self.lists[key] = tuple(each for each in listed if not _is_ended(invitation, each))
        return Sending(Outcome.DELETED, 1, 204)


def _raised(result: Any) -> Any:
    if isinstance(result, Exception):
        raise result
    return result


def _is_ended(deleted: Invitation, each: Invitation) -> bool:
    if not deleted.source.is_organization_level:
        return each.key == deleted.key
    same = (each.org_id, each.username) == (deleted.org_id, deleted.username)
    return same and each.source is not Source.INVITES


@dataclass
class FakeDeletionLog:
    """Records the intents and outcomes in order; from the sync number `fails_at` on, all fails.

    Attributes:
        on_sync: Called after each sync.
    """

    lines: list[tuple[str, str]] = field(default_factory=list)
    events: list[Intent | OutcomeLine] = field(default_factory=list)
    on_disk: int = 0
    fails_at: int | None = None
    on_sync: Callable[[], object] = int
    calls: int = 0

    @property
    def failed(self) -> bool:
        return self.fails_at is not None and self.calls >= self.fails_at

    def write(self, event: Intent | OutcomeLine) -> None:
        if self.failed:
            raise AuditLogError("The disk is full.")
        what = "intent" if isinstance(event, Intent) else event.outcome
        self.lines.append((what, event.invitation_id))
        self.events.append(event)

    async def sync(self) -> None:
        self.calls += 1
        await asyncio.sleep(0)
        if self.failed:
            raise AuditLogError("The disk is full.")
        self.on_disk = len(self.lines)
        self.on_sync()

    def outcomes(self) -> dict[str, str]:
        return {each: event for event, each in self.lines if event != "intent"}
