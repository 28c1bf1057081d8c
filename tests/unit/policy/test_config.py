"""Shipped policies are valid, safe, and contain only the placeholder id."""

import re
from datetime import date, timedelta
from pathlib import Path

import pytest
import yaml
from builders import ORG

from invite_sweeper.models import INVITED_STATUSES, Source
from invite_sweeper.policy import check_policy, parse_policy
from invite_sweeper.sweep.limits import MIN_COUNT_FOR_SHARE

ROOT = Path(__file__).parents[3]
CONFIG = ROOT / "config"
PLACEHOLDER = "000000000000000000000000"
TODAY = date(2026, 11, 25)
SAMPLES = {path.stem: path.read_text("utf-8") for path in sorted(CONFIG.glob("*.yaml"))}


def policies_under(folder):
    """Return the policies in a folder by file: whole YAML files, and values inside others."""
    found = {}
    for path in sorted(folder.rglob("*.y*ml")):
        text = path.read_text("utf-8")
        if "templates" in path.parts or "organizations:" not in text:
            continue
        keys = yaml.safe_load(text)
        whole = "organizations" in keys
        values = [text] if whole else [v for v in keys.values() if "organizations:" in str(v)]
        inside = next((each for each in values if isinstance(each, str)), None)
        if inside is not None:
            found[path.relative_to(ROOT).as_posix()] = inside
    return found


SHIPPED = {**policies_under(CONFIG), **policies_under(ROOT / "deploy")}


def test_policies_for_cli_kustomize_and_helm_are_found():
    found = {"config/policy.yaml", "deploy/kubernetes/base/policy.yaml", "deploy/helm/values.yaml"}
    assert found <= set(SHIPPED)


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_policy_warns_of_nothing_but_the_organization_to_replace(name):
    policy = parse_policy(SHIPPED[name].encode(), name)
    (warning,) = policy.warnings(TODAY)
    assert warning.startswith(f"organizations[0]: {PLACEHOLDER} stands for your organization's id")
    assert policy.organization_ids == frozenset({PLACEHOLDER})
    replaced = SHIPPED[name].replace(PLACEHOLDER, ORG).encode()
    assert check_policy(replaced, TODAY)[1] == ()


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_policy_reads_the_lists_that_stay_with_rules_that_fit_each(name):
    policy = parse_policy(SHIPPED[name].encode(), name)
    assert {"users", "org_users"} <= set(policy.sources)
    ages = {status: [] for status in INVITED_STATUSES}
    for rule in policy.rules:
        for status in rule.statuses or INVITED_STATUSES:
            ages[status] += [rule.older_than] if rule.older_than and not rule.roles else []
    assert max(ages["PENDING"]) > min(ages["INVITATION_EXPIRED"])
    assert max(ages["PENDING"]) < timedelta(days=30)


@pytest.mark.parametrize("name", SAMPLES)
def test_sample_is_safe_and_explains_what_to_replace_and_what_deleting_a_person_means(name):
    text = SAMPLES[name]
    policy = parse_policy(text.encode(), name)
    assert set(policy.sources) == set(Source)
    aged = [rule for rule in policy.rules if rule.older_than is not None]
    owners = [rule.older_than for rule in aged if "GROUP_OWNER" in (rule.roles or ())]
    assert min(owners) < max(rule.older_than for rule in aged if rule.statuses is None)
    assert policy.notice is not None or not any(rule.inviter_gone for rule in policy.rules)
    assert policy.limits.max_deletions <= 200
    assert policy.limits.max_deletions_per_project <= 25
    assert {"max_deletions", "max_deletions_per_project", "max_share"} <= (
        policy.limits.model_fields_set
    )
    comments = " ".join(text.replace("#", " ").split())
    assert "REPLACE" in comments
    assert "Deleting one removes the person from the project or the organization" in comments
    assert text.startswith("# yaml-language-server: $schema=./policy.schema.json\n")


def test_strict_sample_announces_and_default_policy_allows_no_unreadable_projects():
    assert parse_policy(SAMPLES["strict-audit"].encode(), "p").notice is not None
    limits = parse_policy(SAMPLES["policy"].encode(), "p").limits
    assert (limits.max_unreadable_projects, limits.over_limit) == (0, "refuse")


def test_commented_examples_of_the_default_policy_are_valid():
    head, key, body = SAMPLES["policy"].partition("version: 1\n")
    opened = re.sub(r"^( *)# (?=(?:- name|  |tags|keep:|notice:))", r"\1", body, flags=re.MULTILINE)
    policy = parse_policy(f"{head}{key}{opened}".encode(), "policy.yaml")
    assert [rule.name for rule in policy.rules][-2:] == ["forgotten", "outsiders"]
    assert [entry.name for entry in policy.keep] == ["board"]
    assert policy.notice is not None
    assert policy.projects.tags == {"env": "sandbox"}


@pytest.mark.parametrize("name", ["policy.yaml", "policy.schema.json"])
def test_texts_about_max_share_name_the_minimum_count(name):
    words = " ".join((CONFIG / name).read_text("utf-8").replace("`", "").replace("\n#", "").split())
    (rest,) = re.findall(r"0 means zero([^.]*)\.", words)
    assert f"max_share is ignored when {MIN_COUNT_FOR_SHARE} or fewer are stale" in rest
