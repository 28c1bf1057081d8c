"""Output on stdout and stderr, with and without a terminal."""

import json
import re
from datetime import timedelta

import pytest
from commands.terminals import terminal_of
from running import printed

PLAN = ("plan", "--policy", "policy.yaml")
SWEEP = ("sweep", "--policy", "policy.yaml")
COLOUR = re.compile("\x1b\\[[0-9;]*(3|9|4)[0-7]m")


@pytest.fixture
def cli(cli):
    cli.stock(2, 3, 1)
    return cli


# --- quiet and verbose ---------------------------------------------------------------------


def test_failures_shown_in_the_table_are_not_repeated(cli):
    cli.sim.limit_access(cli.projects[0])
    done = cli.run(*SWEEP)
    assert done.code == 4
    assert "Project 0" in done.out
    assert "Project 0" not in done.err
    with terminal_of(cli, *SWEEP, "--yes") as terminal:
        code, text = terminal.end()
    assert (code, text.count("Project 0")) == (4, 1)


def test_long_list_is_cut_and_the_command_that_it_names_shows_the_rest(cli):
    for number in range(60):
        cli.sim.invite(cli.projects[0], f"more-{number}@example.com", age=timedelta(days=40))
    done = cli.run(*PLAN, COLUMNS="60")
    assert done.out.count("more-") == 50
    assert cli.run(*printed(done.out, "16 more")).out.count("more-") == 60


# --- no terminal ---------------------------------------------------------------------------


def test_without_a_terminal_nothing_but_text_is_written(cli):
    done = cli.run(*SWEEP)
    assert not set(done.out + done.err) & set("\x1b\r")
    assert all(json.loads(line)["event"] for line in done.err.splitlines())
    assert "6 deleted" in done.out


# --- a terminal ----------------------------------------------------------------------------


def test_terminal_shows_colours_a_removed_progress_bar_and_the_result(cli):
    with terminal_of(cli, *SWEEP, "--yes") as terminal:
        code, text = terminal.end()
        raw = terminal.seen.decode()
    assert code == 0
    assert COLOUR.search(raw)
    assert "Reading" in text
    assert "Deleting" in text
    result = raw[raw.rindex("Deleting") :]
    assert result.index("\x1b[2K") < result.index("AGE")
    assert raw.count("\x1b[?25l") == raw.count("\x1b[?25h")


def test_errors_on_a_terminal_break_between_words_and_leave_a_command_whole(cli):
    """Two lines of a command would be two commands."""
    cli.keys["sources"] = ["invitations"]
    words = ("validate", "policy.yaml")
    with terminal_of(cli, *words, columns=40, NO_COLOR="1") as terminal:
        code, text = terminal.end()
    finding, _ = text.split("Error: ")
    lines = finding.splitlines()
    assert (code, len(lines) > 2) == (2, True)
    assert all(len(line) <= 40 for line in lines)
    assert all(line.startswith("  ") for line in lines[1:])
    words = " ".join(line.strip() for line in lines)
    piped = cli.run("validate", "policy.yaml").err.splitlines()
    assert words == piped[0]
    with terminal_of(cli, "sweep", "--nothing", columns=24, NO_COLOR="1") as terminal:
        _, text = terminal.end()
    assert text == (
        "Error: No such option\n  '--nothing'.\n  Atlas was not called.\n"
        "  See:\n  invite-sweeper sweep --help\n"
    )


def test_no_color_and_a_dumb_terminal_remove_the_colours(cli):
    cli.keys |= {"limits": {"max_deletions": 1}, "notify": [{"kind": "ping", "url_env": "NOT_SET"}]}
    for changes, coloured in (({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)):
        with terminal_of(cli, *SWEEP, **changes) as terminal:
            code, text = terminal.end()
            raw = terminal.seen.decode()
        assert code == 3
        assert "Error: 6 stale invitations are over max_deletions: 1." in text
        assert bool(COLOUR.search(raw)) == ("\x1b[31m\x1b[1mError:" in raw) == coloured
        assert ("\x1b[33m\x1b[1m[warning]" in raw) == coloured
        assert ("\x1b" in raw) != ("TERM" in changes)


def test_error_escapes_control_characters(cli):
    done = cli.run("sweep", "--policy", "evil\x1b[2J\r.yaml")
    assert (done.code, done.out) == (2, "")
    assert "evil[U+001B][2J[U+000D].yaml" in done.err
    assert "\x1b" not in done.err
