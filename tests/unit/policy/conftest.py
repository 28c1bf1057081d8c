"""Fixtures that parse short policies and return their errors."""

from collections.abc import Callable
from datetime import date

import pytest

from invite_sweeper.errors import InvalidPolicy
from invite_sweeper.policy import Policy, parse_policy

TODAY = date(2027, 3, 31)
HEAD = 'version: 1\norganizations: ["5efda682a3f2ed2e7dd6cde4"]\n'
RULES = "rules: [{name: a, older_than: 14d}]\n"


@pytest.fixture
def policy_of() -> Callable[[str], Policy]:
    """Parse a policy: three required lines, then the text of the test."""
    return lambda text: parse_policy((HEAD + RULES + text).encode(), "p")


@pytest.fixture
def warnings_of(policy_of) -> Callable[[str], list[str]]:
    """The warnings about such a policy, but those about its lists."""
    return lambda text: [
        each
        for each in policy_of(text).warnings(TODAY)
        if not each.startswith("Atlas has announced the end")
    ]


@pytest.fixture
def errors_of() -> Callable[[str | bytes], list[str]]:
    """Return the errors of a whole file as `line:column: path: message; hint`."""

    def errors(text: str | bytes) -> list[str]:
        try:
            parse_policy(text if isinstance(text, bytes) else text.encode(), "p")
        except InvalidPolicy as error:
            return [line.removeprefix("p:") for line in error.lines()]
        return []

    return errors


@pytest.fixture
def errors_after_head(errors_of) -> Callable[[str], list[str]]:
    """The same for a text after the three required lines; it starts in line 4."""
    return lambda text: errors_of(HEAD + RULES + text)


@pytest.fixture
def errors_of_rule(errors_of) -> Callable[[str], list[str]]:
    """The same for the inside of one rule in braces; it starts in line 3, column 9."""
    return lambda inside: errors_of(f"{HEAD}rules: [{{{inside}}}]\n")
