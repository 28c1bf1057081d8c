"""Duplicate invitations of a user in two lists are merged into one row."""

from invite_sweeper.report.run_view import InvitationRow, ProjectRows, merge_rows_by_user


def row(username="ann@example.com", source="invites", project="p1", outcome=None, org="o"):
    return InvitationRow(
        project=project or "organization o",
        username=username,
        age_days=20.0,
        rule="r",
        roles=(),
        inviter="x",
        outcome=outcome,
        source=source,
        org_id=org,
        project_id=project,
    )


def groups(*rows):
    return [ProjectRows(rows, len(rows))]


def test_user_in_two_lists_of_a_project_has_one_row_ignoring_case():
    (group,) = merge_rows_by_user(groups(row(outcome="deleted"), row("ANN@example.com", "users")))
    (one,) = group.rows
    assert (one.source, [each.source for each in one.duplicates]) == ("invites", ["users"])
    assert (group.count, group.merged, group.hidden) == (2, 1, 0)


def test_organization_invitation_is_merged_into_the_project_row():
    found = merge_rows_by_user(
        [ProjectRows((row(),), 1), ProjectRows((row(source="org_users", project=None),), 1)]
    )
    assert [[each.source for each in one.duplicates] for g in found for one in g.rows] == [
        ["org_users"]
    ]


def test_invitations_to_two_projects_stay_two_rows():
    found = merge_rows_by_user(
        [ProjectRows((row(),), 1), ProjectRows((row(source="users", project="p2"),), 1)]
    )
    assert [len(group.rows) for group in found] == [1, 1]


def test_two_invitations_of_one_list_stay_two_rows():
    (group,) = merge_rows_by_user(groups(row(), row()))
    assert len(group.rows) == 2


def test_invitations_to_two_organizations_stay_two_rows():
    (group,) = merge_rows_by_user(groups(row(), row(source="org_users", project=None, org="other")))
    assert len(group.rows) == 2


def test_invitations_without_an_address_are_never_merged():
    (group,) = merge_rows_by_user(groups(row(""), row("", "users")))
    assert len(group.rows) == 2
