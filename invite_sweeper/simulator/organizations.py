"""Endpoints of organizations: their events, service accounts and federation, too."""

from collections.abc import Sequence
from datetime import UTC, datetime
from urllib.parse import quote

from invite_sweeper.simulator.auth import Access
from invite_sweeper.simulator.calls import Call, invalid_parameter, parse_page_query, render_page
from invite_sweeper.simulator.data import Event, Organization, format_atlas_time
from invite_sweeper.simulator.responses import (
    Json,
    SimulatedResponse,
    missing_role,
    resource_not_found,
    to_json,
)


def list_orgs(call: Call) -> SimulatedResponse:
    """Handle `GET /orgs`; `name` filters by prefix, ignoring case."""
    page_query = parse_page_query(call.query)
    name = page_query.other_parameters.get("name", [""])[0]
    visible = [call.sim.organizations[each] for each in call.account.org_ids]
    found = [each for each in visible if each.name.lower().startswith(name.lower())]
    found.sort(key=lambda organization: organization.name.encode())
    extra_query = f"name={quote(name)}&"
    return render_page(
        call,
        found,
        lambda each: to_json(_document(call, each)),
        page_query,
        extra_query=extra_query,
    )


def get_org(call: Call) -> SimulatedResponse:
    """Handle `GET /orgs/{orgId}`."""
    return call.json_response(_document(call, call.sim.organizations[call.scope_id]))


def _document(call: Call, organization: Organization) -> Json:
    return {
        "id": organization.id,
        "isDeleted": False,
        "links": [{"href": call.resource_url("orgs", organization.id), "rel": "self"}],
        "name": organization.name,
        "skipDefaultAlertsSettings": False,
    }


def list_events(call: Call) -> SimulatedResponse:
    """Handle `GET /orgs/{orgId}/events`, newest first: who was invited, and who joined.

    Deletions are not in the feed. Source: the recordings and the fact sheet, section 13.
    """
    page_query = parse_page_query(call.query)
    limits: dict[str, datetime] = {}
    for name in ("minDate", "maxDate"):
        for text in page_query.other_parameters.get(name, [])[:1]:
            try:
                limits[name] = datetime.fromisoformat(text).astimezone(UTC)
            except ValueError:
                raise invalid_parameter(name) from None
    types = page_query.other_parameters.get("eventType", [])
    found = [
        (number, event)
        for number, event in enumerate(call.sim.organizations[call.scope_id].events)
        if (not types or event.type in types)
        and limits.get("minDate", event.created_at) <= event.created_at
        and event.created_at <= limits.get("maxDate", event.created_at)
    ]
    found.sort(key=lambda each: (each[1].created_at, each[0]), reverse=True)
    query = [f"eventType={each}&" for each in types]
    query += [f"{name}={quote(page_query.other_parameters[name][0])}&" for name in limits]
    return render_page(
        call,
        found,
        lambda each: to_json(_event(call, *each)),
        page_query,
        call.sim.event_paging,
        "includeRaw=false&" + "".join(query),
    )


def _event(call: Call, number: int, event: Event) -> dict[str, Json]:
    own_id = f"{int(event.created_at.timestamp()):08x}{number:016x}"
    # Source: the recordings, in which it contains the word null.
    own_url = f"{call.resource_url('groups', 'null')}/events/{own_id}"
    actor = {"username": event.actor} if "@" in event.actor else {"publicKey": event.actor}
    return {
        **actor,
        "created": format_atlas_time(event.created_at),
        "eventTypeName": event.type,
        "id": own_id,
        "isGlobalAdmin": False,
        "links": [{"href": own_url, "rel": "self"}],
        "orgId": call.scope_id,
        "remoteAddress": "192.0.2.1",
        "targetUsername": event.username,
    }


def get_service_account(call: Call) -> SimulatedResponse:
    """Handle `GET /orgs/{orgId}/serviceAccounts/{clientId}`: the ends of its secrets.

    Source: the OpenAPI document; not recorded.
    """
    account = call.sim.accounts.find_service_account(call.item_id)
    if account is None or call.scope_id not in account.org_ids:
        return resource_not_found(call.path)
    secrets: list[Json] = [
        {
            "createdAt": format_atlas_time(account.created_at),
            "expiresAt": format_atlas_time(expires_at),
            "id": f"{int(account.created_at.timestamp()):08x}{number:016x}",
            "lastUsedAt": None,
            "maskedSecretValue": f"mdb_sa_sk_...{account.secret[-4:]}",
        }
        for number, expires_at in enumerate(account.secrets_expire_at)
    ]
    return call.json_response(
        {
            "clientId": account.name,
            "createdAt": format_atlas_time(account.created_at),
            "description": "",
            "name": "invite-sweeper",
            "roles": ["ORG_OWNER" if account.access is Access.OWNER else "ORG_READ_ONLY"],
            "secrets": secrets,
        }
    )


def get_federation_settings(call: Call) -> SimulatedResponse:
    """Handle `GET /orgs/{orgId}/federationSettings`.

    Source: the OpenAPI document. What Atlas sends without a federation is assumed.
    """
    federation = call.sim.organizations[call.scope_id].federation
    document: dict[str, Json] = {"federatedDomains": [], "hasRoleMappings": False}
    if federation is not None:
        document |= {
            "federatedDomains": federation.domains,
            "id": federation.id,
            "identityProviderStatus": "ACTIVE",
        }
    return call.json_response(document)


def get_connected_organization(call: Call) -> SimulatedResponse:
    """Handle `GET /federationSettings/{id}/connectedOrgConfigs/{orgId}`; the owner may read it.

    Source: the OpenAPI document; not recorded.
    """
    organization = call.sim.organizations.get(call.item_id)
    federation = organization.federation if organization is not None else None
    if federation is None or federation.id != call.scope_id:
        return resource_not_found(call.path)
    if call.sim.access_to(call.account, call.item_id, call.item_id) < Access.OWNER:
        return missing_role()
    allow_list: Sequence[str] = federation.domain_allow_list or ()
    return call.json_response(
        {
            "dataAccessIdentityProviderIds": [],
            "domainAllowList": allow_list,
            "domainRestrictionEnabled": federation.domain_allow_list is not None,
            "identityProviderId": None,
            "instantUserProvisioningDisabled": None,
            "orgId": call.item_id,
            "postAuthRoleGrants": [],
            "roleMappings": [],
            "userConflicts": [],
        }
    )
