"""Deletes invitations. Whoever holds no deleter cannot delete."""

from collections import Counter
from collections.abc import Iterable

from invite_sweeper.atlas.answers import Answer, Result
from invite_sweeper.atlas.buckets import BucketKey
from invite_sweeper.atlas.removal import UserRemoval
from invite_sweeper.atlas.request import request_for
from invite_sweeper.atlas.sources import SOURCES, SourceApi
from invite_sweeper.atlas.target import UnsendableError
from invite_sweeper.atlas.transport import Transport
from invite_sweeper.atlas.verdicts import ends_run, is_done, is_gone
from invite_sweeper.errors import AtlasUnavailable, RunError
from invite_sweeper.inventory import Invitation, Source
from invite_sweeper.outcome import Deletion, Outcome, Trail

_STATE = "No further deletion is sent; the audit log tells what was done."


class AtlasDeleter:
    """Sends the DELETE of its sources, and what has to be read around it; nothing else.

    Args:
        sources: From no other list is anything deleted.
    """

    def __init__(self, transport: Transport, sources: Iterable[Source]) -> None:
        self._transport = transport
        self._apis = {source: SOURCES[source] for source in sources}
        self._taken: Counter[BucketKey] = Counter()

    def admit(self, invitation: Invitation) -> float:
        """Take the turns of one deletion and give 0.0, or give seconds to wait.

        All of its turns are taken before its first request, so that nothing waits for a
        bucket between a read and the DELETE. What was taken before one was missing is kept
        for the next that asks.
        """
        api = self._apis.get(invitation.source)
        if api is None:
            return 0.0
        turns = api.tokens_per_deletion(invitation.project_id, invitation.org_id)
        if len(turns) == 1:
            return self._transport.limiter.reserve(turns[0])
        needed = Counter(turns)
        for key, count in needed.items():
            while self._taken[key] < count:
                if wait_s := self._transport.limiter.reserve(key):
                    return wait_s
                self._taken[key] += 1
        self._taken -= needed
        return 0.0

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
            self._taken.update(removal.turns_left)


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
