"""Responses and failed requests, and what they mean: deleted, gone, to be sent again, or fatal.

Last, what the headers of all responses show of Atlas. No input or output.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from email.utils import parsedate_to_datetime
from enum import Enum, auto
from functools import lru_cache
from http.client import (
    BAD_REQUEST,
    FORBIDDEN,
    NO_CONTENT,
    NOT_FOUND,
    OK,
    TOO_MANY_REQUESTS,
    UNAUTHORIZED,
)
from typing import Final, NamedTuple, TypeAlias

import msgspec
from typing_extensions import override

from invite_sweeper.atlas.endpoints import SOURCES, BucketLimit, Endpoint
from invite_sweeper.errors import ApiVersionRetired, AtlasUnavailable, CredentialsRefused, RunError
from invite_sweeper.json_text import parse_json
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


class Response(NamedTuple):
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
        # Redacted before it is cut, because of a secret that is cut the rest would not be found.
        text = SECRETS.redact(text[:_MAX_REDACTED])
        begin = text[: _MAX_DETAIL + 1]
        shown = "".join(char if char.isprintable() else " " for char in begin)
        return shown if len(shown) <= _MAX_DETAIL else f"{shown[:_MAX_DETAIL]}…"

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
        shown = f"its type is {received[:_MAX_TYPE_SHOWN]}" if received else "it has no type"
        return RequestFailed(f"{what}: {shown}, not {media_type}", status=response.status)
    try:
        return response._replace(value=parse(response.body))
    except UnexpectedContent as error:
        reason = f"{what}: {error}"
        return ContentInvalid(reason, status=response.status, of_entry=error.of_entry)
    except InvalidResponse as error:
        return RequestFailed(f"{what}: {error}", status=response.status)


class RateLimitDetails(NamedTuple):
    """What a response says of a bucket from which nothing may be sent for some time.

    Attributes:
        retry_after_s: The seconds to wait; 0.0 where it names none.
        limit: None where it names none.
    """

    retry_after_s: float = 0.0
    limit: BucketLimit | None = None


def parse_rate_limit_error(response: Response) -> RateLimitDetails:
    """Return what the body of a 429 names of the bucket; the headers have precedence.

    Source:
        https://www.mongodb.com/docs/atlas/api/api-rate-limit (read 2026-08): the parameters
        are path, seconds to wait, capacity, tokens per refill, and refill period in seconds.
    """
    if response.code != _BUCKET_CODE:
        return RateLimitDetails()
    match (response.content or {}).get("parameters"):
        case [_, int(wait_s), int(capacity), int(refill), int(period_s)]:
            numbers = (capacity, refill, period_s)
            if min(numbers) > 0 and max(wait_s, *numbers) <= _MAX_NUMBER:
                return RateLimitDetails(float(wait_s), BucketLimit(capacity, refill, period_s))
        case _:
            pass
    return RateLimitDetails()


_BUCKET_CODE: Final = "RATE_LIMITED_TOKEN_BUCKET"
_MAX_NUMBER: Final = 10**9
"""The highest number of a 429 that counts seconds or requests."""
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


def is_already_gone(result: ResponseOrFailure | None) -> bool:
    """Return whether Atlas answered that the invitation or user no longer exists.

    Source:
        https://www.mongodb.com/docs/atlas/reference/api-errors (read 2026-08) lists 400 with
        `INVALID_INVITATION_ID`; clients have also received 404. Any other 400 is a failure.
    """
    if not isinstance(result, Response):
        return False
    if result.status == BAD_REQUEST:
        return result.code in _GONE_CODES
    return result.status == NOT_FOUND and result.media_type not in _PAGE_TYPES


def is_project_gone(result: ResponseOrFailure | None) -> bool:
    """Return whether Atlas answered that a project does not exist.

    Source:
        The recordings (read 2026-08): 404 with `GROUP_NOT_FOUND`. Any other 404 may be from a
        proxy or a wrong base URL.
    """
    return result is not None and is_already_gone(result) and result.code == GROUP_GONE_CODE


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


_MAX_DIGITS: Final = 9
"""The most digits of a number in a header; a longer one counts no seconds or requests."""


@lru_cache(maxsize=64)
def parse_date(raw: str) -> datetime | None:
    """Return the date of a header in UTC; None if it is unreadable.

    Cached: every response about invitations has the same `Sunset`.

    Source:
        The recordings (read 2026-08): the day may have one digit (`Sunset: Thu, 1 Jul 2027
        00:00:00 GMT`).
    """
    try:
        moment = parsedate_to_datetime(raw)
        if moment.tzinfo is None:  # without a zone, or with `-0000`
            return moment.replace(tzinfo=UTC)
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def parse_int_header(headers: Mapping[str, str], name: str) -> int | None:
    """Return the number of a header that has a whole one from 0; None if missing or unreadable."""
    raw = headers.get(name, "")
    is_number = raw.isascii() and raw.isdigit() and len(raw) <= _MAX_DIGITS
    return int(raw) if is_number else None


def retry_after_s(headers: Mapping[str, str], clock: Callable[[], datetime]) -> float | None:
    """Return the seconds from now to `Retry-After`; None if it is missing or unreadable.

    Source: RFC 9110, 10.2.3: seconds or a date.
    """
    wait_s = parse_int_header(headers, "Retry-After")
    if wait_s is not None:
        return wait_s
    moment = parse_date(headers.get("Retry-After", ""))
    return None if moment is None else (moment - clock()).total_seconds()


_EARLY_TOLERANCE_S: Final = 5.0
"""`Date` has no fraction, and the servers behind one address may differ."""
_LATE_TOLERANCE_S: Final = 120.0
"""The known skew contains the duration of the first response."""
_SOURCE_OF: Final = {api.list: source for source, api in SOURCES.items()} | {
    api.delete: source for source, api in SOURCES.items()
}
"""The list that the `Sunset` header of an endpoint is about."""


class ServerInfo:
    """What the responses of a run have shown of Atlas so far.

    Its `Date` is compared with the run's clock. A clock that is wrong shows in the first one, and
    an answer out of a cache in each: it is older than it seems, so nothing may be deleted by it.

    Attributes:
        clock_skew_s: Local clock minus Atlas's at the first 2xx response with a `Date` header,
            to the second; None before that.
        sunsets: The last `Sunset` date of each list: Atlas may remove it from then on.
        has_answered: There was a response, with any status.

    Source:
        Recorded responses (read 2026-08): responses about invitations have the header, also
        errors and 204; the sunset has moved three times.
    """

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self.clock = clock
        self.clock_skew_s: float | None = None
        self.sunsets: dict[Source, date] = {}
        self.has_answered = False

    def age_s(self, headers: Mapping[str, str], took_s: float) -> float:
        """Return how long before its request an answer was made; 0.0 for one that is fresh.

        Only a cache returns an older one. It has an `Age`, or a `Date` that Atlas's clock did not
        show between request and answer.

        Args:
            headers: Of an answer that has just arrived.
            took_s: The time since its request was sent.
        """
        age_s = float(parse_int_header(headers, "Age") or 0)
        dated = parse_date(headers.get("Date", ""))
        if dated is None or self.clock_skew_s is None:
            return age_s
        # `Date` is of Atlas's clock, and that of the run is later by the skew.
        since_s = (self.clock() - dated).total_seconds() - self.clock_skew_s
        early_s, late_s = since_s - took_s, -since_s
        is_off = early_s > _EARLY_TOLERANCE_S or late_s > _LATE_TOLERANCE_S
        return max(age_s, early_s, late_s) if is_off else age_s

    def update(self, response: Response, endpoint: Endpoint) -> None:
        """Record the headers of a response that was received now."""
        if self.clock_skew_s is None and response.is_success:
            dated = parse_date(response.headers.get("Date", ""))
            if dated is not None:
                self.clock_skew_s = (self.clock() - dated).total_seconds()
        source = _SOURCE_OF.get(endpoint)
        sunset = parse_date(response.headers.get("Sunset", ""))
        if source is not None and sunset is not None:
            self.sunsets[source] = sunset.date()
