"""A plan is passed on only while a sweep would take it."""

from datetime import timedelta
from hashlib import sha256

import pytest
from audit.runs import finished, planned, started, write_run
from builders import NOW

from invite_sweeper.audit import History, RunFile
from invite_sweeper.audit.events import MissingAccepted
from invite_sweeper.audit.file_chain import FileChain
from invite_sweeper.audit.reader import read_run
from invite_sweeper.audit.record import Fold
from invite_sweeper.errors import DamagedLog, GuardRefused
from invite_sweeper.report.run import plan_to_apply

DAY = timedelta(days=1)
MOMENT = timedelta(microseconds=1)


def dry_run(directory, **options):
    return write_run(directory, "r1", planned(1), **{"start": started(mode="dry-run"), **options})


def read(path, age=timedelta(), directory=None):
    run = read_run(FileChain(RunFile.of(path), hashed=True), Fold())
    history = None if directory is None else History.read(directory, NOW)
    return plan_to_apply(run, history, max_age=DAY, now=NOW + age)


@pytest.mark.parametrize("age", [timedelta(), DAY, timedelta(minutes=-5)])
def test_it_has_its_file_its_sha256_and_the_last_instant_at_which_a_sweep_takes_it(directory, age):
    path = dry_run(directory)
    found = read(path, age)
    assert found.file == str(path)
    assert found.sha256 == sha256(path.read_bytes()).hexdigest()
    assert found.valid_until == "2026-11-26T01:00:00Z"


@pytest.mark.parametrize(
    ("age", "options", "message"),
    [
        (DAY + MOMENT, {}, "The plan is too old: it was created over 24 hours ago"),
        (-timedelta(minutes=5) - MOMENT, {}, "is more than 5 minutes ahead"),
        (timedelta(), {"start": started(mode="dry-run", now="soon")}, "cannot be read"),
        (timedelta(), {"killed": True}, "was cut off, or its dry run did not finish"),
        (timedelta(), {"end": finished(exit_code=3)}, "ended with exit code 3"),
        (timedelta(), {"start": started(mode="sweep")}, "is not the file of a dry run"),
    ],
)
def test_a_plan_that_no_sweep_takes_is_refused(directory, age, options, message):
    path = dry_run(directory, **options)
    with pytest.raises(GuardRefused, match=message):
        read(path, age)


def test_a_plan_is_passed_on_until_a_sweep_has_completed_it(directory):
    path = dry_run(directory)
    whole = read(path)
    applies = started(plan_sha256=whole.sha256)
    write_run(directory, "r2", start=applies, end=finished(exit_code=3))
    assert read(path, directory=directory) == whole
    write_run(directory, "r3", start=applies)
    with pytest.raises(GuardRefused, match="Run 3 has already applied the plan"):
        read(path, directory=directory)


def test_a_plan_is_not_passed_on_where_the_last_run_is_missing_and_may_have_used_it(directory):
    path = dry_run(directory)
    write_run(directory, "r2").unlink()
    with pytest.raises(DamagedLog, match="is missing: it is the last run that HEAD names"):
        read(path, directory=directory)
    write_run(directory, "r3", MissingAccepted((2,)))
    with pytest.raises(GuardRefused, match="whether that run has applied the plan is not known"):
        read(path, directory=directory)
