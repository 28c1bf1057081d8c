"""Responses to a DELETE without a length: only the status line and headers are used."""

import asyncio
import time
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from builders import invitation
from yarl import URL

from invite_sweeper.atlas import RateLimiter, RetryPolicy, connect
from invite_sweeper.atlas.credentials import BearerToken, Secret
from invite_sweeper.models import DeletionProgress, Outcome, Source

GONE_BODY = b'{"errorCode": "INVALID_INVITATION_ID"}'
NEXT_RESPONSE = b"HTTP/1.1 204 No Content\r\n\r\n"
"""A body that looks like the response to the next request."""


class SilentLog:
    def debug(self, event, **fields):
        return None


class Server:
    """Sends the same bytes for each request; counts connections and requests."""

    def __init__(self, head, body, *, closes):
        self.head, self.body, self.closes = head, body, closes
        self.connections = self.requests = 0

    async def serve(self, reader, writer):
        self.connections += 1
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                self.requests += 1
                writer.write(self.head + b"\r\n\r\n" + self.body)
                await writer.drain()
                if self.closes:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def deleter_for(server):
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    async with connect(
        URL(f"http://127.0.0.1:{port}"),
        BearerToken(Secret("a-token")),
        concurrency=1,
        retry_policy=RetryPolicy(attempts=1),
        limiter=RateLimiter(time.monotonic, asyncio.sleep),
        clock=lambda: datetime.now(UTC),
        log=SilentLog(),
    ) as atlas:
        deleter = atlas.deleter(Source)

        async def delete(number):
            listed = invitation(number, source=Source.INVITES)
            assert deleter.try_acquire(listed) == 0.0
            return await deleter.delete(listed, DeletionProgress())

        yield delete
    listener.close()
    await listener.wait_closed()


async def test_204_without_length_is_deleted_and_its_connection_is_reused():
    server = Server(b"HTTP/1.1 204 No Content", b"", closes=False)
    async with deleter_for(server) as delete:
        results = [await delete(number) for number in range(5)]
    assert [result.outcome for result in results] == [Outcome.DELETED] * 5
    assert (server.connections, server.requests) == (1, 5)


@pytest.mark.parametrize(
    ("header", "outcome"),
    [
        (b"\r\nX-Error-Code: INVALID_INVITATION_ID", Outcome.ALREADY_GONE),
        (b"", Outcome.FAILED),  # a code in the body is not read, because its end is unknown
    ],
)
async def test_error_without_length_is_classified_by_its_headers(header, outcome):
    head = b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json" + header
    server = Server(head, GONE_BODY, closes=True)
    async with deleter_for(server) as delete:
        results = [await delete(number) for number in range(3)]
    assert [result.outcome for result in results] == [outcome] * 3
    assert server.requests == 3


async def test_body_without_length_is_never_used_as_the_next_response():
    head = b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json"
    server = Server(head, NEXT_RESPONSE * 3, closes=False)
    async with deleter_for(server) as delete:
        results = [await delete(number) for number in range(4)]
    assert {result.outcome for result in results} == {Outcome.FAILED}
    assert server.connections == server.requests == 4
