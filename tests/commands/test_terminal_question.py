"""The confirmation before a deletion, on a pseudo-terminal."""

import os
import signal
from datetime import timedelta

import pytest
from terminals import terminal_of

from invite_sweeper.simulator.seed import ORG_ID

DAYS = timedelta(days=1)
SWEEP = ("sweep", "--policy", "policy.yaml")
ASKS = "Type yes or no: "


@pytest.fixture
def cli(cli):
    project = cli.sim.add_project("Data Lake")
    for age in (20, 29, 25):
        cli.sim.invite(project, f"aged-{age}@example.com", age=age * DAYS)
    cli.sim.invite(project, "young@example.com", age=2 * DAYS)
    cli.keys["limits"] = {"max_deletions": 40, "max_deletions_per_project": 7}
    return cli


def test_question_shows_the_plan_the_organization_and_what_was_seen_and_kept(cli):
    with terminal_of(cli, *SWEEP) as terminal:
        text = terminal.read_until(ASKS)
        assert cli.deletes() == 0
        for age in (20, 25, 29):
            assert f"{age}.0 d  aged-{age}@example.com" in text
        story = text[: text.index("Delete 3 invitations?")]
        shown = dict(line.split(None, 1) for line in story.splitlines() if line[:1].isalpha())
        assert ORG_ID in shown["In"]
        assert shown["Seen"].startswith("4 invitations in 1 project")
        assert shown["Stale"].strip() == "3"
        assert shown["Kept"].startswith("1: 1 too young")
        assert "This cannot be undone." in text


@pytest.mark.parametrize("answer", ["yes\n", " YES \n"], ids=repr)
def test_yes_deletes(cli, answer):
    with terminal_of(cli, *SWEEP) as terminal:
        terminal.read_until(ASKS)
        terminal.type(answer)
        code, text = terminal.end()
    assert (code, len(cli.sim.deleted)) == (0, 3)
    assert "3 deleted" in text


@pytest.mark.parametrize("answer", ["y\n", "\n", "yes please\n"], ids=repr)
def test_any_answer_but_yes_deletes_nothing_and_ends_with_3(cli, answer):
    with terminal_of(cli, *SWEEP) as terminal:
        terminal.read_until(ASKS)
        terminal.type(answer)
        code, text = terminal.end()
    assert (code, cli.deletes()) == (3, 0)
    _, _, after = text.partition(ASKS)
    lines = ["Cancelled. Nothing was deleted."]
    if answer == "y\n":
        lines.insert(0, "Only the whole word yes confirms.")
    assert after.splitlines()[1:] == lines
    assert cli.lines()[-1]["exit_code"] == 3


@pytest.mark.parametrize("typed", ["", "yes\x04"], ids=["nothing typed", "no newline"])
def test_end_of_input_does_not_confirm(cli, typed):
    with terminal_of(cli, *SWEEP) as terminal:
        terminal.read_until(ASKS)
        terminal.type(typed)
        terminal.end_input()
        code, _ = terminal.end()
    assert (code, cli.deletes()) == (3, 0)


@pytest.mark.parametrize(
    ("number", "typed"),
    [(signal.SIGTERM, ""), (signal.SIGINT, "ye\x04")],
    ids=["SIGTERM", "SIGINT"],
)
def test_signal_during_the_question_ends_the_run_with_8(cli, number, typed):
    with terminal_of(cli, *SWEEP) as terminal:
        terminal.read_until(ASKS)
        terminal.type(typed)
        terminal.process.send_signal(number)
        code, text = terminal.end()
    assert (code, cli.deletes()) == (8, 0)
    assert "Nothing was deleted." in text
    assert cli.lines()[-1]["exit_code"] == 8


def test_deadline_during_the_question_ends_the_run_with_8(cli):
    with terminal_of(cli, *SWEEP, "--deadline", "3s") as terminal:
        terminal.read_until(ASKS)
        code, _ = terminal.end()
    assert (code, cli.deletes()) == (8, 0)


def test_input_typed_before_the_question_is_discarded(cli):
    with terminal_of(cli, *SWEEP) as terminal:
        terminal.type("yes\n")
        terminal.read_until(ASKS)
        assert cli.deletes() == 0
        terminal.type("no\n")
        code, _ = terminal.end()
    assert (code, cli.deletes()) == (3, 0)


def test_question_is_shown_on_stderr_if_the_result_is_redirected(cli):
    with terminal_of(cli, *SWEEP, apart=("stdout",)) as terminal:
        text = terminal.read_until(ASKS)
        assert "aged-29@example.com" in text
        terminal.type("yes\n")
        code, _ = terminal.end()
    assert (code, len(cli.sim.deleted)) == (0, 3)


def test_question_that_a_redirected_stderr_would_hide_is_refused(cli):
    with terminal_of(cli, *SWEEP, apart=("stderr",)) as terminal:
        code, _ = terminal.end()
    assert (code, cli.deletes()) == (3, 0)
    assert cli.lines()[-1]["reasons"] == ["not_confirmed"]


def test_terminal_closed_during_the_question_does_not_confirm(cli):
    with terminal_of(cli, *SWEEP) as terminal:
        terminal.read_until(ASKS)
        os.close(terminal.descriptor)
        terminal.descriptor = os.open(os.devnull, os.O_RDONLY)
        terminal.process.wait(60)
    assert cli.deletes() == 0


@pytest.mark.parametrize(
    "arguments", [(*SWEEP, "--yes"), (*SWEEP, "--dry-run"), ("plan", "policy.yaml")]
)
def test_no_question_is_asked_with_yes_or_on_a_dry_run(cli, arguments):
    with terminal_of(cli, *arguments) as terminal:
        code, text = terminal.end()
    assert code == 0
    assert ASKS not in text


def test_no_question_is_asked_if_nothing_is_to_be_deleted(cli):
    cli.keys["rules"] = [{"name": "ancient", "older_than": "30d"}]
    with terminal_of(cli, *SWEEP) as terminal:
        code, text = terminal.end()
    assert code == 0
    assert ASKS not in text
