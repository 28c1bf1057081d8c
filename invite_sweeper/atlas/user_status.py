"""The status of an invited user after a deletion was sent, or may have been."""

from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple, TypeAlias

from invite_sweeper.atlas.endpoints import GET_GROUP_USER, GET_ORG_USER, Endpoint
from invite_sweeper.atlas.parsing import UserRecord
from invite_sweeper.atlas.responses import (
    Response,
    ResponseOrFailure,
    describe,
    is_already_gone,
    is_unauthenticated,
    status_and_code,
)
from invite_sweeper.models import (
    Invitation,
    ListUnreadable,
    MembershipStatus,
    Source,
    UserStatus,
)

ReadUser: TypeAlias = Callable[[Endpoint, str], Awaitable[ResponseOrFailure]]
"""Reads the user of an invitation with this endpoint, in the project or organization."""

_NO_ACCESS_STATUSES: Final = frozenset({401, 403})


class StatusCheck(NamedTuple):
    """The status of a user, and the response of the organization."""

    user_status: UserStatus
    response: ResponseOrFailure


async def look_after(
    read_user: ReadUser, invitation: Invitation, *, is_confirmed: bool = False
) -> StatusCheck:
    """Read a user's status and whether the membership of an invitation still exists.

    The organization returns both: the status, and the projects in which the user has roles. The
    project is read as well where that leaves the membership open, or where the organization does
    not have the user: it proves nothing about a project that has just shown the user.

    Args:
        read_user: Sends the request.
        invitation: From one of `SOURCES_OF_USERS`.
        is_confirmed: Atlas has confirmed the removal, so that the organization's word is enough.
    """
    response = await read_user(GET_ORG_USER, invitation.org_id)
    found = _status_in_organization(response, invitation)
    is_proof = is_confirmed or found.status != MembershipStatus.GONE
    if invitation.source is Source.ORG_USERS or (found.still_member is not None and is_proof):
        return StatusCheck(found, response)
    in_project = await _read_project(read_user, invitation)
    if found.status is not None and not in_project.still_member:
        in_project = UserStatus(found.status, in_project.still_member)
    return StatusCheck(in_project, response)


def _status_in_organization(response: ResponseOrFailure, invitation: Invitation) -> UserStatus:
    user = user_in(response, invitation)
    if user is not None:
        if invitation.source is Source.ORG_USERS:
            return UserStatus(user.status, still_member=True)
        projects = user.project_ids
        still_member = None if projects is None else invitation.project_id in projects
        return UserStatus(user.status, still_member)
    if isinstance(response, Response) and is_already_gone(response):
        return UserStatus(MembershipStatus.GONE, still_member=False)
    return UserStatus(None, still_member=None)


async def _read_project(read_user: ReadUser, invitation: Invitation) -> UserStatus:
    """Read a user in the project. A missing user may have any status in the organization."""
    response = await read_user(GET_GROUP_USER, invitation.project_id)
    user = user_in(response, invitation)
    if user is not None:
        return UserStatus(user.status, still_member=True)
    gone = isinstance(response, Response) and is_already_gone(response)
    return UserStatus(None, still_member=False if gone else None)


async def resolve_status(
    read_user: ReadUser, invitation: Invitation
) -> UserStatus | ListUnreadable:
    """Return the current status of an invited user, whether or not a deletion was sent.

    The status is None if the organization may not be read and the user is not in the project.
    Returns ListUnreadable if a later attempt may find out more.

    Args:
        read_user: Sends the request.
        invitation: From one of `SOURCES_OF_USERS`.
    """
    found, response = await look_after(read_user, invitation)
    is_refused = isinstance(response, Response) and response.status in _NO_ACCESS_STATUSES
    has_no_access = is_refused and not is_unauthenticated(response)
    if found.still_member is None or (found.status is None and not has_no_access):
        return _unreadable_user(invitation, response)
    return found


def user_in(result: ResponseOrFailure, invitation: Invitation) -> UserRecord | None:
    """Return the invited user from a response; None if it contains no user or another one."""
    value = result.value if isinstance(result, Response) else None
    return value if isinstance(value, UserRecord) and value.id == invitation.id else None


def _unreadable_user(invitation: Invitation, response: ResponseOrFailure) -> ListUnreadable:
    return ListUnreadable(
        invitation.project_id,
        invitation.project_name,
        f"The status of the user could not be read: {describe(response)}.",
        *status_and_code(response),
        invitation.source,
    )
