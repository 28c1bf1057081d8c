"""The last record and the exit code of a restore."""

from dataclasses import replace

import pytest
from builders import NOW
from restoring import deleted

from invite_sweeper.errors import AuditLogError, CredentialsRefused
from invite_sweeper.restore.deletions import RestoreOutcome, RestoreResult
from invite_sweeper.restore.report import RestoreReport


class Log:
    """Stores what is written; with `failing`, sync raises."""

    def __init__(self, *, failing=False):
        self.failing = failing
        self.lines = []

    def write(self, event):
        self.lines.append(event)

    async def sync(self):
        if self.failing:
            raise AuditLogError("The disk is full.")


async def closed(log, error=None, outcome=RestoreOutcome.RESTORED):
    one = deleted(1)
    report = RestoreReport(
        "run-2",
        NOW,
        False,
        "log.jsonl",
        [one],
        to_restore=[one],
        results={one: RestoreResult(outcome)},
    )
    await report.finish(log, error)
    return report


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        (RestoreOutcome.RESTORED, 0),
        (RestoreOutcome.ACTIVE, 4),
        (RestoreOutcome.ALREADY_THERE, 0),
        (RestoreOutcome.FAILED, 4),
        (RestoreOutcome.UNKNOWN, 4),
        (RestoreOutcome.SKIPPED, 4),
    ],
)
async def test_outcome_sets_the_exit_code_and_is_in_the_last_record(outcome, code):
    log = Log()
    report = await closed(log, outcome=outcome)
    (finished,) = log.lines
    assert (finished.event, finished.exit_code) == ("run_finished", code)
    assert getattr(finished, outcome.value) == 1
    assert report.exit_code == code


async def test_member_who_is_active_again_is_not_partial():
    one = replace(deleted(1), was_member=True)
    results = {one: RestoreResult(RestoreOutcome.ACTIVE)}
    report = RestoreReport("run-2", NOW, False, "log.jsonl", [one], to_restore=[one])
    report.results = results
    await report.finish(Log(), None)
    assert (report.exit_code, report.outcomes) == (0, {RestoreOutcome.ACTIVE: 1})


async def test_last_record_that_cannot_be_written_ends_with_7_after_any_error():
    for error in (None, CredentialsRefused("401.")):
        report = await closed(Log(failing=True), error)
        assert report.exit_code == 7
        assert report.error.message == "The disk is full."


async def test_failed_log_is_reported_by_its_first_failure():
    report = await closed(Log(failing=True), AuditLogError("No such folder."))
    assert (report.exit_code, report.error.message) == (7, "No such folder.")
