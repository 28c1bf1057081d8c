"""Excluded projects keep a person in the organization, also where no row names a role in them.

A DELETE in the organization ends what `users` of every project shows of the person, so `users` of
projects out of scope is read where both are read, only to keep.
"""

import json

import pytest
from builders import NOW, ORG, OTHER_ORG, PROJECT, entry_of, object_id, project
from sweep.night import Night, later

from invite_sweeper.audit import AuditDirectory
from invite_sweeper.audit.events import Planned
from invite_sweeper.models import ListUnreadable, Source

SANDBOX = object_id(1)
PAYMENTS = PROJECT
OUT = {"project_id": PAYMENTS, "project_name": "prod-pay", "roles": ("GROUP_OWNER",)}
IN = {"project_id": SANDBOX, "project_name": "sandbox"}
NO_ROLES = {"project_roles": (), "linked_projects": ()}
OF_ORGANIZATION = [Source.ORG_USERS, Source.ORG_INVITES]
ALL = [str(source) for source in Source]


def night_of(directory, *entries, sources=ALL, **keys):
    night = Night(directory, 0, sources=sources, projects={"exclude": ["prod-*"]}, **keys)
    (atlas,) = night.atlases
    atlas.listed = [project(1, name="sandbox"), project(id=PAYMENTS, name="prod-pay")]
    atlas.show(*entries)
    return night


def person(*sources, number=1):
    """Return the entries of a person whose rows name no role in a project."""
    place = {Source.USERS: IN, Source.INVITES: IN}
    name = f"ada{number}@example.com"
    return [entry_of(e, number, username=name, **place.get(e, NO_ROLES)) for e in sources]


def kept_lines(night):
    lines = night.directory.files()[-1].path.read_text(encoding="utf-8").splitlines()
    return [line for line in map(json.loads, lines) if line["event"] == "kept"]


OUTSIDE = {
    "the name": {"number": 5},
    "the id": {"username": None},
    "young": {"created_at": NOW},  # it decides nothing but that it keeps
}


@pytest.mark.parametrize(
    ("source", "by"),
    [
        (Source.ORG_USERS, "the id"),
        *((source, by) for source in OF_ORGANIZATION for by in ("the name", "young")),
    ],
)
async def test_role_in_an_excluded_project_keeps_the_invitation_of_the_organization(
    directory, source, by
):
    row = {"number": 1, "username": "ada1@example.com", **OUTSIDE[by]}
    outside = entry_of(Source.USERS, **row, **OUT)
    entries = person(source, Source.USERS)
    night = night_of(directory, *entries, outside, audit={"record": "all"})
    result = await night.run()
    ended = [(each.source, each.project_id) for each in night.events(Planned)]
    assert ended == [(Source.USERS, SANDBOX)]
    assert result.kept_by_reason == {"reaches_out_of_scope": 1}
    (kept,) = kept_lines(night)
    assert kept["outside"] == [outside.project_name]
    assert (kept["project_name"], [e["source"] for e in kept["entries"]]) == ("prod-pay", [source])
    without = night_of(AuditDirectory(directory.path / "without"), *entries)
    await without.run()
    assert [each.source for each in without.events(Planned)] == [source]


async def test_people_of_excluded_projects_alone_are_counted_nowhere_and_never_deleted(directory):
    outside = [entry_of(Source.USERS, number, **OUT) for number in (7, 8)]
    night = night_of(directory, *person(Source.ORG_USERS), *outside, audit={"record": "all"})
    result = await night.run()
    assert night.deleted == [1]
    assert (result.invitations_seen, result.kept, kept_lines(night)) == (1, 0, [])
    assert result.invitations_by_source["users"] == 0
    assert result.projects_seen == 1
    again = await night.run(at=later())
    assert (again.error, again.invitations_seen) == (None, 0)  # nor in the population


async def test_excluded_project_whose_users_cannot_be_read_keeps_like_any_other(directory):
    unread = ListUnreadable(PAYMENTS, "prod-pay", "HTTP 500.", 500, None, Source.USERS, ORG)
    night = night_of(directory, *person(Source.ORG_USERS))
    night.atlases[0].list_results[Source.USERS, PAYMENTS] = unread
    result = await night.run()
    assert (night.deleted, result.kept_by_reason) == ([0], {"list_unread": 1})
    assert night.events(ListUnreadable) == [unread]
    assert (result.projects_unreadable, result.exit_code) == (1, 4)


@pytest.mark.parametrize(
    ("reads", "sources"),
    [
        *((1, sources) for sources in (ALL, ["users", "org_users"], ["users", "org_invites"])),
        *(
            (0, sources)
            for sources in (["invites", "users"], ["invites", "org_users", "org_invites"])
        ),
    ],
)
async def test_users_of_an_excluded_project_are_read_once_beside_a_list_of_the_organization(
    directory, sources, reads
):
    night = night_of(directory, sources=sources)
    (atlas,) = night.atlases
    await night.run(dry_run=True)
    assert atlas.requested.count(PAYMENTS) == reads


PLACE = {"project_id": SANDBOX, "project_name": "p0"}
OF_PROJECTS = [Source.INVITES, Source.USERS]


def moving_night(directory, sources, name):
    """Return a night in which the second organization shows the project of the first, too."""
    keys = {"sources": sources, "projects": {"exclude": ["old"]}}
    night = Night(directory, 0, 1, **keys)
    first, second = night.atlases
    for source in OF_PROJECTS:
        for org_id, atlas in ((ORG, first), (OTHER_ORG, second)):
            atlas.show(entry_of(source, 10, org_id=org_id, **PLACE))
    second.listed.append(project(1, name=name, org_id=OTHER_ORG))
    return night


@pytest.mark.parametrize("sources", [["invites"], ["invites", "users"], ALL])
@pytest.mark.parametrize("name", ["p0", "old"])
async def test_project_that_two_organizations_show_while_it_moves_is_kept_in_both_and_reported(
    directory, name, sources
):
    """Also where one of them excludes it by another name."""
    night = moving_night(directory, sources, name)
    result = await night.run()
    assert night.deleted == [0, 1]  # its own project
    assert (result.invitations_seen, result.exit_code) == (1, 4)
    shown = [ORG, OTHER_ORG] if name == "p0" else [ORG]
    found = [(each.org_id, each.source.value) for each in night.events(ListUnreadable)]
    lists = [each for each in sources if not Source(each).is_organization_level]
    assert sorted(found) == sorted((org_id, each) for org_id in shown for each in lists)
    assert {each.project_id for each in night.events(ListUnreadable)} == {SANDBOX}
    assert "being moved" in night.events(ListUnreadable)[0].reason


async def test_person_with_a_role_in_a_project_that_moves_is_kept_in_both_organizations(directory):
    night = moving_night(directory, ["org_users"], "p0")
    role = {"project_roles": ((SANDBOX, "R"),), "linked_projects": ((SANDBOX, "p0"),)}
    for org_id, atlas in zip((ORG, OTHER_ORG), night.atlases, strict=True):
        atlas.show(entry_of(Source.ORG_USERS, 20, org_id=org_id, **role))
    result = await night.run()
    assert (night.deleted, result.kept_by_reason) == ([0, 0], {"reaches_out_of_scope": 2})


# A project that lags behind its organization shows a member as invited: the organization is asked.
# `tests/api/test_user_removal.py` has what comes of its answer.


ADA = entry_of(Source.USERS, 7, username="ada@example.com", **IN)


def in_organization(source, number=9, **changes):
    """Return an entry that is kept, so that the role in the project goes alone."""
    given = {"username": "Ada@example.com", "created_at": NOW, **NO_ROLES, **changes}
    return entry_of(source, number, **given)


LISTS = {
    "the user": ([in_organization(Source.ORG_USERS, 7)], [], False),
    "the name": ([in_organization(Source.ORG_USERS)], [], False),
    "the id": ([in_organization(Source.ORG_USERS, 7, username=None)], [], False),
    "an older list": ([in_organization(Source.ORG_INVITES)], [], False),
    "no list": ([], [], True),
    "another person": ([in_organization(Source.ORG_USERS, username="bob@example.com")], [], True),
    "no list that was read": ([], OF_ORGANIZATION, False),
    "the only list that was read": ([], [Source.ORG_INVITES], True),
}
"""What shows her in the organization, the lists that are not read, and whether it is asked."""


async def asked_for(night):
    """Return the entries before whose removal the organization is asked, in a run that sweeps."""
    await night.run()
    assert len(night.atlases[0].deleted) == 1
    return night.atlases[0].absent


@pytest.mark.parametrize("shown_by", LISTS)
async def test_organization_is_asked_for_a_person_whom_none_of_its_lists_shows(directory, shown_by):
    shown, unread, asks = LISTS[shown_by]
    night = night_of(directory, ADA, *shown)
    for source in unread:
        night.atlases[0].list_results[source, ORG] = ListUnreadable(None, None, "401", org_id=ORG)
    assert await asked_for(night) == ({ADA.key} if asks else set())


@pytest.mark.parametrize("source", Source)
async def test_organization_is_asked_for_entries_of_users_alone_where_one_of_its_lists_is_read(
    directory, source
):
    sources = ["users", "invites"] if source is Source.USERS else ALL
    assert await asked_for(night_of(directory, *person(source), sources=sources)) == set()
