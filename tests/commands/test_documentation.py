"""`help` shows the documentation that ships with the program."""

import re

import pytest
from click.testing import CliRunner

from invite_sweeper.cli.main import app
from invite_sweeper.cli.reference import TOPICS, page
from invite_sweeper.endings import ExitCode, Reason
from invite_sweeper.errors import UsageError
from invite_sweeper.policy import json_schema

RUNNER = CliRunner()


@pytest.mark.parametrize("topic", TOPICS)
def test_each_topic_is_a_page_with_a_heading_and_no_marker_left(topic):
    shown = RUNNER.invoke(app, ["help", topic])
    assert shown.exit_code == 0
    assert shown.stdout.startswith("# ")
    assert "<!--" not in shown.stdout
    assert shown.stdout == page(topic)


def test_help_without_a_topic_lists_all_topics():
    shown = RUNNER.invoke(app, ["help"])
    assert all(topic in shown.stdout for topic in TOPICS)


def test_unknown_topic_is_wrong_usage():
    error = RUNNER.invoke(app, ["help", "weather"]).exception
    assert isinstance(error, UsageError)
    assert "'weather' is not a topic." in error.message


def test_help_of_a_command_is_its_options():
    assert RUNNER.invoke(app, ["help", "plan"]).stdout.startswith("Usage: ")


def test_every_exit_code_is_explained():
    rows = re.findall(r"^\| (\d+) \| (.*?) \|", page("exit-codes"), re.MULTILINE)
    assert rows == [(str(int(code)), code.meaning) for code in ExitCode]


def test_every_key_of_the_schema_is_described():
    text = page("policy")
    definitions = json_schema()["$defs"].values()
    keys = {key for each in (json_schema(), *definitions) for key in each["properties"]}
    assert {key for key in keys if f"`{key}`" not in text} == set()


def test_every_reason_is_listed_with_its_exit_code():
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \|", page("exit-codes"), re.MULTILINE)
    assert rows == [(str(each), str(int(each.exit_code))) for each in Reason]
