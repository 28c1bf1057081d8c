"""Aiohttp server, bytes of responses."""

import asyncio
import gzip
import socket
import struct
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from email.utils import format_datetime
from functools import partial
from ssl import SSLContext
from typing import Final

from aiohttp import web
from typing_extensions import override

from invite_sweeper.simulator.data import Asked
from invite_sweeper.simulator.faults import Fault, Visit
from invite_sweeper.simulator.responses import Answer, render, shape, unauthorized
from invite_sweeper.simulator.routes import Asking, Reply, reply, route
from invite_sweeper.simulator.state import SimulatedAtlas

# An answer's bytes, ready for the socket.


_CLOSE: Final = ("Connection", "close")
_ZIPPED: Final = (("Content-Encoding", "gzip"), ("Vary", "Accept-Encoding"))
_SUCCESSES: Final = range(200, 300)


class Rendered(web.StreamResponse):
    """A response of which every byte is ready."""

    def __init__(self, status: int, payload: bytes, *, keep_alive: bool) -> None:
        super().__init__(status=status)
        self._payload = payload
        self._keep_alive = keep_alive

    @override
    async def prepare(self, request: web.BaseRequest) -> None:
        await request.writer.write(self._payload)

    @override
    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing is left to write."""


class Stationery:
    """Writes answers; keeps the `Date` line of the second at hand."""

    def __init__(self, sim: SimulatedAtlas) -> None:
        self._sim = sim
        self._second = -1
        self._date = ""

    def write(
        self, reply: Reply, asking: Asking, elapsed_ms: int, *, keep_alive: bool, cut: bool = False
    ) -> Rendered:
        """The response; a cut one ends half way through its body, or its head if it has none."""
        answer = reply.answer
        if self._sim.gzip and answer.body:
            answer = _zipped(answer, asking)
        if _CLOSE in answer.extra:
            keep_alive = False
        elif not keep_alive:
            answer = replace(answer, extra=(*answer.extra, _CLOSE))
        form = shape(answer, reply.java_method, reply.retirement, reply.rate)
        head = render(form, len(answer.body), self._date_line(), reply.rate, elapsed_ms)
        if cut:
            whole = len(head) + len(answer.body) // 2 if answer.body else len(head) // 2
            return Rendered(answer.status, (head + answer.body)[:whole], keep_alive=False)
        return Rendered(answer.status, head + answer.body, keep_alive=keep_alive)

    def _date_line(self) -> str:
        now: datetime = self._sim.clock() + self._sim.date_offset
        second = int(now.timestamp())
        if second != self._second:
            self._second = second
            self._date = format_datetime(now, usegmt=True)
        return self._date


def _zipped(answer: Answer, asking: Asking) -> Answer:
    """Compressed where the client takes it.

    Source: every 2xx to GET and POST in the untouched recordings was, and nothing else.
    """
    takes = "gzip" in asking.headers.get("Accept-Encoding", "")
    if not takes or asking.method not in {"GET", "POST"} or answer.status not in _SUCCESSES:
        return answer
    return replace(answer, body=gzip.compress(answer.body, 6), extra=answer.extra + _ZIPPED)


# Lets faults happen to a request.


_NO_CONTENT: Final = 204
# A reset that the other side sees as one: no lingering, what is unsent is dropped.
_NO_LINGER: Final = struct.pack("ii", 1, 0)


async def mishap(
    sim: SimulatedAtlas,
    carry_out: Callable[[], Reply],
    visit: Visit,
    faults: Sequence[Fault],
    closing: asyncio.Event,
) -> Reply | None:
    """What is answered when `faults` happen; None where the connection is to be reset.

    `carry_out` is called at most once, and not at all where an early fault answers.
    """
    for fault in faults:
        if fault.delay_s:
            await sim.sleep(fault.delay_s)
        if fault.before is not None:
            fault.before(visit)
    early = _first(faults, late=False)
    if early is not None:
        return await _stand_in(sim, early, closing)
    replied = carry_out()
    for fault in faults:
        if fault.after is not None:
            fault.after(visit)
    late = _first(faults, late=True)
    return _spoilt(replied, faults) if late is None else await _stand_in(sim, late, closing)


def reset(request: web.BaseRequest) -> Rendered:
    """Break the connection off; what is returned is never sent."""
    transport = request.transport
    if transport is not None:
        peer: socket.socket | None = transport.get_extra_info("socket")
        if peer is not None:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        transport.abort()
    return Rendered(500, b"", keep_alive=False)


def _first(faults: Sequence[Fault], *, late: bool) -> Fault | None:
    answering = (each for each in faults if each.instead is not None or each.broken is not None)
    return next((each for each in answering if each.late is late), None)


async def _stand_in(sim: SimulatedAtlas, fault: Fault, closing: asyncio.Event) -> Reply | None:
    if fault.broken == "hang":
        await closing.wait()
    if fault.instead is None:
        return None
    if fault.instead == "challenge":
        return Reply(unauthorized(sim.digest.challenge()))
    return Reply(fault.instead)


def _spoilt(replied: Reply, faults: Sequence[Fault]) -> Reply:
    answer = replied.answer
    for fault in faults:
        if fault.body is not None:
            # A 204 has no place for a body; other deletions of Atlas do answer 200.
            status = 200 if answer.status == _NO_CONTENT else answer.status
            answer = replace(answer, body=fault.body, status=status)
        if fault.media is not None:
            answer = replace(answer, media=fault.media)
    return replace(replied, answer=answer)


# The simulated Atlas on a socket: `aiohttp.web`'s own server, answers rendered by us.
#
# Heads are not left to `web.Response`, so that names, order and case are those of the
# recordings, and because rendering them is most of the cost of an answer.


class Counter:
    """Takes requests off one socket and sends what the simulated Atlas answers.

    Attributes:
        base_url: The server's own address, known once it listens.
    """

    def __init__(self, sim: SimulatedAtlas, closing: asyncio.Event) -> None:
        self.base_url = ""
        self._sim = sim
        self._closing = closing
        self._stationery = Stationery(sim)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request, or let happen to it what is planned."""
        sim, method, target = self._sim, request.method, request.raw_path
        began_s = sim.monotonic()
        path, _, query = target.partition("?")
        place = route(path)
        visit = Visit(method, path, place.scope_id, place.item_id) if place else Visit(method, path)
        sim.journal.arrived(method, visit.item_id)
        body = await request.read() if request.body_exists else b""
        asking = Asking(method, target, path, query, request.headers, body, request.remote or "")
        faults = sim.faults.draw(method, path)
        if faults:
            carry_out = partial(reply, sim, asking, place, self.base_url)
            replied = await mishap(sim, carry_out, visit, faults, self._closing)
        else:
            replied = reply(sim, asking, place, self.base_url)
        status = 0 if replied is None else replied.answer.status
        sim.journal.answered(Asked(method, target, status, began_s), visit.item_id)
        if replied is None:
            return reset(request)
        elapsed_ms = int((sim.monotonic() - began_s) * 1000)
        cut = bool(faults) and any(fault.cut for fault in faults)
        return self._stationery.write(
            replied, asking, elapsed_ms, keep_alive=request.keep_alive, cut=cut
        )


@asynccontextmanager
async def serve(
    sim: SimulatedAtlas,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    ssl_context: SSLContext | None = None,
) -> AsyncIterator[str]:
    """Serve `sim` while the block runs; gives the base URL, without a slash at its end.

    Port 0 is any free one. With a (server's) `ssl_context` it is HTTPS.
    """
    closing = asyncio.Event()
    counter = Counter(sim, closing)
    runner = web.ServerRunner(web.Server(counter.handle, access_log=None), shutdown_timeout=1.0)
    await runner.setup()
    site = web.TCPSite(runner, host, port, ssl_context=ssl_context, backlog=1024)
    try:
        await site.start()
        scheme = "http" if ssl_context is None else "https"
        counter.base_url = f"{scheme}://{host}:{runner.addresses[0][1]}"
        yield counter.base_url
    finally:
        closing.set()
        await runner.cleanup()
