"""What the lists of people say, row by row. Pure.

The newer lists hold users with a status; the older list of an organization holds
invitations. Both may carry roles in projects, which decide whether a row may be touched,
so what cannot be read of those is no empty set but nonsense, or a project nobody knows.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import orjson

from invite_sweeper.atlas.wire import Nonsense, parse_moment
from invite_sweeper.inventory import Invitation, Moment, Project, Source


class Standing(NamedTuple):
    """What Atlas says of one user at one moment.

    Attributes:
        status: `ACTIVE`, `PENDING`, …; None where it told none.
        invited_at: None for an active member.
        projects: Ids of the projects that the user has roles in; None where not told.
    """

    id: str | None
    username: str | None
    status: str | None
    invited_at: Moment
    projects: frozenset[str] | None


def parse_standing(body: bytes) -> Standing:
    """Read one user, of a project or of an organization.

    Raises:
        Nonsense: The body is no object.

    Source: `GroupUserResponse` and `OrgUserResponse` of the OpenAPI document, 2025-02-19.
    """
    try:
        item: object = orjson.loads(body)
    except orjson.JSONDecodeError:
        item = None
    if not isinstance(item, dict):
        message = "the user is no object"
        raise Nonsense(message)
    roles = item.get("roles")
    assignments = roles.get("groupRoleAssignments") if isinstance(roles, dict) else None
    told = (
        frozenset(group_id for group_id, _ in _pairs(assignments))
        if isinstance(assignments, list)
        else None
    )
    return Standing(
        _text(item.get("id")),
        _text(item.get("username")),
        _text(item.get("orgMembershipStatus")),
        parse_moment(item.get("invitationCreatedAt")),
        told,
    )


def group_user(item: dict[str, object], project: Project) -> Invitation:
    """Read one row of `GET /groups/{groupId}/users`.

    Source: `GroupUserResponse`, 2025-02-19: `roles` is a flat array of texts.
    """
    return _user(item, project, Source.USERS, roles=_texts(item.get("roles")))


def org_user(item: dict[str, object], organization: Project) -> Invitation:
    """Read one row of `GET /orgs/{orgId}/users`; `origin` holds its roles in projects.

    Raises:
        Nonsense: Its roles cannot be read, so nobody knows which projects it reaches.

    Source: `OrgUserResponse`, 2025-02-19: `roles` is an object.
    """
    roles = item.get("roles")
    if not isinstance(roles, dict):
        message = "a user of the organization without roles"
        raise Nonsense(message)
    origin = tuple(_pairs(roles.get("groupRoleAssignments")))
    return _user(item, organization, Source.ORG_USERS, _texts(roles.get("orgRoles")), origin)


def org_invitation(item: dict[str, object], organization: Project) -> Invitation:
    """Read one element of `GET /orgs/{orgId}/invites`; `origin` as of `org_user`.

    Raises:
        Nonsense: It belongs to another organization, or its roles cannot be read.

    Source: `OrganizationInvitation` of the OpenAPI document, 2023-01-01.
    """
    if item.get("orgId") not in {None, organization.id}:
        message = "the list holds an invitation to another organization"
        raise Nonsense(message)
    origin = tuple(_pairs(item.get("groupRoleAssignments")))
    return Invitation(
        id=_text(item.get("id")) or "",
        project_id=organization.id,
        project_name="",
        org_id=organization.org_id,
        username=_text(item.get("username")),
        roles=_texts(item.get("roles")),
        inviter=_text(item.get("inviterUsername")),
        created_at=parse_moment(item.get("createdAt")),
        expires_at=parse_moment(item.get("expiresAt")),
        source=Source.ORG_INVITES,
        team_ids=_texts(item.get("teamIds")),
        origin=origin,
        reaches=_reached(origin),
    )


def _user(
    item: dict[str, object],
    project: Project,
    source: Source,
    roles: tuple[str, ...],
    origin: tuple[tuple[str, str], ...] = (),
) -> Invitation:
    return Invitation(
        id=_text(item.get("id")) or "",
        project_id=project.id,
        project_name=project.name,
        org_id=project.org_id,
        username=_text(item.get("username")),
        roles=roles,
        inviter=_text(item.get("inviterUsername")),
        created_at=parse_moment(item.get("invitationCreatedAt")),
        expires_at=parse_moment(item.get("invitationExpiresAt")),
        source=source,
        status=_text(item.get("orgMembershipStatus")),
        team_ids=_texts(item.get("teamIds")),
        origin=origin,
        reaches=_reached(origin),
    )


def _pairs(assignments: object) -> Iterator[tuple[str, str]]:
    """Project ids with each of their roles; an assignment without a role still reaches.

    Source: `groupRole` is one text in the older list, `groupRoles` an array in the newer one.
    """
    if assignments is None:
        return
    if not isinstance(assignments, list) or not all(isinstance(a, dict) for a in assignments):
        message = "the roles in projects cannot be read"
        raise Nonsense(message)
    for each in assignments:
        one = _text(each.get("groupRole"))
        for role in (one,) if one else _texts(each.get("groupRoles")) or ("",):
            yield _text(each.get("groupId")) or "", role


def _reached(origin: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    ids = dict.fromkeys(group_id for group_id, _ in origin)
    return tuple((group_id, "") for group_id in ids)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _texts(value: object) -> tuple[str, ...]:
    items: Iterable[object] = value if isinstance(value, list) else ()
    return tuple(item for item in items if isinstance(item, str))
