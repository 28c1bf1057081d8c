"""`invites`: the project invitations of `/groups/{groupId}/invites`, the older generation."""

from typing import Final

from invite_sweeper.atlas.buckets import BucketKey
from invite_sweeper.atlas.operations import DELETE_GROUP_INVITE, LIST_GROUP_INVITES
from invite_sweeper.atlas.sources.calls import Calls, Rows
from invite_sweeper.atlas.wire import parse_invitations
from invite_sweeper.inventory import Project, Source


def _rows(body: bytes, project: Project) -> Rows:
    return Rows(parse_invitations(body, project))


def _turns(project_id: str, _org_id: str) -> tuple[BucketKey, ...]:
    return (BucketKey(DELETE_GROUP_INVITE.endpoint_set, project_id),)


CALLS: Final = Calls(
    Source.INVITES,
    LIST_GROUP_INVITES,
    DELETE_GROUP_INVITE,
    _rows,
    _turns,
)
