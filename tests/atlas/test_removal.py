"""One user's invitation is ended, or an active member is left alone: moment by moment."""

import asyncio
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import pytest

from invite_sweeper.atlas.rate_limiter import RequestSpacing
from invite_sweeper.atlas.rate_limits import BucketKey
from invite_sweeper.atlas.token_bucket import MAX_RETRY_DELAY_S
from invite_sweeper.models import DeletionProgress, Outcome, Project, Source
from invite_sweeper.simulator import Access, faults

ORG = "5efda682a3f2ed2e7dd6cde4"
IN_PROJECT, IN_ORG = "*/groups/*/users/*", "*/orgs/*/users/*"
STATUSES = ("PENDING", "INVITATION_EXPIRED", "INVITATION_REJECTED")


@pytest.fixture
def alpha(sim):
    sim.throttling.enforced = False
    return sim.add_project("Alpha")


@pytest.fixture
def invite(sim, alpha):
    """Make an invited user; the id."""

    def make(status="PENDING", name="ada@example.com"):
        return sim.add_user(
            name, status=status, age=timedelta(days=20), group_roles={alpha: ["GROUP_OWNER"]}
        )

    return make


def place_of(sim, source):
    if source.is_organization_level:
        return Project(ORG, "", ORG)
    project_id, group = next(iter(sim.groups.items()))
    return Project(project_id, group.name, ORG)


async def remove(sim, atlas, source, then=lambda: None, trail=None):
    """List, let `then` happen, delete the first; how it ended."""
    one = (await atlas.reader.invitations(place_of(sim, source), source))[0]
    then()
    deleter = atlas.deleter(Source)
    assert deleter.try_acquire(one) == 0.0
    return await deleter.delete(one, trail or DeletionProgress())


def deletes(sim):
    return sim.request_log.received["DELETE"]


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize(("source", "after"), [(Source.USERS, None), (Source.ORG_USERS, "gone")])
async def test_invited_user_is_removed_and_both_looks_are_told(
    sim, online, invite, status, source, after
):
    user = invite(status)
    async with online() as atlas:
        ended = await remove(sim, atlas, source)

    assert (ended.outcome, ended.attempts, ended.http_status) == (Outcome.DELETED, 1, 204)
    assert (ended.seen_before, ended.seen_after) == (status, after or status)
    assert [each.user_id for each in sim.request_log.removed] == [user]


@pytest.mark.parametrize("status", [200, 202])
@pytest.mark.parametrize("source", [Source.USERS, Source.ORG_USERS])
@pytest.mark.parametrize(
    ("late", "outcome"), [(False, Outcome.FAILED), (True, Outcome.ALREADY_GONE)]
)
async def test_an_error_object_with_200_or_202_is_checked_and_never_called_deleted(
    sim, online, invite, source, status, late, outcome
):
    invite()
    doubtful = replace(faults.fail_with(500, "UNEXPECTED_ERROR").instead, status=status)
    sim.faults.add(faults.respond_with(doubtful, late=late), method="DELETE")
    async with online() as atlas:
        ended = await remove(sim, atlas, source)

    assert (ended.outcome, ended.attempts, ended.http_status) == (outcome, 1, status)
    assert ended.error_code == "UNEXPECTED_ERROR"


@pytest.mark.parametrize("source", [Source.USERS, Source.ORG_USERS])
async def test_who_has_accepted_since_the_listing_is_left_alone(sim, online, invite, source):
    user = invite()
    async with online() as atlas:
        ended = await remove(sim, atlas, source, lambda: sim.set_status(user, "ACTIVE"))

    assert (ended.outcome, ended.attempts) == (Outcome.ACCEPTED_BEFORE, 0)
    assert (ended.seen_before, ended.seen_after) == ("ACTIVE", None)
    assert deletes(sim) == 0


@pytest.mark.parametrize("when", ["read", "delete"])
async def test_who_accepts_between_the_read_and_the_deletion_is_found_out(
    sim, online, invite, when
):
    user = invite()
    accept = lambda _: sim.set_status(user, "ACTIVE")  # noqa: E731
    if when == "read":
        sim.faults.add(faults.effect(after=accept), method="GET", path=IN_PROJECT)
    else:
        sim.faults.add(faults.effect(before=accept), method="DELETE")
    async with online() as atlas:
        ended = await remove(sim, atlas, Source.USERS)

    assert ended.outcome is Outcome.ACCEPTED_DURING
    assert (ended.seen_before, ended.seen_after) == ("PENDING", "ACTIVE")


async def test_who_has_gone_by_then_is_already_gone_and_nothing_is_sent(sim, online, invite):
    user = invite()
    async with online() as atlas:
        ended = await remove(
            sim, atlas, Source.USERS, lambda: sim.organizations[ORG].users.pop(user)
        )

    assert (ended.outcome, ended.attempts, deletes(sim)) == (Outcome.ALREADY_GONE, 0, 0)


async def test_who_was_invited_again_since_the_listing_is_another_invitation(sim, online, invite):
    user = invite("INVITATION_EXPIRED")

    def again():
        sim.set_status(user, "PENDING")

    async with online() as atlas:
        ended = await remove(sim, atlas, Source.USERS, again)

    assert (ended.outcome, ended.seen_before, deletes(sim)) == (
        Outcome.ALREADY_GONE,
        "PENDING",
        0,
    )


async def test_another_date_of_invitation_is_another_invitation(sim, online, invite):
    user = invite()

    def again():
        sim.user(user).created_at += timedelta(seconds=1)

    async with online() as atlas:
        ended = await remove(sim, atlas, Source.USERS, again)

    assert (ended.outcome, deletes(sim)) == (Outcome.ALREADY_GONE, 0)


@pytest.mark.parametrize(
    ("body", "seen"),
    [
        (b"[]", None),
        (b"{}", None),
        (b'{"id":"%b","username":"ada@example.com"}', None),
        (b'{"id":"%b","username":"ada@example.com","orgMembershipStatus":"NEW"}', "NEW"),
        (b'{"id":"%b","username":"bob@example.com","orgMembershipStatus":"PENDING"}', "PENDING"),
        (b'{"id":"000000000000000000000000","orgMembershipStatus":"PENDING"}', None),
    ],
)
async def test_standing_that_nobody_can_judge_sends_nothing(sim, online, invite, body, seen):
    user = invite()
    told = body.replace(b"%b", user.encode())
    sim.faults.add(faults.malformed(told), method="GET", path=IN_PROJECT, times=None)
    async with online() as atlas:
        ended = await remove(sim, atlas, Source.USERS)

    assert (ended.outcome, ended.seen_before, ended.attempts) == (Outcome.FAILED, seen, 0)
    assert deletes(sim) == 0


@pytest.mark.parametrize("status", [400, 401, 403, 500])
async def test_read_that_fails_sends_nothing_and_says_what_atlas_answered(
    sim, online, invite, status
):
    invite()
    fault = faults.fail_with(status, "USER_UNAUTHORIZED")
    sim.faults.add(fault, method="GET", path=IN_PROJECT, times=None)
    async with online() as atlas:
        ended = await remove(sim, atlas, Source.USERS)

    assert (ended.outcome, ended.attempts, deletes(sim)) == (Outcome.FAILED, 0, 0)
    assert (ended.http_status, ended.error_code) == (status, "USER_UNAUTHORIZED")
    assert ended.fatal_error is None


async def test_each_further_try_reads_again_and_stops_at_a_member(sim, online, invite):
    user = invite()
    sim.faults.add(faults.fail_with(500), method="DELETE", times=None)
    sim.faults.add(
        faults.effect(before=lambda _: sim.set_status(user, "ACTIVE")),
        method="GET",
        path=IN_PROJECT,
        nth=3,
    )
    async with online() as atlas:
        ended = await remove(sim, atlas, Source.USERS)

    assert (ended.outcome, ended.attempts, deletes(sim)) == (Outcome.ACCEPTED_BEFORE, 2, 2)
    assert sim.request_log.removed == []


@pytest.mark.parametrize("source", [Source.USERS, Source.ORG_USERS])
async def test_deletion_whose_answer_was_lost_is_not_sent_again(sim, online, invite, source):
    invite()
    sim.faults.add(faults.fail_with(500, late=True), method="DELETE")
    async with online() as atlas:
        ended = await remove(sim, atlas, source)

    assert (ended.outcome, ended.attempts, deletes(sim)) == (Outcome.ALREADY_GONE, 1, 1)


async def test_member_removed_by_a_deletion_whose_answer_was_lost_is_found_out(sim, online, invite):
    user = invite()
    accept = faults.effect(before=lambda _: sim.set_status(user, "ACTIVE"))
    sim.faults.add(accept, method="DELETE")
    sim.faults.add(faults.reset(late=True), method="DELETE")
    async with online() as atlas:
        ended = await remove(sim, atlas, Source.USERS)

    assert (ended.outcome, ended.seen_after) == (Outcome.ACCEPTED_DURING, "ACTIVE")


@pytest.mark.parametrize("source", [Source.USERS, Source.ORG_USERS])
async def test_deletion_that_keeps_failing_leaves_a_user_that_is_still_there_failed(
    sim, online, invite, source
):
    user = invite()
    sim.faults.add(faults.fail_with(500), method="DELETE", times=None)
    async with online(attempts=3) as atlas:
        ended = await remove(sim, atlas, source)

    assert (ended.outcome, ended.attempts, ended.seen_after) == (Outcome.FAILED, 3, "PENDING")
    assert sim.user(user).group_roles


async def test_refused_deletion_is_a_failure_and_needs_no_second_look(sim, online, invite):
    invite()
    sim.faults.add(faults.fail_with(403, "ACCESS_FORBIDDEN"), method="DELETE", times=None)
    async with online() as atlas:
        ended = await remove(sim, atlas, Source.USERS)

    assert (ended.outcome, ended.http_status, ended.seen_after) == (Outcome.FAILED, 403, None)


async def test_without_a_look_into_the_organization_the_project_is_asked(sim, online, invite):
    invite()
    account = sim.add_token()
    sim.limit_access(ORG, Access.NONE)
    async with online(account) as atlas:
        ended = await remove(sim, atlas, Source.USERS)

    assert (ended.outcome, ended.seen_after) == (Outcome.DELETED, None)


async def test_user_whom_the_project_alone_still_shows_was_not_deleted(sim, online, invite):
    invite()
    sim.faults.add(faults.fail_with(500), method="DELETE", times=None)
    sim.faults.add(faults.fail_with(403, "ACCESS_FORBIDDEN"), path=IN_ORG, times=None)
    async with online(attempts=2) as atlas:
        ended = await remove(sim, atlas, Source.USERS)

    assert (ended.outcome, ended.attempts, ended.seen_after) == (Outcome.FAILED, 2, "PENDING")


@pytest.mark.parametrize("source", [Source.USERS, Source.ORG_USERS])
async def test_failed_deletion_after_which_nobody_can_be_asked_is_not_called_done(
    sim, online, invite, source
):
    invite()
    sim.faults.add(faults.fail_with(500), method="DELETE")
    sim.faults.add(faults.fail_with(500), method="GET", path="*/users/*", nth=2, times=None)
    async with online(attempts=3) as atlas:
        ended = await remove(sim, atlas, source)

    assert (ended.outcome, ended.attempts, ended.seen_after) == (Outcome.FAILED, 1, None)
    assert deletes(sim) == 1  # what could not be read again is not sent again


async def test_called_off_with_its_answer_lost_and_nobody_to_ask_is_unknown(sim, online, invite):
    invite()
    trail = DeletionProgress()

    def call_off(_):
        trail.cancelled = True

    lost = replace(faults.reset(late=True), before=call_off)
    sim.faults.add(lost, method="DELETE")
    sim.faults.add(faults.fail_with(403, "ACCESS_FORBIDDEN"), path="*/users/*", nth=3, times=None)
    async with online() as atlas:
        ended = await remove(sim, atlas, Source.USERS, trail=trail)

    assert (ended.outcome, ended.attempts, deletes(sim)) == (Outcome.UNKNOWN, 1, 1)


async def test_deletion_that_atlas_confirms_and_does_not_show_is_no_deletion(sim, online, invite):
    user = invite()

    def back(_):
        sim.user(user).group_roles[next(iter(sim.groups))] = ("GROUP_OWNER",)

    sim.faults.add(faults.effect(after=back), method="DELETE")
    async with online() as atlas:
        ended = await remove(sim, atlas, Source.USERS)

    assert (ended.outcome, ended.http_status) == (Outcome.FAILED, 204)


async def test_called_off_between_read_and_deletion_nothing_is_sent(sim, online, invite):
    invite()
    trail = DeletionProgress()

    def call_off(_):
        trail.cancelled = True

    sim.faults.add(faults.effect(after=call_off), method="GET", path=IN_PROJECT)
    async with online() as atlas:
        ended = await remove(sim, atlas, Source.USERS, trail=trail)

    assert (ended.outcome, deletes(sim)) == (Outcome.SKIPPED, 0)


async def test_called_off_while_the_deletion_waits_under_the_ceiling_nothing_is_sent(
    sim, online, invite, fake_time
):
    invite()
    trail = DeletionProgress()

    async def wait(seconds):
        trail.cancelled = trail.seen_before is not None
        await fake_time.sleep(seconds)

    async with online() as atlas:
        atlas._transport.limiter._spacing = RequestSpacing(fake_time.monotonic, wait, 1.0)
        ended = await remove(sim, atlas, Source.USERS, trail=trail)

    assert (ended.outcome, ended.seen_before) == (Outcome.SKIPPED, "PENDING")
    assert (ended.attempts, deletes(sim)) == (0, 0)


async def test_cut_off_after_the_confirmation_it_is_deleted_all_the_same(sim, online, invite):
    invite()
    trail, looking = DeletionProgress(), asyncio.Event()
    sim.faults.add(
        replace(faults.hang(), before=lambda _: looking.set()), method="GET", path=IN_ORG
    )
    async with online() as atlas:
        task = asyncio.create_task(remove(sim, atlas, Source.USERS, trail=trail))
        for _ in range(1000):
            if trail.known_outcome is not None:
                break
            await asyncio.sleep(0.01)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    ended = trail.result_if_interrupted()
    assert (ended.outcome, ended.seen_before, ended.seen_after) == (
        Outcome.DELETED,
        "PENDING",
        None,
    )


def recorded(limiter):
    """Record the keys of each successful acquisition."""
    taken, try_acquire = [], limiter.try_acquire

    def record(*keys):
        wait_s = try_acquire(*keys)
        if wait_s == 0.0:
            taken.append(tuple(key.endpoint_set for key in keys))
        return wait_s

    limiter.try_acquire = record
    return taken


async def test_all_tokens_of_a_deletion_are_taken_before_its_first_request(sim, online, invite):
    invite()
    async with online() as atlas:
        (one,) = await atlas.reader.invitations(place_of(sim, Source.USERS), Source.USERS)
        deleter, taken = atlas.deleter(Source), recorded(atlas._transport.limiter)
        assert deleter.try_acquire(one) == 0.0
        assert (await deleter.delete(one, DeletionProgress())).outcome is Outcome.DELETED

    assert taken == [("cloud_users_group", "cloud_users_group", "cloud_users_org")]


async def test_tokens_that_were_not_needed_are_released(sim, online, invite):
    user = invite()
    async with online() as atlas:
        (one,) = await atlas.reader.invitations(place_of(sim, Source.USERS), Source.USERS)
        deleter, limiter = atlas.deleter(Source), atlas._transport.limiter
        sim.set_status(user, "ACTIVE")
        assert deleter.try_acquire(one) == 0.0
        in_project = BucketKey("cloud_users_group", one.project_id)
        in_org = BucketKey("cloud_users_org", ORG)
        buckets = [limiter._buckets.peek(key, 0.0) for key in (in_project, in_org)]
        assert [len(bucket.in_flight) for bucket in buckets] == [2, 1]
        assert (await deleter.delete(one, DeletionProgress())).outcome is Outcome.ACCEPTED_BEFORE

    assert [len(bucket.in_flight) for bucket in buckets] == [0, 0]


async def test_an_empty_bucket_of_the_organization_takes_no_token_of_the_project(
    sim, online, invite, fake_time
):
    invite()
    async with online() as atlas:
        (one,) = await atlas.reader.invitations(place_of(sim, Source.USERS), Source.USERS)
        deleter, limiter = atlas.deleter(Source), atlas._transport.limiter
        taken = recorded(limiter)
        limiter.on_429(BucketKey("cloud_users_org", ORG), 7.0)
        assert deleter.try_acquire(one) == 7.0
        assert taken == []
        fake_time.now_s += 7.0
        assert deleter.try_acquire(one) == 0.0


@pytest.mark.parametrize("source", [Source.USERS, Source.ORG_USERS])
@pytest.mark.parametrize("refused", ["GET", "DELETE"])
async def test_after_a_429_a_removal_goes_on_within_retry_after_and_one_second_a_request(
    sim, online, invite, fake_time, source, refused
):
    """Its retry reads the user once more, from the bucket that its own token is taken from."""
    invite()
    path = IN_PROJECT if source is Source.USERS else IN_ORG
    sim.faults.add(faults.fail_with(429, retry_after="7"), method=refused, path=path)
    async with online() as atlas:
        begin_s = fake_time.now_s
        ended = await remove(sim, atlas, source)

    assert ended.outcome is Outcome.DELETED
    assert 7.0 <= fake_time.now_s - begin_s <= 7.0 + 2 * MAX_RETRY_DELAY_S


@pytest.mark.parametrize("source", [Source.USERS, Source.ORG_USERS])
@pytest.mark.parametrize(
    "next_fault", [faults.reset(), faults.html(502), faults.html(503)], ids=["reset", "502", "503"]
)
async def test_after_a_429_whose_next_try_fails_without_headers_it_goes_on_after_its_backoff(
    sim, online, invite, fake_time, source, next_fault
):
    invite()
    sim.faults.add(faults.fail_with(429, retry_after="3"), method="DELETE")
    sim.faults.add(next_fault, method="DELETE", nth=2)
    async with online() as atlas:
        begin_s = fake_time.now_s
        ended = await remove(sim, atlas, source)

    assert ended.outcome in {Outcome.DELETED, Outcome.ALREADY_GONE}
    assert ended.attempts == 3
    assert fake_time.now_s - begin_s <= 3.0 + 2.0 + 4 * MAX_RETRY_DELAY_S
