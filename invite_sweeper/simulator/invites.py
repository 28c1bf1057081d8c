"""Operations on project invitations of the old kind, `/groups/{groupId}/invites`."""

from typing import Final
from urllib.parse import parse_qs

from invite_sweeper.simulator.answers import Answer, error, resource_not_found
from invite_sweeper.simulator.calls import Call
from invite_sweeper.simulator.heads import Retirement
from invite_sweeper.simulator.json_types import load_object
from invite_sweeper.simulator.records import Invite

RETIREMENT: Final = Retirement("Wed, 4 Oct 2023 00:00:00 GMT", "Thu, 1 Jul 2027 00:00:00 GMT")
"""Source: recordings of 2026-08-10; the day has no leading zero."""


def list_invites(call: Call) -> Answer:
    """`GET …/invites`: one bare array, never paged, by username."""
    invites = sorted(call.sim.groups[call.scope_id].invites.values(), key=_username)
    wanted = parse_qs(call.query).get("username", [""])[0].lower()
    # Source: an empty `username=` lists all, as the official command line sends it.
    shown = (each.document for each in invites if wanted in ("", each.username.lower()))
    return call.raw(b"[%b]" % b",".join(shown))


def get_invite(call: Call) -> Answer:
    """`GET …/invites/{invitationId}`."""
    invite = call.sim.groups[call.scope_id].invites.get(call.item_id)
    return resource_not_found(call.path) if invite is None else call.raw(invite.document)


def delete_invite(call: Call) -> Answer:
    """`DELETE …/invites/{invitationId}`: 204 with a JSON media type and no body."""
    sim = call.sim
    if sim.groups[call.scope_id].invites.pop(call.item_id, None) is None:
        return no_such_invitation(call)
    sim.journal.deleted.append(call.item_id)
    return call.raw(b"", 204)


def create_invite(call: Call) -> Answer:
    """`POST …/invites`: 200, not 201, and no `Location`."""
    asked = load_object(call.body) or {}
    username, roles = asked.get("username"), asked.get("roles")
    if not isinstance(username, str) or not isinstance(roles, list) or not roles:
        return error(400, "MISSING_ATTRIBUTE", "The required attributes were not specified.")
    refusal = call.sim.mailroom.refuse(call.client_ip)
    if refusal is not None:
        return refusal
    invites = call.sim.groups[call.scope_id].invites
    if any(each.username.lower() == username.lower() for each in invites.values()):
        detail = f"User {username} has already been invited to this project."
        return error(409, "USER_ALREADY_INVITED", detail, username)
    roles = [str(role) for role in roles]
    key = call.sim.invite(call.scope_id, username, roles=roles, inviter=call.account.name)
    return call.raw(invites[key].document)


def no_such_invitation(call: Call) -> Answer:
    """What a DELETE of an unknown invitation answers; which of the two is set on the simulator."""
    if call.sim.gone_status == 404:  # noqa: PLR2004 - Not Found
        return resource_not_found(call.path)
    detail = f"The invitation with ID {call.item_id} does not exist or was already accepted."
    return error(400, "INVALID_INVITATION_ID", detail, call.item_id)


def _username(invite: Invite) -> str:
    return invite.username
