"""The one exit code of several runs."""

from types import SimpleNamespace

import pytest

from invite_sweeper.cli.results import RunReport, combined_exit_code
from invite_sweeper.errors import AuditLogError, CredentialsRefused, Interrupted, LockHeld

REFUSED, STOPPED = CredentialsRefused("401."), Interrupted("SIGTERM came.")
UNWRITABLE, LOCKED = AuditLogError("The disk is full."), LockHeld("Another run.")


def report(end):
    if isinstance(end, int):
        return RunReport(SimpleNamespace(summary=SimpleNamespace(exit_code=end)), None)
    return RunReport(None, end)


@pytest.mark.parametrize(
    ("ends", "code"),
    [
        ([0, 0], 0),
        ([10, 10], 10),
        ([0, 10], 10),
        ([3, 3], 3),
        ([0, 3], 4),
        ([REFUSED, 0], 4),
        ([REFUSED, REFUSED], 5),
        ([LOCKED, 10], 4),
        ([0, STOPPED], 8),
        ([UNWRITABLE, 0], 7),
        ([UNWRITABLE, STOPPED, 0], 8),
        ([STOPPED, 5], 8),
    ],
)
def test_code_is_the_common_one_or_8_or_7_or_10_or_4(ends, code):
    assert combined_exit_code([report(end) for end in ends]) == code
    assert combined_exit_code([report(end) for end in reversed(ends)]) == code


def test_run_without_result_and_error_is_an_internal_error():
    assert combined_exit_code([RunReport(None, None)]) == 1
