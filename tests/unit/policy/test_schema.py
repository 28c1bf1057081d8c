"""The JSON Schema agrees with the parser as far as a schema can."""

import json
import re
from datetime import date, timedelta
from pathlib import Path

import pytest
import yaml

from invite_sweeper.policy import Execution, Limits, json_schema, parse_duration, parse_policy

CONFIG = Path(__file__).parents[3] / "config"
SCHEMA = json_schema()
TYPES = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "null": lambda value: value is None,
}
KNOWN = {"$defs", "$schema", "default", "description", "examples", "format", "title", "properties"}
CHECKS = {
    "$ref": lambda want, value: fits(SCHEMA["$defs"][want.rsplit("/", 1)[1]], value),
    "anyOf": lambda want, value: any(fits(schema, value) for schema in want),
    "const": lambda want, value: value == want,
    "enum": lambda want, value: value in want,
    "type": lambda want, value: any(
        TYPES[t](value) for t in ([want] if isinstance(want, str) else want)
    ),
    "pattern": lambda want, value: not isinstance(value, str) or re.search(want, value) is not None,
    "minLength": lambda want, value: len(value) >= want,
    "minItems": lambda want, value: len(value) >= want,
    "minimum": lambda want, value: value is None or value >= want,
    "maximum": lambda want, value: value <= want,
    "exclusiveMinimum": lambda want, value: value is None or value > want,
    "exclusiveMaximum": lambda want, value: value < want,
    "items": lambda want, value: all(fits(want, item) for item in value),
    "propertyNames": lambda want, value: all(fits(want, key) for key in value),
    "required": lambda want, value: all(key in value for key in want),
}


def fits(schema: dict, value: object) -> bool:
    """Validate a value with the JSON Schema keywords in use; any other keyword is an error."""
    types = schema.get("type")
    if types is not None and not CHECKS["type"](types, value):
        return False
    for word, want in schema.items():
        if word == "additionalProperties":
            known = schema.get("properties", {})
            rest = [item for key, item in value.items() if key not in known]
            if not all(want is not False and fits(want, item) for item in rest):
                return False
        elif word not in KNOWN and not CHECKS[word](want, value):
            return False
    properties = schema.get("properties", {})
    return not isinstance(value, dict) or all(
        fits(properties[key], item) for key, item in value.items() if key in properties
    )


def as_json(text: str) -> object:
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


@pytest.mark.parametrize("path", sorted(CONFIG.glob("*.yaml")), ids=lambda path: path.stem)
def test_sample_policies_match_the_schema(path):
    assert fits(SCHEMA, as_json(path.read_text("utf-8")))


def test_every_key_has_a_description_and_a_valid_example():
    keys = described(SCHEMA)
    assert len(keys) > 40
    for where, schema in keys:
        assert schema["description"].endswith("."), where
        assert schema["examples"], where
        for example in schema["examples"]:
            assert fits(schema, example), where
        if "default" in schema:
            assert fits(schema, schema["default"]), where


def test_example_of_a_duration_is_its_default():
    for name, field in {**Execution.model_fields, **Limits.model_fields}.items():
        if isinstance(field.default, timedelta):
            assert parse_duration(field.examples[0]) == field.default, name


BASE = 'version: 1\norganizations: ["5efda682a3f2ed2e7dd6cde4"]\n'
RULES = "rules: [{name: a, older_than: 14d}]\n"


@pytest.mark.parametrize(
    "text",
    [
        RULES + "execution: {max_requests_per_second: null, deadline: P1DT2H}\n",
        RULES + "keep: [{name: b, usernames: ['*'], until: 2027-03-31}]\n",
        RULES + "projects: {tags: {a: b}}\n",
        RULES + "notify: [{kind: slack, url_env: A, when: failures}]\n",
        "rules: [{name: a, expired: true}]\n",
    ],
)
def test_valid_policy_matches_the_schema(text):
    parse_policy((BASE + text).encode(), "p")
    assert fits(SCHEMA, as_json(BASE + text))


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
def test_invalid_policy_does_not_match_the_schema(text, errors_of):
    assert errors_of(BASE + text) != []
    assert not fits(SCHEMA, as_json(BASE + text))


def test_organization_matches_in_short_and_long_form_only():
    for entry, valid in (
        ("0" * 24, True),
        ({"id": "0" * 24, "credentials": "A"}, True),
        ("A" * 24, False),
        ({"id": "0" * 24, "credentials": "a"}, False),
        ({"credentials": "A"}, False),
    ):
        assert fits(SCHEMA["properties"]["organizations"], [entry]) is valid
