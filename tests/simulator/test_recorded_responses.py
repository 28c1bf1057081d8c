"""Responses of the simulated Atlas equal recordings: bodies, and the headers that are read."""

import json
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

import pytest
from known_atlas import recording
from observed import ObservedAtlas
from simulator.simulated import open_client

pytestmark = pytest.mark.needs("recordings")

# The headers that the program reads. Those with varying values are compared by form.
READ = {
    "Age": None,
    "Content-Encoding": None,
    "Content-Type": None,
    "Date": r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT",
    "RateLimit-Limit": None,
    "RateLimit-Remaining": r"\d+",
    "Retry-After": None,
    "Sunset": None,
    "Www-Authenticate": (
        r'Digest realm="MMS Public API", domain="", nonce="[A-Za-z0-9+/]{32}", '
        r'algorithm=MD5, qop="auth", stale=false'
    ),
    "X-Error-Code": None,
}


def read(body):
    """Return a document without what no client reads: links, and the number of clusters."""

    def without_unread(fields):
        return {k: each for k, each in fields.items() if k not in {"links", "clusterCount"}}

    return json.loads(body, object_hook=without_unread)


ORG = "a0123456789abcdef012345a"
PROJECT = "6a793fd0c0eb9e7a177181d4"
INVITATION = "6a793fd52c88faeba59bd5d0"
LATEST = datetime(2026, 8, 10, 3, 4, 57, tzinfo=UTC)
INVITES = f"/groups/{PROJECT}/invites"
BODY = {"roles": ["GROUP_READ_ONLY"], "username": "test-738@mongodb.com"}


def recorded_atlas():
    sim = ObservedAtlas(lambda: LATEST)
    sim.sunsets |= dict.fromkeys(sim.sunsets, date(2027, 7, 1))
    sim.add_organization(ORG, "Atlas CLI E2E")
    sim.add_project("invitations-e2e-233", project_id=PROJECT)
    return sim


def invited(sim, recorded):
    age = timedelta(seconds=4)
    sim.invite(PROJECT, BODY["username"], age=age, inviter="nmtxqlkl", id=INVITATION)


def projects(sim, recorded):
    sim.groups.clear()
    for each in json.loads(recorded.body)["results"]:
        tags = {tag["key"]: tag["value"] for tag in each["tags"]}
        created = datetime.fromisoformat(each["created"])
        sim.add_project(each["name"], project_id=each["id"], tags=tags, created=created)


def pending_users(sim, recorded):
    for each in json.loads(recorded.body):
        age = sim.clock() - datetime.fromisoformat(each["createdAt"])
        user = sim.add_user(
            each["username"], age=age, org_roles=each["roles"], inviter=each["inviterUsername"]
        )
        sim.user(user).invitation_id = each["id"]


def pending_user(sim, recorded):
    sim.user(sim.add_user("test-1@mongodb.com")).invitation_id = INVITATION


class Case(NamedTuple):
    """A request whose response was recorded.

    Attributes:
        varying: Keys whose values differ; empty to compare bytes.
    """

    method: str
    path: str
    prepare: Callable = lambda sim, recorded: None
    varying: tuple[str, ...] = ()
    body: object = None
    token: str | None = None


CASES = {
    "project-invite-list-latest": Case("GET", INVITES, invited),
    "project-invite-delete-latest": Case("DELETE", f"{INVITES}/{INVITATION}", invited),
    "project-invite-create-latest": Case(
        "POST", INVITES, varying=("id", "inviterUsername", "createdAt", "expiresAt"), body=BODY
    ),
    "groups-list-200-latest": Case("GET", "/groups", projects, varying=("totalCount",)),
    "orgs-list-200-latest": Case("GET", "/orgs", varying=("links",)),
    "org-invite-list-latest": Case("GET", f"/orgs/{ORG}/invites", pending_users),
    "org-invite-delete-latest": Case("DELETE", f"/orgs/{ORG}/invites/{INVITATION}", pending_user),
    "error-401-digest-2026-08-with-errorCode": Case("GET", "/groups", token=""),
    "error-404-GROUP_NOT_FOUND-with-X-Error-Code": Case("GET", f"/groups/{'1' * 24}/invites"),
    "error-404-RESOURCE_NOT_FOUND": Case(
        "DELETE", f"{INVITES}/{'0' * 24}", varying=("detail", "parameters")
    ),
}


@pytest.mark.parametrize("name", CASES)
async def test_response_equals_the_recording(name):
    recorded = recording(name)
    case = CASES[name]
    sim = recorded_atlas()
    case.prepare(sim, recorded)
    async with open_client(sim, token=case.token) as request:
        response = await request(case.method, case.path, json=case.body)
    assert response.status == recorded.status
    # The 404 of another resource was recorded, which has no end.
    for header in READ.keys() - ({"Sunset"} if name.endswith("RESOURCE_NOT_FOUND") else set()):
        ours, theirs = response.headers.get(header), recorded.headers.get(header)
        if form := READ[header]:
            assert ours is None or re.fullmatch(form, ours), header
            ours, theirs = ours is None, theirs is None
        assert ours == theirs, header
    if not case.varying:
        assert response.body == recorded.body
    else:
        varying = dict.fromkeys(case.varying)
        assert read(response.body) | varying == read(recorded.body) | varying
