"""Responses of the simulated Atlas equal recordings: bodies, and the headers that are read."""

import gzip
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import faults
import msgspec
import pytest
from multidict import CIMultiDict
from needs import RECORDINGS
from simulator.simulated import open_client, organization

from invite_sweeper.simulator import SimulatedAtlas

pytestmark = pytest.mark.needs("recordings")

# The headers that the program reads. Those with varying values are compared by form.
READ = {
    "Age": None,
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
# Missing in older recordings of the same responses.
NEWER = {"RateLimit-Limit", "RateLimit-Remaining", "X-Error-Code"}


class Recorded:
    def __init__(self, name):
        text = (RECORDINGS / name).read_bytes()
        head, self.body = re.split(rb"\r?\n\r?\n", text, maxsplit=1)
        first, *lines = head.decode("latin-1").splitlines()
        self.status = int(first.split()[1])
        self.headers = CIMultiDict(line.split(": ", 1) for line in lines)
        if self.headers.get("Content-Encoding") == "gzip":
            self.body = gzip.decompress(self.body)
        self.body = self.body.removesuffix(b"\n") if self.status == 204 else self.body

    def json(self):
        return msgspec.json.decode(self.body)


def shape(value):
    """Return keys in order, types, and the form of strings, without the values."""
    if isinstance(value, dict):
        return [(key, shape(each)) for key, each in value.items()]
    if isinstance(value, list):
        return sorted({repr(shape(each)) for each in value})
    if isinstance(value, str):
        for form in (r"[0-9a-f]{24}", r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", r"[A-Z]+(_[A-Z]+)+"):
            if re.fullmatch(form, value):
                return form
        return "text"
    return type(value).__name__


def assert_same_headers(recorded, response, *, without=frozenset()):
    """Assert an equal status, and equal headers of those that the program reads."""
    assert response.status == recorded.status
    for name in READ.keys() - without:
        ours, theirs = response.headers.get(name), recorded.headers.get(name)
        if form := READ[name]:
            ours, theirs = [each and bool(re.fullmatch(form, each)) for each in (ours, theirs)]
            assert ours in (None, True), name
        assert ours == theirs, name


def recorded_atlas(recorded_at: datetime):
    """Return an Atlas like the recorded one, at the time of a recording."""
    sim = SimulatedAtlas(lambda: recorded_at)
    sim.add_organization("a0123456789abcdef012345a", "Atlas CLI E2E")
    return sim


LIST_TIME = datetime(2026, 8, 10, 3, 4, 57, tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "method", "suffix"),
    [
        ("project-invite-list-latest.http", "GET", ""),
        ("project-invite-delete-latest.http", "DELETE", "/{}"),
    ],
)
async def test_project_invitation_responses_equal_the_recording(name, method, suffix):
    recorded = Recorded(name)
    sim = recorded_atlas(LIST_TIME)
    project = sim.add_project("invitations-e2e-233", project_id="6a793fd0c0eb9e7a177181d4")
    invitation = sim.invite(
        project,
        "test-738@mongodb.com",
        age=timedelta(seconds=4),
        inviter="nmtxqlkl",
        id="6a793fd52c88faeba59bd5d0",
    )
    async with open_client(sim) as request:
        response = await request(method, f"/groups/{project}/invites{suffix.format(invitation)}")
    assert_same_headers(recorded, response)
    assert response.body == recorded.body


async def test_invite_response_equals_the_recording():
    recorded = Recorded("project-invite-create-latest.http")
    sim = recorded_atlas(datetime(2026, 8, 10, 3, 4, 53, tzinfo=UTC))
    project = sim.add_project("invitations-e2e-233", project_id="6a793fd0c0eb9e7a177181d4")
    async with open_client(sim) as request:
        body = {"roles": ["GROUP_READ_ONLY"], "username": "test-738@mongodb.com"}
        response = await request("POST", f"/groups/{project}/invites", json=body)
    assert_same_headers(recorded, response)
    assert shape(response.json()) == shape(recorded.json())
    varying = {"id": "", "inviterUsername": ""}
    assert response.json() | varying == recorded.json() | varying


async def test_compressed_list_equals_the_recording():
    recorded = Recorded("project-invite-list-earliest.http")
    sim = recorded_atlas(datetime(2025, 3, 28, 12, 52, 41, tzinfo=UTC))
    sim.faults.add(faults.compressed())
    sim.versions.sunsets["invites"] = "Fri, 31 Jul 2026 00:00:00 GMT"
    project = sim.add_project("invitations-e2e-1")
    sim.invite(project, "test-1@mongodb.com")
    async with open_client(sim) as request:
        response = await request("GET", f"/groups/{project}/invites")
    assert_same_headers(recorded, response, without=NEWER)
    assert response.headers["Content-Encoding"] == recorded.headers["Content-Encoding"]
    assert shape(response.json()) == shape(recorded.json())


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("groups-list-200-latest.http", frozenset()),
        ("groups-list-200-smallest.http", NEWER),
    ],
)
async def test_project_list_equals_the_recording(name, missing):
    recorded = Recorded(name)
    sim = recorded_atlas(LIST_TIME)
    for each in recorded.json()["results"]:
        tags = {tag["key"]: tag["value"] for tag in each["tags"]}
        created = datetime.fromisoformat(each["created"])
        project = sim.add_project(each["name"], project_id=each["id"], tags=tags, created=created)
        sim.groups[project].cluster_count = each["clusterCount"]
    async with open_client(sim) as request:
        response = await request("GET", "/groups")
        body = response.body.replace(request.base_url.encode(), b"http://localhost:8080")
    assert_same_headers(recorded, response, without=missing)
    expected = msgspec.json.decode(body)
    assert expected["links"] == recorded.json()["links"]
    assert expected["results"] == recorded.json()["results"]
    assert shape(expected) == shape(recorded.json())


async def test_first_of_several_pages_has_the_recorded_links_and_count():
    recorded = Recorded("groups-list-200-page1-of-3-next-250.http")
    sim = recorded_atlas(LIST_TIME)
    for number in range(250):
        sim.add_project(f"project-{number:03}")
    async with open_client(sim) as request:
        response = await request("GET", "/groups")
        links = msgspec.json.decode(
            response.body.replace(request.base_url.encode(), b"http://localhost:8080")
        )
    assert links["links"] == recorded.json()["links"]
    assert len(response.json()["results"]) == len(recorded.json()["results"]) == 100
    assert response.json()["totalCount"] == recorded.json()["totalCount"] == 250


async def test_organization_list_equals_the_recording():
    recorded = Recorded("orgs-list-200-latest.http")
    async with open_client(recorded_atlas(LIST_TIME)) as request:
        response = await request("GET", "/orgs")
        body = response.body.replace(request.base_url.encode(), b"http://localhost:8080")
    assert_same_headers(recorded, response)
    assert body == recorded.body


async def test_organization_invitation_list_equals_the_recording():
    recorded = Recorded("org-invite-list-latest.http")
    sim = recorded_atlas(LIST_TIME)
    for each in recorded.json():
        age = sim.clock() - datetime.fromisoformat(each["createdAt"])
        user = sim.add_user(
            each["username"], age=age, org_roles=each["roles"], inviter=each["inviterUsername"]
        )
        sim.user(user).invitation_id = each["id"]
    async with open_client(sim) as request:
        response = await request("GET", "/orgs/a0123456789abcdef012345a/invites")
    assert_same_headers(recorded, response)
    assert response.body == recorded.body


async def test_delete_of_an_organization_invitation_equals_the_recording():
    recorded = Recorded("org-invite-delete-latest.http")
    sim = recorded_atlas(LIST_TIME)
    invitation = sim.user(sim.add_user("test-1@mongodb.com")).invitation_id
    async with open_client(sim) as request:
        response = await request("DELETE", f"/orgs/a0123456789abcdef012345a/invites/{invitation}")
    assert_same_headers(recorded, response)
    assert response.body == b""


async def test_digest_challenge_equals_the_recording():
    recorded = Recorded("error-401-digest-2026-08-with-errorCode.http")
    async with open_client(organization(), token="") as request:
        response = await request("GET", "/groups")
    assert_same_headers(recorded, response)
    assert response.body == recorded.body


async def test_unknown_project_equals_the_recording():
    recorded = Recorded("error-404-GROUP_NOT_FOUND-with-X-Error-Code.http")
    async with open_client(organization()) as request:
        response = await request("GET", f"/groups/{'1' * 24}/invites")
    assert_same_headers(recorded, response)
    assert response.body == recorded.body


async def test_unknown_invitation_has_the_recorded_headers_and_keys():
    recorded = Recorded("error-404-RESOURCE_NOT_FOUND.http")
    sim = organization()
    project = sim.add_project("Data Lake")
    async with open_client(sim) as request:
        response = await request("DELETE", f"/groups/{project}/invites/{'0' * 24}")
    assert_same_headers(recorded, response, without={"Sunset"})
    assert shape(response.json()) == shape(recorded.json())


async def test_delete_with_an_empty_id_is_405_as_recorded():
    recorded = Recorded("error-405-DELETE-groups-empty-id.http")
    async with open_client(organization()) as request:
        response = await request("DELETE", "/groups/")
    assert_same_headers(recorded, response)
    assert response.body == b""


@pytest.mark.parametrize(
    ("name", "omitted"),
    [
        ("error-500-UNEXPECTED_ERROR-with-X-Error-Code.http", frozenset()),
        ("error-400-with-X-Error-Code.http", NEWER),
    ],
)
async def test_injected_error_has_the_recorded_headers_and_body(name, omitted):
    recorded = Recorded(name)
    sim = organization()
    code = recorded.json()["errorCode"]
    parameters = recorded.json()["parameters"]
    sim.faults.add(faults.fail_with(recorded.status, code, recorded.json()["detail"], *parameters))
    async with open_client(sim) as request:
        response = await request("GET", "/groups")
    assert_same_headers(recorded, response, without=omitted)
    assert response.body == recorded.body


async def test_proxy_page_is_like_the_recording():
    recorded = Recorded("error-502-html-from-proxy.http")
    sim = organization()
    sim.faults.add(faults.html(502))
    async with open_client(sim) as request:
        response = await request("GET", "/groups")
    assert response.status == 502
    assert response.headers["Content-Type"] == "text/html"
    assert "Date" not in response.headers
    assert recorded.body.split(b"<p>")[0] == response.body.split(b"<p>")[0]


def test_every_recording_is_used_here():
    """A recording that is added later must be used here."""
    known = Path(__file__).read_text(encoding="utf-8")
    # Of operations that the program never calls.
    others = {
        "group-get-200-latest-tags.http",
        "project-invite-get-latest.http",
        "delete-200-empty-object.http",
        "error-409-GROUP_ALREADY_EXISTS.http",
        "error-401-digest-no-errorCode.http",
        "list-empty-200-results.http",
    }
    missing = {path.name for path in RECORDINGS.glob("*.http")} - others
    assert {name for name in missing if name not in known} == set()
