"""Each error and warning of a policy has a position, a message and a fix.

The cases are in errors.txt and warnings.txt, which say at their top how they are read.
"""

import json
import re
import string
from collections.abc import Iterator
from contextlib import suppress
from datetime import date, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft7Validator

from invite_sweeper.models import Source
from invite_sweeper.policy import (
    Execution,
    InvalidPolicy,
    Limits,
    Policy,
    Severity,
    check_policy,
    json_schema,
    parse_duration,
    parse_policy,
)
from invite_sweeper.policy.policy import KNOWN_ROLES

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


# What is suspicious -------------------------------------------------------------------------------


WORD = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=6)
LOCAL = st.lists(WORD, min_size=1, max_size=3).flatmap(
    lambda words: st.sampled_from([".", "-", "_"]).map(lambda separator: separator.join(words))
)
WILDCARD = st.sampled_from(["*", "?", "[ab]", "[!ab]", "[a-z]"])
GLOB = st.one_of(
    st.builds("{}@{}.com".format, LOCAL, WORD),
    st.builds("{}{}@{}.com".format, WILDCARD, LOCAL, WORD),
    st.builds("{}{}@{}.com".format, LOCAL, WILDCARD, WORD),
    st.builds("{}+{}@{}.com".format, LOCAL, WORD, WORD),
    st.builds("*@{}.*".format, WORD),
    st.builds("*+{}@*".format, WORD),
    st.builds("{}-*".format, WORD),
)


def findings(**lists):
    rule = {"name": "a", "older_than": "14d", **lists}
    policy = {"version": 1, "organizations": ["5efda682a3f2ed2e7dd6cde4"], "rules": [rule]}
    data = json.dumps({**policy, "sources": list(Source)}).encode()
    _, issues = check_policy(data, date(2027, 3, 31))
    return [f"{each.where}: {each.message} {each.hint}" for each in issues]


@given(st.lists(GLOB, min_size=1))
def test_no_glob_of_addresses_and_wildcards_is_suspicious(globs):
    assert findings(usernames=globs) == []


@given(st.text(st.characters(max_codepoint=0xD7FF, exclude_characters="\x7f"), min_size=1))
def test_any_text_gets_an_answer_about_itself(text):
    for line in findings(usernames=[text], projects=[text], roles=[text]):
        assert line.startswith(("rules[0].usernames[0]", "rules[0].projects[0]", "rules[0].roles"))


def test_role_of_atlas_is_not_suspicious():
    assert {"GROUP_OWNER", "GROUP_READ_ONLY", "ORG_MEMBER"} <= KNOWN_ROLES
    assert findings(roles=sorted(KNOWN_ROLES)) == []


# The schema, which agrees as far as a schema can --------------------------------------------------


CONFIG = Path(__file__).parents[3] / "config"
SCHEMA = json_schema()


POLICIES = Draft7Validator(SCHEMA)


def fits(value: object, schema: dict) -> bool:
    return Draft7Validator({**schema, "$defs": SCHEMA["$defs"]}).is_valid(value)


def as_json(text: str | bytes) -> object:
    return json.loads(json.dumps(yaml.safe_load(text), default=date.isoformat))


def described(schema: object, where: str = "") -> list[tuple[str, dict]]:
    found = []
    if isinstance(schema, dict):
        for key, inner in schema.get("properties", {}).items():
            found.append((f"{where}.{key}", inner))
        for key, inner in schema.items():
            found += described(inner, f"{where}/{key}")
    return found


def test_schema_file_equals_the_generated_schema():
    assert json.loads((CONFIG / "policy.schema.json").read_text("utf-8")) == SCHEMA


def test_every_key_has_a_description_and_a_valid_example():
    keys = described(SCHEMA)
    assert len(keys) > 40
    for where, schema in keys:
        assert schema["description"].endswith("."), where
        assert schema["examples"], where
        for example in schema["examples"]:
            assert fits(example, schema), where
        if "default" in schema:
            assert fits(schema["default"], schema), where


def test_example_of_a_duration_is_its_default():
    for name, field in {**Execution.model_fields, **Limits.model_fields}.items():
        if isinstance(field.default, timedelta):
            assert parse_duration(field.examples[0]) == field.default, name


CASES = [case for name in ("errors.txt", "warnings.txt") for case in cases(name)]
BEYOND = re.compile(
    "repeats|set twice|not a string|base 60|signing key|another kind|no time or status|version"
    "|visible|empty|zero|100 years|[39]0 days|finite|whole number|a date|organization id"
    "|matches no|begins with|another set|a YAML|matches everybody|under the policy's"
)
"""Errors that a schema of JSON cannot express."""


def policy_or_none(case: Case) -> Policy | None:
    return check_policy(case.policy, TODAY)[0]


def test_each_valid_policy_of_the_tests_matches_the_schema():
    valid = [case for case in CASES if policy_or_none(case)]
    assert len(valid) > 100
    assert [case.where for case in valid if not POLICIES.is_valid(as_json(case.policy))] == []


def test_invalid_policy_that_matches_the_schema_has_only_errors_that_it_cannot_express():
    invalid = []
    for case in CASES:
        with suppress(yaml.YAMLError, ValueError):
            invalid += [(case, as_json(case.policy))] if policy_or_none(case) is None else []
    accepted = [case for case, value in invalid if POLICIES.is_valid(value)]
    assert len(invalid) - len(accepted) > 150
    assert [each.where for each in accepted if not all(map(BEYOND.search, each.lines))] == []
