"""`doctor` explains each address that Atlas's events name as invited."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from invite_sweeper.atlas.lists import OrgEvent
from invite_sweeper.cli.doctor_atlas import Completeness, explain_invited

ORG, OTHER = "a" * 24, "b" * 24
NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)


def event(name, kind="INVITED_TO_ORG"):
    return OrgEvent(kind, name)


def explained(events, listed=(), deleted=()):
    return explain_invited(ORG, events, listed, set(deleted).__contains__, lists_complete=True)


def test_each_invited_address_is_explained_once_by_list_then_joining_then_log():
    events = [event(name) for name in ("all", "all", "joined", "deleted", "lost", None)]
    events += [event("all", "JOINED_ORG"), event("joined", "JOINED_ORG"), event("x", "OTHER")]
    found = explained(events, {(ORG, "all")}, {(ORG, "all"), (ORG, "deleted"), (OTHER, "lost")})
    assert found == Completeness(ORG, 4, 1, 1, 1, ("lost",), lists_complete=True)


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
