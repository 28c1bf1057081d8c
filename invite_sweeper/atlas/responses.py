"""Response, Failure, ApiError; what a status means."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Final, NamedTuple, TypeAlias

import orjson
from typing_extensions import override

from invite_sweeper.errors import ApiVersionRetired, AtlasUnavailable, CredentialsRefused, RunError
from invite_sweeper.models import ListRef, ListUnreadable, ProjectGone, Source, SourceRetired

# What came back to one try: an answer of Atlas, or no whole answer. Pure values.


_CODE: Final = re.compile(r"[A-Za-z0-9_]{1,100}")
_MAX_DETAIL: Final = 300
_ERROR_KEYS: Final = frozenset(
    {"error", "errorCode", "errors", "error_description", "detail", "reason", "message"}
)
"""Of `ApiError` in the OpenAPI document, of OAuth, and of proxies."""
_HTML_TYPES: Final = frozenset({"text/html", "application/xhtml+xml"})


class Response(NamedTuple):
    """A whole answer. A named tuple, as one is made for every request.

    Attributes:
        headers: Looked up without regard to case.
        body: Unpacked; empty for a DELETE that was done.
        value: What the caller's reading made of the body; None where it read nothing.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    value: object = None

    @override
    def __repr__(self) -> str:
        """Show no header and no body: they may hold what is not for logs."""
        return f"Answer(status={self.status})"


@dataclass(frozen=True, slots=True)
class RequestFailed:
    """No whole answer, or one that is nonsense.

    Attributes:
        reason: What happened, in words for a person, without a full stop.
        passing: Another try may do better.
        http_status: Of the answer that could not be used; None where none came.
    """

    reason: str
    retryable: bool = True
    http_status: int | None = None


CANCELLED: Final = RequestFailed("cancelled", retryable=False)
"""An attempt that was not sent, because nothing more may be sent."""

ResponseOrFailure: TypeAlias = Response | RequestFailed


@dataclass(frozen=True, slots=True)
class ApiError:
    """An error body, as far as it says anything.

    Attributes:
        code: Atlas's `errorCode` (or OAuth's `error`); None where it gave none.
        detail: Its sentence, made printable; "" where it gave none.
        parameters: Numbers and texts, in Atlas's order.
    """

    code: str | None = None
    detail: str = ""
    parameters: tuple[object, ...] = ()


def parse_error(response: Response) -> ApiError:
    """Read an error answer, whatever it looks like; it never fails.

    Source:
        `ApiError` of the OpenAPI document and the recordings (read 2026-08): bodies come
        without `errorCode`, with null, as HTML and empty; `X-Error-Code` repeats the code.
    """
    try:
        loaded: object = orjson.loads(response.body)
    except orjson.JSONDecodeError:
        loaded = None
    body = loaded if isinstance(loaded, dict) else {}
    # OAuth writes a word into `error`, where Atlas writes the status as a number.
    code = (
        _error_code(body.get("errorCode"))
        or _error_code(response.headers.get("X-Error-Code"))
        or _error_code(body.get("error"))
    )
    detail = body.get("detail") or body.get("error_description")
    parameters = body.get("parameters")
    return ApiError(
        code,
        one_line(detail) if isinstance(detail, str) else "",
        tuple(parameters) if isinstance(parameters, list) else (),
    )


def is_error(answer: Response) -> bool:
    """Return whether the response is not a JSON object, or one that describes an error."""
    try:
        body: object = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        return True
    return (
        not isinstance(body, dict)
        or not _ERROR_KEYS.isdisjoint(body)
        or parse_error(answer).code is not None
    )


def looks_like_atlas(response: Response) -> bool:
    """Tell whether the answer can be Atlas's own: a page or a plain text is a proxy's.

    Source: the recordings (read 2026-08); Atlas sends JSON, or no content type at all.
    """
    return is_json(response) or not response.headers.get("Content-Type", "").strip()


def is_json(response: Response) -> bool:
    """Tell whether the answer says that it is JSON, of any of Atlas's versions."""
    return _media_type(response).endswith(("/json", "+json"))


def is_html(response: Response) -> bool:
    """Tell whether the answer is a page for people: that of a proxy, or of a wrong address.

    What says no more than its status may come as anything else: servers write theirs as plain
    text, and where a body is left out they name its type as they like.
    """
    return _media_type(response) in _HTML_TYPES


def one_line(text: str) -> str:
    """Cut a text of Atlas's to one line that is safe to show."""
    shown = "".join(c if c.isprintable() else " " for c in text[: _MAX_DETAIL + 1])
    return shown if len(shown) <= _MAX_DETAIL else f"{shown[:_MAX_DETAIL]}…"


def _media_type(response: Response) -> str:
    return _without_parameters(response.headers.get("Content-Type", ""))


@lru_cache(maxsize=16)
def _without_parameters(content_type: str) -> str:
    """Give the type itself, in lower case; one run sees the same few again and again."""
    media_type, _, _ = content_type.lower().partition(";")
    return media_type.strip()


def _error_code(value: object) -> str | None:
    return value if isinstance(value, str) and _CODE.fullmatch(value) else None


# What the headers of an answer say. Pure; a header that cannot be read is as if absent.


RETRY_AFTER_FLOOR_S: Final = 1.0
RETRY_AFTER_CAP_S: Final = 120.0
_MAX_DIGITS: Final = 9


def parse_date_header(headers: Mapping[str, str], name: str) -> datetime | None:
    """Read a date header, aware and in UTC.

    Source:
        The recordings (read 2026-08): `Sunset: Thu, 1 Jul 2027 00:00:00 GMT` has a day
        without its zero, and `Deprecation` is such a date as well, not RFC 9745's number.
    """
    raw = headers.get(name)
    if not raw:
        return None
    try:
        timestamp = parsedate_to_datetime(raw)
        return timestamp.astimezone(UTC) if timestamp.tzinfo else timestamp.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def parse_int_header(headers: Mapping[str, str], name: str) -> int | None:
    """Read a header that holds a number of requests, from 0."""
    raw = headers.get(name, "")
    return int(raw) if raw.isascii() and raw.isdigit() and len(raw) <= _MAX_DIGITS else None


def retry_after_s(headers: Mapping[str, str], clock: Callable[[], datetime]) -> float | None:
    """Read `Retry-After`, in seconds from now, between the floor and the cap.

    None where the header is missing or says nothing: then the caller's own waiting holds.

    Source:
        RFC 9110, 10.2.3: seconds or a date. "Please retry after 0 seconds" has been seen.
    """
    raw = headers.get("Retry-After", "").strip()
    if not raw:
        return None
    try:
        wait_s = float(raw)
    except ValueError:
        timestamp = parse_date_header(headers, "Retry-After")
        if timestamp is None:
            return None
        wait_s = (timestamp - clock()).total_seconds()
    return clamp_wait_s(wait_s)


def clamp_wait_s(wait_s: float) -> float | None:
    """Put a wait that Atlas asked for between the floor and the cap; None for no number."""
    if math.isnan(wait_s):
        return None
    return min(max(wait_s, RETRY_AFTER_FLOOR_S), RETRY_AFTER_CAP_S)


# What the body of a 429 says. Pure.


class RateLimitDetails(NamedTuple):
    """What the body of a 429 says of its bucket; None where it does not.

    Attributes:
        wait_s: Between the floor and the cap.
        refill: Capacity, tokens that come back, and every how many seconds they do.
    """

    wait_s: float | None = None
    refill: tuple[int, int, int] | None = None


def parse_rate_limit_error(response: Response) -> RateLimitDetails:
    """Read what a 429 says in its body, for want of headers.

    Source:
        https://www.mongodb.com/docs/atlas/api/api-rate-limit (read 2026-08): the parameters
        are path, seconds to wait, capacity, refill and its period in seconds.
    """
    error = parse_error(response)
    if error.code != "RATE_LIMITED_TOKEN_BUCKET":
        return RateLimitDetails()
    match error.parameters:
        case (_, int(wait_s), int(capacity), int(refill), int(period_s)):
            return RateLimitDetails(clamp_wait_s(float(wait_s)), (capacity, refill, period_s))
        case (_, int(wait_s), *_):
            return RateLimitDetails(clamp_wait_s(float(wait_s)))
        case _:
            return RateLimitDetails()


# What an answer means beyond the one thing that was asked. Pure.


_NO_CONTENT: Final = 204
_DELETED_WITH_BODY: Final = frozenset({200, 202})
_GONE_CODES: Final = frozenset({"INVALID_INVITATION_ID", "ALREADY_EXPIRED"})
_ACCESS_LIST_CODES: Final = ("_WHITELIST", "_ACCESS_LIST")
UNAUTHENTICATED_CODES: Final = frozenset({None, "UNEXPECTED_ERROR"})
"""The codes of a 401 that names no missing role."""

ACCESS_LIST_HINT: Final = (
    "Add the address that this runs from to the access list of the API key or service account."
)
_WAY_HINT: Final = "Check the base URL, the proxy, and that this network lets one reach Atlas."
_KEY_HINT: Final = "Check the credentials, and that they have not expired."
_VERSION_HINT: Final = "Atlas has dropped the version that this program speaks: upgrade it."


def is_unauthenticated(result: ResponseOrFailure) -> bool:
    """Tell a 401 about the credentials from one about a role.

    Source:
        The recordings (read 2026-08): a bad key, an unknown one and the digest challenge share
        a body without `errorCode`, or with `UNEXPECTED_ERROR`; a missing role is 401 as well,
        with a code such as `USER_UNAUTHORIZED`.
    """
    return (
        isinstance(result, Response)
        and result.status == 401  # noqa: PLR2004
        and parse_error(result).code in UNAUTHENTICATED_CODES
    )


def fatal_error_for(result: ResponseOrFailure, source: Source | None = None) -> RunError | None:
    """Say whether an answer is about the run, not about what was asked; None where not.

    A 401 is not, once Atlas has taken the credentials (`refuses_first_call`): it has been
    seen with good ones, and is that project's. Those that end in mid-run are refused by the
    token endpoint, or stopped by the limits and the breaker.

    Args:
        source: The list that was asked of, where a 410 means that Atlas has retired it.

    Source: https://www.mongodb.com/docs/atlas/reference/api-errors, the recordings (read 2026-08).
    """
    if not isinstance(result, Response):
        return None
    match result.status:
        case 402:
            return AtlasUnavailable("Atlas says that the account is suspended (402).")
        case 403 if (parse_error(result).code or "").endswith(_ACCESS_LIST_CODES):
            return CredentialsRefused(
                f"{_describe_status(result)}: Atlas does not take these credentials from this address.",
                hint=ACCESS_LIST_HINT,
            )
        case (406 | 410) as status:
            error_type = ApiVersionRetired if status == 410 else AtlasUnavailable  # noqa: PLR2004
            retired_source = source if error_type is ApiVersionRetired else None
            hint = retired_source.replacement_hint if retired_source is not None else _VERSION_HINT
            return error_type(f"{_describe_status(result)}.", hint=hint)
        case _:
            return None


def credentials_error(result: ResponseOrFailure) -> CredentialsRefused | None:
    """Say that a 401 is about the credentials; of use while Atlas has not taken them yet."""
    if not is_unauthenticated(result):
        return None
    return CredentialsRefused("Atlas refuses the credentials (401).", hint=_KEY_HINT)


def first_request_error(result: ResponseOrFailure) -> RunError:
    """Say why the list of projects, which every run begins with, cannot be read."""
    if fatal_error := fatal_error_for(result) or credentials_error(result):
        return fatal_error
    if isinstance(result, Response) and result.status in {401, 403}:
        hint = ACCESS_LIST_HINT if result.status == 403 else _KEY_HINT  # noqa: PLR2004
        return CredentialsRefused(f"{_describe_status(result)} to the list of projects.", hint=hint)
    return listing_incomplete_error(result)


def listing_incomplete_error(result: ResponseOrFailure) -> RunError:
    """Say why the list of projects cannot be read on: one of its pages was given by then."""
    return fatal_error_for(result) or AtlasUnavailable(
        f"The list of projects cannot be read to the end: {describe(result)}.",
        hint=way_hint(result),
    )


def way_hint(result: ResponseOrFailure) -> str:
    """Say what to do about what stands between here and Atlas; "" where Atlas itself answered."""
    if isinstance(result, RequestFailed):
        return _WAY_HINT
    return _WAY_HINT if is_redirect(result) or not looks_like_atlas(result) else ""


def is_deleted(response: Response) -> bool:
    """Return whether Atlas said that a DELETE was done.

    Source: the OpenAPI document has 204 alone; the recordings (read 2026-08) have other DELETEs
        that answer 200 or 202 with `{}`. A proxy may answer 200, too, so the body has to be a
        JSON object that names no error; a 204 is believed, unless it comes as HTML.
    """
    if response.status == _NO_CONTENT:
        return not is_html(response)
    return response.status in _DELETED_WITH_BODY and is_json(response) and not is_error(response)


def is_already_gone(response: Response) -> bool:
    """Tell whether Atlas said that what was to be deleted is no more.

    Source:
        https://www.mongodb.com/docs/atlas/reference/api-errors (read 2026-08) names 400 with
        `INVALID_INVITATION_ID`; clients have seen 404. Another 400 is a failure.
    """
    return is_not_found(response) or (
        response.status == 400 and parse_error(response).code in _GONE_CODES  # noqa: PLR2004
    )


def is_project_gone(answer: Response) -> bool:
    """Return whether Atlas said that a project does not exist.

    Source: the recordings (read 2026-08): 404 with `GROUP_NOT_FOUND`. Another 404 may be that
        of a proxy or of a wrong address.
    """
    return is_not_found(answer) and parse_error(answer).code == "GROUP_NOT_FOUND"


def is_not_found(response: Response) -> bool:
    """Return whether it is a 404 in any form but HTML."""
    return response.status == 404 and not is_html(response)  # noqa: PLR2004


def is_redirect(response: Response) -> bool:
    """Tell whether the answer points elsewhere."""
    return 300 <= response.status < 400  # noqa: PLR2004


def describe(result: ResponseOrFailure) -> str:
    """Say what a result that was of no use was, without a full stop."""
    if isinstance(result, RequestFailed):
        status = f" (HTTP {result.http_status})" if result.http_status else ""
        return f"{result.reason}{status}"
    if is_redirect(result):
        # The Location may hold a token in its query: it is not repeated.
        return f"{_describe_status(result)} with a redirect, which is not followed"
    if not looks_like_atlas(result):
        return f"{_describe_status(result)} which is no JSON, so not Atlas's own"
    return _describe_status(result)


def _describe_status(response: Response) -> str:
    error = parse_error(response)
    code = f" {error.code}" if error.code else ""
    detail = f" ({error.detail.rstrip('.')})" if error.detail else ""
    return f"Atlas answered {response.status}{code}{detail}"


# What an answer to a listing means that is not the list. Pure.


_STATUS_GONE: Final = 410


def list_error(list_ref: ListRef, result: ResponseOrFailure) -> ListUnreadable | ProjectGone:
    """Say what came instead of the list; `Retired` is an `Unreadable`, too.

    Raises:
        RunError: It was about the run.
    """
    if isinstance(result, Response) and result.status == _STATUS_GONE:
        return _source_retired(list_ref, result)
    if fatal_error := fatal_error_for(result):
        raise fatal_error
    status = result.status if isinstance(result, Response) else result.http_status
    if (
        isinstance(result, Response)
        and is_project_gone(result)
        and not list_ref.source.is_organization_level
    ):
        return ProjectGone(list_ref.project.id, list_ref.project.name)
    code = parse_error(result).code if isinstance(result, Response) else None
    return unreadable_list(list_ref, f"{describe(result)}.", status, code)


def unreadable_list(
    list_ref: ListRef, description: str, status: int | None = None, code: str | None = None
) -> ListUnreadable:
    """Say of a list that it is not known to be whole.

    Args:
        words: Why, as a sentence.
    """
    project, source = list_ref
    reason = description[:1].upper() + description[1:]
    if source.is_organization_level:
        reason = f"The list {source} of organization {project.id}: {reason}"
    elif source is not Source.INVITES:
        reason = f"The list {source}: {reason}"
    return ListUnreadable(project.id, project.name, reason, status, code, source)


def _source_retired(list_ref: ListRef, response: Response) -> SourceRetired:
    return SourceRetired(
        list_ref.project.id,
        list_ref.project.name,
        f"Atlas serves the list {list_ref.source} no longer ({response.status}).",
        response.status,
        parse_error(response).code,
        list_ref.source,
    )
