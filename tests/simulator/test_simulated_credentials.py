"""Authentication and access: service accounts, API keys, tokens, roles, IP addresses."""

import aiohttp
import pytest
from simulator.simulated import ORG, V2025, Clock, open_client, organization

TOKEN = "/api/oauth/token"
OTHER_ORG = "5efda682a3f2ed2e7dd6cde5"


async def fetch_token(request, account, grant="client_credentials", path=TOKEN, **form):
    basic = aiohttp.encode_basic_auth(account.name, account.secret)
    data = {"grant_type": grant} | form
    return await request("POST", path, headers={"Authorization": basic}, data=data)


async def test_token_expired_early_does_not_expire_another_at_its_original_time():
    clock = Clock()
    sim = organization(monotonic=clock)
    account = sim.add_service_account()
    async with open_client(sim) as request:
        early = (await fetch_token(request, account)).json()["access_token"]
        clock.now_s += 10
        await fetch_token(request, account)
    sim.oauth.expire(early)
    clock.now_s += sim.oauth.expires_in_s - 10
    assert sim.oauth.live_token_count(account) == 1
    clock.now_s += 10
    assert sim.oauth.live_token_count(account) == 0


@pytest.mark.parametrize("grant", ["password", ""])
async def test_other_grant_type_is_400(sim, grant):
    account = sim.add_service_account()
    async with open_client(sim, token="") as request:
        response = await fetch_token(request, account, grant)
    assert (response.status, response.json()["error"]) == (400, "unsupported_grant_type")


def digest_fields(sim, account, nonce, *, count, method="GET", uri="/x"):
    """Return the fields of a valid digest."""
    authorization = {
        "username": account.name,
        "realm": "MMS Public API",
        "nonce": nonce,
        "uri": uri,
        "algorithm": sim.digest.algorithm,
        "qop": "auth",
        "nc": count,
        "cnonce": "c0ffee",
    }
    authorization["response"] = sim.digest._expected_response(authorization, account.secret, method)
    return authorization


async def test_nonce_counts_must_increase_only_with_rising_counts(sim):
    account = sim.add_api_key()
    nonce = sim.digest.parse_header(sim.digest.challenge())["nonce"]

    def is_valid(count):
        authorization = digest_fields(sim, account, nonce, count=count)
        return sim.digest.is_valid(authorization, account.secret, "GET", "/x")

    assert [is_valid("00000002"), is_valid("00000002"), is_valid("00000001")] == [True, True, True]
    sim.digest.rising_counts = True
    assert [is_valid("00000002"), is_valid("00000003"), is_valid("00000003")] == [
        False,
        True,
        False,
    ]


@pytest.mark.parametrize(
    "changed",
    [
        {"realm": "Other"},
        {"qop": "auth-int"},
        {"uri": "/y"},
        {"algorithm": "SHA-256"},
        {"nc": "00000003"},
        {"response": ""},
    ],
)
async def test_digest_with_one_wrong_field_is_invalid(sim, changed):
    account = sim.add_api_key()
    nonce = sim.digest.parse_header(sim.digest.challenge())["nonce"]
    assert sim.digest.is_valid(
        digest_fields(sim, account, nonce, count="00000001"), account.secret, "GET", "/x"
    )
    wrong = digest_fields(sim, account, nonce, count="00000002") | changed
    assert not sim.digest.is_valid(wrong, account.secret, "GET", "/x")


@pytest.mark.parametrize(("count", "known"), [("one", True), ("00000001", False)])
async def test_digest_with_a_bad_count_or_unknown_nonce_is_invalid(sim, count, known):
    account = sim.add_api_key()
    nonce = sim.digest.parse_header(sim.digest.challenge())["nonce"] if known else "A" * 32
    authorization = digest_fields(sim, account, nonce, count=count)
    assert not sim.digest.is_valid(authorization, account.secret, "GET", "/x")


async def test_account_cannot_read_another_organization(sim):
    sim.add_organization(OTHER_ORG, "Other Org")
    own = sim.add_project("Mine")
    other = sim.add_project("Theirs", OTHER_ORG)
    async with open_client(sim) as request:
        projects = await request("GET", "/groups")
        orgs = await request("GET", "/orgs")
        response = await request("GET", f"/groups/{other}/invites")
        users = await request("GET", f"/orgs/{OTHER_ORG}/users", accept=V2025)
    assert [each["id"] for each in projects.json()["results"]] == [own]
    assert [each["id"] for each in orgs.json()["results"]] == [ORG]
    assert (response.status, users.status) == (401, 401)


async def test_account_of_two_organizations_lists_the_projects_of_both(sim):
    sim.add_organization(OTHER_ORG, "Other Org")
    sim.add_project("A")
    sim.add_project("B", OTHER_ORG)
    account = sim.add_token(ORG, OTHER_ORG)
    async with open_client(sim, token=account.secret) as request:
        projects = await request("GET", "/groups")
    assert [each["orgId"] for each in projects.json()["results"]] == [ORG, OTHER_ORG]


def test_each_account_kind_has_its_environment_variables(sim):
    kinds = (sim.add_service_account(), sim.add_api_key(), sim.add_token())
    assert [sorted(each.environment()) for each in kinds] == [
        ["MONGODB_ATLAS_CLIENT_ID", "MONGODB_ATLAS_CLIENT_SECRET"],
        ["MONGODB_ATLAS_PRIVATE_API_KEY", "MONGODB_ATLAS_PUBLIC_API_KEY"],
        ["MONGODB_ATLAS_ACCESS_TOKEN"],
    ]
    assert all(each.secret in each.environment().values() for each in kinds)
    assert all(each.secret not in repr(each) for each in kinds)
