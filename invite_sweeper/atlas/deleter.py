"""Delete an invitation; check a user before and after."""

from collections.abc import Iterable
from typing import Final

from invite_sweeper.atlas.endpoints import (
    GET_ORG_USER,
    Endpoint,
    InvalidRequest,
    Request,
    build_request,
)
from invite_sweeper.atlas.parsing import UserRecord, parse_user
from invite_sweeper.atlas.reader import check_organization, user_in
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
from invite_sweeper.errors import AtlasUnavailable, RunError
from invite_sweeper.models import (
    INVITED_STATUSES,
    DeletionProgress,
    DeletionResult,
    Invitation,
    MembershipStatus,
    Outcome,
    Source,
)
from invite_sweeper.text import casefold_visible

# Removes one invited user, and never knowingly an active one.
#
# The call that ends the invitation of a user removes the user whatever the status. So the user
# is read by id just before, nothing is sent unless the status is still one of an invitation,
# and afterwards the organization is asked what the person has become. Between the answer to
# the first read and the moment at which Atlas takes the DELETE lies one round trip that nobody
# can look into: who accepts in it is removed, and is found afterwards where Atlas still tells.


_REDIRECT: Final = 300
_SERVER_ERROR: Final = 500


class UserRemoval:
    """One deletion of `users` or `org_users`; made for it, and used once.

    Attributes:
        turns_left: How many of the turns that were taken for it have not been used.
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
        self._fatal_error: RunError | None = None
        self.unused_tokens = api.tokens_per_deletion(invitation.project_id, invitation.org_id)

    async def run(self) -> DeletionResult:
        """Read, remove, read again.

        Raises:
            RunError: No token can be had; `trail` tells how far it had come.
            UnsendableError: An id has a wrong form. Nothing was sent.
        """
        progress = self._progress
        blocking_outcome = await self._check_before(token_taken=True)
        if progress.cancelled:
            return progress.result_if_interrupted()
        if blocking_outcome is not None:
            return progress.result(blocking_outcome, self._fatal_error)
        result = await self._transport.send(self._delete_request(), token_taken=self._use_token())
        return await self._finish(result)

    def _delete_request(self) -> Request:
        scope_id = self._invitation.project_id
        ids = (scope_id, self._invitation.id)
        request = build_request(self._api.delete, *ids, scope_id=scope_id, progress=self._progress)
        return request._replace(before_retry=self._check_before_retry)

    async def _check_before_retry(self) -> ResponseOrFailure | None:
        """Read the user once more before another try; a result where there must be none."""
        self._blocking_outcome = await self._check_before(token_taken=False)
        if self._blocking_outcome is None:
            return None
        return RequestFailed("the user is not to be removed any more", retryable=False)

    async def _check_before(self, *, token_taken: bool) -> Outcome | None:
        """Read the user; give the outcome that this settles, or None where it may go on."""
        scope_id = self._invitation.project_id
        result = await self._read_user(
            self._user_endpoint,
            scope_id,
            token_taken=token_taken and self._use_token(),
            parent=self._progress,
        )
        self._fatal_error = fatal_error_for(result)
        user = user_in(result, self._invitation)
        if user is not None:
            self._progress.seen_before = user.status
            return self._outcome_if_not_removable(user)
        if isinstance(result, Response) and is_already_gone(result):
            self._progress.seen_before = MembershipStatus.GONE
            return Outcome.ALREADY_GONE
        if self._progress.attempts == 0:
            self._record_failure(result)
        return Outcome.FAILED

    def _outcome_if_not_removable(self, user: UserRecord) -> Outcome | None:
        """Judge what was read; the rule was about the invitation that was listed."""
        listed = self._invitation
        if user.status == MembershipStatus.ACTIVE:
            return Outcome.ACCEPTED_BEFORE
        is_same_user = casefold_visible(user.username or "") == casefold_visible(
            listed.username or ""
        )
        if user.status not in INVITED_STATUSES or not is_same_user:
            return Outcome.FAILED
        invited_again = user.status == MembershipStatus.PENDING != listed.status
        if invited_again or user.invited_at != listed.created_at:
            return Outcome.ALREADY_GONE
        return None

    def _record_failure(self, result: ResponseOrFailure) -> None:
        """Let the audit say why nothing was sent."""
        progress = self._progress
        if isinstance(result, Response):
            progress.http_status, progress.error_code = result.status, parse_error(result).code
        else:
            progress.http_status = result.http_status

    async def _finish(self, result: ResponseOrFailure) -> DeletionResult:
        """Say what became of the DELETE, by its answer and by what Atlas shows now."""
        progress = self._progress
        fatal_error = fatal_error_for(result) or self._fatal_error
        if progress.attempts == 0:
            return (
                progress.result_if_interrupted()
                if progress.cancelled
                else progress.result(Outcome.FAILED, fatal_error)
            )
        if self._blocking_outcome is Outcome.ACCEPTED_BEFORE:
            return progress.result(Outcome.ACCEPTED_BEFORE)
        deleted = isinstance(result, Response) and is_deleted(result)
        if deleted:
            progress.known_outcome = Outcome.DELETED
        elif progress.attempts == 1 and isinstance(result, Response) and _is_refusal(result):
            # Nothing was removed: it is neither a doubtful success nor a server's error.
            return progress.result(_gone_or_failed(result), fatal_error)
        still_member = await self._check_after()
        return progress.result(
            self._outcome(result, still_member=still_member, deleted=deleted), fatal_error
        )

    def _outcome(
        self, result: ResponseOrFailure, *, still_member: bool | None, deleted: bool
    ) -> Outcome:
        """Weigh the answer to the DELETE against what is there now; None where not known."""
        if still_member:
            return Outcome.FAILED
        if self._progress.seen_after == MembershipStatus.ACTIVE:
            return Outcome.ACCEPTED_DURING
        if deleted:
            return Outcome.DELETED
        if still_member is False:
            return Outcome.ALREADY_GONE
        if self._progress.cancelled:
            return self._progress.result_if_interrupted().outcome
        return self._blocking_outcome or _gone_or_failed(result)

    async def _check_after(self) -> bool | None:
        """Note what the person has become; whether the membership is still there."""
        check = await check_organization(self._read_after, self._invitation, self._user_endpoint)
        self._progress.seen_after = check.user_status.status
        return check.user_status.still_member

    async def _read_after(self, endpoint: Endpoint, scope_id: str) -> ResponseOrFailure:
        token_taken = endpoint is GET_ORG_USER and self._use_token()
        return await self._read_user(endpoint, scope_id, token_taken=token_taken)

    async def _read_user(
        self,
        endpoint: Endpoint,
        scope_id: str,
        *,
        token_taken: bool,
        parent: DeletionProgress | None = None,
    ) -> ResponseOrFailure:
        request = build_request(
            endpoint, scope_id, self._invitation.id, scope_id=scope_id, parse=parse_user
        )
        return await self._transport.send(request._replace(parent=parent), token_taken=token_taken)

    def _use_token(self) -> bool:
        """Use the next of the turns that were taken before."""
        self.unused_tokens = self.unused_tokens[1:]
        return True


def _is_refusal(answer: Response) -> bool:
    return _REDIRECT <= answer.status < _SERVER_ERROR


def _gone_or_failed(result: ResponseOrFailure) -> Outcome:
    return (
        Outcome.ALREADY_GONE
        if isinstance(result, Response) and is_already_gone(result)
        else Outcome.FAILED
    )


# Deletes invitations. Whoever holds no deleter cannot delete.


_CONSEQUENCE = "No further deletion is sent; the audit log tells what was done."


class AtlasDeleter:
    """Sends the DELETE of its sources, and what has to be read around it; nothing else.

    Args:
        sources: From no other list is anything deleted.
    """

    def __init__(self, transport: Transport, sources: Iterable[Source]) -> None:
        self._transport = transport
        self._apis = {source: SOURCES[source] for source in sources}

    def try_acquire(self, invitation: Invitation) -> float:
        """Take the tokens of one deletion and return 0.0, or return seconds to wait.

        All of them are taken before its first request, so that nothing waits for a bucket
        between a read and the DELETE.
        """
        api = self._apis.get(invitation.source)
        if api is None:
            return 0.0
        tokens = api.tokens_per_deletion(invitation.project_id, invitation.org_id)
        return self._transport.limiter.try_acquire(*tokens)

    async def delete(self, invitation: Invitation, progress: DeletionProgress) -> DeletionResult:
        """Delete one invitation that `admit` let through.

        Trouble with Atlas is a value. When it is cancelled, `trail` tells how far it had come.

        Args:
            invitation: As it was listed.
            trail: Told of each try as it happens.

        Source:
            `deleteGroupInvite`, `deleteOrgInvite`, `removeGroupUser` and `removeOrgUser` of
            the OpenAPI document; `verdicts` on their answers.
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
            # Selection keeps such an invitation; should one come all the same, nothing is sent.
            return progress.result(Outcome.FAILED)
        except RunError as error:
            if progress.cancelled and isinstance(error, AtlasUnavailable):
                return progress.result_if_interrupted()  # there was no time for a token
            return _with_consequence(
                progress.result(progress.known_outcome or Outcome.FAILED, error)
            )

    async def _remove_user(
        self, api: SourceApi, invitation: Invitation, progress: DeletionProgress
    ) -> DeletionResult:
        """Remove an invited user, with a look before and after."""
        assert api.read_user is not None  # noqa: S101 - the caller looked
        removal = UserRemoval(self._transport, api, api.read_user, invitation, progress)
        try:
            return await removal.run()
        finally:
            self._transport.limiter.release(removal.unused_tokens)


def _result_of_revoke(
    result: ResponseOrFailure, source: Source, progress: DeletionProgress
) -> DeletionResult:
    """Say what became of a DELETE that cannot hit an accepted invitation."""
    outcome = _outcome_of_revoke(result)
    if outcome is not Outcome.FAILED:
        return progress.result(outcome)
    if progress.cancelled and not isinstance(result, Response):
        return progress.result_if_interrupted()
    return progress.result(outcome, fatal_error_for(result, source))


def _outcome_of_revoke(result: ResponseOrFailure) -> Outcome:
    if isinstance(result, Response) and is_deleted(result):
        return Outcome.DELETED
    if isinstance(result, Response) and is_already_gone(result):
        return Outcome.ALREADY_GONE
    return Outcome.FAILED


def _with_consequence(deletion: DeletionResult) -> DeletionResult:
    """Say it of a run that was deleting: that nothing was deleted cannot be said."""
    error = deletion.fatal_error
    if error is None:
        return deletion
    restated = type(error)(error.message, consequence=_CONSEQUENCE, hint=error.hint)
    return deletion._replace(fatal_error=restated)
