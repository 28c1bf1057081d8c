"""`org_users`: who is invited to an organization, under `/orgs/{orgId}/users`.

What the web interface makes is here. The call that ends such an invitation removes the user
from the organization and all of its projects, whatever the status.
"""

from typing import Final

from invite_sweeper.atlas.buckets import BucketKey
from invite_sweeper.atlas.operations import GET_ORG_USER, LIST_ORG_USERS, REMOVE_ORG_USER
from invite_sweeper.atlas.people import org_user
from invite_sweeper.atlas.sources.calls import Calls, Rows
from invite_sweeper.atlas.wire import parse_page
from invite_sweeper.inventory import Project, Source


def _rows(body: bytes, organization: Project) -> Rows:
    page = parse_page(body)
    return Rows(tuple(org_user(item, organization) for item in page.results), page.has_next)


def _turns(org_id: str, _org_id: str) -> tuple[BucketKey, ...]:
    return (BucketKey(REMOVE_ORG_USER.endpoint_set, org_id),) * 3


CALLS: Final = Calls(
    Source.ORG_USERS, LIST_ORG_USERS, REMOVE_ORG_USER, _rows, _turns, reading=GET_ORG_USER
)
