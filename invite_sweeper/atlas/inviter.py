"""Re-invite users. Code without an `AtlasInviter` cannot invite.

Each person is invited with one POST, with the roles and teams of the deleted invitation. It is
not repeated where Atlas may have accepted it: a second one could send a second message. What
became of a person is what Atlas's answer shows, not its status code.
"""

from http.client import CONFLICT
from typing import Final

from invite_sweeper.atlas.client import Client
from invite_sweeper.atlas.endpoints import ADD_ORG_USER, SOURCES, InvalidRequest
from invite_sweeper.atlas.lists import parse_object
from invite_sweeper.atlas.responses import (
    SERVER_ERROR,
    InvalidResponse,
    RequestFailed,
    Response,
    ResponseOrFailure,
    RetryDecision,
    classify,
    fatal_error_for,
    is_unauthenticated,
)
from invite_sweeper.errors import RunError
from invite_sweeper.json_text import to_json
from invite_sweeper.models import Invitation, MembershipStatus
from invite_sweeper.outcomes import Outcome, Sending
from invite_sweeper.text import is_atlas_id

_RATE_LIMITED_CODE: Final = "RATE_LIMITED_IP"
_OUTCOME_OF_STATUS: Final = {
    MembershipStatus.PENDING.value: Outcome.RESTORED,
    MembershipStatus.ACTIVE.value: Outcome.ACTIVE,
}
_CONSEQUENCE: Final = "No further invitation is sent. The audit log shows what was sent."


class AtlasInviter:
    """Sends invitations, and no other request."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def invite(self, invitation: Invitation, sending: Sending) -> Sending:
        """Re-invite one user with one POST. Raises only when cancelled.

        The POST is not retried: a second one could send a second invitation.

        Args:
            invitation: The deleted invitation, from the audit log.
            sending: A new one for each call; updated as the request is sent, and returned.

        Source:
            `createGroupInvite`, `addGroupUsers` and `createOrgUser` of the OpenAPI document.
            Invitations of `org_invites` are re-created with `createOrgUser`, its replacement.
        """
        endpoint = SOURCES[invitation.source].invite
        body: dict[str, object] = {"roles": invitation.roles, "username": invitation.username}
        if endpoint is ADD_ORG_USER:
            body |= _of_organization(invitation)
        try:
            request = self._client.request(
                endpoint, invitation.place_id, progress=sending, body=to_json(body)
            )
            result = await self._client.call(request, decide=_decide_for_post)
        except InvalidRequest:
            sending.outcome = Outcome.FAILED
            return sending
        except RunError as error:
            sending.outcome = Outcome.FAILED
            sending.fatal_error = error.having(consequence=_CONSEQUENCE)
            return sending
        sending.outcome = _outcome(result, sending)
        sending.error_code = result.code
        if fatal_error := fatal_error_for(result):
            sending.fatal_error = fatal_error.having(consequence=_CONSEQUENCE)
        return sending


def _decide_for_post(result: ResponseOrFailure) -> RetryDecision:
    """Return what to do with an answer: a second POST could send a second invitation."""
    return classify(result) if is_unauthenticated(result) else RetryDecision.DONE


def _outcome(result: ResponseOrFailure, sending: Sending) -> Outcome | None:
    """Return what an answer to the POST proves; None if Atlas may accept another one later."""
    if not isinstance(result, Response):
        return _unanswered_outcome(result, sending)
    # A 2xx or 409 of a proxy proves neither of the two: it counts as failed below.
    if result.looks_like_atlas and result.is_success:
        return _created_outcome(result)
    if result.looks_like_atlas and result.status == CONFLICT:
        sending.reason = "invited or added meanwhile; the next restore reads with which roles"
        return Outcome.FAILED
    if result.status >= SERVER_ERROR:
        return Outcome.UNKNOWN
    is_retryable = classify(result) in {RetryDecision.RETRY, RetryDecision.RATE_LIMITED}
    # Source: Atlas's list of error codes: RATE_LIMITED_IP and INVITATIONS_RATE_LIMITED_IP (400).
    if is_retryable or (result.code or "").endswith(_RATE_LIMITED_CODE):
        return None
    return Outcome.FAILED


def _unanswered_outcome(failure: RequestFailed, sending: Sending) -> Outcome | None:
    """Return the outcome of a POST without an answer; None if Atlas may accept it later."""
    if sending.may_be_processed:
        return Outcome.UNKNOWN
    return None if failure.retryable else Outcome.FAILED


def _created_outcome(response: Response) -> Outcome:
    """Return what Atlas made of the invitation: its response decides, not the status code.

    Source: `addGroupUsers` and `createOrgUser` of the OpenAPI document: the response has
    `orgMembershipStatus`; a federated user becomes ACTIVE at once (Atlas documentation,
    invitations, read 2026-11). `createGroupInvite` returns an invitation, without that field.
    """
    try:
        body = parse_object(response.body, dict[str, object])
    except InvalidResponse:
        return Outcome.UNKNOWN
    if "orgMembershipStatus" in body:
        status = str(body["orgMembershipStatus"])
        return _OUTCOME_OF_STATUS.get(status, Outcome.UNKNOWN)
    has_id = is_atlas_id(str(body.get("id")))
    is_invitation = has_id and "expiresAt" in body and "username" in body
    return Outcome.RESTORED if is_invitation else Outcome.UNKNOWN


def _of_organization(invitation: Invitation) -> dict[str, object]:
    """Return the same organization roles, project roles and teams as before, as a body has them."""
    roles_by_project: dict[str, list[str]] = {}
    for group_id, role in invitation.project_roles:
        if is_atlas_id(group_id) and role:
            roles_by_project.setdefault(group_id, []).append(role)
    roles: dict[str, object] = {"orgRoles": invitation.roles}
    if roles_by_project:
        roles["groupRoleAssignments"] = [
            {"groupId": group_id, "groupRoles": group_roles}
            for group_id, group_roles in roles_by_project.items()
        ]
    body: dict[str, object] = {"roles": roles}
    if invitation.team_ids:
        body["teamIds"] = invitation.team_ids
    return body
