"""What an answer means beyond the one thing that was asked. Pure."""

from typing import Final

from invite_sweeper.atlas.answers import (
    Answer,
    Broken,
    Result,
    error_of,
    is_atlas_speaking,
    is_error,
    is_json,
    is_page,
)
from invite_sweeper.errors import AtlasUnavailable, CredentialsRefused, RunError, VersionGone
from invite_sweeper.inventory import Source

_DONE: Final = 204
_DONE_WITH_A_BODY: Final = frozenset({200, 202})
_GONE_CODES: Final = frozenset({"INVALID_INVITATION_ID", "ALREADY_EXPIRED"})
_ACCESS_LIST: Final = ("_WHITELIST", "_ACCESS_LIST")
PLAIN_REFUSAL: Final = frozenset({None, "UNEXPECTED_ERROR"})
"""The codes of a 401 that names no missing role."""

ACCESS_LIST_HINT: Final = (
    "Add the address that this runs from to the access list of the API key or service account."
)
_WAY_HINT: Final = "Check the base URL, the proxy, and that this network lets one reach Atlas."
_KEY_HINT: Final = "Check the credentials, and that they have not expired."
_VERSION_HINT: Final = "Atlas has dropped the version that this program speaks: upgrade it."


def is_plain_refusal(result: Result) -> bool:
    """Tell a 401 about the credentials from one about a role.

    Source:
        The recordings (read 2026-08): a bad key, an unknown one and the digest challenge share
        a body without `errorCode`, or with `UNEXPECTED_ERROR`; a missing role is 401 as well,
        with a code such as `USER_UNAUTHORIZED`.
    """
    return (
        isinstance(result, Answer)
        and result.status == 401  # noqa: PLR2004
        and error_of(result).code in PLAIN_REFUSAL
    )


def ends_run(result: Result, source: Source | None = None) -> RunError | None:
    """Say whether an answer is about the run, not about what was asked; None where not.

    A 401 is not, once Atlas has taken the credentials (`refuses_first_call`): it has been
    seen with good ones, and is that project's. Those that end in mid-run are refused by the
    token endpoint, or stopped by the limits and the breaker.

    Args:
        source: The list that was asked of, where a 410 means that Atlas has retired it.

    Source: https://www.mongodb.com/docs/atlas/reference/api-errors, the recordings (read 2026-08).
    """
    if not isinstance(result, Answer):
        return None
    match result.status:
        case 402:
            return AtlasUnavailable("Atlas says that the account is suspended (402).")
        case 403 if (error_of(result).code or "").endswith(_ACCESS_LIST):
            return CredentialsRefused(
                f"{_told(result)}: Atlas does not take these credentials from this address.",
                hint=ACCESS_LIST_HINT,
            )
        case (406 | 410) as status:
            kind = VersionGone if status == 410 else AtlasUnavailable  # noqa: PLR2004
            retired = source if kind is VersionGone else None
            hint = retired.replacement_hint if retired is not None else _VERSION_HINT
            return kind(f"{_told(result)}.", hint=hint)
        case _:
            return None


def refuses_credentials(result: Result) -> CredentialsRefused | None:
    """Say that a 401 is about the credentials; of use while Atlas has not taken them yet."""
    if not is_plain_refusal(result):
        return None
    return CredentialsRefused("Atlas refuses the credentials (401).", hint=_KEY_HINT)


def refuses_first_call(result: Result) -> RunError:
    """Say why the list of projects, which every run begins with, cannot be read."""
    if about_run := ends_run(result) or refuses_credentials(result):
        return about_run
    if isinstance(result, Answer) and result.status in {401, 403}:
        hint = ACCESS_LIST_HINT if result.status == 403 else _KEY_HINT  # noqa: PLR2004
        return CredentialsRefused(f"{_told(result)} to the list of projects.", hint=hint)
    return breaks_off(result)


def breaks_off(result: Result) -> RunError:
    """Say why the list of projects cannot be read on: one of its pages was given by then."""
    return ends_run(result) or AtlasUnavailable(
        f"The list of projects cannot be read to the end: {in_words(result)}.",
        hint=way_hint(result),
    )


def way_hint(result: Result) -> str:
    """Say what to do about what stands between here and Atlas; "" where Atlas itself answered."""
    if isinstance(result, Broken):
        return _WAY_HINT
    return _WAY_HINT if is_redirect(result) or not is_atlas_speaking(result) else ""


def is_done(answer: Answer) -> bool:
    """Return whether Atlas said that a DELETE was done.

    Source: the OpenAPI document has 204 alone; the recordings (read 2026-08) have other DELETEs
        that answer 200 or 202 with `{}`. A proxy may answer 200, too, so the body has to be a
        JSON object that names no error; a 204 is believed, unless it comes as HTML.
    """
    if answer.status == _DONE:
        return not is_page(answer)
    return answer.status in _DONE_WITH_A_BODY and is_json(answer) and not is_error(answer)


def is_gone(answer: Answer) -> bool:
    """Tell whether Atlas said that what was to be deleted is no more.

    Source:
        https://www.mongodb.com/docs/atlas/reference/api-errors (read 2026-08) names 400 with
        `INVALID_INVITATION_ID`; clients have seen 404. Another 400 is a failure.
    """
    return says_gone(answer) or (
        answer.status == 400 and error_of(answer).code in _GONE_CODES  # noqa: PLR2004
    )


def is_project_gone(answer: Answer) -> bool:
    """Return whether Atlas said that a project does not exist.

    Source: the recordings (read 2026-08): 404 with `GROUP_NOT_FOUND`. Another 404 may be that
        of a proxy or of a wrong address.
    """
    return says_gone(answer) and error_of(answer).code == "GROUP_NOT_FOUND"


def says_gone(answer: Answer) -> bool:
    """Return whether it is a 404 in any form but HTML."""
    return answer.status == 404 and not is_page(answer)  # noqa: PLR2004


def is_redirect(answer: Answer) -> bool:
    """Tell whether the answer points elsewhere."""
    return 300 <= answer.status < 400  # noqa: PLR2004


def in_words(result: Result) -> str:
    """Say what a result that was of no use was, without a full stop."""
    if isinstance(result, Broken):
        status = f" (HTTP {result.http_status})" if result.http_status else ""
        return f"{result.reason}{status}"
    if is_redirect(result):
        # The Location may hold a token in its query: it is not repeated.
        return f"{_told(result)} with a redirect, which is not followed"
    if not is_atlas_speaking(result):
        return f"{_told(result)} which is no JSON, so not Atlas's own"
    return _told(result)


def _told(answer: Answer) -> str:
    error = error_of(answer)
    code = f" {error.code}" if error.code else ""
    detail = f" ({error.detail.rstrip('.')})" if error.detail else ""
    return f"Atlas answered {answer.status}{code}{detail}"
