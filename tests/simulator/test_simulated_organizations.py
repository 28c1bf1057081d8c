"""Events, service accounts and federation of the simulated Atlas.

The forms are those of the OpenAPI document of 2026-08-21; events are recorded, too.
"""

import re
from datetime import timedelta

import pytest
from simulator.simulated import NOW, ORG, V2023, V2025, open_client

from invite_sweeper.simulator import Access, Federation

V2024 = "application/vnd.atlas.2024-08-05+json"
DAY = timedelta(days=1)
EVENTS = f"/orgs/{ORG}/events"
FEDERATION_ID = "5" * 24
ID, TIME = r"[0-9a-f]{24}", r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
EVENT = {
    "created": TIME,
    "eventTypeName": "INVITED_TO_ORG|JOINED_ORG",
    "id": ID,
    "isGlobalAdmin": "False",
    "links": ".*",
    "orgId": ORG,
    "remoteAddress": ".*",
    "targetUsername": ".+@.+",
}
SECRET = {
    "createdAt": TIME,
    "expiresAt": TIME,
    "id": ID,
    "lastUsedAt": "None",
    "maskedSecretValue": r"mdb_sa_sk_\.\.\..{4}",
}


def has_form(document, form):
    """Return whether a document has exactly these fields, in this order and form."""
    return list(document) == sorted(form) and all(
        re.fullmatch(form[name], str(value)) for name, value in document.items()
    )


def names(response):
    return [(e["eventTypeName"], e["targetUsername"]) for e in response.json()["results"]]


async def test_every_invitation_is_an_event_whatever_list_it_is_in_and_whoever_joined(sim, project):
    sim.invite(project, "old@example.com", age=3 * DAY, inviter="boss@example.com")
    sim.add_user("new@example.com", age=2 * DAY)
    sim.add_user("member@example.com", status="ACTIVE", age=DAY)
    async with open_client(sim) as request:
        response = await request("GET", EVENTS)
    assert names(response) == [
        ("JOINED_ORG", "member@example.com"),
        ("INVITED_TO_ORG", "member@example.com"),
        ("INVITED_TO_ORG", "new@example.com"),
        ("INVITED_TO_ORG", "old@example.com"),
    ]
    *others, oldest = response.json()["results"]
    assert has_form(oldest, EVENT | {"username": "boss@example.com"})
    assert has_form(others[1], EVENT | {"publicKey": "[a-z]{8}"})
    assert len({each["id"] for each in response.json()["results"]}) == 4


async def test_deletions_are_not_in_the_feed_and_acceptances_are(sim, project):
    deleted = sim.invite(project, "ada@example.com")
    user = sim.add_user("bob@example.com")
    accepted = sim.add_user("eve@example.com", age=DAY)
    sim.set_status(accepted, "ACTIVE")
    async with open_client(sim) as request:
        await request("DELETE", f"/groups/{project}/invites/{deleted}")
        await request("DELETE", f"/orgs/{ORG}/users/{user}", accept=V2025)
        invited = await request("GET", f"{EVENTS}?eventType=INVITED_TO_ORG")
        joined = await request("GET", f"{EVENTS}?eventType=JOINED_ORG")
    assert [name for _, name in names(invited)] == [
        "bob@example.com",
        "ada@example.com",
        "eve@example.com",
    ]
    assert names(joined) == [("JOINED_ORG", "eve@example.com")]


async def test_user_whom_the_api_invites_is_an_event(sim):
    role = {"username": "new@example.com", "roles": {"orgRoles": ["ORG_MEMBER"]}}
    async with open_client(sim) as request:
        await request("POST", f"/orgs/{ORG}/users", accept=V2025, json=role)
        response = await request("GET", EVENTS)
    assert names(response) == [("INVITED_TO_ORG", "new@example.com")]


@pytest.mark.parametrize(
    ("query", "ages"),
    [
        ("minDate=2026-08-08T03:04:57Z", [1, 2]),
        ("minDate=2026-08-08T03:04:58Z", [1]),
        ("eventType=JOINED_ORG", []),
        ("eventType=JOINED_ORG&eventType=INVITED_TO_ORG", [1, 2, 3]),
    ],
)
async def test_events_are_those_of_the_types_since_a_date_inclusive(sim, query, ages):
    for age in (3, 1, 2):
        sim.add_user(f"{age}@example.com", age=age * DAY)
    async with open_client(sim) as request:
        response = await request("GET", f"{EVENTS}?{query}")
    assert [int(name[0]) for _, name in names(response)] == ages


async def test_events_are_paged_and_links_repeat_the_query(sim):
    for number in range(5):
        sim.add_user(f"{number}@example.com", age=number * DAY)
    query = "eventType=INVITED_TO_ORG&minDate=2026-08-01T00:00:00Z&itemsPerPage=2"
    async with open_client(sim) as request:
        first = await request("GET", f"{EVENTS}?{query}&includeCount=false")
        last = await request("GET", f"{EVENTS}?{query}&pageNum=3")
    assert [name[0] for _, name in names(first)] == ["0", "1"]
    assert "totalCount" not in first.json()
    following = first.json()["links"][1]["href"]
    assert "eventType=INVITED_TO_ORG&minDate=2026-08-01T00%3A00%3A00Z&" in following
    assert following.endswith("itemsPerPage=2&pageNum=2")
    assert ([name[0] for _, name in names(last)], last.json()["totalCount"]) == (["4"], 5)
    assert [each["rel"] for each in last.json()["links"]] == ["self", "previous"]


async def test_malformed_date_of_events_is_a_400(sim):
    async with open_client(sim) as request:
        response = await request("GET", f"{EVENTS}?minDate=yesterday")
    assert (response.status, response.code) == (400, "INVALID_QUERY_PARAMETER")


async def test_service_account_lists_its_secrets_with_their_ends(sim):
    account = sim.add_service_account()
    account.secrets_expire_at = (NOW + DAY, NOW + 8 * DAY)
    path = f"/orgs/{ORG}/serviceAccounts/{account.name}"
    async with open_client(sim) as request:
        response = await request("GET", path, accept=V2024)
        unknown = await request("GET", f"{path[:-1]}f", accept=V2024)
    document = response.json()
    assert list(document) == sorted(document)
    assert (document["clientId"], document["roles"]) == (account.name, ["ORG_OWNER"])
    assert all(has_form(each, SECRET) for each in document["secrets"])
    ends = [each["expiresAt"] for each in document["secrets"]]
    assert ends == ["2026-08-11T03:04:57Z", "2026-08-18T03:04:57Z"]
    assert account.secret not in response.body.decode()
    assert (unknown.status, unknown.code) == (404, "RESOURCE_NOT_FOUND")


def test_secret_of_a_service_account_ends_after_a_year(sim):
    assert sim.add_service_account().secrets_expire_at == (NOW + 365 * DAY,)
    assert sim.add_api_key().secrets_expire_at == ()


async def test_federation_names_its_domains_and_the_allow_list_of_an_organization(sim):
    sim.organizations[ORG].federation = Federation(
        FEDERATION_ID, ("example.com",), ("example.com", "partner.example.net")
    )
    async with open_client(sim) as request:
        settings = await request("GET", f"/orgs/{ORG}/federationSettings")
        path = f"/federationSettings/{FEDERATION_ID}/connectedOrgConfigs/{ORG}"
        connected = await request("GET", path)
        unknown = await request("GET", path.replace("5", "6", 1))
    assert settings.json()["id"] == FEDERATION_ID
    assert settings.json()["federatedDomains"] == ["example.com"]
    document = connected.json()
    assert document["orgId"] == ORG
    assert document["domainAllowList"] == ["example.com", "partner.example.net"]
    assert document["domainRestrictionEnabled"] is True
    assert unknown.status == 404


async def test_organization_without_federation_has_no_domains_and_no_id(sim):
    async with open_client(sim) as request:
        response = await request("GET", f"/orgs/{ORG}/federationSettings")
    assert response.json() == {"federatedDomains": [], "hasRoleMappings": False}


async def test_federation_without_an_allow_list_restricts_nothing(sim):
    sim.organizations[ORG].federation = Federation(FEDERATION_ID)
    path = f"/federationSettings/{FEDERATION_ID}/connectedOrgConfigs/{ORG}"
    async with open_client(sim) as request:
        document = (await request("GET", path)).json()
    assert (document["domainAllowList"], document["domainRestrictionEnabled"]) == ([], False)


@pytest.mark.parametrize(
    ("path", "accept", "needed"),
    [
        (EVENTS, V2023, Access.READ),
        (f"/orgs/{ORG}/serviceAccounts/mdb_sa_id_{0:024x}", V2024, Access.READ),
        (f"/orgs/{ORG}/federationSettings", V2023, Access.OWNER),
        (f"/federationSettings/{FEDERATION_ID}/connectedOrgConfigs/{ORG}", V2023, Access.OWNER),
    ],
)
async def test_endpoint_needs_its_role(sim, path, accept, needed):
    sim.organizations[ORG].federation = Federation(FEDERATION_ID)
    sim.add_service_account()
    statuses = []
    async with open_client(sim) as request:
        for access in Access:
            sim.limit_access(ORG, access)
            statuses.append((await request("GET", path, accept=accept)).status)
    assert statuses == [401 if access < needed else 200 for access in Access]
