"""The network of a company: a proxy alone resolves names, and a private authority signs them.

Behind the proxy are the simulated Atlas, and receivers of notifications and of metrics.
"""

import asyncio
import ssl
import threading
from collections.abc import Iterator
from contextlib import AsyncExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import trustme
from aiohttp import web
from yarl import URL

from invite_sweeper.simulator import SimulatedAtlas, serve

ATLAS = "atlas.example.test"
RECEIVERS = ("chat.example.test", "hooks.example.test", "ping.example.test")
GATEWAY = "metrics.example.test:9091"


@dataclass
class CompanyNetwork:
    """What is needed to reach it, and what went through it.

    Attributes:
        local: The URL of a receiver on loopback, which needs no proxy.
        asked: What the proxy was asked for, such as `CONNECT atlas.example.test:443`.
        received: What the receivers got: host and path.
    """

    authority: Path
    proxy: str = ""
    local: str = ""
    asked: list[str] = field(default_factory=list)
    received: list[str] = field(default_factory=list)
    _ports: dict[str, int] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """The variables of a program in this network."""
        return {
            "HTTPS_PROXY": self.proxy,
            "HTTP_PROXY": self.proxy,
            "SSL_CERT_FILE": str(self.authority),
            "MONGODB_ATLAS_BASE_URL": f"https://{ATLAS}",
        }

    async def open(self, sim: SimulatedAtlas, signed: trustme.CA, stack: AsyncExitStack) -> None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        signed.issue_cert(ATLAS, *RECEIVERS).configure_cert(tls)
        base_url = await stack.enter_async_context(serve(sim, ssl_context=tls))
        runner = web.ServerRunner(web.Server(self._receive, access_log=None))
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        for context in (tls, None):
            await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        secure, plain = (address[1] for address in runner.addresses)
        self._ports[f"{ATLAS}:443"] = URL(base_url).port or 0
        self._ports |= {f"{name}:443": secure for name in RECEIVERS} | {GATEWAY: plain}
        self.local = f"http://127.0.0.1:{plain}/local"
        proxy = await stack.enter_async_context(
            await asyncio.start_server(self._forward, "127.0.0.1", 0)
        )
        self.proxy = f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}"

    async def _receive(self, request: web.BaseRequest) -> web.Response:
        await request.read()
        self.received.append(f"{request.url.host}{request.path}")
        return web.Response()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        method, target, _ = head.decode().split(" ", 2)
        self.asked.append(f"{method} {target}")
        name = target if method == "CONNECT" else URL(target).authority
        inner, out = await asyncio.open_connection("127.0.0.1", self._ports[name])
        if method == "CONNECT":
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            out.write(head)
        await asyncio.gather(_pipe(reader, out), _pipe(inner, writer))


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError), closing(writer):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()


@contextmanager
def company_network(sim: SimulatedAtlas, folder: Path) -> Iterator[CompanyNetwork]:
    """Serve the simulated Atlas behind the proxy while the block runs."""
    signed = trustme.CA()
    network = CompanyNetwork(folder / "ca.pem")
    signed.cert_pem.write_to_path(str(network.authority))
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    stack = AsyncExitStack()
    try:
        asyncio.run_coroutine_threadsafe(network.open(sim, signed, stack), loop).result(60)
        yield network
    finally:
        asyncio.run_coroutine_threadsafe(stack.aclose(), loop).result(60)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
