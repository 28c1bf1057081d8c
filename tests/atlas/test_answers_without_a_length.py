"""Answers to a DELETE that do not say how long they are: the head alone is believed."""

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

GONE = b'{"errorCode": "INVALID_INVITATION_ID"}'
ANOTHER = b"HTTP/1.1 204 No Content\r\n\r\n"
"""A body that looks like the answer to the next request."""


class Silent:
    def debug(self, event, **fields):
        return None


class Server:
    """Answers each request with the same bytes; counts connections and requests."""

    def __init__(self, head, body, *, closes):
        self.head, self.body, self.closes = head, body, closes
        self.connections = self.requests = 0

    async def talk(self, reader, writer):
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
async def deleting(server):
    listener = await asyncio.start_server(server.talk, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    async with connect(
        URL(f"http://127.0.0.1:{port}"),
        BearerToken(Secret("a-token")),
        concurrency=1,
        retry_policy=RetryPolicy(attempts=1),
        limiter=RateLimiter(time.monotonic, asyncio.sleep),
        clock=lambda: datetime.now(UTC),
        log=Silent(),
    ) as atlas:
        deleter = atlas.deleter(Source)

        async def delete(number):
            one = invitation(number)
            assert deleter.try_acquire(one) == 0.0
            return await deleter.delete(one, DeletionProgress())

        yield delete
    listener.close()
    await listener.wait_closed()


async def test_204_without_a_length_is_done_and_its_connection_serves_the_next():
    server = Server(b"HTTP/1.1 204 No Content", b"", closes=False)
    async with deleting(server) as delete:
        ended = [await delete(number) for number in range(5)]
    assert [one.outcome for one in ended] == [Outcome.DELETED] * 5
    assert (server.connections, server.requests) == (1, 5)


@pytest.mark.parametrize(
    ("header", "outcome"),
    [
        (b"\r\nX-Error-Code: INVALID_INVITATION_ID", Outcome.ALREADY_GONE),
        (b"", Outcome.FAILED),  # its code may stand in the body, which nobody waits for
    ],
)
async def test_error_without_a_length_is_judged_by_its_head(header, outcome):
    head = b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json" + header
    server = Server(head, GONE, closes=True)
    async with deleting(server) as delete:
        ended = [await delete(number) for number in range(3)]
    assert [one.outcome for one in ended] == [outcome] * 3
    assert server.requests == 3


async def test_body_without_a_length_is_never_taken_for_the_answer_to_the_next_request():
    head = b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json"
    server = Server(head, ANOTHER * 3, closes=False)
    async with deleting(server) as delete:
        ended = [await delete(number) for number in range(4)]
    assert {one.outcome for one in ended} == {Outcome.FAILED}
    assert server.connections == server.requests == 4
