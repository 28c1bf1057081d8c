"""The server of the simulated Atlas: TLS, connections, clock."""

import asyncio
import ssl
from datetime import UTC, datetime

import aiohttp
import pytest
import trustme
from simulator.simulated import V2023, open_client, organization

from invite_sweeper.simulator import SimulatedAtlas, serve


async def test_server_uses_tls_with_the_given_certificate(sim):
    headers = {"Accept": V2023, "Authorization": f"Bearer {sim.add_token().secret}"}
    authority = trustme.CA()
    server, client = (
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH),
        ssl.create_default_context(),
    )
    authority.issue_cert("127.0.0.1").configure_cert(server)
    authority.configure_trust(client)
    async with serve(sim, ssl_context=server) as url, aiohttp.ClientSession() as session:
        assert url.startswith("https://127.0.0.1:")
        async with session.get(
            f"{url}/api/atlas/v2/groups", headers=headers, ssl=client
        ) as response:
            assert response.status == 200
            assert (await response.json(content_type=None))["links"][0]["href"].startswith(url)


async def test_connection_close_is_confirmed():
    async with open_client(organization()) as request:
        response = await request("GET", "/groups", headers={"Connection": "close"})
        assert response.headers["Connection"] == "close"
        assert response.json()["totalCount"] == 0


async def test_port_is_free_after_the_block(sim):
    async with serve(sim) as url:
        port = int(url.rsplit(":", 1)[1])
    async with serve(sim, port=port) as again:
        assert again == url
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


async def test_two_servers_share_one_organization(sim, project):
    token = sim.add_token().secret
    async with open_client(sim, token=token) as one, open_client(sim, token=token) as other:
        invitation = sim.invite(project, "ada@example.com")
        path = f"/groups/{project}/invites/{invitation}"
        assert (await one("DELETE", path)).status == 204
        assert (await other("DELETE", path)).status == 404


async def test_default_clock_is_the_current_time_in_utc():
    sim = SimulatedAtlas()
    assert sim.clock().tzinfo is UTC
    assert abs((sim.clock() - datetime.now(UTC)).total_seconds()) < 60
