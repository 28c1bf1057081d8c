"""Serve a simulated Atlas on a socket, with injected faults."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
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
from invite_sweeper.simulator.faults import Send
from invite_sweeper.simulator.responses import Call, SimulatedResponse, Transmission
from invite_sweeper.simulator.state import SimulatedAtlas

_HOST: Final = "127.0.0.1"
_CLOSE: Final = ("Connection", "close")
_NO_LINGER: Final = struct.pack("ii", 1, 0)
"""Makes the close a reset (RST): unsent data is dropped."""


class _Payload(web.StreamResponse):
    """A response that consists of these bytes.

    aiohttp's `web.Response` adds headers of its own, which Atlas leaves out in some cases, and
    a fault needs the bytes to send only a part of them.
    """

    def __init__(
        self, response: SimulatedResponse, date: datetime, stopped: asyncio.Event, *, closes: bool
    ) -> None:
        super().__init__()
        # A fault that sends the response itself may leave the connection in any state.
        closes |= response.deliver is not None or _CLOSE in response.headers
        self._payload = _render(response, date, closes=closes)
        self._deliver = response.deliver
        self._stopped = stopped
        self._keep_alive = not closes

    @override
    async def prepare(self, request: web.BaseRequest) -> None:
        write = request.writer.write
        if self._deliver is None:
            await write(self._payload)
        else:
            reset = partial(_reset_connection, request)
            await self._deliver(Transmission(self._payload, write, reset, self._stopped))

    @override
    async def write_eof(self, data: bytes = b"") -> None:
        """Write nothing; `prepare` wrote everything."""


def _reset_connection(request: web.BaseRequest) -> None:
    if request.transport is not None:
        peer: socket.socket = request.transport.get_extra_info("socket")
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        request.transport.abort()


def _render(response: SimulatedResponse, date: datetime, *, closes: bool) -> bytes:
    """Return the bytes of a response."""
    headers = list(response.headers)
    if response.media is not None:
        headers.append(("Content-Type", response.media))
    if response.status != HTTPStatus.NO_CONTENT:
        headers.append(("Content-Length", str(len(response.body))))
    if response.dated:
        headers.append(("Date", format_datetime(date, usegmt=True)))
    if closes and _CLOSE not in headers:
        headers.append(_CLOSE)
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    status = HTTPStatus(response.status)
    head = f"HTTP/1.1 {status.value} {status.phrase}\r\n{lines}\r\n"
    return head.encode("latin-1") + response.body


@asynccontextmanager
async def serve(
    sim: SimulatedAtlas, *, port: int = 0, ssl_context: SSLContext | None = None
) -> AsyncIterator[str]:
    """Serve `sim` during the block and yield the base URL, without a trailing slash.

    Port 0 means any free port. With an `ssl_context` for servers, it serves HTTPS.
    """
    stopped = asyncio.Event()

    async def respond(request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read() if request.body_exists else b""
        address = request.remote or ""
        call = Call(request.method, request.raw_path, request.headers, body, address)
        # The fault that was added first is the outermost: it sees what the others answered.
        answer: Send = partial(handle, sim, call)
        for fault in reversed(sim.faults.faults_for(call.method, call.path)):
            answer = partial(fault, call, answer)
        return _Payload(await answer(), sim.clock(), stopped, closes=not request.keep_alive)

    runner = web.ServerRunner(web.Server(respond, access_log=None), shutdown_timeout=1.0)
    await runner.setup()
    site = web.TCPSite(runner, _HOST, port, ssl_context=ssl_context, backlog=1024)
    try:
        await site.start()
        scheme = "http" if ssl_context is None else "https"
        yield f"{scheme}://{_HOST}:{runner.addresses[0][1]}"
    finally:
        stopped.set()
        await runner.cleanup()
