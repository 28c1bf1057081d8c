"""The policies that are shipped are right, safe, and name nobody's organization."""

import re
from datetime import date
from pathlib import Path

import pytest
import yaml

from invite_sweeper.policy import parse_policy
from invite_sweeper.sweep.guards import MIN_COUNT_FOR_SHARE

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "config"
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


def policies_under(folder):
    """The policies in a folder's YAML files, by file: whole files, and values of others."""
    found = {}
    for path in sorted(folder.rglob("*.y*ml")):
        text = path.read_text("utf-8")
        if "templates" in path.parts or "organizations:" not in text:
            continue
        keys = yaml.safe_load(text)
        whole = "organizations" in keys
        inside = text if whole else next(v for v in keys.values() if "organizations:" in str(v))
        found[path.relative_to(ROOT).as_posix()] = inside
    return found


SHIPPED = {**policies_under(ROOT / "config"), **policies_under(ROOT / "deploy")}


def test_policies_are_shipped_for_the_command_line_for_kustomize_and_for_helm():
    assert {
        "config/policy.yaml",
        "deploy/kubernetes/base/policy.yaml",
        "deploy/helm/values.yaml",
    } < set(SHIPPED)


@pytest.mark.parametrize("name", ["README.md", "config/policy.yaml", "config/policy.schema.json"])
def test_who_says_that_0_means_zero_says_that_a_share_counts_above_10(name):
    words = " ".join((ROOT / name).read_text("utf-8").replace("`", "").replace("\n#", "").split())
    (said,) = re.findall(r"(?:0|Zero) means zero[^.]*\.", words)
    assert f"only max_share says nothing where {MIN_COUNT_FOR_SHARE} or fewer are stale" in said


@pytest.mark.parametrize("name", SHIPPED)
def test_a_policy_that_is_shipped_anywhere_has_no_fault_and_no_warning(name):
    policy = parse_policy(SHIPPED[name].encode(), name)
    assert policy.warnings(date(2026, 11, 25)) == ()
    assert policy.organization_ids == frozenset({PLACEHOLDER})


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
