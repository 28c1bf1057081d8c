"""Lists of Atlas: one that is not known to be complete is unreadable, and never empty."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from unittest.mock import ANY

import faults
import pytest
from builders import ORG, PROJECT, object_id
from deleting import place_of

from invite_sweeper.errors import AtlasUnavailable
from invite_sweeper.models import ListUnreadable, Project, ProjectGone, Source, SourceRetired


def as_body(value):
    return faults.malformed(value if isinstance(value, bytes) else json.dumps(value).encode())


def answer(sim, path, *bodies):
    """Let Atlas answer with these bodies, one after the other and the last one always."""
    for number, body in enumerate(bodies, start=1):
        times = 1 if number < len(bodies) else None
        sim.faults.add(as_body(body), path=path, nth=number, times=times)


@pytest.fixture(autouse=True)
def alpha(sim):
    """A project with five invitations and five invited users."""
    sim.add_project("Alpha", project_id=PROJECT)
    for number in range(5):
        sim.invite(PROJECT, f"p{number}@example.com")
        sim.add_user(f"q{number}@example.com", group_roles={PROJECT: ["GROUP_OWNER"]})
    return Project(PROJECT, "Alpha", ORG)


async def listing(atlas, source):
    return await atlas.reader.invitations(place_of(source, PROJECT), source)


@pytest.mark.parametrize("source", Source)
async def test_each_list_returns_its_invitations_with_its_source_and_sunset(sim, atlas, source):
    found = await listing(atlas, source)
    sunsets = {**atlas.server.sunsets}

    assert len({each.invitation_id for each in found}) == 5
    assert {each.source for each in found} == {source}
    is_deprecated = source in {Source.INVITES, Source.ORG_INVITES}
    assert sunsets == ({source: sim.sunsets[source]} if is_deprecated else {})


@pytest.mark.parametrize("source", Source)
async def test_person_with_half_a_character_in_the_name_or_a_role_is_listed_with_the_others(
    sim, atlas, source
):
    def tear(body):
        return body.replace(b"1@", rb"\ud8001@").replace(b'"GROUP_OWNER"', rb'"GROUP_\udfff"')

    sim.faults.add(faults.altered(tear), method="GET", path="*", times=None)
    found = await listing(atlas, source)
    assert sorted(each.username[1:] for each in found) == [
        f"{name}@example.com" for name in ("0", "2", "3", "4", "\ufffd1")
    ]


async def test_project_with_half_a_character_in_its_name_is_listed(sim, atlas):
    fault = faults.altered(lambda body: body.replace(b"Alpha", rb"Al\ud800ha"))
    sim.faults.add(fault, method="GET", path="*/groups", times=None)
    (found,) = await atlas.reader.projects()
    assert found.name == "Al\ufffdha"


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
    sim, atlas, source, name
):
    fault, kind, status, code = UNREADABLE[name]
    sim.faults.add(fault, times=None)
    found = await listing(atlas, source)

    if kind is None and not source.is_organization_level:
        assert isinstance(found, ProjectGone)
        return
    assert type(found) is (kind or ListUnreadable)
    assert (found.source, found.http_status, found.error_code) == (source, status, code)
    assert found.org_id == ORG
    assert f"list {source}" in found.reason


# --- the content of an answer ------------------------------------------------------------------

MEDIA_TYPES = [
    "application/vnd.atlas.2023-02-01+json;charset=utf-8",
    "application/json",
    "text/html",
    "text/plain; charset=utf-8",
    None,
]


@pytest.mark.parametrize("source", Source)
@pytest.mark.parametrize("media", MEDIA_TYPES)
async def test_answer_of_another_type_than_requested_is_not_an_empty_list(
    sim, atlas, alpha, source, media
):
    mislabelled = faults.changed(lambda real: replace(real, media=media))
    sim.faults.add(mislabelled, times=None)
    found = await listing(atlas, source)
    teams = await atlas.reader.project_teams(alpha)
    members = await atlas.reader.active_members(ORG)
    with pytest.raises(AtlasUnavailable, match=r"not application/vnd\.atlas\.2023-01-01"):
        await atlas.reader.projects()

    for each in (found, teams, members):
        assert isinstance(each, ListUnreadable)
        assert each.http_status == 200
        assert "not application/vnd.atlas.20" in each.reason


def entry_changed(number, changes):

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
    sim, atlas, retry_log, source, name
):
    changes, named, where = ODD_ROWS[name]
    row = (await listing(atlas, source))[1]
    sim.faults.add(entry_changed(1, changes), path="*/*s/*/*s", times=None)
    found = await listing(atlas, source)

    assert isinstance(found, ListUnreadable)
    assert named.format(id=row.invitation_id, name=row.username) in found.reason
    assert "not as documented: Expected" in found.reason
    assert where in found.reason
    fix = f"remove {source} from sources" if source.is_organization_level else "exclude the project"
    assert found.reason.endswith(f"end that invitation in Atlas by hand, or {fix}.")
    assert f"The list {source}: " in found.reason
    assert len(sim.requests) == 1 + 2
    assert retry_log.info.mock_calls == []


@pytest.mark.parametrize("source", Source)
async def test_row_with_a_wrong_type_once_is_read_by_the_second_try(sim, atlas, source):
    sim.faults.add(entry_changed(1, {"username": 7}))
    assert len(await listing(atlas, source)) == 5


@pytest.mark.parametrize("source", Source)
async def test_rows_without_an_id_are_an_invitation_each(sim, atlas, source):
    for number in (1, 2):
        sim.faults.add(entry_changed(number, {"id": None}), times=None)
    found = await listing(atlas, source)
    assert [each.invitation_id for each in found].count("") == 2
    assert len(found) == 5


@pytest.mark.parametrize("source", [Source.USERS, Source.ORG_USERS])
async def test_person_who_moves_to_the_page_before_is_listed(sim, atlas, source):
    users = sim.organizations[ORG].users
    sim.faults.add(faults.short_pages(2), times=None)
    sim.faults.add(faults.after(lambda _: users.pop(min(users))))  # the first of the list
    assert {each.username for each in await listing(atlas, source)} == {
        f"q{n}@example.com" for n in range(1, 5)
    }


# --- pages, with predefined responses --------------------------------------------------------


def page(*rows, has_next=False, counted=999):
    links = [{"rel": "next"}] if has_next else []
    return {"results": list(rows), "links": links, "totalCount": counted}


def user(number, status="PENDING"):
    return {
        "id": object_id(number),
        "username": f"person-{number}@example.com",
        "orgMembershipStatus": status,
        "invitationCreatedAt": "2026-01-01T00:00:00Z",
        "roles": ["GROUP_OWNER"],
    }


ENDLESS = "has no new entry and names a next page, so the list may not be complete."
NAMELESS = {**user(1), "id": None}
OTHER_NAME = {**NAMELESS, "username": "b@example.com"}


@pytest.mark.parametrize(
    ("first", "later", "reason"),
    [
        (user(1), [page(has_next=True)], ENDLESS),
        (user(1), [page(user(1), has_next=True)], ENDLESS),
        (user(1), [b"{"], "Unexpected response from Atlas: the body is not JSON"),
        (user(1), [page({**user(2), "username": 7})], "Expected `str"),
        (user(1), [page(user(1, "INVITATION_EXPIRED"))], "listed twice with different contents"),
        (user(1), [page({**user(2), "groupId": "0" * 24})], "an invitation to another project"),
        (NAMELESS, [page(NAMELESS, has_next=True)], ENDLESS),
        (NAMELESS, [page(OTHER_NAME, has_next=True)] * 2, ENDLESS),
        (NAMELESS, [page(each, has_next=True) for each in (OTHER_NAME, NAMELESS)], ENDLESS),
    ],
    ids=count(1),
)
async def test_later_page_that_is_not_a_page_or_repeats_makes_the_list_unreadable(
    sim, atlas, first, later, reason
):
    end = [page()] if reason is ENDLESS else []  # a reader that goes on comes to it
    answer(sim, "*/users", page(first, has_next=True), *later, *end)
    found = await listing(atlas, Source.USERS)

    assert isinstance(found, ListUnreadable)
    assert found.org_id == ORG
    assert reason in found.reason
    assert reason is not ENDLESS or len(sim.requests) == 1 + len(later)


@pytest.mark.parametrize(("last", "ids"), [((), [1]), ((1,), [1]), ((2,), [1, 2])])
async def test_last_page_of_users_may_be_empty_or_repeat(sim, atlas, last, ids):
    answer(sim, "*/users", *[page(user(1), has_next=True), page(*map(user, last))] * 2)
    found = await listing(atlas, Source.USERS)

    assert [one.invitation_id for one in found] == [object_id(each) for each in ids]


def project(number, **changes):
    return {"id": object_id(number), "name": f"Project {number}", "orgId": ORG, **changes}


ODD = project(1, id="")


@pytest.mark.parametrize(
    ("readings", "readable", "reasons"),
    [
        ([[[1, 2]]], [1, 2], []),
        ([[[1, 2], [2, ODD], [ODD, 4]]] * 2, [1, 2, 4], ["The project id is malformed."]),
        ([[[1, 2], [3]], [[1, 2], [3]]], [1, 2, 3], []),
        ([[[1, 2], [3]], [[2, 1], [3]]], [2, 1, 3], []),
        ([[[1, 2], [4]], [[2, 3], [4]], [[2, 3], [4]]], [2, 3, 4], []),
        ([[[1, 2], [4]], [[2, 4]]], [2, 4], []),
        ([[[1, 2], [3]], *[[[1, project(2, name="New")], [3]]] * 2], [1, 2, 3], []),
        ([[[1, each], [9]] for each in range(2, 7)], [1, 6, 9], [ANY]),
    ],
    ids=["one page", "again", "none", "order", "a change", "one page left", "a name", "always"],
)
async def test_list_of_several_pages_is_read_until_two_readings_show_the_same_five_times_at_most(
    sim, atlas, readings, readable, reasons
):
    bodies = []
    for pages in readings:
        for number, rows in enumerate(pages, start=1):
            projects = [each if isinstance(each, dict) else project(each) for each in rows]
            bodies.append(page(*projects, has_next=number < len(pages)))
    answer(sim, "*/groups", *bodies)
    found = await atlas.reader.projects()

    assert [int(each.id, 16) for each in found if isinstance(each, Project)] == readable
    assert [each.reason for each in found if isinstance(each, ListUnreadable)] == reasons
    assert len(sim.requests) == len(bodies)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (as_body(page(project(1, name="New"))), "listed twice with different contents"),
        (as_body(page(has_next=True)), "to the end: page 2 has no new entry"),
        (faults.role_missing(), "to the end: Atlas answered 401"),
    ],
    ids=count(1),
)
async def test_list_of_projects_that_is_not_read_to_its_end_ends_the_run(sim, atlas, fault, reason):
    sim.faults.add(as_body(page(project(1), project(2), has_next=True)))
    sim.faults.add(fault, nth=2, times=None)

    with pytest.raises(AtlasUnavailable, match=reason):
        await atlas.reader.projects()


# --- teams -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault", [faults.fail_with(404, "GROUP_NOT_FOUND"), as_body({"results": [{"teamId": ""}]})]
)
async def test_failed_page_makes_the_teams_unreadable(sim, atlas, alpha, fault):
    for _ in range(4):
        sim.add_team(alpha.id)
    sim.faults.add(fault, nth=2, times=None)
    sim.faults.add(faults.short_pages(2), times=None)
    assert isinstance(await atlas.reader.project_teams(alpha), ListUnreadable)


# --- facts about an organization -------------------------------------------------------------


def member(username, status="ACTIVE"):
    return {"username": username, "orgMembershipStatus": status}


@pytest.mark.parametrize(
    "row",
    [
        *(member(name) for name in (None, " ")),
        {"orgMembershipStatus": "ACTIVE"},
        *(member("b@x.org", each) for each in ("PENDING", "INVITATION_EXPIRED", "NEW", None)),
    ],
)
async def test_active_members_that_are_not_all_known_and_active_are_unreadable(sim, atlas, row):
    """A cache that ignores the query shows pending people."""
    answer(sim, "*/users", *[page(member("A@x.org"), has_next=True), page(row)] * 2)
    assert isinstance(await atlas.reader.active_members(ORG), ListUnreadable)


async def test_api_keys_of_all_pages_are_returned_by_public_key_without_those_that_have_no_name(
    sim, atlas
):
    first = page({"publicKey": "wkzjqvtb", "desc": "terraform"}, {"publicKey": "q"}, has_next=True)
    answer(sim, "*/apiKeys", *[first, page({"publicKey": "zzzzzzzz", "desc": ""})] * 2)
    assert await atlas.reader.api_key_names(ORG) == {"wkzjqvtb": "terraform"}


@pytest.mark.parametrize(
    ("page_size", "pages", "changes", "readings"),
    [(500, 1, 0, 2), (500, 1, 1, 3), (500, 1, 4, None), (2, 3, 0, 2)],
)
async def test_active_members_are_those_of_two_readings_in_a_row_that_agree_folded(
    sim, atlas, page_size, pages, changes, readings
):
    """A list of several pages, too, is read no more often than that; pending users are in none."""
    users = sim.organizations[ORG].users
    ids = [sim.add_user(f"M{number}@Example.com", status="ACTIVE") for number in range(5)]
    sim.faults.add(faults.short_pages(page_size), times=None)

    def rename(_):
        users[ids[0]].username += "x"

    sim.faults.add(faults.after(rename), times=changes)
    found = await atlas.reader.active_members(ORG)

    if readings is None:
        assert isinstance(found, ListUnreadable)
        assert "changed while it was read" in found.reason
    else:
        assert found == {users[each].username.lower() for each in ids}
        assert len(sim.requests) == readings * pages


@pytest.mark.parametrize(
    ("rows", "counted", "found"),
    [
        ((), 0, False),
        ((), None, False),
        ((), 1, None),
        ((member("Gone+1@x.org"),), 1, True),
        ((member("gone+1@x.org", "PENDING"),), 1, None),
        ((member("gone+1@x.org", None),), 1, None),
        ((member("other@x.org"),), 1, None),
        ((member("gone+1@x.org"), member("other@x.org")), 2, None),
    ],
)
async def test_answer_for_one_name_counts_only_if_it_is_about_it_and_about_active_members(
    sim, atlas, rows, counted, found
):
    answer(sim, "*/users", page(*rows, counted=counted))
    result = await atlas.reader.is_active_member(ORG, "gone+1@x.org")

    assert "username=gone%2B1%40x.org&" in sim.requests[-1].path
    assert result is found if found is not None else isinstance(result, ListUnreadable)


@pytest.mark.parametrize("secrets", [None, {}, [1], [{}], [{"expiresAt": "soon"}]])
async def test_secrets_of_the_own_service_account_expire_in_order_and_without_a_date_are_not_known(
    sim, online, secrets
):
    account = sim.add_service_account()
    ends = account.secrets_expire_at * 2
    account.secrets_expire_at = (ends[0].replace(microsecond=0), datetime(2026, 1, 1, tzinfo=UTC))
    async with online(account) as atlas:
        assert await atlas.reader.secret_expiries(ORG) == tuple(sorted(account.secrets_expire_at))
        answer(sim, "*/serviceAccounts/*", {"secrets": secrets})
        assert isinstance(await atlas.reader.secret_expiries(ORG), ListUnreadable)


async def test_other_credentials_have_no_secret_that_expires_and_nothing_is_requested(sim, atlas):
    assert await atlas.reader.secret_expiries(ORG) == ()
    assert sim.requests == []


@pytest.mark.parametrize(
    ("method", "role"),
    [
        ("active_members", "Organization Member"),
        ("api_key_names", "Organization Member"),
        ("secret_expiries", "Organization Read Only"),
    ],
)
async def test_refused_request_is_a_value_that_names_the_role(sim, online, method, role):
    sim.faults.add(faults.role_missing(), path="*/v2/*", times=None)
    async with online(sim.add_service_account()) as atlas:
        found = await getattr(atlas.reader, method)(ORG)

    assert isinstance(found, ListUnreadable)
    assert (found.http_status, found.error_code, found.org_id) == (401, "USER_UNAUTHORIZED", ORG)
    assert f"requires the role {role}." in found.reason
