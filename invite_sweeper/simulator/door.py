"""From a request to its answer, step by step, without input or output."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from invite_sweeper.simulator.accounts import Access, Account
from invite_sweeper.simulator.answers import (
    Answer,
    Rate,
    error,
    group_not_found,
    lacks_role,
    method_not_allowed,
    resource_not_found,
    unauthorized,
)
from invite_sweeper.simulator.calls import Call, Operation
from invite_sweeper.simulator.heads import Retirement
from invite_sweeper.simulator.ids import ID_FORM
from invite_sweeper.simulator.oauth import REVOKE_PATH, TOKEN_PATH
from invite_sweeper.simulator.routes import OPERATIONS, Route, allowed
from invite_sweeper.simulator.state import SimulatedAtlas


class Asking(NamedTuple):
    """A request as it came off the wire.

    Attributes:
        target: Path and query as they were sent.
        headers: Looked up whatever their case.
    """

    method: str
    target: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    client_ip: str


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer and what its head says besides."""

    answer: Answer
    java_method: str = ""
    retirement: Retirement | None = None
    rate: Rate | None = None


def reply(sim: SimulatedAtlas, asking: Asking, place: Route | None, base_url: str) -> Reply:
    """Carry a request out.

    The order is that of the recordings where they show one: a 401 and a 404 of a project
    take no token of a bucket; a 404 of something in a project does.
    """
    if asking.method == "POST" and asking.path in {TOKEN_PATH, REVOKE_PATH}:
        return Reply(_oauth(sim, asking))
    account = _sender(sim, asking)
    if isinstance(account, Answer):
        return Reply(account)
    if place is None or place.template not in OPERATIONS:
        return Reply(resource_not_found(asking.path))
    operation = OPERATIONS[place.template].get(asking.method)
    if operation is None:
        return Reply(method_not_allowed(allowed(place.template)))
    return _carry_out(sim, asking, place, account, operation, base_url)


def _oauth(sim: SimulatedAtlas, asking: Asking) -> Answer:
    header = asking.headers.get("Authorization", "")
    if asking.path == TOKEN_PATH:
        return sim.oauth.token(header, asking.body, asking.client_ip)
    return sim.oauth.revoke(header, asking.body)


def _sender(sim: SimulatedAtlas, asking: Asking) -> Account | Answer:
    sim.oauth.expire_due()
    header = asking.headers.get("Authorization", "")
    account = sim.accounts.sender(header, asking.method, asking.target)
    if account is None:
        return unauthorized(sim.digest.challenge())
    if account.access_list is not None and asking.client_ip not in account.access_list:
        # Source: quoted in the fact sheet, section 5.
        detail = f"IP address {asking.client_ip} is not allowed to access this resource."
        return error(403, "IP_ADDRESS_NOT_ON_ACCESS_LIST", detail, asking.client_ip)
    return account


def _carry_out(
    sim: SimulatedAtlas,
    asking: Asking,
    place: Route,
    account: Account,
    operation: Operation,
    base_url: str,
) -> Reply:
    java = operation.java_method
    version, refusal = sim.versions.resolve(
        asking.headers.get("Accept", ""), operation.versions, operation.family, asking.path
    )
    retirement = _retirement(sim, operation, version)
    refusal = refusal or _scope(sim, place.scope_id, account, operation)
    if refusal is not None:
        return Reply(refusal, java, retirement)
    endpoint_set = operation.endpoint_set
    drawn_by = account.name if endpoint_set.scope == "USER" else place.scope_id
    passes, rate = sim.throttling.take(endpoint_set, drawn_by)
    if not passes:
        now = sim.clock() + sim.date_offset
        full = sim.throttling.refusal(endpoint_set, drawn_by, asking.path, now)
        return Reply(full, java, retirement, rate)
    call = Call(
        sim,
        account,
        asking.path,
        asking.query,
        asking.body,
        place.scope_id,
        place.item_id,
        version,
        base_url,
        asking.client_ip,
    )
    return Reply(operation.handler(call), java, retirement, rate)


def _retirement(sim: SimulatedAtlas, operation: Operation, version: str) -> Retirement | None:
    told = operation.retirements.get(version)
    moved = sim.versions.sunsets.get(operation.family) if sim.versions.sunsets else None
    return told._replace(sunset=moved) if told is not None and moved is not None else told


def _scope(
    sim: SimulatedAtlas, scope_id: str, account: Account, operation: Operation
) -> Answer | None:
    """Why the project or organization in the path may not be touched; None where it may."""
    scope = operation.endpoint_set.scope
    if scope == "USER":
        return None
    if scope == "GROUP":
        group = sim.groups.get(scope_id)
        if group is None:
            return _no_group(scope_id)
        org_id = group.org_id
    elif scope_id not in sim.organizations:
        return error(404, "ORG_NOT_FOUND", f"No organization with ID {scope_id} exists.", scope_id)
    else:
        org_id = scope_id
    access = sim.may(account, org_id, scope_id)
    if access >= operation.needs:
        return None
    return lacks_role("NOT_IN_GROUP" if access is Access.NONE else "USER_UNAUTHORIZED")


def _no_group(group_id: str) -> Answer:
    if ID_FORM.fullmatch(group_id):
        return group_not_found(group_id)
    detail = f"An invalid group ID {group_id} was specified."
    return error(404, "INVALID_GROUP_ID", detail, group_id)
