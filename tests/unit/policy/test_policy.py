"""Every key of a policy is read, with the documented defaults; durations are exact."""

import hashlib
from datetime import date, timedelta
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from reviewed import assert_reviewed

from invite_sweeper.models import Source
from invite_sweeper.policy import Execution, Keep, Limits, Policy, check_policy, parse_policy
from invite_sweeper.policy.types import InvalidValue, format_duration, parse_duration

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


# Durations ----------------------------------------------------------------------------------------


DURATIONS = (
    *("90s", "30m", "12h", "14d", "2w", "1s", "014d", "36500d", f"{'0' * 5_000}1d"),
    *("P14D", "P2W", "PT12H", "PT30M", "PT90S", "P1DT2H3M4S"),
    *("0d", "PT0S", "000w", "36501d", "3153600001s", "P36500DT1S", "999999999999999s"),
    *("9" * 5_000 + "s", "P" + "9" * 5_000 + "W"),
    *("", "d", "14", "14 d", " 14d", "14d\n", "14D", "1.5d", "1d12h", "+1d", "two weeks"),
    *("-1d", "-P1D", "P1Y", "P1M", "P1Y2M3D", "P0.5Y"),
    *("P", "PT", "P1DT", "P1H", "PT1D", "P1W1D", "p14d", "٣d", "²d"),
)


def test_durations_are_exact_or_refused_as_it_was_reviewed():
    text = ""
    for duration in DURATIONS:
        try:
            found = f"{parse_duration(duration).total_seconds():,.0f} seconds"
        except InvalidValue as error:
            found = str(error)
        text += f"{duration[-20:]!r}: {found}\n"
    assert_reviewed(text, __file__, "durations.txt")
    assert parse_duration("0d", zero=True) == timedelta(0)  # where it is allowed


@given(st.integers(0, 5_000), st.sampled_from([1, 60, 3_600, 86_400]))
def test_duration_is_written_as_it_is_read(number, unit_s):
    duration = timedelta(seconds=number * unit_s)
    assert parse_duration(format_duration(duration), zero=True) == duration


@pytest.mark.parametrize("text", ["0s", "90s", "90m", "36h", "14d"])
def test_duration_is_written_in_the_largest_unit_that_fits(text):
    assert format_duration(parse_duration(text, zero=True)) == text
