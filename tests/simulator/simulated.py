"""A simulated organization on a socket, and a client that returns complete responses."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import aiohttp
import msgspec
from observed import ObservedAtlas

from invite_sweeper.simulator import SimulatedAtlas, serve

ORG = "5efda682a3f2ed2e7dd6cde4"
NOW = datetime(2026, 8, 10, 3, 4, 57, tzinfo=UTC)
VERSIONS = {"/users": "2025-02-19", "/serviceAccounts": "2024-08-05"}


@dataclass(frozen=True)
class Response:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self):
        return msgspec.json.decode(self.body)

    @property
    def code(self):
        return self.json()["errorCode"]


class Client:
    def __init__(self, session, base_url, token):
        self.session = session
        self.base_url = base_url
        self.token = token

    async def __call__(self, method, path, *, accept=None, headers=None, **options):
        """Send a request; by default with the version of its list."""
        if accept is None:
            accept = next((v for part, v in VERSIONS.items() if part in path), "2023-01-01")
        media = f"application/vnd.atlas.{accept}+json" if accept else "*/*"
        request_headers = {"Accept": media}
        if self.token:
            request_headers["Authorization"] = f"Bearer {self.token}"
        request_headers |= headers or {}
        url = f"{self.base_url}{path if path.startswith('/api/') else '/api/atlas/v2' + path}"
        async with self.session.request(
            method, url, headers=request_headers, allow_redirects=False, **options
        ) as response:
            body = await response.read()
            return Response(response.status, response.headers.copy(), body)


def organization(**settings):
    """Return a simulated Atlas with one empty organization."""
    sim = ObservedAtlas(lambda: NOW, **settings)
    sim.add_organization(ORG, "Example Org")
    return sim


@asynccontextmanager
async def open_client(sim: SimulatedAtlas, *, token: str | None = None) -> AsyncIterator[Client]:
    """Serve `sim` and yield a client with a token of its first organization."""
    bearer = sim.add_token().secret if token is None else token
    async with serve(sim) as base_url, aiohttp.ClientSession() as session:
        # aiohttp resends a GET or DELETE when a connection breaks; the tests need one request.
        session._retry_connection = False
        yield Client(session, base_url, bearer)
