"""Each planned deletion gets one outcome; intents are on disk first; errors stop the sweep."""

import asyncio
from contextlib import asynccontextmanager, nullcontext, suppress
from datetime import timedelta
from fractions import Fraction
from functools import partial

import pytest
from audit.runs import intent, outcome, planned
from builders import ORG, object_id, policy
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sweep.fakes import FakeAtlas, FakeDeletionLog
from sweep.night import QuietView, command_of

from invite_sweeper.audit.events import OutcomeLine
from invite_sweeper.endings import Reason, WarningCode
from invite_sweeper.errors import (
    ApiVersionRetired,
    AtlasUnavailable,
    AuditLogError,
    CredentialsRefused,
)
from invite_sweeper.models import Source
from invite_sweeper.outcomes import Outcome, Sending
from invite_sweeper.shutdown import StopRequest
from invite_sweeper.sweep.executor import CircuitBreaker, Executor
from invite_sweeper.sweep.plan import AtlasOrganization, Decided, OrganizationPlan
from invite_sweeper.sweep.result import Result

FAILED = Sending(Outcome.FAILED, 5, 500)
REFUSED = Sending(Outcome.FAILED, 1, 403, None, CredentialsRefused("no"))
GONE = Sending(Outcome.FAILED, 1, 410, None, AtlasUnavailable("gone"))
NOTHING = {}
HALF_OF_3 = {"breaker_window": 3, "max_failure_share": 0.5}
RETIRED = Sending(Outcome.FAILED, 1, 410, "GONE", ApiVersionRetired("410 GONE"))


def plan(*sizes, source=Source.INVITES, first=1):
    projects = [object_id(n) for n, size in enumerate(sizes, start=1) for _ in range(size)]
    return [
        planned(number, project_id=each, source=source)
        for number, each in enumerate(projects, start=first)
    ]


def ids(*numbers):
    return [object_id(number) for number in numbers]


def results(result, *numbers):
    return dict.fromkeys(ids(*numbers), result)


TWO_FATAL = results(GONE, 1) | results(REFUSED, 2)


class Run:
    """An executor, with its Atlas, its log and its result.

    Each DELETE fails whose intent is not on disk.

    Args:
        answer: As that of FakeAtlas; it also gets the run.
        keys: Limits of the policy.
    """

    def __init__(
        self,
        found=NOTHING,
        *,
        waits_s=NOTHING,
        answer=None,
        sources=("invites",),
        workers=4,
        grace_s=3600,
        clock=None,
        on_done=None,
        fails_at=None,
        **keys,
    ):
        rules = policy(sources=[*sources], limits={"canary": 0, **keys})
        execution = {"concurrency": workers, "grace": timedelta(seconds=grace_s)}
        execution = rules.execution.model_copy(update=execution)
        rules = rules.model_copy(update={"execution": execution})
        view = QuietView()
        view.done = on_done or view.done
        self.log = FakeDeletionLog(fails_at=fails_at)
        self.atlas = FakeAtlas(results=dict(found), waits_s=dict(waits_s), on_delete=self.check)
        if answer is not None:
            self.atlas.answer = partial(answer, self)
        self.organization = AtlasOrganization(ORG, self.atlas)
        command = command_of(rules, clock=clock or asyncio.get_running_loop().time)
        self.result = Result(command, [self.organization], view)
        self.stop = StopRequest()
        self.breaker = CircuitBreaker(rules.limits)
        self.executor = None

    def check(self, one):
        assert ("intent", one.invitation_id) in self.log.lines[: self.log.on_disk]

    async def run(self, lines):
        plan = OrganizationPlan(Decided(self.organization), tuple(lines))
        self.executor = Executor(self.result, plan, self.log, self.stop, self.breaker)
        await asyncio.wait_for(self.executor.run(), 60)

    @asynccontextmanager
    async def running(self, lines):
        """Run; after the block, which may change what Atlas or the log do, wait for the end."""
        task = asyncio.create_task(self.run(lines))
        yield
        await task

    async def run_until_the_log_fails(self, lines, when):
        """Run; the log fails once that holds."""
        task = asyncio.create_task(self.run(lines))
        await until(when)
        self.log.fails_at = self.log.calls + 1
        await until(lambda: self.executor.error is not None)
        self.atlas.gate.set()
        await task

    @property
    def outcomes(self):
        return self.executor.swept().outcomes

    @property
    def intents(self):
        return [each for event, each in self.log.lines if event == "intent"]


async def until(condition):
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0)


async def test_every_planned_deletion_is_sent_once_after_its_intent_and_recorded():
    """Intents are written in groups: a sync for each would cost more than its deletion."""
    run = Run(workers=20)
    await run.run(plan(150, 50))
    assert sorted(run.atlas.deleted) == ids(*range(1, 201))
    assert run.log.outcomes() == dict.fromkeys(run.atlas.deleted, "deleted")
    assert run.outcomes == {Outcome.DELETED: 200}
    assert 1 < run.atlas.max_in_flight <= 20
    assert run.log.calls <= 200 / 10 + 2


async def test_outcome_is_recorded_with_what_was_sent_and_seen_and_how_long_it_took():
    result = Sending(Outcome.FAILED, 3, 500, "UNEXPECTED_ERROR", None, "PENDING")
    (line,) = plan(1)
    run = Run(results(result, 1), clock=iter([0.0, 7.0, 8.2346]).__next__)
    await run.run([line])
    facts = {"attempts": 3, "http_status": 500, "error_code": "UNEXPECTED_ERROR"}
    facts |= {"duration_ms": 1234.6, "seen_before": "PENDING"}
    facts |= {"reason": "500 UNEXPECTED_ERROR"}
    assert run.log.events == [intent(line), outcome(line, "failed", **facts)]


@pytest.mark.parametrize(
    ("found", "options", "outcomes", "error"),
    [
        (results(REFUSED, 2), {}, {"deleted": 1, "failed": 1, "skipped": 2}, CredentialsRefused),
        (TWO_FATAL, {"workers": 2}, {"failed": 2, "skipped": 2}, AtlasUnavailable),
        (results(RETIRED, 1), {}, {"failed": 1, "skipped": 3}, ApiVersionRetired),
        (results(FAILED, 1, 2), {"canary": 3}, {"failed": 2, "deleted": 1, "skipped": 1}, None),
        (results(FAILED, 1, 2), {"canary": 4}, {"failed": 2, "deleted": 2}, None),
        (results(FAILED, 2, 3), HALF_OF_3, {"deleted": 1, "failed": 2, "skipped": 1}, None),
    ],
    ids=["refused", "two", "only list retired", "canary", "half the canary", "breaker"],
)
async def test_results_decide_whether_the_sweep_goes_on(found, options, outcomes, error):
    run = Run(found, **{"workers": 1, **options})
    with pytest.raises(error) if error is not None else nullcontext():
        await run.run(plan(4))
    assert run.outcomes == outcomes
    assert len(run.log.outcomes()) == 4
    assert (run.breaker.reason is not None) is (error is None and "skipped" in outcomes)


async def test_retired_source_is_skipped_without_intents_and_other_sources_go_on():
    run = Run(results(RETIRED, 1, 2, 3, 4), sources=("invites", "users"), workers=1, canary=1)
    await run.run([*plan(4), *plan(4, source=Source.USERS, first=5)])
    assert run.outcomes == {Outcome.FAILED: 1, Outcome.SKIPPED: 3, Outcome.DELETED: 4}
    assert (run.executor.retired, run.breaker.reason) == ({Source.INVITES}, None)
    assert run.atlas.deletes_from == (Source.INVITES, Source.USERS)
    (warning,) = run.result.warnings
    text = (
        "Atlas retired the list invites during the sweep: 410 GONE "
        "In the policy, write `sources: [users, org_users]`."
    )
    assert (warning.code, warning.message) == (WarningCode.RETIRED_SOURCE, text)
    assert run.result.stopped_by == [Reason.RETIRED_SOURCE]
    assert (run.intents, len(run.log.outcomes())) == (ids(1, 5, 6, 7, 8), 8)


async def test_deletion_whose_intent_is_on_disk_is_not_sent_once_its_list_is_retired():
    """The fifth to eighth have their intents before the first is answered, and wait for a slot."""

    async def answer(run, one, _):
        if one.invitation_id == object_id(1):
            await until(lambda: run.atlas.in_flight == 4)
            return RETIRED
        return None

    run = Run(answer=answer, sources=("invites", "users"), workers=4)
    run.atlas.gate.clear()  # the second to fourth keep their slots
    async with run.running(plan(8)):
        await until(lambda: run.executor is not None and run.executor.retired)
        run.atlas.gate.set()
    assert run.intents == ids(*range(1, 9))
    assert run.atlas.deleted == ids(2, 3, 4)
    assert run.outcomes == {Outcome.FAILED: 1, Outcome.DELETED: 3, Outcome.SKIPPED: 4}


async def test_canary_is_sent_before_other_deletions():
    in_flight = []
    run = Run(workers=50, canary=5, on_done=lambda _: in_flight.append(run.atlas.in_flight))
    await run.run(plan(30))
    assert max(in_flight[:5]) < 5 < max(in_flight)


def backing_off(*numbers, **options):
    """Return a run in which these deletions back off until the gate is open."""

    async def answer(run, one, progress):
        if one.invitation_id in ids(*numbers):
            progress.attempts = 1
            progress.http_status = 500
            progress.on_backoff()
            await run.atlas.gate.wait()
        run.atlas.deleted.append(one.invitation_id)
        return Sending(Outcome.DELETED, 1, 204)

    run = Run(answer=answer, workers=2, **options)
    run.atlas.gate.clear()
    return run


@pytest.mark.parametrize(
    ("slow", "deleted"), [((1, 2), (3, 4, 5, 6)), ((1, 2, 3), (4, 5, 6)), ((1, 2, 3, 4), ())]
)
async def test_others_are_sent_while_as_many_as_there_are_slots_back_off(slow, deleted):
    run = backing_off(*slow)
    async with run.running(plan(6)):
        for _ in range(50):
            await asyncio.sleep(0)
        assert sorted(run.atlas.deleted) == ids(*deleted)
        run.atlas.gate.set()
    assert run.outcomes == {Outcome.DELETED: 6}


@pytest.mark.parametrize("are_sent", [True, False])
async def test_log_that_fails_ends_a_sweep_whose_deletions_wait_and_cancels_what_is_not_sent(
    monkeypatch, are_sent
):
    monkeypatch.setattr("invite_sweeper.sweep.executor._SYNC_INTERVAL_S", 0.001)

    async def not_sent(_, __, progress):
        await until(lambda: progress.cancelled)
        return progress.interrupt()

    run = backing_off(1, 2, 3, 4) if are_sent else Run(answer=not_sent, workers=2)
    waiting = (4, 5) if are_sent else (2, 4)
    with pytest.raises(AuditLogError):
        await run.run_until_the_log_fails(
            plan(5), lambda: (run.atlas.in_flight, run.log.on_disk) == waiting
        )
    assert object_id(5) not in run.atlas.deleted
    assert run.outcomes == ({"deleted": 4, "skipped": 1} if are_sent else {"skipped": 5})


@pytest.mark.parametrize("where", ["deletion", "callback", "tokens"])
async def test_defect_ends_the_sweep_and_all_get_an_outcome(where):
    run = Run(workers=1)
    fourth = lambda *_: len(run.atlas.deleted) == 3 and {}["a defect"]  # noqa: E731
    if where == "deletion":
        run.atlas.on_delete = fourth
    elif where == "callback":
        run.result.view.done = fourth
    else:
        tokens = dict.fromkeys(range(3), 0.0)
        run.atlas.try_acquire = lambda _: tokens.popitem()[1]
    with pytest.raises(KeyError):
        await run.run(plan(30))
    assert run.outcomes == {Outcome.DELETED: 3, Outcome.SKIPPED: 27}
    assert len(run.log.outcomes()) == 30


async def test_error_of_the_log_takes_precedence_over_other_errors():
    """The last outcome cannot be written; before, the credentials were refused."""
    run = Run(results(REFUSED, 1), workers=3)
    write = run.log.write

    def fails_at_third(event):
        if len(run.log.outcomes()) == 2:
            raise AuditLogError("The disk is full.")
        write(event)

    run.log.write = fails_at_third
    with pytest.raises(AuditLogError, match="full"):
        await run.run(plan(3))
    assert run.outcomes == {Outcome.FAILED: 1, Outcome.DELETED: 2}


@pytest.mark.parametrize("cause", ["stop", "breaker"])
async def test_delete_is_not_sent_if_the_sweep_stops_after_its_intent(cause):
    run = Run(workers=1)
    run.log.on_sync = lambda: (
        run.stop.request("SIGTERM") if cause == "stop" else setattr(run.breaker, "reason", "failed")
    )
    await run.run(plan(3))
    assert (run.atlas.deleted, run.outcomes) == ([], {Outcome.SKIPPED: 3})
    skipped = [each for each in run.log.events if isinstance(each, OutcomeLine)]
    assert [(each.attempts, each.duration_ms) for each in skipped] == [(0, 0.0)] * 3


@pytest.mark.parametrize(
    ("grace_s", "signals", "outcome"),
    [(3600, 1, "deleted"), (0, 1, "unknown"), (3600, 2, "unknown")],
    ids=["within the grace", "after the grace", "second signal"],
)
async def test_deletions_in_flight_have_the_grace_and_the_rest_is_skipped(
    grace_s, signals, outcome
):
    run = Run(workers=2, grace_s=grace_s, breaker_window=2)
    run.atlas.gate.clear()
    async with run.running(plan(6)):
        await until(lambda: (run.atlas.in_flight, run.log.on_disk) == (2, 4))  # two without a slot
        run.stop.request("SIGTERM")
        if signals == 2:
            run.stop.forced.set()
        elif grace_s:
            run.atlas.gate.set()
    assert run.outcomes == {outcome: 2, Outcome.SKIPPED: 4}
    assert sorted(run.log.outcomes().values()) == sorted([outcome] * 2 + ["skipped"] * 4)
    assert (run.stop.reason, run.breaker.reason) == ("SIGTERM", None)


async def test_stop_wakes_a_sweep_that_waits_for_the_rate_limit():
    run = Run(waits_s={object_id(1): [3600.0]})
    async with run.running(plan(1)):
        await until(lambda: not run.atlas.waits_s[object_id(1)])
        run.stop.request("SIGTERM")
    assert run.outcomes == {Outcome.SKIPPED: 1}


async def test_breaker_cancels_unsent_deletions_and_allows_retries_of_sent_ones():
    async def answer(run, one, progress):
        is_unsent = one.invitation_id in ids(4, 5)
        if one.invitation_id in ids(4, 5, 6):
            progress.attempts = int(not is_unsent)
            await until(lambda: run.breaker.reason)
            await asyncio.sleep(0)
            assert progress.cancelled is is_unsent
        return progress.interrupt() if is_unsent else None

    run = Run(results(FAILED, 1, 2, 3), answer=answer, workers=6, **HALF_OF_3)
    await run.run(plan(8))
    assert run.atlas.deleted == ids(6)
    assert run.outcomes == {Outcome.FAILED: 3, Outcome.DELETED: 1, Outcome.SKIPPED: 4}


@pytest.mark.parametrize(
    ("progress", "outcome"),
    [
        (Sending(), Outcome.SKIPPED),
        (Sending(attempts=1, response_pending=True), Outcome.UNKNOWN),
        (Sending(attempts=2, response_pending=True, http_status=500), Outcome.UNKNOWN),
        (Sending(attempts=1, http_status=429), Outcome.FAILED),
        (Sending(attempts=1), Outcome.SKIPPED),
    ],
    ids=["not sent", "in flight", "retry in flight", "backing off", "not connected"],
)
def test_interrupted_deletion_claims_only_what_is_known(progress, outcome):
    assert progress.interrupt().outcome is outcome


some_results = st.sampled_from([FAILED, REFUSED, Sending(Outcome.ALREADY_GONE, 1, 404)])


@settings(max_examples=60, deadline=None)
@example(  # the disk is full for the second group while the first response ends the run
    sizes=[2], found={1: REFUSED}, waits_s={}, workers=1, canary=0, fails_at=2, stops_at=None
)
@given(
    sizes=st.lists(st.integers(0, 6), max_size=6),
    found=st.dictionaries(st.integers(1, 36), some_results, max_size=8),
    waits_s=st.dictionaries(st.integers(1, 6), st.lists(st.just(0.001), max_size=2), max_size=3),
    workers=st.integers(1, 9),
    canary=st.integers(0, 6),
    fails_at=st.one_of(st.none(), st.integers(1, 40)),
    stops_at=st.one_of(st.none(), st.integers(1, 40)),
)
async def test_each_planned_deletion_has_one_outcome_for_any_concurrency_errors_and_stop(
    sizes, found, waits_s, workers, canary, fails_at, stops_at
):
    count = iter(range(1, 100))
    run = Run(
        {object_id(n): result for n, result in found.items()},
        waits_s={object_id(n): list(waits) for n, waits in waits_s.items()},
        fails_at=fails_at,
        grace_s=0,
        workers=workers,
        canary=canary,
        on_done=lambda _: next(count) == stops_at and run.stop.request("SIGTERM"),
    )
    with suppress(CredentialsRefused, AuditLogError):
        await run.run(plan(*sizes))
    assert run.outcomes.total() == sum(sizes)
    assert len(run.atlas.deleted) == len(set(run.atlas.deleted))
    sent = run.outcomes[Outcome.DELETED]
    assert sent == len(run.atlas.deleted) or (stops_at and sent < len(run.atlas.deleted))
    outcomes = [line for line in run.log.lines if line[0] != "intent"]
    assert len({each for _, each in outcomes}) == len(outcomes)
    if not run.log.failed:
        assert len(outcomes) == sum(sizes)


OUTCOMES = {
    "d": Outcome.DELETED,
    "f": Outcome.FAILED,
    "g": Outcome.ALREADY_GONE,
    "u": Outcome.UNKNOWN,
    "m": Outcome.ACCEPTED_BEFORE,
}
"""The outcomes of a sweep are a text: `2 * "f" + "d"` are two that failed and a third one."""


def opens_after(outcomes, **limits):
    """Return the number of outcomes after which the breaker opens, and the reason."""
    limits = {"canary": 0, "breaker_window": 10, **limits}
    breaker = CircuitBreaker(policy(limits=limits).limits)
    for number, letter in enumerate(outcomes, start=1):
        if breaker.opens_at(OUTCOMES[letter]):
            return number, breaker.reason
    return None, ""


NEVER = (None, "")
SHARE = "max_failure_share: 0.2"
WIDE = {"breaker_window": 1, "max_failure_share": 1.0}


@pytest.mark.parametrize(
    ("outcomes", "limits", "opened"),
    [
        ("fdfdf", {"canary": 5}, (5, "3 of the first 5 deletions (the canary) failed.")),
        ("ffdd", {"canary": 4}, NEVER),  # half of them
        ("fffd", {"canary": 4, **WIDE}, (4, "3 of")),
        ("uuu", {"canary": 3}, (3, "3 of the first 3")),
        (50 * "m", {"canary": 3}, NEVER),
        (
            4 * "g" + 6 * "d",
            {"max_already_gone_share": 0.3},
            (10, "4 of the last 10 deletions were"),
        ),
        ("ff" + 10 * "d" + "fff", {}, (15, f"3 of the last 10 deletions failed, over {SHARE}.")),
        (29 * "f" + 71 * "d", {"breaker_window": 100, "max_failure_share": 0.29}, NEVER),
    ],
)
def test_breaker_opens_only_over_a_limit(outcomes, limits, opened):
    number, reason = opens_after(outcomes, **limits)
    assert number == opened[0]
    assert reason.startswith(opened[1])


@given(st.text("dfg", max_size=60), st.integers(1, 12), st.sampled_from([0.0, 0.1, 0.29, 0.5, 1.0]))
def test_breaker_opens_once_the_last_in_a_full_window_are_over_a_share(outcomes, window, share):
    def exceeds_limit(number):
        last = outcomes[max(0, number - window) : number]
        allowed = Fraction(str(share)) * window
        most = max(last.count("f"), last.count("g"))
        return len(last) == window and most > allowed

    first = next((n for n in range(1, len(outcomes) + 1) if exceeds_limit(n)), None)
    limits = dict.fromkeys(("max_failure_share", "max_already_gone_share"), share)
    assert opens_after(outcomes, breaker_window=window, **limits)[0] == first


def test_breaker_keeps_the_first_reason_and_stays_open():
    breaker = CircuitBreaker(policy(limits={"canary": 1, "breaker_window": 50}).limits)
    assert (breaker.reason, breaker.canary_left) == (None, 1)
    assert breaker.opens_at(Outcome.FAILED)
    assert not breaker.opens_at(Outcome.FAILED)
    assert breaker.reason == "1 of the first 1 deletions (the canary) failed."
    assert breaker.canary_left == 0
