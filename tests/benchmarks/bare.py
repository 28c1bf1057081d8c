"""The same requests as a sweep with plain aiohttp: the lower bound for the time of a sweep.

No policy, plan, guards, rate limits, retries or log. 50 requests in flight, over all
organizations, on uvloop if it is installed. With `--dry-run` it only reads.
"""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, TypeVar

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
PAGE = "itemsPerPage=500&includeCount=false&pageNum=1"
T = TypeVar("T")


class Call(NamedTuple):
    """A URL and the headers of the credentials."""

    url: str
    headers: Mapping[str, str]


class Sweep:
    """What the phases share."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self.tokens: list[tuple[str, dict[str, str]]] = []
        self.lists: list[Call] = []
        self.to_delete: list[Call] = []

    async def sign_in(self, suffix: str) -> None:
        client_id = os.environ[CLIENT_ID + suffix]
        login = aiohttp.encode_basic_auth(client_id, os.environ[SECRET + suffix])
        url, form = f"{BASE}/api/oauth/token", {"grant_type": "client_credentials"}
        signed = {"Authorization": login}
        async with self._session.post(url, data=form, headers=signed) as response:
            token = msgspec.json.decode(await response.read())["access_token"]
        self.tokens.append((token, signed))
        await self.start(token, client_id)

    async def start(self, token: str, client_id: str = "") -> None:
        """Read what a run reads first, with a token of a service account, or a ready one."""
        headers = {"Accept": V2023, "Authorization": f"Bearer {token}"}
        projects = await self.projects(headers)
        org = f"{API}/orgs/{projects[0]['orgId']}"
        await self.get(f"{API}/orgs?{PAGE}", headers, V2023)
        if client_id:
            await self.get(f"{org}/serviceAccounts/{client_id}", headers, V2024)
        await self.get(f"{org}/apiKeys?{PAGE}", headers, V2023)
        self.lists += [Call(f"{API}/groups/{each['id']}/invites", headers) for each in projects]

    async def get(self, url: str, headers: Mapping[str, str], accept: str) -> None:
        async with self._session.get(url, headers={**headers, "Accept": accept}) as response:
            await response.read()

    async def projects(self, headers: Mapping[str, str]) -> list[dict[str, str]]:
        """Read the projects; a list of several pages twice."""
        projects = await self.projects_once(headers)
        return projects if len(projects) <= 500 else await self.projects_once(headers)

    async def projects_once(self, headers: Mapping[str, str]) -> list[dict[str, str]]:
        projects: list[dict[str, str]] = []
        number, more = 1, True
        while more:
            url = f"{API}/groups?itemsPerPage=500&includeCount=false&pageNum={number}"
            async with self._session.get(url, headers=headers) as response:
                page = msgspec.json.decode(await response.read())
            projects += page["results"]
            more = any(link["rel"] == "next" for link in page["links"])
            number += 1
        return projects

    async def read(self, call: Call) -> None:
        self.to_delete.extend(await self.list_invitations(call))

    async def list_invitations(self, call: Call) -> list[Call]:
        """Return the calls that delete the stale invitations of a list."""
        url, headers = call
        async with self._session.get(url, headers=headers) as response:
            found = msgspec.json.decode(await response.read())
        stale = [invitation for invitation in found if invitation["createdAt"] < STALE_BEFORE]
        return [Call(f"{url}/{invitation['id']}", headers) for invitation in stale]

    async def delete(self, call: Call) -> None:
        async with self._session.delete(call.url, headers=call.headers) as response:
            await response.read()

    async def sign_out(self, token: tuple[str, dict[str, str]]) -> None:
        url, form = f"{BASE}/api/oauth/revoke", {"token": token[0]}
        async with self._session.post(url, data=form, headers=token[1]):
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
