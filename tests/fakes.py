"""Fakes with state: an Atlas in memory and a journal that remembers, told when to fail."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field

from invite_sweeper.errors import AuditLogError
from invite_sweeper.models import (
    DeletionProgress,
    DeletionResult,
    Invitation,
    ListUnreadable,
    Outcome,
    PlannedDeletion,
    Project,
    ProjectGone,
    Source,
)


@dataclass
class FakeAtlas:
    """Implements Reader and Deleter.

    Attributes:
        holds: Invitations by project id; by source and id for another source than `invites`.
        answers: What a listing answers instead, likewise (a value, or an error to raise).
        fails: What becomes of a deletion, by invitation id: an outcome, or a whole Deletion.
        dry: Seconds that a project's bucket makes wait, by project id; each wait is told once.
        gate: While it is clear, deletions hang; set by default.
    """

    listed: list[Project | ListUnreadable] = field(default_factory=list)
    holds: dict[object, tuple[Invitation, ...]] = field(default_factory=dict)
    answers: dict[object, object] = field(default_factory=dict)
    fails: dict[str, DeletionResult] = field(default_factory=dict)
    dry: dict[str, list[float]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.gate.set()

    async def projects(self) -> AsyncIterator[Project | ListUnreadable]:
        for project in self.listed:
            yield project

    async def invitations(
        self, project: Project, source: Source = Source.INVITES
    ) -> tuple[Invitation, ...] | ListUnreadable | ProjectGone:
        self.asked.append(project.id)
        await asyncio.sleep(0)
        key = project.id if source is Source.INVITES else (source, project.id)
        answer = self.answers.get(key, self.holds.get(key, ()))
        if isinstance(answer, Exception):
            raise answer
        return answer

    def try_acquire(self, invitation: Invitation) -> float:
        waits = self.dry.get(invitation.project_id)
        return waits.pop(0) if waits else 0.0

    async def delete(self, invitation: Invitation, progress: DeletionProgress) -> DeletionResult:
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        progress.attempts += 1
        progress.response_pending = True
        try:
            await asyncio.sleep(0)
            await self.gate.wait()
        finally:
            self.in_flight -= 1
        progress.response_pending = False
        progress.http_status = 204
        ended = self.fails.get(invitation.id)
        if ended is None:
            self.deleted.append(invitation.id)
            return DeletionResult(Outcome.DELETED, 1, 204)
        return ended


@dataclass
class FakeDeletionLog:
    """Remembers what it is told, in order; fails from `fails_at` durable calls on."""

    lines: list[tuple[str, str]] = field(default_factory=list)
    on_disk: int = 0
    fails_at: int | None = None
    calls: int = 0

    @property
    def failed(self) -> bool:
        return self.fails_at is not None and self.calls >= self.fails_at

    def write_intents(self, group: Iterable[PlannedDeletion]) -> None:
        for planned in group:
            self._add("intent", planned)

    def write_outcome(
        self, planned: PlannedDeletion, deletion: DeletionResult, duration_ms: float
    ) -> None:
        assert duration_ms >= 0
        self._add(deletion.outcome.value, planned)

    async def sync(self) -> None:
        self.calls += 1
        await asyncio.sleep(0)
        if self.failed:
            raise AuditLogError("The disk is full.")
        self.on_disk = len(self.lines)

    def _add(self, what: str, planned: PlannedDeletion) -> None:
        if self.failed:
            raise AuditLogError("The disk is full.")
        self.lines.append((what, planned.invitation.id))

    def outcomes(self) -> dict[str, str]:
        return {who: what for what, who in self.lines if what != "intent"}


class ListQueue:
    """A lane over a list; counts how often it was told to rest."""

    def __init__(self, planned: list[PlannedDeletion]) -> None:
        self.left = list(planned)
        self.on_backoff = 0

    def peek(self) -> PlannedDeletion | None:
        return self.left[0] if self.left else None

    def pop(self) -> None:
        self.left.pop(0)

    def release_memory(self) -> None:
        self.on_backoff += 1
