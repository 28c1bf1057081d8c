"""What can go wrong with a request, each with its result, its tries and what Atlas then holds."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import aiohttp
import pytest
from builders import object_id

from invite_sweeper.atlas import BucketKey
from invite_sweeper.atlas.rate_limits import PROJECTS_GROUP
from invite_sweeper.errors import AtlasUnavailable, CredentialsRefused
from invite_sweeper.models import (
    DeletionProgress,
    ListUnreadable,
    Outcome,
    Project,
    ProjectGone,
    Source,
)
from invite_sweeper.simulator import faults

DELETED, GONE, FAILED = Outcome.DELETED, Outcome.ALREADY_GONE, Outcome.FAILED
INVITES = "/api/atlas/v2/groups/*/invites"
ALWAYS = None


@pytest.fixture
def account(sim):
    return sim.add_service_account()


@pytest.fixture
def alpha(sim):
    """A project with two invitations, of which the first is to be deleted."""
    made = sim.add_project("Alpha")
    for name in ("ada", "bob"):
        sim.invite(made, f"{name}@example.com", age=timedelta(days=20))
    return made


async def deleting(sim, atlas, project_id):
    """List, then meet the faults that a test has planned for DELETE; the outcome and its trail."""
    one = (await atlas.reader.invitations(Project(project_id, "Alpha", "0" * 24)))[0]
    trail = DeletionProgress()
    assert atlas.deleter(Source).try_acquire(one) == 0.0
    return await atlas.deleter(Source).delete(one, trail), trail


MATRIX = {
    "500 in passing": (faults.fail_with(500), 2, DELETED, 3, 1, None),
    "500 that lasts": (faults.fail_with(500), ALWAYS, FAILED, 5, 2, "UNEXPECTED_ERROR"),
    "500 although it was done": (faults.fail_with(500, late=True), 1, GONE, 2, 1, None),
    "502 with a page": (faults.html(502), 1, DELETED, 2, 1, None),
    "502 with a page that lasts": (faults.html(502), ALWAYS, FAILED, 5, 2, None),
    "503 with a page": (faults.html(503, retry_after="2"), 1, DELETED, 2, 1, None),
    "504": (faults.fail_with(504), 1, DELETED, 2, 1, None),
    "429": (faults.fail_with(429, "RATE_LIMITED", retry_after="3"), 9, DELETED, 10, 1, None),
    "429 without a time": (faults.fail_with(429, "RATE_LIMITED"), 1, DELETED, 2, 1, None),
    "429 with 0": (faults.fail_with(429, "RATE_LIMITED", retry_after="0"), 1, DELETED, 2, 1, None),
    "429 with an age": (faults.fail_with(429, "X", retry_after="999999"), 1, DELETED, 2, 1, None),
    "429 with a date": (
        faults.fail_with(429, "X", retry_after="Wed, 25 Nov 2026 01:00:00 GMT"),
        1,
        DELETED,
        2,
        1,
        None,
    ),
    "reset before it was done": (faults.reset(), 1, DELETED, 2, 1, None),
    "reset after it was done": (faults.reset(late=True), 1, GONE, 2, 1, None),
    "reset that lasts": (faults.reset(), ALWAYS, FAILED, 5, 2, None),
    "upgrade that passes": (faults.upgrade(), 3, DELETED, 4, 1, None),
    "upgrade that lasts": (
        faults.upgrade(),
        ALWAYS,
        FAILED,
        5,
        2,
        "WRITES_NOT_ALLOWED_DURING_APP_UPGRADES",
    ),
    "another 405": (faults.empty(405), ALWAYS, FAILED, 1, 2, None),
    "401 in passing": (faults.challenge(), 1, DELETED, 2, 1, None),
    "401 that lasts": (faults.challenge(), ALWAYS, FAILED, 3, 2, "UNEXPECTED_ERROR"),
    "401 without a word that lasts": (faults.empty(401), ALWAYS, FAILED, 3, 2, None),
    "401 of a role in passing": (faults.role_missing(), 1, DELETED, 2, 1, None),
    "401 of a role that lasts": (
        faults.role_missing(),
        ALWAYS,
        FAILED,
        2,
        2,
        "USER_UNAUTHORIZED",
    ),
    "403": (faults.fail_with(403, "ACCESS_FORBIDDEN"), ALWAYS, FAILED, 1, 2, "ACCESS_FORBIDDEN"),
    "404": (faults.fail_with(404, "RESOURCE_NOT_FOUND"), 1, GONE, 1, 2, "RESOURCE_NOT_FOUND"),
    "400 that says gone": (
        faults.fail_with(400, "INVALID_INVITATION_ID"),
        1,
        GONE,
        1,
        2,
        "INVALID_INVITATION_ID",
    ),
    "400 that says expired": (
        faults.fail_with(400, "ALREADY_EXPIRED"),
        1,
        GONE,
        1,
        2,
        "ALREADY_EXPIRED",
    ),
    "another 400": (
        faults.fail_with(400, "CANNOT_DELETE_ORG_INVITATION"),
        1,
        FAILED,
        1,
        2,
        "CANNOT_DELETE_ORG_INVITATION",
    ),
    "a redirect": (faults.redirect("https://evil.example.com/"), ALWAYS, FAILED, 1, 2, None),
    "a page of HTML with 200": (faults.html(200), ALWAYS, FAILED, 1, 2, None),
    "a 204 that calls itself HTML is no word of Atlas": (
        faults.mislabelled(),
        1,
        FAILED,
        1,
        1,
        None,
    ),
}


@pytest.mark.parametrize("name", MATRIX)
async def test_a_deletion_meets(sim, online, account, alpha, name):
    fault, times, outcome, tries, left, code = MATRIX[name]
    sim.faults.add(fault, method="DELETE", times=times)

    async with online(account) as atlas:
        deletion, trail = await deleting(sim, atlas, alpha)

    assert (deletion.outcome, deletion.fatal_error) == (outcome, None)
    assert (deletion.attempts, sim.deletes_received) == (tries, tries)
    assert sim.invitation_count() == left
    assert sim.request_log.deletes_after_confirmation == []
    if outcome is FAILED:
        assert deletion.error_code == code
    assert (trail.attempts, trail.http_status) == (deletion.attempts, deletion.http_status)


COUNTED = {
    "a 401 and two 500s": ([faults.challenge(), *[faults.fail_with(500)] * 2], 2, FAILED, 2),
    "a role's 401 and a 500": ([faults.role_missing(), faults.fail_with(500)], 2, FAILED, 2),
    "one 401 where one try is all": ([faults.challenge()], 1, FAILED, 1),
    "a 500 and a 401": ([faults.fail_with(500), faults.challenge()], 2, FAILED, 2),
    "429s around a 500": (
        [*[faults.fail_with(429)] * 2, faults.fail_with(500), faults.fail_with(429)],
        2,
        DELETED,
        5,
    ),
}
"""Answers in their order, `attempts`, and the outcome after so many tries."""


@pytest.mark.parametrize("name", COUNTED)
async def test_only_what_429_answers_is_sent_beyond_attempts_and_all_is_told(
    sim, online, account, alpha, name
):
    answers, attempts, outcome, tries = COUNTED[name]
    for number, fault in enumerate(answers, start=1):
        sim.faults.add(fault, method="DELETE", nth=number)

    async with online(account, attempts=attempts) as atlas:
        deletion, _ = await deleting(sim, atlas, alpha)

    assert (deletion.outcome, deletion.attempts, sim.deletes_received) == (outcome, tries, tries)


ENDS = {
    "402": (faults.fail_with(402, "ACCOUNT_SUSPENDED"), AtlasUnavailable, 1),
    "the access list": (
        faults.fail_with(403, "IP_ADDRESS_NOT_ON_ACCESS_LIST"),
        CredentialsRefused,
        1,
    ),
    "406": (faults.fail_with(406, "INVALID_VERSION_DATE"), AtlasUnavailable, 1),
    "410": (faults.fail_with(410, "VERSION_GONE"), AtlasUnavailable, 1),
}


@pytest.mark.parametrize("name", ENDS)
async def test_a_deletion_ends_the_run_by(sim, online, account, alpha, name):
    fault, error, tries = ENDS[name]
    sim.faults.add(fault, method="DELETE", times=None)

    async with online(account) as atlas:
        deletion, _ = await deleting(sim, atlas, alpha)

    assert deletion.outcome is FAILED
    assert isinstance(deletion.fatal_error, error)
    assert (deletion.attempts, sim.deletes_received, sim.invitation_count()) == (tries, tries, 2)


@pytest.mark.parametrize("name", [name for name in ENDS if name != "410"])
async def test_a_list_ends_the_run_by(sim, online, account, alpha, name):
    fault, error, tries = ENDS[name]
    sim.faults.add(fault, path=INVITES, times=None)

    async with online(account) as atlas:
        with pytest.raises(error):
            await deleting(sim, atlas, alpha)

    assert sum(asked.path.endswith("/invites") for asked in sim.requests) == tries


@pytest.mark.parametrize("late", [False, True])
async def test_a_deletion_that_hangs_is_cut_by_its_timeout_and_tried_again(
    sim, online, account, alpha, late
):
    sim.faults.add(faults.hang(late=late), method="DELETE")

    async with online(account, http_timeout=aiohttp.ClientTimeout(total=0.3)) as atlas:
        deletion, trail = await deleting(sim, atlas, alpha)

    assert deletion.outcome is (GONE if late else DELETED)
    assert (deletion.attempts, trail.response_pending, sim.invitation_count()) == (2, False, 1)


async def test_a_trail_that_never_had_an_answer_says_that_one_is_awaited(
    sim, online, account, alpha
):
    sim.faults.add(faults.reset(), method="DELETE", times=None)

    async with online(account, attempts=2) as atlas:
        deletion, trail = await deleting(sim, atlas, alpha)

    assert (deletion.http_status, deletion.error_code) == (None, None)
    assert (trail.attempts, trail.response_pending) == (2, True)


async def test_a_200_that_breaks_off_is_sent_again_and_claims_no_deletion(
    sim, online, account, alpha
):
    done = replace(faults.fail_with(late=True).instead, status=200, body=b'{"long": "enough"}')
    sim.faults.add(replace(faults.truncated(), instead=done, late=True), method="DELETE")

    async with online(account) as atlas:
        deletion, _ = await deleting(sim, atlas, alpha)

    assert (deletion.outcome, sim.deletes_received) == (GONE, 2)


LISTS = {
    "500 in passing": (faults.fail_with(500), 4, 2, 5),
    "500 that lasts": (faults.fail_with(500), ALWAYS, ListUnreadable, 5),
    "502 with a page": (faults.html(502), 1, 2, 2),
    "503 with a page that lasts": (faults.html(503), ALWAYS, ListUnreadable, 5),
    "429": (faults.fail_with(429, "RATE_LIMITED", retry_after="1"), 3, 2, 4),
    "a reset": (faults.reset(), 1, 2, 2),
    "a truncated body": (faults.truncated(), 1, 2, 2),
    "a truncated body that lasts": (faults.truncated(), ALWAYS, ListUnreadable, 5),
    "a malformed body": (faults.malformed(), 1, 2, 2),
    "a malformed body that lasts": (faults.malformed(), ALWAYS, ListUnreadable, 5),
    "a page of HTML with 200 that lasts": (faults.html(200), ALWAYS, ListUnreadable, 5),
    "an empty body that lasts": (faults.malformed(b""), ALWAYS, ListUnreadable, 5),
    "a role that is missing": (faults.role_missing(), ALWAYS, ListUnreadable, 2),
    "a 401 in passing": (faults.challenge(), 1, 2, 2),
    "a 401 that lasts": (faults.challenge(), ALWAYS, ListUnreadable, 3),
    "a 401 without a word that lasts": (faults.empty(401), ALWAYS, ListUnreadable, 3),
    "a project that is gone": (faults.fail_with(404, "GROUP_NOT_FOUND"), 1, ProjectGone, 1),
    "a redirect": (faults.redirect("https://evil.example.com/"), ALWAYS, ListUnreadable, 1),
    "another content type": (faults.mislabelled("text/plain"), ALWAYS, 2, 1),
}


@pytest.mark.parametrize("name", LISTS)
async def test_a_list_meets(sim, online, account, alpha, name):
    fault, times, result, tries = LISTS[name]
    sim.faults.add(fault, path=INVITES, times=times)

    async with online(account) as atlas:
        found = await atlas.reader.invitations(Project(alpha, "Alpha", "0" * 24))

    if isinstance(result, int):
        assert len(found) == result
    else:
        assert isinstance(found, result)
    assert sum(asked.path.endswith("/invites") for asked in sim.requests) == tries


async def test_a_redirect_is_followed_nowhere(sim, online, account, alpha):
    sim.faults.add(faults.redirect(f"/api/atlas/v2/groups/{alpha}"), path=INVITES, times=None)

    async with online(account) as atlas:
        await atlas.reader.invitations(Project(alpha, "Alpha", "0" * 24))

    paths = [asked.path for asked in sim.requests if "oauth" not in asked.path]
    assert paths == [f"/api/atlas/v2/groups/{alpha}/invites"]


async def test_pages_with_every_oddity_give_each_project_once(sim, online, account):
    made = {sim.add_project(f"Project {n:02}") for n in range(25)}
    sim.paging.page_size = 7
    sim.paging.extra_count = 50
    sim.paging.repeated_items = 2
    sim.paging.link_host = "evil.example.com"

    async with online(account) as atlas:
        found = [item.id async for item in atlas.reader.projects()]

    assert len(found) == 25
    assert set(found) == made


async def test_list_of_projects_that_repeats_a_page_for_ever_ends_the_run(sim, online, account):
    for number in range(3):
        sim.add_project(f"Project {number}")
    sim.paging.endless = True

    async with online(account) as atlas:
        with pytest.raises(AtlasUnavailable, match="page 2 has no new project and names a next"):
            [item async for item in atlas.reader.projects()]

    assert sum("/groups?" in asked.path for asked in sim.requests) == 2


async def test_a_list_of_projects_that_breaks_off_ends_the_run(sim, online, account):
    for number in range(9):
        sim.add_project(f"Project {number}")
    sim.paging.page_size = 4
    sim.faults.add(faults.fail_with(500), path="/api/atlas/v2/groups", nth=2, times=None)

    async with online(account) as atlas:
        with pytest.raises(AtlasUnavailable, match="to the end"):
            [item async for item in atlas.reader.projects()]


async def test_a_project_that_was_never_there_is_gone(sim, online, account):
    async with online(account) as atlas:
        found = await atlas.reader.invitations(Project(object_id(5), "Never", "0" * 24))

    assert isinstance(found, ProjectGone)


async def test_a_deletion_in_a_project_that_is_gone_is_already_gone(sim, online, account, alpha):
    async with online(account) as atlas:
        one, _ = await atlas.reader.invitations(Project(alpha, "Alpha", "0" * 24))
        sim.remove_project(alpha)
        atlas.deleter(Source).try_acquire(one)
        deletion = await atlas.deleter(Source).delete(one, DeletionProgress())

    assert deletion.outcome is GONE


@pytest.mark.parametrize("status", [400, 404])
async def test_an_invitation_that_was_accepted_meanwhile_is_already_gone(
    sim, online, account, alpha, status
):
    sim.gone_status = status

    async with online(account) as atlas:
        one, other = await atlas.reader.invitations(Project(alpha, "Alpha", "0" * 24))
        sim.accept(alpha, one.id)
        atlas.deleter(Source).try_acquire(one)
        deletion = await atlas.deleter(Source).delete(one, DeletionProgress())

    assert (deletion.outcome, deletion.http_status) == (GONE, status)
    assert sim.invitations(alpha) == (other.id,)


async def test_a_longer_answer_than_any_of_atlas_is_not_read_on(sim, online, account, alpha):
    sim.faults.add(faults.malformed(b"[" + b" " * 5000 + b"]"), path=INVITES, times=None)

    async with online(account, max_body_bytes=5000) as atlas:
        found = await atlas.reader.invitations(Project(alpha, "Alpha", "0" * 24))

    assert "longer" in found.reason
    assert sum(asked.path.endswith("/invites") for asked in sim.requests) == 1


async def test_answers_come_packed_and_the_clock_and_the_sunset_are_read(sim, online, account):
    sim.add_project("Alpha")
    sim.gzip = True
    sim.date_offset = timedelta(minutes=-6)

    async with online(account) as atlas:
        assert atlas.clock_skew_s is None
        (one,) = [item async for item in atlas.reader.projects()]
        assert atlas.sunset is None
        await atlas.reader.invitations(one)

    assert 359 <= atlas.clock_skew_s <= 362
    assert (atlas.sunset.isoformat(), atlas.deprecation.isoformat()) == ("2027-07-01", "2023-10-04")


async def test_a_clock_without_a_date_to_compare_is_not_known(connecting, answering):
    answering.get(
        "https://atlas.example.com/api/atlas/v2/groups/" + object_id(1) + "/invites", body=b"[]"
    )

    async with connecting("https://atlas.example.com") as atlas:
        await atlas.reader.invitations(Project(object_id(1), "A", "0" * 24))

    assert atlas.clock_skew_s is None


async def test_the_rate_limits_are_read_where_atlas_tells_them(sim, online, account):
    async with online(account) as atlas:
        told = {(one.endpoint_set, one.scope) for one in await atlas.reader.rate_limits()}
        sim.rate_limits_served = False
        assert await atlas.reader.rate_limits() == ()

    assert ("projects_group", "GROUP") in told


@pytest.mark.parametrize(
    "fault", [faults.fail_with(500), faults.fail_with(410), faults.malformed(b"[]")]
)
async def test_rate_limits_that_cannot_be_read_are_none(sim, online, account, fault):
    sim.faults.add(fault, path="*/rateLimits", times=None)

    async with online(account) as atlas:
        assert await atlas.reader.rate_limits() == ()


async def test_rate_limits_that_are_refused_for_the_credentials_end_the_run(sim, online):
    account = sim.add_api_key()
    account.access_list = ()

    async with online(account) as atlas:
        with pytest.raises(CredentialsRefused):
            await atlas.reader.rate_limits()


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        (faults.reset(late=True), Outcome.UNKNOWN),
        (faults.fail_with(500), FAILED),
        (faults.fail_with(429, "RATE_LIMITED", retry_after="100"), FAILED),
        (faults.challenge(), FAILED),
    ],
)
async def test_a_deletion_that_is_called_off_sends_nothing_more(
    sim, online, account, alpha, fault, outcome
):
    trail = DeletionProgress()

    def call_off(visit):
        trail.cancelled = True

    sim.faults.add(replace(fault, before=call_off), method="DELETE", times=None)

    async with online(account) as atlas:
        one, _ = await atlas.reader.invitations(Project(alpha, "Alpha", "0" * 24))
        atlas.deleter(Source).try_acquire(one)
        deletion = await atlas.deleter(Source).delete(one, trail)

    assert (deletion.outcome, deletion.attempts, sim.deletes_received) == (outcome, 1, 1)
    assert (deletion.retries_cut_short, atlas.counters.retries) == (True, 0)


@pytest.mark.parametrize(
    "fault", [faults.fail_with(403, "ACCESS_FORBIDDEN"), faults.fail_with(500)]
)
async def test_a_failure_that_stands_was_not_cut_short_although_it_was_called_off(
    sim, online, account, alpha, fault
):
    trail = DeletionProgress()

    def call_off(visit):
        trail.cancelled = True

    sim.faults.add(replace(fault, before=call_off), method="DELETE", times=None)

    async with online(account, attempts=1) as atlas:
        one, _ = await atlas.reader.invitations(Project(alpha, "Alpha", "0" * 24))
        atlas.deleter(Source).try_acquire(one)
        deletion = await atlas.deleter(Source).delete(one, trail)

    assert (deletion.outcome, deletion.retries_cut_short) == (FAILED, False)


async def test_no_try_of_a_deletion_follows_a_wait_that_the_deadline_ends(
    sim, online, account, alpha, fake_time
):
    sim.faults.add(faults.fail_with(429, "X", retry_after="100"), method="DELETE", times=None)

    async with online(account, deadline_s=fake_time.now_s + 50) as atlas:
        deletion, _ = await deleting(sim, atlas, alpha)

    assert (deletion.outcome, deletion.retries_cut_short) == (FAILED, True)
    assert (sim.deletes_received, atlas.counters.retries) == (1, 0)


async def test_a_deletion_that_is_called_off_before_it_began_is_skipped(
    sim, online, account, alpha
):
    async with online(account) as atlas:
        one, _ = await atlas.reader.invitations(Project(alpha, "Alpha", "0" * 24))
        atlas.deleter(Source).try_acquire(one)
        deletion = await atlas.deleter(Source).delete(one, DeletionProgress(cancelled=True))

    assert (deletion.outcome, deletion.attempts) == (Outcome.SKIPPED, 0)
    assert sim.deletes_received == 0


async def test_an_answer_that_came_is_believed_although_it_was_called_off(
    sim, online, account, alpha
):
    trail = DeletionProgress()

    def call_off(visit):
        trail.cancelled = True

    sim.faults.add(faults.effect(before=call_off), method="DELETE")

    async with online(account) as atlas:
        one, _ = await atlas.reader.invitations(Project(alpha, "Alpha", "0" * 24))
        atlas.deleter(Source).try_acquire(one)
        deletion = await atlas.deleter(Source).delete(one, trail)

    assert deletion.outcome is DELETED


@pytest.mark.parametrize("wait", ["bucket", "backoff"])
async def test_a_long_wait_is_given_up_within_a_second_when_it_is_called_off(
    sim, online, account, alpha, fake_time, wait
):
    trail = DeletionProgress()

    def empty_bucket(visit):
        if wait == "bucket":
            key = BucketKey(PROJECTS_GROUP, alpha)
            atlas._transport.limiter.on_429(key, 100.0, sent_s=fake_time.now_s)

    async def sleep(seconds):
        await inner_sleep(seconds)
        trail.cancelled = fake_time.now_s > begin_s + 14.5

    asks = "100" if wait == "backoff" else None
    slow = replace(faults.fail_with(503, retry_after=asks), before=empty_bucket)
    sim.faults.add(slow, method="DELETE", times=None)
    inner_sleep, begin_s = fake_time.sleep, fake_time.now_s
    async with online(account, sleep=sleep) as atlas:
        one, _ = await atlas.reader.invitations(Project(alpha, "Alpha", "0" * 24))
        atlas.deleter(Source).try_acquire(one)
        deletion = await atlas.deleter(Source).delete(one, trail)

    assert (deletion.outcome, sim.deletes_received) == (FAILED, 1)
    assert 14 <= fake_time.now_s - begin_s <= 16


async def test_a_retry_waits_for_the_retry_after_of_its_bucket_and_one_second_at_most(
    sim, online, account, alpha, fake_time
):
    def empty_bucket(visit):
        key = BucketKey(PROJECTS_GROUP, alpha)
        atlas._transport.limiter.on_429(key, None, sent_s=fake_time.now_s)

    slow = replace(faults.fail_with(500), before=empty_bucket)
    sim.faults.add(slow, method="DELETE")
    begin_s = fake_time.now_s
    async with online(account) as atlas:
        deletion, _ = await deleting(sim, atlas, alpha)

    assert (deletion.outcome, sim.deletes_received) == (DELETED, 2)
    assert 1 <= fake_time.now_s - begin_s <= 2


async def test_a_429_of_atlas_s_own_teaches_the_size_of_its_bucket(sim, online, account, alpha):
    def fill(_=None):
        sim.set_bucket("projects_group", capacity=3, refill=3, period_s=7)

    fill()
    sim.throttling.headers = False
    sim.spend("projects_group", alpha, 3)
    sim.faults.add(faults.effect(before=fill), path=INVITES, nth=2)
    async with online(account) as atlas:
        found = await atlas.reader.invitations(Project(alpha, "Alpha", "0" * 24))
        estimate_s = atlas._transport.limiter.estimate_s({BucketKey(PROJECTS_GROUP, alpha): 30})

    assert (len(found), atlas.counters.rate_limited) == (2, 1)
    assert 9 * 7 <= estimate_s <= 15 * 7  # 3 at a time, of which some are left to others


async def test_many_deletions_at_once_with_random_faults_all_end_well(sim, online, account):
    for number in range(40):
        project = sim.add_project(f"Project {number}")
        for person in range(25):
            sim.invite(project, f"person-{person}@example.com", age=timedelta(days=20))
    sim.faults.add_random(faults.fail_with(500), 0.05)
    sim.faults.add_random(faults.reset(), 0.01)
    sim.faults.add_random(faults.reset(late=True), 0.01)
    sim.faults.add_random(faults.challenge(), 0.01)
    trails = []

    async def delete(deleter, one):
        assert deleter.try_acquire(one) == 0.0
        trails.append(DeletionProgress())
        return await deleter.delete(one, trails[-1])

    async with online(account, concurrency=30, attempts=9) as atlas:
        projects = [item async for item in atlas.reader.projects()]
        listings = await asyncio.gather(*map(atlas.reader.invitations, projects))
        deleter = atlas.deleter(Source)
        deletions = await asyncio.gather(
            *(delete(deleter, one) for listing in listings for one in listing)
        )

    assert {deletion.outcome for deletion in deletions} <= {DELETED, GONE}
    assert len(deletions) == 1000
    assert sim.invitation_count() == 0
    assert sim.request_log.deletes_after_confirmation == []
    assert sum(trail.attempts for trail in trails) == sim.deletes_received
    assert max(trail.attempts for trail in trails) <= 9
    assert not any(trail.response_pending for trail in trails)
    assert atlas.counters.requests == sum(sim.request_log.received.values())


async def test_a_503_that_names_a_time_lets_its_bucket_wait_and_no_other(
    sim, online, account, alpha, fake_time
):
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
        one, other = await atlas.reader.invitations(Project(alpha, "Alpha", "0" * 24))
        (elsewhere,) = await atlas.reader.invitations(Project(beta, "Beta", "0" * 24))
        atlas.deleter(Source).try_acquire(one)
        deletion = await atlas.deleter(Source).delete(one, DeletionProgress())

    assert deletion.outcome is DELETED
    assert waits[0][0] > 6
    assert waits[0][1] == 0.0
