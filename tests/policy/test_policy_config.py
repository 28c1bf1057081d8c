"""The policies that are shipped are right, safe, and name nobody's organization."""

import re
from datetime import date
from pathlib import Path

import pytest

from invite_sweeper.policy import parse_policy

CONFIG = Path(__file__).parents[2] / "config"
PLACEHOLDER = "000000000000000000000000"


@pytest.fixture(params=sorted(CONFIG.glob("*.yaml")), ids=lambda path: path.stem)
def shipped(request):
    return request.param


def test_there_is_a_default_and_some_for_the_common_cases():
    assert {path.stem for path in CONFIG.glob("*.yaml")} >= {
        "policy",
        "contractors",
        "strict-audit",
        "trim-backlog",
    }


def test_a_shipped_policy_has_no_fault_and_no_warning(shipped):
    policy = parse_policy(shipped.read_bytes(), shipped.name)
    assert policy.warnings(date(2026, 11, 25)) == ()


def test_a_shipped_policy_names_the_placeholder_and_says_to_replace_it(shipped):
    text = shipped.read_text("utf-8")
    assert parse_policy(text.encode(), "p").organization_ids == frozenset({PLACEHOLDER})
    assert "REPLACE" in text


def test_a_shipped_policy_tells_editors_of_its_schema_in_the_first_line(shipped):
    first = shipped.read_text("utf-8").splitlines()[0]
    assert first == "# yaml-language-server: $schema=./policy.schema.json"
    assert (CONFIG / "policy.schema.json").is_file()


def test_a_shipped_policy_writes_its_caps_out_and_keeps_them_small(shipped):
    policy = parse_policy(shipped.read_bytes(), shipped.name)
    assert policy.limits.max_deletions <= 200
    assert policy.limits.max_deletions_per_project <= 25
    assert {"max_deletions", "max_deletions_per_project", "max_share"} <= (
        policy.limits.model_fields_set
    )


def test_the_default_policy_is_the_most_careful_about_what_it_cannot_read():
    policy = parse_policy((CONFIG / "policy.yaml").read_bytes(), "policy.yaml")
    assert policy.limits.max_deletions == 10
    assert policy.limits.max_unreadable_projects == 0
    assert policy.limits.over_limit == "refuse"


def test_what_the_default_policy_has_in_comments_works_when_the_marks_are_removed():
    text = (CONFIG / "policy.yaml").read_text("utf-8")
    head, key, body = text.partition("version: 1\n")
    opened = re.sub(r"^( *)# (?=(?:- name|  |tags|keep:))", r"\1", body, flags=re.MULTILINE)
    policy = parse_policy(f"{head}{key}{opened}".encode(), "policy.yaml")
    assert [rule.name for rule in policy.rules] == ["forgotten", "outsiders"]
    assert [entry.name for entry in policy.keep] == ["board"]
    assert policy.projects.tags == (("env", "sandbox"),)
