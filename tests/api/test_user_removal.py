"""Deletion of an invited user: invitations are removed, active members are kept."""

import asyncio
import json
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import faults
import pytest

from invite_sweeper.atlas.rate_limiter import RequestSpacing
from invite_sweeper.atlas.rate_limits import BucketKey
from invite_sweeper.atlas.token_bucket import MAX_RETRY_DELAY_S
from invite_sweeper.models import DeletionProgress, Outcome, Project, Source
from invite_sweeper.simulator import Access

ORG = "5efda682a3f2ed2e7dd6cde4"
IN_PROJECT, IN_ORG = "*/groups/*/users/*", "*/orgs/*/users/*"
STATUSES = ("PENDING", "INVITATION_EXPIRED", "INVITATION_REJECTED")


@pytest.fixture
def alpha(sim):
    sim.throttling.enforced = False
    return sim.add_project("Alpha")


@pytest.fixture
def invite(sim, alpha):
    """Add an invited user and return the id."""

    def make(status="PENDING", name="ada@example.com"):
        return sim.add_user(
            name, status=status, age=timedelta(days=20), group_roles={alpha: ["GROUP_OWNER"]}
        )

    return make


def list_owner(sim, source):
    if source.is_organization_level:
        return Project(ORG, "", ORG)
    project_id, group = next(iter(sim.groups.items()))
    return Project(project_id, group.name, ORG)


async def delete_first(sim, atlas, source=Source.USERS, then=lambda: None, progress=None):
    """List, call `then`, delete the first invitation, and return the result."""
    invitation = (await atlas.reader.invitations(list_owner(sim, source), source))[0]
    then()
    deleter = atlas.deleter(Source)
    assert deleter.try_acquire(invitation) == 0.0
    return await deleter.delete(invitation, progress or DeletionProgress())


@pytest.fixture
def remove(sim, online):
    """Connect and call `delete_first`."""

    async def connect_and_delete(*arguments, account=None, attempts=5, **more):
        async with online(account, attempts=attempts) as atlas:
            return await delete_first(sim, atlas, *arguments, **more)

    return connect_and_delete


def deletes(sim):
    return sim.request_log.received["DELETE"]


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize(("source", "after"), [(Source.USERS, None), (Source.ORG_USERS, "gone")])
async def test_invited_user_is_removed_and_both_statuses_are_recorded(
    sim, remove, invite, status, source, after
):
    user = invite(status)
    result = await remove(source)
    assert (result.outcome, result.attempts, result.http_status) == (Outcome.DELETED, 1, 204)
    assert (result.seen_before, result.seen_after) == (status, after or status)
    assert [each.user_id for each in sim.request_log.removed] == [user]


@pytest.mark.parametrize("status", [200, 202])
@pytest.mark.parametrize("source", [Source.USERS, Source.ORG_USERS])
@pytest.mark.parametrize(
    ("late", "outcome"), [(False, Outcome.FAILED), (True, Outcome.ALREADY_GONE)]
)
async def test_error_body_with_200_or_202_is_checked_and_never_counts_as_deleted(
    sim, remove, invite, source, status, late, outcome
):
    invite()
    error_body = replace(faults.fail_with(500, "UNEXPECTED_ERROR").instead, status=status)
    sim.faults.add(faults.respond_with(error_body, late=late), method="DELETE")
    result = await remove(source)
    assert (result.outcome, result.attempts, result.http_status) == (outcome, 1, status)
    assert result.error_code == "UNEXPECTED_ERROR"


@pytest.mark.parametrize("source", [Source.USERS, Source.ORG_USERS])
async def test_user_who_accepted_since_the_listing_is_kept(sim, remove, invite, source):
    user = invite()
    result = await remove(source, then=lambda: sim.set_status(user, "ACTIVE"))
    assert (result.outcome, result.attempts) == (Outcome.ACCEPTED_BEFORE, 0)
    assert (result.seen_before, result.seen_after) == ("ACTIVE", None)
    assert deletes(sim) == 0


@pytest.mark.parametrize("when", ["read", "delete"])
async def test_user_who_accepts_between_read_and_deletion_is_detected(sim, remove, invite, when):
    user = invite()
    accept = lambda _: sim.set_status(user, "ACTIVE")  # noqa: E731
    if when == "read":
        sim.faults.add(faults.effect(after=accept), method="GET", path=IN_PROJECT)
    else:
        sim.faults.add(faults.effect(before=accept), method="DELETE")
    result = await remove()
    assert result.outcome is Outcome.ACCEPTED_DURING
    assert (result.seen_before, result.seen_after) == ("PENDING", "ACTIVE")


async def test_user_removed_since_the_listing_is_already_gone_and_nothing_is_sent(
    sim, remove, invite
):
    user = invite()
    result = await remove(then=lambda: sim.organizations[ORG].users.pop(user))
    assert (result.outcome, result.attempts, deletes(sim)) == (Outcome.ALREADY_GONE, 0, 0)


def expire_later(user):
    user.expires_at += timedelta(days=1)


CHANGES = {
    "another date": lambda user: setattr(user, "created_at", user.created_at + timedelta(days=1)),
    "another expiry": expire_later,
    "no expiry": lambda user: setattr(user, "expires_at", None),
    "another inviter": lambda user: setattr(user, "inviter", "boss@example.com"),
    "pending again": lambda user: setattr(user, "status", type(user.status)("PENDING")),
}
IN_PROJECT_ONLY = {
    "a further role": lambda user, alpha: user.group_roles.update({alpha: ("GROUP_OWNER", "X")}),
    "another role": lambda user, alpha: user.group_roles.update({alpha: ("GROUP_READ_ONLY",)}),
}
IN_ORGANIZATION_ONLY = {
    "another role": lambda user, alpha: setattr(user, "org_roles", ("ORG_OWNER",)),
    "another project": lambda user, alpha: user.group_roles.update({"0" * 24: ("GROUP_OWNER",)}),
    "another role in a project": lambda user, alpha: user.group_roles.update({alpha: ("X",)}),
    "a team": lambda user, alpha: setattr(user, "team_ids", ("0" * 24,)),
}


def ids_of(changes):
    return [pytest.param(change, id=name) for name, change in changes.items()]


async def expect_changed(sim, remove, source, change):
    result = await remove(source, then=change)
    assert (result.outcome, result.attempts, deletes(sim)) == (Outcome.CHANGED, 0, 0)
    assert result.fatal_error is None


@pytest.mark.parametrize("source", [Source.USERS, Source.ORG_USERS])
@pytest.mark.parametrize("change", ids_of(CHANGES))
async def test_user_read_with_another_fact_than_listed_is_changed_and_nothing_is_sent(
    sim, remove, invite, source, change
):
    user = invite("INVITATION_EXPIRED")
    await expect_changed(sim, remove, source, lambda: change(sim.user(user)))


@pytest.mark.parametrize("change", ids_of(IN_PROJECT_ONLY))
async def test_user_read_with_another_role_in_the_project_is_changed(
    sim, remove, invite, alpha, change
):
    user = invite()
    await expect_changed(sim, remove, Source.USERS, lambda: change(sim.user(user), alpha))


@pytest.mark.parametrize("change", ids_of(IN_ORGANIZATION_ONLY))
async def test_user_read_with_another_role_project_or_team_in_the_organization_is_changed(
    sim, remove, invite, alpha, change
):
    user = invite()
    await expect_changed(sim, remove, Source.ORG_USERS, lambda: change(sim.user(user), alpha))


def more_precise(fields):
    fields["invitationCreatedAt"] = fields["invitationCreatedAt"].replace("Z", ".250Z")


@pytest.mark.parametrize(
    "alter",
    [
        pytest.param(lambda fields: fields.pop("invitationCreatedAt"), id="no date"),
        pytest.param(more_precise, id="a more precise date"),
        pytest.param(lambda fields: fields.pop("inviterUsername"), id="no inviter"),
        pytest.param(lambda fields: fields.pop("teamIds"), id="no teams"),
    ],
)
async def test_user_read_without_a_fact_that_the_list_had_or_with_a_finer_one_is_changed(
    sim, remove, invite, alter
):
    invite()

    def altered(body):
        fields = json.loads(body)
        alter(fields)
        return json.dumps(fields).encode()

    sim.faults.add(faults.altered(altered), method="GET", path=IN_ORG)
    await expect_changed(sim, remove, Source.ORG_USERS, lambda: None)


async def test_order_of_roles_and_teams_is_no_change(sim, remove, invite, alpha):
    user = invite()
    sim.user(user).group_roles[alpha] = ("A", "B")
    sim.user(user).team_ids = ("0" * 24, "1" * 24)

    def reorder():
        sim.user(user).group_roles[alpha] = ("B", "A")
        sim.user(user).team_ids = ("1" * 24, "0" * 24)

    result = await remove(Source.ORG_USERS, reorder)
    assert result.outcome is Outcome.DELETED


@pytest.mark.parametrize("status", [404, 400])
@pytest.mark.parametrize("source", [Source.USERS, Source.ORG_USERS])
async def test_user_who_is_gone_by_the_delete_alone_has_failed_if_a_read_still_shows_them(
    sim, remove, invite, source, status
):
    user = invite()
    fault = faults.fail_with(status, "INVALID_INVITATION_ID")
    sim.faults.add(fault, method="DELETE", times=None)
    result = await remove(source)
    assert (result.outcome, result.attempts, result.seen_after) == (Outcome.FAILED, 1, "PENDING")
    assert sim.user(user).group_roles


async def test_user_who_is_gone_by_the_delete_and_by_the_read_after_it_is_already_gone(
    sim, remove, invite
):
    user = invite()

    def leave(_):
        sim.organizations[ORG].users.pop(user)

    sim.faults.add(faults.effect(before=leave), method="DELETE")
    result = await remove()
    assert (result.outcome, result.http_status, result.seen_after) == (
        Outcome.ALREADY_GONE,
        404,
        "gone",
    )


async def test_removal_refused_twice_has_failed_although_the_organization_answers_404(
    sim, remove, invite
):
    invite()
    sim.faults.add(faults.role_missing(), method="DELETE", times=None)
    sim.faults.add(faults.fail_with(404, "USER_NOT_IN_ORG"), method="GET", path=IN_ORG, times=None)
    result = await remove()
    assert (result.outcome, result.attempts, result.http_status) == (Outcome.FAILED, 2, 401)


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
async def test_user_with_unexpected_data_is_not_removed(sim, remove, invite, body, seen):
    user = invite()
    response_body = body.replace(b"%b", user.encode())
    sim.faults.add(faults.malformed(response_body), method="GET", path=IN_PROJECT, times=None)
    result = await remove()
    assert (result.outcome, result.seen_before, result.attempts) == (Outcome.FAILED, seen, 0)
    assert deletes(sim) == 0


@pytest.mark.parametrize("status", [400, 401, 403, 500])
async def test_failed_read_sends_no_deletion_and_records_status_and_error_code(
    sim, remove, invite, status
):
    invite()
    fault = faults.fail_with(status, "USER_UNAUTHORIZED")
    sim.faults.add(fault, method="GET", path=IN_PROJECT, times=None)
    result = await remove()
    assert (result.outcome, result.attempts, deletes(sim)) == (Outcome.FAILED, 0, 0)
    assert (result.http_status, result.error_code) == (status, "USER_UNAUTHORIZED")
    assert result.fatal_error is None


async def test_each_retry_reads_the_user_again_and_stops_at_an_active_member(sim, remove, invite):
    user = invite()
    sim.faults.add(faults.fail_with(500), method="DELETE", times=None)
    sim.faults.add(
        faults.effect(before=lambda _: sim.set_status(user, "ACTIVE")),
        method="GET",
        path=IN_PROJECT,
        nth=3,
    )
    result = await remove()
    assert (result.outcome, result.attempts, deletes(sim)) == (Outcome.ACCEPTED_BEFORE, 2, 2)
    assert sim.request_log.removed == []


@pytest.mark.parametrize("source", [Source.USERS, Source.ORG_USERS])
async def test_deletion_whose_response_was_lost_is_not_sent_again(sim, remove, invite, source):
    invite()
    sim.faults.add(faults.fail_with(500, late=True), method="DELETE")
    result = await remove(source)
    assert (result.outcome, result.attempts, deletes(sim)) == (Outcome.ALREADY_GONE, 1, 1)


@pytest.mark.parametrize("source", [Source.USERS, Source.ORG_USERS])
async def test_user_invited_again_after_a_deletion_whose_response_was_lost_is_kept_and_already_gone(
    sim, remove, invite, alpha, source
):
    user = sim.user(invite())

    def invite_again(_):
        again = replace(user, created_at=sim.clock(), group_roles={alpha: ("GROUP_OWNER",)})
        sim.organizations[ORG].users[user.id] = again

    sim.faults.add(faults.effect(after=invite_again), method="DELETE")
    sim.faults.add(faults.fail_with(500, late=True), method="DELETE")
    result = await remove(source)
    assert (result.outcome, result.attempts, deletes(sim)) == (Outcome.ALREADY_GONE, 1, 1)
    assert sim.user(user.id).group_roles


async def test_member_removed_by_a_deletion_whose_response_was_lost_is_detected(
    sim, remove, invite
):
    user = invite()
    accept = faults.effect(before=lambda _: sim.set_status(user, "ACTIVE"))
    sim.faults.add(accept, method="DELETE")
    sim.faults.add(faults.reset(late=True), method="DELETE")
    result = await remove()
    assert (result.outcome, result.seen_after) == (Outcome.ACCEPTED_DURING, "ACTIVE")


@pytest.mark.parametrize("source", [Source.USERS, Source.ORG_USERS])
async def test_deletion_that_keeps_failing_is_failed_if_the_user_is_still_there(
    sim, remove, invite, source
):
    user = invite()
    sim.faults.add(faults.fail_with(500), method="DELETE", times=None)
    result = await remove(source, attempts=3)
    assert (result.outcome, result.attempts, result.seen_after) == (Outcome.FAILED, 3, "PENDING")
    assert sim.user(user).group_roles


async def test_refused_deletion_has_failed_and_the_user_is_not_read_again(sim, remove, invite):
    invite()
    sim.faults.add(faults.fail_with(403, "ACCESS_FORBIDDEN"), method="DELETE", times=None)
    result = await remove()
    assert (result.outcome, result.http_status, result.seen_after) == (Outcome.FAILED, 403, None)


async def test_project_is_read_after_the_deletion_if_the_organization_is_not_readable(
    sim, remove, invite
):
    invite()
    account = sim.add_token()
    sim.limit_access(ORG, Access.NONE)
    result = await remove(account=account)
    assert (result.outcome, result.seen_after) == (Outcome.DELETED, None)


async def test_deletion_has_failed_if_the_project_still_has_the_user(sim, remove, invite):
    invite()
    sim.faults.add(faults.fail_with(500), method="DELETE", times=None)
    sim.faults.add(faults.fail_with(403, "ACCESS_FORBIDDEN"), path=IN_ORG, times=None)
    result = await remove(attempts=2)
    assert (result.outcome, result.attempts, result.seen_after) == (Outcome.FAILED, 2, "PENDING")


@pytest.mark.parametrize("source", [Source.USERS, Source.ORG_USERS])
async def test_failed_deletion_has_failed_if_the_user_cannot_be_read_afterwards(
    sim, remove, invite, source
):
    invite()
    sim.faults.add(faults.fail_with(500), method="DELETE")
    sim.faults.add(faults.fail_with(500), method="GET", path="*/users/*", nth=2, times=None)
    result = await remove(source, attempts=3)
    assert (result.outcome, result.attempts, result.seen_after) == (Outcome.FAILED, 1, None)
    assert deletes(sim) == 1  # no retry without a read before it


async def test_cancelled_deletion_without_response_is_unknown_if_the_user_is_not_readable(
    sim, remove, invite
):
    invite()
    progress = DeletionProgress()

    def cancel(_):
        progress.cancelled = True

    lost_response = replace(faults.reset(late=True), before=cancel)
    sim.faults.add(lost_response, method="DELETE")
    sim.faults.add(faults.fail_with(403, "ACCESS_FORBIDDEN"), path="*/users/*", nth=3, times=None)
    result = await remove(progress=progress)
    assert (result.outcome, result.attempts, deletes(sim)) == (Outcome.UNKNOWN, 1, 1)


async def test_confirmed_deletion_has_failed_if_the_user_is_still_there(sim, remove, invite):
    user = invite()

    def add_role_again(_):
        sim.user(user).group_roles[next(iter(sim.groups))] = ("GROUP_OWNER",)

    sim.faults.add(faults.effect(after=add_role_again), method="DELETE")
    result = await remove()
    assert (result.outcome, result.http_status) == (Outcome.FAILED, 204)


async def test_cancelled_between_read_and_deletion_sends_nothing(sim, remove, invite):
    invite()
    progress = DeletionProgress()

    def cancel(_):
        progress.cancelled = True

    sim.faults.add(faults.effect(after=cancel), method="GET", path=IN_PROJECT)
    result = await remove(progress=progress)
    assert (result.outcome, deletes(sim)) == (Outcome.SKIPPED, 0)


async def test_cancelled_while_the_deletion_waits_for_its_spacing_sends_nothing(
    sim, online, invite, fake_time
):
    invite()
    progress = DeletionProgress()

    async def wait(seconds):
        progress.cancelled = bool(sim.requests)  # the list was read
        await fake_time.sleep(seconds)

    async with online() as atlas:
        atlas._transport.limiter._spacing = RequestSpacing(fake_time.monotonic, wait, 1.0)
        result = await delete_first(sim, atlas, progress=progress)

    assert (result.outcome, result.seen_before) == (Outcome.SKIPPED, None)
    assert (result.attempts, len(sim.requests), deletes(sim)) == (0, 1, 0)


async def test_task_cancelled_after_the_confirmation_is_deleted(sim, online, invite):
    invite()
    progress, reading = DeletionProgress(), asyncio.Event()
    sim.faults.add(
        replace(faults.hang(), before=lambda _: reading.set()), method="GET", path=IN_ORG
    )
    async with online() as atlas:
        task = asyncio.create_task(delete_first(sim, atlas, progress=progress))
        for _ in range(1000):
            if progress.known_outcome is not None:
                break
            await asyncio.sleep(0.01)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    result = progress.result_if_interrupted()
    assert (result.outcome, result.seen_before, result.seen_after) == (
        Outcome.DELETED,
        "PENDING",
        None,
    )


def recorded(limiter):
    """Record the keys of each successful acquisition."""
    acquired, try_acquire = [], limiter.try_acquire

    def record(*keys):
        wait_s = try_acquire(*keys)
        if wait_s == 0.0:
            acquired.append(tuple(key.endpoint_set for key in keys))
        return wait_s

    limiter.try_acquire = record
    return acquired


async def test_all_tokens_of_a_deletion_are_acquired_before_its_first_request(sim, online, invite):
    invite()
    async with online() as atlas:
        (invitation,) = await atlas.reader.invitations(list_owner(sim, Source.USERS), Source.USERS)
        deleter, acquired = atlas.deleter(Source), recorded(atlas._transport.limiter)
        assert deleter.try_acquire(invitation) == 0.0
        assert (await deleter.delete(invitation, DeletionProgress())).outcome is Outcome.DELETED

    assert acquired == [("cloud_users_group", "cloud_users_group", "cloud_users_org")]


async def test_unused_tokens_are_released(sim, online, invite):
    user = invite()
    async with online() as atlas:
        (invitation,) = await atlas.reader.invitations(list_owner(sim, Source.USERS), Source.USERS)
        deleter, limiter = atlas.deleter(Source), atlas._transport.limiter
        sim.set_status(user, "ACTIVE")
        assert deleter.try_acquire(invitation) == 0.0
        in_project = BucketKey("cloud_users_group", invitation.project_id)
        in_org = BucketKey("cloud_users_org", ORG)
        buckets = [limiter._buckets.peek(key, 0.0) for key in (in_project, in_org)]
        assert [len(bucket.in_flight) for bucket in buckets] == [2, 1]
        assert (
            await deleter.delete(invitation, DeletionProgress())
        ).outcome is Outcome.ACCEPTED_BEFORE

    assert [len(bucket.in_flight) for bucket in buckets] == [0, 0]


async def test_empty_bucket_of_the_organization_takes_no_token_of_the_project(
    sim, online, invite, fake_time
):
    invite()
    async with online() as atlas:
        (invitation,) = await atlas.reader.invitations(list_owner(sim, Source.USERS), Source.USERS)
        deleter, limiter = atlas.deleter(Source), atlas._transport.limiter
        acquired = recorded(limiter)
        limiter.on_429(BucketKey("cloud_users_org", ORG), 7.0)
        assert deleter.try_acquire(invitation) == 7.0
        assert acquired == []
        fake_time.now_s += 7.0
        assert deleter.try_acquire(invitation) == 0.0


@pytest.mark.parametrize("source", [Source.USERS, Source.ORG_USERS])
@pytest.mark.parametrize("refused", ["GET", "DELETE"])
async def test_removal_continues_after_a_429_within_retry_after_plus_1_s_per_request(
    sim, remove, invite, fake_time, source, refused
):
    """The retry reads the user again, with a token of the same bucket."""
    invite()
    path = IN_PROJECT if source is Source.USERS else IN_ORG
    sim.faults.add(faults.fail_with(429, retry_after="7"), method=refused, path=path)
    started_s = fake_time.now_s
    result = await remove(source)
    assert result.outcome is Outcome.DELETED
    assert 7.0 <= fake_time.now_s - started_s <= 7.0 + 2 * MAX_RETRY_DELAY_S


@pytest.mark.parametrize("source", [Source.USERS, Source.ORG_USERS])
@pytest.mark.parametrize(
    "next_fault", [faults.reset(), faults.html(502), faults.html(503)], ids=["reset", "502", "503"]
)
async def test_removal_continues_after_a_429_and_an_error_without_headers_within_its_backoff(
    sim, remove, invite, fake_time, source, next_fault
):
    invite()
    sim.faults.add(faults.fail_with(429, retry_after="3"), method="DELETE")
    sim.faults.add(next_fault, method="DELETE", nth=2)
    started_s = fake_time.now_s
    result = await remove(source)
    assert result.outcome in {Outcome.DELETED, Outcome.ALREADY_GONE}
    assert result.attempts == 3
    assert fake_time.now_s - started_s <= 3.0 + 2.0 + 4 * MAX_RETRY_DELAY_S
