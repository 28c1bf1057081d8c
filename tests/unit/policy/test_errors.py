"""Each error and warning of a policy has a position, a message and a fix.

The cases are in errors.txt and warnings.txt, which say at their top how they are read.
"""

import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import NamedTuple

import pytest

from invite_sweeper.policy import InvalidPolicy, Severity, check_policy, parse_policy

TODAY = date(2027, 3, 31)
ID = "5efda682a3f2ed2e7dd6cde4"


class Case(NamedTuple):
    """A policy and the lines about it."""

    where: str
    policy: bytes
    lines: list[str]


def cases(name: str) -> Iterator[Case]:
    template = ""
    found = None
    text = (Path(__file__).parent / name).read_text("utf-8")
    for number, line in enumerate(text.split("\n"), 1):
        if not template and not line.startswith("== "):
            continue  # how to read the file
        if line.startswith("== "):
            template = line[3:]
        elif found and line.startswith("    => "):
            found.lines.append(line[7:])
        elif " => " in line:
            if found:
                yield found
            case, _, first = line.rpartition(" => ")
            policy = template.replace("§", case).replace("⏎", "\n").replace("ID", ID)
            found = Case(f"{name}:{number}", policy.encode(), [first] * (first != "ok"))
    assert found
    yield found


def assert_lines(found: list[str], expected: list[str]) -> None:
    assert len(found) == len(expected), found
    for line, pattern in zip(found, expected, strict=True):
        parts = map(re.escape, pattern.replace("ID", ID).split("…"))
        assert re.fullmatch(".*".join(parts), line), line


def errors(data: bytes) -> list[str]:
    try:
        parse_policy(data, "p")
    except InvalidPolicy as error:
        return [line.removeprefix("p:") for line in error.lines()]
    return []


@pytest.mark.parametrize("case", [*cases("errors.txt")], ids=lambda case: case.where)
def test_policy_with_errors_is_refused_with_all_of_them(case):
    found = errors(case.policy)
    assert_lines(found, case.lines)
    assert all(each.split("; ", 1)[1] for each in found)
    assert not [line for line in found if "S3CRET" in line or not line.isprintable()]
    # The words of pydantic, which knows neither YAML nor our operators.
    assert not re.search("(?i)input|pydantic|validation|extra|permitted|tuple|dict", str(found))


@pytest.mark.parametrize("case", [*cases("warnings.txt")], ids=lambda case: case.where)
def test_valid_policy_has_these_warnings(case):
    policy, found = check_policy(case.policy, TODAY)
    assert policy is not None
    assert all(each.severity is Severity.WARNING for each in found)
    assert_lines([each.text("p").removeprefix("p:") for each in found], case.lines)
