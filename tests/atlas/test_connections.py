"""Names, connections, certificates and proxies, over real sockets of this machine."""

import asyncio
import base64
import socket
import ssl
from contextlib import asynccontextmanager

import aiohttp
import pytest
import trustme

from invite_sweeper.errors import AtlasUnavailable, ExitCode, UsageError
from invite_sweeper.simulator import serve

NAME = "atlas.example.com"


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def trusting(authority):
    """The client's side: it knows the authority."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def server_side(authority, *names):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context


async def projects(atlas):
    return [item.name async for item in atlas.reader.projects()]


async def why_not(connecting, base_url, account=None, **options):
    """How a run ends that cannot reach Atlas, in words."""
    async with connecting(base_url, account, **options) as atlas:
        with pytest.raises(AtlasUnavailable) as caught:
            await projects(atlas)
    assert caught.value.exit_code is ExitCode.UNREACHABLE
    told = str(caught.value)
    assert "Client" not in told
    assert "Error" not in told
    return told


@pytest.fixture
def nobody():
    """An address at which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"


async def test_a_refused_connection_is_tried_again_and_then_said(connecting, nobody, fake_time):
    async with connecting(f"http://{nobody}") as atlas:
        with pytest.raises(AtlasUnavailable, match="connection refused"):
            await projects(atlas)

    assert len(fake_time.slept) == 4
    assert atlas.counters.requests == 0
    assert atlas.counters.retries == 4


async def test_a_name_that_is_not_found_is_said(connecting, monkeypatch, fake_time):
    async def nowhere(loop, host, *args, **kwargs):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", nowhere)

    assert f"name not found: {NAME}" in await why_not(connecting, f"https://{NAME}")
    assert len(fake_time.slept) == 4


async def test_a_connection_that_is_never_made_is_given_up(connecting, monkeypatch):
    async def silence(loop, host, *args, **kwargs):
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", silence)

    timeout = aiohttp.ClientTimeout(total=120, connect=0.05)
    told = await why_not(connecting, f"https://{NAME}", attempts=2, http_timeout=timeout)

    assert f"no connection to {NAME} within 0.05 s" in told


async def test_a_server_that_does_not_speak_http_is_said(connecting):
    async def babble(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(babble, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        told = await why_not(connecting, f"http://127.0.0.1:{port}")

    assert "not HTTP" in told


async def test_https_is_spoken_with_a_certificate_that_is_right(
    sim, connecting, authority, trusting
):
    sim.add_project("Alpha")

    async with (
        serve(sim, ssl_context=server_side(authority, "127.0.0.1")) as base_url,
        connecting(base_url, sim.add_service_account(), ssl_context=trusting) as atlas,
    ):
        assert await projects(atlas) == ["Alpha"]


async def test_a_certificate_for_another_name_is_refused_at_once(
    sim, connecting, authority, trusting, fake_time
):
    async with serve(sim, ssl_context=server_side(authority, "other.example.com")) as base_url:
        told = await why_not(connecting, base_url, sim.add_token(), ssl_context=trusting)

    assert "certificate not valid for 127.0.0.1" in told
    assert (fake_time.slept, sim.requests) == ([], ())


async def test_a_certificate_of_an_unknown_authority_is_refused_at_once(
    sim, connecting, authority, fake_time
):
    async with serve(sim, ssl_context=server_side(authority, "127.0.0.1")) as base_url:
        told = await why_not(connecting, base_url, sim.add_token())

    assert "authority that is not known here" in told
    assert (fake_time.slept, sim.requests) == ([], ())


async def test_a_token_call_meets_the_same_certificate(sim, connecting, authority):
    async with serve(sim, ssl_context=server_side(authority, "127.0.0.1")) as base_url:
        told = await why_not(connecting, base_url, sim.add_service_account())

    assert "No token" in told
    assert "authority" in told


async def test_plain_http_where_tls_is_expected_is_said(sim, connecting):
    async with serve(sim) as base_url:
        told = await why_not(connecting, base_url.replace("http:", "https:"), sim.add_token())

    assert "no TLS connection" in told


class Proxy:
    """A proxy that knows CONNECT and nothing else, and leads every name to one port.

    Attributes:
        heads: What each client said first.
        answer: Sent instead of a connection, where it is set.
    """

    def __init__(self, port, answer=None):
        self.port = port
        self.answer = answer
        self.heads = []

    async def serve_one(self, reader, writer):
        self.heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        if self.answer is not None:
            writer.write(self.answer)
            await writer.drain()
            writer.close()
            return
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(self.pipe(reader, inner_writer), self.pipe(inner_reader, writer))

    async def pipe(self, reader, writer):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()


@pytest.fixture
def proxied(sim, authority):
    """Serve the simulated Atlas under a name that only the proxy knows."""

    @asynccontextmanager
    async def served(answer=None):
        async with serve(sim, ssl_context=server_side(authority, NAME)) as base_url:
            proxy = Proxy(int(base_url.rsplit(":", 1)[1]), answer)
            server = await asyncio.start_server(proxy.serve_one, "127.0.0.1", 0)
            async with server:
                proxy.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
                yield proxy

    return served


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


async def test_the_proxy_of_the_environment_is_used(
    sim, connecting, proxied, trusting, monkeypatch
):
    sim.add_project("Alpha")
    async with proxied() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://{proxy.address}")
        account = sim.add_service_account()
        async with connecting(f"https://{NAME}", account, ssl_context=trusting) as atlas:
            assert await projects(atlas) == ["Alpha"]

    assert proxy.heads[0].startswith(f"CONNECT {NAME}:443 HTTP/1.1\r\n")
    assert account.secret not in "".join(proxy.heads)
    assert "uthorization" not in "".join(proxy.heads)


async def test_the_proxy_is_told_the_password_that_its_address_holds(
    sim, connecting, proxied, trusting, monkeypatch
):
    async with proxied() as proxy:
        monkeypatch.setenv("https_proxy", f"http://ada:p%40ss@{proxy.address}")
        async with connecting(f"https://{NAME}", sim.add_token(), ssl_context=trusting) as atlas:
            assert await projects(atlas) == []

    login = base64.b64encode(b"ada:p@ss").decode()
    assert f"Proxy-Authorization: Basic {login}\r\n" in proxy.heads[0]
    assert all("Proxy-Authorization" not in str(asked) for asked in sim.requests)


@pytest.mark.parametrize(("status", "tries"), [(407, 1), (503, 5)])
async def test_a_proxy_that_refuses_is_said(
    connecting, proxied, monkeypatch, fake_time, status, tries
):
    answer = f"HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n".encode()
    async with proxied(answer) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://ada:hush@{proxy.address}")
        told = await why_not(connecting, f"https://{NAME}")

    assert f"the proxy answered {status}" in told
    assert "hush" not in told
    assert len(proxy.heads) == tries


async def test_a_proxy_that_is_not_there_is_said(connecting, monkeypatch, nobody):
    monkeypatch.setenv("HTTPS_PROXY", f"http://{nobody}")

    told = await why_not(connecting, f"https://{NAME}")

    assert "no connection to the proxy 127.0.0.1: connection refused" in told


@pytest.mark.parametrize(
    "address",
    [
        "garbage",
        "proxy.example.com:3128",
        "ada:hush@proxy.example.com:3128",
        "socks5://ada:hush@proxy.example.com:1080",
        "http://",
        "http://ada:hush@:3128",
        "http://ada:hush@[proxy",
        "http://ada:hush@proxy:port",
        "//ada:hush@proxy:3128",
    ],
)
@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy"])
async def test_an_address_that_is_no_proxy_s_is_wrong_usage_and_not_repeated(
    sim, connecting, monkeypatch, variable, address
):
    monkeypatch.setenv(variable, address)
    with pytest.raises(UsageError) as failed:
        async with connecting(f"https://{NAME}", sim.add_token()):
            pass
    assert failed.value.message == f"What {variable} holds is no proxy's address."
    assert "http://HOST:PORT" in failed.value.hint
    assert "hush" not in str(failed.value)


async def test_loopback_is_never_asked_for_through_a_proxy(sim, connecting, monkeypatch, nobody):
    monkeypatch.setenv("HTTP_PROXY", f"http://{nobody}")
    monkeypatch.setenv("HTTPS_PROXY", f"http://{nobody}")

    async with serve(sim) as base_url, connecting(base_url, sim.add_token()) as atlas:
        assert await projects(atlas) == []


async def test_no_proxy_is_used_for_a_host_that_is_exempt(connecting, monkeypatch, nobody):
    async def nowhere(loop, host, *args, **kwargs):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", nowhere)
    monkeypatch.setenv("HTTPS_PROXY", f"http://{nobody}")
    monkeypatch.setenv("NO_PROXY", ".example.com")

    assert f"name not found: {NAME}" in await why_not(connecting, f"https://{NAME}")


async def test_a_netrc_lends_no_credentials(sim, connecting, monkeypatch, tmp_path):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login ada password hush\n")
    monkeypatch.setenv("NETRC", str(netrc))

    async with serve(sim) as base_url, connecting(base_url, sim.add_api_key()) as atlas:
        assert await projects(atlas) == []


async def test_cookies_are_not_kept(sim, connecting):
    heads = []

    async def biscuits(reader, writer):
        for _ in range(2):
            heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
            writer.write(
                b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b; Path=/\r\nContent-Length: 14\r\n\r\n"
                b'{"results":[]}'
            )
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(biscuits, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        async with connecting(f"http://127.0.0.1:{port}") as atlas:
            assert await projects(atlas) == []
            assert await projects(atlas) == []

    assert len(heads) == 2
    assert "ookie" not in heads[1]
