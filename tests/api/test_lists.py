"""Lists of Atlas: one that is not known to be complete is unreadable, and never empty."""

import json
from collections import defaultdict
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import faults
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from builders import ORG, PROJECT, object_id
from deleting import place_of

from invite_sweeper.atlas.credentials import Credentials, CredentialsKind, Secret
from invite_sweeper.atlas.endpoints import SOURCES
from invite_sweeper.errors import AtlasUnavailable
from invite_sweeper.models import (
    ListUnreadable,
    Project,
    ProjectGone,
    Source,
    SourceRetired,
)

API = "/api/atlas/v2"
NEXT = [{"rel": "self", "href": "/"}, {"rel": "next", "href": "https://elsewhere.example"}]
PAGE = "itemsPerPage=500&includeCount=false"


class Script:
    """A server with predefined responses to each path; the last one of a path repeats.

    Attributes:
        received: The number of requests.
    """

    def __init__(self, connecting):
        self._connecting = connecting
        self._answers = defaultdict(list)
        self.received = 0

    def answer(self, path, body=b"", *, method="GET", status=200):
        """Add a response, which is JSON unless it is bytes."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self._answers[method, path].append((status, data))

    async def _respond(self, request):
        self.received += 1
        known = self._answers[request.method, request.path_qs]
        status, data = known.pop(0) if len(known) > 1 else known[0]
        media_type = request.headers["Accept"] if status == 200 else "application/json"
        return web.Response(status=status, body=data, content_type=media_type)

    @asynccontextmanager
    async def connected(self, account=None):
        """Serve the responses and connect to them."""
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", self._respond)
        async with (
            TestServer(app, skip_url_asserts=True) as server,
            self._connecting(str(server.make_url("/")), account) as atlas,
        ):
            yield atlas


@pytest.fixture
def script(connecting):
    return Script(connecting)


@pytest.fixture
def alpha(sim):
    return Project(sim.add_project("Alpha"), "Alpha", ORG)


@pytest.fixture
def project_id(sim):
    """The id of a project with five invitations and five invited users."""
    alpha = sim.add_project("Alpha")
    for number in range(5):
        sim.invite(alpha, f"p{number}@example.com")
        sim.add_user(f"q{number}@example.com", group_roles={alpha: ["GROUP_OWNER"]})
    return alpha


async def listing(atlas, source, project_id):
    return await atlas.reader.invitations(place_of(source, project_id), source)


# --- the four lists --------------------------------------------------------------------------


@pytest.mark.parametrize("source", Source)
async def test_each_list_returns_its_invitations_with_its_source_and_sunset(
    sim, online, project_id, source
):
    async with online() as atlas:
        found = await listing(atlas, source, project_id)
        sunsets = {**atlas.server.sunsets}

    assert len({each.invitation_id for each in found}) == 5
    assert {each.source for each in found} == {source}
    is_deprecated = source in {Source.INVITES, Source.ORG_INVITES}
    assert sunsets == ({source: sim.sunsets[source]} if is_deprecated else {})


UNREADABLE = {
    "a missing role": (faults.role_missing(), ListUnreadable, 401, "USER_UNAUTHORIZED"),
    "no such project": (faults.fail_with(404, "GROUP_NOT_FOUND"), None, 404, "GROUP_NOT_FOUND"),
    "another 404": (faults.fail_with(404, "NOT_FOUND"), ListUnreadable, 404, "NOT_FOUND"),
    "HTML": (faults.html(404), ListUnreadable, 404, None),
    "retired": (faults.fail_with(410, "VERSION_GONE"), SourceRetired, 410, "VERSION_GONE"),
}


@pytest.mark.parametrize("source", Source)
@pytest.mark.parametrize("name", UNREADABLE)
async def test_list_that_atlas_does_not_return_is_unreadable_retired_or_of_a_project_that_is_gone(
    sim, online, project_id, source, name
):
    fault, kind, status, code = UNREADABLE[name]
    sim.faults.add(fault, times=None)
    async with online() as atlas:
        found = await listing(atlas, source, project_id)

    if kind is None and not source.is_organization_level:
        assert isinstance(found, ProjectGone)
        return
    assert type(found) is (kind or ListUnreadable)
    assert (found.source, found.http_status, found.error_code) == (source, status, code)
    assert found.org_id == ORG
    assert f"list {source}" in found.reason


# --- the content of an answer ------------------------------------------------------------------

MEDIA_TYPES = {
    "another version": "application/vnd.atlas.2023-02-01+json;charset=utf-8",
    "JSON without a version": "application/json",
    "HTML": "text/html",
    "text": "text/plain; charset=utf-8",
    "none": None,
}


@pytest.mark.parametrize("source", Source)
@pytest.mark.parametrize("name", MEDIA_TYPES)
async def test_answer_of_another_type_than_requested_is_not_an_empty_list(
    sim, online, alpha, source, name
):
    sim.faults.add(faults.mislabelled(MEDIA_TYPES[name]), path="*/*s/*/*", times=None)
    async with online() as atlas:
        found = await listing(atlas, source, alpha.id)
        teams = await atlas.reader.project_teams(alpha)
        members = await atlas.reader.active_members(ORG)

    for each in (found, teams, members):
        assert isinstance(each, ListUnreadable)
        assert each.http_status == 200
        assert "not application/vnd.atlas.20" in each.reason


@pytest.mark.parametrize("name", MEDIA_TYPES)
async def test_list_of_projects_of_another_type_ends_the_run(sim, online, alpha, name):
    sim.faults.add(faults.mislabelled(MEDIA_TYPES[name]), path="*/groups", times=None)
    async with online() as atlas:
        with pytest.raises(AtlasUnavailable, match=r"not application/vnd\.atlas\.2023-01-01"):
            await atlas.reader.projects()


def entry_changed(source, number, changes):
    """Change one row of a list."""

    def change(body):
        answer = json.loads(body)
        rows = answer if isinstance(answer, list) else answer["results"]
        rows[number] |= changes
        return json.dumps(answer).encode()

    return faults.altered(change)


ODD_ROWS = {
    "the id": ({"username": 7}, "the entry with the id {id}: ", "`$.username`"),
    "the username": ({"id": 7}, "the entry of {name}: ", "`$.id`"),
    "an id of another form": ({"id": "x", "teamIds": 7}, "the entry of {name}: ", "`$.teamIds`"),
    "its place": ({"id": 7, "username": None}, "the entry number 2: ", "`$.id`"),
}


@pytest.mark.parametrize("source", Source)
@pytest.mark.parametrize("name", ODD_ROWS)
async def test_row_with_a_wrong_type_is_named_with_its_list_and_what_to_do_after_one_more_try(
    sim, online, retry_log, project_id, source, name
):
    changes, named, where = ODD_ROWS[name]
    async with online() as atlas:
        row = (await listing(atlas, source, project_id))[1]
        sim.faults.add(entry_changed(source, 1, changes), path="*/*s/*/*s", times=None)
        requests = len(sim.requests)
        found = await listing(atlas, source, project_id)

    assert isinstance(found, ListUnreadable)
    assert named.format(id=row.invitation_id, name=row.username) in found.reason
    assert "not as documented: Expected" in found.reason
    assert where in found.reason
    fix = f"remove {source} from sources" if source.is_organization_level else "exclude the project"
    assert found.reason.endswith(f"end that invitation in Atlas by hand, or {fix}.")
    assert f"The list {source}: " in found.reason
    assert len(sim.requests) == requests + 2
    assert retry_log.info.mock_calls == []


@pytest.mark.parametrize("source", Source)
async def test_row_with_a_wrong_type_once_is_read_by_the_second_try(
    sim, online, project_id, source
):
    sim.faults.add(entry_changed(source, 1, {"username": 7}), path="*/*s/*/*s", times=1)
    async with online() as atlas:
        assert len(await listing(atlas, source, project_id)) == 5


@pytest.mark.parametrize("source", Source)
async def test_rows_without_an_id_are_an_invitation_each(sim, online, project_id, source):
    for number in (1, 2):
        change = entry_changed(source, number, {"id": None})
        sim.faults.add(change, path="*/*s/*/*s", times=None)
    async with online() as atlas:
        found = await listing(atlas, source, project_id)
    assert [each.invitation_id for each in found].count("") == 2
    assert len(found) == 5


# --- lists that move ---------------------------------------------------------------------------


@pytest.mark.parametrize("source", [Source.USERS, Source.ORG_USERS])
async def test_person_who_moves_to_the_page_before_is_listed(sim, online, project_id, source):
    users = sim.organizations[ORG].users
    first = min(users.values(), key=lambda user: user.username)
    sim.faults.add(faults.short_pages(2), path="*/*s/*/users", times=None)
    leave = faults.after(lambda _: users.pop(first.id))
    sim.faults.add(leave, path="*/*s/*/users", times=1)
    async with online() as atlas:
        found = await listing(atlas, source, project_id)

    assert {each.username for each in found} == {f"q{n}@example.com" for n in range(1, 5)}


# --- pages, with predefined responses --------------------------------------------------------


def page(*rows, has_next=False, count=999):
    return {"results": list(rows), "links": NEXT if has_next else [], "totalCount": count}


def user(number, status="PENDING"):
    return {
        "id": object_id(number),
        "username": f"person-{number}@example.com",
        "orgMembershipStatus": status,
        "invitationCreatedAt": "2026-01-01T00:00:00Z",
        "roles": ["GROUP_OWNER"],
    }


async def users_of(script, *pages):
    statuses = "PENDING", "INVITATION_EXPIRED", "INVITATION_REJECTED"
    query = "&".join(f"orgMembershipStatuses={each}" for each in statuses)
    path = SOURCES[Source.USERS].list.template.format(PROJECT)
    for number, body in enumerate(pages, start=1):
        script.answer(f"{path}?{query}&{PAGE}&pageNum={number}", body)
    async with script.connected() as atlas:
        return await listing(atlas, Source.USERS, PROJECT)


ENDLESS = "Page 2 has no new entry and names a next page, so the list may not be complete."


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        (page(has_next=True), ENDLESS),
        (page(user(1), has_next=True), ENDLESS),
        (b"{", "Unexpected response from Atlas: the body is not JSON"),
        (page({**user(2), "username": 7}), "Expected `str"),
        (page(user(1, "INVITATION_EXPIRED")), "listed twice with different contents"),
        (page({**user(2), "groupId": "0" * 24}), "an invitation to another project"),
    ],
)
async def test_second_page_that_is_not_a_page_makes_the_list_unreadable(script, second, reason):
    found = await users_of(script, page(user(1), has_next=True), second)

    assert isinstance(found, ListUnreadable)
    assert found.org_id == ORG
    assert reason in found.reason


@pytest.mark.parametrize("repeated", ["AA", "ABB", "ABA"])
async def test_page_that_repeats_ends_the_list_unread_also_where_its_rows_have_no_id(
    script, repeated
):
    nameless = {**user(1), "id": None}
    pages = {
        "A": page(nameless, has_next=True),
        "B": page({**nameless, "username": "b@example.com"}, has_next=True),
    }
    found = await users_of(script, *(pages[each] for each in repeated))

    assert isinstance(found, ListUnreadable)
    assert "has no new entry and names a next page" in found.reason
    assert script.received == len(repeated)


@pytest.mark.parametrize(("last", "ids"), [((), [1]), ((1,), [1]), ((2,), [1, 2])])
async def test_last_page_of_users_may_be_empty_or_repeat(script, last, ids):
    found = await users_of(script, page(user(1), has_next=True), page(*map(user, last)))

    assert [one.invitation_id for one in found] == [object_id(each) for each in ids]


def project(number, **changes):
    return {"id": object_id(number), "name": f"Project {number}", "orgId": ORG, **changes}


async def read_projects(script, *readings, **options):
    """Read the list of projects, of which each reading returns these pages of numbers."""
    for pages in readings:
        for number, rows in enumerate(pages, start=1):
            projects = [each if isinstance(each, dict) else project(each) for each in rows]
            body = page(*projects, has_next=number < len(pages))
            script.answer(f"{API}/groups?{PAGE}&pageNum={number}", body)
    async with script.connected() as atlas:
        found = await atlas.reader.projects(**options)
    readable = [int(each.id, 16) for each in found if isinstance(each, Project)]
    return readable, [each.reason for each in found if isinstance(each, ListUnreadable)]


ODD = project(1, id="")


async def test_project_listed_again_is_one_project_also_with_a_malformed_id(script):
    assert await read_projects(script, [[1, 2], [2, ODD], [ODD, 4]]) == (
        [1, 2, 4],
        ["The project id is malformed."],
    )


@pytest.mark.parametrize(
    ("readings", "readable", "unstable"),
    [
        ([[[1, 2]]], [1, 2], 0),
        ([[[1, 2], [3]], [[1, 2], [3]]], [1, 2, 3], 0),
        ([[[1, 2], [3]], [[2, 1], [3]]], [2, 1, 3], 0),
        ([[[1, 2], [4]], [[2, 3], [4]], [[2, 3], [4]]], [2, 3, 4], 0),
        ([[[1, 2], [4]], [[2, 4]]], [2, 4], 0),
        ([[[1, 2], [3]], *[[[1, project(2, name="New")], [3]]] * 2], [1, 2, 3], 0),
        ([[[1, each], [9]] for each in range(2, 6)] + [[[1, 6], [9]]], [1, 6, 9], 1),
    ],
    ids=["one page", "none", "order", "a change", "one page left", "a name", "ever changing"],
)
async def test_list_of_several_pages_is_read_until_two_readings_show_the_same_five_times_at_most(
    script, readings, readable, unstable
):
    found, reasons = await read_projects(script, *readings)

    assert (found, len(reasons)) == (readable, unstable)
    assert script.received == sum(map(len, readings))


@pytest.mark.parametrize(
    ("status", "second", "reason"),
    [
        (200, page(project(1, name="New"), project(3)), "listed twice with different contents"),
        (200, page(has_next=True), "to the end: page 2 has no new entry"),
        (401, {"error": 401, "errorCode": "USER_UNAUTHORIZED"}, "to the end: Atlas answered 401"),
    ],
)
async def test_list_of_projects_that_is_not_read_to_its_end_ends_the_run(
    script, status, second, reason
):
    script.answer(f"{API}/groups?{PAGE}&pageNum=1", page(project(1), project(2), has_next=True))
    script.answer(f"{API}/groups?{PAGE}&pageNum=2", second, status=status)

    async with script.connected() as atlas:
        with pytest.raises(AtlasUnavailable, match=reason):
            await atlas.reader.projects()


# --- teams -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        faults.fail_with(404, "GROUP_NOT_FOUND"),
        faults.malformed(b'{"results": [{"teamId": ""}]}'),
    ],
)
async def test_failed_page_makes_the_teams_unreadable(sim, online, alpha, fault):
    for _ in range(4):
        sim.add_team(alpha.id)
    sim.faults.add(fault, path="*/groups/*/teams", nth=2, times=None)
    sim.faults.add(faults.short_pages(2), path="*/teams", times=None)
    async with online() as atlas:
        assert isinstance(await atlas.reader.project_teams(alpha), ListUnreadable)


# --- facts about an organization -------------------------------------------------------------

ACCOUNT_ID = "mdb_sa_id_" + "7" * 24
MEMBERS = f"{API}/orgs/{ORG}/users?orgMembershipStatuses=ACTIVE&{PAGE}&pageNum="
ACCOUNT = f"{API}/orgs/{ORG}/serviceAccounts/{ACCOUNT_ID}"


def member(username, status="ACTIVE"):
    return {"username": username, "orgMembershipStatus": status}


@pytest.fixture
def facts(script):
    async def read(method, *arguments, client_id=None):
        if client_id is None:
            account = None
        else:
            account = Credentials(CredentialsKind.SERVICE_ACCOUNT, client_id, Secret("a-secret"))
            token = {"access_token": "t", "expires_in": 3600}
            script.answer("/api/oauth/token", token, method="POST")
            script.answer("/api/oauth/revoke", method="POST")
        async with script.connected(account) as atlas:
            return await getattr(atlas.reader, method)(ORG, *arguments)

    return read


async def test_only_active_members_of_all_pages_are_returned_folded(sim, online):
    for number in range(7):
        sim.add_user(f"Active-{number}@Example.com", status="ACTIVE")
    for status in ("PENDING", "INVITATION_EXPIRED", "INVITATION_REJECTED"):
        sim.add_user(f"{status}@example.com", status=status)
    sim.faults.add(faults.short_pages(2), path="*/users", times=None)
    async with online() as atlas:
        found = await atlas.reader.active_members(ORG)

    assert found == {f"active-{number}@example.com" for number in range(7)}


@pytest.mark.parametrize(
    ("username", "status"),
    [
        *((name, "ACTIVE") for name in (None, " ", "missing")),
        *(("b@x.org", status) for status in ("PENDING", "INVITATION_EXPIRED", "NEW", None)),
    ],
)
async def test_active_members_that_are_not_all_known_and_active_are_unreadable(
    facts, script, username, status
):
    """A cache that ignores the query shows pending people."""
    row = {"username": username, "orgMembershipStatus": status}
    if username == "missing":
        del row["username"]
    script.answer(MEMBERS + "1", page(member("A@x.org"), has_next=True))
    script.answer(MEMBERS + "2", page(row))

    assert isinstance(await facts("active_members"), ListUnreadable)


KEYS = f"{API}/orgs/{ORG}/apiKeys?{PAGE}&pageNum="


async def test_api_keys_of_all_pages_are_returned_by_public_key_without_those_that_have_no_name(
    facts, script
):
    first = {"publicKey": "wkzjqvtb", "desc": "terraform"}
    second = {"publicKey": "qqqqqqqq"}
    script.answer(KEYS + "1", page(first, second, has_next=True))
    script.answer(KEYS + "2", page({"publicKey": "zzzzzzzz", "desc": ""}))

    assert await facts("api_key_names") == {"wkzjqvtb": "terraform"}


@pytest.mark.parametrize(
    ("page_size", "pages", "changes", "readings"),
    [(500, 1, 0, 2), (500, 1, 1, 3), (500, 1, 4, None), (2, 3, 0, 2)],
)
async def test_active_members_are_those_of_two_readings_in_a_row_that_agree(
    sim, online, page_size, pages, changes, readings
):
    """A list of several pages, too, is read no more often than that."""
    users = sim.organizations[ORG].users
    ids = [sim.add_user(f"m{number}@example.com", status="ACTIVE") for number in range(5)]
    sim.faults.add(faults.short_pages(page_size), path="*/orgs/*/users", times=None)

    def rename(call):
        if call.query.get("pageNum") == ["1"]:
            users[ids[0]].username += "x"

    sim.faults.add(faults.after(rename), path="*/orgs/*/users", times=changes * pages)
    async with online() as atlas:
        found = await atlas.reader.active_members(ORG)

    if readings is None:
        assert isinstance(found, ListUnreadable)
        assert "changed while it was read" in found.reason
    else:
        assert found == {user.username for user in users.values()}
        assert len(sim.requests) == readings * pages


@pytest.mark.parametrize(
    ("rows", "count", "found"),
    [
        ((), 0, False),
        ((), None, False),
        ((), 1, None),
        ((("Gone+1@x.org", "ACTIVE"),), 1, True),
        ((("gone+1@x.org", "PENDING"),), 1, None),
        ((("gone+1@x.org", None),), 1, None),
        ((("other@x.org", "ACTIVE"),), 1, None),
        ((("gone+1@x.org", "ACTIVE"), ("other@x.org", "ACTIVE")), 2, None),
    ],
)
async def test_answer_for_one_name_counts_only_if_it_is_about_it_and_about_active_members(
    facts, script, rows, count, found
):
    named = MEMBERS.replace("&pageNum=", "&username=gone%2B1%40x.org&pageNum=1")
    script.answer(named, page(*(member(*row) for row in rows), count=count))

    answer = await facts("is_active_member", "gone+1@x.org")

    assert answer is found if found is not None else isinstance(answer, ListUnreadable)


async def test_secrets_of_the_own_service_account_expire_in_order(facts, script):
    dates = [{"expiresAt": "2027-02-01T00:00:00Z"}, {"expiresAt": "2026-12-01T00:00:00Z"}]
    script.answer(ACCOUNT, {"clientId": ACCOUNT_ID, "secrets": dates})

    assert await facts("secret_expiries", client_id=ACCOUNT_ID) == (
        datetime(2026, 12, 1, tzinfo=UTC),
        datetime(2027, 2, 1, tzinfo=UTC),
    )


@pytest.mark.parametrize("secrets", [None, {}, [1], [{}], [{"expiresAt": "soon"}]])
async def test_secret_without_a_readable_date_is_not_known(facts, script, secrets):
    script.answer(ACCOUNT, {"secrets": secrets})

    assert isinstance(await facts("secret_expiries", client_id=ACCOUNT_ID), ListUnreadable)


@pytest.mark.parametrize("client_id", [None, "mdb_sa_id_../../groups"])
async def test_other_credentials_have_no_secret_that_expires_and_nothing_is_requested(
    facts, client_id
):
    assert await facts("secret_expiries", client_id=client_id) == ()


@pytest.mark.parametrize(
    ("method", "path", "role"),
    [
        ("active_members", MEMBERS + "1", "Organization Member"),
        ("api_key_names", KEYS + "1", "Organization Member"),
        ("secret_expiries", ACCOUNT, "Organization Read Only"),
    ],
)
async def test_refused_request_is_a_value_that_names_the_role(facts, script, method, path, role):
    script.answer(path, {"error": 401, "errorCode": "USER_UNAUTHORIZED"}, status=401)

    found = await facts(method, client_id=ACCOUNT_ID)

    assert isinstance(found, ListUnreadable)
    assert (found.http_status, found.error_code, found.org_id) == (401, "USER_UNAUTHORIZED", ORG)
    assert f"requires the role {role}." in found.reason
