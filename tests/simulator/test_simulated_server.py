"""The socket of the simulated Atlas: TLS, connections that end, compression, the clock."""

import asyncio
import ssl
from datetime import UTC, datetime

import aiohttp
import pytest
import trustme
from simulator.simulated import V2023, asking, organization

from invite_sweeper.simulator import SimulatedAtlas, faults, serve


async def test_it_speaks_tls_with_the_certificate_given():
    sim = organization()
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
        async with session.get(f"{url}/api/atlas/v2/groups", headers=headers, ssl=client) as got:
            assert got.status == 200
            assert (await got.json(content_type=None))["links"][0]["href"].startswith(url)


async def test_a_connection_that_the_client_closes_is_closed():
    async with asking(organization()) as ask:
        got = await ask("GET", "/groups", headers={"Connection": "close"})
        assert got.headers["Connection"] == "close"
        assert got.json()["totalCount"] == 0


async def test_the_port_is_free_again_when_the_block_ends():
    sim = organization()
    async with serve(sim) as url:
        port = int(url.rsplit(":", 1)[1])
    async with serve(sim, port=port) as again:
        assert again == url
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


async def test_several_servers_may_show_the_same_organization():
    sim = organization()
    project = sim.add_project("Data Lake")
    token = sim.add_token().secret
    async with asking(sim, token=token) as one, asking(sim, token=token) as other:
        invitation = sim.invite(project, "ada@example.com")
        path = f"/groups/{project}/invites/{invitation}"
        assert (await one("DELETE", path)).status == 204
        assert (await other("DELETE", path)).status == 404


@pytest.mark.parametrize(
    ("method", "takes", "zipped"),
    [("GET", "gzip", True), ("GET", "identity", False), ("DELETE", "gzip", False)],
)
async def test_answers_are_compressed_only_where_atlas_does_it(method, takes, zipped):
    sim = organization()
    sim.gzip = True
    sim.faults.add(faults.malformed(b"{}"), method="DELETE")
    project = sim.add_project("Data Lake")
    invitation = sim.invite(project, "ada@example.com")
    async with asking(sim) as ask:
        path = f"/groups/{project}/invites/{invitation}"
        got = await ask(method, path, headers={"Accept-Encoding": takes})
    assert (got.headers.get("Content-Encoding") == "gzip") is zipped
    assert ("Vary" in got.headers) is zipped


async def test_by_default_its_clock_is_that_of_the_machine_in_utc():
    sim = SimulatedAtlas()
    assert sim.clock().tzinfo is UTC
    assert abs((sim.clock() - datetime.now(UTC)).total_seconds()) < 60
