"""The four lists that contain invited users, and the API calls of each, as one table."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from invite_sweeper.atlas.endpoints import (
    ADD_GROUP_USER,
    ADD_ORG_USER,
    CREATE_GROUP_INVITE,
    DELETE_GROUP_INVITE,
    DELETE_ORG_INVITE,
    GET_GROUP_USER,
    GET_ORG_USER,
    LIST_GROUP_INVITES,
    LIST_GROUP_USERS,
    LIST_ORG_INVITES,
    LIST_ORG_USERS,
    REMOVE_GROUP_USER,
    REMOVE_ORG_USER,
    Endpoint,
)
from invite_sweeper.atlas.parsing import (
    parse_group_invitation,
    parse_group_user,
    parse_org_invitation,
    parse_org_user,
)
from invite_sweeper.models import Invitation, Project, Source


class SourceApi(NamedTuple):
    """The API calls of one source.

    Attributes:
        list: Takes one id, of the project or organization.
        delete: Takes that id and the invitation's.
        parse_row: Parses one row of `list`, and a response of `read_user`. For an organization's
            list, the `Project` has the organization's id.
        invite: Invites a user again; `org_invites` uses the call that replaces its own.
        read_user: Reads one user just before the deletion; takes the same ids as `delete`. None
            if `delete` cannot affect an accepted invitation.
    """

    list: Endpoint
    delete: Endpoint
    parse_row: Callable[[dict[str, object], Project], Invitation]
    invite: Endpoint
    read_user: Endpoint | None = None


SOURCES: Final[Mapping[Source, SourceApi]] = MappingProxyType(
    {
        # Invitations API: the DELETE has no effect on an accepted invitation.
        Source.INVITES: SourceApi(
            LIST_GROUP_INVITES,
            DELETE_GROUP_INVITE,
            parse_group_invitation,
            CREATE_GROUP_INVITE,
        ),
        Source.ORG_INVITES: SourceApi(
            LIST_ORG_INVITES,
            DELETE_ORG_INVITE,
            parse_org_invitation,
            ADD_ORG_USER,
        ),
        # Users API, also with invitations created in the web interface: the DELETE removes the
        # user from the project, or from the organization and all its projects, in any status.
        Source.USERS: SourceApi(
            LIST_GROUP_USERS,
            REMOVE_GROUP_USER,
            parse_group_user,
            ADD_GROUP_USER,
            GET_GROUP_USER,
        ),
        Source.ORG_USERS: SourceApi(
            LIST_ORG_USERS,
            REMOVE_ORG_USER,
            parse_org_user,
            ADD_ORG_USER,
            GET_ORG_USER,
        ),
    }
)
"""No other list can be read or deleted from."""
