"""Serve a simulated Atlas on a socket, with injected faults."""

import asyncio
import gzip
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from email.utils import format_datetime
from functools import partial
from ssl import SSLContext
from typing import Final

from aiohttp import web
from typing_extensions import override

from invite_sweeper.simulator.endpoints import IncomingRequest, handle, parse_route
from invite_sweeper.simulator.faults import Delivery, Fault, FaultContext
from invite_sweeper.simulator.responses import HandledResponse, SimulatedResponse, render_headers
from invite_sweeper.simulator.state import RequestRecord, SimulatedAtlas

_CLOSE_HEADER: Final = ("Connection", "close")
_GZIP_HEADERS: Final = (("Content-Encoding", "gzip"), ("Vary", "Accept-Encoding"))
_SUCCESS_STATUSES: Final = range(200, 300)


class RawResponse(web.StreamResponse):
    """A response that is already rendered to bytes.

    aiohttp's `web.Response` is not used: it changes names, order and case of the headers, and
    rendering them is most of the cost of a response.

    Args:
        deliver: Sends the payload instead.
        stopped: Set when the server stops.
    """

    def __init__(
        self,
        status: int,
        payload: bytes,
        *,
        keep_alive: bool,
        deliver: Callable[[Delivery], Awaitable[None]] | None,
        stopped: asyncio.Event,
    ) -> None:
        super().__init__(status=status)
        self._payload = payload
        self._keep_alive = keep_alive and deliver is None
        self._deliver = deliver
        self._stopped = stopped

    @override
    async def prepare(self, request: web.BaseRequest) -> None:
        write = request.writer.write
        if self._deliver is None:
            await write(self._payload)
            return
        reset = partial(_reset_connection, request)
        await self._deliver(Delivery(self._payload, write, reset, self._stopped))

    @override
    async def write_eof(self, data: bytes = b"") -> None:
        """Write nothing; `prepare` wrote everything."""


def _reset_connection(request: web.BaseRequest) -> None:
    transport = request.transport
    if transport is None:
        return
    peer: socket.socket | None = transport.get_extra_info("socket")
    if peer is not None:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    transport.abort()


class ResponseRenderer:
    """Renders responses to bytes; caches the `Date` header for a second."""

    def __init__(self, sim: SimulatedAtlas) -> None:
        self._sim = sim
        self._second = -1
        self._date = ""

    def render(
        self,
        handled: HandledResponse,
        request: IncomingRequest,
        elapsed_ms: int,
        *,
        keep_alive: bool,
    ) -> bytes:
        """Return the bytes of a response."""
        response = handled.response
        if self._sim.gzip and response.body:
            response = _compressed(response, request)
        if not keep_alive and _CLOSE_HEADER not in response.extra:
            response = replace(response, extra=(*response.extra, _CLOSE_HEADER))
        head = render_headers(replace(handled, response=response), self._date_line(), elapsed_ms)
        return head + response.body

    def _date_line(self) -> str:
        now: datetime = self._sim.clock() + self._sim.date_offset
        second = int(now.timestamp())
        if second != self._second:
            self._second = second
            self._date = format_datetime(now, usegmt=True)
        return self._date


def _compressed(response: SimulatedResponse, request: IncomingRequest) -> SimulatedResponse:
    """Return a 2xx to GET or POST compressed, if the client accepts gzip.

    Source: in the unmodified recordings exactly these responses are compressed.
    """
    accepts_gzip = "gzip" in request.headers.get("Accept-Encoding", "")
    if (
        not accepts_gzip
        or request.method not in {"GET", "POST"}
        or response.status not in _SUCCESS_STATUSES
    ):
        return response
    return replace(
        response, body=gzip.compress(response.body, 6), extra=response.extra + _GZIP_HEADERS
    )


# Makes the close a reset (RST): unsent data is dropped.
_NO_LINGER: Final = struct.pack("ii", 1, 0)


async def apply_faults(
    sim: SimulatedAtlas,
    execute: Callable[[], HandledResponse],
    context: FaultContext,
    faults: Sequence[Fault],
) -> tuple[HandledResponse | None, Fault | None]:
    """Return the response under `faults`, and the one that ends the request.

    `execute` is called at most once, and not at all if an early fault ends the request.
    """
    for fault in faults:
        if fault.delay_s:
            await sim.sleep(fault.delay_s)
        if fault.before is not None:
            fault.before(context)
    handled = None
    end = next((each for each in faults if each.ends and not each.late), None)
    if end is None:
        handled = execute()
        for fault in faults:
            if fault.after is not None:
                fault.after(context)
            if fault.alter is not None:
                handled = replace(handled, response=fault.alter(handled.response))
        end = next((each for each in faults if each.ends), None)
    if end is not None and end.instead is not None:
        instead = end.instead(sim) if callable(end.instead) else end.instead
        handled = HandledResponse(instead)
    return handled, end


class RequestHandler:
    """Handles the requests of one socket.

    Attributes:
        base_url: The server's URL, set once it listens.
    """

    def __init__(self, sim: SimulatedAtlas, stopped: asyncio.Event) -> None:
        self.base_url = ""
        self._sim = sim
        self._stopped = stopped
        self._renderer = ResponseRenderer(sim)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Handle one request, with its faults, if any."""
        sim, method, target = self._sim, request.method, request.raw_path
        started_s = sim.monotonic()
        path, _, query = target.partition("?")
        route = parse_route(path)
        context = (
            FaultContext(method, path, route.scope_id, route.item_id)
            if route
            else FaultContext(method, path)
        )
        sim.request_log.on_request(method, context.item_id)
        body = await request.read() if request.body_exists else b""
        incoming = IncomingRequest(
            method, target, path, query, request.headers, body, request.remote or ""
        )
        faults = sim.faults.faults_for(method, path)
        execute = partial(handle, sim, incoming, route, self.base_url)
        handled: HandledResponse | None
        if faults:
            handled, end = await apply_faults(sim, execute, context, faults)
        else:
            handled, end = execute(), None
        deliver = end.deliver if end is not None else None
        status = handled.response.status if handled is not None and deliver is None else 0
        sim.request_log.on_response(
            RequestRecord(method, target, status, started_s), context.item_id
        )
        payload = b""
        keep_alive = request.keep_alive and deliver is None
        if handled is not None:
            keep_alive &= _CLOSE_HEADER not in handled.response.extra
            elapsed_ms = int((sim.monotonic() - started_s) * 1000)
            payload = self._renderer.render(handled, incoming, elapsed_ms, keep_alive=keep_alive)
        return RawResponse(
            status or 500, payload, keep_alive=keep_alive, deliver=deliver, stopped=self._stopped
        )


@asynccontextmanager
async def serve(
    sim: SimulatedAtlas,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    ssl_context: SSLContext | None = None,
) -> AsyncIterator[str]:
    """Serve `sim` during the block and yield the base URL, without a trailing slash.

    Port 0 means any free port. With an `ssl_context` for servers, it serves HTTPS.
    """
    stopped = asyncio.Event()
    handler = RequestHandler(sim, stopped)
    runner = web.ServerRunner(web.Server(handler.handle, access_log=None), shutdown_timeout=1.0)
    await runner.setup()
    site = web.TCPSite(runner, host, port, ssl_context=ssl_context, backlog=1024)
    try:
        await site.start()
        scheme = "http" if ssl_context is None else "https"
        handler.base_url = f"{scheme}://{host}:{runner.addresses[0][1]}"
        yield handler.base_url
    finally:
        stopped.set()
        await runner.cleanup()
