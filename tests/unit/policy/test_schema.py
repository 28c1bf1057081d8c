"""The JSON Schema agrees with the parser as far as a schema can."""

import json
from datetime import date, timedelta
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft7Validator
from unit.policy.test_errors import cases

from invite_sweeper.errors import InvalidPolicy
from invite_sweeper.policy import (
    Execution,
    Limits,
    check_policy,
    json_schema,
    parse_duration,
    parse_policy,
)

CONFIG = Path(__file__).parents[3] / "config"
SCHEMA = json_schema()


def fits(value: object, schema: dict = SCHEMA) -> bool:
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


def test_schema_is_json_and_names_its_draft():
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA
    assert SCHEMA["$schema"] == "http://json-schema.org/draft-07/schema#"


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


BASE = 'version: 1\norganizations: ["5efda682a3f2ed2e7dd6cde4"]\n'
RULES = "rules: [{name: a, older_than: 14d}]\n"


def test_each_valid_policy_of_the_tests_matches_the_schema():
    valid = [case for name in ("errors.txt", "warnings.txt") for case in cases(name)]
    valid = [case for case in valid if check_policy(case.policy, date(2027, 3, 31))[0]]
    assert len(valid) > 100
    assert [case.where for case in valid if not fits(as_json(case.policy))] == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "rules: []\n",
        "rules: [{name: a}]\n",
        "rules: [{older_than: 14d}]\n",
        "rules: [{name: a, older_than: 14}]\n",
        "rules: [{name: a, older_than: 14d, usernames: null}]\n",
        "rules: [{name: a, older_than: 14d, usernames: []}]\n",
        "rules: [{name: a, older_than: 14d, roles: ['']}]\n",
        "rules: [{name: a, statuses: [ACTIVE]}]\n",
        RULES + "keep: [{name: a}]\n",
        RULES + "keep: null\n",
        RULES + "keeps: []\n",
        RULES + "projects: {tags: {a: 1}}\n",
        RULES + "limits: {max_deletions: -1}\n",
        RULES + "limits: {max_deletions: 1.5}\n",
        RULES + "limits: {max_share: 1.5}\n",
        RULES + "limits: {over_limit: never}\n",
        RULES + "execution: {concurrency: 0}\n",
        RULES + "execution: {max_requests_per_second: 0}\n",
        RULES + "execution: {reserve: 1}\n",
        RULES + "sources: [invits]\n",
        RULES + "notify: [{kind: mail, url_env: A}]\n",
        RULES + "notify: [{kind: slack, url_env: 'a-b'}]\n",
    ],
)
def test_invalid_policy_does_not_match_the_schema(text):
    with pytest.raises(InvalidPolicy):
        parse_policy((BASE + text).encode(), "p")
    assert not fits(as_json(BASE + text))


def test_organization_matches_in_short_and_long_form_only():
    for entry, valid in (
        ("0" * 24, True),
        ({"id": "0" * 24, "credentials": "A"}, True),
        ("A" * 24, False),
        ({"id": "0" * 24, "credentials": "a"}, False),
        ({"credentials": "A"}, False),
    ):
        assert fits([entry], SCHEMA["properties"]["organizations"]) is valid
