"""Delete invitations. Code without an `AtlasDeleter` cannot delete.

`users` and `org_users` contain members as well, and their DELETE removes a user in any status.
Such a deletion therefore reads the user by id just before, with the parser of the list, sends the
DELETE only if nothing differs from what was listed, and reads the status from the organization
afterwards. A user who accepts in the one round trip between that read and the DELETE is removed;
the second read detects this if the organization still returns the user.
"""

from collections.abc import Iterable
from typing import Final

from invite_sweeper.atlas.endpoints import (
    GET_ORG_USER,
    Endpoint,
    InvalidRequest,
    Precondition,
    Request,
    build_request,
)
from invite_sweeper.atlas.parsing import parse_listed_user, parse_user
from invite_sweeper.atlas.rate_limits import BucketKey
from invite_sweeper.atlas.responses import (
    RequestFailed,
    Response,
    ResponseOrFailure,
    fatal_error_for,
    is_already_gone,
    is_deleted,
    parse_error,
)
from invite_sweeper.atlas.sources import SOURCES, SourceApi
from invite_sweeper.atlas.transport import Transport
from invite_sweeper.atlas.user_status import check_gone_from_project, check_organization
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
)
from invite_sweeper.text import casefold_visible

_REDIRECT: Final = 300
_SERVER_ERROR: Final = 500
_NOT_REMOVABLE: Final = RequestFailed("the user must not be removed", retryable=False)


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


class UserRemoval:
    """A single deletion from `users` or `org_users`; used once.

    Attributes:
        unused_tokens: The buckets of acquired tokens that no request has used yet.
    """

    def __init__(
        self,
        transport: Transport,
        api: SourceApi,
        user_endpoint: Endpoint,
        invitation: Invitation,
        progress: DeletionProgress,
    ) -> None:
        self._transport = transport
        self._api = api
        self._user_endpoint = user_endpoint
        self._invitation = invitation
        self._progress = progress
        self._blocking_outcome: Outcome | None = None
        self._invited_again = False
        self._fatal_error: RunError | None = None
        self.unused_tokens = tokens_per_deletion(api, invitation.project_id, invitation.org_id)

    async def run(self) -> DeletionResult:
        """Read the user, delete, read again.

        Raises:
            RunError: No access token is available; the progress shows what was sent.
            InvalidRequest: An id is malformed. Nothing was sent.
        """
        request = self._delete_request()
        self.unused_tokens = self.unused_tokens[request.tokens_per_attempt :]
        return await self._finish(await self._transport.send(request, token_taken=True))

    def _delete_request(self) -> Request:
        scope_id = self._invitation.project_id
        ids = (scope_id, self._invitation.id)
        request = build_request(self._api.delete, *ids, scope_id=scope_id, progress=self._progress)
        owner = Project(scope_id, self._invitation.project_name, self._invitation.org_id)
        read = build_request(
            self._user_endpoint,
            *ids,
            scope_id=scope_id,
            parse=lambda body: parse_listed_user(
                body, lambda item: self._api.parse_row(item, owner)
            ),
        )
        return request._replace(precondition=Precondition(read, self._check_before))

    def _check_before(self, response: ResponseOrFailure) -> ResponseOrFailure | None:
        """Return None if the DELETE may be sent after this read, else the attempt's result.

        A failed read is returned, so that it is retried as a failed DELETE would be.
        """
        self._fatal_error = fatal_error_for(response)
        self._blocking_outcome = self._outcome_before(response)
        if self._blocking_outcome is None:
            return None
        return response if self._is_read_failed(response) else _NOT_REMOVABLE

    def _outcome_before(self, response: ResponseOrFailure) -> Outcome | None:
        """Return the outcome if the DELETE must not be sent after this read, else None."""
        seen = response.value if isinstance(response, Response) else None
        if isinstance(seen, Invitation) and seen.id == self._invitation.id:
            self._progress.seen_before = seen.status
            outcome = _outcome_if_not_removable(seen, self._invitation)
            is_other = not seen.is_dated(self._invitation.created_at)
            if outcome is Outcome.CHANGED and is_other and self._progress.attempts:
                # An attempt whose response was lost ended the listed invitation.
                self._invited_again = True
                return Outcome.ALREADY_GONE
            return outcome
        if isinstance(response, Response) and is_already_gone(response):
            self._progress.seen_before = MembershipStatus.GONE
            return Outcome.ALREADY_GONE
        if self._progress.attempts == 0:
            self._record_failure(response)
        return Outcome.FAILED

    def _is_read_failed(self, response: ResponseOrFailure) -> bool:
        is_failure = isinstance(response, RequestFailed) or response.status >= _REDIRECT
        return is_failure and self._blocking_outcome is Outcome.FAILED

    def _record_failure(self, result: ResponseOrFailure) -> None:
        """Record why nothing was sent, for the audit log."""
        progress = self._progress
        if isinstance(result, Response):
            progress.http_status, progress.error_code = result.status, parse_error(result).code
        else:
            progress.http_status = result.http_status

    async def _finish(self, result: ResponseOrFailure) -> DeletionResult:
        """Return the result of the DELETE, from its response and from the user's new status."""
        progress = self._progress
        fatal_error = fatal_error_for(result) or self._fatal_error
        if progress.attempts == 0:
            return (
                progress.result_if_interrupted()
                if progress.cancelled
                else progress.result(self._blocking_outcome or Outcome.FAILED, fatal_error)
            )
        if self._invited_again:
            return progress.result(Outcome.ALREADY_GONE)
        if self._blocking_outcome is Outcome.ACCEPTED_BEFORE:
            return progress.result(Outcome.ACCEPTED_BEFORE)
        deleted = isinstance(result, Response) and is_deleted(result)
        if deleted:
            progress.known_outcome = Outcome.DELETED
        elif progress.attempts == 1 and self._is_refused(result):
            # A refusal (3xx or 4xx) of the only attempt is certain: there is nothing to check.
            return progress.result(Outcome.FAILED, fatal_error)
        still_member = await self._check_after(deleted=deleted)
        return progress.result(
            self._outcome(result, still_member=still_member, deleted=deleted), fatal_error
        )

    def _outcome(
        self, result: ResponseOrFailure, *, still_member: bool | None, deleted: bool
    ) -> Outcome:
        """Return the outcome from the response to the DELETE and the current membership.

        Args:
            result: Of the DELETE.
            still_member: Whether the membership still exists; None if unknown.
            deleted: Whether Atlas confirmed the DELETE.
        """
        removed_no_user = self._progress.attempts == 1 and _is_gone(result)
        if still_member:
            return Outcome.FAILED
        if self._progress.seen_after == MembershipStatus.ACTIVE and not removed_no_user:
            return Outcome.ACCEPTED_DURING
        if deleted:
            return Outcome.DELETED
        if still_member is False or removed_no_user:
            return Outcome.ALREADY_GONE
        if self._progress.cancelled:
            return self._progress.result_if_interrupted().outcome
        is_gone = _is_gone(result)
        return self._blocking_outcome or (Outcome.ALREADY_GONE if is_gone else Outcome.FAILED)

    async def _check_after(self, *, deleted: bool) -> bool | None:
        """Record the user's new status and return whether the membership still exists."""
        about = (self._read_after, self._invitation, self._user_endpoint)
        user_status, _ = await check_organization(*about)
        if not deleted:
            user_status = await check_gone_from_project(*about, user_status)
        self._progress.seen_after = user_status.status
        return user_status.still_member

    async def _read_after(self, endpoint: Endpoint, scope_id: str) -> ResponseOrFailure:
        request = build_request(
            endpoint, scope_id, self._invitation.id, scope_id=scope_id, parse=parse_user
        )
        token_taken = endpoint is GET_ORG_USER and bool(self.unused_tokens)
        self.unused_tokens = self.unused_tokens[token_taken:]
        return await self._transport.send(request, token_taken=token_taken)

    def _is_refused(self, result: ResponseOrFailure) -> bool:
        """Return whether the result is a refusal of the DELETE, and not of a later read.

        That a user does not exist, whom the read has just shown, is not a refusal: it is checked.
        """
        is_refusal = isinstance(result, Response) and _REDIRECT <= result.status < _SERVER_ERROR
        return is_refusal and self._blocking_outcome is None and not _is_gone(result)


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


def _is_gone(result: ResponseOrFailure) -> bool:
    return isinstance(result, Response) and is_already_gone(result)


_CONSEQUENCE: Final = "No further deletion is sent. The audit log shows what was deleted."


class AtlasDeleter:
    """Deletes invitations, and reads each user before and after where that is needed.

    Args:
        sources: The only lists from which it deletes.
    """

    def __init__(self, transport: Transport, sources: Iterable[Source]) -> None:
        self._transport = transport
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
        return self._transport.limiter.try_acquire(*tokens)

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
            scope_id = invitation.project_id
            request = build_request(
                api.delete, scope_id, invitation.id, scope_id=scope_id, progress=progress
            )
            result = await self._transport.send(request, token_taken=True)
            return _with_consequence(_result_of_revoke(result, invitation.source, progress))
        except InvalidRequest:
            # Selection keeps invitations with a malformed id; this is the second line of defence.
            return progress.result(Outcome.FAILED)
        except RunError as error:
            if progress.cancelled and isinstance(error, AtlasUnavailable):
                return progress.result_if_interrupted()  # no time left for an access token
            return _with_consequence(
                progress.result(progress.known_outcome or Outcome.FAILED, error)
            )

    async def _remove_user(
        self, api: SourceApi, invitation: Invitation, progress: DeletionProgress
    ) -> DeletionResult:
        """Remove an invited user; return unused tokens to their buckets."""
        assert api.read_user is not None  # noqa: S101 - the caller checks it
        removal = UserRemoval(self._transport, api, api.read_user, invitation, progress)
        try:
            return await removal.run()
        finally:
            self._transport.limiter.release(removal.unused_tokens)


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
