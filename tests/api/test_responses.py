"""What each response to a request makes of it: the result, and how many requests are sent."""

import platform
from dataclasses import replace
from datetime import timedelta
from types import NoneType
from typing import NamedTuple

import faults
import pytest
from builders import ORG, invitation
from deleting import delete, delete_first, deletes_after_confirmation

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
def account(sim):
    return sim.add_service_account()


@pytest.fixture
def alpha(sim):
    """A project with two invitations; tests delete the first."""
    project_id = sim.add_project("Alpha")
    for name in ("ada", "bob"):
        sim.invite(project_id, f"{name}@example.com", age=timedelta(days=20))
    return Project(project_id, "Alpha", ORG)


# --- one deletion ----------------------------------------------------------------------------

RETIRED = "410, which stops the run"


class _Deletion(NamedTuple):
    """What becomes of a deletion with a fault.

    Attributes:
        times: How many DELETEs have it.
        remaining: The invitations that are left, of two.
        code: Atlas's `errorCode` of a failure.
    """

    fault: faults.Fault
    times: int | None
    outcome: Outcome
    attempts: int
    remaining: int
    code: str | None = None


MATRIX = {
    "500 always": _Deletion(
        faults.fail_with(500), ALWAYS, FAILED, attempts=5, remaining=2, code="UNEXPECTED_ERROR"
    ),
    "500 after the deletion": _Deletion(
        faults.fail_with(500, late=True), 1, GONE, attempts=2, remaining=1
    ),
    "502 with HTML always": _Deletion(faults.html(502), ALWAYS, FAILED, attempts=5, remaining=2),
    "429 nine times": _Deletion(LIMITED, 9, DELETED, attempts=10, remaining=1),
    "reset after the deletion": _Deletion(
        faults.reset(late=True), 1, GONE, attempts=2, remaining=1
    ),
    "reset always": _Deletion(faults.reset(), ALWAYS, UNKNOWN, attempts=5, remaining=2),
    "reset always, after the deletion": _Deletion(
        faults.reset(late=True), 5, UNKNOWN, attempts=5, remaining=1
    ),
    "truncated 200 always": _Deletion(
        faults.truncated(LONG_200), 5, UNKNOWN, attempts=5, remaining=1
    ),
    "truncated 502 always": _Deletion(
        faults.truncated(LONG_502), 5, FAILED, attempts=5, remaining=1
    ),
    "405 during an upgrade three times": _Deletion(
        faults.upgrade(), 3, DELETED, attempts=4, remaining=1
    ),
    "401 always": _Deletion(
        faults.challenge(), ALWAYS, FAILED, attempts=3, remaining=2, code="UNEXPECTED_ERROR"
    ),
    "truncated 200": _Deletion(faults.truncated(LONG_200), 1, GONE, attempts=2, remaining=1),
    "401 for a role always": _Deletion(
        faults.role_missing(), ALWAYS, FAILED, attempts=2, remaining=2, code="USER_UNAUTHORIZED"
    ),
    "404": _Deletion(faults.fail_with(404, "RESOURCE_NOT_FOUND"), 1, GONE, attempts=1, remaining=2),
    "404 as HTML": _Deletion(faults.html(404), 1, FAILED, attempts=1, remaining=2),
    "400": _Deletion(
        faults.fail_with(400, "CONFLICT"), 1, FAILED, attempts=1, remaining=2, code="CONFLICT"
    ),
    "redirect": _Deletion(EVIL, ALWAYS, FAILED, attempts=1, remaining=2),
    "200 with HTML": _Deletion(faults.html(200), ALWAYS, FAILED, attempts=1, remaining=2),
    "202 with an error": _Deletion(
        faults.fail_with(202, "CONFLICT"), ALWAYS, FAILED, attempts=1, remaining=2, code="CONFLICT"
    ),
    "204 with the content type HTML": _Deletion(
        faults.mislabelled(), 1, FAILED, attempts=1, remaining=1
    ),
    RETIRED: _Deletion(
        faults.fail_with(410, "VERSION_GONE"),
        ALWAYS,
        FAILED,
        attempts=1,
        remaining=2,
        code="VERSION_GONE",
    ),
}


@pytest.mark.parametrize("name", MATRIX)
async def test_deletion_with_a_fault_has_this_outcome_and_number_of_requests(
    sim, online, account, alpha, name
):
    fault, times, outcome, attempts, remaining, code = MATRIX[name]
    sim.faults.add(fault, method="DELETE", times=times)
    progress = Sending()

    async with online(account) as atlas:
        deletion = await delete_first(atlas, alpha, progress=progress)
        assert not atlas.limiter.bucket(PROJECTS_GROUP, alpha.id).in_flight

    assert deletion.outcome is outcome
    assert type(deletion.fatal_error) is (ApiVersionRetired if name == RETIRED else NoneType)
    assert (deletion.attempts, sim.deletes_received) == (attempts, attempts)
    assert sim.invitation_count() == remaining
    assert deletes_after_confirmation(sim) == []
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
    ids=["before", "reset", "failed", "limited", "challenged", "deleted"],
)
async def test_deletion_cancelled_before_or_during_an_attempt_sends_no_other(
    sim, online, account, alpha, cancelled, fault, outcome
):
    progress = Sending(cancelled=cancelled)
    sent = int(not cancelled)
    fault = faults.with_effect(fault, lambda _: setattr(progress, "cancelled", True))
    sim.faults.add(fault, method="DELETE", times=None)

    async with online(account) as atlas:
        deletion = await delete_first(atlas, alpha, progress=progress)

    assert (deletion.outcome, deletion.attempts, sim.deletes_received) == (outcome, sent, sent)
    assert atlas.counters.retries == 0


async def test_refused_token_of_a_cancelled_deletion_is_not_renewed_and_its_permit_is_released(
    sim, online, account, alpha
):
    progress = Sending()
    cancel = faults.with_effect(faults.challenge(), lambda _: setattr(progress, "cancelled", True))
    sim.faults.add(cancel, method="DELETE", times=None)
    async with online(account) as atlas:
        await delete_first(atlas, alpha, progress=progress)
        assert sim.oauth.issued == 1
        deletion = await delete_first(atlas, alpha, progress=Sending(cancelled=True))
        assert deletion.outcome is Outcome.SKIPPED
        assert not atlas.limiter.bucket(PROJECTS_GROUP, alpha.id).in_flight


async def test_requests_that_digest_repeats_take_their_place_in_the_rate_later(sim, online, alpha):
    places = []

    async def take():
        places.append(len(sim.requests))

    async with online(sim.add_api_key()) as atlas:
        atlas.limiter.is_spaced = True
        atlas.limiter.wait_for_spacing = take
        for _ in range(3):
            await atlas.reader.invitations(alpha)
    repeated = len(sim.requests) - 3
    assert repeated > 0
    assert len(places) == 3 + repeated


@pytest.mark.parametrize(
    "listed",
    [
        invitation(1, project_id="", source=Source.INVITES),
        *(invitation(1, invitation_id="..", source=source) for source in Source),
    ],
)
async def test_deletion_with_a_malformed_id_is_not_sent(sim, online, listed):
    async with online() as atlas:
        deletion = await delete(atlas, listed)

    assert (deletion.outcome, deletion.attempts, sim.requests) == (FAILED, 0, ())


@pytest.mark.parametrize("source", Source)
async def test_deleter_for_other_lists_sends_nothing_for_this_one(sim, online, source):
    listed = invitation(1, source=source)
    async with online() as atlas:
        deleter = atlas.deleter([other for other in Source if other is not source])
        with pytest.raises(KeyError):
            deleter.try_acquire(listed)
        with pytest.raises(KeyError):
            await deleter.delete(listed, Sending())
    assert sim.requests == ()


# --- one list --------------------------------------------------------------------------------


class _Listing(NamedTuple):
    """What becomes of a list with a fault.

    Attributes:
        times: How many requests have it.
        result: The number of invitations; the status and error code of a list that is unreadable.
    """

    fault: faults.Fault
    times: int | None
    result: int | tuple[int | None, str | None]
    requests: int


LISTS = {
    "500 four times": _Listing(faults.fail_with(500), 4, result=2, requests=5),
    "500 always": _Listing(
        faults.fail_with(500), ALWAYS, result=(500, "UNEXPECTED_ERROR"), requests=5
    ),
    "503 with HTML always": _Listing(faults.html(503), ALWAYS, result=(503, None), requests=5),
    "truncated body always": _Listing(faults.truncated(), ALWAYS, result=(None, None), requests=5),
    "cut body always": _Listing(faults.malformed(), ALWAYS, result=(200, None), requests=5),
    "body of another form always": _Listing(
        faults.malformed(b"{}"), ALWAYS, result=(200, None), requests=2
    ),
    "body of another form once": _Listing(faults.malformed(b"{}"), 1, result=2, requests=2),
    "too large body": _Listing(
        faults.malformed(b"[" + b" " * 5000 + b"]"), ALWAYS, result=(None, None), requests=1
    ),
    "200 with HTML always": _Listing(faults.html(200), ALWAYS, result=(200, None), requests=5),
    "204": _Listing(faults.empty(204), ALWAYS, result=(204, None), requests=1),
    "401 once": _Listing(faults.challenge(), 1, result=2, requests=2),
    "401 always": _Listing(
        faults.challenge(), ALWAYS, result=(401, "UNEXPECTED_ERROR"), requests=3
    ),
    "401 for a role": _Listing(
        faults.role_missing(), ALWAYS, result=(401, "USER_UNAUTHORIZED"), requests=2
    ),
    "403": _Listing(
        faults.fail_with(403, "ACCESS_FORBIDDEN"),
        ALWAYS,
        result=(403, "ACCESS_FORBIDDEN"),
        requests=1,
    ),
    "404 as HTML": _Listing(faults.html(404), ALWAYS, result=(404, None), requests=1),
    "redirect to another host": _Listing(EVIL, ALWAYS, result=(302, None), requests=1),
    "compressed body": _Listing(faults.compressed(), ALWAYS, result=2, requests=1),
    "redirect to Atlas": _Listing(
        faults.redirect("/api/atlas/v2/groups"), ALWAYS, result=(302, None), requests=1
    ),
    "content type text/plain once": _Listing(
        faults.mislabelled("text/plain"), 1, result=2, requests=2
    ),
}


@pytest.mark.parametrize("name", LISTS)
async def test_list_with_a_fault_is_read_or_has_this_reason(
    sim, online, account, alpha, monkeypatch, name
):
    monkeypatch.setattr("invite_sweeper.atlas.http.MAX_BODY_BYTES", 5000)
    fault, times, result, attempts = LISTS[name]
    sim.faults.add(fault, path=INVITES, times=times)

    async with online(account) as atlas:
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
    assert sim.oauth.issued == 1 + (name in {"401 once", "401 always"})


async def test_each_request_has_a_version_and_a_user_agent(sim, online, alpha):
    calls = []
    sim.faults.add(faults.effect(before=calls.append))
    async with online(sim.add_token()) as atlas:
        await atlas.reader.invitations(alpha)

    (call,) = calls
    path = f"/api/atlas/v2/groups/{alpha.id}/invites"
    assert (call.method, call.target) == ("GET", path)
    sent = {key: each for key, each in call.headers.items() if key not in {"Host", "Authorization"}}
    assert sent == {
        "Accept": "application/vnd.atlas.2023-01-01+json",
        "Accept-Encoding": sent["Accept-Encoding"],
        "Cache-Control": "no-cache",
        "User-Agent": f"invite-sweeper/{__version__} (linux; {platform.machine()})",
    }
