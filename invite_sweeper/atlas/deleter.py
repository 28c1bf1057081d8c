"""Delete invitations, with the client of a run. Code without an `AtlasDeleter` cannot delete.

`users` and `org_users` contain members as well, and their DELETE removes a user in any status.
Such a deletion therefore looks at the user by id just before, with the parser of the list, and
sends the DELETE, once, only if nothing differs from what was listed. A project may lag behind its
organization: of a person whom no list of the organization shows, the organization is asked first.
A user who accepts in the one round trip between the last look and the DELETE is removed.
"""

import asyncio
from collections.abc import Container, Iterable
from functools import cached_property, partial
from typing import Final

from invite_sweeper import clock as run_clock
from invite_sweeper.atlas.client import Client, Exchange, Look
from invite_sweeper.atlas.endpoints import GET_ORG_USER, SOURCES, InvalidRequest, SourceApi
from invite_sweeper.atlas.inviter import AtlasInviter
from invite_sweeper.atlas.limits import RateLimiter
from invite_sweeper.atlas.reader import AtlasReader, status_in, user_in, user_request
from invite_sweeper.atlas.responses import (
    CANCELLED,
    SERVER_ERROR,
    Response,
    ResponseOrFailure,
    describe,
    fatal_error_for,
    is_already_gone,
    is_deleted,
    is_not_found,
)
from invite_sweeper.errors import AtlasUnavailable, RunError
from invite_sweeper.models import (
    INVITED_STATUSES,
    Invitation,
    InvitationKey,
    MembershipStatus,
    Project,
    Source,
)
from invite_sweeper.outcomes import Outcome, Sending
from invite_sweeper.policy import Execution
from invite_sweeper.text import casefold_visible


def judge_before(read_result: ResponseOrFailure, listed: Invitation) -> Outcome | None:
    """Return the outcome of a removal that must not be sent after this read, else None.

    That the user has accepted is reported first, because it is what the operator must know. An
    unknown status, and another person under the id, fail; an invitation that differs is `changed`.

    Args:
        read_result: The user as Atlas shows it now, parsed as a row of the list.
        listed: The user as the list showed it.
    """
    user = user_in(read_result, listed)
    if user is None:
        return Outcome.ALREADY_GONE if is_not_found(read_result) else Outcome.FAILED
    outcome = _judge_status(user)
    if outcome is not None:
        return outcome
    name = casefold_visible(user.username or "")
    if name != casefold_visible(listed.username or ""):
        return Outcome.FAILED
    # With links out of scope, Atlas did not return the user's projects or teams.
    is_unchanged = user.evidence == listed.evidence and not user.links_out_of_scope
    return None if is_unchanged else Outcome.CHANGED


def judge_in_organization(read_result: ResponseOrFailure, listed: Invitation) -> Outcome | None:
    """Return the outcome of a removal from a project that must not be sent, else None.

    The project may lag behind the organization, which alone knows who is an active member. It
    proves nothing about the invitation to the project, so one that it does not have goes on.

    Args:
        read_result: The user as the organization shows it now.
        listed: The user as the list of the project showed it.
    """
    user = user_in(read_result, listed)
    if user is None:
        return None if is_not_found(read_result) else Outcome.FAILED
    return _judge_status(user)


def _judge_status(user: Invitation) -> Outcome | None:
    """Return the outcome of a removal of a user who is a member, or may be one; else None."""
    if user.status == MembershipStatus.ACTIVE:
        return Outcome.ACCEPTED_BEFORE
    return None if user.status in INVITED_STATUSES else Outcome.FAILED


def why_not_sent(read_result: ResponseOrFailure, listed: Invitation) -> str:
    """Return why a removal failed before it was sent, for the operator."""
    user = user_in(read_result, listed)
    if user is None:
        return f"the user could not be read: {describe(read_result)}; nothing sent"
    if user.status not in INVITED_STATUSES:
        return f"Atlas shows the unknown status {user.status}; nothing sent"
    return "Atlas shows another person under this id; nothing sent"


_UNCLEAR: Final = frozenset({Outcome.FAILED, Outcome.UNKNOWN})
"""The outcomes that need a reason."""


def _outcome_of_answer(result: ResponseOrFailure) -> Outcome:
    """Return what the answer to a DELETE proves; UNKNOWN if it may have been processed."""
    if not isinstance(result, Response):
        return Outcome.FAILED if result.is_unsent else Outcome.UNKNOWN
    if is_deleted(result):
        return Outcome.DELETED
    if is_already_gone(result):
        return Outcome.ALREADY_GONE
    # A server that fails may have processed the request, and a 2xx that `is_deleted` does not
    # accept may be from a proxy. Redirects and 4xx are refusals.
    is_refusal = not result.is_success and result.status < SERVER_ERROR
    return Outcome.FAILED if is_refusal else Outcome.UNKNOWN


def _describe_unclear(result: ResponseOrFailure) -> str | None:
    """Return what was wrong with an answer; None of an error, whose status and code are enough."""
    is_error = isinstance(result, Response) and not result.is_success
    return None if is_error else describe(result)


class AtlasDeleter:
    """Deletes invitations, and reads each user just before where that is needed.

    Args:
        sources: The only lists from which it deletes.
        absent: Entries of `users` whose person no list of the organization shows: the
            organization is asked first whether the person is an active member.
    """

    def __init__(
        self, client: Client, sources: Iterable[Source], absent: Container[InvitationKey] = ()
    ) -> None:
        self._client = client
        self._apis = {source: SOURCES[source] for source in sources}
        self._absent = absent

    def try_acquire(self, invitation: Invitation) -> float:
        """Acquire the tokens of one deletion and return 0.0, or return seconds to wait.

        There is one for each request: the looks before, and the DELETE. All are acquired before
        the first request, so that no rate limit delays the DELETE after the looks.
        """
        api = self._apis[invitation.source]
        limiter = self._client.limiter
        buckets = [limiter.bucket(api.delete.endpoint_set, invitation.place_id)]
        if api.read_user is not None:
            buckets.append(limiter.bucket(api.read_user.endpoint_set, invitation.place_id))
            if invitation.key in self._absent:
                buckets.append(limiter.bucket(GET_ORG_USER.endpoint_set, invitation.org_id))
        return limiter.try_acquire(*buckets)

    async def delete(self, invitation: Invitation, sending: Sending) -> Sending:
        """Delete one invitation, after `try_acquire` returned 0.0 for it.

        A failure is an outcome, not an exception; another list is a KeyError. If the task is
        cancelled, `sending` shows what was sent.

        Args:
            invitation: The invitation as it was listed.
            sending: Updated with each attempt, and returned with its outcome.
        """
        api = self._apis[invitation.source]
        try:
            if api.read_user is None:
                await self._revoke(api, invitation, sending)
            else:
                await self._remove_user(api, invitation, sending)
        except InvalidRequest:
            # Selection keeps invitations with a malformed id; this is the second line of defence.
            sending.outcome = Outcome.FAILED
            sending.reason = "the id is not of Atlas's form; nothing sent"
        except RunError as error:
            if sending.cancelled and isinstance(error, AtlasUnavailable):
                return sending.interrupt()  # no time left for an access token
            sending.outcome = Outcome.FAILED
            sending.reason = error.message
            sending.fatal_error = error
        return sending

    async def _revoke(self, api: SourceApi, listed: Invitation, sending: Sending) -> None:
        """Send a DELETE that cannot affect an accepted invitation."""
        request = self._client.request(
            api.delete, listed.place_id, listed.invitation_id, progress=sending
        )
        result = await self._client.call(request, token_taken=True)
        if isinstance(result, Response):
            outcome = _outcome_of_answer(result)
            if outcome is Outcome.UNKNOWN:
                outcome = Outcome.FAILED  # after all attempts; the invitation may still be there
        elif sending.cancelled:
            sending.interrupt()
            return
        else:
            outcome = sending.without_answer(if_unsent=Outcome.FAILED)
        sending.outcome = outcome
        if outcome in _UNCLEAR:
            sending.reason = _describe_unclear(result)
            sending.fatal_error = fatal_error_for(result, listed.source)

    async def _remove_user(self, api: SourceApi, listed: Invitation, sending: Sending) -> None:
        """Look, judge, and DELETE once. Nothing was processed where it raises."""
        client = self._client
        user_id = listed.invitation_id
        looks: list[Look] = []
        if listed.key in self._absent:
            organization = Project.of_organization(listed.org_id)
            read = user_request(client, Source.ORG_USERS, organization, user_id)
            looks.append(Look(read, partial(judge_in_organization, listed=listed)))
        read = user_request(client, listed.source, listed.place, user_id)
        looks.append(Look(read, partial(judge_before, listed=listed)))
        delete = client.request(api.delete, listed.place_id, user_id, progress=sending)
        exchange = await client.call_after(looks, delete)
        sending.seen_before = status_in(exchange.seen, listed)
        answer = exchange.answer
        if answer is CANCELLED or (answer is None and sending.cancelled):
            sending.interrupt()
        elif answer is None:
            _end_refused(listed, exchange, sending)
        else:
            sending.outcome = _outcome_of_answer(answer)
            if sending.outcome in _UNCLEAR:
                sending.reason = _describe_unclear(answer)
                sending.fatal_error = fatal_error_for(answer)


def _end_refused(listed: Invitation, exchange: Exchange, sending: Sending) -> None:
    """End a removal that the last look is against."""
    seen = exchange.seen
    outcome = exchange.refusal or Outcome.FAILED
    if outcome is Outcome.FAILED:  # the audit log has the reason
        sending.http_status = seen.status
        sending.error_code = seen.code
        sending.reason = why_not_sent(seen, listed)
    sending.outcome = outcome
    sending.fatal_error = fatal_error_for(seen)


class AtlasClient(Client):
    """The client of one run. Code that takes no deleter or inviter from it can only read."""

    @cached_property
    def reader(self) -> AtlasReader:
        """Reads projects, invitations and users."""
        return AtlasReader(self)

    def deleter(
        self, sources: Iterable[Source], absent: Container[InvitationKey] = ()
    ) -> AtlasDeleter:
        """Return a deleter for these lists only. A dry run never calls this.

        Args:
            absent: As in `AtlasDeleter`.
        """
        return AtlasDeleter(self, sources, absent)

    def inviter(self) -> AtlasInviter:
        """Return an inviter. Only `restore` calls this."""
        return AtlasInviter(self)


def open_limiter(execution: Execution) -> RateLimiter:
    """Return the rate limits of a run, which all its clients share."""
    return RateLimiter(
        run_clock.seconds,
        asyncio.sleep,
        reserve=execution.reserve,
        max_requests_per_second=execution.max_requests_per_second,
    )
