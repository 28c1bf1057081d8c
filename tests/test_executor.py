"""Each planned deletion ends once; intents come first; nothing is sent after trouble."""

import asyncio

import pytest
from builders import invitation, object_id, policy
from fakes import FakeAtlas, FakeDeletionLog, ListQueue
from hypothesis import example, given, settings
from hypothesis import strategies as st

from invite_sweeper.errors import (
    ApiVersionRetired,
    AtlasUnavailable,
    AuditLogError,
    CredentialsRefused,
)
from invite_sweeper.models import DeletionProgress, DeletionResult, Outcome, PlannedDeletion, Source
from invite_sweeper.shutdown import StopRequest
from invite_sweeper.sweep.executor import (
    LINES_PER_SYNC,
    ExecutorOptions,
    SourceTracker,
    SweepExecutor,
)
from invite_sweeper.sweep.guards import CircuitBreaker


def lanes(*sizes):
    number = 0
    found = []
    for project, size in enumerate(sizes, start=1):
        planned = []
        for _ in range(size):
            number += 1
            planned.append(PlannedDeletion(invitation(number, project_id=object_id(project)), "r"))
        found.append(ListQueue(planned))
    return found


def sweeper(
    atlas,
    journal,
    *,
    stop=None,
    workers=4,
    stand_ins=0,
    canary=0,
    grace_s=5.0,
    swept=None,
    **limits,
):
    return SweepExecutor(
        atlas,
        journal,
        stop=stop or StopRequest(),
        breaker=CircuitBreaker(policy(limits={"canary": canary, **limits}).limits),
        clock=asyncio.get_running_loop().time,
        options=ExecutorOptions(
            workers=workers, canary=canary, grace_s=grace_s, extra_workers=stand_ins
        ),
        on_deletion_done=swept or (lambda *_: None),
    )


async def test_every_planned_deletion_is_sent_once_and_recorded():
    atlas, journal = FakeAtlas(), FakeDeletionLog()
    sweep = sweeper(atlas, journal)
    await sweep.run(lanes(3, 2))
    assert sorted(atlas.deleted) == [object_id(n) for n in range(1, 6)]
    assert journal.outcomes() == dict.fromkeys(atlas.deleted, "deleted")
    assert sweep.recorder.outcomes == {Outcome.DELETED: 5}


async def test_intent_is_on_disk_before_the_delete_is_sent():
    atlas, journal = FakeAtlas(), FakeDeletionLog()
    seen = []
    send = atlas.delete

    async def delete(one, trail):
        seen.append(("intent", one.id) in journal.lines[: journal.on_disk])
        return await send(one, trail)

    atlas.delete = delete
    await sweeper(atlas, journal).run(lanes(10))
    assert seen == [True] * 10


async def test_not_more_deletions_are_open_than_workers():
    atlas = FakeAtlas()
    await sweeper(atlas, FakeDeletionLog(), workers=3).run(lanes(20))
    assert 1 < atlas.max_in_flight <= 3


class Resting(FakeAtlas):
    """Some wait between their tries until `gate` is set; `resting` counts them."""

    def __init__(self, *numbers):
        super().__init__()
        self.gate.clear()
        self.slow = {object_id(number) for number in numbers}
        self.resting = 0

    async def delete(self, one, trail):
        if one.id in self.slow:
            trail.attempts = 1
            trail.http_status = 500
            trail.on_backoff()
            self.resting += 1
            await self.gate.wait()
        self.deleted.append(one.id)
        return DeletionResult(Outcome.DELETED, 1, 204)


async def settled():
    for _ in range(50):
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("stand_ins", "done"), [(0, []), (1, [3]), (2, [3, 4])], ids=["none", "one", "two"]
)
async def test_one_that_waits_between_its_tries_is_stood_in_for(stand_ins, done):
    # 1 and 2 wait; with one to stand in 3 goes out, and then the next that waits holds it up.
    atlas = Resting(1, 2, *([4] if stand_ins == 1 else []))
    sweep = sweeper(atlas, FakeDeletionLog(), workers=2, stand_ins=stand_ins)
    running = asyncio.create_task(sweep.run(lanes(4)))
    await settled()
    assert sorted(int(each, 16) for each in atlas.deleted) == done
    atlas.gate.set()
    await asyncio.wait_for(running, 5)
    assert sweep.recorder.outcomes == {Outcome.DELETED: 4}


async def test_those_who_stand_in_are_cut_off_with_the_rest():
    atlas, stop = Resting(1, 2, 3), StopRequest()
    sweep = sweeper(atlas, FakeDeletionLog(), workers=1, stand_ins=2, stop=stop, grace_s=0.01)
    running = asyncio.create_task(sweep.run(lanes(5)))
    while atlas.resting < 3:
        await asyncio.sleep(0)
    stop.request("SIGTERM")
    await asyncio.wait_for(running, 5)
    assert atlas.deleted == []
    assert sweep.recorder.outcomes == {Outcome.FAILED: 3, Outcome.SKIPPED: 2}


async def test_failed_deletion_is_recorded_and_the_rest_is_done():
    atlas = FakeAtlas(
        results={object_id(2): DeletionResult(Outcome.FAILED, 5, 500, "UNEXPECTED_ERROR")}
    )
    journal = FakeDeletionLog()
    sweep = sweeper(atlas, journal)
    await sweep.run(lanes(3))
    assert journal.outcomes()[object_id(2)] == "failed"
    assert sweep.recorder.outcomes == {Outcome.DELETED: 2, Outcome.FAILED: 1}


async def test_empty_plan_sends_nothing():
    sweep = sweeper(FakeAtlas(), FakeDeletionLog(), canary=5)
    await sweep.run([])
    assert sweep.recorder.outcomes == {}


async def test_answer_about_the_run_ends_it_and_the_rest_is_skipped():
    refused = DeletionResult(Outcome.FAILED, 1, 403, None, CredentialsRefused("not from here"))
    atlas, journal = FakeAtlas(results={object_id(2): refused}), FakeDeletionLog()
    sweep = sweeper(atlas, journal, workers=1)
    with pytest.raises(CredentialsRefused):
        await sweep.run(lanes(4))
    assert atlas.deleted == [object_id(1)]
    assert sweep.recorder.outcomes == {Outcome.DELETED: 1, Outcome.FAILED: 1, Outcome.SKIPPED: 2}
    assert len(journal.outcomes()) == 4


def several(atlas, journal, **changes):
    sweep = sweeper(atlas, journal, **changes)
    sweep.recorder.sources = SourceTracker(multiple_sources=True)
    return sweep


def two_lists():
    gone, others = lanes(4, 4)
    others.left = [
        one._replace(invitation=one.invitation._replace(source=Source.USERS)) for one in others.left
    ]
    return [gone, others]


async def test_list_that_atlas_drops_ends_alone_where_the_sweep_has_others():
    dropped = DeletionResult(
        Outcome.FAILED, 1, 410, "VERSION_GONE", ApiVersionRetired("410 VERSION_GONE")
    )
    atlas = FakeAtlas(results={object_id(n): dropped for n in range(1, 5)})
    journal = FakeDeletionLog()
    sweep = several(atlas, journal, workers=1)
    await sweep.run(two_lists())
    assert atlas.deleted == [object_id(n) for n in range(5, 9)]
    assert sweep.recorder.outcomes == {Outcome.FAILED: 1, Outcome.SKIPPED: 3, Outcome.DELETED: 4}
    assert sweep.recorder.sources.retired == {Source.INVITES: "410 VERSION_GONE"}
    assert len(journal.outcomes()) == 8


async def test_nothing_is_announced_of_a_list_once_it_is_dropped():
    dropped = DeletionResult(
        Outcome.FAILED, 1, 410, "VERSION_GONE", ApiVersionRetired("410 VERSION_GONE")
    )
    atlas = FakeAtlas(results={object_id(n): dropped for n in range(1, 5)})
    journal = FakeDeletionLog()
    await several(atlas, journal, workers=1).run(two_lists())
    intents = [who for what, who in journal.lines if what == "intent"]
    # The second was announced while the first one was on its way.
    assert intents == [object_id(n) for n in (1, 2, 5, 6, 7, 8)]


async def test_dropped_list_is_no_reason_for_the_breaker():
    dropped = DeletionResult(Outcome.FAILED, 1, 410, None, ApiVersionRetired("gone"))
    atlas = FakeAtlas(results={object_id(n): dropped for n in range(1, 5)})
    sweep = several(atlas, FakeDeletionLog(), workers=8, canary=5)
    await sweep.run(two_lists())
    assert (sweep.recorder.breaker_reason, sweep.recorder.outcomes[Outcome.DELETED]) == (None, 4)


async def test_only_list_that_atlas_drops_ends_the_run():
    dropped = DeletionResult(Outcome.FAILED, 1, 410, None, ApiVersionRetired("gone"))
    atlas = FakeAtlas(results={object_id(1): dropped})
    with pytest.raises(ApiVersionRetired):
        await sweeper(atlas, FakeDeletionLog(), workers=1).run(lanes(3))


async def test_first_of_two_such_answers_is_the_one_told():
    first = DeletionResult(Outcome.FAILED, 1, 410, None, AtlasUnavailable("gone"))
    second = DeletionResult(Outcome.FAILED, 1, 403, None, CredentialsRefused("no"))
    atlas = FakeAtlas(results={object_id(1): first, object_id(2): second})
    with pytest.raises(AtlasUnavailable):
        await sweeper(atlas, FakeDeletionLog(), workers=2).run(lanes(2))


@pytest.mark.parametrize("fails_at", range(1, 8))
async def test_nothing_is_sent_once_the_audit_log_has_failed(fails_at):
    atlas, journal = FakeAtlas(), FakeDeletionLog(fails_at=fails_at)
    sweep = sweeper(atlas, journal, workers=1)
    with pytest.raises(AuditLogError):
        await sweep.run(lanes(8))
    assert len(atlas.deleted) == fails_at - 1
    assert sweep.recorder.outcomes.total() == 8
    assert sweep.recorder.outcomes[Outcome.DELETED] == len(atlas.deleted)


class FirstOneSynced(FakeDeletionLog):
    """Syncs once, and fails when that deletion is on its way."""

    def __init__(self, trails, failure):
        super().__init__()
        self.trails, self.failure = trails, failure

    async def sync(self):
        self.calls += 1
        if self.calls > 1:
            while not self.trails:
                await asyncio.sleep(0)
            raise self.failure


class Waiting(FakeAtlas):
    """Sends nothing before it is called off, and then never."""

    def __init__(self, trails):
        super().__init__()
        self.trails = trails

    async def delete(self, one, trail):
        self.trails.append(trail)
        while not trail.cancelled:
            await asyncio.sleep(0)
        return trail.result_if_interrupted()


@pytest.mark.parametrize("failure", [AuditLogError("The disk is full."), KeyError("a defect")])
async def test_deletion_waiting_to_send_is_called_off_when_the_log_fails(failure):
    trails = []
    journal = FirstOneSynced(trails, failure)
    sweep = sweeper(Waiting(trails), journal, workers=2)
    with pytest.raises(type(failure)):
        await asyncio.wait_for(sweep.run(lanes(3)), 5)
    assert sweep.recorder.outcomes == {Outcome.SKIPPED: 3}
    assert [trail.cancelled for trail in trails] == [True, True]


class Defective(FakeAtlas):
    async def delete(self, one, trail):
        if len(self.deleted) == 3:
            raise KeyError("a defect")
        return await super().delete(one, trail)


async def test_defect_in_one_deletion_ends_the_sweep_and_all_have_their_outcome():
    atlas, journal = Defective(), FakeDeletionLog()
    sweep = sweeper(atlas, journal, workers=1)
    with pytest.raises(KeyError):
        await sweep.run(lanes(30))
    assert len(atlas.deleted) == 3
    assert sweep.recorder.outcomes == {Outcome.DELETED: 3, Outcome.SKIPPED: 27}
    assert len(journal.outcomes()) == 30


async def test_what_has_ended_is_on_disk_soon_though_others_are_awaited_for_long(monkeypatch):
    monkeypatch.setattr("invite_sweeper.sweep.executor._SYNC_INTERVAL_S", 0.001)
    atlas, journal = Resting(2), FakeDeletionLog()
    running = asyncio.ensure_future(sweeper(atlas, journal, workers=2).run(lanes(2)))
    while ("deleted", object_id(1)) not in journal.lines[: journal.on_disk]:
        await asyncio.sleep(0.001)
    assert not running.done()
    atlas.gate.set()
    await running
    assert len(journal.lines) == 4


async def test_log_that_fails_while_all_are_awaited_ends_the_sweep(monkeypatch):
    monkeypatch.setattr("invite_sweeper.sweep.executor._SYNC_INTERVAL_S", 0.001)
    atlas, journal = Resting(1, 2), FakeDeletionLog(fails_at=3)
    sweep = sweeper(atlas, journal, workers=2)
    running = asyncio.ensure_future(sweep.run(lanes(5)))
    while sweep.recorder.error is None:
        await asyncio.sleep(0.001)
    atlas.gate.set()
    with pytest.raises(AuditLogError):
        await running
    assert atlas.deleted == [object_id(1), object_id(2)]


@pytest.mark.parametrize("log_first", [True, False])
async def test_failure_of_the_log_counts_before_whatever_else_ended_the_sweep(log_first):
    sweep = sweeper(FakeAtlas(), FakeDeletionLog())
    log, other = AuditLogError("The disk is full."), CredentialsRefused("no")
    for error in (log, other) if log_first else (other, log):
        sweep.recorder.abort(error)
    with pytest.raises(AuditLogError):
        await sweep.run(lanes(3))


async def test_last_outcome_that_cannot_be_written_is_a_failure_of_the_log():
    class Full(FakeDeletionLog):
        def write_outcome(self, planned, deletion, duration_ms):
            if len(self.outcomes()) == 2:
                raise AuditLogError("The disk is full.")
            super().write_outcome(planned, deletion, duration_ms)

    sweep = sweeper(FakeAtlas(), Full())
    with pytest.raises(AuditLogError, match="full"):
        await sweep.run(lanes(3))
    assert sweep.recorder.outcomes == {Outcome.DELETED: 3}


async def test_defect_in_what_is_told_of_an_outcome_ends_the_sweep():
    atlas, journal = FakeAtlas(), FakeDeletionLog()
    sweep = sweeper(atlas, journal, workers=1)
    sweep.recorder._on_deletion_done = lambda _planned, deletion: (
        deletion.outcome is Outcome.DELETED and {}["x"]
    )
    with pytest.raises(KeyError):
        await sweep.run(lanes(10))
    assert len(atlas.deleted) == 1
    assert len(journal.outcomes()) == 10


class Unreadable(ListQueue):
    """Cannot be read from its third deletion on."""

    def peek(self):
        if len(self.left) <= 2:
            raise AuditLogError("The plan in the audit log is cut short.")
        return super().peek()


async def test_lane_that_cannot_be_read_back_ends_the_sweep_and_hides_no_other_lane():
    atlas, journal = FakeAtlas(), FakeDeletionLog()
    (bad,), (good,) = lanes(4), lanes(4)
    sweep = sweeper(atlas, journal, workers=1)
    with pytest.raises(AuditLogError, match="cut short"):
        await sweep.run([Unreadable(bad.left), good])
    assert len(atlas.deleted) == 2
    assert sweep.recorder.outcomes == {Outcome.DELETED: 2, Outcome.SKIPPED: 4}


@pytest.mark.parametrize("ends_by", ["stop", "breaker"])
async def test_what_ends_the_sweep_between_intent_and_delete_keeps_the_delete_back(ends_by):
    atlas, stop = FakeAtlas(), StopRequest()

    class Ending(FakeDeletionLog):
        async def sync(self):
            await super().sync()
            if ends_by == "stop":
                stop.request("SIGTERM")
            else:
                sweep.recorder.breaker_reason = "too many failed"

    sweep = sweeper(atlas, Ending(), stop=stop, workers=1)
    await sweep.run(lanes(3))
    assert atlas.deleted == []
    assert sweep.recorder.outcomes == {Outcome.SKIPPED: 3}


async def test_stop_lets_what_is_in_flight_finish_and_skips_the_rest():
    atlas, journal, stop = FakeAtlas(), FakeDeletionLog(), StopRequest()
    atlas.gate.clear()
    sweep = sweeper(atlas, journal, stop=stop, workers=2)
    running = asyncio.create_task(sweep.run(lanes(6)))
    while atlas.in_flight < 2:
        await asyncio.sleep(0)
    stop.request("SIGTERM")
    for _ in range(5):
        await asyncio.sleep(0)
    atlas.gate.set()
    await running
    assert sweep.recorder.outcomes == {Outcome.DELETED: 2, Outcome.SKIPPED: 4}
    assert len(journal.outcomes()) == 6


async def test_what_does_not_finish_within_the_grace_is_unknown():
    atlas, journal, stop = FakeAtlas(), FakeDeletionLog(), StopRequest()
    atlas.gate.clear()
    sweep = sweeper(atlas, journal, stop=stop, workers=2, grace_s=0.01)
    running = asyncio.create_task(sweep.run(lanes(3)))
    while atlas.in_flight < 2:
        await asyncio.sleep(0)
    stop.request("SIGTERM")
    await running
    assert sweep.recorder.outcomes == {Outcome.UNKNOWN: 2, Outcome.SKIPPED: 1}
    assert journal.outcomes() == {
        object_id(1): "unknown",
        object_id(2): "unknown",
        object_id(3): "skipped",
    }


async def test_second_signal_ends_at_once_whatever_the_grace():
    atlas, stop = FakeAtlas(), StopRequest()
    atlas.gate.clear()
    sweep = sweeper(atlas, FakeDeletionLog(), stop=stop, workers=2, grace_s=3600)
    running = asyncio.create_task(sweep.run(lanes(2)))
    while atlas.in_flight < 2:
        await asyncio.sleep(0)
    stop.request("SIGTERM")
    stop.request_now("SIGTERM again")
    await asyncio.wait_for(running, 5)
    assert sweep.recorder.outcomes == {Outcome.UNKNOWN: 2}
    assert stop.reason == "SIGTERM"


async def test_stop_before_the_first_deletion_skips_everything():
    atlas, stop = FakeAtlas(), StopRequest()
    stop.request("deadline")
    sweep = sweeper(atlas, FakeDeletionLog(), stop=stop)
    await sweep.run(lanes(3))
    assert (atlas.deleted, sweep.recorder.outcomes) == ([], {Outcome.SKIPPED: 3})


async def test_many_that_are_skipped_reach_the_disk_while_they_are_written():
    journal, stop = FakeDeletionLog(), StopRequest()
    stop.request("deadline")
    sweep = sweeper(FakeAtlas(), journal, stop=stop)
    await sweep.run(lanes(2 * LINES_PER_SYNC + 1))
    assert journal.calls >= 2
    assert journal.on_disk >= 2 * LINES_PER_SYNC
    assert sweep.recorder.outcomes == {Outcome.SKIPPED: 2 * LINES_PER_SYNC + 1}


async def test_stop_wakes_a_sweep_whose_lanes_are_all_dry():
    atlas, stop = FakeAtlas(waits_s={object_id(1): [3600.0]}), StopRequest()
    sweep = sweeper(atlas, FakeDeletionLog(), stop=stop)
    running = asyncio.create_task(sweep.run(lanes(1)))
    await asyncio.sleep(0.01)
    stop.request("SIGTERM")
    await asyncio.wait_for(running, 5)
    assert sweep.recorder.outcomes == {Outcome.SKIPPED: 1}


async def test_dry_lane_is_taken_up_again_when_its_time_comes():
    atlas = FakeAtlas(waits_s={object_id(1): [0.01, 0.01]})
    sweep = sweeper(atlas, FakeDeletionLog())
    await sweep.run(lanes(2, 2))
    assert sweep.recorder.outcomes == {Outcome.DELETED: 4}
    assert set(atlas.deleted[:2]) == {object_id(3), object_id(4)}


async def test_canary_goes_out_alone():
    atlas = FakeAtlas()
    open_at = []
    sweep = sweeper(
        atlas,
        FakeDeletionLog(),
        workers=50,
        canary=5,
        swept=lambda *_: open_at.append(atlas.in_flight),
    )
    await sweep.run(lanes(30))
    assert max(open_at[:5]) <= 4
    assert max(open_at) > 5
    assert sweep.recorder.outcomes == {Outcome.DELETED: 30}


async def test_canary_that_fails_stops_the_sweep_before_anything_else_is_sent():
    failed = DeletionResult(Outcome.FAILED, 5, 500)
    atlas = FakeAtlas(results={object_id(n): failed for n in range(1, 100)})
    sweep = sweeper(atlas, FakeDeletionLog(), workers=50, canary=5)
    await sweep.run(lanes(30))
    assert sweep.recorder.outcomes == {Outcome.FAILED: 5, Outcome.SKIPPED: 25}
    assert "canary" in sweep.recorder.breaker_reason


async def test_breaker_stops_the_sweep_and_the_rest_is_skipped():
    failed = DeletionResult(Outcome.FAILED, 5, 500)
    atlas = FakeAtlas(results={object_id(n): failed for n in range(10, 100)})
    sweep = sweeper(atlas, FakeDeletionLog(), workers=1, breaker_window=10, max_failure_share=0.5)
    await sweep.run(lanes(99))
    assert sweep.recorder.outcomes == {Outcome.DELETED: 9, Outcome.FAILED: 6, Outcome.SKIPPED: 84}


class SlowToSend(FakeAtlas):
    """Lets the deletions of some wait before they are sent, and tries those of others again."""

    def __init__(self, waiting, trying):
        failed = DeletionResult(Outcome.FAILED, 1, 500)
        super().__init__(results={object_id(n): failed for n in (1, 2, 3)})
        self.waiting, self.trying = waiting, trying
        self.broken = asyncio.Event()

    async def delete(self, one, trail):
        if one.id in self.waiting:
            await self.broken.wait()
            if trail.cancelled:
                return trail.result_if_interrupted()
        if one.id in self.trying:
            trail.attempts += 1
            await self.broken.wait()
            assert not trail.cancelled
        return await super().delete(one, trail)


async def test_breaker_keeps_back_what_was_not_sent_and_lets_a_try_be_followed_by_another():
    atlas = SlowToSend({object_id(4), object_id(5)}, {object_id(6)})
    journal = FakeDeletionLog()
    sweep = sweeper(atlas, journal, workers=6, breaker_window=3, max_failure_share=0.5)
    sweep.recorder._on_deletion_done = lambda *_: (
        sweep.recorder.breaker_reason and atlas.broken.set()
    )
    await asyncio.wait_for(sweep.run(lanes(8)), 5)
    assert atlas.deleted == [object_id(6)]
    assert sweep.recorder.outcomes == {Outcome.FAILED: 3, Outcome.DELETED: 1, Outcome.SKIPPED: 4}
    assert {who for who, what in journal.outcomes().items() if what == "skipped"} == {
        object_id(n) for n in (4, 5, 7, 8)
    }


async def test_defect_in_a_worker_comes_out_as_itself():
    class Broken(FakeAtlas):
        async def delete(self, one, trail):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await sweeper(Broken(), FakeDeletionLog()).run(lanes(2))


@pytest.mark.parametrize(
    ("trail", "outcome"),
    [
        (DeletionProgress(), Outcome.SKIPPED),
        (DeletionProgress(attempts=1, response_pending=True), Outcome.UNKNOWN),
        (DeletionProgress(attempts=2, response_pending=True, http_status=500), Outcome.UNKNOWN),
        (DeletionProgress(attempts=1, http_status=429), Outcome.FAILED),
        (DeletionProgress(attempts=1), Outcome.UNKNOWN),
    ],
    ids=["not sent", "in flight", "in flight again", "between tries", "connection lost"],
)
def test_deletion_that_is_cut_off_claims_only_what_is_known(trail, outcome):
    ended = trail.result_if_interrupted()
    assert (ended.outcome, ended.attempts, ended.http_status) == (
        outcome,
        trail.attempts,
        trail.http_status,
    )


endings = st.sampled_from(
    [
        DeletionResult(Outcome.FAILED, 5, 500),
        DeletionResult(Outcome.ALREADY_GONE, 1, 404),
        DeletionResult(Outcome.FAILED, 1, 403, None, CredentialsRefused("no")),
    ]
)


@settings(max_examples=60, deadline=None)
@example(  # the second group meets a full disk while the first answer ends the run
    sizes=[2],
    fails={1: DeletionResult(Outcome.FAILED, 1, 403, None, CredentialsRefused("no"))},
    dry={},
    workers=1,
    canary=0,
    fails_at=2,
)
@given(
    sizes=st.lists(st.integers(0, 6), max_size=6),
    fails=st.dictionaries(st.integers(1, 36), endings, max_size=8),
    dry=st.dictionaries(st.integers(1, 6), st.lists(st.just(0.001), max_size=2), max_size=3),
    workers=st.integers(1, 9),
    canary=st.integers(0, 6),
    fails_at=st.one_of(st.none(), st.integers(1, 40)),
)
def test_outcomes_are_the_plan_each_once_for_any_concurrency_and_any_faults(
    sizes, fails, dry, workers, canary, fails_at
):
    async def go():
        atlas = FakeAtlas(
            results={object_id(n): ended for n, ended in fails.items()},
            waits_s={object_id(n): list(waits) for n, waits in dry.items()},
        )
        journal = FakeDeletionLog(fails_at=fails_at)
        sweep = sweeper(atlas, journal, workers=workers, canary=canary)
        try:
            await sweep.run(lanes(*sizes))
            whole = True
        except (CredentialsRefused, AuditLogError) as error:
            whole = isinstance(error, CredentialsRefused)
        assert sweep.recorder.outcomes.total() == sum(sizes)
        assert (
            len(atlas.deleted)
            == len(set(atlas.deleted))
            == sweep.recorder.outcomes[Outcome.DELETED]
        )
        outcomes = [line for line in journal.lines if line[0] != "intent"]
        assert len({who for _, who in outcomes}) == len(outcomes)
        if whole:
            assert len(outcomes) == sum(sizes)
        intents = {who for what, who in journal.lines if what == "intent"}
        assert set(atlas.deleted) <= intents

    asyncio.run(go())
