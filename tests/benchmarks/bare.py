"""The same requests as a sweep with plain aiohttp: the lower bound for the time of a sweep.

No policy, plan, guards, rate limits, retries or log. 50 requests in flight, over all
organizations, on uvloop if it is installed. With `--dry-run` it only reads.
"""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import aiohttp
import msgspec

IN_FLIGHT = 50
V2023 = "application/vnd.atlas.2023-01-01+json"
V2024 = "application/vnd.atlas.2024-08-05+json"
CLIENT_ID, SECRET = "MONGODB_ATLAS_CLIENT_ID", "MONGODB_ATLAS_CLIENT_SECRET"
TOKEN = "MONGODB_ATLAS_ACCESS_TOKEN"
BASE = os.environ["MONGODB_ATLAS_BASE_URL"]
API = f"{BASE}/api/atlas/v2"
STALE_BEFORE = f"{datetime.now(UTC) - timedelta(days=14):%Y-%m-%dT%H:%M:%SZ}"
PAGE = "itemsPerPage=500&includeCount=false&pageNum="
T = TypeVar("T")
Call = tuple[str, Mapping[str, str]]
"""A URL and the headers of the credentials."""


class Sweep:
    """What the phases share."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self.tokens: list[tuple[str, dict[str, str]]] = []
        self.lists: list[Call] = []
        self.to_delete: list[Call] = []

    async def sign_in(self, suffix: str) -> None:
        client_id = os.environ[CLIENT_ID + suffix]
        signed = {
            "Authorization": aiohttp.encode_basic_auth(client_id, os.environ[SECRET + suffix])
        }
        form = {"grant_type": "client_credentials"}
        async with self._session.post(
            f"{BASE}/api/oauth/token", data=form, headers=signed
        ) as response:
            token = msgspec.json.decode(await response.read())["access_token"]
        self.tokens.append((token, signed))
        await self.start(token, client_id)

    async def start(self, token: str, client_id: str = "") -> None:
        """Read what a run reads first, with a token of a service account, or a ready one."""
        headers = {"Accept": V2023, "Authorization": f"Bearer {token}"}
        projects = await self.projects(headers)
        if len(projects) > 500:  # a list of several pages is read twice
            projects = await self.projects(headers)
        org = f"{API}/orgs/{projects[0]['orgId']}"
        await self.get(f"{API}/orgs?{PAGE}1", headers)
        if client_id:
            await self.get(f"{org}/serviceAccounts/{client_id}", {**headers, "Accept": V2024})
        await self.get(f"{org}/apiKeys?{PAGE}1", headers)
        self.lists += [(f"{API}/groups/{each['id']}/invites", headers) for each in projects]

    async def get(self, url: str, headers: Mapping[str, str]) -> bytes:
        async with self._session.get(url, headers=headers) as response:
            return await response.read()

    async def projects(self, headers: Mapping[str, str]) -> list[dict[str, str]]:
        projects: list[dict[str, str]] = []
        number, more = 1, True
        while more:
            page = msgspec.json.decode(await self.get(f"{API}/groups?{PAGE}{number}", headers))
            projects += page["results"]
            more = any(link["rel"] == "next" for link in page["links"])
            number += 1
        return projects

    async def read(self, call: Call) -> None:
        url, headers = call
        for invitation in msgspec.json.decode(await self.get(url, headers)):
            if invitation["createdAt"] < STALE_BEFORE:
                self.to_delete.append((f"{url}/{invitation['id']}", headers))

    async def delete(self, call: Call) -> None:
        async with self._session.delete(call[0], headers=call[1]) as response:
            await response.read()

    async def sign_out(self, token: tuple[str, dict[str, str]]) -> None:
        form = {"token": token[0]}
        async with self._session.post(f"{BASE}/api/oauth/revoke", data=form, headers=token[1]):
            pass


async def main(*, dry_run: bool) -> None:
    suffixes = [name.removeprefix(CLIENT_ID) for name in os.environ if name.startswith(CLIENT_ID)]
    connector = aiohttp.TCPConnector(limit=IN_FLIGHT)
    async with aiohttp.ClientSession(connector=connector) as session:
        sweep = Sweep(session)
        await in_flight(suffixes, sweep.sign_in)
        if TOKEN in os.environ:
            await sweep.start(os.environ[TOKEN])
        await in_flight(sweep.lists, sweep.read)
        if not dry_run:
            await in_flight(sweep.to_delete, sweep.delete)
        await in_flight(sweep.tokens, sweep.sign_out)


async def in_flight(items: Iterable[T], work: Callable[[T], Awaitable[None]]) -> None:
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
        runner.run(main(dry_run="--dry-run" in sys.argv))
