"""The server: its table of endpoints, how a request finds its one, and the checks before it.

A new endpoint is a function of `handlers` and a row of `SERVED_ENDPOINTS`.
"""

import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from email.utils import format_datetime
from functools import partial
from ssl import SSLContext
from typing import Final, TypeAlias

from aiohttp import web

from invite_sweeper.simulator import handlers
from invite_sweeper.simulator.auth import REVOKE_PATH, TOKEN_PATH, Account
from invite_sweeper.simulator.faults import Send
from invite_sweeper.simulator.handlers import Operation
from invite_sweeper.simulator.responses import (
    LOCALHOST,
    Call,
    Rejected,
    SimulatedResponse,
    api_error,
    missing_role,
    resource_not_found,
    unauthorized,
)
from invite_sweeper.simulator.state import SimulatedAtlas
from invite_sweeper.simulator.throttling import (
    API_KEYS,
    GROUPS,
    INVITES,
    ORG_INVITES,
    ORG_USERS,
    ORGS,
    SERVICE_ACCOUNTS,
    TEAMS,
    USERS,
    Family,
)

Handler: TypeAlias = Callable[[Operation], SimulatedResponse]
SERVED_ENDPOINTS: Final[Mapping[tuple[str, str], tuple[Handler, Family]]] = {
    ("GET", "/groups"): (handlers.list_groups, GROUPS),
    ("GET", "/groups/{}/invites"): (handlers.list_invites, INVITES),
    ("POST", "/groups/{}/invites"): (handlers.create_invite, INVITES),
    ("DELETE", "/groups/{}/invites/{}"): (handlers.delete_invite, INVITES),
    ("GET", "/groups/{}/teams"): (handlers.list_teams, TEAMS),
    ("GET", "/groups/{}/users"): (handlers.list_users, USERS),
    ("POST", "/groups/{}/users"): (handlers.create_user, USERS),
    ("GET", "/groups/{}/users/{}"): (handlers.get_user, USERS),
    ("DELETE", "/groups/{}/users/{}"): (handlers.delete_user, USERS),
    ("GET", "/orgs"): (handlers.list_orgs, ORGS),
    ("GET", "/orgs/{}/invites"): (handlers.list_invites, ORG_INVITES),
    ("DELETE", "/orgs/{}/invites/{}"): (handlers.delete_invite, ORG_INVITES),
    ("GET", "/orgs/{}/users"): (handlers.list_users, ORG_USERS),
    ("POST", "/orgs/{}/users"): (handlers.create_user, ORG_USERS),
    ("GET", "/orgs/{}/users/{}"): (handlers.get_user, ORG_USERS),
    ("DELETE", "/orgs/{}/users/{}"): (handlers.delete_user, ORG_USERS),
    ("GET", "/orgs/{}/apiKeys"): (handlers.list_api_keys, API_KEYS),
    ("GET", "/orgs/{}/serviceAccounts/{}"): (handlers.get_service_account, SERVICE_ACCOUNTS),
}
"""By method and `Call.template`."""


async def handle(sim: SimulatedAtlas, call: Call) -> SimulatedResponse:
    """Execute a request and return its response.

    The order of checks is that of the recordings: a 401 and the 404 of a project take no token
    from a bucket; the 404 of a resource in a project does.
    """
    authorization = call.headers.get("Authorization", "")
    if (call.method, call.path) == ("POST", TOKEN_PATH):
        return sim.oauth.issue_token(authorization, call.body)
    if (call.method, call.path) == ("POST", REVOKE_PATH):
        return sim.oauth.revoke_token(authorization, call.body)
    account = sim.authenticate(call)
    if account is None:
        return unauthorized(sim.challenge())
    try:
        return _execute(sim, call, account)
    except Rejected as rejected:
        return rejected.response


def _execute(sim: SimulatedAtlas, call: Call, account: Account) -> SimulatedResponse:
    endpoint = SERVED_ENDPOINTS.get((call.method, call.template))
    if endpoint is None:
        return resource_not_found(call.path)
    handler, family = endpoint
    # The order is that of `handle`: what fails before the bucket takes no token.
    operation = Operation(sim, call, account, family.version)
    _check_version(operation, family)
    _find_scope(operation, family)
    bucket = sim.throttling.bucket(family, call.place_id or account.name)
    now_s = sim.monotonic()
    if not bucket.take(now_s) and sim.throttling.enforced:
        response = bucket.rate_limited_response(now_s, call.path)
    else:
        try:
            response = handler(operation)
        except Rejected as rejected:
            response = rejected.response
    headers = [
        ("RateLimit-Limit", str(bucket.limit.capacity)),
        ("RateLimit-Remaining", str(bucket.tokens)),
    ]
    if end := sim.sunsets.get(family.name):
        # The day has no leading zero. Source: recordings of 2026-08-10.
        headers.append(("Sunset", f"{end:%a}, {end.day} {end:%b %Y} 00:00:00 GMT"))
    return replace(response, headers=(*response.headers, *headers))


def _check_version(operation: Operation, family: Family) -> None:
    """Raise Rejected with a 406 or 410 if the version is not served.

    Clients may send dates between versions. Source: Atlas documentation, versioned API; issues
    montumodi/mongodb-atlas-api-client#58 (406) and mongodb/mongodb-atlas-cli#4472 (410).
    """
    call = operation.call
    accept = call.headers.get("Accept", "")
    requested = re.search(r"application/vnd\.atlas\.(\d{4}-\d{2}-\d{2})\+json", accept)
    # Dates of RFC 3339 sort as texts. A later date means the last version before it.
    if requested is None or requested[1] < family.version:
        detail = "Invalid accept header or version date."
        raise Rejected(api_error(406, "INVALID_VERSION_DATE", detail))
    if family.name in operation.sim.retired:
        resource = call.path.lstrip("/")
        detail = f"Version {family.version} of {resource} is no longer available."
        raise Rejected(api_error(410, "VERSION_GONE", detail, family.version, resource))


def _find_scope(operation: Operation, family: Family) -> None:
    """Find the project or organization in the path.

    Raises:
        Rejected: There is none, or the account has no access to it.
    """
    sim = operation.sim
    place_id = operation.call.place_id
    if family.scope == "USER":
        return
    org_id = place_id
    if family.scope == "GROUP":
        operation.group = sim.groups.get(place_id)
        if operation.group is None:
            detail = f"No group with ID {place_id} exists."
            raise Rejected(api_error(404, "GROUP_NOT_FOUND", detail, place_id))
        org_id = operation.group.org_id
    elif org_id not in sim.organizations:
        detail = f"No organization with ID {org_id} exists."
        raise Rejected(api_error(404, "ORG_NOT_FOUND", detail, org_id))
    operation.organization = sim.organizations[org_id]
    if org_id not in operation.account.org_ids:
        raise Rejected(missing_role("NOT_IN_GROUP"))


@asynccontextmanager
async def serve(
    sim: SimulatedAtlas, *, port: int = 0, ssl_context: SSLContext | None = None
) -> AsyncIterator[str]:
    """Serve `sim` during the block and yield the base URL, without a trailing slash.

    Port 0 means any free port. With an `ssl_context` for servers, it serves HTTPS.
    """

    async def respond(request: web.BaseRequest) -> web.Response:
        body = await request.read()
        call = Call(request.method, request.raw_path, request.headers, body, request.transport)
        # The fault that was added first is the outermost: it sees what the others answered.
        answer: Send = partial(handle, sim, call)
        for fault in reversed(sim.faults.faults_for(call.method, call.path)):
            answer = partial(fault, call, answer)
        response = await answer()
        # aiohttp adds a `Date` and a `Server` of its own where a response has none.
        date = format_datetime(sim.clock(), usegmt=True)
        headers = {"Date": date, "Server": "mdbws", **dict(response.headers)}
        if response.media is not None:
            headers["Content-Type"] = response.media
        return web.Response(status=response.status, body=response.body, headers=headers)

    runner = web.ServerRunner(web.Server(respond, access_log=None), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, LOCALHOST, port, ssl_context=ssl_context, backlog=1024)
    try:
        await site.start()
        scheme = "http" if ssl_context is None else "https"
        yield f"{scheme}://{LOCALHOST}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
