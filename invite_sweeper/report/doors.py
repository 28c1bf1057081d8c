"""One person who is pending in two lists is one person with two doors, and is shown once."""

from collections.abc import Sequence
from dataclasses import replace

from invite_sweeper.report.rows import Group, Row


def one_row_a_person(groups: Sequence[Group]) -> tuple[Group, ...]:
    """Put the further doors of each person into the first row that the person has.

    Doors belong together where they lead to the same project by different lists, or where one
    of them is the organization's own. Two projects are two invitations, and stay two rows.
    A group whose rows have all moved is left out; `count` stays the number of deletions.
    """
    first: dict[tuple[str, str], list[Row]] = {}
    doors: dict[int, list[Row]] = {}
    merged = [
        replace(group, rows=tuple(row for row in group.rows if not _joins(row, first, doors)))
        for group in groups
    ]
    return tuple(
        replace(
            group,
            rows=tuple(replace(row, doors=tuple(doors.get(id(row), ()))) for row in group.rows),
            merged=group.merged + len(before.rows) - len(group.rows),
        )
        for group, before in zip(merged, groups, strict=True)
        if group.rows
    )


def _joins(row: Row, first: dict[tuple[str, str], list[Row]], doors: dict[int, list[Row]]) -> bool:
    """Take a row down; True where it is a further door of one that stands already."""
    if not row.username or not row.source:
        return False
    known = first.setdefault((row.org_id, row.username.casefold()), [])
    for other in known:
        lists = {other.source, *(door.source for door in doors.get(id(other), ()))}
        same_place = row.project_id == other.project_id or not (row.project_id and other.project_id)
        if same_place and row.source not in lists:
            doors.setdefault(id(other), []).append(row)
            return True
    known.append(row)
    return False
