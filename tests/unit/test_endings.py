"""The table of endings: statuses, exit codes, reasons, and advice as exact commands."""

import os
import shlex
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from invite_sweeper.cli.main import app
from invite_sweeper.endings import (
    DAMAGED_ADVICE,
    UNFINISHED_ADVICE,
    Advisor,
    ExitCode,
    Reason,
    Status,
    WarningCode,
    WarningLevel,
    known_reasons,
    may_repeat,
    status_of,
    worst,
)
from invite_sweeper.policy import InvalidPolicy

ADVISOR = Advisor(
    run="7",
    policy="my policy.yaml",
    audit_dir="my audit",
    base_url="https://cloud.mongodbgov.com",
    removed=("o'neil@example.com", "b@example.com"),
)


def commands_of(sentence):
    """Return the words of each command that a sentence contains."""
    _, *found = sentence.replace(" && ", " ").split("invite-sweeper ")
    return [shlex.split(each) for each in found]


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (0, Status.DONE),
        (10, Status.DONE),
        (4, Status.PARTLY_DONE),
        (8, Status.STOPPED),
        (3, Status.REFUSED),
        (99, Status.FAILED),
        (None, Status.UNFINISHED),
    ],
)
def test_status_of_an_exit_code(code, status):
    assert status_of(code) is status
    assert worst([Status.DONE, status, Status.EMPTY]) is status
    assert worst([]) is Status.EMPTY


def test_error_with_other_parts_is_the_same_error_otherwise():
    error = InvalidPolicy("policy.yaml", ())
    error.__cause__ = ValueError("why")
    other = error.having(hint="Do this.")
    assert (type(other), other.args, other.__cause__) == (type(error), error.args, error.__cause__)
    assert vars(other) == {**vars(error), "hint": "Do this."}
    assert "invite-sweeper validate policy.yaml" in error.hint


@pytest.mark.parametrize("reason", Reason)
def test_commands_of_each_reason_exist_and_take_these_options(reason):
    for sentence in ADVISOR.advise([reason]):
        for words in commands_of(sentence):
            shown = CliRunner().invoke(app, [*words, "--help"])
            assert shown.exit_code == 0, words
            assert all(word in shown.stdout for word in words if word.startswith("--")), words


def test_removed_members_are_invited_again_each_by_a_command_for_this_person_alone():
    (sentence,) = ADVISOR.advise([Reason.REMOVED_MEMBER])
    end = ["--policy", "my policy.yaml", "--base-url", "https://cloud.mongodbgov.com"]
    end += ["--audit-dir", "my audit"]
    assert commands_of(sentence) == [
        ["restore", "7", "--username", "o'neil@example.com", *end],
        ["restore", "7", "--username", "b@example.com", *end],
    ]


def test_no_command_restores_a_whole_run():
    (sentence,) = Advisor("7").advise([Reason.REMOVED_MEMBER])
    assert "restore" not in sentence
    assert "audit show 7 --outcome accepted_during" in sentence


def test_option_that_the_policy_answers_is_not_written():
    (sentence,) = Advisor("7", policy="policy.yaml").advise([Reason.FAILED_DELETIONS])
    assert commands_of(sentence) == [
        ["audit", "show", "7", "--outcome", "failed", "--policy", "policy.yaml"]
    ]


@given(st.text(min_size=1))
def test_pattern_of_the_command_matches_this_username_and_no_other(username):
    pattern = shlex.split(Advisor("7").restore(username))[-1]
    assert fnmatchcase(username, pattern)
    assert not fnmatchcase(f"{username}x", pattern)


@pytest.mark.parametrize(
    ("reasons", "again"),
    [
        ([Reason.FAILED_DELETIONS], True),
        ([Reason.FAILED_DELETIONS, Reason.MISSING_ROLE], False),
        ([Reason.CIRCUIT_BREAKER], False),
        ([Reason.INTERRUPTED, "a_reason_of_a_later_version"], True),
        ([], False),
    ],
)
def test_command_may_be_repeated_only_if_every_reason_allows_it(reasons, again):
    assert may_repeat(reasons) is again


def test_missing_role_is_not_answered_with_running_the_same_command_again():
    reasons = [Reason.FAILED_DELETIONS, Reason.UNREADABLE_PROJECTS, Reason.MISSING_ROLE]
    (sentence,) = ADVISOR.advise(reasons)
    assert sentence.startswith("Grant the credentials the role that is missing")
    assert "doctor --policy 'my policy.yaml'" in sentence


def test_advice_is_in_the_order_of_urgency_and_said_once():
    reasons = [Reason.MAX_SHARE, Reason.MAX_DELETIONS, "unheard_of", Reason.MAX_SHARE]
    assert known_reasons(reasons) == (Reason.MAX_DELETIONS, Reason.MAX_SHARE)
    assert len(ADVISOR.advise(reasons)) == 1


def table_of_endings():
    """Return every row of the table, for comparison with the file beside this test."""
    for status in Status:
        yield f"status {status}: {status.label} | {status.past} | {status.colour}"
    for code in ExitCode:
        again = "again" if code.retryable else "final"
        row = f"{code:d} {code.label} | {code.status} | {again} | {code.meaning} | {code.advice}"
        yield row.rstrip()
    for reason in Reason:
        assert not reason.exit_code.succeeded
        again = "again" if reason.retryable else "final"
        row = f"{reason}: {reason.label or '-'} | {reason.exit_code:d} | {again} | {reason.advice}"
        yield row.rstrip()
    for reason in Reason:
        yield f"advice {reason}: {' '.join(ADVISOR.advise([reason]))}".rstrip()
    yield f"warning levels: {'|'.join(WarningLevel)}"
    yield f"warning codes: {'|'.join(WarningCode)}"
    yield f"damaged: {DAMAGED_ADVICE}"
    yield f"unfinished: {UNFINISHED_ADVICE}"


def test_table_is_the_reviewed_one():
    """After a change of a sentence: UPDATE_SNAPSHOTS=1 pytest tests/unit, and read the diff."""
    path = Path(__file__).with_name("endings.txt")
    text = "\n".join(table_of_endings()) + "\n"
    if os.environ.get("UPDATE_SNAPSHOTS"):
        path.write_text(text, "utf-8")
    assert text == path.read_text("utf-8")
