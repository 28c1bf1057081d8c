"""The table of endings: statuses, exit codes, reasons, and advice as exact commands."""

import shlex
from fnmatch import fnmatchcase

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from reviewed import assert_reviewed

from invite_sweeper.cli.main import app
from invite_sweeper.endings import (
    DAMAGED_ADVICE,
    UNFINISHED_ADVICE,
    ExitCode,
    Reason,
    Status,
    WarningCode,
    WarningLevel,
    known_reasons,
    may_repeat,
    status_of,
)
from invite_sweeper.errors import Advisor
from invite_sweeper.policy import InvalidPolicy
from invite_sweeper.text import exact_glob

ADVISOR = Advisor(
    run="7", policy="my policy.yaml", audit_dir="my audit", base_url="https://cloud.mongodbgov.com"
)


def test_error_with_other_parts_is_the_same_error_otherwise():
    error = InvalidPolicy("policy.yaml", ())
    error.__cause__ = ValueError("why")
    other = error.having(hint="Do this.")
    assert (type(other), other.args, other.__cause__) == (type(error), error.args, error.__cause__)
    assert vars(other) == {**vars(error), "hint": "Do this."}
    assert error.command == "invite-sweeper validate policy.yaml"


@pytest.mark.parametrize("reason", Reason)
def test_commands_of_each_reason_exist_and_take_these_options(reason):
    for hint in ADVISOR.advise([reason]).values():
        words = shlex.split(hint.command)[1:]
        if words:
            shown = CliRunner().invoke(app, [*words, "--help"])
            assert shown.exit_code == 0, words
            assert all(word in shown.stdout for word in words if word.startswith("--")), words


def test_known_reasons_are_in_the_order_of_urgency():
    reasons = [Reason.MAX_SHARE, Reason.MAX_DELETIONS, "unheard_of", Reason.MAX_SHARE]
    assert known_reasons(reasons) == (Reason.MAX_DELETIONS, Reason.MAX_SHARE)


@given(st.text(min_size=1))
def test_pattern_of_the_command_matches_this_username_and_no_other(username):
    pattern = shlex.split(Advisor("7").restore(exact_glob(username)))[-1]
    assert fnmatchcase(username, pattern)
    assert not fnmatchcase(f"{username}x", pattern)


SEVERAL = (
    [Reason.FAILED_DELETIONS, Reason.UNREADABLE_PROJECTS, Reason.MISSING_ROLE],
    [Reason.MAX_SHARE, Reason.MAX_DELETIONS],
    [Reason.INTERRUPTED, "a_reason_of_a_later_version"],
    [],
)


def table_of_endings():
    yield "# Status: label | style"
    for status in Status:
        yield f"{status}: {status.label} | {status.style}"
    yield ""
    yield "# Exit code and label | status | again: the same command may succeed | meaning | advice"
    for code in ExitCode:
        again = "again" if code.retryable else "final"
        row = f"{code:d} {code.label} | {code.status} | {again} | {code.meaning} | {code.advice}"
        yield row.rstrip()
    yield ""
    yield "# Reason: label | exit code | again: the same command may succeed | advice"
    for reason in Reason:
        assert reason.exit_code.status is not Status.DONE
        again = "again" if reason.retryable else "final"
        command = f" {{{reason.command}}}" if reason.command else ""
        row = f"{reason}: {reason.label or '-'} | {reason.exit_code:d} | {again} | {reason.advice}"
        yield f"{row}{command}".rstrip()
    yield ""
    yield "# Reason: advice, with the commands of ADVISOR in test_endings.py in place of the braces"
    for reason in Reason:
        for hint in ADVISOR.advise([reason]).values():
            if hint.command:
                yield f"{reason}: {hint.sentence}"
    yield ""
    yield "# Several reasons | again: every one allows it | the one sentence that answers them"
    for reasons in SEVERAL:
        again = "again" if may_repeat(reasons) else "final"
        hints = Advisor().advise(known_reasons(reasons)).values()
        sentences = dict.fromkeys(hint.sentence for hint in hints)
        yield f"{', '.join(reasons) or 'none'} | {again} | {' '.join(sentences)}".rstrip()
    yield ""
    yield f"the exit code 99: {status_of(99)}; no exit code: {status_of(None)}"
    yield f"warning levels: {', '.join(WarningLevel)}"
    yield f"warning codes: {', '.join(WarningCode)}"
    yield f"damaged: {DAMAGED_ADVICE}"
    yield f"unfinished: {UNFINISHED_ADVICE}"


def test_table_is_the_reviewed_one():
    text = "\n".join(table_of_endings()) + "\n"
    assert_reviewed(text, __file__, "endings.txt")
