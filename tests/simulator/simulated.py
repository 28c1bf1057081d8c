"""A simulated organization on a socket, and a client that returns complete responses."""

from contextlib import asynccontextmanager
from datetime import UTC, datetime

import aiohttp
import msgspec
from builders import ORG
from observed import ObservedAtlas

from invite_sweeper.atlas.responses import Response
from invite_sweeper.simulator import serve

NOW = datetime(2026, 8, 10, 3, 4, 57, tzinfo=UTC)
VERSIONS = {"/users": "2025-02-19", "/serviceAccounts": "2024-08-05"}


def organization(**settings):
    """Return a simulated Atlas with one empty organization."""
    sim = ObservedAtlas(lambda: NOW, **settings)
    sim.add_organization(ORG, "Example Org")
    return sim


def decoded(response):
    return msgspec.json.decode(response.body)


@asynccontextmanager
async def open_client(sim, *, token=None):
    """Serve `sim`, and yield what sends a request, by default with the version of its list.

    Args:
        token: "" for none; None for one of the first organization.
    """
    bearer = sim.add_token().secret if token is None else token
    async with serve(sim) as base_url, aiohttp.ClientSession() as session:

        async def request(method, path, *, accept=None, json=None):
            if accept is None:
                accept = next((v for part, v in VERSIONS.items() if part in path), "2023-01-01")
            headers = {"Accept": f"application/vnd.atlas.{accept}+json"}
            if bearer:
                headers["Authorization"] = f"Bearer {bearer}"
            url = f"{base_url}{path if path.startswith('/api/') else '/api/atlas/v2' + path}"
            async with session.request(method, url, headers=headers, json=json) as response:
                body = await response.read()
                return Response(response.status, response.headers.copy(), body)

        yield request
