"""A session requests a stop at its deadline and holds the lock of its audit log."""

import asyncio
import re
from datetime import timedelta

import pytest

from invite_sweeper.audit import LogPath
from invite_sweeper.cli.options import RunOptions
from invite_sweeper.cli.run_session import RunSession
from invite_sweeper.errors import Interrupted, LockHeld, UsageError
from invite_sweeper.policy import Execution


def session(deadline_s=3600.0, **options):
    return RunSession(
        RunOptions(**options), Execution(deadline=timedelta(seconds=deadline_s)), environment={}
    )


async def test_deadline_requests_a_stop():
    found = session(0.05)
    with found.working():
        await asyncio.wait_for(found.stop.requested.wait(), 60)
    assert found.stop.reason == "the deadline of 0 seconds passed"


async def test_command_that_ends_before_its_deadline_is_not_stopped():
    found = session(0.5)
    with found.working():
        pass
    await asyncio.sleep(0.6)
    assert found.stop.reason is None


async def test_second_session_with_the_same_log_gets_no_lock(tmp_path):
    log_path = LogPath(str(tmp_path / "log.jsonl"))
    with session().working(log_path), pytest.raises(LockHeld), session().working(log_path):
        pass


def test_run_ids_are_unique_and_begin_with_the_instant():
    found = session()
    assert found.new_run_id() != found.run_id
    assert re.fullmatch(rf"{found.now:%Y%m%dT%H%M%SZ}-[0-9a-f]{{8}}", found.run_id)


def test_base_url_that_is_not_valid_starts_no_session():
    with pytest.raises(UsageError):
        session(base_url="ftp://x")


def test_work_that_waits_for_nothing_ends_at_the_deadline():
    session().check_deadline()
    found = session(0.0)
    with pytest.raises(Interrupted, match="the deadline of 0 seconds passed"):
        found.check_deadline()
