"""What the tests of a restore share: an Atlas that is told how to answer, a journal, a clock."""

import asyncio
from dataclasses import dataclass, field

from builders import invitation

from invite_sweeper.errors import AuditUnwritable
from invite_sweeper.models import Invitation, Invited, Reply, Trail, Unreadable
from invite_sweeper.restore import Deleted, End
from invite_sweeper.text import fold

SENT = Invited(Reply.SENT, 200)
LATER = Invited(Reply.LATER, 400, "INVITATIONS_RATE_LIMITED_IP")
UNSURE = Invited(Reply.UNSURE)


def deleted(number: int = 1, **changes: object) -> Deleted:
    return Deleted("run-1", invitation(number, **changes), "forgotten")


@dataclass
class FakePost:
    """Implements Inviter and Roll: who is invited is there from then on.

    Attributes:
        replies: What each POST for an address answers, in order; after them it is sent.
        arrives: Addresses whose POST has its effect although the answer is no success.
        unreadable: What a look answers instead, if anything.
        gate: While it is clear, POSTs hang.
        sent: Addresses in the order of their POSTs.
        begun: POSTs so far, those that hang among them.
    """

    there: set[str] = field(default_factory=set)
    replies: dict[str, list[Invited]] = field(default_factory=dict)
    arrives: set[str] = field(default_factory=set)
    unreadable: Unreadable | Exception | None = None
    sent: list[str] = field(default_factory=list)
    looks: int = 0
    begun: int = 0
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.gate.set()

    async def invite(self, invitation: Invitation, trail: Trail) -> Invited:
        trail.attempts += 1
        trail.awaiting = True
        self.begun += 1
        await self.gate.wait()
        trail.awaiting = False
        name = invitation.username or ""
        self.sent.append(name)
        left = self.replies.get(name, [])
        reply = left.pop(0) if left else SENT
        trail.http_status = reply.http_status
        if reply.reply is Reply.SENT or name in self.arrives:
            self.there.add(fold(name))
        return reply

    async def present(self, invitation: Invitation) -> frozenset[str] | Unreadable:
        self.looks += 1
        if isinstance(self.unreadable, Exception):
            raise self.unreadable
        return self.unreadable or frozenset(self.there)


@dataclass
class Diary:
    """Implements Journal; fails from `fails_at` durable calls on."""

    lines: list[tuple[str, str]] = field(default_factory=list)
    fails_at: int | None = None
    calls: int = 0

    def intent(self, each: Deleted) -> None:
        self._add("intent", each)

    def outcome(self, each: Deleted, end: End, duration_ms: float) -> None:
        assert duration_ms >= 0
        self._add(end.outcome.value, each)

    async def durable(self) -> None:
        self.calls += 1
        if self.fails_at is not None and self.calls >= self.fails_at:
            raise AuditUnwritable("The disk is full.")

    def _add(self, what: str, each: Deleted) -> None:
        self.lines.append((what, each.invitation.username or ""))


class Clock:
    """Seconds that pass only while somebody rests."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.rests: list[float] = []

    def __call__(self) -> float:
        return self.now_s

    async def rest(self, seconds: float) -> None:
        self.rests.append(seconds)
        self.now_s += seconds
        await asyncio.sleep(0)
