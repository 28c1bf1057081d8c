"""`users`: who is invited to a project, under `/groups/{groupId}/users`.

The call that ends such an invitation removes the user from the project, whatever the status.
"""

from typing import Final

from invite_sweeper.atlas.buckets import BucketKey
from invite_sweeper.atlas.operations import (
    GET_GROUP_USER,
    GET_ORG_USER,
    LIST_GROUP_USERS,
    REMOVE_GROUP_USER,
)
from invite_sweeper.atlas.people import group_user
from invite_sweeper.atlas.sources.calls import Calls, Rows
from invite_sweeper.atlas.wire import parse_page
from invite_sweeper.inventory import Project, Source


def _rows(body: bytes, project: Project) -> Rows:
    page = parse_page(body)
    return Rows(tuple(group_user(item, project) for item in page.results), page.has_next)


def _turns(project_id: str, org_id: str) -> tuple[BucketKey, ...]:
    in_project = BucketKey(REMOVE_GROUP_USER.endpoint_set, project_id)
    return (in_project, in_project, BucketKey(GET_ORG_USER.endpoint_set, org_id))


CALLS: Final = Calls(
    Source.USERS, LIST_GROUP_USERS, REMOVE_GROUP_USER, _rows, _turns, reading=GET_GROUP_USER
)
