"""Why a list was not read, or something else of an organization or project.

What concerns one list is a value, and the run goes on without it: nothing is deleted there. What
concerns the run is an error. No input or output.
"""

from http.client import FORBIDDEN, GONE, NOT_FOUND, UNAUTHORIZED
from typing import Final

import msgspec

from invite_sweeper.atlas.responses import (
    ACCESS_LIST_HINT,
    GROUP_GONE_CODE,
    NETWORK_HINT,
    ContentInvalid,
    Response,
    ResponseOrFailure,
    connection_hint,
    describe,
    fatal_error_for,
    is_permission_error,
    is_project_gone,
    is_unauthenticated,
    lacks_permission,
)
from invite_sweeper.errors import AtlasUnavailable, CredentialsRefused, RunError
from invite_sweeper.models import (
    ListRef,
    ListUnreadable,
    Project,
    ProjectGone,
    Source,
    SourceRetired,
)
from invite_sweeper.text import upper_first

_ROLE_HINT: Final = (
    "Grant the credentials a role in the organization and in its projects; "
    "`invite-sweeper help credentials` lists the role that each source requires."
)
_KEY_HINT: Final = "Check the credentials and their expiry date."
_TRY_AGAIN_HINT: Final = (
    "Run the command again. If the list still cannot be read to its end, report it to MongoDB "
    "support."
)
_REFUSED: Final = frozenset({UNAUTHORIZED, FORBIDDEN})


def run_list_error(what: str, result: ResponseOrFailure, *, is_first: bool) -> RunError:
    """Return why a list that the run needs could not be read.

    Args:
        what: What it lists, in the plural.
        is_first: It is the first page, which the first request of a run reads.
    """
    if fatal_error := fatal_error_for(result):
        return fatal_error
    # Atlas has accepted the credentials by the second page: a refusal is then one of this page.
    if is_first and isinstance(result, Response) and result.status in _REFUSED:
        return _refused_credentials(what, result)
    return AtlasUnavailable(
        f"The list of {what} could not be read to the end: {describe(result)}.",
        hint=connection_hint(result) or _TRY_AGAIN_HINT,
    )


def _refused_credentials(what: str, response: Response) -> CredentialsRefused:
    """Return the error for a 401 or 403 to the first request of a run."""
    if is_unauthenticated(response):
        return CredentialsRefused("Atlas refused the credentials (401).", hint=_KEY_HINT)
    hint = _ROLE_HINT if lacks_permission(response) else NETWORK_HINT
    # Without a code it may also be about the access list.
    if response.status == FORBIDDEN and response.code is None:
        hint = f"{hint} {ACCESS_LIST_HINT}"
    message = f"The list of {what} could not be read: {describe(response)}."
    return CredentialsRefused(message, hint=hint)


def list_error(
    project: Project, source: Source, result: ResponseOrFailure
) -> ListUnreadable | ProjectGone:
    """Return why a list was not read; a retired list is a SourceRetired.

    Raises:
        RunError: The result stops the run (`fatal_error_for`).
    """
    # First, because of a list a 410 does not stop the run.
    if isinstance(result, Response) and result.status == GONE:
        return SourceRetired(
            reason=f"Atlas no longer serves the list {source} ({GONE}).",
            http_status=GONE,
            error_code=result.code,
            source=source,
            org_id=project.org_id,
        )
    if fatal_error := fatal_error_for(result):
        raise fatal_error
    if is_project_gone(result) and not source.is_organization_level:
        return ProjectGone(project.id)
    what = f"The list {source}: "
    unreadable = read_error(project, result, source.roles.listing, what=what)
    reason = unreadable.reason
    if isinstance(result, ContentInvalid) and result.of_entry:
        remedy = "exclude the project"
        if source.is_organization_level:
            remedy = f"remove {source} from sources"
        reason = f"{reason} To go on, end that invitation in Atlas by hand, or {remedy}."
    return msgspec.structs.replace(unreadable, reason=reason, source=source)


def contradicted_404(ref: ListRef) -> ListUnreadable:
    """Return why a list is unreadable that answered 404 although another one shows its project.

    Such a 404 does not prove that the list is empty.
    """
    project, source = ref
    reason = (
        f"Atlas answered {NOT_FOUND:d} to the list {source}, as if there were no such project, but "
        "still shows the project in another list."
    )
    return ListUnreadable(
        project.id,
        project.name,
        reason,
        http_status=NOT_FOUND,
        error_code=GROUP_GONE_CODE,
        source=source,
        org_id=project.org_id,
    )


def read_error(
    project: Project, result: ResponseOrFailure, role: str = "", *, what: str = ""
) -> ListUnreadable:
    """Return why something of an organization or project was not read; the run goes on without it.

    Args:
        project: The project; for an organization, a `Project` with its id.
        result: The result of the request.
        role: The role that the request requires; named if Atlas refused it.
        what: Begins the reason.
    """
    is_of_project = project.id != project.org_id
    is_role_named = role != "" and lacks_permission(result)
    required = f"; this requires the role {role}" if is_role_named else ""
    return ListUnreadable(
        project.id if is_of_project else None,
        project.name if is_of_project else None,
        reason=f"{what}{upper_first(describe(result))}{required}.",
        http_status=result.status,
        error_code=result.code,
        org_id=project.org_id,
    )


def is_role_missing(unreadable: ListUnreadable) -> bool:
    """Return whether a list was not read because a role for it is missing."""
    return is_permission_error(unreadable.http_status, unreadable.error_code)
