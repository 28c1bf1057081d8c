"""Every request, validated by Prism, which serves Atlas's OpenAPI document.

Prism generates its responses, some of them invalid, so only its violations of requests count.
"""

import asyncio
import json
import socket
import subprocess
import time
from datetime import UTC, datetime

import aiohttp
import pytest
from needs import PRISM
from official_document import official_document

from invite_sweeper.atlas.endpoints import ENDPOINTS
from invite_sweeper.atlas.http import HttpSession
from invite_sweeper.models import DeletionProgress, Invitation, Source

ID = "6a793fd0c0eb9e7a177181d4"
SINCE = datetime(2026, 10, 28, 1, 2, 3, tzinfo=UTC)
V2025 = "application/vnd.atlas.2025-02-19+json"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.needs("document", "prism"),
]
WITHOUT_BODY = sorted(
    (each for each in ENDPOINTS if each.method != "POST"),
    key=lambda each: (each.template, each.method, each.query),
)


def is_listening(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def prism(tmp_path_factory):
    """The base URL of Prism, serving the document without its security schemes."""
    document = official_document()
    document.pop("security", None)
    document["components"].pop("securitySchemes", None)
    for methods in document["paths"].values():
        for operation in methods.values():
            operation.pop("security", None)
    path = tmp_path_factory.mktemp("prism") / "atlas.json"
    path.write_text(json.dumps(document), "utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [PRISM, "mock", "--host", "127.0.0.1", "--port", str(port), str(path)]
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL
    ) as process:
        try:
            deadline_s = time.monotonic() + 60
            while not is_listening(port):
                assert process.poll() is None, "Prism did not start"
                assert time.monotonic() < deadline_s, "Prism does not listen"
                time.sleep(0.05)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


@pytest.fixture
def responses(monkeypatch):
    """Prism's response to each request of the client."""
    seen = []
    send = HttpSession.send

    async def record(self, *arguments, **options):
        response = await send(self, *arguments, **options)
        seen.append(response)
        return response

    monkeypatch.setattr(HttpSession, "send", record)
    return seen


def request_violations(response):
    """Return Prism's violations of the request, or the status and body of an error."""
    violations = json.loads(response.headers.get("sl-violations", "[]"))
    about_request = [each for each in violations if each["location"][0] != "response"]
    return about_request or ([] if response.status < 300 else [response.status, response.body])


@pytest.mark.parametrize("endpoint", WITHOUT_BODY)
async def test_prism_accepts_each_request_without_a_body(connecting, prism, responses, endpoint):
    ids = [ID] * endpoint.template.count("{}")
    page = 1 if endpoint.paged else None
    since = SINCE if endpoint.dated else None
    async with connecting(prism) as atlas:
        await atlas.client.call(endpoint, *ids, page=page, since=since)

    (response,) = responses
    assert request_violations(response) == []


@pytest.mark.parametrize("source", Source)
async def test_prism_accepts_each_invitation(connecting, prism, responses, source):
    invitation = Invitation(
        id=ID,
        project_id=ID,
        project_name="Alpha",
        org_id=ID,
        username="ada@example.com",
        roles=("ORG_MEMBER",) if source.is_organization_level else ("GROUP_OWNER",),
        inviter=None,
        created_at=None,
        expires_at=None,
        source=source,
        team_ids=(ID,) if source.is_organization_level else (),
        project_roles=((ID, "GROUP_OWNER"),) if source.is_organization_level else (),
    )
    async with connecting(prism) as atlas:
        await atlas.inviter().invite(invitation, DeletionProgress())

    (response,) = responses
    assert request_violations(response) == []


@pytest.mark.parametrize(
    "path",
    [
        f"/groups/{ID}/users?itemsPerPage=501",
        f"/groups/{ID}/users?orgMembershipStatuses=GONE",
        "/groups/UPPER/users",
        f"/orgs/{ID}/events?minDate=yesterday",
        f"/orgs/{ID}/events?eventType=GONE",
        f"/orgs/{ID}/serviceAccounts/{ID}",
    ],
)
async def test_prism_refuses_an_invalid_request(prism, path):
    async with aiohttp.ClientSession() as session:
        response = await session.get(f"{prism}/api/atlas/v2{path}", headers={"Accept": V2025})
        status = response.status
        response.release()
    await asyncio.sleep(0)

    assert status in {400, 422}
