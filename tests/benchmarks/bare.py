"""The same requests as a sweep with plain aiohttp: the lower bound for the time of a sweep.

No policy, plan, guards, rate limits, retries or log. 50 requests in flight, on uvloop if it is
installed.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable

import aiohttp
import msgspec

IN_FLIGHT = 50
MAX_VERIFIED = 10_000
"""Deletions whose lists are read again at the end, like those of a sweep."""
ACCEPT = "application/vnd.atlas.2023-01-01+json"
ACCEPT_LIMITS = "application/vnd.atlas.2025-03-12+json"


async def main() -> None:
    base = os.environ["MONGODB_ATLAS_BASE_URL"]
    client_id = os.environ["MONGODB_ATLAS_CLIENT_ID"]
    secret = os.environ["MONGODB_ATLAS_CLIENT_SECRET"]
    login = {"Authorization": aiohttp.encode_basic_auth(client_id, secret)}
    connector = aiohttp.TCPConnector(limit=IN_FLIGHT)
    async with aiohttp.ClientSession(connector=connector) as session:
        form = {"grant_type": "client_credentials"}
        async with session.post(f"{base}/api/oauth/token", data=form, headers=login) as response:
            token = msgspec.json.decode(await response.read())["access_token"]
        headers = {"Accept": ACCEPT, "Authorization": f"Bearer {token}"}
        groups = f"{base}/api/atlas/v2/groups"
        limits = f"{base}/api/atlas/v2/rateLimits?itemsPerPage=500&pageNum=1"
        async with session.get(limits, headers={**headers, "Accept": ACCEPT_LIMITS}) as response:
            await response.read()
        orgs = f"{base}/api/atlas/v2/orgs?itemsPerPage=500&includeCount=false&pageNum=1"
        async with session.get(orgs, headers=headers) as response:
            await response.read()
        to_delete: list[str] = []
        to_verify: list[str] = []

        async def read(project_id: str) -> None:
            url = f"{groups}/{project_id}/invites"
            found = await list_invitations(url)
            if len(to_delete) < MAX_VERIFIED:
                to_verify.append(url)
            to_delete.extend(found)

        async def verify(url: str) -> None:
            assert not await list_invitations(url)

        async def list_invitations(url: str) -> list[str]:
            async with session.get(url, headers=headers) as response:
                found = msgspec.json.decode(await response.read())
            return [f"{url}/{invitation['id']}" for invitation in found]

        async def delete(url: str) -> None:
            async with session.delete(url, headers=headers) as response:
                await response.read()

        await in_flight(await list_projects(session, groups, headers), read)
        await in_flight(to_delete, delete)
        await in_flight(to_verify, verify)
        async with session.post(f"{base}/api/oauth/revoke", data={"token": token}, headers=login):
            pass


async def list_projects(
    session: aiohttp.ClientSession, groups: str, headers: dict[str, str]
) -> list[str]:
    projects: list[str] = []
    number, more = 1, True
    while more:
        url = f"{groups}?itemsPerPage=500&includeCount=false&pageNum={number}"
        async with session.get(url, headers=headers) as response:
            page = msgspec.json.decode(await response.read())
        projects += [project["id"] for project in page["results"]]
        more = any(link["rel"] == "next" for link in page["links"])
        number += 1
    return projects


async def in_flight(items: Iterable[str], work: Callable[[str], Awaitable[None]]) -> None:
    queue = iter(items)

    async def worker() -> None:
        for item in queue:
            await work(item)

    await asyncio.gather(*(worker() for _ in range(IN_FLIGHT)))


if __name__ == "__main__":
    try:
        from uvloop import new_event_loop
    except ImportError:
        new_event_loop = None
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(main())
