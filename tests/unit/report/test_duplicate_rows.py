"""Duplicate invitations of a user in two lists are merged into one row."""

import pytest

from invite_sweeper.report.rows import Place, Row, merge_rows_by_user
from invite_sweeper.report.run_view import RunView

PROJECT, OTHER_PROJECT, ORGANIZATION = "p1", "p2", None


def row(username="ann@example.com", source="invites", place=PROJECT, org_id="o"):
    return Row(username, Place(place, place, org_id, org_id), (), 20.0, source=source)


@pytest.mark.parametrize(
    ("second", "rows"),
    [
        (row("ANN@example.com", "users"), 1),
        (row(source="org_users", place=ORGANIZATION), 1),
        (row(source="users", place=OTHER_PROJECT), 2),
        (row(), 2),
        (row(source="org_users", place=ORGANIZATION, org_id="other"), 2),
    ],
    ids=[
        "same project, case ignored",
        "organization invitation",
        "two projects",
        "one list",
        "two organizations",
    ],
)
def test_user_in_two_lists_of_a_place_has_one_row(second, rows):
    merged = merge_rows_by_user((row(), second))
    assert len(merged) == rows
    assert sum(1 + len(each.others) for each in merged) == 2


def test_invitations_without_an_address_are_never_merged():
    assert len(merge_rows_by_user((row(""), row("", "users")))) == 2


def test_heading_counts_the_rows_below_it_and_merged_ones_are_not_hidden():
    organization = row(source="org_users", place=ORGANIZATION)
    shown = RunView((row(), organization, row("bob@example.com", "org_users", ORGANIZATION)))
    shown = RunView(shown.rows, {"p1": 1, "o": 3})
    assert [(each.count, each.hidden) for each in shown.by_place()] == [(2, 1), (1, 0)]
