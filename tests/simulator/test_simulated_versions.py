"""API versions of the simulated Atlas: `Accept`, retired versions, sunset."""

from datetime import timedelta
from email.utils import parsedate_to_datetime

import pytest
from simulator.simulated import NOW, V2023, V2025, open_client, organization


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        (V2023, 200),
        ("application/vnd.atlas.2024-08-05+json", 200),
        ("application/vnd.atlas.2022-12-31+json", 406),
        ("application/vnd.atlas.2024-13-01+json", 406),
        ("application/json", 406),
        (None, 406),
    ],
)
async def test_requested_date_is_resolved_down_and_anything_else_is_406(accept, status):
    async with open_client(organization()) as request:
        response = await request("GET", "/groups", accept=accept)
    assert response.status == status
    if status == 200:
        assert response.headers["Content-Type"] == f"{V2023};charset=utf-8"
    else:
        assert response.code == "INVALID_VERSION_DATE"
        assert response.headers["Content-Type"] == "application/json"


async def test_delete_without_a_version_is_406(sim, project):
    invitation = sim.invite(project, "ada@example.com")
    async with open_client(sim) as request:
        response = await request("DELETE", f"/groups/{project}/invites/{invitation}", accept=None)
    assert response.status == 406
    assert sim.invitations(project) == (invitation,)


@pytest.mark.parametrize("version", ["2023-01-01", "*"])
async def test_retired_version_is_410_for_its_family_only(sim, project, version):
    sim.versions.retired.add(("invites", version))
    async with open_client(sim) as request:
        retired = await request("GET", f"/groups/{project}/invites")
        other = await request("GET", "/groups")
    resource = f"api/atlas/v2/groups/{project}/invites"
    assert (retired.status, retired.code) == (410, "VERSION_GONE")
    assert retired.json()["parameters"] == ["2023-01-01", resource]
    assert retired.json()["detail"] == f"Version 2023-01-01 of {resource} is no longer available."
    assert other.status == 200


async def test_sunset_of_a_family_can_be_changed(sim, project):
    sim.versions.sunsets["invites"] = "Tue, 15 Sep 2026 00:00:00 GMT"
    async with open_client(sim) as request:
        response = await request("GET", f"/groups/{project}/invites")
        users = await request("GET", f"/groups/{project}/users", accept=V2025)
        older = await request("GET", f"/groups/{project}/users", accept=V2023)
    assert response.headers["Sunset"] == "Tue, 15 Sep 2026 00:00:00 GMT"
    assert (users.status, "Sunset" in users.headers) == (200, False)
    assert older.status == 406


async def test_date_offset_shifts_the_date_header(sim):
    sim.date_offset = timedelta(minutes=6)
    async with open_client(sim) as request:
        response = await request("GET", "/groups")
    assert parsedate_to_datetime(response.headers["Date"]) == NOW + timedelta(minutes=6)
