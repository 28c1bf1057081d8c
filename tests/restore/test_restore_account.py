"""How a restore ends in its log, and with which exit code."""

import pytest
from builders import NOW
from restoring import deleted

from invite_sweeper.errors import AuditLogError, CredentialsRefused
from invite_sweeper.restore import RestoreOutcome, RestoreReport, RestoreResult


class Log:
    """Keeps what is written; with `failing` it cannot be brought to the disk."""

    def __init__(self, *, failing=False):
        self.failing = failing
        self.lines = []

    def write(self, event, **fields):
        self.lines.append((event, fields))

    async def sync(self):
        if self.failing:
            raise AuditLogError("The disk is full.")


async def closed(log, error=None, outcome=RestoreOutcome.RESTORED):
    one = deleted(1)
    account = RestoreReport(
        "run-2", NOW, False, "log.jsonl", [one], [one], {one: RestoreResult(outcome)}
    )
    await account.finish(log, error)
    return account


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        (RestoreOutcome.RESTORED, 0),
        (RestoreOutcome.ALREADY_THERE, 0),
        (RestoreOutcome.FAILED, 4),
        (RestoreOutcome.UNKNOWN, 4),
        (RestoreOutcome.SKIPPED, 4),
    ],
)
async def test_end_of_the_one_person_decides_the_exit_code_and_is_in_the_last_line(outcome, code):
    log = Log()
    account = await closed(log, outcome=outcome)
    ((event, told),) = log.lines
    assert (event, told["exit_code"], told[outcome.value]) == ("run_finished", code, 1)
    assert account.exit_code == code


async def test_last_line_that_cannot_be_written_ends_with_7_whatever_ended_it_before():
    for error in (None, CredentialsRefused("401.")):
        account = await closed(Log(failing=True), error)
        assert account.exit_code == 7
        assert account.error.message == "The disk is full."


async def test_log_that_had_failed_before_is_told_by_its_first_failure():
    account = await closed(Log(failing=True), AuditLogError("No such folder."))
    assert (account.exit_code, account.error.message) == (7, "No such folder.")
