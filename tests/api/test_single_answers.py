"""Single responses without a server, where only status and body matter.

aioresponses skips the client's middlewares, so it cannot test digest or counters, and it creates
responses without an argument that aiohttp 3.14 requires.
"""

from unittest import mock

import aiohttp
import aioresponses
import pytest
from aioresponses import core
from builders import ORG, PROJECT, invitation
from deleting import delete

from invite_sweeper.models import ListUnreadable, Project, Source
from invite_sweeper.outcomes import Outcome

BASE = "https://atlas.example.com"
LISTED = invitation(7, source=Source.INVITES)
LIST = f"{BASE}/api/atlas/v2/groups/{PROJECT}/invites"


@pytest.fixture
def answering():
    class CompatibleResponse(aiohttp.ClientResponse):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **{"stream_writer": mock.Mock(), **kwargs})

    with (
        mock.patch.object(core, "ClientResponse", CompatibleResponse),
        aioresponses.aioresponses() as responses,
    ):
        yield responses


@pytest.mark.parametrize("media_type", ["text/plain; charset=utf-8", "application/octet-stream"])
async def test_404_that_is_neither_json_nor_html_is_gone_only_for_a_deletion(
    connecting, answering, media_type
):
    not_found = {"status": 404, "body": "404: Not Found", "content_type": media_type}
    answering.get(LIST, **not_found)
    answering.delete(f"{LIST}/{LISTED.invitation_id}", **not_found)

    async with connecting(BASE) as atlas:
        found = await atlas.reader.invitations(Project(PROJECT, "Alpha", ORG))
        assert isinstance(found, ListUnreadable)
        assert (await delete(atlas, LISTED)).outcome is Outcome.ALREADY_GONE
        assert atlas.server.clock_skew_s is None  # without `Date`


async def test_body_of_a_204_is_not_read(connecting, answering):
    url = f"{LIST}/{LISTED.invitation_id}"
    answering.delete(url, status=204, body=b'{"half', content_type="application/json")

    async with connecting(BASE) as atlas:
        assert (await delete(atlas, LISTED)).outcome is Outcome.DELETED
