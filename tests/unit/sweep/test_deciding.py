"""Deciding is a function of what an organization showed: values in, decisions out."""

from collections import Counter

import pytest
from builders import DAY, announced_once, entry_of, object_id, policy, project
from hypothesis import given
from hypothesis import strategies as st
from sweep.night import Earlier, command_of
from sweep.reads import decided, read_of, unreadable

from invite_sweeper.audit.events import AnnouncementEnded
from invite_sweeper.errors import AtlasUnavailable
from invite_sweeper.models import SOURCES_OF_USERS, ListUnreadable, Source
from invite_sweeper.sweep.scope import RunScope

ADA = {"username": "ada@example.com"}
YOUNG = {"age": DAY}
SANDBOX, PAYMENTS = object_id(1), object_id(2)
IN_SANDBOX = {"project_id": SANDBOX, "project_name": "sandbox"}
IN_PAYMENTS = {"project_id": PAYMENTS, "project_name": "payments"}
OF_ORGANIZATION = {"project_roles": (), "linked_projects": ()}
NOT_READ = [unreadable(Source.ORG_INVITES)]
BOARD = {"keep": [{"name": "board", "usernames": ["ada@*"]}]}


def row(source, number=1, **changes):
    place = OF_ORGANIZATION if source.is_organization_level else IN_SANDBOX
    return entry_of(source, number, **{**place, **ADA, **changes})


def verdicts(found):
    """Return what is decided about each invitation: its list, project, entries and why."""
    return sorted(
        (
            each.invitation.source.value,
            each.invitation.project_name,
            len(each.all_entries),
            each.rule or each.keep_reason,
        )
        for each in found.decisions
    )


DECIDED = {
    "one invitation is what one DELETE ends": (
        [row(Source.ORG_USERS), row(Source.ORG_INVITES, 2), row(Source.USERS)],
        {},
        {},
        [("org_users", None, 3, "forgotten")],
    ),
    "an entry of invites stands for itself": (
        [row(Source.ORG_USERS), row(Source.INVITES, 2)],
        {},
        {},
        [("invites", "sandbox", 1, "forgotten"), ("org_users", None, 1, "forgotten")],
    ),
    "a young entry keeps the organization and leaves the project": (
        [row(Source.ORG_USERS, **YOUNG), row(Source.USERS)],
        {},
        {},
        [("org_users", None, 1, "too_young"), ("users", "sandbox", 1, "forgotten")],
    ),
    "a list that was not read keeps the organization alone": (
        [row(Source.ORG_USERS), row(Source.USERS), row(Source.INVITES, 2)],
        {"unread": NOT_READ},
        {},
        [
            ("invites", "sandbox", 1, "forgotten"),
            ("org_users", None, 1, "list_unread"),
            ("users", "sandbox", 1, "forgotten"),
        ],
    ),
    "whom a list shows twice is kept where another list was not read": (
        [row(Source.USERS), row(Source.USERS, 2)],
        {"unread": NOT_READ},
        {},
        [("users", "sandbox", 2, "list_unread")],
    ),
    "whom a list shows twice goes where all lists were read": (
        [row(Source.USERS), row(Source.USERS, 2)],
        {},
        {},
        [("users", "sandbox", 1, "forgotten")] * 2,
    ),
    "a keep entry keeps in each list": (
        [row(Source.ORG_USERS), row(Source.INVITES, 2)],
        {},
        BOARD,
        [("invites", "sandbox", 1, "keep:board"), ("org_users", None, 1, "keep:board")],
    ),
    "an inviter who is not known to be gone keeps": (
        [row(Source.INVITES, inviter="bo@example.com")],
        {"members": ListUnreadable(reason="401")},
        {"rules": [{"name": "left", "inviter_gone": True}]},
        [("invites", "sandbox", 1, "inviter_unknown")],
    ),
    "of an organization that failed nothing is decided": (
        [row(Source.INVITES)],
        {"error": AtlasUnavailable("No connection.")},
        {},
        [],
    ),
}
"""By what follows: the rows, other values that were read, keys of the policy, and the verdicts."""


@pytest.mark.parametrize("name", DECIDED)
def test_what_was_read_is_decided(name):
    rows, read, keys, expected = DECIDED[name]
    rules = policy(sources=[str(each) for each in Source], **keys)
    found, _ = decided(read_of(*rows, **read), command_of(rules), ended=Source)
    assert verdicts(found) == expected
    assert len(found.deletable) == sum(verdict[-1] == "forgotten" for verdict in expected)


class Announcements(Earlier):
    """A history in which these invitations were announced."""

    def __init__(self, held):
        super().__init__()
        self.held = held

    def announcements(self, _base_url):
        return self.held


PROJECTS = [project(1, name="sandbox"), project(2, name="payments"), project(3, name="out")]
SCOPE = RunScope(
    row(Source.ORG_USERS).org_id,
    projects=PROJECTS[:2],
    excluded=PROJECTS[2:],
    project_names={each.id: each.name for each in PROJECTS},
)
PLACES = {each.id: {"project_id": each.id, "project_name": each.name} for each in PROJECTS}
NAMES = ["ada", "bo", "cy"]
KEYS = {
    "sources": [str(each) for each in Source],
    "audit": {"record": "all"},
    "keep": [{"name": "k", "usernames": ["cy@*"], "projects": ["payments"]}],
}
ROWS = st.lists(
    st.tuples(
        st.sampled_from(Source),
        st.sampled_from([*PLACES]),
        st.sampled_from([*range(len(NAMES)), None]),
        st.sampled_from([0, 10]),
        st.integers(12, 16),
        st.booleans(),
    ),
    max_size=14,
)
"""Lists and places, who and which user of the name it is, the age, and whether it was announced."""


def rows_of(drawn):
    """Return rows, and the announcements of some; a user has one id in all lists of users."""
    rows = {}
    announced = {}
    for number, (source, place, who, which, age, is_announced) in enumerate(drawn, start=20):
        if source is Source.INVITES and place == PROJECTS[2].id:
            continue
        name = None if who is None else f"{NAMES[who]}@example.com"
        given = {"username": name, "age": age * DAY, **OF_ORGANIZATION}
        if not source.is_organization_level:
            given |= PLACES[place]
        is_user = source in SOURCES_OF_USERS and who is not None
        one = entry_of(source, who + which if is_user else number, **given)
        rows.setdefault(one.key, one)
        if is_announced:
            announced |= announced_once(one, 8 * DAY)
    return list(rows.values()), announced


def decide_any(rows, announced, *, notice, **read):
    keys = KEYS | ({"notice": {"wait": "7d"}} if notice else {})
    command = command_of(policy(**keys), history=Announcements(announced))
    return decided(read_of(*rows, scope=SCOPE, **read), command, ended=Source)


UNREAD = [unreadable(ref.source, project_id=ref.project.id) for ref in SCOPE.lists(list(Source))]


@given(ROWS, st.randoms(), st.booleans(), st.lists(st.sampled_from(UNREAD), max_size=2))
def test_order_in_which_lists_and_rows_come_changes_no_decision_no_plan_and_no_line(
    drawn, random, notice, unread
):
    rows, announced = rows_of(drawn)
    found, lines = decide_any(rows, announced, notice=notice, unread=unread)
    random.shuffle(rows)
    read = read_of(*rows, scope=SCOPE, unread=unread)
    lists = [*read.lists.items()]
    random.shuffle(lists)
    again, lines_again = decide_any((), announced, notice=notice, lists=lists)
    assert lines_again == lines
    assert again.deletable == found.deletable
    assert (again.counts, again.dates, again.seen) == (found.counts, found.dates, found.seen)
    assert (again.absent, again.lists) == (found.absent, found.lists)
    assert Counter(again.decisions) == Counter(found.decisions)


def stale_in(found):
    return {each.key for one in found.decisions if one.stale for each in one.all_entries}


@given(ROWS, st.sampled_from(UNREAD), st.booleans())
def test_list_that_is_marked_as_not_read_never_makes_more_entries_stale(drawn, unread, notice):
    rows, announced = rows_of(drawn)
    whole, _ = decide_any(rows, announced, notice=notice)
    part, lines = decide_any(rows, announced, notice=notice, unread=[unread])
    assert stale_in(part) <= stale_in(whole)
    shown = {each.key for each in rows if each.list_key == unread.list_key}
    assert shown.isdisjoint(each.key for each in lines if isinstance(each, AnnouncementEnded))
