"""JSON bodies -> models."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, NamedTuple

import orjson

from invite_sweeper.atlas.endpoints import is_id
from invite_sweeper.atlas.rate_limits import AdvertisedLimit, BucketLimit
from invite_sweeper.models import (
    Invitation,
    ListUnreadable,
    Project,
    Source,
    Timestamp,
    UnreadableDate,
)

# HTTP as data: the bytes of good answers to values. Pure.
#
# Lenient where Atlas may vary (unknown keys, missing fields, odd dates), strict where a
# mistake would lose an invitation: half a list is not a list.


_MAX_RAW_LENGTH: Final = 200


class InvalidResponse(ValueError):
    """The body is not what the operation answers. No part of it is used."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a paged list.

    Attributes:
        results: Each one an object, in Atlas's order; may be fewer than a page holds, or none,
            while there is a next page.
        has_next: Atlas names a next page. Its address is never used: it could lead elsewhere.
    """

    results: tuple[dict[str, object], ...]
    has_next: bool


def parse_page(body: bytes) -> Page:
    """Read one page of a paged list.

    Raises:
        Nonsense: The body is no object, `results` no array of objects, or `links` no array.

    Source:
        The recordings (read 2026-08): no `next` link is the only sign of the last page;
        `totalCount` over-counts and short pages come with a `next`.
    """
    page = _require_object(_load_json(body), "the page")
    if "results" not in page:
        message = "the page has no results"
        raise InvalidResponse(message)
    results = tuple(
        _require_object(item, "a result") for item in _require_array(page["results"], "results")
    )
    links = page.get("links")
    rels = (
        _require_object(link, "a link").get("rel")
        for link in ([] if links is None else _require_array(links, "links"))
    )
    return Page(results, has_next="next" in rels)


def parse_project(item: dict[str, object]) -> Project | ListUnreadable:
    """Read one result of `GET /groups`; `Unreadable` where its id has a wrong form.

    Raises:
        Nonsense: It does not say its name or its organization.

    Source: `Group` of the OpenAPI document: `name` and `orgId` are required, `id` is not.
    """
    name, org_id = _string_or_none(item.get("name")), _string_or_none(item.get("orgId"))
    if not name or not org_id:
        message = "a project without a name or an organization"
        raise InvalidResponse(message)
    group_id = _string_or_none(item.get("id")) or ""
    if not is_id(group_id):
        return ListUnreadable(group_id[:_MAX_RAW_LENGTH], name, "Its id has a wrong form.")
    return Project(group_id, name, org_id, _tags(item.get("tags")))


def parse_invitations(body: bytes, project: Project) -> tuple[Invitation, ...]:
    """Read the answer to `GET /groups/{groupId}/invites`.

    One invitation per pending invite, in Atlas's order; empty when there are none. The
    answer is a bare array and is not paged. An element that is listed twice is given once.

    Args:
        body: The JSON of a 200 answer.
        project: The project asked about. It is trusted over what the answer says of itself,
            so that a deletion always goes to the project that was listed.

    Raises:
        Nonsense: The body is no array of objects, one of them names another project, or an
            id is listed twice with different contents.

    Source:
        `GroupInvitation` of the OpenAPI document: no field is required. The recordings
        (read 2026-08): `inviterUsername` is often an API key's public key.
    """
    return parse_invitation_array(body, lambda item: _invitation(item, project))


def parse_invitation_array(
    body: bytes, parse_item: Callable[[dict[str, object]], Invitation]
) -> tuple[Invitation, ...]:
    """Read a bare array of invitations; one that is listed twice is given once.

    Raises:
        Nonsense: The body is no array of objects, `read` raised it, or an id is listed twice
            with different contents.
    """
    found: list[Invitation] = []
    by_id: dict[str, Invitation] = {}
    for element in _require_array(_load_json(body), "the list"):
        invitation = parse_item(_require_object(element, "an invitation"))
        first_seen = by_id.setdefault(invitation.id, invitation) if invitation.id else invitation
        if first_seen is invitation:
            found.append(invitation)
        elif first_seen != invitation:
            message = "the list holds one id twice with different contents"
            raise InvalidResponse(message)
    return tuple(found)


def _invitation(item: dict[str, object], project: Project) -> Invitation:
    get = item.get
    group_id = get("groupId")
    if group_id is not None and group_id != project.id:
        message = "the list holds an invitation to another project"
        raise InvalidResponse(message)
    return Invitation(
        _string_or_none(get("id")) or "",
        project.id,
        project.name,
        project.org_id,
        _string_or_none(get("username")),
        _strings(get("roles")),
        _string_or_none(get("inviterUsername")),
        parse_timestamp(get("createdAt")),
        parse_timestamp(get("expiresAt")),
    )


def parse_timestamp(value: object) -> Timestamp:
    """Read a date as Atlas writes it; what is no instant is kept as it was sent.

    Fractions and offsets are read, and turned to UTC. A date without an offset could mean
    any of 26 hours, so it is unreadable.
    """
    if value is None:
        return None
    if not isinstance(value, str):
        return UnreadableDate(orjson.dumps(value).decode()[:_MAX_RAW_LENGTH])
    try:
        timestamp = datetime.fromisoformat(value)
        if timestamp.tzinfo is UTC:
            return timestamp
        return (
            timestamp.astimezone(UTC)
            if timestamp.tzinfo
            else UnreadableDate(value[:_MAX_RAW_LENGTH])
        )
    except (ValueError, OverflowError):
        return UnreadableDate(value[:_MAX_RAW_LENGTH])


def _load_json(body: bytes) -> object:
    try:
        loaded: object = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        message = f"the body is no JSON ({error.msg})" if body else "the body is empty"
        raise InvalidResponse(message) from None
    try:
        json.loads(body, object_pairs_hook=_check_unique_keys)
    except RecursionError:
        message = "the body is nested too deeply"
        raise InvalidResponse(message) from None
    return loaded


def _check_unique_keys(pairs: list[tuple[str, object]]) -> None:
    """Raise InvalidResponse if a key occurs twice in one object: which value holds is unknown."""
    keys = [key for key, _ in pairs]
    if len(set(keys)) < len(keys):
        message = "a key occurs twice in one object"
        raise InvalidResponse(message)


def _require_object(value: object, name: str) -> dict[str, object]:
    if not isinstance(value, dict):
        message = f"{name} is no object"
        raise InvalidResponse(message)
    return value


def _require_array(value: object, name: str) -> list[object]:
    if not isinstance(value, list):
        message = f"{name} is no array"
        raise InvalidResponse(message)
    return value


def _string_or_none(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _strings(value: object) -> tuple[str, ...]:
    items: Iterable[object] = value if isinstance(value, list) else ()
    return tuple([item for item in items if isinstance(item, str)])


def _tags(value: object) -> tuple[tuple[str, str], ...]:
    items: Iterable[object] = value if isinstance(value, list) else ()
    pairs = ((i.get("key"), i.get("value")) for i in items if isinstance(i, dict))
    return tuple((k, v) for k, v in pairs if isinstance(k, str) and isinstance(v, str))


# What the lists of people say, row by row. Pure.
#
# The newer lists hold users with a status; the older list of an organization holds
# invitations. Both may carry roles in projects, which decide whether a row may be touched,
# so what cannot be read of those is no empty set but nonsense, or a project nobody knows.


class UserRecord(NamedTuple):
    """What Atlas says of one user at one moment.

    Attributes:
        status: `ACTIVE`, `PENDING`, …; None where it told none.
        invited_at: None for an active member.
        projects: Ids of the projects that the user has roles in; None where not told.
    """

    id: str | None
    username: str | None
    status: str | None
    invited_at: Timestamp
    project_ids: frozenset[str] | None


def parse_user(body: bytes) -> UserRecord:
    """Read one user, of a project or of an organization.

    Raises:
        Nonsense: The body is no object.

    Source: `GroupUserResponse` and `OrgUserResponse` of the OpenAPI document, 2025-02-19.
    """
    item = _require_object(_load_json(body), "the user")
    roles = item.get("roles")
    assignments = roles.get("groupRoleAssignments") if isinstance(roles, dict) else None
    project_ids = (
        frozenset(group_id for group_id, _ in _project_roles(assignments))
        if isinstance(assignments, list)
        else None
    )
    return UserRecord(
        _string_or_none(item.get("id")),
        _string_or_none(item.get("username")),
        _string_or_none(item.get("orgMembershipStatus")),
        parse_timestamp(item.get("invitationCreatedAt")),
        project_ids,
    )


def parse_group_user(item: dict[str, object], project: Project) -> Invitation:
    """Read one row of `GET /groups/{groupId}/users`.

    Source: `GroupUserResponse`, 2025-02-19: `roles` is a flat array of texts.
    """
    return _user_invitation(item, project, Source.USERS, roles=_strings(item.get("roles")))


def parse_org_user(item: dict[str, object], organization: Project) -> Invitation:
    """Read one row of `GET /orgs/{orgId}/users`; `project_roles` holds its roles in projects.

    Raises:
        Nonsense: Its roles cannot be read, so nobody knows which projects it reaches.

    Source: `OrgUserResponse`, 2025-02-19: `roles` is an object.
    """
    roles = item.get("roles")
    if not isinstance(roles, dict):
        message = "a user of the organization without roles"
        raise InvalidResponse(message)
    project_roles = tuple(_project_roles(roles.get("groupRoleAssignments")))
    return _user_invitation(
        item, organization, Source.ORG_USERS, _strings(roles.get("orgRoles")), project_roles
    )


def parse_org_invitation(item: dict[str, object], organization: Project) -> Invitation:
    """Read one element of `GET /orgs/{orgId}/invites`; `project_roles` as of `org_user`.

    Raises:
        Nonsense: It belongs to another organization, or its roles cannot be read.

    Source: `OrganizationInvitation` of the OpenAPI document, 2023-01-01.
    """
    if item.get("orgId") not in {None, organization.id}:
        message = "the list holds an invitation to another organization"
        raise InvalidResponse(message)
    project_roles = tuple(_project_roles(item.get("groupRoleAssignments")))
    return Invitation(
        id=_string_or_none(item.get("id")) or "",
        project_id=organization.id,
        project_name="",
        org_id=organization.org_id,
        username=_string_or_none(item.get("username")),
        roles=_strings(item.get("roles")),
        inviter=_string_or_none(item.get("inviterUsername")),
        created_at=parse_timestamp(item.get("createdAt")),
        expires_at=parse_timestamp(item.get("expiresAt")),
        source=Source.ORG_INVITES,
        team_ids=_strings(item.get("teamIds")),
        project_roles=project_roles,
        linked_projects=_linked_projects(project_roles),
    )


def _user_invitation(
    item: dict[str, object],
    project: Project,
    source: Source,
    roles: tuple[str, ...],
    project_roles: tuple[tuple[str, str], ...] = (),
) -> Invitation:
    return Invitation(
        id=_string_or_none(item.get("id")) or "",
        project_id=project.id,
        project_name=project.name,
        org_id=project.org_id,
        username=_string_or_none(item.get("username")),
        roles=roles,
        inviter=_string_or_none(item.get("inviterUsername")),
        created_at=parse_timestamp(item.get("invitationCreatedAt")),
        expires_at=parse_timestamp(item.get("invitationExpiresAt")),
        source=source,
        status=_string_or_none(item.get("orgMembershipStatus")),
        team_ids=_strings(item.get("teamIds")),
        project_roles=project_roles,
        linked_projects=_linked_projects(project_roles),
    )


def _project_roles(assignments: object) -> Iterator[tuple[str, str]]:
    """Project ids with each of their roles; an assignment without a role still reaches.

    Source: `groupRole` is one text in the older list, `groupRoles` an array in the newer one.
    """
    if assignments is None:
        return
    if not isinstance(assignments, list) or not all(isinstance(a, dict) for a in assignments):
        message = "the roles in projects cannot be read"
        raise InvalidResponse(message)
    for assignment in assignments:
        single_role = _string_or_none(assignment.get("groupRole"))
        for role in (
            (single_role,) if single_role else _strings(assignment.get("groupRoles")) or ("",)
        ):
            yield _string_or_none(assignment.get("groupId")) or "", role


def _linked_projects(project_roles: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    ids = dict.fromkeys(group_id for group_id, _ in project_roles)
    return tuple((group_id, "") for group_id in ids)


# What `GET /rateLimits` tells. Pure.


def parse_advertised_limit(item: dict[str, object]) -> AdvertisedLimit | None:
    """Read one entry of `GET /rateLimits`; None where it says nothing that can be used.

    Source: `RateLimitEndpointSetResponse` of the OpenAPI document, 2025-03-12.
    """
    name = _string_or_none(item.get("endpointSetId")) or _string_or_none(
        item.get("endpointSetName")
    )
    scope = _string_or_none(item.get("scope"))
    capacity = _number_value(item.get("capacity"))
    refill = _number_value(item.get("refillRate"))
    period_s = _number_value(item.get("refillDurationSeconds"))
    if not name or not scope or capacity is None or refill is None or period_s is None:
        return None
    return AdvertisedLimit(name, scope, BucketLimit(capacity, refill, period_s))


def _number_value(value: object) -> float | None:
    number = value.get("value") if isinstance(value, dict) else None
    return float(number) if isinstance(number, int | float) else None
