"""The simulated Atlas against recordings of the real one, field by field and header by header."""

import gzip
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest
from simulator.simulated import asking, organization

from invite_sweeper.simulator import SimulatedAtlas, faults

RECORDINGS = Path(__file__).parents[3] / "shared" / "recordings"
pytestmark = pytest.mark.skipif(
    not RECORDINGS.is_dir(), reason="the recordings lie beside the repository, not in it"
)

# Bound to vary; that they are there, and their form, is compared all the same.
VARYING = {
    "Content-Length": r"\d+",
    "Date": r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT",
    "Ratelimit-Remaining": r"\d+",
    "Www-Authenticate": (
        r'Digest realm="MMS Public API", domain="", nonce="[A-Za-z0-9+/]{32}", '
        r'algorithm=MD5, qop="auth", stale=false'
    ),
    "X-Envoy-Upstream-Service-Time": r"\d+",
    "X-Java-Version": r"17\.0\.\d+\+\d+(-LTS)?",
    "X-Mongodb-Service-Version": r"gitHash=[0-9a-f]{40}; versionString=master",
}
# Made by the tool that dumped the recordings, not sent by Atlas.
OF_THE_RECORDER = {"Connection", "X-Request-Method", "X-Request-Path"}
# What older recordings did not have yet, and newer ones of the same answer do.
NEWER = {"Ratelimit-Limit", "Ratelimit-Remaining", "X-Error-Code"}


class Recorded:
    def __init__(self, name):
        text = (RECORDINGS / name).read_bytes()
        head, self.body = re.split(rb"\r?\n\r?\n", text, maxsplit=1)
        first, *lines = head.decode("latin-1").splitlines()
        self.status = int(first.split()[1])
        self.headers = [tuple(line.split(": ", 1)) for line in lines]
        if dict(self.headers).get("Content-Encoding") == "gzip":
            self.body = gzip.decompress(self.body)
        self.body = self.body.removesuffix(b"\n") if self.status == 204 else self.body

    def json(self):
        return orjson.loads(self.body)


def shape(value):
    """Keys in their order, kinds of values, and the form of texts; not the values."""
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


def same_head(recorded, got, *, without=frozenset()):
    """Names, values, case and order; what varies by its form."""
    ours = [pair for pair in got.raw_headers if pair[0] not in without]
    theirs = [pair for pair in recorded.headers if pair[0] not in OF_THE_RECORDER]
    assert [name for name, _ in ours] == sorted(name for name, _ in theirs)
    for (name, mine), (_, told) in zip(ours, sorted(theirs), strict=True):
        if name in VARYING:
            assert re.fullmatch(VARYING[name], mine), name
            assert re.fullmatch(VARYING[name], told), name
        else:
            assert mine == told, name
    assert got.status == recorded.status


def recorded_atlas(recorded_at: datetime):
    """One like that of the recordings, at the instant of one of them."""
    sim = SimulatedAtlas(lambda: recorded_at)
    sim.add_organization("a0123456789abcdef012345a", "Atlas CLI E2E")
    return sim


LIST_TIME = datetime(2026, 8, 10, 3, 4, 57, tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "method", "below"),
    [
        ("project-invite-list-latest.http", "GET", ""),
        ("project-invite-get-latest.http", "GET", "/{}"),
        ("project-invite-delete-latest.http", "DELETE", "/{}"),
    ],
)
async def test_a_project_invitation_answers_as_recorded(name, method, below):
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
    async with asking(sim) as ask:
        got = await ask(method, f"/groups/{project}/invites{below.format(invitation)}")
    same_head(recorded, got)
    assert got.body == recorded.body


async def test_inviting_answers_as_recorded():
    recorded = Recorded("project-invite-create-latest.http")
    sim = recorded_atlas(datetime(2026, 8, 10, 3, 4, 53, tzinfo=UTC))
    project = sim.add_project("invitations-e2e-233", project_id="6a793fd0c0eb9e7a177181d4")
    async with asking(sim) as ask:
        asked = {"roles": ["GROUP_READ_ONLY"], "username": "test-738@mongodb.com"}
        got = await ask("POST", f"/groups/{project}/invites", json=asked)
    same_head(recorded, got)
    assert shape(got.json()) == shape(recorded.json())
    varying = {"id": "", "inviterUsername": ""}
    assert got.json() | varying == recorded.json() | varying


async def test_the_compressed_list_has_the_same_head_and_body_as_recorded():
    recorded = Recorded("project-invite-list-earliest.http")
    sim = recorded_atlas(datetime(2025, 3, 28, 12, 52, 41, tzinfo=UTC))
    sim.gzip = True
    sim.versions.sunsets["invites"] = "Fri, 31 Jul 2026 00:00:00 GMT"
    project = sim.add_project("invitations-e2e-1")
    sim.invite(project, "test-1@mongodb.com")
    async with asking(sim) as ask:
        got = await ask("GET", f"/groups/{project}/invites", headers={"Accept-Encoding": "gzip"})
    same_head(recorded, got, without=NEWER)
    assert shape(got.json()) == shape(recorded.json())


@pytest.mark.parametrize(
    ("name", "older"),
    [
        ("groups-list-200-latest.http", frozenset()),
        ("groups-list-200-smallest.http", NEWER),
    ],
)
async def test_the_list_of_projects_answers_as_recorded(name, older):
    recorded = Recorded(name)
    sim = recorded_atlas(LIST_TIME)
    for each in recorded.json()["results"]:
        tags = {tag["key"]: tag["value"] for tag in each["tags"]}
        born = datetime.fromisoformat(each["created"])
        made = sim.add_project(each["name"], project_id=each["id"], tags=tags, created=born)
        sim.groups[made].cluster_count = each["clusterCount"]
    async with asking(sim) as ask:
        got = await ask("GET", "/groups")
        body = got.body.replace(ask.base_url.encode(), b"http://localhost:8080")
    same_head(recorded, got, without=older)
    told = orjson.loads(body)
    assert told["links"] == recorded.json()["links"]
    assert told["results"] == recorded.json()["results"]
    assert shape(told) == shape(recorded.json())


async def test_the_first_of_several_pages_has_the_links_and_the_count_recorded():
    recorded = Recorded("groups-list-200-page1-of-3-next-250.http")
    sim = recorded_atlas(LIST_TIME)
    for number in range(250):
        sim.add_project(f"project-{number:03}")
    async with asking(sim) as ask:
        got = await ask("GET", "/groups")
        links = orjson.loads(got.body.replace(ask.base_url.encode(), b"http://localhost:8080"))
    assert links["links"] == recorded.json()["links"]
    assert len(got.json()["results"]) == len(recorded.json()["results"]) == 100
    assert got.json()["totalCount"] == recorded.json()["totalCount"] == 250


async def test_one_project_answers_as_recorded():
    recorded = Recorded("group-get-200-latest-tags.http")
    told = recorded.json()
    sim = recorded_atlas(LIST_TIME)
    tags = {tag["key"]: tag["value"] for tag in told["tags"]}
    born = datetime.fromisoformat(told["created"])
    sim.add_project(told["name"], project_id=told["id"], tags=tags, created=born)
    async with asking(sim) as ask:
        got = await ask("GET", f"/groups/{told['id']}")
        body = got.body.replace(ask.base_url.encode(), b"http://localhost:8080")
    same_head(recorded, got)
    assert body == recorded.body


async def test_the_list_of_organizations_answers_as_recorded():
    recorded = Recorded("orgs-list-200-latest.http")
    async with asking(recorded_atlas(LIST_TIME)) as ask:
        got = await ask("GET", "/orgs")
        body = got.body.replace(ask.base_url.encode(), b"http://localhost:8080")
    same_head(recorded, got)
    assert body == recorded.body


async def test_organization_invitations_answer_as_recorded():
    recorded = Recorded("org-invite-list-latest.http")
    sim = recorded_atlas(LIST_TIME)
    for each in recorded.json():
        age = sim.clock() - datetime.fromisoformat(each["createdAt"])
        user = sim.add_user(
            each["username"], age=age, org_roles=each["roles"], inviter=each["inviterUsername"]
        )
        sim.user(user).invitation_id = each["id"]
    async with asking(sim) as ask:
        got = await ask("GET", "/orgs/a0123456789abcdef012345a/invites")
    same_head(recorded, got)
    assert got.body == recorded.body


async def test_deleting_an_organization_invitation_answers_as_recorded():
    recorded = Recorded("org-invite-delete-latest.http")
    sim = recorded_atlas(LIST_TIME)
    invitation = sim.user(sim.add_user("test-1@mongodb.com")).invitation_id
    async with asking(sim) as ask:
        got = await ask("DELETE", f"/orgs/a0123456789abcdef012345a/invites/{invitation}")
    same_head(recorded, got)
    assert got.body == b""


async def test_a_challenge_answers_as_recorded():
    recorded = Recorded("error-401-digest-2026-08-with-errorCode.http")
    async with asking(organization(), token="") as ask:
        got = await ask("GET", "/groups")
    same_head(recorded, got)
    assert got.body == recorded.body


async def test_an_unknown_project_answers_as_recorded():
    recorded = Recorded("error-404-GROUP_NOT_FOUND-with-X-Error-Code.http")
    async with asking(organization()) as ask:
        got = await ask("GET", f"/groups/{'1' * 24}")
    assert got.headers["X-Java-Method"] == "ApiAtlasGroupsResource::getGroup"
    without_method = [pair for pair in recorded.headers if pair[0] != "X-Java-Method"]
    recorded.headers = without_method
    same_head(recorded, got, without={"X-Java-Method"})
    assert got.body == recorded.body


async def test_something_unknown_in_a_project_has_the_head_recorded_and_the_same_keys():
    recorded = Recorded("error-404-RESOURCE_NOT_FOUND.http")
    sim = organization()
    project = sim.add_project("Data Lake")
    async with asking(sim) as ask:
        got = await ask("GET", f"/groups/{project}/invites/{'0' * 24}")
    beside = {"X-Java-Method", "Deprecation", "Sunset"}
    recorded.headers = [pair for pair in recorded.headers if pair[0] not in beside]
    same_head(recorded, got, without=beside)
    assert shape(got.json()) == shape(recorded.json())


async def test_deleting_at_the_empty_id_answers_405_as_recorded():
    recorded = Recorded("error-405-DELETE-groups-empty-id.http")
    async with asking(organization()) as ask:
        got = await ask("DELETE", "/groups/")
    same_head(recorded, got)
    assert got.body == b""


@pytest.mark.parametrize(
    ("name", "beside"),
    [
        ("error-500-UNEXPECTED_ERROR-with-X-Error-Code.http", {"X-Java-Method"}),
        (
            "error-400-with-X-Error-Code.http",
            {"X-Java-Method", "Ratelimit-Limit", "Ratelimit-Remaining", "X-Error-Code"},
        ),
    ],
)
async def test_a_scripted_error_has_the_head_and_the_keys_recorded(name, beside):
    recorded = Recorded(name)
    sim = organization()
    code = recorded.json()["errorCode"]
    parameters = recorded.json()["parameters"]
    sim.faults.add(faults.fail_with(recorded.status, code, recorded.json()["detail"], *parameters))
    async with asking(sim) as ask:
        got = await ask("GET", "/groups")
    recorded.headers = [pair for pair in recorded.headers if pair[0] not in beside]
    same_head(recorded, got, without=beside)
    assert got.body == recorded.body


async def test_the_page_of_a_proxy_is_like_the_recorded_one():
    recorded = Recorded("error-502-html-from-proxy.http")
    sim = organization()
    sim.faults.add(faults.html(502))
    async with asking(sim) as ask:
        got = await ask("GET", "/groups")
    assert got.status == 502
    assert got.headers["Content-Type"] == "text/html"
    assert "Date" not in got.headers
    assert recorded.body.split(b"<p>")[0] == got.body.split(b"<p>")[0]


async def test_no_header_is_sent_twice():
    sim = organization()
    project = sim.add_project("Data Lake")
    async with asking(sim) as ask:
        for path in ("/groups", f"/groups/{project}/invites", "/orgs", "/nowhere"):
            names = [name.lower() for name, _ in (await ask("GET", path)).raw_headers]
            assert len(names) == len(set(names))


def test_every_recording_is_read_here():
    """A recording that is added later is not passed over in silence."""
    known = Path(__file__).read_text(encoding="utf-8")
    # Of operations that the program never calls; their heads are those of others here.
    others = {
        "delete-200-empty-object.http",
        "error-409-GROUP_ALREADY_EXISTS.http",
        "error-401-digest-no-errorCode.http",
        "list-empty-200-results.http",
    }
    missing = {path.name for path in RECORDINGS.glob("*.http")} - others
    assert {name for name in missing if name not in known} == set()
