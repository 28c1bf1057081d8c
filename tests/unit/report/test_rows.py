"""Every surface shows all roles of an invitation and its history, owners first, then the oldest.

The owner here is an organization user whose only owner role is one in a project.
"""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from audit.runs import outcome
from builders import changed, event_of, invitation, object_id
from hypothesis import given
from hypothesis import strategies as st
from report.reading import on_terminal, question_about
from report.scenes import recorded, run

from invite_sweeper.audit import RunFile, RunRecord
from invite_sweeper.audit.events import Planned
from invite_sweeper.models import Source
from invite_sweeper.report.rows import (
    Row,
    roles_cell,
    rows_of,
    sorted_rows,
)

OWNER = invitation(
    1,
    username="owner@example.com",
    project_id=None,
    project_name=None,
    source=Source.ORG_USERS,
    roles=("ORG_MEMBER",),
    project_roles=((object_id(9), "GROUP_OWNER"),),
    linked_projects=((object_id(9), "Blue Lagoon"),),
    age=timedelta(days=15),
)
READER = invitation(2, username="reader@example.com", age=timedelta(days=40), source=Source.INVITES)
PLANNED = (event_of(Planned, READER, rule="forgotten"), event_of(Planned, OWNER, rule="forgotten"))


@pytest.fixture
def record(directory):
    return recorded(run(*PLANNED, mode="dry-run"), directory)


@pytest.mark.parametrize("width", [40, 60, 140])
def test_owner_in_a_project_is_first_and_no_width_cuts_a_person_that_fits(record, width):
    text = on_terminal(record, width)
    assert text.index("owner@example.com") < text.index("reader@example.com")
    assert ("organization member, GROUP_OWNER in Blue Lagoon" in text) == (width == 140)


def test_question_has_the_plan_and_counts_owners(record):
    text = question_about(record)
    assert text.index("owner@example.com") < text.index("reader@example.com")
    assert re.search(r"Owners +1 of the stale invitations\n", text)
    question = "Delete 2 invitations in Acme (5efda682a3f2ed2e7dd6cde4)?"
    end = f"{question}\nThis cannot be undone. Answer by 2026-11-25 01:00 UTC.\n"
    assert text.endswith(end)


@pytest.mark.parametrize(
    ("role", "projects", "text", "style"),
    [
        ("ORG_MEMBER", (), "organization member", "plain"),
        ("GROUP_OWNER", (), "GROUP_OWNER", "privileged"),
        ("GROUP_OWNER", ("a",), "GROUP_OWNER in a", "privileged"),
        ("GROUP_READ_ONLY", ("a", "b"), "read only in 2 projects", "plain"),
        ("GROUP_FUTURE_ROLE", (), "GROUP_FUTURE_ROLE", "strong"),
    ],
)
def test_role_is_one_line_that_names_its_project(role, projects, text, style):
    one = changed(
        OWNER,
        roles=() if projects else (role,),
        project_roles=tuple((f"id-{name}", role) for name in projects),
        linked_projects=tuple((f"id-{name}", name) for name in projects),
    )
    assert roles_cell(row(one)) == (text, style)


EMPTY = RunFile(0, "", Path())


def row(one):
    return Row.of_line(event_of(Planned, one, rule="r"), {})


EQUALLY_OLD = [
    *(invitation(number, source=Source.INVITES) for number in range(5)),
    *(invitation(number, project_name="a", source=Source.INVITES) for number in range(5, 8)),
]


@given(st.permutations(EQUALLY_OLD))
def test_rows_of_equal_age_are_the_same_in_any_order_of_arrival_the_failed_ones_first(arrived):
    def rows(invitations):
        found = RunRecord(EMPTY)
        for one in invitations:
            planned = event_of(Planned, one, rule="r")
            found.add(planned)
            if one.project_name == "a":
                found.add(outcome(planned, "failed", http_status=500))
        return sorted_rows(rows_of(found))

    assert rows(arrived) == rows(EQUALLY_OLD)
    assert [each.has_failed for each in rows(arrived)] == [True] * 3 + [False] * 5


DATES = st.datetimes(max_value=datetime(9000, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
ANY_INVITATION = st.builds(
    invitation,
    source=st.sampled_from(list(Source)),
    roles=st.lists(st.sampled_from(["GROUP_OWNER", "GROUP_READ_ONLY"]), max_size=2).map(tuple),
    created_at=st.one_of(st.none(), st.just("soon"), DATES),
    project_name=st.sampled_from("ab"),
    username=st.one_of(st.none(), st.sampled_from("xy")),
)


@given(st.lists(ANY_INVITATION))
def test_owners_come_first_then_the_oldest_then_those_without_a_date(invitations):
    rows = sorted_rows(map(row, invitations))
    ages = [-1e9 if one.event.age_days is None else one.event.age_days for one in rows]
    keys = [(not one.is_owner, -age) for one, age in zip(rows, ages, strict=True)]
    assert keys == sorted(keys)
