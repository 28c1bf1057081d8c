"""What each response to a request makes of it: the result, and how many requests are sent."""

import platform
from dataclasses import replace
from datetime import timedelta
from itertools import count
from types import NoneType

import faults
import pytest
from builders import ORG, PROJECT, invitation
from deleting import delete, delete_first

from invite_sweeper import __version__
from invite_sweeper.atlas.endpoints import PROJECTS_GROUP
from invite_sweeper.errors import ApiVersionRetired
from invite_sweeper.models import ListUnreadable, Project, Source
from invite_sweeper.outcomes import Outcome, Sending

DELETED = Outcome.DELETED
GONE = Outcome.ALREADY_GONE
FAILED = Outcome.FAILED
UNKNOWN = Outcome.UNKNOWN
INVITES = "/api/atlas/v2/groups/*/invites"
ALWAYS = None
LIMITED = faults.fail_with(429, "RATE_LIMITED", retry_after="100")
EVIL = faults.redirect("https://evil.example.com/")
LONG_502 = faults.api_error(502, "X", "x")
LONG_200 = replace(faults.api_error(500, "X", "x"), status=200, body=b'{"long": "enough"}')


@pytest.fixture
def alpha(sim):
    """A project with two invitations; tests delete the first."""
    sim.add_project("Alpha", project_id=PROJECT)
    for name in ("ada", "bob"):
        sim.invite(PROJECT, f"{name}@example.com", age=timedelta(days=20))
    return Project(PROJECT, "Alpha", ORG)


@pytest.fixture
def delete_one(sim, online, alpha):
    """Delete the first invitation with the token of a service account, which may be renewed."""

    async def delete_with(progress):
        async with online(sim.add_service_account()) as atlas:
            deletion = await delete_first(atlas, alpha, progress=progress)
            assert not atlas.limiter.bucket(PROJECTS_GROUP, PROJECT).in_flight
        return deletion

    return delete_with


# --- one deletion ----------------------------------------------------------------------------

RETIRED = "410, which stops the run"
MATRIX = {
    # The fault, how many DELETEs have it, the outcome, the attempts, how many of two invitations
    # are left, and Atlas's `errorCode` of a failure.
    "500 always": (faults.fail_with(500), ALWAYS, FAILED, 5, 2, "UNEXPECTED_ERROR"),
    "500 after the deletion": (faults.fail_with(500, late=True), 1, GONE, 2, 1, None),
    "reset after the deletion": (faults.reset(late=True), 1, GONE, 2, 1, None),
    "reset always": (faults.reset(), ALWAYS, UNKNOWN, 5, 2, None),
    "reset always, after the deletion": (faults.reset(late=True), 5, UNKNOWN, 5, 1, None),
    "truncated 200 always": (faults.truncated(LONG_200), 5, UNKNOWN, 5, 1, None),
    "truncated 502 always": (faults.truncated(LONG_502), 5, FAILED, 5, 1, None),
    "401 always": (faults.challenge(), ALWAYS, FAILED, 3, 2, "UNEXPECTED_ERROR"),
    "truncated 200": (faults.truncated(LONG_200), 1, GONE, 2, 1, None),
    "404": (faults.fail_with(404, "RESOURCE_NOT_FOUND"), 1, GONE, 1, 2, None),
    "400": (faults.fail_with(400, "CONFLICT"), 1, FAILED, 1, 2, "CONFLICT"),
    "redirect": (EVIL, ALWAYS, FAILED, 1, 2, None),
    RETIRED: (faults.fail_with(410, "VERSION_GONE"), ALWAYS, FAILED, 1, 2, "VERSION_GONE"),
}


@pytest.mark.parametrize("name", MATRIX)
async def test_deletion_with_a_fault_has_this_outcome_and_number_of_requests(sim, delete_one, name):
    fault, times, outcome, attempts, remaining, code = MATRIX[name]
    sim.faults.add(fault, method="DELETE", times=times)
    progress = Sending()
    deletion = await delete_one(progress)

    assert deletion.outcome is outcome
    assert type(deletion.fatal_error) is (ApiVersionRetired if name == RETIRED else NoneType)
    assert (deletion.attempts, sim.deletes_received) == (attempts, attempts)
    assert sim.invitation_count() == remaining
    assert outcome is not FAILED or deletion.error_code == code
    assert (progress.attempts, progress.http_status) == (deletion.attempts, deletion.http_status)


@pytest.mark.parametrize(
    ("cancelled", "fault", "outcome"),
    [
        (True, faults.delay(0), Outcome.SKIPPED),
        (False, faults.reset(late=True), UNKNOWN),
        (False, faults.fail_with(500), FAILED),
        (False, LIMITED, FAILED),
        (False, faults.challenge(), FAILED),
        (False, faults.delay(0), DELETED),
    ],
    ids=count(1),
)
async def test_deletion_cancelled_before_or_during_an_attempt_sends_no_other_and_renews_no_token(
    sim, delete_one, cancelled, fault, outcome
):
    progress = Sending(cancelled=cancelled)
    sent = int(not cancelled)
    fault = faults.with_effect(fault, lambda _: setattr(progress, "cancelled", True))
    sim.faults.add(fault, method="DELETE", times=None)
    deletion = await delete_one(progress)

    assert (deletion.outcome, deletion.attempts, sim.deletes_received) == (outcome, sent, sent)
    assert sim.tokens_issued == 1


async def test_requests_that_digest_repeats_take_their_place_in_the_rate_later(sim, online, alpha):
    places = []

    async def take():
        places.append(len(sim.requests))

    async with online(sim.add_api_key()) as atlas:
        atlas.limiter.is_spaced = True
        atlas.limiter.wait_for_spacing = take
        for _ in range(2):
            await atlas.reader.invitations(alpha)
    assert len(places) == len(sim.requests) == 3


@pytest.mark.parametrize(
    "listed",
    [
        invitation(1, project_id="", source=Source.INVITES),
        *(invitation(1, invitation_id="..", source=source) for source in Source),
    ],
)
async def test_deletion_with_a_malformed_id_is_not_sent(sim, atlas, listed):
    deletion = await delete(atlas, listed)

    assert (deletion.outcome, deletion.attempts, sim.requests) == (FAILED, 0, [])


@pytest.mark.parametrize("source", Source)
async def test_deleter_for_other_lists_sends_nothing_for_this_one(sim, atlas, source):
    listed = invitation(1, source=source)
    deleter = atlas.deleter([other for other in Source if other is not source])
    with pytest.raises(KeyError):
        deleter.try_acquire(listed)
    with pytest.raises(KeyError):
        await deleter.delete(listed, Sending())
    assert sim.requests == []


# --- one list --------------------------------------------------------------------------------


LISTS = {
    # The fault, how many requests have it; the number of invitations, or the status and error code
    # of a list that is unreadable; and the requests.
    "500 always": (faults.fail_with(500), ALWAYS, (500, "UNEXPECTED_ERROR"), 5),
    "truncated body always": (faults.truncated(), ALWAYS, (None, None), 5),
    "cut body always": (faults.malformed(), ALWAYS, (200, None), 5),
    "body of another form always": (faults.malformed(b"{}"), ALWAYS, (200, None), 2),
    "too large body": (faults.malformed(b"[" + b" " * 5000 + b"]"), ALWAYS, (None, None), 1),
    "200 with HTML always": (faults.html(200), ALWAYS, (200, None), 5),
    "204": (faults.empty(204), ALWAYS, (204, None), 1),
    "401 once": (faults.challenge(), 1, 2, 2),
    "401 always": (faults.challenge(), ALWAYS, (401, "UNEXPECTED_ERROR"), 3),
    "401 for a role": (faults.role_missing(), ALWAYS, (401, "USER_UNAUTHORIZED"), 2),
    "redirect to another host": (EVIL, ALWAYS, (302, None), 1),
    "compressed body": (faults.compressed(), ALWAYS, 2, 1),
}


@pytest.mark.parametrize("name", LISTS)
async def test_list_with_a_fault_is_read_or_has_this_reason(sim, online, alpha, monkeypatch, name):
    monkeypatch.setattr("invite_sweeper.atlas.http.MAX_BODY_BYTES", 5000)
    fault, times, result, attempts = LISTS[name]
    sim.faults.add(fault, path=INVITES, times=times)

    async with online(sim.add_service_account()) as atlas:
        found = await atlas.reader.invitations(alpha)

    if isinstance(result, int):
        assert len(found) == result
    else:
        assert isinstance(found, ListUnreadable)
        assert (found.http_status, found.error_code) == result
        assert result[0] is None or str(result[0]) in found.reason
    paths = [request.path for request in sim.requests if "oauth" not in request.path]
    assert paths == [f"/api/atlas/v2/groups/{alpha.id}/invites"] * attempts
    # The token is not refreshed for a role.
    assert sim.tokens_issued == 1 + (name in {"401 once", "401 always"})


async def test_each_request_has_a_version_and_a_user_agent(sim, atlas, alpha):
    calls = []
    sim.faults.add(faults.effect(before=calls.append))
    await atlas.reader.invitations(alpha)

    (call,) = calls
    sent = {key: each for key, each in call.headers.items() if key not in {"Host", "Authorization"}}
    assert sent == {
        "Accept": "application/vnd.atlas.2023-01-01+json",
        "Accept-Encoding": sent["Accept-Encoding"],
        "Cache-Control": "no-cache",
        "User-Agent": f"invite-sweeper/{__version__} (linux; {platform.machine()})",
    }
