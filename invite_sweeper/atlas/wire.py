"""HTTP as data: the bytes of good answers to values. Pure.

Lenient where Atlas may vary (unknown keys, missing fields, odd dates), strict where a
mistake would lose an invitation: half a list is not a list.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import orjson

from invite_sweeper.atlas.target import is_id
from invite_sweeper.inventory import Invitation, Moment, Project, Unreadable, UnreadableDate

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
