"""Sends one request over a connection slot, which counts it and signs it for API keys."""

import asyncio
import platform
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import aiohttp
from aiohttp.connector import Connection
from typing_extensions import override
from yarl import URL

from invite_sweeper import __version__
from invite_sweeper.atlas.network_errors import (
    NOT_SENT_ERRORS,
    TRANSPORT_ERRORS,
    BodyTooLarge,
    ConnectionLost,
    RequestCancelled,
    describe_error,
)
from invite_sweeper.atlas.responses import Response, ResponseOrFailure
from invite_sweeper.atlas.urls import absolute_url
from invite_sweeper.models import DeletionProgress, RequestCounters
from invite_sweeper.redaction import SECRETS

USER_AGENT: Final = (
    f"invite-sweeper/{__version__} ({platform.system().lower()}; {platform.machine()})"
)
_NO_CONTENT: Final = 204
_UNAUTHORIZED: Final = 401


class NoResendClientResponse(aiohttp.ClientResponse):
    """A response that prevents aiohttp from sending a request again on a broken connection."""

    @override
    async def start(self, connection: Connection) -> aiohttp.ClientResponse:
        """Wait for the response headers.

        Raises:
            ConnectionLost: The connection broke before they arrived.
        """
        try:
            return await super().start(connection)
        except TimeoutError:
            raise
        except (aiohttp.ServerDisconnectedError, OSError):
            raise ConnectionLost from None


async def read_body(response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    """Return the whole response body, decompressed.

    Raises:
        BodyTooLarge: It is longer than `max_bytes`.
        aiohttp.ClientError: It is incomplete.
    """
    chunks: list[bytes] = []
    size = 0
    while chunk := await response.content.readany():
        size += len(chunk)
        if size > max_bytes:
            raise BodyTooLarge
        chunks.append(chunk)
    return b"".join(chunks)


class ConnectionSlot:
    """A permit for one request in flight, with its own digest middleware for API keys.

    Attributes:
        middlewares: For one request at a time. The digest middleware is the outer one, so that
            the inner one also counts the request that it repeats. None without digest: then
            the caller calls `on_send`, `on_not_sent` and `on_response`.
        send_count: How often the current request was sent; 2 after a new digest challenge.
        last_401_body: Body of the last 401, read here to free the connection before the
            digest middleware sends the request again.
    """

    def __init__(
        self,
        digest_middleware: aiohttp.DigestAuthMiddleware | None,
        counters: RequestCounters,
        max_bytes: int,
    ) -> None:
        self._counters = counters
        self._max_bytes = max_bytes
        self._progress: DeletionProgress | None = None
        self._was_response_pending = False
        self.send_count = 0
        self.last_401_body = b""
        self.middlewares: Sequence[aiohttp.ClientMiddlewareType] | None = (
            (digest_middleware, self._send) if digest_middleware else None
        )

    def start(self, progress: DeletionProgress | None) -> None:
        """Start one request; `progress` records its state."""
        self._progress = progress
        self.send_count = 0
        self.last_401_body = b""

    def on_send(self) -> None:
        """Record that the request is about to be sent.

        Raises:
            RequestCancelled: The request was cancelled.
        """
        progress = self._progress
        if progress is not None:
            if progress.cancelled:
                raise RequestCancelled
            progress.attempts += self.send_count == 0  # a digest repeat is the same attempt
            self._was_response_pending = progress.response_pending
            progress.response_pending = True
        self.send_count += 1
        self._counters.requests += 1

    def on_not_sent(self) -> None:
        """Undo `on_send`: no byte was sent, because there was no connection."""
        self._counters.requests -= 1
        if self._progress is not None:
            self._progress.response_pending = self._was_response_pending

    def on_response(self, status: int) -> None:
        """Record the status of the response; its body is not read yet."""
        if self._progress is not None:
            self._progress.response_pending = False
            self._progress.http_status = status

    async def _send(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        self.on_send()
        SECRETS.add_response(request.headers.get("Authorization", ""))
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
    """A fixed number of slots, which limits the requests in flight.

    The slot released last is used first, so that few digest middlewares need a challenge:
    the first request of each is answered with 401. A released slot goes directly to the first
    waiter, so no later caller can overtake it.
    """

    def __init__(self, size: int, create_slot: Callable[[], ConnectionSlot]) -> None:
        self._not_created = size
        self._free: list[ConnectionSlot] = []
        self._waiters: deque[asyncio.Future[ConnectionSlot]] = deque()
        self._create_slot = create_slot

    def acquire_nowait(self, progress: DeletionProgress | None) -> ConnectionSlot | None:
        """Return a free slot for one attempt; None if all are in use."""
        if self._free:
            slot = self._free.pop()
        elif self._not_created:
            self._not_created -= 1
            slot = self._create_slot()
        else:
            return None
        slot.start(progress)
        return slot

    async def acquire(self, progress: DeletionProgress | None) -> ConnectionSlot:
        """Wait for the next slot that is released, and return it."""
        waiter: asyncio.Future[ConnectionSlot] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            slot = await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():  # it has a slot already
                self.release(waiter.result())
            raise
        slot.start(progress)
        return slot

    def release(self, slot: ConnectionSlot) -> None:
        """Pass the slot to the first waiter; without waiters, it is free."""
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():  # the waiter may have been cancelled
                waiter.set_result(slot)
                return
        self._free.append(slot)


@dataclass(frozen=True, slots=True)
class HttpSession:
    """Sends every request, to one base URL.

    Attributes:
        session: Its timeout applies to each attempt.
        base_url: As `parse_base_url` returns it.
        proxy_headers: Credentials for the proxy, as `find_proxy` returns them.
    """

    session: aiohttp.ClientSession
    base_url: URL
    max_body_bytes: int
    counters: RequestCounters
    proxy_headers: Mapping[str, str] | None = None

    async def send(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        slot: ConnectionSlot,
        body: Mapping[str, str] | bytes | None = None,
        connect_s: float | None = None,
    ) -> ResponseOrFailure:
        """Send one request and read its response; redirects are not followed.

        Without a connection after `connect_s` (default: the session's limit), the request is not
        sent.
        """
        timeout = self.session.timeout
        if connect_s is not None:
            timeout = aiohttp.ClientTimeout(total=timeout.total, connect=connect_s)
        has_digest = slot.middlewares is not None  # then the slot counts each request itself
        try:
            if not has_digest:
                slot.on_send()
            response = await self.session.request(
                method,
                absolute_url(self.base_url, path),
                data=body,
                headers=headers,
                middlewares=slot.middlewares,
                allow_redirects=False,
                read_until_eof=method != "DELETE",  # its body may have no length
                proxy_headers=self.proxy_headers,
                timeout=timeout,
            )
            if not has_digest:
                slot.on_response(response.status)
            try:
                # A 204 has no body: do not wait for one that its headers announce.
                done = method == "DELETE" and response.status == _NO_CONTENT
                content = b"" if done else await read_body(response, self.max_body_bytes)
                return Response(response.status, response.headers, content or slot.last_401_body)
            finally:
                if not response.closed:  # without a body, the connection is released already
                    response.release()
        except TRANSPORT_ERRORS as error:
            if not has_digest and isinstance(error, NOT_SENT_ERRORS):
                slot.on_not_sent()
            return describe_error(error, self.base_url.host or "", timeout)

    async def post_form(
        self, path: str, form: Mapping[str, str], headers: Mapping[str, str]
    ) -> ResponseOrFailure:
        """Send one form to the token endpoint, without a slot of the pool."""
        slot = ConnectionSlot(None, self.counters, self.max_body_bytes)
        return await self.send("POST", path, headers, slot, form)
