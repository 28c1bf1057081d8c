"""Output on stdout and stderr, with and without a terminal."""

import json
import re

import pytest
from commands.terminals import terminal_of

COLOUR = re.compile("\x1b\\[[0-9;]*(3|9|4)[0-7]m")


@pytest.fixture
def cli(cli):
    cli.stock(2, 3, 1)
    return cli


def test_without_a_terminal_nothing_but_text_is_written(cli):
    done = cli.run("sweep")
    assert not set(done.out + done.err) & set("\x1b\r")
    assert all(json.loads(line)["event"] for line in done.err.splitlines())
    assert "6 deleted" in done.out


def test_nothing_is_cut_in_a_pipe_where_force_color_is_set(cli):
    plain = cli.run("list")
    assert cli.run("list", FORCE_COLOR="1", COLUMNS="40").out == plain.out
    assert "…" not in plain.out


def test_terminal_shows_colours_a_removed_progress_bar_and_the_result(cli):
    with terminal_of(cli, "sweep", "--yes") as terminal:
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
    with terminal_of(cli, "validate", columns=40, NO_COLOR="1") as terminal:
        code, text = terminal.end()
    finding, _ = text.split("Error: ")
    lines = finding.splitlines()
    assert (code, len(lines) > 2) == (2, True)
    assert all(len(line) <= 40 for line in lines)
    assert all(line.startswith("  ") for line in lines[1:])
    piped = cli.run("validate").err.splitlines()
    assert " ".join(line.strip() for line in lines) == piped[0]
    with terminal_of(cli, "sweep", "--nothing", columns=24, NO_COLOR="1") as terminal:
        _, text = terminal.end()
    assert text == (
        "Error: No such option\n  '--nothing'.\n  Atlas was not called.\n"
        "  See:\n  invite-sweeper sweep --help\n"
    )


def test_command_to_copy_is_whole_on_a_narrow_terminal(cli):
    with terminal_of(cli, "plan", columns=40) as terminal:
        _, text = terminal.end()
    assert re.search(rf"^To apply it +invite-sweeper .* {cli.base_url}$", text, re.MULTILINE)


def test_no_color_and_a_dumb_terminal_remove_the_colours(cli):
    cli.keys |= {"limits": {"max_deletions": 1}, "notify": [{"kind": "ping", "url_env": "NOT_SET"}]}
    for changes, coloured in (({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)):
        with terminal_of(cli, "sweep", **changes) as terminal:
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
