"""Fakes for the tests of a restore: an Atlas with scripted replies, an audit log, a clock."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from builders import invitation
from invite_sweeper.restore.deletions import DeletedInvitation, RestoreResult

from invite_sweeper.errors import AuditLogError
from invite_sweeper.models import (
    DeletionProgress,
    Invitation,
    InviteResult,
    InviteStatus,
    ListUnreadable,
    Source,
)
from invite_sweeper.text import casefold_visible

SENT = InviteResult(InviteStatus.CREATED, 200)
ADDED = InviteResult(InviteStatus.ACTIVE, 201)
UNREAD = InviteResult(InviteStatus.UNREADABLE, 201)
LATER = InviteResult(InviteStatus.RETRY_LATER, 400, "INVITATIONS_RATE_LIMITED_IP")
UNSURE = InviteResult(InviteStatus.UNKNOWN)


def deleted(number: int = 1, **changes: object) -> DeletedInvitation:
    return DeletedInvitation(
        "run-1", invitation(number, **{"source": Source.INVITES, **changes}), "forgotten"
    )


@dataclass
class FakePost:
    """An Atlas that invites users and lists their names.

    Attributes:
        still_member: Users that are listed; an invited user is added.
        replies: Results of the POSTs for an address, in order; after them POSTs succeed.
        arrives: Addresses that are invited although the response is not a success.
        unreadable: The result of a listing instead; an error is raised.
        listed_status: The status of all listed users.
        send_count: Addresses in the order of their completed POSTs.
        looks: The number of listings.
        reached_atlas: The number of POSTs, including blocked ones.
        gate: While it is clear, POSTs block.
    """

    still_member: set[str] = field(default_factory=set)
    replies: dict[str, list[InviteResult]] = field(default_factory=dict)
    arrives: set[str] = field(default_factory=set)
    unreadable: ListUnreadable | Exception | None = None
    listed_status: str = "PENDING"
    send_count: list[str] = field(default_factory=list)
    looks: int = 0
    reached_atlas: int = 0
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.gate.set()

    async def invite(self, invitation: Invitation, progress: DeletionProgress) -> InviteResult:
        progress.attempts += 1
        progress.response_pending = True
        self.reached_atlas += 1
        await self.gate.wait()
        progress.response_pending = False
        name = invitation.username or ""
        self.send_count.append(name)
        left = self.replies.get(name, [])
        reply = left.pop(0) if left else SENT
        progress.http_status = reply.http_status
        if reply.status is InviteStatus.CREATED or name in self.arrives:
            self.still_member.add(casefold_visible(name))
        return reply

    async def statuses(self, invitation: Invitation) -> Mapping[str, str] | ListUnreadable:
        self.looks += 1
        if isinstance(self.unreadable, Exception):
            raise self.unreadable
        return self.unreadable or dict.fromkeys(self.still_member, self.listed_status)


@dataclass
class FakeRestoreLog:
    """An in-memory audit log; syncs fail from number `fails_at` on."""

    lines: list[tuple[str, str]] = field(default_factory=list)
    fails_at: int | None = None
    calls: int = 0

    def write_intent(self, each: DeletedInvitation) -> None:
        self._add("intent", each)

    def write_outcome(
        self, each: DeletedInvitation, end: RestoreResult, duration_ms: float
    ) -> None:
        assert duration_ms >= 0
        self._add(end.outcome.value, each)

    async def sync(self) -> None:
        self.calls += 1
        if self.fails_at is not None and self.calls >= self.fails_at:
            raise AuditLogError("The disk is full.")

    def _add(self, event: str, each: DeletedInvitation) -> None:
        self.lines.append((event, each.invitation.username or ""))


class Clock:
    """A clock that advances only in `rest`."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.on_backoff: list[float] = []

    def __call__(self) -> float:
        return self.now_s

    async def rest(self, seconds: float) -> None:
        self.on_backoff.append(seconds)
        self.now_s += seconds
        await asyncio.sleep(0)
