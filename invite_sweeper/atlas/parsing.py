"""Parse the JSON bodies of successful responses into models. No input or output.

Lenient where Atlas may vary (unknown keys, missing fields, unusual dates), strict where a mistake
could lose an invitation: a list that is not complete is an error.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Final, Generic, NamedTuple, TypeVar

from invite_sweeper.atlas.endpoints import is_id
from invite_sweeper.atlas.responses import InvalidResponse
from invite_sweeper.json_text import parse_json, to_json
from invite_sweeper.models import (
    Invitation,
    ListUnreadable,
    Project,
    Timestamp,
    UnreadableDate,
)
from invite_sweeper.redaction import SECRETS
from invite_sweeper.text import casefold_visible

_MAX_RAW_LENGTH: Final = 200
T = TypeVar("T")


class Page(NamedTuple, Generic[T]):
    """One page of a list, or a whole list that is not paged.

    Attributes:
        rows: In Atlas's order. There may be fewer than the page size, or none, even if there is
            a next page.
        has_next: Atlas links to a next page. The link itself is never used: it could point to
            another host.
    """

    rows: tuple[T, ...]
    has_next: bool = False


def parse_page(body: bytes, parse_row: Callable[[dict[str, object]], T]) -> Page[T]:
    """Parse one page of a paged list.

    Raises:
        InvalidResponse: The body is not an object, `results` is not an array of objects, `links`
            is not an array, or `parse_row` raised it.

    Source:
        The recordings (read 2026-08): only a missing `next` link marks the last page;
        `totalCount` can be too high, and short pages can have a `next` link.
    """
    page = _require_object(_load_json(body), "the page")
    if "results" not in page:
        message = "the page has no `results`"
        raise InvalidResponse(message)
    rows = tuple(
        parse_row(_require_object(item, "a result"))
        for item in _require_array(page["results"], "results")
    )
    links = page.get("links")
    rels = (
        _require_object(link, "a link").get("rel")
        for link in ([] if links is None else _require_array(links, "links"))
    )
    return Page(rows, has_next="next" in rels)


def parse_array(
    body: bytes, parse_row: Callable[[dict[str, object]], Invitation]
) -> Page[Invitation]:
    """Parse a list of invitations that is not paged.

    Raises:
        InvalidResponse: The body is not an array of objects, an id is listed twice with
            different contents, or `parse_row` raised it.
    """
    rows = tuple(
        parse_row(_require_object(item, "an invitation"))
        for item in _require_array(_load_json(body), "the list")
    )
    by_id: dict[str, Invitation] = {}
    if any(row.id and by_id.setdefault(row.id, row) != row for row in rows):
        message = "an id is listed twice with different contents"
        raise InvalidResponse(message)
    return Page(rows)


def parse_project(item: dict[str, object]) -> Project | ListUnreadable:
    """Parse one result of `GET /groups`; ListUnreadable if its id is malformed.

    Raises:
        InvalidResponse: Its name or organization is missing.

    Source: `Group` of the OpenAPI document: `name` and `orgId` are required, `id` is not.
    """
    name, org_id = text_or_none(item.get("name")), text_or_none(item.get("orgId"))
    if not name or not org_id:
        message = "a project has no name or no organization"
        raise InvalidResponse(message)
    group_id = text_or_none(item.get("id")) or ""
    if not is_id(group_id):
        return ListUnreadable(_shortened(group_id), name, "The project id is malformed.")
    return Project(group_id, name, org_id, _tags(item.get("tags")))


def parse_organization(item: dict[str, object]) -> tuple[str, str]:
    """Return id and name of one result of `GET /orgs`.

    Raises:
        InvalidResponse: Its id is malformed or it has no name.
    """
    org_id, name = text_or_none(item.get("id")) or "", text_or_none(item.get("name"))
    if not is_id(org_id) or not name:
        message = "an organization has no name or a malformed id"
        raise InvalidResponse(message)
    return org_id, name


def parse_timestamp(value: object) -> Timestamp:
    """Parse a timestamp and convert it to UTC; UnreadableDate with the raw text if that fails.

    A date without an offset is unreadable: it could mean any of 26 hours.
    """
    if value is None:
        return None
    if not isinstance(value, str):
        return UnreadableDate(_shortened(to_json(value).decode()))
    try:
        timestamp = datetime.fromisoformat(value)
        if timestamp.tzinfo is UTC:
            return timestamp
        if timestamp.tzinfo:
            return timestamp.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    return UnreadableDate(_shortened(value))


def _shortened(value: str) -> str:
    """Return the start of a text; of a secret that is cut, the rest would not be found."""
    return SECRETS.redact(value)[:_MAX_RAW_LENGTH]


def _load_json(body: bytes) -> object:
    """Parse JSON, more strictly than `json`: no `NaN`, no key twice, no half of a character."""
    try:
        text = body.decode()
        if "\\u" in text:
            parse_json(body)  # refuses half of a surrogate pair
        loaded: object = json.loads(
            text, object_pairs_hook=_unique_keys, parse_constant=_refuse_constant
        )
    except InvalidResponse:
        raise
    except ValueError:
        message = "the body is not JSON" if body else "the body is empty"
        raise InvalidResponse(message) from None
    except RecursionError:
        message = "the body is nested too deeply"
        raise InvalidResponse(message) from None
    return loaded


def _unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Raise InvalidResponse if a key occurs twice in one object: which value holds is unknown."""
    found = dict(pairs)
    if len(found) < len(pairs):
        message = "a key occurs twice in one object"
        raise InvalidResponse(message)
    return found


def _refuse_constant(name: str) -> object:
    message = f"the body is not JSON: {name} is not a number"
    raise InvalidResponse(message)


def _require_object(value: object, name: str) -> dict[str, object]:
    if not isinstance(value, dict):
        message = f"{name} is not an object"
        raise InvalidResponse(message)
    return value


def _require_array(value: object, name: str) -> list[object]:
    if not isinstance(value, list):
        message = f"{name} is not an array"
        raise InvalidResponse(message)
    return value


def text_or_none(value: object) -> str | None:
    """Return a text as it is, and None for any other value."""
    return value if isinstance(value, str) else None


def texts(value: object) -> tuple[str, ...]:
    """Return the texts in an array; of any other value, none."""
    items: Iterable[object] = value if isinstance(value, list) else ()
    return tuple([item for item in items if isinstance(item, str)])


def _tags(value: object) -> tuple[tuple[str, str], ...]:
    items: Iterable[object] = value if isinstance(value, list) else ()
    pairs = ((i.get("key"), i.get("value")) for i in items if isinstance(i, dict))
    return tuple((k, v) for k, v in pairs if isinstance(k, str) and isinstance(v, str))


def parse_listed_user(
    body: bytes, parse_row: Callable[[dict[str, object]], Invitation]
) -> Invitation:
    """Parse one user as the row of the list that contains it.

    Raises:
        InvalidResponse: The body is not an object, or `parse_row` raised it.
    """
    return parse_row(_require_object(_load_json(body), "the user"))


class UserRecord(NamedTuple):
    """Whether one user is still a member, as Atlas returned it.

    Attributes:
        status: `ACTIVE`, `PENDING`, …; None if missing.
        project_ids: Projects in which the user has roles; None if not returned.
    """

    id: str | None
    status: str | None
    project_ids: frozenset[str] | None


def parse_user(body: bytes) -> UserRecord:
    """Parse one user of a project or organization.

    Raises:
        InvalidResponse: The body is not an object.

    Source: `GroupUserResponse` and `OrgUserResponse` of the OpenAPI document, 2025-02-19.
    """
    item = _require_object(_load_json(body), "the user")
    roles = item.get("roles")
    assignments = roles.get("groupRoleAssignments") if isinstance(roles, dict) else None
    project_ids = (
        frozenset(group_id for group_id, _ in parse_project_roles(assignments))
        if isinstance(assignments, list)
        else None
    )
    return UserRecord(
        text_or_none(item.get("id")),
        text_or_none(item.get("orgMembershipStatus")),
        project_ids,
    )


def parse_team_id(item: dict[str, object]) -> str:
    """Parse one result of `GET /groups/{groupId}/teams`: the id of a team with access.

    Raises:
        InvalidResponse: Its id is missing or malformed, so which team it is is unknown.

    Source: `TeamRole` of the OpenAPI document, 2023-01-01.
    """
    team_id = text_or_none(item.get("teamId")) or ""
    if not is_id(team_id):
        message = "a team has no well-formed id"
        raise InvalidResponse(message)
    return team_id


def parse_member(item: dict[str, object]) -> tuple[str, str]:
    """Return the folded username and the status of one user; the status is "" if it is missing.

    Raises:
        InvalidResponse: It has no username.
    """
    name, status = item.get("username"), item.get("orgMembershipStatus")
    folded = casefold_visible(name) if isinstance(name, str) else ""
    if not folded:
        message = "a user has no username"
        raise InvalidResponse(message)
    return folded, status if isinstance(status, str) else ""


class OrgEvent(NamedTuple):
    """A user was invited to an organization, or joined it.

    Attributes:
        kind: `INVITED_TO_ORG` or `JOINED_ORG`.
        username: Folded (`casefold_visible`); None if it is missing.
        created_at: When.
    """

    kind: str
    username: str | None
    created_at: Timestamp


def parse_event(item: dict[str, object]) -> OrgEvent:
    """Parse one result of `GET /orgs/{orgId}/events`.

    Raises:
        InvalidResponse: It has no kind.

    Source: `UserEventViewForOrg` of the OpenAPI document: `targetUsername` is the user whom the
        event is about, `username` the user who caused it.
    """
    kind, username = item.get("eventTypeName"), item.get("targetUsername")
    if not isinstance(kind, str):
        message = "an event has no kind"
        raise InvalidResponse(message)
    if kind == "JOINED_ORG" and not isinstance(username, str):
        username = item.get("username")
    name = casefold_visible(username) if isinstance(username, str) else None
    return OrgEvent(kind, name, parse_timestamp(item.get("created")))


def parse_secret_expiries(body: bytes) -> tuple[datetime, ...]:
    """Parse when the secrets of a service account expire, the first one first.

    Raises:
        InvalidResponse: A date is missing or unreadable, so which one is next is unknown.

    Source: `OrgServiceAccount` of the OpenAPI document, 2024-08-05.
    """
    account = _require_object(_load_json(body), "the service account")
    found: list[datetime] = []
    for item in _require_array(account.get("secrets"), "`secrets`"):
        expires_at = parse_timestamp(_require_object(item, "a secret").get("expiresAt"))
        if not isinstance(expires_at, datetime):
            message = "a secret has no readable date"
            raise InvalidResponse(message)
        found.append(expires_at)
    return tuple(sorted(found))


def parse_project_roles(assignments: object) -> Iterator[tuple[str, str]]:
    """Yield each project id and role; an assignment without a role yields the role "".

    Source: Invitations have one string `groupRole`, users an array `groupRoles`.
    """
    if assignments is None:
        return
    if not isinstance(assignments, list) or not all(isinstance(a, dict) for a in assignments):
        message = "the project roles cannot be read"
        raise InvalidResponse(message)
    for assignment in assignments:
        single_role = text_or_none(assignment.get("groupRole"))
        for role in (single_role,) if single_role else texts(assignment.get("groupRoles")) or ("",):
            yield text_or_none(assignment.get("groupId")) or "", role
