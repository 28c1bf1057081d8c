"""DNS, connections, certificates and proxies, over real local sockets."""

import asyncio
import base64
import socket
import ssl
from contextlib import asynccontextmanager, nullcontext, suppress
from itertools import count
from unittest.mock import Mock

import aiohttp
import pytest
import trustme
from builders import invitation
from deleting import READY, delete

from invite_sweeper.endings import ExitCode
from invite_sweeper.errors import AtlasUnavailable, UsageError
from invite_sweeper.models import Source
from invite_sweeper.outcomes import Outcome, Sending
from invite_sweeper.simulator import serve

NAME = "atlas.example.com"


async def projects(atlas):
    return [item.name for item in await atlas.reader.projects()]


async def connection_error(connecting, base_url, account=READY, **options):
    async with connecting(base_url, account, **options) as atlas:
        with pytest.raises(AtlasUnavailable) as caught:
            await projects(atlas)
    assert caught.value.exit_code is ExitCode.UNREACHABLE
    message = str(caught.value)
    assert "Client" not in message
    assert "Error" not in message
    return message


@pytest.fixture
def closed_port():
    """An address with a port that is reserved and does not listen."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{reserved.getsockname()[1]}"


async def test_refused_connection_is_retried_and_then_reported(connecting, closed_port, fake_time):
    assert "connection refused" in await connection_error(connecting, f"http://{closed_port}")
    assert len(fake_time.slept) == 4


@pytest.mark.parametrize("source", [Source.INVITES, Source.ORG_INVITES])
@pytest.mark.parametrize(("is_lost", "outcome"), [(False, Outcome.FAILED), (True, Outcome.UNKNOWN)])
async def test_deletion_that_no_connection_took_is_failed_and_one_that_may_have_been_unknown(
    connecting, closed_port, source, is_lost, outcome
):
    """What follows a lost answer, a refused connection, does not show what became of the first."""
    progress = Sending(response_pending=is_lost)
    async with connecting(f"http://{closed_port}") as atlas:
        deletion = await delete(atlas, invitation(1, source=source), progress)

    assert (deletion.outcome, deletion.attempts) == (outcome, 5)
    assert "connection refused" in deletion.reason


class RawServer:
    """Sends the same bytes for each request, and keeps the `heads` of the requests."""

    def __init__(self, response, *, closes=False):
        self.response = response
        self.closes = closes
        self.heads = []
        self.connections = []

    async def _serve_one(self, reader, writer):
        self.connections.append(asyncio.current_task())
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                self.heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
                writer.write(self.response)
                await writer.drain()
                if self.closes:
                    break
        writer.close()

    @asynccontextmanager
    async def listening(self):
        server = await asyncio.start_server(self._serve_one, "127.0.0.1", 0)
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        server.close()
        await asyncio.gather(*self.connections)


async def test_server_that_does_not_speak_http_is_reported(connecting):
    async with RawServer(b"SSH-2.0-OpenSSH_9.6\r\n\r\n", closes=True).listening() as base_url:
        assert "not HTTP" in await connection_error(connecting, base_url)


async def test_cookies_are_not_sent_back(connecting):
    server = RawServer(
        b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b; Path=/\r\nContent-Length: 14\r\n"
        b'Content-Type: application/vnd.atlas.2023-01-01+json\r\n\r\n{"results":[]}'
    )
    async with server.listening() as base_url, connecting(base_url) as atlas:
        assert await projects(atlas) == []
        assert await projects(atlas) == []

    assert len(server.heads) == 2
    assert "ookie" not in server.heads[1]


ERROR = b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json"
GONE_BODY = b'{"errorCode": "INVALID_INVITATION_ID"}'
IN_HEADER = b"\r\nX-Error-Code: INVALID_INVITATION_ID"
NO_CONTENT = b"HTTP/1.1 204 No Content\r\n"


@pytest.mark.parametrize(
    ("response", "closes", "outcome", "connections"),
    [
        (NO_CONTENT + b"\r\n", False, Outcome.DELETED, 1),
        (NO_CONTENT + b"Content-Length: 90\r\n\r\n", False, Outcome.DELETED, 1),
        (ERROR + IN_HEADER + b"\r\n\r\n" + GONE_BODY, True, Outcome.ALREADY_GONE, 4),
        # A code in the body is not read, because its end is unknown.
        (ERROR + b"\r\n\r\n" + GONE_BODY, True, Outcome.FAILED, 4),
        # A body that looks like the response to the next request.
        (ERROR + b"\r\n\r\n" + (NO_CONTENT + b"\r\n") * 3, False, Outcome.FAILED, 4),
    ],
    ids=count(1),
)
async def test_of_a_response_to_a_delete_without_length_only_status_and_headers_are_used(
    connecting, response, closes, outcome, connections
):
    server = RawServer(response, closes=closes)
    async with (
        server.listening() as base_url,
        connecting(base_url, concurrency=1, attempts=1) as atlas,
    ):
        listed = (invitation(number, source=Source.INVITES) for number in range(4))
        results = [await delete(atlas, one) for one in listed]

    assert [result.outcome for result in results] == [outcome] * 4
    assert (len(server.connections), len(server.heads)) == (connections, 4)


@pytest.mark.parametrize("kind", ["add_token", "add_service_account"])
@pytest.mark.parametrize(
    ("name", "is_trusted", "reason"),
    [
        ("other.example.com", True, "certificate is not valid for '127.0.0.1'"),
        ("127.0.0.1", False, "certificate of 127.0.0.1 rejected: "),
    ],
)
async def test_certificate_that_is_not_valid_is_rejected_without_a_retry(
    sim, connecting, fake_time, kind, name, is_trusted, reason
):
    authority = trustme.CA()
    server_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    client_tls = ssl.create_default_context()
    authority.issue_cert(name).configure_cert(server_tls)
    authority.configure_trust(client_tls)
    trusting = aiohttp.TCPConnector(ssl=client_tls) if is_trusted else nullcontext()
    async with serve(sim, ssl_context=server_tls) as base_url, trusting as connector:
        account = getattr(sim, kind)()
        message = await connection_error(connecting, base_url, account, connector=connector)

    assert reason in message
    assert (fake_time.slept, sim.requests) == ([], [])


async def test_plain_http_server_at_an_https_url_is_reported(sim, connecting):
    async with serve(sim) as base_url:
        url = base_url.replace("http:", "https:")
        assert "TLS handshake" in await connection_error(connecting, url)


@pytest.mark.parametrize(("status", "attempts"), [(407, 1), (503, 5)])
async def test_proxy_alone_gets_the_password_in_its_url_and_its_error_is_retried_only_if_it_is_503(
    connecting, monkeypatch, status, attempts
):
    proxy = RawServer(f"HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n".encode(), closes=True)
    async with proxy.listening() as url:
        monkeypatch.setenv("https_proxy", url.replace("//", "//ada:p%40ss@"))
        message = await connection_error(connecting, f"https://{NAME}")

    assert f"proxy responded with HTTP {status}" in message
    assert "p%40ss" not in message
    assert len(proxy.heads) == attempts
    login = base64.b64encode(b"ada:p@ss").decode()
    for head in proxy.heads:
        assert head.startswith(f"CONNECT {NAME}:443 HTTP/1.1\r\n")
        assert f"Proxy-Authorization: Basic {login}\r\n" in head
        assert "a-ready-token" not in head


@pytest.mark.parametrize(
    ("no_proxy", "reason"),
    [
        ("example.org", "could not connect to proxy 127.0.0.1: connection refused"),
        (".example.com", f"name not found: {NAME}"),
    ],
)
async def test_connection_to_the_proxy_is_refused_unless_no_proxy_names_the_host(
    connecting, monkeypatch, closed_port, no_proxy, reason
):
    not_found = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    monkeypatch.setattr(socket, "getaddrinfo", Mock(side_effect=not_found))
    monkeypatch.setenv("HTTPS_PROXY", f"http://{closed_port}")
    monkeypatch.setenv("NO_PROXY", no_proxy)

    assert reason in await connection_error(connecting, f"https://{NAME}")


@pytest.mark.parametrize(
    "address",
    ["ada:s3cret@p.example.com:3128", "socks5://ada:s3cret@p.example.com", "http://ada:s3cret@[p"],
)
@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy"])
async def test_invalid_proxy_url_is_a_usage_error_that_does_not_show_the_value(
    connecting, monkeypatch, variable, address
):
    monkeypatch.setenv(variable, address)
    with pytest.raises(UsageError) as caught:
        await connection_error(connecting, f"https://{NAME}")
    assert caught.value.message == f"The value of {variable} is not a valid proxy URL."
    assert "http://HOST:PORT" in caught.value.hint
    assert "s3cret" not in str(caught.value)


async def test_credentials_in_netrc_are_not_used(sim, connecting, monkeypatch, tmp_path):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login ada password s3cret\n", encoding="utf-8")
    monkeypatch.setenv("NETRC", str(netrc))

    async with serve(sim) as base_url, connecting(base_url, sim.add_api_key()) as atlas:
        assert await projects(atlas) == []
