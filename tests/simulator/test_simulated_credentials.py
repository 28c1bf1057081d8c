"""Service accounts, API keys and tokens of the simulated Atlas, and what each can see."""

from datetime import timedelta

import pytest
from simulator.simulated import NOW, ORG, open_client

from invite_sweeper.simulator import Call

OTHER_ORG = "5efda682a3f2ed2e7dd6cde5"


class Digest:
    """Sends digests with one nonce to the simulated Atlas."""

    def __init__(self, sim):
        self.sim = sim
        self.account = sim.add_api_key()
        self.nonce = sim.digest.parse_header(sim.challenge())["nonce"]

    def is_accepted(self, count="00000001", *, nonce=None, **changed):
        fields = {
            "username": self.account.name,
            "realm": "MMS Public API",
            "nonce": nonce or self.nonce,
            "uri": "/x",
            "algorithm": self.sim.digest.algorithm,
            "qop": "auth",
            "nc": count,
            "cnonce": "c0ffee",
        }
        response = self.sim.digest.response(fields, self.account.secret, "GET")
        fields |= {"response": response} | changed
        header = ", ".join(f'{name}="{value}"' for name, value in fields.items())
        call = Call("GET", "/x", {"Authorization": f"Digest {header}"}, b"", None)
        return self.sim.authenticate(call) is self.account


@pytest.mark.parametrize(
    "changed",
    [
        {"realm": "Other"},
        {"qop": "auth-int"},
        {"uri": "/y"},
        {"algorithm": "SHA-256"},
        {"nc": "00000003"},
        {"response": ""},
        {"username": "unknown"},
        {"nonce": "A" * 32},
    ],
    ids=str,
)
def test_digest_with_one_wrong_field_is_refused(sim, changed):
    digest = Digest(sim)
    assert digest.is_accepted()
    assert not digest.is_accepted(**{"count": "00000002"} | changed)


@pytest.mark.parametrize("organizations", [(ORG,), (ORG, OTHER_ORG)])
async def test_account_sees_its_organizations_and_no_other(sim, organizations):
    sim.add_organization(OTHER_ORG, "Other Org")
    own = sim.add_project("A")
    other = sim.add_project("B", OTHER_ORG)
    account = sim.add_token(*organizations)
    async with open_client(sim, token=account.secret) as request:
        projects = await request("GET", "/groups")
        orgs = await request("GET", "/orgs")
        invites = await request("GET", f"/groups/{other}/invites")
        users = await request("GET", f"/orgs/{OTHER_ORG}/users")
    expected = [own, other][: len(organizations)]
    assert [each["id"] for each in projects.json()["results"]] == expected
    assert [each["id"] for each in orgs.json()["results"]] == list(organizations)
    for response in (invites, users):
        assert response.status == (200 if OTHER_ORG in organizations else 401)
        assert response.status == 200 or response.code == "NOT_IN_GROUP"


def test_account_shows_no_secret_and_that_of_a_service_account_ends(sim):
    kinds = (sim.add_service_account(), sim.add_api_key(), sim.add_token())
    assert all(each.secret not in repr(each) for each in kinds)
    ends = [each.secrets_expire_at for each in kinds]
    assert ends == [(NOW + timedelta(days=365),), (), ()]
