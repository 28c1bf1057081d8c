"""Delete invitations. Code without an `AtlasDeleter` cannot delete.

`users` and `org_users` contain members as well, and their DELETE removes a user in any status.
Such a deletion therefore reads the user by id just before, with the parser of the list, sends the
DELETE only if nothing differs from what was listed, and reads the status from the organization
afterwards. A user who accepts in the one round trip between that read and the DELETE is removed;
the second read detects this if the organization still returns the user.
"""

from collections.abc import Iterable

from invite_sweeper.atlas.client import Client
from invite_sweeper.atlas.endpoints import GET_ORG_USER, SOURCES, InvalidRequest, SourceApi
from invite_sweeper.atlas.reader import (
    UserStatus,
    read_membership,
    status_in,
    user_in,
    user_request,
)
from invite_sweeper.atlas.responses import (
    CANCELLED,
    SERVER_ERROR,
    Response,
    ResponseOrFailure,
    describe,
    fatal_error_for,
    is_already_gone,
    is_deleted,
)
from invite_sweeper.errors import AtlasUnavailable, RunError
from invite_sweeper.models import INVITED_STATUSES, Invitation, MembershipStatus, Source
from invite_sweeper.names import casefold_visible
from invite_sweeper.outcomes import Outcome, Sending


def judge_before(look: ResponseOrFailure, listed: Invitation) -> Outcome | None:
    """Return the outcome of a removal that must not be sent after this look, else None.

    Args:
        look: The user as Atlas shows it now, parsed as a row of the list.
        listed: The user as the list showed it.
    """
    seen = user_in(look, listed)
    if seen is None:
        return Outcome.ALREADY_GONE if is_already_gone(look) else Outcome.FAILED
    if seen.status == MembershipStatus.ACTIVE:
        return Outcome.ACCEPTED_BEFORE
    name = casefold_visible(seen.username or "")
    is_same_user = name == casefold_visible(listed.username or "")
    if seen.status not in INVITED_STATUSES or not is_same_user:
        return Outcome.FAILED
    # With links out of scope, Atlas did not return the user's projects or teams.
    is_same = seen.evidence == listed.evidence and not seen.links_out_of_scope
    return None if is_same else Outcome.CHANGED


def why_not_sent(look: ResponseOrFailure, listed: Invitation) -> str:
    """Return why a look lets a removal fail before it is sent, for the operator."""
    seen = user_in(look, listed)
    if seen is None:
        return f"the user could not be read: {describe(look)}; nothing sent"
    if seen.status not in INVITED_STATUSES:
        return f"Atlas shows the unknown status {seen.status}; nothing sent"
    return "Atlas shows another person under this id; nothing sent"


def judge_after(answer: Outcome, after: UserStatus) -> Outcome:
    """Return the outcome of a removal that may have been processed, from the look after it."""
    if after.still_member:
        return Outcome.FAILED  # in whatever status: the next run judges the user anew
    is_open = answer is Outcome.UNKNOWN and after.still_member is None
    if is_open or answer is Outcome.ALREADY_GONE:
        return answer
    if after.status == MembershipStatus.ACTIVE:
        return Outcome.ACCEPTED_DURING
    # That the user is gone does not prove who removed the user.
    return Outcome.DELETED if answer is Outcome.DELETED else Outcome.ALREADY_GONE


def _read_answer(result: ResponseOrFailure) -> Outcome:
    """Return what the answer to a DELETE proves; UNKNOWN if it may have been processed."""
    if not isinstance(result, Response):
        return Outcome.FAILED if result.is_unsent else Outcome.UNKNOWN
    if is_deleted(result):
        return Outcome.DELETED
    if is_already_gone(result):
        return Outcome.ALREADY_GONE
    is_refusal = not result.is_success and result.status < SERVER_ERROR
    return Outcome.FAILED if is_refusal else Outcome.UNKNOWN


def _why_unclear(result: ResponseOrFailure) -> str | None:
    """Return what was wrong with an answer; None where its status and code are enough."""
    if isinstance(result, Response) and not result.is_success:
        return None
    return describe(result)


def _why_still_there(result: ResponseOrFailure | None, after: UserStatus) -> str:
    """Return what contradicts the answer to a DELETE, if there was one."""
    answer = f"the answer {result.status}" if isinstance(result, Response) else "a lost answer"
    return f"Atlas still shows the user as {after.status or 'a member'} after {answer}"


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

        There is one for each request, in their order, the last one for the look after it in the
        organization. All are taken before the first request, so that no rate limit delays the
        DELETE after the read.
        """
        api = self._apis[invitation.source]
        limiter = self._client.limiter
        delete = limiter.bucket(api.delete.endpoint_set, invitation.scope_id)
        if api.read_user is None:
            return limiter.try_acquire(delete)
        before = limiter.bucket(api.read_user.endpoint_set, invitation.scope_id)
        after = limiter.bucket(GET_ORG_USER.endpoint_set, invitation.org_id)
        return limiter.try_acquire(before, delete, after)

    async def delete(self, invitation: Invitation, sending: Sending) -> Sending:
        """Delete one invitation, after `try_acquire` returned 0.0 for it.

        A failure is an outcome, not an exception; another list is a KeyError. If the task is
        cancelled, `sending` shows what was sent.

        Args:
            invitation: As it was listed.
            sending: Updated with each attempt, and returned with its outcome.
        """
        api = self._apis[invitation.source]
        try:
            if api.read_user is None:
                return await self._revoke(api, invitation, sending)
            return await self._remove_user(api, invitation, sending)
        except InvalidRequest:
            # Selection keeps invitations with a malformed id; this is the second line of defence.
            sending.reason = "the id is not of Atlas's form; nothing sent"
            return sending.end(Outcome.FAILED)
        except RunError as error:
            if sending.cancelled and isinstance(error, AtlasUnavailable):
                return sending.interrupt()  # no time left for an access token
            sending.reason = error.message
            return sending.end(Outcome.FAILED, error)

    async def _revoke(self, api: SourceApi, listed: Invitation, sending: Sending) -> Sending:
        """Send a DELETE that cannot affect an accepted invitation."""
        request = self._client.request(
            api.delete, listed.scope_id, listed.invitation_id, progress=sending
        )
        result = await self._client.call(request, token_taken=True)
        if sending.cancelled and not isinstance(result, Response):
            return sending.interrupt()
        answer = _read_answer(result)
        if not isinstance(result, Response):
            answer = sending.without_answer(if_unsent=Outcome.FAILED)
        elif answer is Outcome.UNKNOWN:  # given up: the invitation may still be there
            answer = Outcome.FAILED
        if answer in {Outcome.FAILED, Outcome.UNKNOWN}:
            sending.reason = _why_unclear(result)
        return sending.end(answer, fatal_error_for(result, listed.source))

    async def _remove_user(self, api: SourceApi, listed: Invitation, sending: Sending) -> Sending:
        """Look, judge, DELETE once, look, judge. Nothing was processed where it raises."""
        client = self._client
        look = user_request(client, listed.source, listed.place, listed.invitation_id)
        delete = client.request(api.delete, listed.scope_id, listed.invitation_id, progress=sending)

        def may_delete(seen: ResponseOrFailure) -> bool:
            return judge_before(seen, listed) is None

        before, result = await client.call_after(look, may_delete, delete)
        sending.seen_before = status_in(before, listed)
        answer = Outcome.FAILED if result is None else _read_answer(result)
        if answer is Outcome.FAILED:
            # Nothing was processed, so there is no look afterwards: its token goes back.
            client.limiter.bucket(GET_ORG_USER.endpoint_set, listed.org_id).release()
            return _end_unprocessed(listed, before, result, sending)
        after = UserStatus(None, still_member=None)
        fatal_error = None
        is_confirmed = answer is Outcome.DELETED
        try:
            after, _ = await read_membership(
                client, listed, is_confirmed=is_confirmed, token_taken=True
            )
        except RunError as error:  # no access token; the answer stands
            fatal_error = error
        sending.seen_after = after.status
        if after.still_member:
            sending.reason = _why_still_there(result, after)
        return sending.end(judge_after(answer, after), fatal_error)


def _end_unprocessed(
    listed: Invitation,
    before: ResponseOrFailure,
    result: ResponseOrFailure | None,
    sending: Sending,
) -> Sending:
    """End a removal that Atlas did not process.

    Args:
        before: The look before it.
        result: The answer to the DELETE; None if that was not sent.
    """
    if result is CANCELLED or (result is None and sending.cancelled):
        return sending.interrupt()
    if result is not None:
        sending.reason = _why_unclear(result)
        return sending.end(Outcome.FAILED, fatal_error_for(result))
    outcome = judge_before(before, listed) or Outcome.FAILED
    if outcome is Outcome.FAILED:  # the audit log has the reason
        sending.http_status = before.status
        sending.error_code = before.code
        sending.reason = why_not_sent(before, listed)
    return sending.end(outcome, fatal_error_for(before))
