"""Policies in one line each, and what is said of them."""

from collections.abc import Callable

import pytest

from invite_sweeper.errors import InvalidPolicy
from invite_sweeper.policy import Policy, parse_policy

HEAD = 'version: 1\norganizations: ["5efda682a3f2ed2e7dd6cde4"]\n'
RULES = "rules: [{name: a, older_than: 14d}]\n"


@pytest.fixture
def policy_of() -> Callable[[str], Policy]:
    """Read a policy: what every one has (three lines), and then the text of the test."""
    return lambda text: parse_policy((HEAD + RULES + text).encode(), "p")


@pytest.fixture
def faults_of() -> Callable[[str | bytes], list[str]]:
    """The faults of a whole file as `line:column: where: what; mend`; none is an empty list."""

    def faults(text: str | bytes) -> list[str]:
        try:
            parse_policy(text if isinstance(text, bytes) else text.encode(), "p")
        except InvalidPolicy as error:
            return [line.removeprefix("p:") for line in error.lines()]
        return []

    return faults


@pytest.fixture
def faults_after_head(faults_of) -> Callable[[str], list[str]]:
    """The same for a text that follows what every policy has; its first line is 4."""
    return lambda text: faults_of(HEAD + RULES + text)


@pytest.fixture
def faults_of_rule(faults_of) -> Callable[[str], list[str]]:
    """The same for the inside of one rule in braces; it begins in line 3, column 9."""
    return lambda inside: faults_of(f"{HEAD}rules: [{{{inside}}}]\n")
