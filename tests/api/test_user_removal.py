"""Deletion of an invited user: invitations are removed, active members are kept."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import NoneType

import aiohttp
import faults
import pytest
from builders import ORG, PROJECT
from deleting import delete_first, place_of

from invite_sweeper.atlas.endpoints import CLOUD_USERS_GROUP, CLOUD_USERS_ORG
from invite_sweeper.errors import AtlasUnavailable, CredentialsRefused
from invite_sweeper.models import MembershipStatus, Source
from invite_sweeper.outcomes import Outcome, Sending

IN_PROJECT = "*/groups/*/users/*"
IN_ORG = "*/orgs/*/users/*"
STATUSES = ("PENDING", "INVITATION_EXPIRED", "INVITATION_REJECTED")
OF_USERS = (Source.USERS, Source.ORG_USERS)
WHOLE = [("GET", True), ("GET", False), ("DELETE", False)]
"""A removal where the organization is asked first: method, and whether it is asked."""


@pytest.fixture
def invite(sim):
    sim.add_project("Alpha", project_id=PROJECT)

    def make(status="PENDING", name="ada@example.com"):
        return sim.add_user(
            name, status=status, age=timedelta(days=20), group_roles={PROJECT: ("GROUP_OWNER",)}
        )

    return make


@pytest.fixture
def remove(online):
    """Connect, list, call `then`, delete the first invitation, and return the result."""

    async def connect_and_delete(
        source=Source.USERS, then=lambda: None, progress=None, *, absent=False, **options
    ):
        async with online(**options) as atlas:
            place = place_of(source, PROJECT)
            return await delete_first(
                atlas, place, source, then=then, progress=progress, absent=absent
            )

    return connect_and_delete


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("source", OF_USERS)
async def test_invited_user_is_removed_after_a_look_and_with_two_requests(
    sim, remove, invite, status, source
):
    user = invite(status)
    result = await remove(source)
    assert (result.outcome, result.attempts, result.http_status) == (Outcome.DELETED, 1, 204)
    assert result.seen_before == status
    assert [each.method for each in sim.requests if user in each.path] == ["GET", "DELETE"]
    assert [each.user_id for each in sim.removed] == [user]


@pytest.mark.parametrize("accepts", [True, False])
@pytest.mark.parametrize("source", OF_USERS)
async def test_user_who_accepted_or_left_since_the_listing_is_kept(
    sim, remove, invite, source, accepts
):
    user = invite()
    users = sim.organizations[ORG].users
    result = await remove(
        source, then=lambda: sim.set_status(user, "ACTIVE") if accepts else users.pop(user)
    )
    expected = Outcome.ACCEPTED_BEFORE if accepts else Outcome.ALREADY_GONE
    assert (result.outcome, result.attempts, sim.deletes_received) == (expected, 0, 0)
    assert result.seen_before == ("ACTIVE" if accepts else "gone")


OTHER_DAY = datetime(2026, 1, 1, tzinfo=UTC)
CHANGES = {
    "created_at": OTHER_DAY,
    "expires_at": OTHER_DAY,
    "inviter": "boss@example.com",
    "status": MembershipStatus.PENDING,
    "group_roles": {PROJECT: ("GROUP_OWNER", "X")},
}
"""Facts of a user, and what they become."""
IN_ORGANIZATION_ONLY = [
    ("org_roles", ("ORG_OWNER",)),
    ("group_roles", {PROJECT: ("GROUP_OWNER",), "0" * 24: ("GROUP_OWNER",)}),
    ("team_ids", ("0" * 24,)),
]


@pytest.mark.parametrize(
    ("source", "fact", "value"),
    [
        *((source, *each) for each in CHANGES.items() for source in OF_USERS),
        *((Source.ORG_USERS, *each) for each in IN_ORGANIZATION_ONLY),
        (Source.USERS, "expires_at", None),
        (Source.USERS, "group_roles", {PROJECT: ("X",)}),
    ],
)
async def test_user_read_with_another_fact_than_listed_is_changed_and_nothing_is_sent(
    sim, remove, invite, source, fact, value
):
    user = invite("INVITATION_EXPIRED")
    result = await remove(source, then=lambda: setattr(sim.user(user), fact, value))
    assert (result.outcome, result.fatal_error, sim.deletes_received) == (Outcome.CHANGED, None, 0)


@pytest.mark.parametrize("key", [b"teamIds", b"invitationCreatedAt"])
async def test_user_read_without_a_fact_that_the_list_had_is_changed(sim, remove, invite, key):
    invite()
    fault = faults.altered(lambda body: body.replace(key, b"other"))
    sim.faults.add(fault, method="GET", path=IN_ORG)
    result = await remove(Source.ORG_USERS)
    assert (result.outcome, sim.deletes_received) == (Outcome.CHANGED, 0)


async def test_another_order_and_a_missing_name_are_not_a_change(sim, remove, invite):
    user = sim.user(invite(name=""))
    user.group_roles[PROJECT], user.team_ids = ("A", "B"), ("0" * 24, "1" * 24)

    def reorder():
        user.group_roles[PROJECT], user.team_ids = ("B", "A"), ("1" * 24, "0" * 24)

    result = await remove(Source.ORG_USERS, reorder)
    assert result.outcome is Outcome.DELETED


UNREAD = "the user could not be read: "


NOT_READ = [
    *((each, None, f"{UNREAD}Atlas answered {each}") for each in (400, 401, 402, 403, 500)),
    ([], None, UNREAD),
    ({}, None, UNREAD),
    ({"orgMembershipStatus": None}, None, ""),
    ({"orgMembershipStatus": "NEW"}, "NEW", "Atlas shows the unknown status NEW"),
    ({"id": "0" * 24}, None, UNREAD),
]
"""An answer, or what is changed in it; the status that is recorded, and the reason."""
OTHER_NAME = ({"username": "bob@x.org"}, "PENDING", "Atlas shows another person under this id")


@pytest.mark.parametrize(
    ("absent", "answer", "seen", "reason"),
    [*((absent, *each) for each in NOT_READ for absent in (True, False)), (False, *OTHER_NAME)],
)
async def test_user_who_is_not_read_as_listed_is_not_removed_and_the_answer_is_recorded(
    sim, remove, invite, absent, answer, seen, reason
):
    """Also where the organization is asked first, because no list of it shows the person."""
    invite()
    if isinstance(answer, int):
        recorded = (answer, "USER_UNAUTHORIZED")
        fault = faults.fail_with(*recorded)
    else:
        recorded = (200, None)
        fault = faults.altered(
            lambda body: json.dumps(answer and json.loads(body) | answer).encode()
        )
    sim.faults.add(fault, method="GET", path=IN_ORG if absent else IN_PROJECT, times=None)
    result = await remove(absent=absent, attempts=2)
    assert (result.outcome, result.seen_before) == (Outcome.FAILED, seen)
    assert type(result.fatal_error) is (AtlasUnavailable if answer == 402 else NoneType)
    assert (result.attempts, sim.deletes_received) == (0, 0)
    assert (result.http_status, result.error_code) == recorded
    assert result.reason.startswith(reason)
    assert result.reason.endswith("; nothing sent")


@pytest.mark.parametrize("absent", [True, False])
@pytest.mark.parametrize("status", [201, 202, 203, 204, 205, 206, 226, 299])
async def test_a_look_that_is_not_answered_with_200_proves_nothing_and_nothing_is_sent(
    sim, remove, invite, status, absent
):
    """Whatever its body: one with the user as it was listed, or none."""
    invite()
    if status in {204, 205}:
        fault = faults.empty(status)
    else:
        fault = faults.changed(lambda response: replace(response, status=status))
    sim.faults.add(fault, method="GET", path=IN_ORG if absent else IN_PROJECT, times=None)
    result = await remove(absent=absent, attempts=2)
    assert (result.outcome, result.seen_before) == (Outcome.FAILED, None)
    assert (result.attempts, sim.deletes_received) == (0, 0)
    assert result.reason.startswith(UNREAD)


# --- a project that lags behind its organization -----------------------------------------------


@pytest.mark.parametrize("shown", [*STATUSES, "not there", "ACTIVE"])
async def test_person_whom_no_list_of_the_organization_shows_is_removed_unless_it_has_a_member(
    sim, remove, invite, shown
):
    user = invite()
    fault = faults.altered(lambda body: body.replace(b'"PENDING"', f'"{shown}"'.encode()))
    if shown == "not there":
        fault = faults.fail_with(404, "USER_NOT_FOUND")
    sim.faults.add(fault, method="GET", path=IN_ORG)
    result = await remove(absent=True)
    requests = [(e.method, "/orgs/" in e.path) for e in sim.requests if user in e.path]
    if shown == "ACTIVE":
        assert (result.outcome, requests) == (Outcome.ACCEPTED_BEFORE, [("GET", True)])
    else:
        assert (result.outcome, requests) == (Outcome.DELETED, WHOLE)


async def test_project_that_shows_a_member_keeps_the_person_whatever_the_organization_shows(
    sim, remove, invite
):
    user = invite()
    lag = faults.altered(lambda body: body.replace(b'"ACTIVE"', b'"PENDING"'))
    sim.faults.add(lag, path=IN_ORG)
    result = await remove(absent=True, then=lambda: sim.set_status(user, "ACTIVE"))
    assert (result.outcome, sim.deletes_received) == (Outcome.ACCEPTED_BEFORE, 0)


@pytest.mark.parametrize("refused", ["the organization", "the project", "the removal"])
async def test_all_three_requests_are_repeated_after_a_429_of_any_of_them(
    sim, remove, invite, refused
):
    user = invite()
    method = "DELETE" if refused == "the removal" else "GET"
    path = IN_ORG if refused == "the organization" else IN_PROJECT
    sim.faults.add(faults.fail_with(429, retry_after="7"), method=method, path=path)
    result = await remove(absent=True)
    assert result.outcome is Outcome.DELETED
    requests = [(e.method, "/orgs/" in e.path) for e in sim.requests if user in e.path]
    first = {"the organization": WHOLE[:1], "the project": WHOLE[:2], "the removal": WHOLE}
    assert requests == first[refused] + WHOLE


SERVER_ERROR_IN_200 = replace(faults.api_error(500, "UNEXPECTED_ERROR", "Unexpected."), status=200)
ANSWERS = {
    Outcome.DELETED: {"204": faults.empty(204)},
    Outcome.ALREADY_GONE: {"404": faults.fail_with(404, "USER_NOT_FOUND")},
    Outcome.UNKNOWN: {
        "500": faults.fail_with(500),
        "page 503": faults.html(503, retry_after="2"),
        "page 200": faults.html(200),
        "error in 200": faults.respond_with(SERVER_ERROR_IN_200),
        "none": faults.reset(),
        "none, after the removal": faults.reset(late=True),
    },
    Outcome.FAILED: {
        "403": faults.fail_with(403, "ACCESS_FORBIDDEN"),
        "401 for a role": faults.role_missing(),
        "400": faults.fail_with(400, "CANNOT_DELETE"),
        "409": faults.fail_with(409, "CONFLICT"),
        "405 during an upgrade": faults.upgrade(),
        "redirect": faults.redirect("https://evil.example.com/"),
        "300": faults.empty(300),
        "402": faults.fail_with(402),
        "address refused": faults.address_refused(),
    },
}
STOP = {"402": AtlasUnavailable, "address refused": CredentialsRefused}


@pytest.mark.parametrize("source", OF_USERS)
@pytest.mark.parametrize(
    ("outcome", "name"), [(outcome, name) for outcome, each in ANSWERS.items() for name in each]
)
async def test_outcome_of_a_removal_is_what_its_answer_says_and_nothing_is_sent_or_read_after_it(
    sim, remove, invite, source, outcome, name
):
    """The lists of the next night show what became of a removal whose answer is lost."""
    invite()
    sim.faults.add(ANSWERS[outcome][name], method="DELETE", times=None)
    result = await remove(source)
    assert (result.outcome, result.attempts, sim.deletes_received) == (outcome, 1, 1)
    assert sim.requests[-1].method == "DELETE"
    assert type(result.fatal_error) is STOP.get(name, NoneType)


@pytest.mark.parametrize(("times", "outcome"), [(1, Outcome.DELETED), (None, Outcome.FAILED)])
async def test_removal_that_was_not_authenticated_is_repeated_from_the_look_on(
    sim, remove, invite, times, outcome
):
    user = invite()
    sim.faults.add(faults.challenge(), method="DELETE", times=times)
    result = await remove()
    assert result.outcome is outcome
    looks_and_deletes = [each.method for each in sim.requests if user in each.path]
    assert looks_and_deletes == ["GET", "DELETE"] * result.attempts
    assert result.attempts == sim.deletes_received == (3 if times is None else times + 1)


class Unconnected(aiohttp.TCPConnector):
    """Makes no connection for the first DELETEs."""

    def __init__(self, refused):
        super().__init__()
        self.refused = refused

    async def connect(self, req, **options):
        if req.method == "DELETE" and self.refused:
            self.refused -= 1
            raise aiohttp.ConnectionTimeoutError
        return await super().connect(req, **options)


@pytest.mark.parametrize(
    ("refused", "outcome", "sent"), [(2, Outcome.DELETED, 1), (9, Outcome.FAILED, 0)]
)
async def test_removal_without_a_connection_is_repeated_from_the_look_on(
    sim, remove, invite, refused, outcome, sent
):
    user = invite()
    async with Unconnected(refused) as connector:
        result = await remove(connector=connector, attempts=3)
    assert (result.outcome, sim.deletes_received) == (outcome, sent)
    assert sum(user in each.path for each in sim.requests) - sent == 3


@pytest.mark.parametrize(
    ("method", "fault", "outcome", "sent"),
    [
        ("DELETE", faults.reset(late=True), Outcome.UNKNOWN, 1),
        ("GET", faults.delay(0), Outcome.SKIPPED, 0),
        ("GET", faults.fail_with(500), Outcome.SKIPPED, 0),
    ],
    ids=["sent and lost", "looking", "look failed"],
)
async def test_cancelled_deletion_sends_nothing_or_is_unknown(
    sim, remove, invite, method, fault, outcome, sent
):
    invite()
    progress = Sending()
    fault = faults.with_effect(fault, lambda _: setattr(progress, "cancelled", True))
    sim.faults.add(fault, method=method, path=IN_PROJECT)
    result = await remove(progress=progress)
    assert (result.outcome, result.attempts, sim.deletes_received) == (outcome, sent, sent)


async def test_cancelled_while_the_deletion_waits_for_its_spacing_sends_nothing(sim, atlas, invite):
    invite()
    progress = Sending()

    async def wait():
        progress.cancelled = bool(sim.requests)  # the list was read

    atlas.limiter.is_spaced = True
    atlas.limiter.wait_for_spacing = wait
    place = place_of(Source.USERS, PROJECT)
    result = await delete_first(atlas, place, Source.USERS, progress=progress)

    assert (result.outcome, result.seen_before) == (Outcome.SKIPPED, None)
    assert (result.attempts, len(sim.requests), sim.deletes_received) == (0, 1, 0)


@pytest.mark.parametrize("status", ["PENDING", "ACTIVE"])
@pytest.mark.parametrize("absent", [True, False])
async def test_all_tokens_of_a_removal_are_acquired_first_or_none_and_unused_ones_are_released(
    sim, atlas, invite, fake_time, status, absent
):
    """Two of the project, and one of the organization where it is asked."""
    user = invite()
    (listed,) = await atlas.reader.invitations(place_of(Source.USERS, PROJECT), Source.USERS)
    sim.set_status(user, status)
    deleter = atlas.deleter(Source, {listed.key} if absent else ())
    keys = (CLOUD_USERS_GROUP, PROJECT), (CLOUD_USERS_ORG, ORG)
    of_project, of_org = (atlas.limiter.bucket(*key) for key in keys)

    def in_flight():
        return of_project.in_flight, of_org.in_flight

    limited = of_org if absent else of_project
    limited.in_flight += 1
    limited.on_429(fake_time.now_s, 7.0, jitter=0.5)
    assert (deleter.try_acquire(listed), in_flight()) == (7.0, (0, 0))
    fake_time.now_s += 60.0
    assert (deleter.try_acquire(listed), in_flight()) == (0.0, (2, int(absent)))
    await deleter.delete(listed, Sending())
    assert in_flight() == (0, 0)
