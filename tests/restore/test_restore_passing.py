"""One pass of a restore: what is sent, when, and what is said of it."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from restoring import LATER, SENT, UNSURE, Clock, FakePost, FakeRestoreLog, deleted

from invite_sweeper.errors import AuditLogError, CredentialsRefused
from invite_sweeper.models import InviteResult, InviteStatus, ListUnreadable, Source
from invite_sweeper.restore import (
    InviteRateLimit,
    RestoreOutcome,
    Restorer,
    RestoreResult,
    still_missing,
)
from invite_sweeper.shutdown import StopRequest

ADA = "person-1@example.com"


def restoration(post, diary=None, clock=None, stop=None, **options):
    clock = clock or Clock()
    return Restorer(
        post,
        post,
        diary or FakeRestoreLog(),
        stop=stop or StopRequest(),
        rate_limit=InviteRateLimit(clock, clock.rest),
        **options,
    )


async def outcome_of(post, **options):
    one = deleted(1)
    it = restoration(post, **options)
    await it.run([one], {})
    return it.results[one]


async def test_intent_stands_before_each_post_and_outcome_after_it():
    diary = FakeRestoreLog()
    await restoration(FakePost(), diary).run([deleted(1), deleted(2)], {})
    assert diary.lines == [
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
async def test_no_minute_ever_holds_more_than_ten(pauses):
    clock = Clock()
    pace = InviteRateLimit(clock, clock.rest)
    turns = []
    for pause_s in pauses:
        clock.now_s += pause_s
        assert await pace.acquire(lambda: False)
        turns.append(clock.now_s)
    assert all(later - first >= 60 for first, later in zip(turns, turns[10:], strict=False))


async def test_refusal_for_the_limit_is_waited_for_and_sent_again():
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


async def test_refused_one_fails_and_the_others_go_on():
    post = FakePost(replies={ADA: [InviteResult(InviteStatus.REJECTED, 401, "USER_UNAUTHORIZED")]})
    it = restoration(post)
    await it.run([deleted(1), deleted(2)], {})
    assert it.outcomes == {RestoreOutcome.FAILED: 1, RestoreOutcome.RESTORED: 1}


async def test_lost_answer_of_a_post_that_arrived_is_found_out_and_not_sent_again():
    post = FakePost(replies={ADA: [UNSURE]}, arrives={ADA})
    end = await outcome_of(post)
    assert end.outcome is RestoreOutcome.RESTORED
    assert post.send_count == [ADA]


async def test_lost_answer_of_a_post_that_did_not_arrive_is_sent_again():
    post = FakePost(replies={ADA: [UNSURE]})
    end = await outcome_of(post)
    assert (end.outcome, end.attempts, post.looks) == (RestoreOutcome.RESTORED, 2, 1)


async def test_third_lost_answer_gives_up():
    post = FakePost(replies={ADA: [UNSURE] * 5})
    end = await outcome_of(post)
    assert (end.outcome, post.send_count) == (RestoreOutcome.FAILED, [ADA] * 3)


async def test_lost_answer_where_nobody_can_be_asked_is_unknown_and_not_sent_again():
    post = FakePost(replies={ADA: [UNSURE]}, unreadable=ListUnreadable("p", "P", "No role.", 401))
    end = await outcome_of(post)
    assert (end.outcome, post.send_count) == (RestoreOutcome.UNKNOWN, [ADA])


async def test_lost_answer_and_credentials_refused_is_unknown_and_ends_the_restore():
    post = FakePost(replies={ADA: [UNSURE]}, unreadable=CredentialsRefused("401."))
    it = restoration(post)
    with pytest.raises(CredentialsRefused):
        await it.run([deleted(1), deleted(2)], {})
    assert it.outcomes == {RestoreOutcome.UNKNOWN: 1, RestoreOutcome.SKIPPED: 1}


async def test_answer_about_the_run_ends_it_and_the_rest_is_skipped_without_an_intent():
    about_run = InviteResult(InviteStatus.REJECTED, 401, fatal_error=CredentialsRefused("401."))
    diary, post = FakeRestoreLog(), FakePost(replies={ADA: [about_run]})
    it = restoration(post, diary)
    with pytest.raises(CredentialsRefused):
        await it.run([deleted(1), deleted(2)], {})
    assert diary.lines[2:] == [("skipped", "person-2@example.com")]
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
    ("tries", "told"), [(0, RestoreOutcome.SKIPPED), (1, RestoreOutcome.FAILED)]
)
async def test_post_that_a_stop_finds_before_it_was_sent_is_not_called_unknown(tries, told):
    stop = StopRequest()

    class Waiting(FakePost):
        async def invite(self, invitation, trail):
            trail.attempts += tries  # a connection that was not made is a try, and nothing sent
            stop.request("SIGTERM came")
            await asyncio.Event().wait()

    it = restoration(Waiting(), stop=stop, grace_s=0.01)
    await it.run([deleted(1)], {})
    assert it.outcomes == {told: 1}


async def test_stop_while_waiting_for_a_turn_skips_the_rest():
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


async def test_post_in_flight_has_its_grace_after_a_stop():
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


async def test_post_whose_grace_is_over_is_unknown():
    stop, post = StopRequest(), FakePost()
    post.gate.clear()
    it = restoration(post, stop=stop, grace_s=0.01)
    running = asyncio.ensure_future(it.run([deleted(1), deleted(2)], {}))
    await asyncio.sleep(0.01)
    stop.request("SIGTERM came")
    await running
    assert it.outcomes == {RestoreOutcome.UNKNOWN: 1, RestoreOutcome.SKIPPED: 1}


async def test_what_was_settled_before_is_told_without_an_intent():
    diary, there = FakeRestoreLog(), deleted(1)
    it = restoration(FakePost(), diary)
    await it.run([], {there: RestoreResult(RestoreOutcome.ALREADY_THERE)})
    assert diary.lines == [("already_there", ADA)]


# --- who is gone still -----------------------------------------------------------------------


async def test_who_is_there_in_another_spelling_is_left_alone():
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


async def test_list_that_cannot_be_read_fails_its_people_and_invites_nobody():
    post = FakePost(unreadable=ListUnreadable("p", "P", "No role.", 401, "USER_UNAUTHORIZED"))
    gone, settled = await still_missing(post, [deleted(1)])
    (end,) = settled.values()
    assert gone == ()
    assert (end.outcome, end.http_status, end.reason) == (RestoreOutcome.FAILED, 401, "No role.")


@pytest.mark.parametrize("lacks", [{"username": None}, {"roles": ()}])
async def test_what_nobody_can_be_invited_with_fails(lacks):
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
async def test_every_one_gets_just_one_outcome_and_nobody_who_is_there_is_sent_twice(scripts):
    wanted = [deleted(n) for n in range(len(scripts))]
    names = [each.invitation.username for each in wanted]
    post = FakePost(replies=dict(zip(names, map(list, scripts), strict=True)), arrives=set(names))
    it = restoration(post)
    await it.run(wanted, {})
    assert set(it.results) == set(wanted)
    assert it.outcomes.total() == len(wanted)
