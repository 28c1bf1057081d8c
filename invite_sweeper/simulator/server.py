"""The simulated Atlas on a socket: `aiohttp.web`'s own server, answers rendered by us.

Heads are not left to `web.Response`, so that names, order and case are those of the
recordings, and because rendering them is most of the cost of an answer.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from ssl import SSLContext

from aiohttp import web

from invite_sweeper.simulator.door import Asking, reply
from invite_sweeper.simulator.faults import Visit
from invite_sweeper.simulator.journal import Asked
from invite_sweeper.simulator.mishaps import mishap, reset
from invite_sweeper.simulator.routes import route
from invite_sweeper.simulator.sending import Stationery
from invite_sweeper.simulator.state import SimulatedAtlas


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
