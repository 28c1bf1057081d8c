"""Every key of a policy is read, with the documented defaults, into a frozen value."""

import hashlib
from datetime import date, timedelta
from pathlib import Path

import pytest
import yaml

from invite_sweeper.models import Source
from invite_sweeper.policy import Execution, Keep, Limits, Policy, check_policy, parse_policy

FOLDER = Path(__file__).parent
TODAY = date(2027, 3, 31)
FIRST = "5efda682a3f2ed2e7dd6cde4"
SECOND = "5efda682a3f2ed2e7dd6cde5"
CONTRACT = (FOLDER / "contract.yaml").read_bytes()
"""A policy with every key, in the form in which it is dumped."""
SMALL = f"version: 1\norganizations: [{FIRST}]\nrules: [{{name: a, older_than: 14d}}]\n"


def policy_of(text: str) -> Policy:
    return parse_policy((SMALL + text).encode(), "p")


def dumped(policy: Policy, **options) -> dict:
    """Return the values of a policy that are not null."""
    return policy.model_dump(mode="json", exclude_none=True, **options)


def test_every_key_is_read():
    policy = parse_policy(CONTRACT, "policy.yaml")
    assert dumped(policy, exclude_unset=True) == yaml.safe_load(CONTRACT)
    assert policy.keep[0].model_fields_set == set(Keep.model_fields)
    assert policy.limits.model_fields_set == set(Limits.model_fields)
    assert policy.execution.model_fields_set == set(Execution.model_fields)
    assert policy.organization_ids == frozenset({FIRST, SECOND})


def test_values_have_the_types_that_a_run_works_with():
    text = "keep: [{name: b, expires_within: 36h, until: 2027-03-31, reason: 'they  travel'}]\n"
    (entry,) = policy_of(text).keep
    assert entry.expires_within == timedelta(hours=36)
    assert (entry.until, entry.reason) == (TODAY, "they travel")
    assert policy_of("").sources == (Source.INVITES,)


@pytest.mark.parametrize("text", ["", "projects: {exclude: [], tags: {}}\nkeep: []\n"])
def test_what_is_left_out_or_empty_has_the_defaults_of_the_contract(text):
    assert dumped(policy_of(text)) == yaml.safe_load((FOLDER / "defaults.yaml").read_bytes())


def test_sha256_is_the_hash_of_the_file():
    assert parse_policy(CONTRACT, "x").sha256 == hashlib.sha256(CONTRACT).hexdigest()
    assert policy_of("# a comment\n").sha256 != policy_of("").sha256


def test_runs_warn_of_all_that_validate_does_but_of_an_unread_list():
    policy, found = check_policy(f"{SMALL}sources: [org_users]\nkeep: []\n".encode(), TODAY)
    assert policy is not None
    assert [each.where for each in found] == ["sources"]
    assert policy.warnings(TODAY) == ()
    policy, (ending, unread) = check_policy(SMALL.encode(), TODAY)
    assert policy is not None
    assert policy.warnings(TODAY) == (f"sources: {ending.message} {ending.hint}",)
    assert unread.message.startswith("The policy reads invites and no list of the organization")
    policy, (left,) = check_policy(f"{SMALL}sources: [users]\n".encode(), TODAY)
    assert policy is not None
    assert policy.warnings(TODAY) == (f"sources: {left.message} {left.hint}",)
