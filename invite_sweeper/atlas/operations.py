"""Every request that can be sent at all, and the one function that makes a path."""

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

from yarl import URL

from invite_sweeper.atlas.limits import PROJECTS_GROUP, PROJECTS_USER, RATE_LIMITS_USER
from invite_sweeper.errors import UsageFault

_ID: Final = re.compile(r"[a-f0-9]{24}")

V2023_01_01: Final = "application/vnd.atlas.2023-01-01+json"
V2025_03_12: Final = "application/vnd.atlas.2025-03-12+json"


@dataclass(frozen=True, slots=True, eq=False)
class Operation:
    """One operation of the API, as the client uses it. Each is only equal to itself.

    Attributes:
        method: `GET` or `DELETE`.
        template: The path, with `{}` where an id stands.
        media_type: The pinned version; an older or newer one is another operation.
        endpoint_set: Whose bucket it draws from, as `limits` names it.
        query: Pinned parameters, encoded.
        paged: It takes a `pageNum`.
    """

    method: str
    template: str
    media_type: str
    endpoint_set: str
    query: str = ""
    paged: bool = False


LIST_GROUPS: Final = Operation(
    "GET",
    "/api/atlas/v2/groups",
    V2023_01_01,
    PROJECTS_USER,
    query="itemsPerPage=500&includeCount=false",
    paged=True,
)
LIST_GROUP_INVITES: Final = Operation(
    "GET", "/api/atlas/v2/groups/{}/invites", V2023_01_01, PROJECTS_GROUP
)
DELETE_GROUP_INVITE: Final = Operation(
    "DELETE", "/api/atlas/v2/groups/{}/invites/{}", V2023_01_01, PROJECTS_GROUP
)
LIST_RATE_LIMITS: Final = Operation(
    "GET",
    "/api/atlas/v2/rateLimits",
    V2025_03_12,
    RATE_LIMITS_USER,
    query="itemsPerPage=500",
    paged=True,
)

OPERATIONS: Final = frozenset(
    {LIST_GROUPS, LIST_GROUP_INVITES, DELETE_GROUP_INVITE, LIST_RATE_LIMITS}
)
"""Nothing else can be sent; a new source adds its own here.

Source: https://www.mongodb.com/docs/atlas/reference/api-resources-spec/ (v2), read 2026-08.
"""


class UnsendableError(ValueError):
    """The request is none of `OPERATIONS`, or an id in it has a wrong form. Nothing is sent."""


def is_id(text: str) -> bool:
    """Tell whether `text` is an id as Atlas writes them: 24 lower-case hex digits."""
    return _ID.fullmatch(text) is not None


def target(operation: Operation, *ids: str, page: int | None = None) -> str:
    """Write the path and query of a request. No other function does.

    An empty id would make another endpoint of the path, so each one is checked.

    Args:
        operation: One of `OPERATIONS`.
        ids: As many as its template has places, in order.
        page: From 1; for a paged operation alone.

    Raises:
        UnsendableError: The operation is unknown, an id has a wrong form, there are too few
            or too many, or the page does not belong there.
    """
    fits = (
        operation in OPERATIONS
        and len(ids) == operation.template.count("{}")
        and all(map(is_id, ids))
        and (page is not None) == operation.paged
        and (page is None or page >= 1)
    )
    if not fits:
        message = f"not a request of this program: {operation.method} {operation.template}"
        raise UnsendableError(message)
    path = operation.template.format(*ids)
    if page is not None:
        return f"{path}?{operation.query}&pageNum={page}"
    return f"{path}?{operation.query}" if operation.query else path


def parse_base_url(text: str) -> URL:
    """Read the address of Atlas, without a slash at its end.

    Raises:
        UsageFault: No `https` address of a host (plain `http` is for loopback alone), or
            one with a user name, a query or a fragment. Never repeats a user name.
    """
    mend = "Write it as https://cloud.mongodb.com."
    try:
        url = URL(text.strip().rstrip("/"))
        host, port = url.host, url.port
    except ValueError:
        host, port, url = None, None, URL()
    if not host or url.scheme not in {"http", "https"} or port == 0:
        raise UsageFault("The base URL is not an http address with a host.", mend=mend)
    if url.raw_user is not None or url.raw_password is not None:
        raise UsageFault("The base URL holds a user name or password.", mend=mend)
    if "?" in text or "#" in text:
        raise UsageFault("The base URL holds a query or a fragment.", mend=mend)
    if url.scheme == "http" and not is_loopback(host):
        raise UsageFault(
            f"The base URL would send credentials to {host} unencrypted.",
            mend="Use https; http is for loopback addresses alone.",
        )
    return url


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine by its very name, without asking a resolver."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
