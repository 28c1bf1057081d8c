"""Output on stdout and stderr, with and without a terminal."""

import json
import re
import shlex
import subprocess
from datetime import timedelta

import faults
import pytest
from running import COMMAND
from terminals import terminal_of

from invite_sweeper.simulator.seed import ORG_ID

DAYS = timedelta(days=1)
PLAN = ("plan", "--policy", "policy.yaml")
SWEEP = ("sweep", "--policy", "policy.yaml")
COLOUR = re.compile("\x1b\\[[0-9;]*(3|9|4)[0-7]m")


@pytest.fixture
def cli(cli):
    cli.projects = [cli.sim.add_project(name) for name in ("Data Lake", "Billing")]
    for project in cli.projects:
        for number in range(3):
            cli.sim.invite(project, f"stale-{number}@example.com", age=20 * DAYS)
        cli.sim.invite(project, "young@example.com", age=2 * DAYS)
    return cli


# --- quiet and verbose ---------------------------------------------------------------------


def test_quiet_run_leaves_stdout_empty_and_prints_errors_and_warnings_on_stderr(cli):
    cli.sim.limit_access(cli.projects[0])
    cli.keys["projects"] = {"exclude": ["no-such-*"]}
    cli.keys["limits"] = {"max_deletions": 1, "max_share": 1.0}
    done = cli.run(*SWEEP, "-q")
    assert (done.code, done.out) == (3, "")
    assert "no-such-*" not in done.err
    assert "3 stale invitations are over max_deletions: 1." in done.err
    levels = {json.loads(line)["level"] for line in done.err.splitlines() if line[:1] == "{"}
    assert levels <= {"warning", "error"}


def warned(done):
    lines = [json.loads(line) for line in done.err.splitlines()]
    assert {line["level"] for line in lines} <= {"warning"}
    return [line["event"] for line in lines]


@pytest.mark.parametrize("how", [("-q",), ("-q", "--output", "json")], ids=" ".join)
def test_quiet_run_names_what_was_not_read_and_not_deleted(cli, how):
    cli.sim.limit_access(cli.projects[0])
    cli.sim.faults.add(faults.fail_with(403, "ACCESS_FORBIDDEN"), method="DELETE", times=1)
    done = cli.run(*SWEEP, *how)
    assert done.code == 4
    verdict, role, advice, *counts, lost, failed = warned(done)
    assert verdict == f"Partly done: 2 deleted, 1 failed · Example Industries ({ORG_ID})"
    assert role == "Role missing (2 requests)."
    assert counts == ["Projects not read (1 list).", "Deletions failed (1 deletion)."]
    assert advice.startswith("What to do: Grant the credentials the role that is missing")
    (unread,) = cli.lines("project_unreadable")
    organization = f"of organization Example Industries ({ORG_ID})"
    assert lost == f"Data Lake {organization} was not read: {unread['reason']}"
    (row,) = [line for line in cli.lines("outcome") if line["outcome"] == "failed"]
    who = f"{row['username']} in Billing {organization}"
    assert failed == (
        f"{who} may still be invited: failed, 403 ACCESS_FORBIDDEN; "
        "deleting requires the role Project Owner"
    )


def test_failures_shown_in_the_table_are_not_repeated(cli):
    cli.sim.limit_access(cli.projects[0])
    done = cli.run(*SWEEP)
    assert done.code == 4
    assert "Data Lake" in done.out
    assert "Data Lake" not in done.err
    with terminal_of(cli, *SWEEP, "--yes") as terminal:
        code, text = terminal.end()
    assert (code, text.count("Data Lake")) == (4, 1)


def test_long_list_is_cut_and_the_command_that_it_names_shows_the_rest(cli):
    for number in range(60):
        cli.sim.invite(cli.projects[0], f"more-{number}@example.com", age=40 * DAYS)
    done = cli.run(*PLAN, COLUMNS="60")
    assert done.out.count("more-") == 50
    (command,) = re.findall(r"^16 more: invite-sweeper (.*)$", done.out, re.MULTILINE)
    assert cli.run(*shlex.split(command)).out.count("more-") == 60


# --- no terminal ---------------------------------------------------------------------------


def test_without_a_terminal_nothing_but_text_is_written(cli):
    done = cli.run(*SWEEP)
    assert not set(done.out + done.err) & set("\x1b\r")
    assert all(json.loads(line)["event"] for line in done.err.splitlines())
    assert "6 deleted" in done.out


@pytest.mark.parametrize("columns", ["60", "140"])
def test_columns_variable_sets_the_width_of_a_file(cli, columns):
    done = cli.run(*PLAN, COLUMNS=columns)
    lines = [x for x in done.out.splitlines() if not x.startswith(("Audit", "Last hash"))]
    assert max(map(len, lines)) <= int(columns)
    assert ("INVITED BY" in done.out) == (columns == "140")


def test_letter_outside_the_output_encoding_is_escaped(cli):
    cli.sim.invite(cli.projects[0], "\u6771\u4eac@example.com", age=20 * DAYS)
    cli.write_policy()
    done = subprocess.run(
        [*COMMAND, *PLAN],
        cwd=cli.folder,
        env={**cli.environment, "PYTHONIOENCODING": "ascii", "COLUMNS": "60"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert b"\\u6771\\u4eac@example.com" in done.stdout


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


def test_no_color_removes_colours_and_keeps_the_roles(cli):
    cli.sim.invite(cli.projects[0], "o@example.com", age=20 * DAYS, roles=["GROUP_OWNER"])
    with terminal_of(cli, *SWEEP, "--yes", NO_COLOR="1") as terminal:
        code, text = terminal.end()
        raw = terminal.seen.decode()
    assert code == 0
    assert not COLOUR.search(raw)
    assert "GROUP_OWNER" in text
    assert "read only" in text
    assert "GROUP_READ_ONLY" not in text


def test_dumb_terminal_gets_no_escape_sequence_and_the_whole_result(cli):
    cli.keys["projects"] = {"exclude": ["no-such-*"]}
    cli.keys["limits"]["max_unreadable_projects"] = 0
    with terminal_of(cli, *SWEEP, "--yes", "-v", TERM="dumb") as terminal:
        code, text = terminal.end()
        raw = terminal.seen.decode()
    assert code == 0
    assert "no-such-*" in text
    assert "6 deleted" in text
    assert "\x1b" not in raw


def test_quiet_run_on_a_terminal_shows_neither_bar_nor_result(cli):
    with terminal_of(cli, *SWEEP, "--yes", "-q") as terminal:
        assert terminal.end() == (0, "")


def test_log_on_a_terminal_escapes_control_characters(cli):
    project = cli.sim.add_project("evil\x1b[2J")
    cli.sim.faults.add(faults.role_missing(), path=f"*/groups/{project}/*", times=None)
    with terminal_of(cli, *SWEEP, "--yes") as terminal:
        code, text = terminal.end()
    assert code == 4
    assert "evil[U+001B][2J" in text
    assert "\x1b[2J" not in text


def test_log_on_a_terminal_breaks_between_words(cli):
    cli.keys["projects"] = {"exclude": ["no-such-project-by-any-name-*"]}
    with terminal_of(cli, *PLAN, columns=50, NO_COLOR="1") as terminal:
        _, text = terminal.end()
    log = [line for line in text.splitlines() if re.match(r"\d\d:\d\d:\d\d | {19}\S", line)]
    assert "no-such-project-by-any-name-*" in " ".join(log)
    assert all(len(line) <= 50 or len(line.split()) == 1 for line in log)


def test_no_color_and_a_dumb_terminal_remove_the_colours(cli):
    cli.keys["limits"] = {"max_deletions": 1}
    for changes, coloured in (({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)):
        with terminal_of(cli, *SWEEP, **changes) as terminal:
            code, text = terminal.end()
            raw = terminal.seen.decode()
        assert code == 3
        assert "Error: 6 stale invitations are over max_deletions: 1." in text
        assert bool(COLOUR.search(raw)) == coloured


def test_error_escapes_control_characters(cli):
    done = cli.run("sweep", "--policy", "evil\x1b[2J\r.yaml")
    assert (done.code, done.out) == (2, "")
    assert "evil[U+001B][2J[U+000D].yaml" in done.err
    assert "\x1b" not in done.err


def test_json_on_a_terminal_is_one_object_with_no_colour(cli):
    with terminal_of(cli, *PLAN, "--output", "json", "-q") as terminal:
        code, text = terminal.end()
        raw = terminal.seen.decode()
    assert code == 0
    assert "\x1b" not in raw
    assert json.loads(text)["stale"] == 6


@pytest.mark.parametrize("columns", [20, 140])
def test_terminal_of_any_width_gets_the_result(cli, columns):
    with terminal_of(cli, *PLAN, columns=columns) as terminal:
        code, text = terminal.end()
    assert code == 0
    assert "Dry run" in text
    assert "stale-0@example.com" in text.replace("\n", "").replace(" ", "")
