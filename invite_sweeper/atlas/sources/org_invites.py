"""`org_invites`: the organization invitations of `/orgs/{orgId}/invites`, the older generation.

A deletion of one of them that was accepted meanwhile hits nothing.
"""

from typing import Final

from invite_sweeper.atlas.buckets import BucketKey
from invite_sweeper.atlas.operations import DELETE_ORG_INVITE, LIST_ORG_INVITES
from invite_sweeper.atlas.people import org_invitation
from invite_sweeper.atlas.sources.calls import Calls, Rows
from invite_sweeper.atlas.wire import parse_array
from invite_sweeper.inventory import Project, Source


def _rows(body: bytes, organization: Project) -> Rows:
    return Rows(parse_array(body, lambda item: org_invitation(item, organization)))


def _turns(org_id: str, _org_id: str) -> tuple[BucketKey, ...]:
    return (BucketKey(DELETE_ORG_INVITE.endpoint_set, org_id),)


CALLS: Final = Calls(
    Source.ORG_INVITES,
    LIST_ORG_INVITES,
    DELETE_ORG_INVITE,
    _rows,
    _turns,
)
