"""Invitations of a restore: what is sent, when, and how it is recorded."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from restoring import ADDED, LATER, SENT, UNREAD, UNSURE, Clock, FakePost, FakeRestoreLog, deleted

from invite_sweeper.errors import AuditLogError, CredentialsRefused
from invite_sweeper.models import InviteResult, InviteStatus, ListUnreadable, Source
from invite_sweeper.restore.deletions import RestoreOutcome, RestoreResult
from invite_sweeper.restore.restorer import InviteRateLimit, Restorer
from invite_sweeper.restore.run import still_missing
from invite_sweeper.shutdown import StopRequest

ADA = "person-1@example.com"


def restoration(post, retry_log=None, clock=None, stop=None, **options):
    clock = clock or Clock()
    return Restorer(
        post,
        post,
        retry_log or FakeRestoreLog(),
        stop=stop or StopRequest(),
        rate_limit=InviteRateLimit(clock, clock.rest),
        **options,
    )


async def outcome_of(post, **options):
    one = deleted(1)
    it = restoration(post, **options)
    await it.run([one], {})
    return it.results[one]


async def test_intent_is_written_before_each_post_and_outcome_after_it():
    retry_log = FakeRestoreLog()
    await restoration(FakePost(), retry_log).run([deleted(1), deleted(2)], {})
    assert retry_log.lines == [
        ("intent", ADA),
        ("restored", ADA),
        ("intent", "person-2@example.com"),
        ("restored", "person-2@example.com"),
    ]


async def test_eleventh_invitation_waits_until_the_first_is_a_minute_old():
    clock = Clock()
    post = FakePost()
    it = restoration(post, clock=clock)
    await it.run([deleted(n) for n in range(1, 12)], {})
    assert len(post.send_count) == 11
    assert clock.on_backoff == [61.0]


@given(st.lists(st.floats(min_value=0, max_value=30), max_size=60))
async def test_at_most_ten_are_sent_in_any_minute(pauses):
    clock = Clock()
    pace = InviteRateLimit(clock, clock.rest)
    sent_s = []
    for pause_s in pauses:
        clock.now_s += pause_s
        assert await pace.acquire(lambda: False)
        sent_s.append(clock.now_s)
    assert all(later - first >= 60 for first, later in zip(sent_s, sent_s[10:], strict=False))


async def test_rate_limited_post_is_sent_again_after_a_wait():
    clock = Clock()
    post = FakePost(replies={ADA: [LATER, LATER]})
    end = await outcome_of(post, clock=clock)
    assert (end.outcome, end.attempts) == (RestoreOutcome.RESTORED, 3)
    assert clock.on_backoff == [10.0, 20.0]


async def test_conflict_is_already_there():
    post = FakePost(
        replies={ADA: [InviteResult(InviteStatus.ALREADY_PRESENT, 409, "USER_ALREADY_INVITED")]}
    )
    end = await outcome_of(post)
    assert (end.outcome, end.error_code) == (RestoreOutcome.ALREADY_THERE, "USER_ALREADY_INVITED")


async def test_rejected_invitation_fails_and_the_others_continue():
    post = FakePost(replies={ADA: [InviteResult(InviteStatus.REJECTED, 401, "USER_UNAUTHORIZED")]})
    it = restoration(post)
    await it.run([deleted(1), deleted(2)], {})
    assert it.outcomes == {RestoreOutcome.FAILED: 1, RestoreOutcome.RESTORED: 1}


async def test_post_that_arrived_without_a_response_is_detected_and_not_sent_again():
    post = FakePost(replies={ADA: [UNSURE]}, arrives={ADA})
    end = await outcome_of(post)
    assert end.outcome is RestoreOutcome.RESTORED
    assert post.send_count == [ADA]


async def test_user_added_as_an_active_member_is_active_and_the_others_continue():
    post = FakePost(replies={ADA: [ADDED]})
    it = restoration(post)
    await it.run([deleted(1), deleted(2)], {})
    assert it.outcomes == {RestoreOutcome.ACTIVE: 1, RestoreOutcome.RESTORED: 1}


@pytest.mark.parametrize("reply", [UNSURE, UNREAD])
@pytest.mark.parametrize(
    ("listed", "outcome"),
    [
        ("PENDING", RestoreOutcome.RESTORED),
        ("ACTIVE", RestoreOutcome.ACTIVE),
        ("INVITATION_EXPIRED", RestoreOutcome.UNKNOWN),
        ("", RestoreOutcome.UNKNOWN),
    ],
)
async def test_list_decides_if_the_response_does_not(reply, listed, outcome):
    post = FakePost(replies={ADA: [reply]}, arrives={ADA}, listed_status=listed)
    end = await outcome_of(post)
    assert (end.outcome, post.send_count) == (outcome, [ADA])
    assert bool(end.reason) is (outcome is RestoreOutcome.UNKNOWN)


async def test_confirmed_post_without_a_status_and_without_a_listed_user_is_not_sent_again():
    post = FakePost(replies={ADA: [UNREAD]})
    end = await outcome_of(post)
    assert (end.outcome, end.http_status, post.send_count) == (RestoreOutcome.UNKNOWN, 201, [ADA])
    assert "not whether the user is invited or a member" in end.reason


async def test_each_result_is_reported_when_it_is_known():
    seen = []
    post = FakePost(replies={ADA: [ADDED]})
    it = restoration(post, on_result=lambda each, end: seen.append((each, end.outcome)))
    await it.run([deleted(1)], {deleted(2): RestoreResult(RestoreOutcome.ALREADY_THERE)})
    assert seen == [
        (deleted(2), RestoreOutcome.ALREADY_THERE),
        (deleted(1), RestoreOutcome.ACTIVE),
    ]


async def test_post_that_did_not_arrive_is_sent_again():
    post = FakePost(replies={ADA: [UNSURE]})
    end = await outcome_of(post)
    assert (end.outcome, end.attempts, post.looks) == (RestoreOutcome.RESTORED, 2, 1)


async def test_third_lost_response_ends_the_attempts():
    post = FakePost(replies={ADA: [UNSURE] * 5})
    end = await outcome_of(post)
    assert (end.outcome, post.send_count) == (RestoreOutcome.FAILED, [ADA] * 3)


async def test_lost_response_with_an_unreadable_list_is_unknown_and_not_sent_again():
    post = FakePost(replies={ADA: [UNSURE]}, unreadable=ListUnreadable("p", "P", "No role.", 401))
    end = await outcome_of(post)
    assert (end.outcome, post.send_count) == (RestoreOutcome.UNKNOWN, [ADA])


async def test_lost_response_and_refused_credentials_is_unknown_and_ends_the_restore():
    post = FakePost(replies={ADA: [UNSURE]}, unreadable=CredentialsRefused("401."))
    it = restoration(post)
    with pytest.raises(CredentialsRefused):
        await it.run([deleted(1), deleted(2)], {})
    assert it.outcomes == {RestoreOutcome.UNKNOWN: 1, RestoreOutcome.SKIPPED: 1}


async def test_fatal_response_ends_the_restore_and_the_rest_is_skipped_without_an_intent():
    about_run = InviteResult(InviteStatus.REJECTED, 401, fatal_error=CredentialsRefused("401."))
    retry_log, post = FakeRestoreLog(), FakePost(replies={ADA: [about_run]})
    it = restoration(post, retry_log)
    with pytest.raises(CredentialsRefused):
        await it.run([deleted(1), deleted(2)], {})
    assert retry_log.lines[2:] == [("skipped", "person-2@example.com")]
    assert post.send_count == [ADA]


async def test_nothing_is_sent_once_the_log_has_failed():
    post = FakePost()
    it = restoration(post, FakeRestoreLog(fails_at=2))
    with pytest.raises(AuditLogError):
        await it.run([deleted(1), deleted(2), deleted(3)], {})
    assert post.send_count == [ADA]
    assert it.outcomes == {RestoreOutcome.RESTORED: 1, RestoreOutcome.SKIPPED: 2}


async def test_outcome_that_cannot_be_written_ends_the_restore_after_what_was_sent():
    class Torn(FakeRestoreLog):
        def write_outcome(self, each, end, duration_ms):
            raise AuditLogError("The disk is full.")

    post = FakePost()
    it = restoration(post, Torn())
    with pytest.raises(AuditLogError):
        await it.run([deleted(1), deleted(2)], {})
    assert post.send_count == [ADA]
    assert it.outcomes == {RestoreOutcome.RESTORED: 1, RestoreOutcome.SKIPPED: 1}


@pytest.mark.parametrize(
    ("tries", "outcome"), [(0, RestoreOutcome.SKIPPED), (1, RestoreOutcome.FAILED)]
)
async def test_post_stopped_before_it_was_sent_is_not_unknown(tries, outcome):
    stop = StopRequest()

    class Waiting(FakePost):
        async def invite(self, invitation, progress):
            progress.attempts += tries  # a failed connection is an attempt that sent nothing
            stop.request("SIGTERM came")
            await asyncio.Event().wait()

    it = restoration(Waiting(), stop=stop, grace_s=0.01)
    await it.run([deleted(1)], {})
    assert it.outcomes == {outcome: 1}


async def test_stop_while_waiting_for_the_rate_limit_skips_the_rest():
    stop, clock = StopRequest(), Clock()

    async def rest(seconds):
        stop.request("SIGTERM came")

    post = FakePost()
    it = Restorer(
        post,
        post,
        FakeRestoreLog(),
        stop=stop,
        rate_limit=InviteRateLimit(clock, rest, max_per_window=1),
    )
    await it.run([deleted(1), deleted(2)], {})
    assert it.outcomes == {RestoreOutcome.RESTORED: 1, RestoreOutcome.SKIPPED: 1}


async def test_post_in_flight_may_finish_within_the_grace_period():
    stop, post = StopRequest(), FakePost()
    post.gate.clear()
    it = restoration(post, stop=stop, grace_s=30)
    running = asyncio.ensure_future(it.run([deleted(1)], {}))
    await asyncio.sleep(0.01)
    stop.request("SIGTERM came")
    await asyncio.sleep(0.01)
    post.gate.set()
    await running
    assert it.outcomes == {RestoreOutcome.RESTORED: 1}


async def test_post_in_flight_after_the_grace_period_is_unknown():
    stop, post = StopRequest(), FakePost()
    post.gate.clear()
    it = restoration(post, stop=stop, grace_s=0.01)
    running = asyncio.ensure_future(it.run([deleted(1), deleted(2)], {}))
    await asyncio.sleep(0.01)
    stop.request("SIGTERM came")
    await running
    assert it.outcomes == {RestoreOutcome.UNKNOWN: 1, RestoreOutcome.SKIPPED: 1}


async def test_result_known_before_is_recorded_without_an_intent():
    retry_log, there = FakeRestoreLog(), deleted(1)
    it = restoration(FakePost(), retry_log)
    await it.run([], {there: RestoreResult(RestoreOutcome.ALREADY_THERE)})
    assert retry_log.lines == [("already_there", ADA)]


# --- missing users -------------------------------------------------------------------------


async def test_user_listed_in_another_case_is_skipped():
    gone, settled = await still_missing(
        FakePost(still_member={ADA}), [deleted(1, username=ADA.upper())]
    )
    assert gone == ()
    assert [end.outcome for end in settled.values()] == [RestoreOutcome.ALREADY_THERE]


async def test_each_list_is_read_once():
    post = FakePost()
    wanted = [deleted(1), deleted(2), deleted(3, source=Source.USERS)]
    gone, _ = await still_missing(post, wanted)
    assert (list(gone), post.looks) == (wanted, 2)


async def test_unreadable_list_fails_its_users_and_invites_no_one():
    post = FakePost(unreadable=ListUnreadable("p", "P", "No role.", 401, "USER_UNAUTHORIZED"))
    gone, settled = await still_missing(post, [deleted(1)])
    (end,) = settled.values()
    assert gone == ()
    assert (end.outcome, end.http_status, end.reason) == (RestoreOutcome.FAILED, 401, "No role.")


@pytest.mark.parametrize("lacks", [{"username": None}, {"roles": ()}])
async def test_deletion_without_address_or_roles_fails(lacks):
    gone, settled = await still_missing(FakePost(), [deleted(1, **lacks)])
    assert gone == ()
    assert [end.outcome for end in settled.values()] == [RestoreOutcome.FAILED]


@given(
    st.lists(
        st.lists(
            st.sampled_from([SENT, LATER, UNSURE, InviteResult(InviteStatus.REJECTED, 400)]),
            max_size=4,
        ),
        max_size=8,
    )
)
async def test_every_deletion_gets_one_outcome_and_no_listed_user_is_invited_twice(scripts):
    wanted = [deleted(n) for n in range(len(scripts))]
    names = [each.invitation.username for each in wanted]
    post = FakePost(replies=dict(zip(names, map(list, scripts), strict=True)), arrives=set(names))
    it = restoration(post)
    await it.run(wanted, {})
    assert set(it.results) == set(wanted)
    assert it.outcomes.total() == len(wanted)
