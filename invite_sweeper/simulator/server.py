"""Serve a simulated Atlas on a socket, with injected faults."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.utils import format_datetime
from functools import partial
from ssl import SSLContext

from aiohttp import web

from invite_sweeper.simulator.api import handle
from invite_sweeper.simulator.faults import Send
from invite_sweeper.simulator.responses import LOCALHOST, Call
from invite_sweeper.simulator.state import SimulatedAtlas


@asynccontextmanager
async def serve(
    sim: SimulatedAtlas, *, port: int = 0, ssl_context: SSLContext | None = None
) -> AsyncIterator[str]:
    """Serve `sim` during the block and yield the base URL, without a trailing slash.

    Port 0 means any free port. With an `ssl_context` for servers, it serves HTTPS.
    """

    async def respond(request: web.BaseRequest) -> web.Response:
        body = await request.read()
        call = Call(request.method, request.raw_path, request.headers, body, request.transport)
        # The fault that was added first is the outermost: it sees what the others answered.
        answer: Send = partial(handle, sim, call)
        for fault in reversed(sim.faults.faults_for(call.method, call.path)):
            answer = partial(fault, call, answer)
        response = await answer()
        # aiohttp adds a `Date` and a `Server` of its own where a response has none.
        date = format_datetime(sim.clock(), usegmt=True)
        headers = {"Date": date, "Server": "mdbws", **dict(response.headers)}
        if response.media is not None:
            headers["Content-Type"] = response.media
        return web.Response(status=response.status, body=response.body, headers=headers)

    runner = web.ServerRunner(web.Server(respond, access_log=None), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, LOCALHOST, port, ssl_context=ssl_context, backlog=1024)
    try:
        await site.start()
        scheme = "http" if ssl_context is None else "https"
        yield f"{scheme}://{LOCALHOST}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
