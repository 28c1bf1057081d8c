"""Delete an invitation; check a user before and after."""

from collections.abc import Iterable
from typing import Final

from invite_sweeper.atlas.endpoints import (
    GET_ORG_USER,
    Operation,
    Request,
    UnsendableError,
    request_for,
)
from invite_sweeper.atlas.parsing import Standing, parse_standing
from invite_sweeper.atlas.reader import look_back, standing_in
from invite_sweeper.atlas.responses import (
    Answer,
    Broken,
    Result,
    ends_run,
    error_of,
    is_done,
    is_gone,
)
from invite_sweeper.atlas.sources import SOURCES, SourceApi
from invite_sweeper.atlas.transport import Transport
from invite_sweeper.errors import AtlasUnavailable, RunError
from invite_sweeper.models import (
    INVITED_STATUSES,
    Deletion,
    Invitation,
    MembershipStatus,
    Outcome,
    Source,
    Trail,
)
from invite_sweeper.text import fold

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
        reading: Operation,
        invitation: Invitation,
        trail: Trail,
    ) -> None:
        self._transport = transport
        self._api = api
        self._reading = reading
        self._invitation = invitation
        self._trail = trail
        self._stopped: Outcome | None = None
        self._about_run: RunError | None = None
        self.turns_left = api.tokens_per_deletion(invitation.project_id, invitation.org_id)

    async def run(self) -> Deletion:
        """Read, remove, read again.

        Raises:
            RunError: No token can be had; `trail` tells how far it had come.
            UnsendableError: An id has a wrong form. Nothing was sent.
        """
        trail = self._trail
        stopped = await self._look(admitted=True)
        if trail.called_off:
            return trail.cut_off()
        if stopped is not None:
            return trail.ended(stopped, self._about_run)
        result = await self._transport.call(self._removal(), admitted=self._turn())
        return await self._conclude(result)

    def _removal(self) -> Request:
        scope_id = self._invitation.project_id
        ids = (scope_id, self._invitation.id)
        request = request_for(self._api.delete, *ids, scope_id=scope_id, trail=self._trail)
        return request._replace(before_again=self._look_again)

    async def _look_again(self) -> Result | None:
        """Read the user once more before another try; a result where there must be none."""
        self._stopped = await self._look(admitted=False)
        if self._stopped is None:
            return None
        return Broken("the user is not to be removed any more", passing=False)

    async def _look(self, *, admitted: bool) -> Outcome | None:
        """Read the user; give the outcome that this settles, or None where it may go on."""
        scope_id = self._invitation.project_id
        result = await self._read(
            self._reading, scope_id, admitted=admitted and self._turn(), part_of=self._trail
        )
        self._about_run = ends_run(result)
        standing = standing_in(result, self._invitation)
        if standing is not None:
            self._trail.seen_before = standing.status
            return self._allowed(standing)
        if isinstance(result, Answer) and is_gone(result):
            self._trail.seen_before = MembershipStatus.GONE
            return Outcome.ALREADY_GONE
        if self._trail.attempts == 0:
            self._tell_failure(result)
        return Outcome.FAILED

    def _allowed(self, standing: Standing) -> Outcome | None:
        """Judge what was read; the rule was about the invitation that was listed."""
        listed = self._invitation
        if standing.status == MembershipStatus.ACTIVE:
            return Outcome.ACCEPTED_BEFORE
        same_person = fold(standing.username or "") == fold(listed.username or "")
        if standing.status not in INVITED_STATUSES or not same_person:
            return Outcome.FAILED
        invited_again = standing.status == MembershipStatus.PENDING != listed.status
        if invited_again or standing.invited_at != listed.created_at:
            return Outcome.ALREADY_GONE
        return None

    def _tell_failure(self, result: Result) -> None:
        """Let the audit say why nothing was sent."""
        trail = self._trail
        if isinstance(result, Answer):
            trail.http_status, trail.error_code = result.status, error_of(result).code
        else:
            trail.http_status = result.http_status

    async def _conclude(self, result: Result) -> Deletion:
        """Say what became of the DELETE, by its answer and by what Atlas shows now."""
        trail = self._trail
        about_run = ends_run(result) or self._about_run
        if trail.attempts == 0:
            return trail.cut_off() if trail.called_off else trail.ended(Outcome.FAILED, about_run)
        if self._stopped is Outcome.ACCEPTED_BEFORE:
            return trail.ended(Outcome.ACCEPTED_BEFORE)
        done = isinstance(result, Answer) and is_done(result)
        if done:
            trail.settled = Outcome.DELETED
        elif trail.attempts == 1 and isinstance(result, Answer) and _is_refusal(result):
            # Nothing was removed: it is neither a doubtful success nor a server's error.
            return trail.ended(_refused(result), about_run)
        there = await self._look_back()
        return trail.ended(self._outcome(result, there=there, done=done), about_run)

    def _outcome(self, result: Result, *, there: bool | None, done: bool) -> Outcome:
        """Weigh the answer to the DELETE against what is there now; None where not known."""
        if there:
            return Outcome.FAILED
        if self._trail.seen_after == MembershipStatus.ACTIVE:
            return Outcome.ACCEPTED_DURING
        if done:
            return Outcome.DELETED
        if there is False:
            return Outcome.ALREADY_GONE
        if self._trail.called_off:
            return self._trail.cut_off().outcome
        return self._stopped or _refused(result)

    async def _look_back(self) -> bool | None:
        """Note what the person has become; whether the membership is still there."""
        look = await look_back(self._ask, self._invitation, self._reading)
        self._trail.seen_after = look.aftermath.status
        return look.aftermath.there

    async def _ask(self, operation: Operation, scope_id: str) -> Result:
        admitted = operation is GET_ORG_USER and self._turn()
        return await self._read(operation, scope_id, admitted=admitted)

    async def _read(
        self, operation: Operation, scope_id: str, *, admitted: bool, part_of: Trail | None = None
    ) -> Result:
        request = request_for(
            operation, scope_id, self._invitation.id, scope_id=scope_id, read=parse_standing
        )
        return await self._transport.call(request._replace(part_of=part_of), admitted=admitted)

    def _turn(self) -> bool:
        """Use the next of the turns that were taken before."""
        self.turns_left = self.turns_left[1:]
        return True


def _is_refusal(answer: Answer) -> bool:
    return _REDIRECT <= answer.status < _SERVER_ERROR


def _refused(result: Result) -> Outcome:
    return (
        Outcome.ALREADY_GONE if isinstance(result, Answer) and is_gone(result) else Outcome.FAILED
    )


# Deletes invitations. Whoever holds no deleter cannot delete.


_STATE = "No further deletion is sent; the audit log tells what was done."


class AtlasDeleter:
    """Sends the DELETE of its sources, and what has to be read around it; nothing else.

    Args:
        sources: From no other list is anything deleted.
    """

    def __init__(self, transport: Transport, sources: Iterable[Source]) -> None:
        self._transport = transport
        self._apis = {source: SOURCES[source] for source in sources}

    def admit(self, invitation: Invitation) -> float:
        """Take the tokens of one deletion and return 0.0, or return seconds to wait.

        All of them are taken before its first request, so that nothing waits for a bucket
        between a read and the DELETE.
        """
        api = self._apis.get(invitation.source)
        if api is None:
            return 0.0
        tokens = api.tokens_per_deletion(invitation.project_id, invitation.org_id)
        return self._transport.limiter.try_acquire(*tokens)

    async def delete(self, invitation: Invitation, trail: Trail) -> Deletion:
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
                return trail.ended(Outcome.FAILED)
            if api.read_user is not None:
                return _told(await self._remove(api, invitation, trail))
            scope_id = invitation.project_id
            request = request_for(
                api.delete, scope_id, invitation.id, scope_id=scope_id, trail=trail
            )
            result = await self._transport.call(request, admitted=True)
            return _told(_revoked(result, invitation.source, trail))
        except UnsendableError:
            # Selection keeps such an invitation; should one come all the same, nothing is sent.
            return trail.ended(Outcome.FAILED)
        except RunError as error:
            if trail.called_off and isinstance(error, AtlasUnavailable):
                return trail.cut_off()  # there was no time for a token
            return _told(trail.ended(trail.settled or Outcome.FAILED, error))

    async def _remove(self, api: SourceApi, invitation: Invitation, trail: Trail) -> Deletion:
        """Remove an invited user, with a look before and after."""
        assert api.read_user is not None  # noqa: S101 - the caller looked
        removal = UserRemoval(self._transport, api, api.read_user, invitation, trail)
        try:
            return await removal.run()
        finally:
            self._transport.limiter.release(removal.turns_left)


def _revoked(result: Result, source: Source, trail: Trail) -> Deletion:
    """Say what became of a DELETE that cannot hit an accepted invitation."""
    outcome = _outcome(result)
    if outcome is not Outcome.FAILED:
        return trail.ended(outcome)
    if trail.called_off and not isinstance(result, Answer):
        return trail.cut_off()
    return trail.ended(outcome, ends_run(result, source))


def _outcome(result: Result) -> Outcome:
    if isinstance(result, Answer) and is_done(result):
        return Outcome.DELETED
    if isinstance(result, Answer) and is_gone(result):
        return Outcome.ALREADY_GONE
    return Outcome.FAILED


def _told(deletion: Deletion) -> Deletion:
    """Say it of a run that was deleting: that nothing was deleted cannot be said."""
    error = deletion.ends_run
    if error is None:
        return deletion
    ends = type(error)(error.message, consequence=_STATE, hint=error.hint)
    return deletion._replace(ends_run=ends)
