"""Versions of the simulated Atlas: `Accept`, what is gone, what is about to end."""

from datetime import timedelta
from email.utils import parsedate_to_datetime

import pytest
from simulator.simulated import NOW, V2023, V2025, asking, organization


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
async def test_a_date_is_resolved_down_and_anything_else_is_406(accept, status):
    async with asking(organization()) as ask:
        got = await ask("GET", "/groups", accept=accept)
    assert got.status == status
    if status == 200:
        assert got.headers["Content-Type"] == f"{V2023};charset=utf-8"
    else:
        assert got.code == "INVALID_VERSION_DATE"
        assert got.headers["Content-Type"] == "application/json"


async def test_where_only_exact_dates_are_taken_another_is_406():
    sim = organization()
    sim.versions.exact_only = True
    async with asking(sim) as ask:
        exact = await ask("GET", "/groups", accept=V2023)
        between = await ask("GET", "/groups", accept="application/vnd.atlas.2024-08-05+json")
    assert (exact.status, between.status) == (200, 406)


async def test_a_delete_needs_the_version_as_well():
    sim = organization()
    project = sim.add_project("Data Lake")
    invitation = sim.invite(project, "ada@example.com")
    async with asking(sim) as ask:
        got = await ask("DELETE", f"/groups/{project}/invites/{invitation}", accept=None)
    assert got.status == 406
    assert sim.invitations(project) == (invitation,)


@pytest.mark.parametrize("version", ["2023-01-01", "*"])
async def test_a_version_that_is_gone_answers_410_for_its_family_alone(version):
    sim = organization()
    project = sim.add_project("Data Lake")
    sim.versions.retired.add(("invites", version))
    async with asking(sim) as ask:
        gone = await ask("GET", f"/groups/{project}/invites")
        there = await ask("GET", "/groups")
    resource = f"api/atlas/v2/groups/{project}/invites"
    assert (gone.status, gone.code) == (410, "VERSION_GONE")
    assert gone.json()["parameters"] == ["2023-01-01", resource]
    assert gone.json()["detail"] == f"Version 2023-01-01 of {resource} is no longer available."
    assert there.status == 200


async def test_the_sunset_of_a_family_may_move():
    sim = organization()
    project = sim.add_project("Data Lake")
    sim.versions.sunsets["invites"] = "Tue, 15 Sep 2026 00:00:00 GMT"
    async with asking(sim) as ask:
        got = await ask("GET", f"/groups/{project}/invites")
        users = await ask("GET", f"/groups/{project}/users", accept=V2023)
        newer = await ask("GET", f"/groups/{project}/users", accept=V2025)
    assert got.headers["Sunset"] == "Tue, 15 Sep 2026 00:00:00 GMT"
    assert got.headers["Deprecation"] == "Wed, 4 Oct 2023 00:00:00 GMT"
    assert users.headers["Sunset"] == "Thu, 1 Jul 2027 00:00:00 GMT"
    assert "Sunset" not in newer.headers


async def test_its_clock_may_be_off():
    sim = organization()
    sim.date_offset = timedelta(minutes=6)
    async with asking(sim) as ask:
        got = await ask("GET", "/groups")
    assert parsedate_to_datetime(got.headers["Date"]) == NOW + timedelta(minutes=6)
