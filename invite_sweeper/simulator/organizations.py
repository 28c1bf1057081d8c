"""Handlers for organizations, projects and teams, and for what `doctor` reads of them."""

from datetime import datetime
from urllib.parse import quote

from invite_sweeper.simulator.auth import Access
from invite_sweeper.simulator.calls import Call, invalid_parameter
from invite_sweeper.simulator.data import Event, Group, Organization, format_atlas_time
from invite_sweeper.simulator.responses import Json, SimulatedResponse, resource_not_found


def list_groups(call: Call) -> SimulatedResponse:
    """Handle `GET /groups`: the projects that the account can see, in byte order of the name."""
    sim = call.sim
    visible = [
        each
        for each in sim.groups.values()
        if sim.access_to(call.account, each.org_id, each.id) > Access.NONE
    ]
    visible.sort(key=lambda group: group.name.encode())

    def document(group: Group) -> Json:
        return {
            "clusterCount": group.cluster_count,
            "created": format_atlas_time(group.created_at),
            "id": group.id,
            "links": call.self_links("groups", group.id),
            "name": group.name,
            "orgId": group.org_id,
            "tags": [{"key": key, "value": value} for key, value in group.tags],
            "withDefaultAlertsSettings": True,
        }

    return call.page_response(visible, document, sim.paging)


def list_group_teams(call: Call) -> SimulatedResponse:
    """Handle `GET /groups/{groupId}/teams`: the teams with access to a project.

    Source: `PaginatedTeamRole` of the OpenAPI document; not recorded.
    """

    def document(team: tuple[str, tuple[str, ...]]) -> Json:
        return {"links": [], "roleNames": team[1], "teamId": team[0]}

    teams = tuple(call.sim.groups[call.scope_id].teams.items())
    return call.page_response(teams, document, call.sim.team_paging)


def list_orgs(call: Call) -> SimulatedResponse:
    """Handle `GET /orgs`."""
    found = [call.sim.organizations[each] for each in call.account.org_ids]
    found.sort(key=lambda organization: organization.name.encode())

    def document(organization: Organization) -> Json:
        return {
            "id": organization.id,
            "isDeleted": False,
            "links": call.self_links("orgs", organization.id),
            "name": organization.name,
            "skipDefaultAlertsSettings": False,
        }

    return call.page_response(found, document, extra_query="name=&")


def list_events(call: Call) -> SimulatedResponse:
    """Handle `GET /orgs/{orgId}/events`, newest first: who was invited, and who joined.

    Deletions are not in the feed. Source: the recordings and the fact sheet, section 13.
    """
    types, since = (
        call.query.get("eventType", []),
        call.query.get("minDate", ["0001-01-01T00:00:00Z"])[0],
    )
    try:
        start = datetime.fromisoformat(since)
    except ValueError:
        raise invalid_parameter("minDate") from None
    found = [
        (number, event)
        for number, event in enumerate(call.sim.organizations[call.scope_id].events)
        if (not types or event.type in types) and start <= event.created_at
    ]
    found.sort(key=lambda each: (each[1].created_at, each[0]), reverse=True)
    query = "".join(f"eventType={each}&" for each in types) + f"minDate={quote(since)}&"
    return call.page_response(
        found, lambda each: _event(call, *each), extra_query=f"includeRaw=false&{query}"
    )


def _event(call: Call, number: int, event: Event) -> Json:
    own_id = f"{int(event.created_at.timestamp()):08x}{number:016x}"
    actor = "username" if "@" in event.actor else "publicKey"
    return {
        actor: event.actor,
        "created": format_atlas_time(event.created_at),
        "eventTypeName": event.type,
        "id": own_id,
        "isGlobalAdmin": False,
        # Source: the recordings, in which the link contains the word null.
        "links": call.self_links("groups", f"null/events/{own_id}"),
        "orgId": call.scope_id,
        "remoteAddress": "192.0.2.1",
        "targetUsername": event.username,
    }


def get_service_account(call: Call) -> SimulatedResponse:
    """Handle `GET /orgs/{orgId}/serviceAccounts/{clientId}`: the ends of its secrets alone.

    Source: the OpenAPI document; not recorded.
    """
    account = call.sim.accounts.find("service account", call.item_id)
    if account is None or call.scope_id not in account.org_ids:
        return resource_not_found(call.path)
    ends: list[Json] = [{"expiresAt": format_atlas_time(e)} for e in account.secrets_expire_at]
    return call.json_response({"clientId": account.name, "secrets": ends})
