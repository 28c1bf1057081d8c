"""The status of an invited user after a deletion was sent, or may have been."""

from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple, TypeAlias

from invite_sweeper.atlas.endpoints import GET_ORG_USER, Endpoint
from invite_sweeper.atlas.parsing import UserRecord
from invite_sweeper.atlas.responses import (
    Response,
    ResponseOrFailure,
    describe,
    is_already_gone,
    is_unauthenticated,
    parse_error,
)
from invite_sweeper.atlas.sources import SOURCES
from invite_sweeper.models import Invitation, ListUnreadable, MembershipStatus, UserStatus

ReadUser: TypeAlias = Callable[[Endpoint, str], Awaitable[ResponseOrFailure]]
"""Reads the user of an invitation with this endpoint, in the project or organization."""

_NO_ACCESS_STATUSES: Final = frozenset({401, 403})


class StatusCheck(NamedTuple):
    """The status of a user, and the response of the organization."""

    user_status: UserStatus
    response: ResponseOrFailure


async def check_organization(
    read_user: ReadUser, invitation: Invitation, user_endpoint: Endpoint
) -> StatusCheck:
    """Read a user's status and whether the membership still exists.

    The organization returns both: the status, and the projects in which the user has roles. If it
    may not be read, the project is read: it shows only whether the user is still a member.

    Args:
        read_user: Sends the request.
        invitation: The user's invitation.
        user_endpoint: Reads one user in the source of the invitation.
    """
    response = await read_user(GET_ORG_USER, invitation.org_id)
    user = user_in(response, invitation)
    if user is not None:
        return StatusCheck(_user_status_of(user, invitation, user_endpoint), response)
    if isinstance(response, Response) and is_already_gone(response):
        return StatusCheck(UserStatus(MembershipStatus.GONE, still_member=False), response)
    if user_endpoint is GET_ORG_USER:
        return StatusCheck(UserStatus(None, still_member=None), response)
    return StatusCheck(await check_project(read_user, invitation, user_endpoint), response)


async def check_project(
    read_user: ReadUser, invitation: Invitation, user_endpoint: Endpoint
) -> UserStatus:
    """Read a user in the project. A missing user may have any status in the organization."""
    response = await read_user(user_endpoint, invitation.project_id)
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
    user_endpoint = SOURCES[invitation.source].read_user
    assert user_endpoint is not None  # noqa: S101 - every source of users has one
    (status, still_member), response = await check_organization(
        read_user, invitation, user_endpoint
    )
    status, still_member = await check_gone_from_project(
        read_user, invitation, user_endpoint, UserStatus(status, still_member)
    )
    if status is not None and still_member is None:
        # The organization returned the user without projects.
        still_member = (await check_project(read_user, invitation, user_endpoint)).still_member
    is_refused = isinstance(response, Response) and response.status in _NO_ACCESS_STATUSES
    has_no_access = is_refused and not is_unauthenticated(response)
    if still_member is None or (status is None and not has_no_access):
        return _unreadable_user(invitation, response)
    return UserStatus(status, still_member)


def user_in(result: ResponseOrFailure, invitation: Invitation) -> UserRecord | None:
    """Return the invited user from a response; None if it contains no user or another one."""
    value = result.value if isinstance(result, Response) else None
    return value if isinstance(value, UserRecord) and value.id == invitation.id else None


async def check_gone_from_project(
    read_user: ReadUser, invitation: Invitation, user_endpoint: Endpoint, user_status: UserStatus
) -> UserStatus:
    """Return the status of a user that the organization does not have, but a project may.

    The organization alone proves nothing about a project that has just shown the user.
    """
    if user_status.status != MembershipStatus.GONE or user_endpoint is GET_ORG_USER:
        return user_status
    in_project = await check_project(read_user, invitation, user_endpoint)
    return (
        in_project
        if in_project.still_member
        else UserStatus(user_status.status, in_project.still_member)
    )


def _unreadable_user(invitation: Invitation, response: ResponseOrFailure) -> ListUnreadable:
    status = response.status if isinstance(response, Response) else response.http_status
    return ListUnreadable(
        invitation.project_id,
        invitation.project_name,
        f"The status of the user could not be read: {describe(response)}.",
        status,
        parse_error(response).code if isinstance(response, Response) else None,
        invitation.source,
    )


def _user_status_of(
    user: UserRecord, invitation: Invitation, user_endpoint: Endpoint
) -> UserStatus:
    if user_endpoint is GET_ORG_USER:
        return UserStatus(user.status, still_member=True)
    projects = user.project_ids
    still_member = None if projects is None else invitation.project_id in projects
    return UserStatus(user.status, still_member)
