"""What the program advises are commands that exist."""

import ast
import re
from itertools import takewhile
from pathlib import Path

import invite_sweeper
from invite_sweeper.cli.help import TOPICS
from invite_sweeper.cli.main import COMMANDS, app

PACKAGE = Path(invite_sweeper.__file__).parent


MAKE_COMMANDS = {"shell_command", "_connected", "_offline"}
"""The functions that make a command of its words."""


def _function(call):
    return getattr(call.func, "id", "") or getattr(call.func, "attr", "")


def _words_of_commands():
    """Yield the words of each command in the texts of the program, up to the first variable."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                for words in re.findall(r"invite-sweeper ((?:[a-z-]+ ?)+)", node.value):
                    yield tuple(words.split())
            elif isinstance(node, ast.Call) and _function(node) in MAKE_COMMANDS:
                constants = [getattr(each, "value", None) for each in node.args]
                yield tuple(takewhile(lambda word: isinstance(word, str), constants))


def test_every_command_in_a_text_of_the_program_exists():
    commands = set(_words_of_commands()) - {()}
    assert {("doctor",), ("help", "credentials"), ("plan", "--policy")} <= commands
    for words in commands:
        name, *rest = words
        if name in {"COMMAND", "does", "is", "may", "runs"}:  # prose about the program
            continue
        command = app.get_command(None, name)
        assert command is not None, words
        if name == "help" and rest:
            assert {rest[0]} <= {*TOPICS, *COMMANDS, "TOPIC"}, words
        options = {each for parameter in command.params for each in parameter.opts}
        if name != "audit":
            assert {each for each in rest if each.startswith("--")} <= options, words
