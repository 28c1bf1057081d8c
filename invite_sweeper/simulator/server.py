"""Serve a simulated Atlas on a socket, with injected faults."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from email.utils import format_datetime
from functools import partial
from http import HTTPStatus
from ssl import SSLContext
from typing import Final

from aiohttp import web
from typing_extensions import override

from invite_sweeper.simulator.api import handle
from invite_sweeper.simulator.calls import Call
from invite_sweeper.simulator.faults import Deliver, Delivery, Fault
from invite_sweeper.simulator.responses import SimulatedResponse
from invite_sweeper.simulator.state import RequestRecord, SimulatedAtlas

_CLOSE: Final = ("Connection", "close")
_NO_LINGER: Final = struct.pack("ii", 1, 0)
"""Makes the close a reset (RST): unsent data is dropped."""


class _Payload(web.StreamResponse):
    """A response of bytes as given.

    aiohttp's `web.Response` adds headers of its own, which Atlas leaves out in some cases, and
    a fault needs the bytes to send only a part of them.
    """

    def __init__(
        self, payload: bytes, *, keep_alive: bool, deliver: Deliver | None, stopped: asyncio.Event
    ) -> None:
        super().__init__()
        self._payload, self._deliver, self._stopped = payload, deliver, stopped
        self._keep_alive = keep_alive

    @override
    async def prepare(self, request: web.BaseRequest) -> None:
        write = request.writer.write
        if self._deliver is None:
            await write(self._payload)
        else:
            reset = partial(_reset_connection, request)
            await self._deliver(Delivery(self._payload, write, reset, self._stopped))

    @override
    async def write_eof(self, data: bytes = b"") -> None:
        """Write nothing; `prepare` wrote everything."""


def _reset_connection(request: web.BaseRequest) -> None:
    if request.transport is not None:
        peer: socket.socket = request.transport.get_extra_info("socket")
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        request.transport.abort()


def _render(response: SimulatedResponse, date: datetime, *, keep_alive: bool) -> bytes:
    """Return the bytes of a response."""
    headers = list(response.headers)
    if response.media is not None:
        headers.append(("Content-Type", response.media))
    if response.status != HTTPStatus.NO_CONTENT:
        headers.append(("Content-Length", str(len(response.body))))
    if response.dated:
        headers.append(("Date", format_datetime(date, usegmt=True)))
    if not keep_alive and _CLOSE not in headers:
        headers.append(_CLOSE)
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    status = HTTPStatus(response.status)
    head = f"HTTP/1.1 {status.value} {status.phrase}\r\n{lines}\r\n"
    return head.encode("latin-1") + response.body


async def execute(
    call: Call, faults: Sequence[Fault]
) -> tuple[SimulatedResponse | None, Fault | None]:
    """Return the response under `faults`, and the one that ends the request.

    The request is not executed if an early fault ends it.
    """
    for fault in faults:
        if fault.delay_s:
            await call.sim.sleep(fault.delay_s)
        if fault.before is not None:
            fault.before(call)
    response = None
    end = next((each for each in faults if each.ends and not each.late), None)
    if end is None:
        response = handle(call)
        for fault in faults:
            if fault.after is not None:
                fault.after(call)
            if fault.alter is not None:
                response = fault.alter(response)
        end = next((each for each in faults if each.ends), None)
    if end is not None and end.instead is not None:
        response = end.instead(call.sim) if callable(end.instead) else end.instead
    return response, end


class RequestHandler:
    """Handles the requests of one socket.

    Attributes:
        base_url: The server's URL, set once it listens.
    """

    def __init__(self, sim: SimulatedAtlas, stopped: asyncio.Event) -> None:
        self.base_url = ""
        self._sim = sim
        self._stopped = stopped

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Handle one request, with its faults, if any."""
        sim, started_s = self._sim, self._sim.monotonic()
        body = await request.read() if request.body_exists else b""
        address, target = request.remote or "", request.raw_path
        call = Call(sim, request.method, target, request.headers, body, address, self.base_url)
        sim.request_log.on_request(call)
        response, end = await execute(call, sim.faults.faults_for(call.method, call.path))
        deliver = end.deliver if end is not None else None
        status = response.status if response is not None and deliver is None else 0
        record = RequestRecord(call.method, target, status, started_s)
        sim.request_log.on_response(record, call.item_id)
        keep_alive, payload = request.keep_alive and deliver is None, b""
        if response is not None:
            keep_alive &= _CLOSE not in response.headers
            payload = _render(response, sim.clock(), keep_alive=keep_alive)
        return _Payload(payload, keep_alive=keep_alive, deliver=deliver, stopped=self._stopped)


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
