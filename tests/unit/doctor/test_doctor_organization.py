"""What `doctor` says of an organization beyond its lists: events, secrets and domains."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invite_sweeper.atlas.parsing import OrgEvent
from invite_sweeper.doctor.diagnosis import CheckState, Completeness
from invite_sweeper.doctor.organization import (
    completeness_check,
    domain_check,
    explain_invited,
    secret_check,
)

ORG, OTHER = "a" * 24, "b" * 24
NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def event(name, kind="INVITED_TO_ORG"):
    return OrgEvent(kind, name, NOW)


def explained(events, listed=(), deleted=()):
    return explain_invited(ORG, events, listed, set(deleted).__contains__, lists_complete=True)


def test_each_invited_address_is_explained_once_by_list_then_joining_then_log():
    events = [event(name) for name in ("all", "all", "joined", "deleted", "lost", None)]
    events += [event("all", "JOINED_ORG"), event("joined", "JOINED_ORG"), event("x", "OTHER")]
    found = explained(events, {(ORG, "all")}, {(ORG, "all"), (ORG, "deleted"), (OTHER, "lost")})
    assert found == Completeness(ORG, 4, 1, 1, 1, ["lost"], lists_complete=True)


NAMES = st.frozensets(st.sampled_from("abcdef"))


@given(invited=NAMES, joined=NAMES, listed=NAMES, deleted=NAMES)
def test_numbers_and_unexplained_addresses_add_up_to_the_invited_ones(
    invited, joined, listed, deleted
):
    events = [event(each) for each in invited] + [event(each, "JOINED_ORG") for each in joined]
    found = explained(events, {(ORG, n) for n in listed}, {(ORG, n) for n in deleted})
    assert set(found.unexplained) == invited - joined - listed - deleted
    total = found.listed + found.joined + found.deleted + len(found.unexplained)
    assert total == found.invited == len(invited)


def test_nobody_unexplained_is_ok_and_somebody_is_a_warning_with_the_address_and_who_else_to_ask():
    fine = completeness_check(Completeness(ORG, 3, 1, 1, 1, [], lists_complete=True))
    assert (fine.state, fine.hint) == (CheckState.OK, "")
    assert fine.message == (
        "Atlas's events of the last 30 days name 3 addresses as invited: 1 in the lists, 1 "
        "joined, 1 deleted according to the audit log."
    )
    lost = [f"p{number}@example.com" for number in range(12)]
    found = completeness_check(Completeness(ORG, 12, 0, 0, 0, lost, lists_complete=False))
    assert found.state is CheckState.WARNING
    assert "12 are in no list that could be read: p0@example.com, " in found.message
    assert found.message.endswith("p9@example.com and 2 more.")
    assert "Deletions with an API key" in found.hint


@pytest.mark.parametrize(("days", "state"), [(15, CheckState.OK), (14, CheckState.WARNING)])
def test_secret_is_a_warning_from_14_days_before_its_end(days, state):
    found = secret_check([NOW + days * DAY + timedelta(hours=1)], NOW)
    assert found.state is state
    assert ("at most 7 days" in found.message) == (state is CheckState.WARNING)


@pytest.mark.parametrize("expiries", [(), (NOW - DAY,)])
def test_credentials_without_a_secret_that_lives_have_no_check(expiries):
    assert secret_check(expiries, NOW) is None


def test_address_outside_the_allowed_domains_is_named_with_the_inference():
    listed = {(ORG, "a@example.com"), (ORG, "b@mail.example.com"), (ORG, "#5"), (OTHER, "c@x.org")}
    found = domain_check(("Example.com",), ORG, listed)
    assert found.state is CheckState.WARNING
    assert found.message == (
        "1 address outside the domains that the organization accepts (example.com) can probably "
        "never accept: b@mail.example.com."
    )
    assert "inferred" in found.hint


@pytest.mark.parametrize("domains", [(), ("example.com",)])
def test_no_restriction_and_no_address_outside_are_ok(domains):
    assert domain_check(domains, ORG, {(ORG, "a@example.com")}).state is CheckState.OK
