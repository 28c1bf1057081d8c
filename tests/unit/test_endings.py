"""The table of endings: statuses, exit codes, reasons, and advice as exact commands."""

import shlex
from fnmatch import fnmatchcase
from pathlib import Path

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


@pytest.mark.parametrize(("code", "status"), [(99, Status.FAILED), (None, Status.UNFINISHED)])
def test_status_of_an_unknown_exit_code_and_of_none(code, status):
    assert status_of(code) is status


def test_error_with_other_parts_is_the_same_error_otherwise():
    error = InvalidPolicy("policy.yaml", ())
    error.__cause__ = ValueError("why")
    other = error.having(hint="Do this.")
    assert (type(other), other.args, other.__cause__) == (type(error), error.args, error.__cause__)
    assert vars(other) == {**vars(error), "hint": "Do this."}
    assert error.command == "invite-sweeper validate policy.yaml"


@pytest.mark.parametrize("reason", Reason)
def test_commands_of_each_reason_exist_and_take_these_options(reason):
    for hint in ADVISOR.advise([reason]):
        words = shlex.split(hint.command)[1:]
        if words:
            shown = CliRunner().invoke(app, [*words, "--help"])
            assert shown.exit_code == 0, words
            assert all(word in shown.stdout for word in words if word.startswith("--")), words


@pytest.mark.parametrize(
    ("advisor", "reasons", "end"),
    [
        # The policy names the directory; running the same command again adds no role; each
        # sentence is said once.
        (Advisor("7", "p"), [Reason.FAILED_DELETIONS], "show 7 --outcome failed --policy p"),
        (
            Advisor(),
            [Reason.FAILED_DELETIONS, Reason.UNREADABLE_PROJECTS, Reason.MISSING_ROLE],
            "until then the same command ends the same way. To list them: invite-sweeper doctor",
        ),
        (Advisor(), [Reason.MAX_SHARE, Reason.MAX_DELETIONS], Reason.MAX_SHARE.advice),
    ],
)
def test_reasons_are_answered_with_one_sentence(advisor, reasons, end):
    (hint,) = advisor.advise(reasons)
    sentence = hint.sentence
    assert sentence.endswith(end)
    assert sentence.count("invite-sweeper") <= 1


def test_known_reasons_are_in_the_order_of_urgency():
    reasons = [Reason.MAX_SHARE, Reason.MAX_DELETIONS, "unheard_of", Reason.MAX_SHARE]
    assert known_reasons(reasons) == (Reason.MAX_DELETIONS, Reason.MAX_SHARE)


@given(st.text(min_size=1))
def test_pattern_of_the_command_matches_this_username_and_no_other(username):
    pattern = shlex.split(Advisor("7").restore(exact_glob(username)))[-1]
    assert fnmatchcase(username, pattern)
    assert not fnmatchcase(f"{username}x", pattern)


@pytest.mark.parametrize(
    ("reasons", "again"),
    [
        ([Reason.FAILED_DELETIONS], True),
        ([Reason.FAILED_DELETIONS, Reason.MISSING_ROLE], False),
        ([Reason.INTERRUPTED, "a_reason_of_a_later_version"], True),
        ([], False),
    ],
)
def test_command_may_be_repeated_only_if_every_reason_allows_it(reasons, again):
    assert may_repeat(reasons) is again


def table_of_endings():
    """Yield every row of the table, for comparison with the file beside this test."""
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
        for hint in ADVISOR.advise([reason]):
            if hint.command:
                yield f"{reason}: {hint.sentence}"
    yield ""
    yield f"warning levels: {', '.join(WarningLevel)}"
    yield f"warning codes: {', '.join(WarningCode)}"
    yield f"damaged: {DAMAGED_ADVICE}"
    yield f"unfinished: {UNFINISHED_ADVICE}"


def test_table_is_the_reviewed_one():
    text = "\n".join(table_of_endings()) + "\n"
    assert_reviewed(text, Path(__file__).with_name("endings.txt"))
