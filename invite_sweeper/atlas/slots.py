"""Connection slots: how many requests are in flight, and what each one really sends."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import aiohttp

from invite_sweeper.atlas.faults import NOT_SENT_ERRORS, RequestCancelled
from invite_sweeper.atlas.response import read_body
from invite_sweeper.outcome import Trail

_UNAUTHORIZED: Final = 401


@dataclass(slots=True)
class RequestCounters:
    """What was sent, over the whole run.

    Attributes:
        requests: All that were sent: unsigned first requests, token calls and retries too.
        retries: Attempts after the first of a request.
        rate_limited: Responses with 429, those to token calls too.
    """

    requests: int = 0
    retries: int = 0
    rate_limited: int = 0


class ConnectionSlot:
    """Room for one request in flight, with a signer of its own where requests are signed.

    Attributes:
        middlewares: For one request at a time; the signer is outside, so that the inner one
            counts what the signer sends a second time, too. None where no request is signed:
            then the caller reports each request to the slot.
        sent: How often its request was sent; twice where the signer met a new challenge.
        last_401_body: Read here to free the connection before the signer sends again.
    """

    def __init__(
        self,
        signer: aiohttp.DigestAuthMiddleware | None,
        counters: RequestCounters,
        max_bytes: int,
    ) -> None:
        self._counters = counters
        self._max_bytes = max_bytes
        self._trail: Trail | None = None
        self._awaited_before = False
        self.sent = 0
        self.last_401_body = b""
        self.middlewares: Sequence[aiohttp.ClientMiddlewareType] | None = (
            (signer, self._send) if signer else None
        )

    def start(self, trail: Trail | None) -> None:
        """Begin one request; `trail` records what happens to it."""
        self._trail = trail
        self.sent = 0
        self.last_401_body = b""

    def on_send(self) -> None:
        """Record that the request is about to be sent.

        Raises:
            RequestCancelled: It must not be sent.
        """
        trail = self._trail
        if trail is not None:
            if trail.called_off:
                raise RequestCancelled
            trail.attempts += self.sent == 0  # what a signer sends again is the same attempt
            self._awaited_before = trail.awaiting
            trail.awaiting = True
        self.sent += 1
        self._counters.requests += 1

    def on_not_sent(self) -> None:
        """Take that back: there was no connection, and no byte was sent."""
        self._counters.requests -= 1
        if self._trail is not None:
            self._trail.awaiting = self._awaited_before

    def on_response(self, status: int) -> None:
        """Record that its response has begun."""
        if self._trail is not None:
            self._trail.awaiting = False
            self._trail.http_status = status

    async def _send(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        self.on_send()
        try:
            response = await handler(request)
        except NOT_SENT_ERRORS:
            self.on_not_sent()
            raise
        self.on_response(response.status)
        if response.status == _UNAUTHORIZED:
            try:
                self.last_401_body = await read_body(response, self._max_bytes)
            except BaseException:
                response.close()
                raise
        return response


class SlotPool:
    """As many slots as requests may be in flight; the last one released is used first.

    So a run that needs few warms few: a signer's first request is refused on purpose. A
    waiter receives a slot directly, so no later caller can overtake it.
    """

    def __init__(self, size: int, make: Callable[[], ConnectionSlot]) -> None:
        self._unmade = size
        self._free: list[ConnectionSlot] = []
        self._waiting: deque[asyncio.Future[ConnectionSlot]] = deque()
        self._make = make

    def acquire_nowait(self, trail: Trail | None) -> ConnectionSlot | None:
        """Return a free slot for one attempt; None where all are in use."""
        if self._free:
            slot = self._free.pop()
        elif self._unmade:
            self._unmade -= 1
            slot = self._make()
        else:
            return None
        slot.start(trail)
        return slot

    async def acquire(self, trail: Trail | None) -> ConnectionSlot:
        """Wait for a slot, where none is free."""
        waiter: asyncio.Future[ConnectionSlot] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            slot = await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():  # it was handed over meanwhile
                self.release(waiter.result())
            raise
        slot.start(trail)
        return slot

    def release(self, slot: ConnectionSlot) -> None:
        """Hand the slot to the first waiter, or keep it free."""
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():  # the waiter may have been cancelled
                waiter.set_result(slot)
                return
        self._free.append(slot)
