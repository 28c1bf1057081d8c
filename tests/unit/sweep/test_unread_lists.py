"""People whom no list of the policy shows."""

import asyncio
from datetime import date, timedelta

import pytest
from builders import ORG, invitation
from fakes import FakeAtlas

from invite_sweeper.audit.events import UnreadList, Unseen, total_unseen
from invite_sweeper.errors import AtlasUnavailable
from invite_sweeper.models import ListUnreadable, Project, Source, SourceRetired
from invite_sweeper.report.formatting import describe_unseen
from invite_sweeper.sweep import unread_lists
from invite_sweeper.sweep.scope import RunScope
from invite_sweeper.sweep.sunset import announced_ends
from invite_sweeper.sweep.unread_lists import find_unseen

DAY = date(2027, 7, 1)
TODAY = date(2026, 11, 25)
OTHER = "b" * 24
IN_SCOPE, EXCLUDED = "c" * 24, "d" * 24
INVITES, USERS, ORG_USERS, ORG_INVITES = Source
ENDS = announced_ends({}, {})
SCOPE = RunScope(
    projects=(Project(IN_SCOPE, "Alpha", ORG),),
    organizations=(ORG,),
    in_scope_ids=frozenset({IN_SCOPE}),
)


def user(name, status="PENDING", *projects, source=ORG_USERS):
    one = invitation(1, username=name, org_id=ORG, source=source, status=status)
    return one._replace(linked_projects=tuple((each, "") for each in projects))


def key(name):
    return hash(user(name).user_key)


async def find(sources, lists=None, *, seen=None, ends=ENDS, today=TODAY, scope=SCOPE, **results):
    atlas = FakeAtlas(
        lists={(source, ORG): tuple(rows) for source, rows in (lists or {}).items()},
        list_results={(Source(name), ORG): result for name, result in results.items()},
    )
    keys = {source: set(map(key, names)) for source, names in (seen or {}).items()}
    found = await find_unseen(atlas, sources, scope, keys, ends, today)
    return found, atlas.requested


def by_source(unseen):
    return {
        each.source: (each.people, each.pending, each.expired, each.rejected)
        for each in unseen.lists
    }


@pytest.mark.parametrize(
    ("sources", "requests"),
    [
        ([INVITES], 2),
        ([USERS], 2),
        ([INVITES, USERS], 2),
        ([ORG_USERS], 1),
        ([ORG_INVITES, INVITES], 1),
        ([ORG_USERS, ORG_INVITES], 0),
        (list(Source), 0),
    ],
)
async def test_each_organization_takes_at_most_two_requests(sources, requests):
    scope = RunScope(
        projects=tuple(Project(f"{n:024x}", "P", ORG) for n in range(9)),
        organizations=(ORG, OTHER),
    )
    _, requested = await find(sources, scope=scope)
    assert sorted(requested) == sorted([ORG, OTHER] * requests)


async def test_people_are_counted_by_list_and_status():
    found, _ = await find(
        [INVITES],
        {
            ORG_USERS: [
                user("pending@e.com", "PENDING", IN_SCOPE),
                user("late@e.com", "INVITATION_EXPIRED", EXCLUDED),
                user("no@e.com", "INVITATION_REJECTED"),
                user("odd@e.com", "NEW_STATUS", IN_SCOPE),
            ],
            ORG_INVITES: [user("old@e.com", source=ORG_INVITES)],
        },
        seen={INVITES: ["known@e.com"]},
    )
    assert by_source(found) == {
        USERS: (2, 1, 0, 0),
        ORG_USERS: (4, 1, 1, 1),
        ORG_INVITES: (1, 1, 0, 0),
    }
    assert (found.people, found.everyone) == (5, 6)


async def test_people_whom_the_policy_sees_too_are_not_counted():
    lists = {ORG_USERS: [user("a@e.com", "PENDING", IN_SCOPE)]}
    found, _ = await find([INVITES], lists, seen={INVITES: ["a@e.com", "b@e.com"]})
    assert by_source(found) == dict.fromkeys((USERS, ORG_USERS, ORG_INVITES), (0, 0, 0, 0))
    assert (found.people, found.seen_after, found.everyone) == (0, 0, 2)


async def test_person_in_two_unread_lists_is_one_person():
    lists = {ORG_USERS: [user("a@e.com")], ORG_INVITES: [user("a@e.com", source=ORG_INVITES)]}
    found, _ = await find([INVITES], lists)
    assert (found.people, found.everyone) == (1, 1)


async def test_outlook_counts_whom_lists_without_an_end_show():
    lists = {ORG_USERS: map(user, ("x@e.com", "y@e.com", "z@e.com"))}
    seen = {INVITES: ["a@e.com", "b@e.com", "c@e.com"], USERS: ["c@e.com", "d@e.com"]}
    found, _ = await find([INVITES, USERS], lists, seen=seen)
    assert (found.after, found.seen_after, found.everyone) == (DAY.isoformat(), 2, 7)


@pytest.mark.parametrize(
    ("days", "after", "sources"),
    [
        (1, "2026-11-26", [USERS, ORG_USERS, ORG_INVITES]),
        (0, None, [USERS, ORG_USERS]),
        (-1, None, [USERS, ORG_USERS]),
    ],
)
async def test_list_that_has_ended_is_neither_read_nor_an_outlook(days, after, sources):
    ends = dict.fromkeys((INVITES, ORG_INVITES), TODAY + timedelta(days=days))
    found, requested = await find([INVITES], ends=ends)
    assert ([each.source for each in found.lists], found.after) == (sources, after)
    assert len(requested) == len(sources) - 1  # users is known from org_users


async def test_policy_of_both_lists_of_users_sees_everyone_once_the_others_have_ended():
    before, _ = await find([USERS, ORG_USERS], today=DAY - timedelta(days=1))
    after, requested = await find([USERS, ORG_USERS], today=DAY)
    assert [each.source for each in before.lists] == [INVITES, ORG_INVITES]
    assert (after, requested) == (None, [])


async def test_retired_list_is_not_an_unread_list():
    retired = SourceRetired(ORG, "", "It is retired.", 410, None, ORG_INVITES)
    found, _ = await find([INVITES, USERS, ORG_USERS], org_invites=retired)
    assert found is None


async def test_project_invitations_are_not_known_without_a_request_for_each_project():
    found, _ = await find([USERS, ORG_USERS, ORG_INVITES])
    (unread,) = found.lists
    assert (unread.org_id, unread.source, unread.people) == (None, INVITES, None)
    assert list(describe_unseen(found, {})) == [
        (
            "Who is invited in the list invites is not known. Reading it takes a request for "
            "each project; `doctor` counts it."
        )
    ]


@pytest.mark.parametrize(
    "lost",
    [
        ListUnreadable(ORG, "", "The role is missing.", 401, None, ORG_USERS, ORG),
        AtlasUnavailable("The role is missing."),
    ],
)
async def test_list_that_cannot_be_read_is_not_known_and_neither_are_its_projects(lost):
    found, _ = await find([INVITES], ends={}, org_users=lost)
    unknown = (None, None, None, None)
    assert by_source(found) == {USERS: unknown, ORG_USERS: unknown, ORG_INVITES: (0, 0, 0, 0)}
    assert list(describe_unseen(found, {ORG: "Acme (id)"})) == [
        (
            "Who is invited in the lists users and org_users of organization Acme (id) is not "
            "known. The role is missing."
        )
    ]


async def test_list_that_takes_too_long_is_not_known(monkeypatch):
    async def never(self, project, source):
        await asyncio.Event().wait()

    monkeypatch.setattr(FakeAtlas, "invitations", never)
    monkeypatch.setattr(unread_lists, "LIMIT_S", 0.01)
    found, _ = await find([INVITES, ORG_USERS, USERS])
    (unread,) = found.lists
    assert (unread.source, unread.reason) == (ORG_INVITES, "Atlas took more than 0.01 s.")


def unseen(people, *lists, after="2027-07-01", seen_after=0, everyone=0, all_end=False):
    return Unseen(lists, people, after, seen_after, everyone, all_end)


@pytest.mark.parametrize(
    ("sources", "days", "all_end"),
    [
        ([INVITES, ORG_INVITES], 999, True),
        ([INVITES], 0, True),
        ([INVITES, USERS], 1, False),
        ([USERS], 1, False),
    ],
)
async def test_policy_all_of_whose_lists_end_is_known_from_the_announcement_on(
    sources, days, all_end
):
    ends = dict.fromkeys((INVITES, ORG_INVITES), TODAY + timedelta(days=days))
    found, _ = await find(sources, ends=ends)
    assert found.all_end is all_end


def test_sentence_names_the_lists_and_the_outlook():
    found = unseen(
        46,
        UnreadList(ORG, ORG_USERS, 40, 36, 3, 1),
        UnreadList(OTHER, ORG_USERS, 4, 4, 0, 0),
        UnreadList(ORG, ORG_INVITES, 2, 2, 0, 0),
        UnreadList(ORG, USERS, 0, 0, 0, 0),
        seen_after=3,
        everyone=47,
    )
    assert list(describe_unseen(found, {})) == [
        (
            "46 people are invited only in lists that the policy does not read: org_users 44 (40 "
            "pending, 3 expired, 1 rejected); org_invites 2 (2 pending). After 2027-07-01 this "
            "policy would see 3 of 47."
        )
    ]


def test_one_person_is_singular_and_lists_without_an_end_have_no_outlook():
    found = unseen(1, UnreadList(ORG, ORG_USERS, 1, 0, 0, 1), after=None, everyone=2)
    assert list(describe_unseen(found, {})) == [
        "1 person is invited only in lists that the policy does not read: org_users 1 (1 rejected)."
    ]


def test_organizations_with_the_same_reason_share_a_sentence():
    lists = [UnreadList(f"{n:024x}", ORG_USERS, reason="No role.") for n in range(12)]
    (sentence,) = describe_unseen(unseen(0, *lists), {})
    assert sentence.startswith(f"Who is invited in the list org_users of organizations {'0' * 24}")
    assert sentence.endswith(f"{9:024x} and 2 more is not known. No role.")


def test_runs_of_one_command_add_up():
    per_project = UnreadList(None, INVITES, reason="A request for each project.")
    lists = [UnreadList(org_id, ORG_USERS, 1, 1, 0, 0) for org_id in (ORG, OTHER)]
    one = unseen(2, lists[0], per_project, seen_after=1, everyone=3, all_end=True)
    two = unseen(1, lists[1], per_project, after=None, seen_after=2, everyone=4)
    both = total_unseen([one, None, two])
    assert both == unseen(3, lists[0], per_project, lists[1], seen_after=3, everyone=7)
    assert total_unseen([two, two]).after is None
    assert total_unseen([None, None]) is None
