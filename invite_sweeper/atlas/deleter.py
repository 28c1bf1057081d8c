"""Delete invitations. Code without an `AtlasDeleter` cannot delete.

`users` and `org_users` contain members as well, and their DELETE removes a user in any status.
Such a deletion therefore reads the user by id just before, with the parser of the list, sends the
DELETE only if nothing differs from what was listed, and reads the status from the organization
afterwards. A user who accepts in the one round trip between that read and the DELETE is removed;
the second read detects this if the organization still returns the user.
"""

from collections.abc import Iterable, Mapping
from enum import Enum, auto
from types import MappingProxyType
from typing import Final

from invite_sweeper.atlas.client import Client
from invite_sweeper.atlas.endpoints import (
    GET_ORG_USER,
    Endpoint,
    InvalidRequest,
)
from invite_sweeper.atlas.limits import BucketKey
from invite_sweeper.atlas.lists import SOURCES, SourceApi
from invite_sweeper.atlas.parsing import parse_listed_user, parse_user
from invite_sweeper.atlas.responses import (
    CANCELLED,
    Response,
    ResponseOrFailure,
    fatal_error_for,
    is_already_gone,
    is_deleted,
    is_unprocessed,
    status_and_code,
)
from invite_sweeper.atlas.user_status import look_after
from invite_sweeper.errors import AtlasUnavailable, RunError
from invite_sweeper.models import (
    INVITED_STATUSES,
    DeletionProgress,
    DeletionResult,
    Invitation,
    MembershipStatus,
    Outcome,
    Project,
    Source,
    UserStatus,
)
from invite_sweeper.text import casefold_visible

_REDIRECT: Final = 300
_SERVER_ERROR: Final = 500


def tokens_per_deletion(api: SourceApi, scope_id: str, org_id: str) -> tuple[BucketKey, ...]:
    """Return the bucket of each request of one deletion, in the order of the requests.

    Args:
        scope_id: The id of the project or organization in the path.
        org_id: The organization, in which the user is read after the deletion.
    """
    delete = BucketKey(api.delete.endpoint_set, scope_id)
    if api.read_user is None:
        return (delete,)
    read_before = BucketKey(api.read_user.endpoint_set, scope_id)
    return (read_before, delete, BucketKey(GET_ORG_USER.endpoint_set, org_id))


def judge_before(look: ResponseOrFailure, listed: Invitation) -> Outcome | None:
    """Return the outcome of a removal that must not be sent after this look, else None.

    Args:
        look: The user as Atlas shows it now, parsed as a row of the list.
        listed: The user as the list showed it.
    """
    seen = look.value if isinstance(look, Response) else None
    if isinstance(seen, Invitation) and seen.id == listed.id:
        return _outcome_if_not_removable(seen, listed)
    return Outcome.ALREADY_GONE if _is_gone(look) else Outcome.FAILED


def _outcome_if_not_removable(seen: Invitation, listed: Invitation) -> Outcome | None:
    """Return the outcome unless the user is exactly the one that the list showed."""
    if seen.status == MembershipStatus.ACTIVE:
        return Outcome.ACCEPTED_BEFORE
    name, listed_name = seen.username or "", listed.username or ""
    is_same_user = casefold_visible(name) == casefold_visible(listed_name)
    if seen.status not in INVITED_STATUSES or not is_same_user:
        return Outcome.FAILED
    if seen.links_out_of_scope:  # Atlas did not return its projects or teams
        return Outcome.CHANGED
    return None if seen.evidence == listed.evidence else Outcome.CHANGED


class Answer(Enum):
    """What the answer to the DELETE of a user proves."""

    CONFIRMED = auto()
    """Atlas has removed the user from the project or organization."""
    GONE = auto()
    """The user was not there any more: this DELETE removed no user."""
    UNCLEAR = auto()
    """The answer was lost, or is an error of the server: the user may have been removed."""


class Place(Enum):
    """What the look after the DELETE shows of the user."""

    THERE = auto()
    """Still in the project or organization, in whatever status."""
    ACTIVE = auto()
    """Not there, and an active member of the organization: the user accepted meanwhile."""
    GONE = auto()
    """Neither."""
    NOT_KNOWN = auto()
    """Neither the organization nor the project could be read."""


AFTER: Final[Mapping[Answer, Mapping[Place, Outcome]]] = MappingProxyType(
    {
        Answer.CONFIRMED: {
            Place.THERE: Outcome.FAILED,
            Place.ACTIVE: Outcome.ACCEPTED_DURING,
            Place.GONE: Outcome.DELETED,
            Place.NOT_KNOWN: Outcome.DELETED,
        },
        Answer.GONE: {
            Place.THERE: Outcome.FAILED,
            Place.ACTIVE: Outcome.ALREADY_GONE,
            Place.GONE: Outcome.ALREADY_GONE,
            Place.NOT_KNOWN: Outcome.ALREADY_GONE,
        },
        Answer.UNCLEAR: {
            Place.THERE: Outcome.FAILED,  # the next run judges the user anew
            Place.ACTIVE: Outcome.ACCEPTED_DURING,
            Place.GONE: Outcome.ALREADY_GONE,  # proof that the user is gone, not of who did it
            Place.NOT_KNOWN: Outcome.UNKNOWN,
        },
    }
)
"""The outcome of a removal that was sent and may have been processed."""


def judge_after(answer: Answer, after: UserStatus) -> Outcome:
    """Return the outcome of a removal that may have been processed, from the look after it."""
    return AFTER[answer][_place(answer, after)]


def _place(answer: Answer, after: UserStatus) -> Place:
    if after.still_member:
        return Place.THERE
    if after.still_member is None and answer is Answer.UNCLEAR:
        return Place.NOT_KNOWN
    if after.status == MembershipStatus.ACTIVE:
        return Place.ACTIVE
    return Place.NOT_KNOWN if after.still_member is None else Place.GONE


def _read_answer(result: ResponseOrFailure) -> Answer | None:
    """Return what the answer to a DELETE proves; None if it proves that nothing was removed."""
    if is_unprocessed(result):
        return None
    if not isinstance(result, Response):
        return Answer.UNCLEAR
    if is_deleted(result):
        return Answer.CONFIRMED
    if is_already_gone(result):
        return Answer.GONE
    return None if _REDIRECT <= result.status < _SERVER_ERROR else Answer.UNCLEAR


def _is_gone(result: ResponseOrFailure) -> bool:
    return isinstance(result, Response) and is_already_gone(result)


_CONSEQUENCE: Final = "No further deletion is sent. The audit log shows what was deleted."


class AtlasDeleter:
    """Deletes invitations, and reads each user before and after where that is needed.

    Args:
        sources: The only lists from which it deletes.
    """

    def __init__(self, client: Client, sources: Iterable[Source]) -> None:
        self._client = client
        self._apis = {source: SOURCES[source] for source in sources}

    def try_acquire(self, invitation: Invitation) -> float:
        """Take the tokens of one deletion and return 0.0, or return seconds to wait.

        All tokens are taken before the first request, so that no rate limit delays the DELETE
        after the read.
        """
        api = self._apis.get(invitation.source)
        if api is None:
            return 0.0
        tokens = tokens_per_deletion(api, invitation.project_id, invitation.org_id)
        return self._client.limiter.try_acquire(*tokens)

    async def delete(self, invitation: Invitation, progress: DeletionProgress) -> DeletionResult:
        """Delete one invitation, after `try_acquire` returned 0.0 for it.

        A failure is an outcome, not an exception. If the task is cancelled, `progress` shows
        what was sent.

        Args:
            invitation: As it was listed.
            progress: Updated with each attempt.

        Source:
            `deleteGroupInvite`, `deleteOrgInvite`, `removeGroupUser` and `removeOrgUser` of the
            OpenAPI document; see `responses` for the meaning of their responses.
        """
        api = self._apis.get(invitation.source)
        try:
            if api is None:
                return progress.result(Outcome.FAILED)
            if api.read_user is not None:
                return _with_consequence(await self._remove_user(api, invitation, progress))
            result = await self._client.call(
                api.delete,
                invitation.project_id,
                invitation.id,
                progress=progress,
                token_taken=True,
            )
            return _with_consequence(_result_of_revoke(result, invitation.source, progress))
        except InvalidRequest:
            # Selection keeps invitations with a malformed id; this is the second line of defence.
            return progress.result(Outcome.FAILED)
        except RunError as error:
            if progress.cancelled and isinstance(error, AtlasUnavailable):
                return progress.result_if_interrupted()  # no time left for an access token
            return _with_consequence(progress.result(Outcome.FAILED, error))

    async def _remove_user(
        self, api: SourceApi, listed: Invitation, progress: DeletionProgress
    ) -> DeletionResult:
        """Look, judge, DELETE once, look, judge.

        Raises:
            RunError: No access token is available. No DELETE was processed.
            InvalidRequest: An id is malformed. Nothing was sent.
        """
        assert api.read_user is not None  # noqa: S101 - the caller checks it
        place = listed.project_id
        owner = Project(place, listed.project_name, listed.org_id)
        look = self._client.request(
            api.read_user,
            place,
            listed.id,
            parse=lambda body: parse_listed_user(body, lambda item: api.parse_row(item, owner)),
        )
        delete = self._client.request(api.delete, place, listed.id, progress=progress)
        held = [BucketKey(GET_ORG_USER.endpoint_set, listed.org_id)]  # for the look after
        try:
            before, result = await self._client.call_after(
                look, lambda seen: judge_before(seen, listed) is None, delete
            )
            progress.seen_before = _status_seen(before, listed)
            if result is CANCELLED or (result is None and progress.cancelled):
                return progress.result_if_interrupted()
            if result is None:
                return _result_of_look(before, listed, progress)
            answer = _read_answer(result)
            if answer is None:
                return progress.result(Outcome.FAILED, fatal_error_for(result))
            fatal_error: RunError | None = None
            try:
                after = await self._look_after(
                    listed, held, is_confirmed=answer is Answer.CONFIRMED
                )
            except RunError as error:  # no access token; the answer stands
                after, fatal_error = UserStatus(None, still_member=None), error
            progress.seen_after = after.status
            return progress.result(judge_after(answer, after), fatal_error)
        finally:
            self._client.limiter.release(held)

    async def _look_after(
        self, listed: Invitation, held: list[BucketKey], *, is_confirmed: bool
    ) -> UserStatus:
        async def read_user(endpoint: Endpoint, scope_id: str) -> ResponseOrFailure:
            token_taken = endpoint is GET_ORG_USER and bool(held)
            if token_taken:
                held.clear()
            return await self._client.call(
                endpoint, scope_id, listed.id, parse=parse_user, token_taken=token_taken
            )

        found = await look_after(read_user, listed, is_confirmed=is_confirmed)
        return found.user_status


def _status_seen(look: ResponseOrFailure, listed: Invitation) -> str | None:
    seen = look.value if isinstance(look, Response) else None
    if isinstance(seen, Invitation) and seen.id == listed.id:
        return seen.status
    return MembershipStatus.GONE if _is_gone(look) else None


def _result_of_look(
    look: ResponseOrFailure, listed: Invitation, progress: DeletionProgress
) -> DeletionResult:
    """Return the result of a removal that the look before it did not allow."""
    outcome = judge_before(look, listed) or Outcome.FAILED
    if outcome is Outcome.FAILED:  # the audit log says why
        progress.http_status, progress.error_code = status_and_code(look)
    return progress.result(outcome, fatal_error_for(look))


def _result_of_revoke(
    result: ResponseOrFailure, source: Source, progress: DeletionProgress
) -> DeletionResult:
    """Return the result of a DELETE that cannot affect an accepted invitation."""
    outcome = _outcome_of_revoke(result)
    if outcome is not Outcome.FAILED:
        return progress.result(outcome)
    if progress.cancelled and not isinstance(result, Response):
        return progress.result_if_interrupted()
    return progress.result(outcome, fatal_error_for(result, source))


def _outcome_of_revoke(result: ResponseOrFailure) -> Outcome:
    if isinstance(result, Response) and is_deleted(result):
        return Outcome.DELETED
    return Outcome.ALREADY_GONE if _is_gone(result) else Outcome.FAILED


def _with_consequence(deletion: DeletionResult) -> DeletionResult:
    """Replace the error's "Nothing was deleted.": other deletions may have been sent."""
    error = deletion.fatal_error
    if error is None:
        return deletion
    restated = type(error)(error.message, consequence=_CONSEQUENCE, hint=error.hint)
    return deletion._replace(fatal_error=restated)
