"""Each planned deletion gets one outcome; intents are on disk first; errors stop sending."""

import asyncio

import pytest
from audit.runs import planned
from builders import object_id, policy
from fakes import FakeAtlas, FakeDeletionLog
from hypothesis import example, given, settings
from hypothesis import strategies as st

from invite_sweeper.errors import (
    ApiVersionRetired,
    AtlasUnavailable,
    AuditLogError,
    CredentialsRefused,
)
from invite_sweeper.models import DeletionProgress, DeletionResult, Outcome, Source
from invite_sweeper.shutdown import StopRequest
from invite_sweeper.sweep.executor import LINES_PER_SYNC, ExecutorOptions, SweepExecutor
from invite_sweeper.sweep.guards import CircuitBreaker


def plan(*sizes, source=Source.INVITES, first=1):
    """Return the planned deletions of projects with these numbers of them."""
    projects = [object_id(n) for n, size in enumerate(sizes, start=1) for _ in range(size)]
    return [
        planned(number, project_id=each, source=source)
        for number, each in enumerate(projects, start=first)
    ]


def make_executor(
    atlas,
    log,
    *,
    stop=None,
    workers=4,
    extra_workers=0,
    canary=0,
    grace_s=5.0,
    multiple_sources=False,
    on_deletion_done=None,
    **limits,
):
    return SweepExecutor(
        atlas,
        log,
        stop=stop or StopRequest(),
        breaker=CircuitBreaker(policy(limits={"canary": canary, **limits}).limits),
        clock=asyncio.get_running_loop().time,
        options=ExecutorOptions(
            workers=workers,
            canary=canary,
            grace_s=grace_s,
            extra_workers=extra_workers,
            multiple_sources=multiple_sources,
        ),
        on_deletion_done=on_deletion_done or (lambda *_: None),
    )


async def test_every_planned_deletion_is_sent_once_and_recorded():
    atlas, log = FakeAtlas(), FakeDeletionLog()
    executor = make_executor(atlas, log)
    await executor.run(plan(3, 2))
    assert sorted(atlas.deleted) == [object_id(n) for n in range(1, 6)]
    assert log.outcomes() == dict.fromkeys(atlas.deleted, "deleted")
    assert executor.recorder.outcomes == {Outcome.DELETED: 5}


async def test_intent_is_on_disk_before_the_delete_is_sent():
    atlas, log = FakeAtlas(), FakeDeletionLog()
    on_disk_before = []
    send = atlas.delete

    async def delete(one, progress):
        on_disk_before.append(("intent", one.id) in log.lines[: log.on_disk])
        return await send(one, progress)

    atlas.delete = delete
    await make_executor(atlas, log).run(plan(10))
    assert on_disk_before == [True] * 10


async def test_at_most_one_deletion_per_worker_is_in_flight():
    atlas = FakeAtlas()
    await make_executor(atlas, FakeDeletionLog(), workers=3).run(plan(20))
    assert 1 < atlas.max_in_flight <= 3


class BackingOff(FakeAtlas):
    """Some deletions back off until `gate` is set; `backing_off` counts them."""

    def __init__(self, *numbers):
        super().__init__()
        self.gate.clear()
        self.slow = {object_id(number) for number in numbers}
        self.backing_off = 0

    async def delete(self, one, progress):
        if one.id in self.slow:
            progress.attempts = 1
            progress.http_status = 500
            progress.on_backoff()
            self.backing_off += 1
            await self.gate.wait()
        self.deleted.append(one.id)
        return DeletionResult(Outcome.DELETED, 1, 204)


async def run_pending_tasks():
    for _ in range(50):
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("extra_workers", "deleted"), [(0, []), (1, [3]), (2, [3, 4])], ids=["none", "one", "two"]
)
async def test_extra_workers_send_while_deletions_back_off(extra_workers, deleted):
    # 1 and 2 back off. With one extra worker 3 is sent, and then 4 backs off as well.
    atlas = BackingOff(1, 2, *([4] if extra_workers == 1 else []))
    executor = make_executor(atlas, FakeDeletionLog(), workers=2, extra_workers=extra_workers)
    running = asyncio.create_task(executor.run(plan(4)))
    await run_pending_tasks()
    assert sorted(int(each, 16) for each in atlas.deleted) == deleted
    atlas.gate.set()
    await asyncio.wait_for(running, 60)
    assert executor.recorder.outcomes == {Outcome.DELETED: 4}


async def test_extra_workers_are_cancelled_after_the_grace():
    atlas, stop = BackingOff(1, 2, 3), StopRequest()
    executor = make_executor(
        atlas, FakeDeletionLog(), workers=1, extra_workers=2, stop=stop, grace_s=0.01
    )
    running = asyncio.create_task(executor.run(plan(5)))
    while atlas.backing_off < 3:
        await asyncio.sleep(0)
    stop.request("SIGTERM")
    await asyncio.wait_for(running, 60)
    assert atlas.deleted == []
    assert executor.recorder.outcomes == {Outcome.FAILED: 3, Outcome.SKIPPED: 2}


async def test_failed_deletion_is_recorded_and_the_others_are_sent():
    atlas = FakeAtlas(
        results={object_id(2): DeletionResult(Outcome.FAILED, 5, 500, "UNEXPECTED_ERROR")}
    )
    log = FakeDeletionLog()
    executor = make_executor(atlas, log)
    await executor.run(plan(3))
    assert log.outcomes()[object_id(2)] == "failed"
    assert executor.recorder.outcomes == {Outcome.DELETED: 2, Outcome.FAILED: 1}


async def test_empty_plan_sends_nothing():
    executor = make_executor(FakeAtlas(), FakeDeletionLog(), canary=5)
    await executor.run([])
    assert executor.recorder.outcomes == {}


async def test_response_that_concerns_the_run_ends_it_and_the_rest_is_skipped():
    refused = DeletionResult(Outcome.FAILED, 1, 403, None, CredentialsRefused("not from here"))
    atlas, log = FakeAtlas(results={object_id(2): refused}), FakeDeletionLog()
    executor = make_executor(atlas, log, workers=1)
    with pytest.raises(CredentialsRefused):
        await executor.run(plan(4))
    assert atlas.deleted == [object_id(1)]
    assert executor.recorder.outcomes == {Outcome.DELETED: 1, Outcome.FAILED: 1, Outcome.SKIPPED: 2}
    assert len(log.outcomes()) == 4


def two_lists():
    return [*plan(4), *plan(4, source=Source.USERS, first=5)]


async def test_retired_source_is_skipped_and_other_sources_continue():
    retired = DeletionResult(
        Outcome.FAILED, 1, 410, "VERSION_GONE", ApiVersionRetired("410 VERSION_GONE")
    )
    atlas = FakeAtlas(results={object_id(n): retired for n in range(1, 5)})
    log = FakeDeletionLog()
    executor = make_executor(atlas, log, multiple_sources=True, workers=1)
    await executor.run(two_lists())
    assert atlas.deleted == [object_id(n) for n in range(5, 9)]
    assert executor.recorder.outcomes == {Outcome.FAILED: 1, Outcome.SKIPPED: 3, Outcome.DELETED: 4}
    assert executor.recorder.retired == {Source.INVITES: "410 VERSION_GONE"}
    assert len(log.outcomes()) == 8


async def test_no_intent_is_written_for_a_retired_source():
    retired = DeletionResult(
        Outcome.FAILED, 1, 410, "VERSION_GONE", ApiVersionRetired("410 VERSION_GONE")
    )
    atlas = FakeAtlas(results={object_id(n): retired for n in range(1, 5)})
    log = FakeDeletionLog()
    await make_executor(atlas, log, multiple_sources=True, workers=1).run(two_lists())
    intents = [each for event, each in log.lines if event == "intent"]
    # The intent of 2 was written while 1 was in flight.
    assert intents == [object_id(n) for n in (1, 2, 5, 6, 7, 8)]


async def test_retired_source_does_not_open_the_breaker():
    retired = DeletionResult(Outcome.FAILED, 1, 410, None, ApiVersionRetired("gone"))
    atlas = FakeAtlas(results={object_id(n): retired for n in range(1, 5)})
    executor = make_executor(atlas, FakeDeletionLog(), multiple_sources=True, workers=8, canary=5)
    await executor.run(two_lists())
    assert (executor.recorder.breaker_reason, executor.recorder.outcomes[Outcome.DELETED]) == (
        None,
        4,
    )


async def test_run_ends_when_its_only_source_is_retired():
    retired = DeletionResult(Outcome.FAILED, 1, 410, None, ApiVersionRetired("gone"))
    atlas = FakeAtlas(results={object_id(1): retired})
    with pytest.raises(ApiVersionRetired):
        await make_executor(atlas, FakeDeletionLog(), workers=1).run(plan(3))


async def test_first_of_two_fatal_errors_is_raised():
    first = DeletionResult(Outcome.FAILED, 1, 410, None, AtlasUnavailable("gone"))
    second = DeletionResult(Outcome.FAILED, 1, 403, None, CredentialsRefused("no"))
    atlas = FakeAtlas(results={object_id(1): first, object_id(2): second})
    with pytest.raises(AtlasUnavailable):
        await make_executor(atlas, FakeDeletionLog(), workers=2).run(plan(2))


@pytest.mark.parametrize("fails_at", range(1, 8))
async def test_nothing_is_sent_once_the_audit_log_has_failed(fails_at):
    atlas, log = FakeAtlas(), FakeDeletionLog(fails_at=fails_at)
    executor = make_executor(atlas, log, workers=1)
    with pytest.raises(AuditLogError):
        await executor.run(plan(8))
    assert len(atlas.deleted) == fails_at - 1
    assert executor.recorder.outcomes.total() == 8
    assert executor.recorder.outcomes[Outcome.DELETED] == len(atlas.deleted)


class SyncsOnce(FakeDeletionLog):
    """Syncs once, and fails when a deletion is in flight."""

    def __init__(self, in_progress, failure):
        super().__init__()
        self.in_progress, self.failure = in_progress, failure

    async def sync(self):
        self.calls += 1
        if self.calls > 1:
            while not self.in_progress:
                await asyncio.sleep(0)
            raise self.failure


class WaitsForCancel(FakeAtlas):
    """Sends nothing, and returns once the deletion is cancelled."""

    def __init__(self, in_progress):
        super().__init__()
        self.in_progress = in_progress

    async def delete(self, one, progress):
        self.in_progress.append(progress)
        while not progress.cancelled:
            await asyncio.sleep(0)
        return progress.result_if_interrupted()


@pytest.mark.parametrize("failure", [AuditLogError("The disk is full."), KeyError("a defect")])
async def test_deletion_not_yet_sent_is_cancelled_when_the_log_fails(failure):
    in_progress = []
    log = SyncsOnce(in_progress, failure)
    executor = make_executor(WaitsForCancel(in_progress), log, workers=2)
    with pytest.raises(type(failure)):
        await asyncio.wait_for(executor.run(plan(3)), 60)
    assert executor.recorder.outcomes == {Outcome.SKIPPED: 3}
    assert [progress.cancelled for progress in in_progress] == [True, True]


class Defective(FakeAtlas):
    async def delete(self, one, progress):
        if len(self.deleted) == 3:
            raise KeyError("a defect")
        return await super().delete(one, progress)


async def test_defect_in_one_deletion_ends_the_sweep_and_all_get_an_outcome():
    atlas, log = Defective(), FakeDeletionLog()
    executor = make_executor(atlas, log, workers=1)
    with pytest.raises(KeyError):
        await executor.run(plan(30))
    assert len(atlas.deleted) == 3
    assert executor.recorder.outcomes == {Outcome.DELETED: 3, Outcome.SKIPPED: 27}
    assert len(log.outcomes()) == 30


async def test_outcomes_are_synced_while_other_deletions_back_off(monkeypatch):
    monkeypatch.setattr("invite_sweeper.sweep.executor._SYNC_INTERVAL_S", 0.001)
    atlas, log = BackingOff(2), FakeDeletionLog()
    running = asyncio.ensure_future(make_executor(atlas, log, workers=2).run(plan(2)))
    while ("deleted", object_id(1)) not in log.lines[: log.on_disk]:
        await asyncio.sleep(0.001)
    assert not running.done()
    atlas.gate.set()
    await running
    assert len(log.lines) == 4


async def test_log_that_fails_while_all_deletions_back_off_ends_the_sweep(monkeypatch):
    monkeypatch.setattr("invite_sweeper.sweep.executor._SYNC_INTERVAL_S", 0.001)
    atlas, log = BackingOff(1, 2), FakeDeletionLog(fails_at=3)
    executor = make_executor(atlas, log, workers=2)
    running = asyncio.ensure_future(executor.run(plan(5)))
    while executor.recorder.error is None:
        await asyncio.sleep(0.001)
    atlas.gate.set()
    with pytest.raises(AuditLogError):
        await running
    assert atlas.deleted == [object_id(1), object_id(2)]


@pytest.mark.parametrize("log_first", [True, False])
async def test_error_of_the_log_takes_precedence_over_other_errors(log_first):
    executor = make_executor(FakeAtlas(), FakeDeletionLog())
    log, other = AuditLogError("The disk is full."), CredentialsRefused("no")
    for error in (log, other) if log_first else (other, log):
        executor.recorder.abort(error)
    with pytest.raises(AuditLogError):
        await executor.run(plan(3))


async def test_last_outcome_that_cannot_be_written_is_an_error_of_the_log():
    class Full(FakeDeletionLog):
        def write(self, event):
            if len(self.outcomes()) == 2:
                raise AuditLogError("The disk is full.")
            super().write(event)

    executor = make_executor(FakeAtlas(), Full())
    with pytest.raises(AuditLogError, match="full"):
        await executor.run(plan(3))
    assert executor.recorder.outcomes == {Outcome.DELETED: 3}


async def test_defect_in_the_callback_ends_the_sweep():
    atlas, log = FakeAtlas(), FakeDeletionLog()
    executor = make_executor(
        atlas,
        log,
        workers=1,
        on_deletion_done=lambda _, deletion: deletion.outcome is Outcome.DELETED and {}["x"],
    )
    with pytest.raises(KeyError):
        await executor.run(plan(10))
    assert len(atlas.deleted) == 1
    assert len(log.outcomes()) == 10


@pytest.mark.parametrize("cause", ["stop", "breaker"])
async def test_delete_is_not_sent_if_the_sweep_stops_after_its_intent(cause):
    atlas, stop = FakeAtlas(), StopRequest()

    class Ending(FakeDeletionLog):
        async def sync(self):
            await super().sync()
            if cause == "stop":
                stop.request("SIGTERM")
            else:
                executor.recorder.breaker_reason = "too many failed"

    executor = make_executor(atlas, Ending(), stop=stop, workers=1)
    await executor.run(plan(3))
    assert atlas.deleted == []
    assert executor.recorder.outcomes == {Outcome.SKIPPED: 3}


async def test_stop_waits_for_deletions_in_flight_and_skips_the_rest():
    atlas, log, stop = FakeAtlas(), FakeDeletionLog(), StopRequest()
    atlas.gate.clear()
    executor = make_executor(atlas, log, stop=stop, workers=2)
    running = asyncio.create_task(executor.run(plan(6)))
    while atlas.in_flight < 2:
        await asyncio.sleep(0)
    stop.request("SIGTERM")
    for _ in range(5):
        await asyncio.sleep(0)
    atlas.gate.set()
    await running
    assert executor.recorder.outcomes == {Outcome.DELETED: 2, Outcome.SKIPPED: 4}
    assert len(log.outcomes()) == 6


async def test_deletion_that_exceeds_the_grace_is_unknown():
    atlas, log, stop = FakeAtlas(), FakeDeletionLog(), StopRequest()
    atlas.gate.clear()
    executor = make_executor(atlas, log, stop=stop, workers=2, grace_s=0.01)
    running = asyncio.create_task(executor.run(plan(3)))
    while atlas.in_flight < 2:
        await asyncio.sleep(0)
    stop.request("SIGTERM")
    await running
    assert executor.recorder.outcomes == {Outcome.UNKNOWN: 2, Outcome.SKIPPED: 1}
    assert log.outcomes() == {
        object_id(1): "unknown",
        object_id(2): "unknown",
        object_id(3): "skipped",
    }


async def test_second_signal_cancels_without_waiting_for_the_grace():
    atlas, stop = FakeAtlas(), StopRequest()
    atlas.gate.clear()
    executor = make_executor(atlas, FakeDeletionLog(), stop=stop, workers=2, grace_s=3600)
    running = asyncio.create_task(executor.run(plan(2)))
    while atlas.in_flight < 2:
        await asyncio.sleep(0)
    stop.request("SIGTERM")
    stop.request_now("SIGTERM again")
    await asyncio.wait_for(running, 60)
    assert executor.recorder.outcomes == {Outcome.UNKNOWN: 2}
    assert stop.reason == "SIGTERM"


async def test_stop_before_the_first_deletion_skips_everything():
    atlas, stop = FakeAtlas(), StopRequest()
    stop.request("deadline")
    executor = make_executor(atlas, FakeDeletionLog(), stop=stop)
    await executor.run(plan(3))
    assert (atlas.deleted, executor.recorder.outcomes) == ([], {Outcome.SKIPPED: 3})


async def test_skipped_deletions_are_synced_every_1000_lines():
    log, stop = FakeDeletionLog(), StopRequest()
    stop.request("deadline")
    executor = make_executor(FakeAtlas(), log, stop=stop)
    await executor.run(plan(2 * LINES_PER_SYNC + 1))
    assert log.calls >= 2
    assert log.on_disk >= 2 * LINES_PER_SYNC
    assert executor.recorder.outcomes == {Outcome.SKIPPED: 2 * LINES_PER_SYNC + 1}


async def test_stop_wakes_a_sweep_that_waits_for_the_rate_limit():
    atlas, stop = FakeAtlas(waits_s={object_id(1): [3600.0]}), StopRequest()
    executor = make_executor(atlas, FakeDeletionLog(), stop=stop)
    running = asyncio.create_task(executor.run(plan(1)))
    await asyncio.sleep(0.01)
    stop.request("SIGTERM")
    await asyncio.wait_for(running, 60)
    assert executor.recorder.outcomes == {Outcome.SKIPPED: 1}


async def test_rate_limited_queue_is_resumed_after_its_wait():
    atlas = FakeAtlas(waits_s={object_id(1): [0.01, 0.01]})
    executor = make_executor(atlas, FakeDeletionLog())
    await executor.run(plan(2, 2))
    assert executor.recorder.outcomes == {Outcome.DELETED: 4}
    assert set(atlas.deleted[:2]) == {object_id(3), object_id(4)}


async def test_canary_is_sent_before_other_deletions():
    atlas = FakeAtlas()
    in_flight = []
    executor = make_executor(
        atlas,
        FakeDeletionLog(),
        workers=50,
        canary=5,
        on_deletion_done=lambda *_: in_flight.append(atlas.in_flight),
    )
    await executor.run(plan(30))
    assert max(in_flight[:5]) <= 4
    assert max(in_flight) > 5
    assert executor.recorder.outcomes == {Outcome.DELETED: 30}


async def test_failed_canary_stops_the_sweep_before_other_deletions():
    failed = DeletionResult(Outcome.FAILED, 5, 500)
    atlas = FakeAtlas(results={object_id(n): failed for n in range(1, 100)})
    executor = make_executor(atlas, FakeDeletionLog(), workers=50, canary=5)
    await executor.run(plan(30))
    assert executor.recorder.outcomes == {Outcome.FAILED: 5, Outcome.SKIPPED: 25}
    assert "canary" in executor.recorder.breaker_reason


async def test_breaker_stops_the_sweep_and_the_rest_is_skipped():
    failed = DeletionResult(Outcome.FAILED, 5, 500)
    atlas = FakeAtlas(results={object_id(n): failed for n in range(10, 100)})
    executor = make_executor(
        atlas, FakeDeletionLog(), workers=1, breaker_window=10, max_failure_share=0.5
    )
    await executor.run(plan(99))
    assert executor.recorder.outcomes == {
        Outcome.DELETED: 9,
        Outcome.FAILED: 6,
        Outcome.SKIPPED: 84,
    }


class WaitsForBreaker(FakeAtlas):
    """Some deletions wait for the breaker before they are sent, others after their first try."""

    def __init__(self, waiting, retrying):
        failed = DeletionResult(Outcome.FAILED, 1, 500)
        super().__init__(results={object_id(n): failed for n in (1, 2, 3)})
        self.waiting, self.retrying = waiting, retrying
        self.opened = asyncio.Event()

    async def delete(self, one, progress):
        if one.id in self.waiting:
            await self.opened.wait()
            if progress.cancelled:
                return progress.result_if_interrupted()
        if one.id in self.retrying:
            progress.attempts += 1
            await self.opened.wait()
            assert not progress.cancelled
        return await super().delete(one, progress)


async def test_breaker_cancels_unsent_deletions_and_allows_retries_of_sent_ones():
    atlas = WaitsForBreaker({object_id(4), object_id(5)}, {object_id(6)})
    log = FakeDeletionLog()
    executor = make_executor(
        atlas,
        log,
        workers=6,
        breaker_window=3,
        max_failure_share=0.5,
        on_deletion_done=lambda *_: executor.recorder.breaker_reason and atlas.opened.set(),
    )
    await asyncio.wait_for(executor.run(plan(8)), 60)
    assert atlas.deleted == [object_id(6)]
    assert executor.recorder.outcomes == {Outcome.FAILED: 3, Outcome.DELETED: 1, Outcome.SKIPPED: 4}
    assert {each for each, outcome in log.outcomes().items() if outcome == "skipped"} == {
        object_id(n) for n in (4, 5, 7, 8)
    }


async def test_defect_in_a_worker_is_raised_unchanged():
    class Broken(FakeAtlas):
        async def delete(self, one, progress):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await make_executor(Broken(), FakeDeletionLog()).run(plan(2))


@pytest.mark.parametrize(
    ("progress", "outcome"),
    [
        (DeletionProgress(), Outcome.SKIPPED),
        (DeletionProgress(attempts=1, response_pending=True), Outcome.UNKNOWN),
        (DeletionProgress(attempts=2, response_pending=True, http_status=500), Outcome.UNKNOWN),
        (DeletionProgress(attempts=1, http_status=429), Outcome.FAILED),
        (DeletionProgress(attempts=1), Outcome.UNKNOWN),
    ],
    ids=["not sent", "in flight", "retry in flight", "backing off", "connection lost"],
)
def test_interrupted_deletion_claims_only_what_is_known(progress, outcome):
    result = progress.result_if_interrupted()
    assert (result.outcome, result.attempts, result.http_status) == (
        outcome,
        progress.attempts,
        progress.http_status,
    )


deletion_results = st.sampled_from(
    [
        DeletionResult(Outcome.FAILED, 5, 500),
        DeletionResult(Outcome.ALREADY_GONE, 1, 404),
        DeletionResult(Outcome.FAILED, 1, 403, None, CredentialsRefused("no")),
    ]
)


@settings(max_examples=60, deadline=None)
@example(  # the disk is full for the second group while the first response ends the run
    sizes=[2],
    results={1: DeletionResult(Outcome.FAILED, 1, 403, None, CredentialsRefused("no"))},
    waits_s={},
    workers=1,
    canary=0,
    fails_at=2,
)
@given(
    sizes=st.lists(st.integers(0, 6), max_size=6),
    results=st.dictionaries(st.integers(1, 36), deletion_results, max_size=8),
    waits_s=st.dictionaries(st.integers(1, 6), st.lists(st.just(0.001), max_size=2), max_size=3),
    workers=st.integers(1, 9),
    canary=st.integers(0, 6),
    fails_at=st.one_of(st.none(), st.integers(1, 40)),
)
def test_each_planned_deletion_has_one_outcome_for_any_concurrency_and_errors(
    sizes, results, waits_s, workers, canary, fails_at
):
    async def go():
        atlas = FakeAtlas(
            results={object_id(n): result for n, result in results.items()},
            waits_s={object_id(n): list(waits) for n, waits in waits_s.items()},
        )
        log = FakeDeletionLog(fails_at=fails_at)
        executor = make_executor(atlas, log, workers=workers, canary=canary)
        try:
            await executor.run(plan(*sizes))
            complete = True
        except (CredentialsRefused, AuditLogError) as error:
            complete = isinstance(error, CredentialsRefused)
        assert executor.recorder.outcomes.total() == sum(sizes)
        assert (
            len(atlas.deleted)
            == len(set(atlas.deleted))
            == executor.recorder.outcomes[Outcome.DELETED]
        )
        outcomes = [line for line in log.lines if line[0] != "intent"]
        assert len({each for _, each in outcomes}) == len(outcomes)
        if complete:
            assert len(outcomes) == sum(sizes)
        intents = {each for event, each in log.lines if event == "intent"}
        assert set(atlas.deleted) <= intents

    asyncio.run(go())
