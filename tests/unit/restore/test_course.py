"""A stopped restore ends with 8 only if a result is skipped or unknown."""

import asyncio

import pytest
from audit.written_logs import event, opened
from builders import NOW
from restoring import Clock, FakePost, deleted

from invite_sweeper.endings import ExitCode
from invite_sweeper.restore.deletions import RestoreOutcome
from invite_sweeper.restore.report import RestoreReport
from invite_sweeper.restore.restorer import InviteRateLimit
from invite_sweeper.restore.run import RestoreRun
from invite_sweeper.shutdown import StopRequest


class World:
    def __init__(self, post):
        self.post = post
        self.reader = self

    async def projects(self):
        return ()

    def members(self):
        return self.post

    def inviter(self):
        return self.post


STARTED = event("run_started", mode="restore")


async def stopped(tmp_path, count, *, answered):
    """Restore a number of users, with a stop while the first POST is in flight."""
    stop, post, log = StopRequest(), FakePost(), opened(tmp_path / "log.jsonl")
    post.gate.clear()
    wanted = [deleted(number) for number in range(1, count + 1)]
    account = RestoreReport("run-2", NOW, False, "log.jsonl", wanted)
    loop = asyncio.get_running_loop()
    pace = InviteRateLimit(loop.time, asyncio.sleep)
    running = asyncio.ensure_future(
        RestoreRun(World(post), log, account, stop, pace, STARTED).run()
    )
    while not post.reached_atlas:
        await asyncio.sleep(0.001)
    stop.request("SIGTERM came")
    if answered:
        post.gate.set()
    else:
        stop.request_now("SIGTERM came twice")
    error = await running
    await log.close()
    return account.outcomes, error


@pytest.mark.parametrize(
    ("count", "answered", "tally", "code"),
    [
        (1, True, {RestoreOutcome.RESTORED: 1}, None),
        (2, True, {RestoreOutcome.RESTORED: 1, RestoreOutcome.SKIPPED: 1}, ExitCode.INTERRUPTED),
        (1, False, {RestoreOutcome.UNKNOWN: 1}, ExitCode.INTERRUPTED),
        (2, False, {RestoreOutcome.UNKNOWN: 1, RestoreOutcome.SKIPPED: 1}, ExitCode.INTERRUPTED),
    ],
)
async def test_stop_ends_with_8_only_if_a_result_is_skipped_or_unknown(
    tmp_path, count, answered, tally, code
):
    ended, error = await stopped(tmp_path, count, answered=answered)
    assert ended == tally
    assert (None if error is None else error.exit_code) == code


async def limited(tmp_path, count, limit, *, dry_run=False):
    """Restore a number of users with a limit; return the error and the POSTs."""
    post, log = FakePost(), opened(tmp_path / "log.jsonl")
    wanted = [deleted(number) for number in range(1, count + 1)]
    report = RestoreReport("run-2", NOW, dry_run, "log.jsonl", wanted)
    clock = Clock()
    pace = InviteRateLimit(clock, clock.rest)
    options = {} if limit is None else {"max_invitations": limit}
    written = None if dry_run else log
    error = await RestoreRun(
        World(post), written, report, StopRequest(), pace, STARTED, **options
    ).run()
    await log.close()
    return error, len(post.send_count)


@pytest.mark.parametrize(("count", "limit"), [(25, None), (3, 3), (0, 0)])
async def test_restore_up_to_the_limit_invites_all(tmp_path, count, limit):
    assert await limited(tmp_path, count, limit) == (None, count)


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize(("count", "limit"), [(26, None), (4, 3), (1, 0)])
async def test_restore_over_the_limit_is_refused_and_invites_no_one(
    tmp_path, count, limit, dry_run
):
    error, sent = await limited(tmp_path, count, limit, dry_run=dry_run)
    assert (error.exit_code, sent) == (ExitCode.REFUSED, 0)
    assert error.consequence == "No one was invited."
    assert f"--max {count}" in error.hint
