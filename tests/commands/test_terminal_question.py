"""The confirmation before a deletion, on a pseudo-terminal."""

import os
import re
from datetime import UTC, datetime, timedelta

import pytest
from commands.terminals import terminal_of

from invite_sweeper.simulator.seed import ORG_ID

DAYS = timedelta(days=1)
ASKS = "Type yes or no: "


@pytest.fixture
def cli(cli):
    (project,) = cli.stock(stale=0, young=1)
    for age in (20, 29, 25):
        cli.sim.invite(project, f"aged-{age}@example.com", age=age * DAYS)
    return cli


def test_question_shows_the_plan_what_was_seen_and_kept_how_many_go_and_where(cli):
    with terminal_of(cli, "sweep") as terminal:
        text = terminal.read_until(ASKS)
        assert cli.deletes() == 0
    for age in (20, 25, 29):
        assert f"{age}.0 d  aged-{age}@example.com" in text
    for fact in ("Seen +4 invitations in 1 project", "Kept +1: 1 too young"):
        assert re.search(fact, text)
    assert re.search(rf"Delete 3 invitations in .*\({ORG_ID}\)\?", text)
    assert "This cannot be undone." in text
    (until,) = re.findall(r"Answer by (\S+ \S+) UTC\.", text)
    left = datetime.strptime(f"{until}+0000", "%Y-%m-%d %H:%M%z") - datetime.now(UTC)
    assert timedelta(minutes=12) < left <= timedelta(minutes=15)


CANCELLED = "Cancelled. Nothing was deleted."


@pytest.mark.parametrize(
    ("typed", "lines"),
    [
        ("y\n", ["Only the whole word yes confirms.", CANCELLED]),
        ("\n", [CANCELLED]),
        ("yes\x04\x04", [CANCELLED]),  # the end of input
        (" YES \n", None),
    ],
    ids=repr,
)
def test_only_yes_deletes_and_another_answer_or_none_ends_with_3(cli, typed, lines):
    with terminal_of(cli, "sweep") as terminal:
        terminal.read_until(ASKS)
        terminal.type(typed)
        code, text = terminal.end()
    _, _, after = text.partition(ASKS)
    if lines is None:
        assert (code, len(cli.sim.deleted), "3 deleted" in after) == (0, 3, True)
        assert "aged-20@" not in after  # the plan was shown above the question
    else:
        assert (code, cli.deletes(), after.splitlines()[1:]) == (3, 0, lines)
        assert cli.lines()[-1]["exit_code"] == 3


def test_input_typed_before_the_question_is_discarded(cli):
    with terminal_of(cli, "sweep") as terminal:
        terminal.type("yes\n")
        terminal.read_until(ASKS)
        assert cli.deletes() == 0
        terminal.type("no\n")
        code, _ = terminal.end()
    assert (code, cli.deletes()) == (3, 0)


def test_question_is_shown_on_stderr_if_the_result_is_redirected(cli):
    with terminal_of(cli, "sweep", apart=("stdout",)) as terminal:
        text = terminal.read_until(ASKS)
        assert "aged-29@example.com" in text
        terminal.type("yes\n")
        code, _ = terminal.end()
    assert (code, len(cli.sim.deleted)) == (0, 3)


def test_question_that_a_redirected_stderr_would_hide_is_refused(cli):
    with terminal_of(cli, "sweep", apart=("stderr",)) as terminal:
        code, _ = terminal.end()
    assert (code, cli.deletes()) == (3, 0)
    assert cli.lines()[-1]["reasons"] == ["not_confirmed"]


def test_terminal_closed_during_the_question_does_not_confirm(cli):
    with terminal_of(cli, "sweep") as terminal:
        terminal.read_until(ASKS)
        os.close(terminal.descriptor)
        terminal.descriptor = os.open(os.devnull, os.O_RDONLY)
        terminal.process.wait(60)
    assert cli.deletes() == 0


def test_control_c_at_the_question_prints_no_plan_and_no_summary_again(cli):
    with terminal_of(cli, "sweep") as terminal:
        terminal.read_until(ASKS)
        terminal.type("\x03")
        code, text = terminal.end()
    _, _, after = text.partition(ASKS)
    assert (code, cli.deletes()) == (8, 0)
    assert "aged-" not in after
    assert "Seen" not in after
    assert after.count("Nothing was deleted.") == 1
    assert re.match(r"\^C\n\d\d:\d\d:\d\d \[warning\] stopping: ", after)
    assert "\n\n" not in after
