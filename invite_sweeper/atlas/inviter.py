"""Invites people again. Whoever holds no inviter cannot invite."""

from typing import Final

import orjson

from invite_sweeper.atlas.endpoints import (
    ADD_GROUP_USER,
    ADD_ORG_USER,
    CREATE_GROUP_INVITE,
    Request,
    UnsendableError,
    is_id,
    request_for,
)
from invite_sweeper.atlas.responses import Answer, Result, ends_run, error_of, is_atlas_speaking
from invite_sweeper.atlas.retry import RetryDecision, classify
from invite_sweeper.atlas.transport import Transport
from invite_sweeper.errors import RunError
from invite_sweeper.models import Invitation, Invited, Reply, Source, Trail

_OPERATIONS: Final = {
    Source.INVITES: CREATE_GROUP_INVITE,
    Source.USERS: ADD_GROUP_USER,
    Source.ORG_USERS: ADD_ORG_USER,
    Source.ORG_INVITES: ADD_ORG_USER,
}
_DONE: Final = frozenset({200, 201})
_CONFLICT: Final = 409
_SERVER: Final = 500
_LIMITED: Final = "RATE_LIMITED_IP"
_NOT_YET: Final = frozenset({429, 405})
_STATE: Final = "Nothing more is invited; the audit log tells what was done."


class AtlasInviter:
    """Sends the POST of each source, and no other request."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def invite(self, invitation: Invitation, trail: Trail) -> Invited:
        """Invite one person again, with one POST; never raises but when cancelled.

        It is not tried again here: a POST that is done twice invites twice.

        Args:
            invitation: As the audit log describes what was deleted.
            trail: A new one for each call; told of what happens.

        Source:
            `createGroupInvite`, `addGroupUsers` and `createOrgUser` of the OpenAPI document.
            What `org_invites` held is invited by the call that takes its place.
        """
        try:
            result = await self._transport.once(_request(invitation, trail))
        except UnsendableError:
            return Invited(Reply.REFUSED)
        except RunError as error:
            return Invited(Reply.REFUSED, ends_run=_told(error))
        about_run = ends_run(result)
        code = error_of(result).code if isinstance(result, Answer) and not _done(result) else None
        status = result.status if isinstance(result, Answer) else trail.http_status
        ends = _told(about_run) if about_run is not None else None
        return Invited(_reply(result, trail), status, code, ends)


def _reply(result: Result, trail: Trail) -> Reply:
    if not isinstance(result, Answer):
        never_sent = not trail.awaiting and trail.http_status is None
        return Reply.LATER if never_sent and result.passing else Reply.UNSURE
    if _done(result):
        return Reply.SENT
    if result.status == _CONFLICT and is_atlas_speaking(result):
        return Reply.THERE
    if result.status >= _SERVER:
        return Reply.UNSURE
    passing = result.status in _NOT_YET and classify(result) is not RetryDecision.DONE
    # Source: RATE_LIMITED_IP of the list of errors, and INVITATIONS_RATE_LIMITED_IP, both 400.
    if passing or (error_of(result).code or "").endswith(_LIMITED):
        return Reply.LATER
    return Reply.REFUSED


def _done(answer: Answer) -> bool:
    return answer.status in _DONE and is_atlas_speaking(answer)


def _request(invitation: Invitation, trail: Trail) -> Request:
    if not invitation.username or not invitation.roles:
        message = "an invitation needs an address and roles"
        raise UnsendableError(message)
    operation = _OPERATIONS[invitation.source]
    of_organization = operation is ADD_ORG_USER
    scope_id = invitation.org_id if of_organization else invitation.project_id
    body = _organization_body(invitation) if of_organization else _project_body(invitation)
    return request_for(operation, scope_id, scope_id=scope_id, trail=trail, body=orjson.dumps(body))


def _project_body(invitation: Invitation) -> dict[str, object]:
    return {"roles": invitation.roles, "username": invitation.username}


def _organization_body(invitation: Invitation) -> dict[str, object]:
    """Roles in the organization and in its projects, and teams, as they were."""
    groups: dict[str, list[str]] = {}
    for group_id, role in invitation.origin:
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


def _told(error: RunError) -> RunError:
    return type(error)(error.message, consequence=_STATE, hint=error.hint)
