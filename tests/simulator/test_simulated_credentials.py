"""Who may ask the simulated Atlas: service accounts, API keys, tokens, roles, addresses."""

from dataclasses import replace

import aiohttp
import pytest
from simulator.simulated import ORG, V2023, Clock, asking, organization

from invite_sweeper.simulator import Access, serve

TOKEN = "/api/oauth/token"
OTHER_ORG = "5efda682a3f2ed2e7dd6cde5"


async def fetch_token(ask, account, grant="client_credentials", path=TOKEN, **form):
    basic = aiohttp.encode_basic_auth(account.name, account.secret)
    data = {"grant_type": grant} | form
    return await ask("POST", path, headers={"Authorization": basic}, data=data)


async def test_a_service_account_gets_a_token_that_opens_and_revokes_it():
    sim = organization()
    account = sim.add_service_account()
    async with asking(sim, token="") as ask:
        granted = await fetch_token(ask, account)
        token = granted.json()["access_token"]
        ask.token = token
        opened = await ask("GET", "/groups")
        revoked = await fetch_token(ask, account, path="/api/oauth/revoke", token=token)
        closed = await ask("GET", "/groups")
    assert set(granted.json()) == {"access_token", "expires_in", "token_type"}
    assert (granted.json()["expires_in"], granted.json()["token_type"]) == (3600, "Bearer")
    assert opened.status == 200
    assert (revoked.status, revoked.body) == (200, b"")
    assert (closed.status, closed.code) == (401, "UNEXPECTED_ERROR")
    assert (sim.oauth.issued, sim.oauth.revoked, sim.oauth.live_token_count(account)) == (1, 1, 0)


async def test_a_token_is_good_for_its_life_and_not_a_second_longer():
    clock = Clock()
    sim = organization(monotonic=clock)
    sim.oauth.expires_in_s = 60
    account = sim.add_service_account()
    async with asking(sim, token="") as ask:
        ask.token = (await fetch_token(ask, account)).json()["access_token"]
        clock.now_s += 59
        assert (await ask("GET", "/groups")).status == 200
        clock.now_s += 1
        assert (await ask("GET", "/groups")).status == 401


async def test_a_token_that_was_ended_before_its_time_ends_no_other_when_that_comes():
    clock = Clock()
    sim = organization(monotonic=clock)
    account = sim.add_service_account()
    async with asking(sim) as ask:
        early = (await fetch_token(ask, account)).json()["access_token"]
        clock.now_s += 10
        await fetch_token(ask, account)
    sim.oauth.expire(early)
    clock.now_s += sim.oauth.expires_in_s - 10
    assert sim.oauth.live_token_count(account) == 1
    clock.now_s += 10
    assert sim.oauth.live_token_count(account) == 0


async def test_a_wrong_secret_is_an_oauth_error_whose_error_is_text():
    sim = organization()
    account = sim.add_service_account()
    account.secret = "guessed"
    async with asking(sim, token="") as ask:
        got = await fetch_token(ask, account)
        revoke = await fetch_token(ask, account, path="/api/oauth/revoke", token="x")
    assert (got.status, got.json()["error"]) == (401, "invalid_client")
    assert revoke.status == 401


@pytest.mark.parametrize(
    ("grant", "code"), [("password", "unsupported_grant_type"), ("", "invalid_request")]
)
async def test_another_grant_is_refused_with_400(grant, code):
    sim = organization()
    account = sim.add_service_account()
    async with asking(sim, token="") as ask:
        got = await fetch_token(ask, account, grant)
    assert (got.status, got.json()["error"]) == (400, code)


async def test_the_token_after_the_cap_is_refused_until_one_ends():
    clock = Clock()
    sim = organization(monotonic=clock)
    sim.oauth.max_live_tokens = 2
    account = sim.add_service_account()
    async with asking(sim, token="") as ask:
        got = [await fetch_token(ask, account) for _ in range(3)]
        sim.oauth.expire(got[0].json()["access_token"])
        again = await fetch_token(ask, account)
    assert [each.status for each in got] == [200, 200, 403]
    assert got[2].json()["error"] == "access_denied"
    assert again.status == 200


async def test_the_token_call_after_the_limit_is_an_api_error_until_a_minute_is_over():
    clock = Clock()
    sim = organization(monotonic=clock)
    sim.oauth.requests_per_minute = 2
    account = sim.add_service_account()
    async with asking(sim, token="") as ask:
        got = [await fetch_token(ask, account) for _ in range(3)]
        clock.now_s += 60
        later = await fetch_token(ask, account)
    assert [each.status for each in got] == [200, 200, 429]
    assert got[2].json() == {
        "detail": "Resource /api/oauth/token is limited to 2 requests every 1 minutes.",
        "error": 429,
        "errorCode": "RATE_LIMITED",
        "parameters": ["/api/oauth/token", 2, 1],
        "reason": "Too Many Requests",
    }
    assert later.status == 200


def digest_client(account):
    return aiohttp.ClientSession(
        middlewares=(aiohttp.DigestAuthMiddleware(account.name, account.secret),),
        headers={"Accept": V2023},
    )


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256"])
async def test_an_api_key_opens_by_digest_and_its_challenge_is_good_for_later_calls(algorithm):
    sim = organization()
    sim.digest.algorithm = algorithm
    account = sim.add_api_key()
    async with serve(sim) as url, digest_client(account) as client:
        for path in ("groups", "groups?itemsPerPage=1&pageNum=1", "orgs"):
            async with client.get(f"{url}/api/atlas/v2/{path}") as answer:
                assert answer.status == 200
    assert sim.request_log.statuses == {401: 1, 200: 3}


@pytest.mark.parametrize("wrong", [{"name": "zzzzzzzz"}, {"secret": "guessed"}])
async def test_an_unknown_key_and_a_wrong_secret_get_the_challenge_again(wrong):
    sim = organization()
    client = digest_client(replace(sim.add_api_key(), **wrong))
    async with serve(sim) as url, client, client.get(f"{url}/api/atlas/v2/groups") as answer:
        assert answer.status == 401
        assert answer.headers["Www-Authenticate"].startswith("Digest ")
    assert sim.request_log.statuses == {401: 2}


async def test_a_nonce_is_good_for_its_uses_and_its_life():
    clock = Clock()
    sim = organization(monotonic=clock)
    sim.digest.nonce_uses = 2
    sim.digest.nonce_life_s = 10
    account = sim.add_api_key()
    async with serve(sim) as url, digest_client(account) as client:

        async def call():
            async with client.get(f"{url}/api/atlas/v2/groups") as answer:
                return answer.status

        assert [await call() for _ in range(3)] == [200, 200, 200]
        assert sim.request_log.statuses[401] == 2
        clock.now_s += 11
        assert await call() == 200
        assert sim.request_log.statuses[401] == 3
        sim.digest.forget_nonces()
        assert await call() == 200
        assert sim.request_log.statuses[401] == 4


def reply(sim, account, nonce, *, count, method="GET", uri="/x"):
    """A reply made by hand, with the desk's own hash."""
    told = {
        "username": account.name,
        "realm": "MMS Public API",
        "nonce": nonce,
        "uri": uri,
        "algorithm": sim.digest.algorithm,
        "qop": "auth",
        "nc": count,
        "cnonce": "c0ffee",
    }
    told["response"] = sim.digest._expected_response(told, account.secret, method)
    return told


async def test_counts_must_rise_within_a_nonce_only_where_that_is_asked_for():
    sim = organization()
    account = sim.add_api_key()
    nonce = sim.digest.parse_header(sim.digest.challenge())["nonce"]

    def holds(count):
        told = reply(sim, account, nonce, count=count)
        return sim.digest.is_valid(told, account.secret, "GET", "/x")

    assert [holds("00000002"), holds("00000002"), holds("00000001")] == [True, True, True]
    sim.digest.rising_counts = True
    assert [holds("00000002"), holds("00000003"), holds("00000003")] == [False, True, False]


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
async def test_a_reply_with_one_wrong_field_does_not_hold(changed):
    sim = organization()
    account = sim.add_api_key()
    nonce = sim.digest.parse_header(sim.digest.challenge())["nonce"]
    assert sim.digest.is_valid(
        reply(sim, account, nonce, count="00000001"), account.secret, "GET", "/x"
    )
    wrong = reply(sim, account, nonce, count="00000002") | changed
    assert not sim.digest.is_valid(wrong, account.secret, "GET", "/x")


@pytest.mark.parametrize(("count", "known"), [("one", True), ("00000001", False)])
async def test_a_count_that_is_no_number_and_an_unknown_nonce_do_not_hold(count, known):
    sim = organization()
    account = sim.add_api_key()
    nonce = sim.digest.parse_header(sim.digest.challenge())["nonce"] if known else "A" * 32
    told = reply(sim, account, nonce, count=count)
    assert not sim.digest.is_valid(told, account.secret, "GET", "/x")


async def test_revoking_what_is_not_live_is_200_all_the_same():
    sim = organization()
    account = sim.add_service_account()
    async with asking(sim, token="") as ask:
        got = await fetch_token(ask, account, path="/api/oauth/revoke", token="unknown")
    assert (got.status, sim.oauth.revoked) == (200, 0)


async def test_old_nonces_are_dropped_so_that_memory_stays_flat():
    sim = organization()
    for _ in range(10_100):
        sim.digest.challenge()
    assert len(sim.digest._nonces) == 10_000


async def test_a_missing_role_is_401_and_takes_no_token():
    sim = organization()
    project = sim.add_project("Data Lake")
    sim.limit_access(project)
    async with asking(sim) as ask:
        listed = await ask("GET", f"/groups/{project}/invites")
        seen = await ask("GET", "/groups")
        sim.restore_access(project)
        again = await ask("GET", f"/groups/{project}/invites")
    assert (listed.status, listed.code) == (401, "USER_UNAUTHORIZED")
    assert "Ratelimit-Limit" not in listed.headers
    assert "Www-Authenticate" not in listed.headers
    assert [each["id"] for each in seen.json()["results"]] == [project]
    assert again.headers["Ratelimit-Remaining"] == "1199"


async def test_a_role_of_one_credential_in_one_project_differs_from_the_others():
    sim = organization()
    project = sim.add_project("Data Lake")
    account = sim.add_token()
    account.roles[project] = Access.NONE
    async with asking(sim, token=account.secret) as ask:
        got = await ask("GET", f"/groups/{project}/invites")
        seen = await ask("GET", "/groups")
    assert (got.status, got.code) == (401, "NOT_IN_GROUP")
    assert seen.json()["results"] == []


async def test_a_credential_sees_nothing_of_another_organization():
    sim = organization()
    sim.add_organization(OTHER_ORG, "Other Org")
    mine = sim.add_project("Mine")
    theirs = sim.add_project("Theirs", OTHER_ORG)
    async with asking(sim) as ask:
        seen = await ask("GET", "/groups")
        orgs = await ask("GET", "/orgs")
        got = await ask("GET", f"/groups/{theirs}/invites")
        users = await ask("GET", f"/orgs/{OTHER_ORG}/users")
    assert [each["id"] for each in seen.json()["results"]] == [mine]
    assert [each["id"] for each in orgs.json()["results"]] == [ORG]
    assert (got.status, users.status) == (401, 401)


async def test_a_credential_of_two_organizations_sees_the_projects_of_both():
    sim = organization()
    sim.add_organization(OTHER_ORG, "Other Org")
    sim.add_project("A")
    sim.add_project("B", OTHER_ORG)
    account = sim.add_token(ORG, OTHER_ORG)
    async with asking(sim, token=account.secret) as ask:
        seen = await ask("GET", "/groups")
        here = await ask("GET", f"/orgs/{OTHER_ORG}/groups")
    assert [each["orgId"] for each in seen.json()["results"]] == [ORG, OTHER_ORG]
    assert [each["name"] for each in here.json()["results"]] == ["B"]


async def test_an_address_off_the_access_list_gets_its_token_and_then_403():
    sim = organization()
    account = sim.add_service_account()
    account.access_list = ("192.0.2.1",)
    async with asking(sim, token="") as ask:
        ask.token = (await fetch_token(ask, account)).json()["access_token"]
        got = await ask("GET", "/groups")
    assert (got.status, got.code) == (403, "IP_ADDRESS_NOT_ON_ACCESS_LIST")
    assert got.json()["parameters"] == ["127.0.0.1"]


def test_each_kind_of_credential_names_its_environment_variables():
    sim = organization()
    kinds = (sim.add_service_account(), sim.add_api_key(), sim.add_token())
    assert [sorted(each.environment()) for each in kinds] == [
        ["MONGODB_ATLAS_CLIENT_ID", "MONGODB_ATLAS_CLIENT_SECRET"],
        ["MONGODB_ATLAS_PRIVATE_API_KEY", "MONGODB_ATLAS_PUBLIC_API_KEY"],
        ["MONGODB_ATLAS_ACCESS_TOKEN"],
    ]
    assert all(each.secret in each.environment().values() for each in kinds)
    assert all(each.secret not in repr(each) for each in kinds)


async def test_the_root_names_the_key_that_asks():
    sim = organization()
    account = sim.add_api_key()
    async with (
        serve(sim) as url,
        digest_client(account) as client,
        client.get(f"{url}/api/atlas/v2") as answer,
    ):
        key = (await answer.json(content_type=None))["apiKey"]
    assert key["publicKey"] == account.name
    assert key["roles"] == [{"orgId": ORG, "roleName": "ORG_OWNER"}]
