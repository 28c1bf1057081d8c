"""What a restore ends with: a stop counts where it left something undone, and there alone."""

import asyncio

import pytest
from audit.written_logs import opened
from builders import NOW
from restoring import FakePost, deleted

from invite_sweeper.errors import ExitCode
from invite_sweeper.restore import Account, Course, Pace, Restored
from invite_sweeper.shutdown import Stop


class World:
    def __init__(self, post):
        self.post = post

    def roll(self):
        return self.post

    def inviter(self):
        return self.post


async def stopped(tmp_path, count, *, answered):
    """Restore so many, with a stop while the first POST is in flight."""
    stop, post, log = Stop(), FakePost(), opened(tmp_path / "log.jsonl")
    post.gate.clear()
    wanted = [deleted(number) for number in range(1, count + 1)]
    account = Account("run-2", NOW, False, "log.jsonl", wanted)
    loop = asyncio.get_running_loop()
    pace = Pace(loop.time, asyncio.sleep)
    running = asyncio.ensure_future(Course(World(post), log, account, stop, pace).run())
    while not post.begun:
        await asyncio.sleep(0.001)
    stop.ask("SIGTERM came")
    if answered:
        post.gate.set()
    else:
        stop.at_once("SIGTERM came twice")
    error = await running
    await log.close()
    return account.tally, error


@pytest.mark.parametrize(
    ("count", "answered", "tally", "code"),
    [
        (1, True, {Restored.RESTORED: 1}, None),
        (2, True, {Restored.RESTORED: 1, Restored.SKIPPED: 1}, ExitCode.STOPPED),
        (1, False, {Restored.UNKNOWN: 1}, ExitCode.STOPPED),
        (2, False, {Restored.UNKNOWN: 1, Restored.SKIPPED: 1}, ExitCode.STOPPED),
    ],
)
async def test_stop_is_how_it_ended_where_somebody_was_left_undone_or_unsure(
    tmp_path, count, answered, tally, code
):
    ended, error = await stopped(tmp_path, count, answered=answered)
    assert ended == tally
    assert (None if error is None else error.exit_code) == code
