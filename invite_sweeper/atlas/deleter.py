"""Deletes invitations. Whoever holds no deleter cannot delete."""

from invite_sweeper.atlas.answers import Answer, Result
from invite_sweeper.atlas.operations import DELETE_GROUP_INVITE, UnsendableError
from invite_sweeper.atlas.ratelimit import BucketKey
from invite_sweeper.atlas.request import Request, request_for
from invite_sweeper.atlas.transport import Transport
from invite_sweeper.atlas.verdicts import ends_run, is_done, is_gone
from invite_sweeper.errors import RunError
from invite_sweeper.inventory import Invitation, Source
from invite_sweeper.outcome import Deletion, Outcome, Trail

_STATE = "No further deletion is sent; the audit log tells what was done."


class AtlasDeleter:
    """Sends the DELETE of one source, and no other request."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def admit(self, invitation: Invitation) -> float:
        """Take the turn of one deletion and give 0.0, or take nothing and give seconds to wait."""
        key = BucketKey(DELETE_GROUP_INVITE.endpoint_set, invitation.project_id)
        return self._transport.limiter.reserve(key)

    async def delete(self, invitation: Invitation, trail: Trail) -> Deletion:
        """Delete one invitation that `admit` let through.

        Never raises but when cancelled; then `trail` tells how far it had come.

        Args:
            invitation: As it was listed.
            trail: Told of each try as it happens.

        Source: `deleteGroupInvite` of the OpenAPI document; `verdicts` on its answers.
        """
        try:
            request = _request(invitation, trail)
            result = await self._transport.call(request, admitted=True)
        except UnsendableError:
            # Selection keeps such an invitation; should one come all the same, nothing is sent.
            return _deletion(Outcome.FAILED, trail)
        except RunError as error:
            return _deletion(Outcome.FAILED, trail, error)
        outcome, about_run = _outcome(result), ends_run(result)
        if outcome is Outcome.FAILED and trail.called_off and about_run is None:
            return trail.cut_off()
        return _deletion(outcome, trail, about_run)


def _request(invitation: Invitation, trail: Trail) -> Request:
    if invitation.source is not Source.INVITES:
        message = f"not of the source that is deleted from: {invitation.source}"
        raise UnsendableError(message)
    project_id = invitation.project_id
    return request_for(
        DELETE_GROUP_INVITE, project_id, invitation.id, scope_id=project_id, trail=trail
    )


def _outcome(result: Result) -> Outcome:
    if isinstance(result, Answer) and is_done(result):
        return Outcome.DELETED
    if isinstance(result, Answer) and is_gone(result):
        return Outcome.ALREADY_GONE
    return Outcome.FAILED


def _deletion(outcome: Outcome, trail: Trail, about_run: RunError | None = None) -> Deletion:
    # A run that was deleting cannot say that nothing was deleted.
    ends = type(about_run)(about_run.what, state=_STATE, mend=about_run.mend) if about_run else None
    return Deletion(outcome, trail.attempts, trail.http_status, trail.error_code, ends)
