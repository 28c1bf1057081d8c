"""Places on the wire: how many requests are in flight, and what each one really sends."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import aiohttp

from invite_sweeper.atlas.faults import NEVER_SENT, CalledOff
from invite_sweeper.atlas.overdue import Overdue, Watch
from invite_sweeper.atlas.response import read_body
from invite_sweeper.outcome import Trail

_UNAUTHORIZED: Final = 401


@dataclass(slots=True)
class Counters:
    """What was sent, over the whole run.

    Attributes:
        requests: On the wire: unsigned first requests, token calls and retries among them.
        retries: Tries after the first of a request.
        rate_limited: Answers with 429, those to token calls among them.
    """

    requests: int = 0
    retries: int = 0
    rate_limited: int = 0


class Slot:
    """One place on the wire, with a signer of its own where requests are signed.

    Attributes:
        middlewares: For one request at a time, signer outside, so that the inner one notes
            what the signer sends a second time, too. None where nobody signs: then whoever
            sends tells the slot.
        sent: How often its request went out; twice where the signer met a new challenge.
        refusal: The body of the last 401, which is read here to free its connection before
            the signer sends again.
        watch: Ends the request when it takes too long; idle where a timer of its own does.
    """

    def __init__(
        self, signer: aiohttp.DigestAuthMiddleware | None, counters: Counters, max_bytes: int
    ) -> None:
        self._counters = counters
        self._max_bytes = max_bytes
        self._trail: Trail | None = None
        self._awaited_before = False
        self.sent = 0
        self.refusal = b""
        self.watch = Watch()
        self.middlewares: Sequence[aiohttp.ClientMiddlewareType] | None = (
            (signer, self._send) if signer else None
        )

    def begin(self, trail: Trail | None) -> None:
        """Take up one request; what happens to it is told to `trail`."""
        self._trail = trail
        self.sent = 0
        self.refusal = b""

    def goes_out(self) -> None:
        """Note that the request is about to go out.

        Raises:
            CalledOff: It must not.
        """
        trail = self._trail
        if trail is not None:
            if trail.called_off:
                raise CalledOff
            trail.attempts += self.sent == 0  # what a signer sends again is the same try
            self._awaited_before = trail.awaiting
            trail.awaiting = True
        self.sent += 1
        self._counters.requests += 1

    def never_left(self) -> None:
        """Take that back: there was no connection, and no byte has left."""
        self._counters.requests -= 1
        if self._trail is not None:
            self._trail.awaiting = self._awaited_before

    def answered(self, status: int) -> None:
        """Note that its answer has begun."""
        if self._trail is not None:
            self._trail.awaiting = False
            self._trail.http_status = status

    async def _send(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        self.goes_out()
        try:
            response = await handler(request)
        except NEVER_SENT:
            self.never_left()
            raise
        self.answered(response.status)
        if response.status == _UNAUTHORIZED:
            try:
                self.refusal = await read_body(response, self._max_bytes)
            except BaseException:
                response.close()
                raise
        return response


class Slots:
    """As many places as requests may be in flight; the last one given back goes out first.

    So a run that needs few warms few: a signer's first request is refused on purpose. Whoever
    waits is handed a place directly, so nobody who comes later can be faster.
    """

    def __init__(self, size: int, make: Callable[[], Slot], overdue: Overdue) -> None:
        self._unmade = size
        self._free: list[Slot] = []
        self._waiting: deque[asyncio.Future[Slot]] = deque()
        self._make = make
        self._overdue = overdue

    def spare(self, trail: Trail | None) -> Slot | None:
        """Take a place that is free; for one try, and never while waiting between tries."""
        if self._free:
            return self._begin(self._free.pop(), trail)
        if self._unmade:
            self._unmade -= 1
            return self._begin(self._make(), trail)
        return None

    async def wait(self, trail: Trail | None) -> Slot:
        """Wait for a place, where none is spare."""
        waiter: asyncio.Future[Slot] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            return self._begin(await waiter, trail)
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():  # it was handed over meanwhile
                self._hand_on(waiter.result())
            raise

    def give_back(self, slot: Slot) -> None:
        """Let another request have the place."""
        self._overdue.let_go(slot.watch)
        self._hand_on(slot)

    def _begin(self, slot: Slot, trail: Trail | None) -> Slot:
        slot.begin(trail)
        self._overdue.watch(slot.watch)
        return slot

    def _hand_on(self, slot: Slot) -> None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():  # whoever waited may have been cancelled
                waiter.set_result(slot)
                return
        self._free.append(slot)
