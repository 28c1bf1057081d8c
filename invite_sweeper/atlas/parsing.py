"""JSON bodies -> models."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, NamedTuple

import orjson

from invite_sweeper.atlas.endpoints import is_id
from invite_sweeper.atlas.rate_limits import AdvertisedLimit, BucketLimit
from invite_sweeper.models import Invitation, Moment, Project, Source, Unreadable, UnreadableDate

# HTTP as data: the bytes of good answers to values. Pure.
#
# Lenient where Atlas may vary (unknown keys, missing fields, odd dates), strict where a
# mistake would lose an invitation: half a list is not a list.


_MAX_RAW: Final = 200


class Nonsense(ValueError):
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
    page = _object(_loaded(body), "the page")
    if "results" not in page:
        message = "the page has no results"
        raise Nonsense(message)
    results = tuple(_object(item, "a result") for item in _array(page["results"], "results"))
    links = page.get("links")
    rels = (
        _object(link, "a link").get("rel")
        for link in ([] if links is None else _array(links, "links"))
    )
    return Page(results, has_next="next" in rels)


def parse_project(item: dict[str, object]) -> Project | Unreadable:
    """Read one result of `GET /groups`; `Unreadable` where its id has a wrong form.

    Raises:
        Nonsense: It does not say its name or its organization.

    Source: `Group` of the OpenAPI document: `name` and `orgId` are required, `id` is not.
    """
    name, org_id = _text(item.get("name")), _text(item.get("orgId"))
    if not name or not org_id:
        message = "a project without a name or an organization"
        raise Nonsense(message)
    group_id = _text(item.get("id")) or ""
    if not is_id(group_id):
        return Unreadable(group_id[:_MAX_RAW], name, "Its id has a wrong form.")
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
    return parse_array(body, lambda item: _invitation(item, project))


def parse_array(
    body: bytes, read: Callable[[dict[str, object]], Invitation]
) -> tuple[Invitation, ...]:
    """Read a bare array of invitations; one that is listed twice is given once.

    Raises:
        Nonsense: The body is no array of objects, `read` raised it, or an id is listed twice
            with different contents.
    """
    found: list[Invitation] = []
    by_id: dict[str, Invitation] = {}
    for element in _array(_loaded(body), "the list"):
        invitation = read(_object(element, "an invitation"))
        before = by_id.setdefault(invitation.id, invitation) if invitation.id else invitation
        if before is invitation:
            found.append(invitation)
        elif before != invitation:
            message = "the list holds one id twice with different contents"
            raise Nonsense(message)
    return tuple(found)


def _invitation(item: dict[str, object], project: Project) -> Invitation:
    get = item.get
    group_id = get("groupId")
    if group_id is not None and group_id != project.id:
        message = "the list holds an invitation to another project"
        raise Nonsense(message)
    return Invitation(
        _text(get("id")) or "",
        project.id,
        project.name,
        project.org_id,
        _text(get("username")),
        _texts(get("roles")),
        _text(get("inviterUsername")),
        parse_moment(get("createdAt")),
        parse_moment(get("expiresAt")),
    )


def parse_moment(value: object) -> Moment:
    """Read a date as Atlas writes it; what is no instant is kept as it was sent.

    Fractions and offsets are read, and turned to UTC. A date without an offset could mean
    any of 26 hours, so it is unreadable.
    """
    if value is None:
        return None
    if not isinstance(value, str):
        return UnreadableDate(orjson.dumps(value).decode()[:_MAX_RAW])
    try:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is UTC:
            return moment
        return moment.astimezone(UTC) if moment.tzinfo else UnreadableDate(value[:_MAX_RAW])
    except (ValueError, OverflowError):
        return UnreadableDate(value[:_MAX_RAW])


def _loaded(body: bytes) -> object:
    try:
        loaded: object = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        message = f"the body is no JSON ({error.msg})" if body else "the body is empty"
        raise Nonsense(message) from None
    return loaded


def _object(value: object, what: str) -> dict[str, object]:
    if not isinstance(value, dict):
        message = f"{what} is no object"
        raise Nonsense(message)
    return value


def _array(value: object, what: str) -> list[object]:
    if not isinstance(value, list):
        message = f"{what} is no array"
        raise Nonsense(message)
    return value


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _texts(value: object) -> tuple[str, ...]:
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


# What `GET /rateLimits` tells. Pure.


def parse_rate_limit(item: dict[str, object]) -> AdvertisedLimit | None:
    """Read one entry of `GET /rateLimits`; None where it says nothing that can be used.

    Source: `RateLimitEndpointSetResponse` of the OpenAPI document, 2025-03-12.
    """
    name = _text(item.get("endpointSetId")) or _text(item.get("endpointSetName"))
    scope = _text(item.get("scope"))
    capacity = _figure(item.get("capacity"))
    refill = _figure(item.get("refillRate"))
    period_s = _figure(item.get("refillDurationSeconds"))
    if not name or not scope or capacity is None or refill is None or period_s is None:
        return None
    return AdvertisedLimit(name, scope, BucketLimit(capacity, refill, period_s))


def _figure(value: object) -> float | None:
    number = value.get("value") if isinstance(value, dict) else None
    return float(number) if isinstance(number, int | float) else None
