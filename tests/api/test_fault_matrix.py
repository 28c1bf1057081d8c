"""Faults of a request: the result, the number of attempts, and what remains in Atlas."""

import asyncio
from dataclasses import replace
from datetime import date, timedelta

import aiohttp
import faults
import pytest
from buckets import set_bucket, spend
from builders import object_id

from invite_sweeper.atlas import BucketKey
from invite_sweeper.atlas.limits import PROJECTS_GROUP
from invite_sweeper.errors import (
    AddressRefused,
    ApiVersionRetired,
    AtlasUnavailable,
)
from invite_sweeper.models import (
    DeletionProgress,
    ListUnreadable,
    Outcome,
    Project,
    ProjectGone,
    Source,
)

DELETED, GONE, FAILED = Outcome.DELETED, Outcome.ALREADY_GONE, Outcome.FAILED
INVITES = "/api/atlas/v2/groups/*/invites"
ALWAYS = None


@pytest.fixture
def account(sim):
    return sim.add_service_account()


@pytest.fixture
def alpha(sim):
    """The id of a project with two invitations; tests delete the first."""
    project_id = sim.add_project("Alpha")
    for name in ("ada", "bob"):
        sim.invite(project_id, f"{name}@example.com", age=timedelta(days=20))
    return project_id


async def delete_first(atlas, project_id, progress=None):
    """List, delete the first invitation, and return the result and the progress."""
    invitation = (await atlas.reader.invitations(Project(project_id, "Alpha", "0" * 24)))[0]
    progress = progress or DeletionProgress()
    assert atlas.deleter(Source).try_acquire(invitation) == 0.0
    return await atlas.deleter(Source).delete(invitation, progress), progress


def limited(retry_after=None):
    return faults.fail_with(429, "RATE_LIMITED", retry_after=retry_after)


def cancelling():
    """Return the progress of a deletion and what cancels it, for a fault."""
    progress = DeletionProgress()
    return progress, lambda _visit: setattr(progress, "cancelled", True)


MATRIX = {
    "500 twice": (faults.fail_with(500), 2, DELETED, 3, 1),
    "500 always": (faults.fail_with(500), ALWAYS, FAILED, 5, 2),
    "500 after the deletion": (faults.fail_with(500, late=True), 1, GONE, 2, 1),
    "501": (faults.empty(501), ALWAYS, FAILED, 1, 2),
    "502 with HTML": (faults.html(502), 1, DELETED, 2, 1),
    "502 with HTML always": (faults.html(502), ALWAYS, FAILED, 5, 2),
    "503 with HTML and retry-after": (faults.html(503, retry_after="2"), 1, DELETED, 2, 1),
    "504": (faults.fail_with(504), 1, DELETED, 2, 1),
    "429 nine times": (limited("3"), 9, DELETED, 10, 1),
    "429 without retry-after": (limited(), 1, DELETED, 2, 1),
    "429 with retry-after 0": (limited("0"), 1, DELETED, 2, 1),
    "429 with a long retry-after": (limited("999999"), 1, DELETED, 2, 1),
    "429 with a date": (limited("Wed, 25 Nov 2026 01:00:00 GMT"), 1, DELETED, 2, 1),
    "reset before the deletion": (faults.reset(), 1, DELETED, 2, 1),
    "reset after the deletion": (faults.reset(late=True), 1, GONE, 2, 1),
    "reset always": (faults.reset(), ALWAYS, FAILED, 5, 2),
    "405 during an upgrade three times": (faults.upgrade(), 3, DELETED, 4, 1),
    "405 during an upgrade always": (faults.upgrade(), ALWAYS, FAILED, 5, 2),
    "other 405": (faults.empty(405), ALWAYS, FAILED, 1, 2),
    "401 once": (faults.challenge(), 1, DELETED, 2, 1),
    "401 always": (faults.challenge(), ALWAYS, FAILED, 3, 2),
    "401 without a body always": (faults.empty(401), ALWAYS, FAILED, 3, 2),
    "401 for a role once": (faults.role_missing(), 1, DELETED, 2, 1),
    "401 for a role always": (faults.role_missing(), ALWAYS, FAILED, 2, 2),
    "403": (faults.fail_with(403, "ACCESS_FORBIDDEN"), ALWAYS, FAILED, 1, 2),
    "404": (faults.fail_with(404, "RESOURCE_NOT_FOUND"), 1, GONE, 1, 2),
    "400 with INVALID_INVITATION_ID": (
        faults.fail_with(400, "INVALID_INVITATION_ID"),
        1,
        GONE,
        1,
        2,
    ),
    "400 with ALREADY_EXPIRED": (faults.fail_with(400, "ALREADY_EXPIRED"), 1, GONE, 1, 2),
    "other 400": (faults.fail_with(400, "CANNOT_DELETE_ORG_INVITATION"), 1, FAILED, 1, 2),
    "409": (faults.fail_with(409, "CONFLICT"), ALWAYS, FAILED, 1, 2),
    "redirect": (faults.redirect("https://evil.example.com/"), ALWAYS, FAILED, 1, 2),
    "200 with HTML": (faults.html(200), ALWAYS, FAILED, 1, 2),
    "202 with an error": (faults.fail_with(202, "GROUP_NOT_FOUND"), ALWAYS, FAILED, 1, 2),
    "204 with the content type HTML": (faults.mislabelled(), 1, FAILED, 1, 1),
}
CODES = {
    "500 always": "UNEXPECTED_ERROR",
    "405 during an upgrade always": "WRITES_NOT_ALLOWED_DURING_APP_UPGRADES",
    "401 always": "UNEXPECTED_ERROR",
    "401 for a role always": "USER_UNAUTHORIZED",
    "403": "ACCESS_FORBIDDEN",
    "other 400": "CANNOT_DELETE_ORG_INVITATION",
    "409": "CONFLICT",
    "202 with an error": "GROUP_NOT_FOUND",
}
"""The error codes of the failed deletions that have one."""


@pytest.mark.parametrize("name", MATRIX)
async def test_deletion_with_fault(sim, online, account, alpha, name):
    fault, times, outcome, attempts, remaining = MATRIX[name]
    sim.faults.add(fault, method="DELETE", times=times)

    async with online(account) as atlas:
        deletion, progress = await delete_first(atlas, alpha)

    assert (deletion.outcome, deletion.fatal_error) == (outcome, None)
    assert (deletion.attempts, sim.deletes_received) == (attempts, attempts)
    assert sim.invitation_count() == remaining
    assert sim.request_log.deletes_after_confirmation == []
    if outcome is FAILED:
        assert deletion.error_code == CODES.get(name)
    assert (progress.attempts, progress.http_status) == (deletion.attempts, deletion.http_status)


ATTEMPTS = {
    "401 and two 500s": ([faults.challenge(), *[faults.fail_with(500)] * 2], 2, FAILED, 2),
    "401 for a role and 500": ([faults.role_missing(), faults.fail_with(500)], 2, FAILED, 2),
    "401 with one attempt": ([faults.challenge()], 1, FAILED, 1),
    "500 and 401": ([faults.fail_with(500), faults.challenge()], 2, FAILED, 2),
    "429s before and after a 500": (
        [*[faults.fail_with(429)] * 2, faults.fail_with(500), faults.fail_with(429)],
        2,
        DELETED,
        5,
    ),
}
"""Faults in order, the `attempts` option, the outcome, and the number of attempts sent."""


@pytest.mark.parametrize("name", ATTEMPTS)
async def test_only_retries_after_a_429_exceed_attempts_and_all_are_counted(
    sim, online, account, alpha, name
):
    in_order, attempts, outcome, sent = ATTEMPTS[name]
    for number, fault in enumerate(in_order, start=1):
        sim.faults.add(fault, method="DELETE", nth=number)

    async with online(account, attempts=attempts) as atlas:
        deletion, _ = await delete_first(atlas, alpha)

    assert (deletion.outcome, deletion.attempts, sim.deletes_received) == (outcome, sent, sent)


FATAL = {
    "402": (faults.fail_with(402, "ACCOUNT_SUSPENDED"), AtlasUnavailable),
    "IP access list": (faults.fail_with(403, "IP_ADDRESS_NOT_ON_ACCESS_LIST"), AddressRefused),
    "406": (faults.fail_with(406, "INVALID_VERSION_DATE"), AtlasUnavailable),
    "410": (faults.fail_with(410, "VERSION_GONE"), ApiVersionRetired),
}


@pytest.mark.parametrize("name", FATAL)
async def test_deletion_with_a_fatal_response_stops_the_run(sim, online, account, alpha, name):
    fault, error = FATAL[name]
    sim.faults.add(fault, method="DELETE", times=None)

    async with online(account) as atlas:
        deletion, _ = await delete_first(atlas, alpha)

    assert deletion.outcome is FAILED
    assert type(deletion.fatal_error) is error
    assert "Nothing was deleted" not in str(deletion.fatal_error)
    assert (deletion.attempts, sim.deletes_received) == (1, 1)
    assert sim.invitation_count() == 2


@pytest.mark.parametrize("late", [False, True])
async def test_deletion_without_a_response_is_retried_after_the_timeout(
    sim, online, account, alpha, late
):
    sim.faults.add(faults.hang(late=late), method="DELETE")

    async with online(account, http_timeout=aiohttp.ClientTimeout(total=2.0)) as atlas:
        deletion, progress = await delete_first(atlas, alpha)

    assert deletion.outcome is (GONE if late else DELETED)
    assert (deletion.attempts, progress.response_pending, sim.invitation_count()) == (2, False, 1)


async def test_progress_without_any_response_has_a_response_pending(sim, online, account, alpha):
    sim.faults.add(faults.reset(), method="DELETE", times=None)

    async with online(account, attempts=2) as atlas:
        deletion, progress = await delete_first(atlas, alpha)

    assert (deletion.http_status, deletion.error_code) == (None, None)
    assert (progress.attempts, progress.response_pending) == (2, True)


async def test_truncated_200_is_retried_and_does_not_count_as_deleted(sim, online, account, alpha):
    success = replace(faults.fail_with(late=True).instead, status=200, body=b'{"long": "enough"}')
    sim.faults.add(replace(faults.truncated(), instead=success, late=True), method="DELETE")

    async with online(account) as atlas:
        deletion, _ = await delete_first(atlas, alpha)

    assert (deletion.outcome, sim.deletes_received) == (GONE, 2)


LISTS = {
    "500 four times": (faults.fail_with(500), 4, 2, 5),
    "502 with HTML": (faults.html(502), 1, 2, 2),
    "429 three times": (faults.fail_with(429, "RATE_LIMITED", retry_after="1"), 3, 2, 4),
    "reset": (faults.reset(), 1, 2, 2),
    "truncated body": (faults.truncated(), 1, 2, 2),
    "truncated body always": (faults.truncated(), ALWAYS, ListUnreadable, 5),
    "malformed body": (faults.malformed(), 1, 2, 2),
    "200 with HTML always": (faults.html(200), ALWAYS, ListUnreadable, 5),
    "401 once": (faults.challenge(), 1, 2, 2),
    "project gone": (faults.fail_with(404, "GROUP_NOT_FOUND"), 1, ProjectGone, 1),
    "redirect": (faults.redirect("https://evil.example.com/"), ALWAYS, ListUnreadable, 1),
    "content type text/plain": (faults.mislabelled("text/plain"), ALWAYS, 2, 1),
}


@pytest.mark.parametrize("name", LISTS)
async def test_list_with_fault(sim, online, account, alpha, name):
    fault, times, result, attempts = LISTS[name]
    sim.faults.add(fault, path=INVITES, times=times)

    async with online(account) as atlas:
        found = await atlas.reader.invitations(Project(alpha, "Alpha", "0" * 24))

    if isinstance(result, int):
        assert len(found) == result
    else:
        assert isinstance(found, result)
    assert sum(request.path.endswith("/invites") for request in sim.requests) == attempts


async def test_redirect_is_not_followed(sim, online, account, alpha):
    sim.faults.add(faults.redirect(f"/api/atlas/v2/groups/{alpha}"), path=INVITES, times=None)

    async with online(account) as atlas:
        await atlas.reader.invitations(Project(alpha, "Alpha", "0" * 24))

    paths = [request.path for request in sim.requests if "oauth" not in request.path]
    assert paths == [f"/api/atlas/v2/groups/{alpha}/invites"]


async def test_projects_of_overlapping_and_miscounted_pages_are_listed_once(sim, online, account):
    project_ids = {sim.add_project(f"Project {n:02}") for n in range(25)}
    sim.paging.page_size = 7
    sim.paging.repeated_items = 2
    sim.faults.add(
        faults.altered(
            lambda body: body.replace(b"//127.0.0.1", b"//evil.example.com").replace(
                b'"totalCount":', b'"totalCount":5'
            )
        ),
        path="*/groups",
        times=None,
    )

    async with online(account) as atlas:
        found = [item.id for item in await atlas.reader.projects()]

    assert len(found) == 25
    assert set(found) == project_ids


async def test_deletion_in_a_deleted_project_is_already_gone(sim, online, account, alpha):
    async with online(account) as atlas:
        invitation, _ = await atlas.reader.invitations(Project(alpha, "Alpha", "0" * 24))
        sim.remove_project(alpha)
        atlas.deleter(Source).try_acquire(invitation)
        deletion = await atlas.deleter(Source).delete(invitation, DeletionProgress())

    assert deletion.outcome is GONE


@pytest.mark.parametrize("status", [400, 404])
async def test_invitation_accepted_since_the_listing_is_already_gone(
    sim, online, account, alpha, status
):
    sim.gone_status = status

    async with online(account) as atlas:
        invitation, other = await atlas.reader.invitations(Project(alpha, "Alpha", "0" * 24))
        sim.accept(alpha, invitation.id)
        atlas.deleter(Source).try_acquire(invitation)
        deletion = await atlas.deleter(Source).delete(invitation, DeletionProgress())

    assert (deletion.outcome, deletion.http_status) == (GONE, status)
    assert sim.invitations(alpha) == (other.id,)


async def test_response_longer_than_max_body_bytes_is_not_read_or_retried(
    sim, online, account, alpha
):
    sim.faults.add(faults.malformed(b"[" + b" " * 5000 + b"]"), path=INVITES, times=None)

    async with online(account, max_body_bytes=5000) as atlas:
        found = await atlas.reader.invitations(Project(alpha, "Alpha", "0" * 24))

    assert "too large" in found.reason
    assert sum(request.path.endswith("/invites") for request in sim.requests) == 1


async def test_clock_skew_and_sunset_are_read_from_compressed_responses(sim, online, account):
    sim.add_project("Alpha")
    sim.faults.add(faults.compressed(), path="*/v2/*", times=None)
    sim.date_offset = timedelta(minutes=-6)

    async with online(account) as atlas:
        assert atlas.clock_skew_s is None
        (project,) = list(await atlas.reader.projects())
        assert atlas.sunset(Source) is None
        await atlas.reader.invitations(project)

    assert 359 <= atlas.clock_skew_s <= 362
    assert atlas.sunset([Source.INVITES]) == date(2027, 7, 1)
    assert atlas.sunset([Source.USERS]) is None


async def test_clock_skew_without_a_date_header_is_none(connecting, answering):
    answering.get(
        "https://atlas.example.com/api/atlas/v2/groups/" + object_id(1) + "/invites", body=b"[]"
    )

    async with connecting("https://atlas.example.com") as atlas:
        await atlas.reader.invitations(Project(object_id(1), "A", "0" * 24))

    assert atlas.clock_skew_s is None


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        (faults.reset(late=True), Outcome.UNKNOWN),
        (faults.fail_with(500), FAILED),
        (faults.fail_with(429, "RATE_LIMITED", retry_after="100"), FAILED),
        (faults.challenge(), FAILED),
    ],
)
async def test_deletion_cancelled_during_an_attempt_is_not_retried(
    sim, online, account, alpha, fault, outcome
):
    progress, cancel = cancelling()
    sim.faults.add(replace(fault, before=cancel), method="DELETE", times=None)

    async with online(account) as atlas:
        deletion, _ = await delete_first(atlas, alpha, progress)

    assert (deletion.outcome, deletion.attempts, sim.deletes_received) == (outcome, 1, 1)
    assert (deletion.retries_cut_short, atlas.counters.retries) == (True, 0)


@pytest.mark.parametrize(
    "fault", [faults.fail_with(403, "ACCESS_FORBIDDEN"), faults.fail_with(500)]
)
async def test_final_failure_of_a_cancelled_deletion_was_not_cut_short(
    sim, online, account, alpha, fault
):
    progress, cancel = cancelling()
    sim.faults.add(replace(fault, before=cancel), method="DELETE", times=None)

    async with online(account, attempts=1) as atlas:
        deletion, _ = await delete_first(atlas, alpha, progress)

    assert (deletion.outcome, deletion.retries_cut_short) == (FAILED, False)


async def test_deletion_is_not_retried_if_the_wait_exceeds_the_deadline(
    sim, online, account, alpha, fake_time
):
    sim.faults.add(faults.fail_with(429, "X", retry_after="100"), method="DELETE", times=None)

    async with online(account, deadline_s=fake_time.now_s + 50) as atlas:
        deletion, _ = await delete_first(atlas, alpha)

    assert (deletion.outcome, deletion.retries_cut_short) == (FAILED, True)
    assert (sim.deletes_received, atlas.counters.retries) == (1, 0)


async def test_deletion_cancelled_before_the_first_attempt_is_skipped(sim, online, account, alpha):
    async with online(account) as atlas:
        deletion, _ = await delete_first(atlas, alpha, DeletionProgress(cancelled=True))

    assert (deletion.outcome, deletion.attempts) == (Outcome.SKIPPED, 0)
    assert sim.deletes_received == 0


async def test_confirmed_deletion_is_deleted_although_it_was_cancelled(sim, online, account, alpha):
    progress, cancel = cancelling()
    sim.faults.add(faults.effect(before=cancel), method="DELETE")

    async with online(account) as atlas:
        deletion, _ = await delete_first(atlas, alpha, progress)

    assert deletion.outcome is DELETED


@pytest.mark.parametrize("wait", ["bucket", "backoff"])
async def test_cancelled_deletion_stops_waiting_within_1_s(
    sim, online, account, alpha, fake_time, wait
):
    progress = DeletionProgress()

    def empty_bucket(_visit):
        if wait == "bucket":
            key = BucketKey(PROJECTS_GROUP, alpha)
            atlas.limiter.on_429(key, 100.0, sent_s=fake_time.now_s)

    async def sleep(seconds):
        await inner_sleep(seconds)
        progress.cancelled = fake_time.now_s > started_s + 14.5

    retry_after = "100" if wait == "backoff" else None
    slow = replace(faults.fail_with(503, retry_after=retry_after), before=empty_bucket)
    sim.faults.add(slow, method="DELETE", times=None)
    inner_sleep, started_s = fake_time.sleep, fake_time.now_s
    async with online(account, sleep=sleep) as atlas:
        deletion, _ = await delete_first(atlas, alpha, progress)

    assert (deletion.outcome, sim.deletes_received) == (FAILED, 1)
    assert 14 <= fake_time.now_s - started_s <= 16


async def test_retry_waits_for_its_backoff_and_at_most_1_s_for_its_bucket(
    sim, online, account, alpha, fake_time
):
    def empty_bucket(_visit):
        key = BucketKey(PROJECTS_GROUP, alpha)
        atlas.limiter.on_429(key, None, sent_s=fake_time.now_s)

    slow = replace(faults.fail_with(500), before=empty_bucket)
    sim.faults.add(slow, method="DELETE")
    started_s = fake_time.now_s
    async with online(account) as atlas:
        deletion, _ = await delete_first(atlas, alpha)

    assert (deletion.outcome, sim.deletes_received) == (DELETED, 2)
    assert 1 <= fake_time.now_s - started_s <= 2


async def test_body_of_a_429_sets_the_size_of_its_bucket(sim, online, account, alpha):
    def fill(_=None):
        set_bucket(sim, "projects_group", capacity=3, refill=3, period_s=7)

    fill()
    sim.faults.add(faults.without_rate_limits(), times=None)
    spend(sim, alpha, 3)
    sim.faults.add(faults.effect(before=fill), path=INVITES, nth=2)
    async with online(account) as atlas:
        found = await atlas.reader.invitations(Project(alpha, "Alpha", "0" * 24))
        key = BucketKey(PROJECTS_GROUP, alpha)
        acquired = sum(atlas.limiter.try_acquire(key) == 0.0 for _ in range(10))

    assert (len(found), atlas.counters.rate_limited) == (2, 1)
    assert 1 <= acquired <= 3


async def test_1000_concurrent_deletions_with_random_faults_are_all_deleted_or_gone(
    sim, online, account
):
    for number in range(40):
        project = sim.add_project(f"Project {number}")
        for user in range(25):
            sim.invite(project, f"user-{user}@example.com", age=timedelta(days=20))
    sim.faults.add_random(faults.fail_with(500), 0.05)
    sim.faults.add_random(faults.reset(), 0.01)
    sim.faults.add_random(faults.reset(late=True), 0.01)
    sim.faults.add_random(faults.challenge(), 0.01)
    all_progress = []

    async def delete(deleter, invitation):
        assert deleter.try_acquire(invitation) == 0.0
        all_progress.append(DeletionProgress())
        return await deleter.delete(invitation, all_progress[-1])

    async with online(account, concurrency=30, attempts=9) as atlas:
        projects = list(await atlas.reader.projects())
        listings = await asyncio.gather(*map(atlas.reader.invitations, projects))
        deleter = atlas.deleter(Source)
        deletions = await asyncio.gather(
            *(delete(deleter, invitation) for listing in listings for invitation in listing)
        )

    assert {deletion.outcome for deletion in deletions} <= {DELETED, GONE}
    assert len(deletions) == 1000
    assert sim.invitation_count() == 0
    assert sim.request_log.deletes_after_confirmation == []
    assert sum(progress.attempts for progress in all_progress) == sim.deletes_received
    assert max(progress.attempts for progress in all_progress) <= 9
    assert not any(progress.response_pending for progress in all_progress)
    assert atlas.counters.requests == sum(sim.request_log.received.values())


async def test_503_with_retry_after_delays_only_its_bucket(sim, online, account, alpha, fake_time):
    beta = sim.add_project("Beta")
    sim.invite(beta, "eve@example.com", age=timedelta(days=20))
    sim.faults.add(faults.html(503, retry_after="7"), method="DELETE")
    waits = []

    async def sleep(seconds):
        waits.append(
            (atlas.deleter(Source).try_acquire(other), atlas.deleter(Source).try_acquire(elsewhere))
        )
        await inner_sleep(seconds)

    inner_sleep = fake_time.sleep
    async with online(account, sleep=sleep) as atlas:
        invitation, other = await atlas.reader.invitations(Project(alpha, "Alpha", "0" * 24))
        (elsewhere,) = await atlas.reader.invitations(Project(beta, "Beta", "0" * 24))
        atlas.deleter(Source).try_acquire(invitation)
        deletion = await atlas.deleter(Source).delete(invitation, DeletionProgress())

    assert deletion.outcome is DELETED
    assert waits[0][0] > 6
    assert waits[0][1] == 0.0
