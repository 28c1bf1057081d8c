"""`--help` of every command is plain text, and `help` shows the pages; both name what exists."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from forked import Fork
from running import Done, end

from invite_sweeper.cli.help import TOPICS, page
from invite_sweeper.cli.main import COMMANDS, app
from invite_sweeper.endings import ExitCode, Reason
from invite_sweeper.errors import RunError, UsageError
from invite_sweeper.policy import json_schema

WIDTH = 80


def commands(group=None, path=()):
    here = group or app
    yield path, here
    if hasattr(here, "list_commands"):
        for name in here.list_commands(None):
            yield from commands(here.get_command(None, name), (*path, name))


ALL = dict(commands())
RUN = {path: command for path, command in ALL.items() if path and path != ("audit",)}
RUNNER = CliRunner()


def run(*arguments: str, **changes: str) -> Done:
    return end(Fork(arguments, Path.cwd(), {**os.environ, **changes}))


@pytest.fixture(scope="module")
def pages() -> dict[tuple[str, ...], str]:
    environment = {"COLUMNS": str(WIDTH)}
    return {path: RUNNER.invoke(app, [*path, "--help"], env=environment).stdout for path in ALL}


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_page_is_plain_text_that_fits_a_terminal(pages, path):
    lines = pages[path].splitlines()
    assert max(map(len, lines)) <= WIDTH
    assert not set(pages[path]) & set("\x1b│╭╰")
    assert lines[0].startswith("Usage: ")
    assert re.fullmatch(r"  [A-Z](?:[^.]|\.\w)*\.", lines[2]), "one sentence about what it does"
    assert "  -h, --help" in pages[path]
    assert "..." not in pages[path].replace("]...", "").replace("TERM...", ""), "no cut sentence"
    assert lines[-1].strip() == "Documentation: invite-sweeper help TOPIC"
    for parameter in ALL[path].params:
        assert getattr(parameter, "help", None), parameter.name
    if path in {(name,) for name in COMMANDS}:  # as in the table of the first page
        assert COMMANDS[path[0]] == " ".join(pages[path].split("\n\n")[1].split())


@pytest.mark.parametrize("path", RUN, ids=" ".join)
def test_page_has_an_example_that_the_command_accepts(pages, path):
    (example,) = re.findall(r"^  Example: (.+)$", pages[path], re.MULTILINE)
    words = shlex.split(re.split(r" [>|] ", example)[0])
    assert words[: len(path) + 1] == ["invite-sweeper", *path]
    arguments = words[len(path) + 1 :]
    with ALL[path].make_context("x", arguments, resilient_parsing=True) as context:
        assert not context.args
    known = {option for parameter in ALL[path].params for option in parameter.opts}
    assert {word for word in arguments if word.startswith("-")} <= known


@pytest.mark.parametrize("word", ["--nope", "--help=1", "--policy", "--yes=1"])
def test_error_about_an_option_points_to_the_help_of_its_command(word):
    """An unknown one, one without its value, and a flag with one: click names not all of them."""
    done = run("sweep", word)
    assert (done.code, done.out) == (ExitCode.USAGE, "")
    assert done.err.endswith("  See: invite-sweeper sweep --help\n")


def test_plan_takes_every_option_of_a_dry_run():
    plan, sweep = (
        {option for parameter in ALL[path].params for option in parameter.opts if option[0] == "-"}
        for path in (("plan",), ("sweep",))
    )
    assert plan == sweep - {"--dry-run", "--yes"}


def test_first_page_names_every_exit_code_and_the_demo(pages):
    shown_text = " ".join(pages[()].split())
    for code in ExitCode:
        assert f" {code} {code.label}" in shown_text
    assert "invite-sweeper demo" in shown_text


def test_no_arguments_show_the_first_page_and_the_version_is_one_line():
    done = run()
    assert "Commands:" in done.out + done.err
    assert re.fullmatch(r"invite-sweeper \d+\.\d+\.\d+\S*\n", run("--version").out)


def test_version_loads_nothing_that_it_does_not_need():
    loads = "import sys; import invite_sweeper.cli.main; print(*sys.modules)"
    shown = subprocess.check_output([sys.executable, "-c", loads], encoding="utf-8")
    loaded = {name.partition(".")[0] for name in shown.split()}
    assert not loaded & {
        *["aiohttp", "asyncio", "pydantic", "yaml", "rich", "structlog", "tenacity", "msgspec"]
    }


@pytest.mark.parametrize(
    ("typed", "completed"),
    [("sw", "plain,sweep\n"), ("sweep --dry", "plain,--dry-run\n"), ("audit v", "plain,verify\n")],
)
def test_commands_and_options_are_completed_in_bash(typed, completed):
    position = str(len(typed.split(" ")))
    changes = {"COMP_WORDS": f"invite-sweeper {typed}", "COMP_CWORD": position}
    assert run(_INVITE_SWEEPER_COMPLETE="bash_complete", **changes).out == completed


def test_topic_that_an_error_names_exists():
    classes = [RunError]
    for each in classes:
        classes += each.__subclasses__()
    topics = {each.help_topic for each in classes} - {""}
    assert topics == {"limits", "credentials", "audit", "policy"}
    assert topics <= set(TOPICS)


@pytest.mark.parametrize("topic", TOPICS)
def test_each_topic_is_a_page_with_a_heading_and_no_marker_left(topic):
    shown = RUNNER.invoke(app, ["help", topic])
    assert shown.exit_code == 0
    assert shown.stdout.startswith("# ")
    assert "<!--" not in shown.stdout
    assert shown.stdout == page(topic)


def test_help_lists_all_topics_shows_the_options_of_a_command_and_refuses_another_word():
    shown = RUNNER.invoke(app, ["help"])
    assert all(topic in shown.stdout for topic in TOPICS)
    assert max(map(len, shown.stdout.splitlines())) <= WIDTH
    assert RUNNER.invoke(app, ["help", "plan"]).stdout.startswith("Usage: ")
    error = RUNNER.invoke(app, ["help", "weather"]).exception
    assert isinstance(error, UsageError)
    assert "'weather' is not a topic." in error.message


def test_every_exit_code_and_reason_is_explained():
    codes = re.findall(r"^\| (\d+) \| (.*?) \|", page("exit-codes"), re.MULTILINE)
    assert codes == [(str(int(code)), code.meaning) for code in ExitCode]
    reasons = re.findall(r"^\| `(\w+)` \| (\d+) \|", page("exit-codes"), re.MULTILINE)
    assert reasons == [(str(each), str(int(each.exit_code))) for each in Reason]


def test_every_key_of_the_schema_is_described():
    text = page("policy")
    definitions = json_schema()["$defs"].values()
    keys = {key for each in (json_schema(), *definitions) for key in each["properties"]}
    assert {key for key in keys if f"`{key}`" not in text} == set()
    assert text.count("- `older_than`: ") == 1  # a keep entry has the keys of a rule
