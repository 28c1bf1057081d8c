"""Serve a simulated Atlas on a socket, with injected faults."""

import asyncio
import gzip
import socket
import struct
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import datetime
from email.utils import format_datetime
from functools import partial
from ssl import SSLContext
from typing import Final

from aiohttp import web
from typing_extensions import override

from invite_sweeper.simulator.data import RequestRecord
from invite_sweeper.simulator.faults import Fault, FaultContext
from invite_sweeper.simulator.responses import (
    SimulatedResponse,
    header_template,
    render_headers,
    unauthorized,
)
from invite_sweeper.simulator.routes import HandledResponse, IncomingRequest, handle, parse_route
from invite_sweeper.simulator.state import SimulatedAtlas

# Rendered bytes. aiohttp's `web.Response` is not used: it changes names, order and case of the
# headers, and rendering them is most of the cost of a response.


_CLOSE_HEADER: Final = ("Connection", "close")
_GZIP_HEADERS: Final = (("Content-Encoding", "gzip"), ("Vary", "Accept-Encoding"))
_SUCCESS_STATUSES: Final = range(200, 300)


class RawResponse(web.StreamResponse):
    """A response that is already rendered to bytes."""

    def __init__(self, status: int, payload: bytes, *, keep_alive: bool) -> None:
        super().__init__(status=status)
        self._payload = payload
        self._keep_alive = keep_alive
        self._drip_s = 0.0
        self._stopped = asyncio.Event()

    def drip(self, interval_s: float, stopped: asyncio.Event) -> None:
        """Send the response byte by byte, until the server stops."""
        self._drip_s, self._stopped = interval_s, stopped

    @override
    async def prepare(self, request: web.BaseRequest) -> None:
        if not self._drip_s:
            await request.writer.write(self._payload)
            return
        for byte in self._payload:
            await request.writer.write(bytes((byte,)))
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopped.wait(), self._drip_s)
                return

    @override
    async def write_eof(self, data: bytes = b"") -> None:
        """Write nothing; `prepare` wrote everything."""


class ResponseWriter:
    """Renders responses; caches the `Date` header for a second."""

    def __init__(self, sim: SimulatedAtlas) -> None:
        self._sim = sim
        self._second = -1
        self._date = ""

    def write(
        self,
        handled: HandledResponse,
        request: IncomingRequest,
        elapsed_ms: int,
        *,
        keep_alive: bool,
        cut: bool = False,
    ) -> RawResponse:
        """Render a response. If `cut`, only half of the body, or of the headers without a body."""
        response = handled.response
        if self._sim.gzip and response.body:
            response = _compressed(response, request)
        if _CLOSE_HEADER in response.extra:
            keep_alive = False
        elif not keep_alive:
            response = replace(response, extra=(*response.extra, _CLOSE_HEADER))
        template = header_template(response, handled.java_method, handled.retirement, handled.rate)
        head = render_headers(
            template, len(response.body), self._date_line(), handled.rate, elapsed_ms
        )
        if cut:
            sent_bytes = len(head) + len(response.body) // 2 if response.body else len(head) // 2
            return RawResponse(
                response.status, (head + response.body)[:sent_bytes], keep_alive=False
            )
        return RawResponse(response.status, head + response.body, keep_alive=keep_alive)

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


# Faults.


_NO_CONTENT: Final = 204
# Makes the close a reset (RST): unsent data is dropped.
_NO_LINGER: Final = struct.pack("ii", 1, 0)


async def apply_faults(
    sim: SimulatedAtlas,
    execute: Callable[[], HandledResponse],
    context: FaultContext,
    faults: Sequence[Fault],
    closing: asyncio.Event,
) -> HandledResponse | None:
    """Return the response under `faults`; None if the connection must be reset.

    `execute` is called at most once, and not at all if an early fault has a response.
    """
    for fault in faults:
        if fault.delay_s:
            await sim.sleep(fault.delay_s)
        if fault.before is not None:
            fault.before(context)
    early = _first_fault(faults, late=False)
    if early is not None:
        return await _faulty_response(sim, early, closing)
    handled = execute()
    for fault in faults:
        if fault.after is not None:
            fault.after(context)
    late = _first_fault(faults, late=True)
    return (
        _with_altered_body(handled, faults)
        if late is None
        else await _faulty_response(sim, late, closing)
    )


def abort_connection(request: web.BaseRequest) -> RawResponse:
    """Reset the connection. The returned response is never sent."""
    transport = request.transport
    if transport is not None:
        peer: socket.socket | None = transport.get_extra_info("socket")
        if peer is not None:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        transport.abort()
    return RawResponse(500, b"", keep_alive=False)


def _first_fault(faults: Sequence[Fault], *, late: bool) -> Fault | None:
    response_faults = (
        each for each in faults if each.instead is not None or each.connection_fault is not None
    )
    return next((each for each in response_faults if each.late is late), None)


async def _faulty_response(
    sim: SimulatedAtlas, fault: Fault, closing: asyncio.Event
) -> HandledResponse | None:
    if fault.connection_fault == "hang":
        await closing.wait()
    if fault.instead is None:
        return None
    if fault.instead == "challenge":
        return HandledResponse(unauthorized(sim.digest.challenge()))
    return HandledResponse(fault.instead)


def _with_altered_body(handled: HandledResponse, faults: Sequence[Fault]) -> HandledResponse:
    response = handled.response
    for fault in faults:
        if fault.body is not None:
            # A 204 cannot have a body; other DELETEs of Atlas return 200.
            status = 200 if response.status == _NO_CONTENT else response.status
            body = fault.body(response.body) if callable(fault.body) else fault.body
            response = replace(response, body=body, status=status)
        if fault.media is not None:
            response = replace(response, media=fault.media)
    return replace(handled, response=response)


# The server.


class RequestHandler:
    """Handles the requests of one socket.

    Attributes:
        base_url: The server's URL, set once it listens.
    """

    def __init__(self, sim: SimulatedAtlas, closing: asyncio.Event) -> None:
        self.base_url = ""
        self._sim = sim
        self._closing = closing
        self._response_writer = ResponseWriter(sim)

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
        if faults:
            execute = partial(handle, sim, incoming, route, self.base_url)
            handled = await apply_faults(sim, execute, context, faults, self._closing)
        else:
            handled = handle(sim, incoming, route, self.base_url)
        status = 0 if handled is None else handled.response.status
        sim.request_log.on_response(
            RequestRecord(method, target, status, started_s), context.item_id
        )
        if handled is None:
            return abort_connection(request)
        elapsed_ms = int((sim.monotonic() - started_s) * 1000)
        cut = bool(faults) and any(fault.cut for fault in faults)
        response = self._response_writer.write(
            handled, incoming, elapsed_ms, keep_alive=request.keep_alive, cut=cut
        )
        response.drip(max((fault.drip_s for fault in faults), default=0.0), self._closing)
        return response


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
    closing = asyncio.Event()
    handler = RequestHandler(sim, closing)
    runner = web.ServerRunner(web.Server(handler.handle, access_log=None), shutdown_timeout=1.0)
    await runner.setup()
    site = web.TCPSite(runner, host, port, ssl_context=ssl_context, backlog=1024)
    try:
        await site.start()
        scheme = "http" if ssl_context is None else "https"
        handler.base_url = f"{scheme}://{host}:{runner.addresses[0][1]}"
        yield handler.base_url
    finally:
        closing.set()
        await runner.cleanup()
