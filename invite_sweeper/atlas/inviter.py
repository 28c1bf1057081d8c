"""Re-invite users. Code without an `AtlasInviter` cannot invite."""

from typing import Final

from invite_sweeper.atlas.client import Client
from invite_sweeper.atlas.endpoints import (
    ADD_ORG_USER,
    InvalidRequest,
    is_id,
)
from invite_sweeper.atlas.lists import SOURCES
from invite_sweeper.atlas.responses import (
    SERVER_ERROR,
    Response,
    ResponseOrFailure,
    RetryDecision,
    classify,
    fatal_error_for,
    is_unauthenticated,
)
from invite_sweeper.errors import RunError
from invite_sweeper.models import (
    DeletionProgress,
    Invitation,
    InviteResult,
    InviteStatus,
    MembershipStatus,
)
from invite_sweeper.text import parse_json, to_json

_CREATED_STATUSES: Final = frozenset({200, 201, 202})
_CONFLICT: Final = 409
_RATE_LIMITED_CODE: Final = "RATE_LIMITED_IP"
_RETRY_LATER_STATUSES: Final = frozenset({429, 405})
_MEMBERSHIPS: Final = {
    MembershipStatus.PENDING.value: InviteStatus.CREATED,
    MembershipStatus.ACTIVE.value: InviteStatus.ACTIVE,
}
_CONSEQUENCE: Final = "No further invitation is sent. The audit log shows what was sent."


class AtlasInviter:
    """Sends invitations, and no other request."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def invite(self, invitation: Invitation, progress: DeletionProgress) -> InviteResult:
        """Re-invite one user with one POST. Raises only when cancelled.

        The POST is not retried: a second one could send a second invitation.

        Args:
            invitation: The deleted invitation, from the audit log.
            progress: A new one for each call; updated as the request is sent.

        Source:
            `createGroupInvite`, `addGroupUsers` and `createOrgUser` of the OpenAPI document.
            Invitations of `org_invites` are re-created with `createOrgUser`, its replacement.
        """
        try:
            result = await self._send(invitation, progress)
        except InvalidRequest:
            return InviteResult(InviteStatus.REJECTED)
        except RunError as error:
            return InviteResult(
                InviteStatus.REJECTED, fatal_error=error.having(consequence=_CONSEQUENCE)
            )
        fatal_error = fatal_error_for(result)
        code = result.code if isinstance(result, Response) and not _is_created(result) else None
        status = result.status if isinstance(result, Response) else progress.http_status
        restated = fatal_error and fatal_error.having(consequence=_CONSEQUENCE)
        return InviteResult(_invite_status(result, progress), status, code, restated)

    async def _send(self, invitation: Invitation, progress: DeletionProgress) -> ResponseOrFailure:
        if not invitation.username or not invitation.roles:
            message = "an invitation needs a username and roles"
            raise InvalidRequest(message)
        endpoint = SOURCES[invitation.source].invite
        if endpoint is ADD_ORG_USER:
            scope_id, body = invitation.org_id, _organization_body(invitation)
        else:
            scope_id, body = invitation.project_id, _project_body(invitation)
        return await self._client.call(
            endpoint, scope_id, progress=progress, body=to_json(body), decide=_decide
        )


def _decide(result: ResponseOrFailure) -> RetryDecision:
    """Return what to do with an answer: a second POST could send a second invitation."""
    return classify(result) if is_unauthenticated(result) else RetryDecision.DONE


def _invite_status(result: ResponseOrFailure, progress: DeletionProgress) -> InviteStatus:
    if not isinstance(result, Response):
        was_not_sent = not progress.response_pending and progress.http_status is None
        return (
            InviteStatus.RETRY_LATER if was_not_sent and result.retryable else InviteStatus.UNKNOWN
        )
    if _is_created(result):
        return _created_status(result)
    if result.status == _CONFLICT and result.looks_like_atlas:
        return InviteStatus.ALREADY_PRESENT
    if result.status >= SERVER_ERROR:
        return InviteStatus.UNKNOWN
    is_retryable = (
        result.status in _RETRY_LATER_STATUSES and classify(result) is not RetryDecision.DONE
    )
    # Source: Atlas's list of error codes: RATE_LIMITED_IP and INVITATIONS_RATE_LIMITED_IP (400).
    if is_retryable or (result.code or "").endswith(_RATE_LIMITED_CODE):
        return InviteStatus.RETRY_LATER
    return InviteStatus.REJECTED


def _is_created(response: Response) -> bool:
    return response.status in _CREATED_STATUSES and response.looks_like_atlas


def _created_status(response: Response) -> InviteStatus:
    """Return what Atlas made of the invitation: its response decides, not the status code.

    Source: `addGroupUsers` and `createOrgUser` of the OpenAPI document: the response has
    `orgMembershipStatus`; a federated user becomes ACTIVE at once (Atlas documentation,
    invitations, read 2026-11). `createGroupInvite` returns an invitation, without that field.
    """
    try:
        body: object = parse_json(response.body)
    except ValueError:
        return InviteStatus.UNREADABLE
    if not isinstance(body, dict):
        return InviteStatus.UNREADABLE
    if "orgMembershipStatus" in body:
        return _MEMBERSHIPS.get(str(body["orgMembershipStatus"]), InviteStatus.UNREADABLE)
    is_invitation = is_id(str(body.get("id"))) and "expiresAt" in body and "username" in body
    return InviteStatus.CREATED if is_invitation else InviteStatus.UNREADABLE


def _project_body(invitation: Invitation) -> dict[str, object]:
    return {"roles": invitation.roles, "username": invitation.username}


def _organization_body(invitation: Invitation) -> dict[str, object]:
    """Return the body with the same organization roles, project roles and teams as before."""
    groups: dict[str, list[str]] = {}
    for group_id, role in invitation.project_roles:
        if is_id(group_id) and role:
            groups.setdefault(group_id, []).append(role)
    roles: dict[str, object] = {"orgRoles": invitation.roles}
    if groups:
        roles["groupRoleAssignments"] = [
            {"groupId": group_id, "groupRoles": held} for group_id, held in groups.items()
        ]
    body: dict[str, object] = {"roles": roles, "username": invitation.username}
    if invitation.team_ids:
        body["teamIds"] = invitation.team_ids
    return body
