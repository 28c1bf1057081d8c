"""A second opinion on every request: Prism serves Atlas's document, and refuses what is not in it.

Prism invents answers, and not always good ones: only what it says of requests counts here.
"""

import asyncio
import json
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import aiohttp
import pytest

from invite_sweeper.atlas.endpoints import ENDPOINTS, build_request
from invite_sweeper.atlas.http import HttpSession
from invite_sweeper.models import DeletionProgress, Invitation, Source

DOCUMENT = Path(__file__).parents[3] / "shared" / "atlas-openapi.json"
PRISM = os.environ.get("INVITE_SWEEPER_PRISM") or shutil.which("prism")
REQUIRED = "INVITE_SWEEPER_REQUIRE_PRISM" in os.environ
ID = "6a793fd0c0eb9e7a177181d4"
V2025 = "application/vnd.atlas.2025-02-19+json"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not DOCUMENT.is_file(), reason="the OpenAPI document lies beside the repository, not in it"
    ),
    pytest.mark.skipif(
        PRISM is None and not REQUIRED, reason="the command `prism` is not installed"
    ),
]
WAY = sorted(
    (each for each in ENDPOINTS if each.method != "POST"),
    key=lambda each: (each.template, each.method, each.query),
)


def is_listening(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def prism(tmp_path_factory):
    """Prism serving the document without its security; the base URL."""
    assert PRISM is not None, "the command `prism` is not installed"
    document = json.loads(DOCUMENT.read_text("utf-8"))
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
            end_s = time.monotonic() + 60
            while not is_listening(port):
                assert process.poll() is None, "Prism did not start"
                assert time.monotonic() < end_s, "Prism does not listen"
                time.sleep(0.05)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


@pytest.fixture
def answers(monkeypatch):
    """What Prism answers to all that the client sends."""
    seen = []
    send = HttpSession.send

    async def noting(self, *arguments):
        answer = await send(self, *arguments)
        seen.append(answer)
        return answer

    monkeypatch.setattr(HttpSession, "send", noting)
    return seen


def complaints(answer):
    """What Prism has against the request of an answer."""
    told = json.loads(answer.headers.get("sl-violations", "[]"))
    about_request = [each for each in told if each["location"][0] != "response"]
    return about_request or ([] if answer.status < 300 else [answer.status, answer.body])


@pytest.mark.parametrize("operation", WAY)
async def test_prism_takes_each_request_without_a_body(connecting, prism, answers, operation):
    ids = [ID] * operation.template.count("{}")
    page = 1 if operation.paged else None
    async with connecting(prism) as atlas:
        await atlas._transport.send(build_request(operation, *ids, scope_id=ID, page=page))

    (answer,) = answers
    assert complaints(answer) == []


@pytest.mark.parametrize("source", Source)
async def test_prism_takes_each_invitation(connecting, prism, answers, source):
    one = Invitation(
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
        await atlas.inviter().invite(one, DeletionProgress())

    (answer,) = answers
    assert complaints(answer) == []


@pytest.mark.parametrize(
    "wrong",
    [
        f"/groups/{ID}/users?itemsPerPage=501",
        f"/groups/{ID}/users?orgMembershipStatuses=GONE",
        "/groups/UPPER/users",
    ],
)
async def test_prism_does_refuse_what_is_wrong(prism, wrong):
    async with aiohttp.ClientSession() as session:
        answer = await session.get(f"{prism}/api/atlas/v2{wrong}", headers={"Accept": V2025})
        status = answer.status
        answer.release()
    await asyncio.sleep(0)

    assert status in {400, 422}
