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
    parse_group_user,
    parse_invitation_array,
    parse_invitations,
    parse_org_invitation,
    parse_org_user,
    parse_page,
)
from invite_sweeper.models import Invitation, InvitationList, Project, Source


class ListPage(NamedTuple):
    """One page of a list, or a whole list that is not paged.

    Attributes:
        has_next: Whether there is another page; always False for a list that is not paged.
    """

    invitations: InvitationList
    has_next: bool = False


class SourceApi(NamedTuple):
    """The API calls of one source.

    Attributes:
        list: Takes one id, of the project or organization.
        delete: Takes that id and the invitation's.
        parse_list: Parses a response of `list`. For an organization's list, the `Project` has
            the organization's id.
        invite: Invites a user again; `org_invites` uses the call that replaces its own.
        roles: The roles that listing and deleting require. Source: the OpenAPI document, read
            2026-08.
        read_user: Reads one user just before the deletion; takes the same ids as `delete`. None
            if `delete` cannot affect an accepted invitation.
    """

    list: Endpoint
    delete: Endpoint
    parse_list: Callable[[bytes, Project], ListPage]
    invite: Endpoint
    roles: tuple[str, str]
    read_user: Endpoint | None = None


def _users(
    parse_user: Callable[[dict[str, object], Project], Invitation],
) -> Callable[[bytes, Project], ListPage]:
    """Return the parser of a paged list of users."""

    def parse_list(body: bytes, project: Project) -> ListPage:
        page = parse_page(body)
        return ListPage(
            InvitationList(parse_user(item, project) for item in page.results), page.has_next
        )

    return parse_list


def _group_invites(body: bytes, project: Project) -> ListPage:
    return ListPage(parse_invitations(body, project))


def _org_invites(body: bytes, organization: Project) -> ListPage:
    return ListPage(
        parse_invitation_array(body, lambda item: parse_org_invitation(item, organization))
    )


SOURCES: Final[Mapping[Source, SourceApi]] = MappingProxyType(
    {
        # Invitations API: the DELETE has no effect on an accepted invitation.
        Source.INVITES: SourceApi(
            LIST_GROUP_INVITES,
            DELETE_GROUP_INVITE,
            _group_invites,
            CREATE_GROUP_INVITE,
            ("Project Owner", "Project Owner"),
        ),
        Source.ORG_INVITES: SourceApi(
            LIST_ORG_INVITES,
            DELETE_ORG_INVITE,
            _org_invites,
            ADD_ORG_USER,
            ("Organization Owner", "Organization Owner"),
        ),
        # Users API, also with invitations created in the web interface: the DELETE removes the
        # user from the project, or from the organization and all its projects, in any status.
        Source.USERS: SourceApi(
            LIST_GROUP_USERS,
            REMOVE_GROUP_USER,
            _users(parse_group_user),
            ADD_GROUP_USER,
            ("Project Read Only", "Project Access Manager or Project Owner"),
            GET_GROUP_USER,
        ),
        Source.ORG_USERS: SourceApi(
            LIST_ORG_USERS,
            REMOVE_ORG_USER,
            _users(parse_org_user),
            ADD_ORG_USER,
            ("Organization Member", "Organization Owner"),
            GET_ORG_USER,
        ),
    }
)
"""No other list can be read or deleted from."""
