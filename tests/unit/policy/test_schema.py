"""The JSON Schema agrees with the parser as far as a schema can."""

import json
import re
from contextlib import suppress
from datetime import date, timedelta
from pathlib import Path

import yaml
from jsonschema import Draft7Validator
from unit.policy.test_errors import TODAY, Case, cases

from invite_sweeper.policy import (
    Execution,
    Limits,
    Policy,
    check_policy,
    json_schema,
    parse_duration,
)

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


def policy_of(case: Case) -> Policy | None:
    return check_policy(case.policy, TODAY)[0]


def test_each_valid_policy_of_the_tests_matches_the_schema():
    valid = [case for case in CASES if policy_of(case)]
    assert len(valid) > 100
    assert [case.where for case in valid if not POLICIES.is_valid(as_json(case.policy))] == []


def test_invalid_policy_that_matches_the_schema_has_only_errors_that_it_cannot_express():
    invalid = []
    for case in CASES:
        with suppress(yaml.YAMLError, ValueError):
            invalid += [(case, as_json(case.policy))] if policy_of(case) is None else []
    accepted = [case for case, value in invalid if POLICIES.is_valid(value)]
    assert len(invalid) - len(accepted) > 150
    assert [each.where for each in accepted if not all(map(BEYOND.search, each.lines))] == []
