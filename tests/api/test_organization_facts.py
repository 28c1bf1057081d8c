"""What a run may read about an organization beside its lists; a refusal is a value."""

from datetime import UTC, datetime, timedelta

import pytest

from invite_sweeper.atlas import BearerToken, Secret, ServiceAccount
from invite_sweeper.atlas.parsing import OrgEvent
from invite_sweeper.models import ListUnreadable

ORG = "5efda682a3f2ed2e7dd6cde4"
BASE = "https://atlas.example.com"
API = f"{BASE}/api/atlas/v2"
SINCE = datetime(2026, 10, 28, 1, 2, 3, tzinfo=UTC)
EVENTS = (
    f"{API}/orgs/{ORG}/events?eventType=INVITED_TO_ORG&eventType=JOINED_ORG&itemsPerPage=500"
    "&includeCount=false&minDate=2026-10-28T01:02:03Z&pageNum="
)
MEMBERS = (
    f"{API}/orgs/{ORG}/users?orgMembershipStatuses=ACTIVE&itemsPerPage=500&includeCount=false"
    "&pageNum="
)
ACCOUNT = f"{API}/orgs/{ORG}/serviceAccounts/{'mdb_sa_id_' + '7' * 24}"
NEXT = [{"rel": "next", "href": "-"}]
REFUSED = {"error": 401, "errorCode": "USER_UNAUTHORIZED", "detail": "No."}


@pytest.fixture
def facts(connecting, answering):
    async def read(method, *arguments, credentials=None):
        async with connecting(BASE, credentials or BearerToken(Secret("a-token"))) as atlas:
            return await getattr(atlas.reader, method)(ORG, *arguments)

    return read


async def test_events_of_all_pages_name_who_was_invited_and_who_joined(facts, answering):
    invited = {
        "eventTypeName": "INVITED_TO_ORG",
        "created": "2026-11-01T00:00:00Z",
        "targetUsername": "Ada@Example.com",
        "username": "boss@example.com",
    }
    joined = {**invited, "eventTypeName": "JOINED_ORG", "targetUsername": None}
    answering.get(EVENTS + "1", payload={"results": [invited, invited], "links": NEXT})
    answering.get(EVENTS + "2", payload={"results": [joined, {**invited, "targetUsername": 7}]})

    at = datetime(2026, 11, 1, tzinfo=UTC)
    assert await facts("invitation_events", SINCE) == (
        OrgEvent("INVITED_TO_ORG", "ada@example.com", at),
        OrgEvent("JOINED_ORG", "boss@example.com", at),
        OrgEvent("INVITED_TO_ORG", None, at),
    )


async def test_active_members_of_all_pages_are_returned_folded(facts, answering):
    answering.get(MEMBERS + "1", payload={"results": [{"username": "A@x.org"}], "links": NEXT})
    answering.get(MEMBERS + "2", payload={"results": [{"username": "b@x.org"}]})

    assert await facts("active_members") == {"a@x.org", "b@x.org"}


@pytest.mark.parametrize(
    "second",
    [
        {"results": [{"username": None}]},
        {"results": [{}]},
        {"results": [{"username": " "}]},
        {"results": [], "links": NEXT},
        {"results": [{"username": "A@x.org"}], "links": NEXT},
        [],
    ],
    ids=["null", "missing", "blank", "endless", "repeated", "no page"],
)
async def test_active_members_that_are_not_all_known_are_unreadable(facts, answering, second):
    answering.get(MEMBERS + "1", payload={"results": [{"username": "A@x.org"}], "links": NEXT})
    answering.get(MEMBERS + "2", payload=second, repeat=True)

    assert isinstance(await facts("active_members"), ListUnreadable)


@pytest.fixture
def account(answering):
    answering.post(f"{BASE}/api/oauth/token", payload={"access_token": "t", "expires_in": 3600})
    answering.post(f"{BASE}/api/oauth/revoke")
    return ServiceAccount("mdb_sa_id_" + "7" * 24, Secret("a-secret"))


async def test_secrets_of_the_own_service_account_expire_in_order(facts, answering, account):
    dates = [{"expiresAt": "2027-02-01T00:00:00Z"}, {"expiresAt": "2026-12-01T00:00:00Z"}]
    answering.get(ACCOUNT, payload={"clientId": account.client_id, "secrets": dates})

    assert await facts("secret_expiries", credentials=account) == (
        datetime(2026, 12, 1, tzinfo=UTC),
        datetime(2027, 2, 1, tzinfo=UTC),
    )


@pytest.mark.parametrize("secrets", [None, {}, [1], [{}], [{"expiresAt": "soon"}]])
async def test_secret_without_a_readable_date_is_not_known(facts, answering, account, secrets):
    answering.get(ACCOUNT, payload={"secrets": secrets}, repeat=True)

    assert isinstance(await facts("secret_expiries", credentials=account), ListUnreadable)


async def test_other_credentials_have_no_secret_that_expires_and_nothing_is_requested(facts):
    assert await facts("secret_expiries") == ()


async def test_malformed_client_id_is_not_sent(facts, account):
    odd = ServiceAccount("mdb_sa_id_../../groups", Secret("a-secret"))

    assert isinstance(await facts("secret_expiries", credentials=odd), ListUnreadable)


@pytest.mark.parametrize(
    ("method", "arguments", "url", "role"),
    [
        ("invitation_events", (SINCE,), EVENTS + "1", "Organization Member"),
        ("active_members", (), MEMBERS + "1", "Organization Member"),
        ("secret_expiries", (), ACCOUNT, "Organization Read Only"),
    ],
)
async def test_refused_request_is_a_value_that_names_the_role(
    facts, answering, account, method, arguments, url, role
):
    answering.get(
        url, status=401, payload=REFUSED, repeat=True, headers={"Content-Type": "application/json"}
    )

    found = await facts(method, *arguments, credentials=account)

    assert isinstance(found, ListUnreadable)
    assert (found.http_status, found.error_code, found.org_id) == (401, "USER_UNAUTHORIZED", ORG)
    assert f"requires the role {role}." in found.reason


async def test_only_active_members_of_the_organization_are_returned(sim, online):
    for number in range(7):
        sim.add_user(f"Active-{number}@Example.com", status="ACTIVE")
    for status in ("PENDING", "INVITATION_EXPIRED", "INVITATION_REJECTED"):
        sim.add_user(f"{status}@example.com", status=status)
    sim.user_paging.page_size = 2
    async with online() as atlas:
        found = await atlas.reader.active_members(ORG)

    assert found == {f"active-{number}@example.com" for number in range(7)}


async def test_event_of_each_invitation_is_returned(sim, online):
    sim.add_user("ada@example.com", age=timedelta(days=2))
    sim.add_user("old@example.com", age=timedelta(days=40))
    since = datetime.now(UTC) - timedelta(days=30)
    async with online() as atlas:
        found = await atlas.reader.invitation_events(ORG, since)

    assert {(each.kind, each.username) for each in found} == {("INVITED_TO_ORG", "ada@example.com")}
