"""Responses and failed requests, and what they mean: deleted, gone, to be sent again, or fatal.

No input or output.
"""

import re
from collections.abc import Callable, Mapping
from enum import Enum, auto
from http.client import (
    BAD_REQUEST,
    FORBIDDEN,
    NO_CONTENT,
    NOT_FOUND,
    OK,
    TOO_MANY_REQUESTS,
    UNAUTHORIZED,
)
from typing import Final, TypeAlias

import msgspec
from msgspec import structs
from typing_extensions import override

from invite_sweeper.errors import ApiVersionRetired, AtlasUnavailable, CredentialsRefused, RunError
from invite_sweeper.json_text import parse_json, replace_halves
from invite_sweeper.models import ListUnreadable, Source
from invite_sweeper.redaction import SECRETS

_CODE: Final = re.compile(r"[A-Za-z0-9_]{1,100}")
_MAX_DETAIL: Final = 300
_MAX_REDACTED: Final = 100_000
_MAX_TYPE_SHOWN: Final = 60
"""Characters of an unexpected media type that an error repeats."""
_ERROR_KEYS: Final = frozenset(
    {"error", "errorCode", "errors", "error_description", "detail", "reason", "message"}
)
"""Keys of error bodies: `ApiError` of the OpenAPI document, OAuth, and proxies."""

_PAGE_TYPES: Final = frozenset({"text/html", "application/xhtml+xml"})
"""The types of a page of a proxy. No other type proves that of a response without JSON."""

REDIRECT: Final = 300
"""The lowest HTTP status that is not a success."""
SERVER_ERROR: Final = 500
"""The lowest HTTP status with which a server fails, not refuses."""


class InvalidResponse(ValueError):
    """The body is not what the endpoint returns. No part of it is used."""


class UnexpectedContent(InvalidResponse):
    """The body is JSON of another form than documented: Atlas would send it again.

    Attributes:
        of_entry: One entry of a list has that form, and the message names it.
    """

    def __init__(self, message: str, *, of_entry: bool = False) -> None:
        super().__init__(message)
        self.of_entry = of_entry


class Response(msgspec.Struct, frozen=True):
    """A complete response.

    Attributes:
        headers: Case-insensitive.
        body: Decompressed; empty for a successful DELETE.
        value: The parsed body; None if the request had no parser.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    value: object = None

    @override
    def __repr__(self) -> str:
        """Omit headers and body: they may contain secrets."""
        return f"Response(status={self.status})"

    @property
    def content(self) -> dict[str, object] | None:
        """The body if it is a JSON object."""
        try:
            body: object = parse_json(self.body)
        except ValueError:
            return None
        return body if isinstance(body, dict) else None

    @property
    def code(self) -> str | None:
        """Atlas's `errorCode`, or OAuth's `error`; None if missing.

        Source:
            `ApiError` of the OpenAPI document and the recordings (read 2026-08): `errorCode` can
            be missing or null, bodies can be HTML or empty; `X-Error-Code` repeats the code.
        """
        content = self.content or {}
        candidates = (
            content.get("errorCode"),
            self.headers.get("X-Error-Code"),
            content.get("error"),  # a string in OAuth, and the numeric status in Atlas
        )
        for code in candidates:
            if isinstance(code, str) and _CODE.fullmatch(code):
                return code
        return None

    @property
    def detail(self) -> str:
        """Atlas's explanation, printable and on one line, without secrets; "" if missing."""
        content = self.content or {}
        text = content.get("detail") or content.get("error_description")
        if not isinstance(text, str):
            return ""
        return _shown(text, _MAX_DETAIL)

    @property
    def is_success(self) -> bool:
        """Whether its status is 2xx."""
        return self.status < REDIRECT

    @property
    def is_redirect(self) -> bool:
        """Whether it leads elsewhere; it is never followed."""
        return REDIRECT <= self.status < BAD_REQUEST

    @property
    def looks_like_atlas(self) -> bool:
        """Whether it can be from Atlas: HTML and plain text are from a proxy.

        Source: The recordings (read 2026-08): Atlas sends JSON, or no content type.
        """
        media_type = self.media_type
        return not media_type or media_type.endswith(("/json", "+json"))

    @property
    def media_type(self) -> str:
        """Its media type without parameters; "" if missing."""
        return self.headers.get("Content-Type", "").lower().partition(";")[0].strip()


def _shown(text: str, max_length: int) -> str:
    """Return the begin of a text of the server, printable and on one line, without secrets."""
    # Redacted before it is cut, because of a secret that is cut the rest would not be found.
    text = SECRETS.redact(text[:_MAX_REDACTED])
    shown = "".join(char if char.isprintable() else " " for char in text[: max_length + 1])
    return shown if len(shown) <= max_length else f"{shown[:max_length]}…"


class RequestFailed(msgspec.Struct, frozen=True):
    """A request without a complete and valid response.

    Attributes:
        reason: What happened, for the operator, without a full stop.
        retryable: Whether a retry may succeed.
        status: The status of the invalid response; None without a response.
        is_unsent: No byte of the request was sent.
    """

    reason: str
    retryable: bool = True
    status: int | None = None
    is_unsent: bool = False
    code: None = None


class ContentInvalid(RequestFailed, frozen=True):
    """An answer whose content is not as documented: a value, not an outage.

    Attributes:
        of_entry: One entry of a list has that content, and the reason names it.
    """

    of_entry: bool = False


class ListIncomplete(RequestFailed, frozen=True):
    """The pages of a list do not lead to its end, although each one is valid."""

    retryable: bool = False


class ListChanged(ListIncomplete, frozen=True):
    """Each reading of a list of several pages showed another one."""


CANCELLED: Final = RequestFailed("cancelled", retryable=False, is_unsent=True)
"""The request was not sent because it was cancelled."""

ResponseOrFailure: TypeAlias = Response | RequestFailed


def parse_body(
    response: Response, media_type: str, parse: Callable[[bytes], object]
) -> ResponseOrFailure:
    """Return a response, with the parsed body of a 200; a failure if that body is invalid.

    Only the media type that was requested is believed: another version of a list may leave
    entries out, and an empty page of a proxy has none.

    Args:
        media_type: The media type that was requested.
        parse: Converts the body; raises InvalidResponse.

    Source: the recordings (read 2026-08): each 200 has the requested type.
    """
    if response.status != OK:
        return response
    what = "unexpected response from Atlas"
    received = response.media_type
    if received != media_type:
        shown = f"its type is {_shown(received, _MAX_TYPE_SHOWN)}" if received else "it has no type"
        return RequestFailed(f"{what}: {shown}, not {media_type}", status=response.status)
    try:
        return structs.replace(response, value=parse(replace_halves(response.body)))
    except UnexpectedContent as error:
        reason = f"{what}: {error}"
        return ContentInvalid(reason, status=response.status, of_entry=error.of_entry)
    except InvalidResponse as error:
        return RequestFailed(f"{what}: {error}", status=response.status)


_DELETED_WITH_BODY: Final = frozenset({200, 202})
_UPGRADE_CODE: Final = "WRITES_NOT_ALLOWED_DURING_APP_UPGRADES"
GROUP_GONE_CODE: Final = "GROUP_NOT_FOUND"
_GONE_CODES: Final = frozenset({"INVALID_INVITATION_ID", "ALREADY_EXPIRED"})

ACCESS_LIST_HINT: Final = (
    "Add the IP address of this machine to the access list of the API key or service account."
)
NETWORK_HINT: Final = "Check the base URL, the proxy, and whether this network can reach Atlas."
_VERSION_HINT: Final = "Upgrade invite-sweeper: Atlas no longer serves this API version."


def is_unauthenticated(result: ResponseOrFailure) -> bool:
    """Return whether the result is a 401 about the credentials, not about a missing role.

    Source:
        The recordings (read 2026-08): for a wrong or unknown key and for the digest challenge,
        `errorCode` is missing or `UNEXPECTED_ERROR`; for a missing role it is another code, such
        as `USER_UNAUTHORIZED`.
    """
    return (
        isinstance(result, Response)
        and result.status == UNAUTHORIZED
        and result.code in _UNAUTHENTICATED_CODES
    )


def is_unprocessed(result: ResponseOrFailure) -> bool:
    """Return whether Atlas has certainly not done what was requested, and would on a repetition.

    The request was not sent, or it was answered before it was processed: 429, or a 401 about the
    credentials.
    """
    if isinstance(result, RequestFailed):
        return result.is_unsent
    return result.status == TOO_MANY_REQUESTS or is_unauthenticated(result)


class RetryDecision(Enum):
    """What to do with a result of a request."""

    DONE = auto()
    """Final."""
    RETRY = auto()
    """A transient failure; counted in `attempts`."""
    RATE_LIMITED = auto()
    """429; not counted in `attempts`, limited by the deadline."""
    REAUTHENTICATE = auto()
    """401 about the credentials; retried, because it also occurs with valid ones."""
    ONCE_MORE = auto()
    """An answer that is not as documented, or a 401 about a role; waiting changes neither."""


Decide: TypeAlias = Callable[[ResponseOrFailure], RetryDecision]
"""Decides which results of a request are retried: `classify`, or a rule of one kind of request."""


_DECISIONS: Final = {
    401: RetryDecision.ONCE_MORE,
    429: RetryDecision.RATE_LIMITED,
    **dict.fromkeys((500, 502, 503, 504), RetryDecision.RETRY),
}
"""By the status of a response; others are final."""


def classify(result: ResponseOrFailure) -> RetryDecision:
    """Return what to do with a result, as most requests do.

    Source:
        https://www.mongodb.com/docs/atlas/reference/api-errors (read 2026-08): 405 with
        `WRITES_NOT_ALLOWED_DURING_APP_UPGRADES` is temporary maintenance.
    """
    match result:
        case ContentInvalid():
            return RetryDecision.ONCE_MORE
        case RequestFailed():
            return RetryDecision.RETRY if result.retryable else RetryDecision.DONE
        case Response(status=401) if is_unauthenticated(result):
            return RetryDecision.REAUTHENTICATE
        case Response(status=405) if result.code == _UPGRADE_CODE:
            return RetryDecision.RETRY
        case Response():
            return _DECISIONS.get(result.status, RetryDecision.DONE)


_UNAUTHENTICATED_CODES: Final = frozenset({None, "UNEXPECTED_ERROR"})
"""Error codes of a 401 about the credentials; others are about a role. Source: recordings."""
_ACCESS_LIST_CODES: Final = ("_WHITELIST", "_ACCESS_LIST")
"""How error codes end that are about the IP access list."""


def is_permission_error(status: object, code: str | None) -> bool:
    """Return whether Atlas accepted the credentials, and a role for the request is missing."""
    if status == UNAUTHORIZED:
        return code not in _UNAUTHENTICATED_CODES
    return status == FORBIDDEN and not (code or "").endswith(_ACCESS_LIST_CODES)


def is_role_missing(unreadable: ListUnreadable) -> bool:
    """Return whether a list was not read because a role for it is missing."""
    return is_permission_error(unreadable.http_status, unreadable.error_code)


def lacks_permission(result: ResponseOrFailure) -> bool:
    """Return whether Atlas accepted the credentials, and refused this request.

    Source:
        https://www.mongodb.com/docs/atlas/reference/api-errors and the recordings (read 2026-08):
        a missing role is 401 with a code such as `USER_UNAUTHORIZED`; 403 is `ACCESS_FORBIDDEN`,
        or about the access list.
    """
    if not isinstance(result, Response) or not result.looks_like_atlas:
        return False
    return is_permission_error(result.status, result.code)


def fatal_error_for(result: ResponseOrFailure, source: Source | None = None) -> RunError | None:
    """Return the error that stops the run; None if the result concerns only this request.

    A 401 does not stop the run once Atlas has accepted the credentials (`run_list_error`):
    Atlas has returned it for one project with valid credentials. If credentials expire during a
    run, the token endpoint refuses them, or the limits and the circuit breaker stop the run.

    Args:
        source: The list that was requested; a 410 then means that Atlas has retired it.

    Source: https://www.mongodb.com/docs/atlas/reference/api-errors, the recordings (read 2026-08).
    """
    if not isinstance(result, Response):
        return None
    match result.status:
        case 402:
            return AtlasUnavailable("The Atlas account is suspended (402).")
        case 403 if (result.code or "").endswith(_ACCESS_LIST_CODES):
            message = f"{describe(result)}: credentials refused from this IP address."
            return CredentialsRefused(message, hint=ACCESS_LIST_HINT)
        case 406:
            return AtlasUnavailable(f"{describe(result)}.", hint=_VERSION_HINT)
        case 410:
            hint = _VERSION_HINT if source is None else source.replacement_hint()
            return ApiVersionRetired(f"{describe(result)}.", hint=hint)
        case _:
            return None


def connection_hint(result: ResponseOrFailure) -> str:
    """Return what to check between this machine and Atlas; "" if Atlas itself responded."""
    if isinstance(result, ListIncomplete):
        return ""  # each of its pages is valid, so from Atlas
    if isinstance(result, RequestFailed):
        return NETWORK_HINT
    is_from_atlas = result.looks_like_atlas and not result.is_redirect
    return "" if is_from_atlas else NETWORK_HINT


def is_deleted(response: Response) -> bool:
    """Return whether Atlas confirmed a DELETE.

    Source:
        The OpenAPI document lists only 204; in the recordings (read 2026-08) other DELETEs
        return 200 or 202 with `{}`.
    """
    if response.status == NO_CONTENT:  # servers send any type with an empty body
        return response.media_type not in _PAGE_TYPES
    if response.status not in _DELETED_WITH_BODY or not response.looks_like_atlas:
        return False
    body = response.content
    if body is None:
        return False
    is_error = not _ERROR_KEYS.isdisjoint(body) or response.code is not None
    return not is_error


def is_not_found(result: ResponseOrFailure) -> bool:
    """Return whether Atlas answered that what was requested does not exist."""
    if not isinstance(result, Response):
        return False
    return result.status == NOT_FOUND and result.media_type not in _PAGE_TYPES


def is_already_gone(response: Response) -> bool:
    """Return whether the answer to a DELETE is that the invitation or user no longer exists.

    Source:
        https://www.mongodb.com/docs/atlas/reference/api-errors (read 2026-08) lists 400 with
        `INVALID_INVITATION_ID`; clients have also received 404. Any other 400 is a failure.
    """
    if response.status == BAD_REQUEST:
        return response.code in _GONE_CODES
    return is_not_found(response)


def is_project_gone(result: ResponseOrFailure) -> bool:
    """Return whether Atlas answered that a project does not exist.

    Source:
        The recordings (read 2026-08): 404 with `GROUP_NOT_FOUND`. Any other 404 may be from a
        proxy or a wrong base URL.
    """
    return is_not_found(result) and result.code == GROUP_GONE_CODE


def describe(result: ResponseOrFailure) -> str:
    """Return what went wrong with a request, without a full stop."""
    if isinstance(result, RequestFailed):
        status = f" (HTTP {result.status})" if result.status else ""
        return f"{result.reason}{status}"
    code = f" {result.code}" if result.code else ""
    detail = f" ({result.detail.rstrip('.')})" if result.detail else ""
    answer = f"{result.status}{code}{detail}"
    if result.is_redirect:
        # `Location` is not shown: its query may contain a token.
        return f"HTTP {answer}: redirects are not followed"
    if not result.looks_like_atlas:
        return f"HTTP {answer}: the response is not JSON, so not from Atlas"
    return f"Atlas answered {answer}"
