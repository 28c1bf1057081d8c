"""Secrets and tokens are in no error, repr, traceback or log."""

import asyncio
import gc
import logging
import re
import traceback
from datetime import timedelta

import aiohttp
import faults
import pytest

from invite_sweeper.atlas.credentials import Credentials, CredentialsKind, Secret
from invite_sweeper.errors import RunError
from invite_sweeper.models import Source
from invite_sweeper.outcomes import Sending
from invite_sweeper.simulator import serve

SECRET = "kitten-7f3a9c1e"
TOKEN = "puppy-51b2d8e0"
CREDENTIALS = {
    "service account": Credentials(CredentialsKind.SERVICE_ACCOUNT, "mdb_sa_id_1", Secret(SECRET)),
    "API key": Credentials(CredentialsKind.API_KEY, "abcdefgh", Secret(SECRET)),
    "token": Credentials(CredentialsKind.ACCESS_TOKEN, "token", Secret(TOKEN)),
}
FAULTS = {
    "no fault": None,
    "401": faults.challenge(),
    "403": faults.fail_with(403, "IP_ADDRESS_NOT_ON_ACCESS_LIST"),
    "connection reset": faults.reset(),
    "hang": faults.hang(),
    "malformed body": faults.malformed(),
    "redirect": faults.redirect(f"https://evil.example.com/?token={TOKEN}"),
}
LEAK = re.compile(
    rf"{SECRET}|{TOKEN}|Bearer [a-z]|Basic [A-Za-z0-9]|grant_type=",
    re.ASCII,
)


async def visible_output(connecting, base_url, credentials):
    """List and delete; return all text that a user could see."""
    seen = []
    async with connecting(base_url, credentials, attempts=2) as atlas:
        seen.append(f"{atlas!r} {vars(atlas)!r} {vars(atlas.reader)!r}")
        try:
            for project in await atlas.reader.projects():
                found = await atlas.reader.invitations(project)
                seen.append(repr(found))
                for one in found if isinstance(found, tuple) else ():
                    atlas.deleter(Source).try_acquire(one)
                    seen.append(repr(await atlas.deleter(Source).delete(one, Sending())))
        except RunError as error:
            shown = traceback.TracebackException.from_exception(error, capture_locals=True)
            seen += [str(error), repr(error), *shown.format()]
    return seen


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("kind", CREDENTIALS)
async def test_no_secret_is_visible(sim, connecting, retry_log, caplog, monkeypatch, kind, fault):
    monkeypatch.setattr("invite_sweeper.atlas.http.TIMEOUT", aiohttp.ClientTimeout(total=0.2))
    monkeypatch.setattr("invite_sweeper.simulator.auth.secrets.token_urlsafe", lambda _: TOKEN)
    caplog.set_level(logging.DEBUG)
    asyncio.get_running_loop().set_debug(True)
    project = sim.add_project("Alpha")
    sim.invite(project, "ada@example.com", age=timedelta(days=20))
    valid = {"service account": sim.add_service_account, "API key": sim.add_api_key}
    account = valid.get(kind, sim.add_token)()
    if FAULTS[fault] is not None:
        sim.faults.add(FAULTS[fault], times=None)

    async with serve(sim) as base_url:
        seen = await visible_output(connecting, base_url, account)
        seen += await visible_output(connecting, base_url, CREDENTIALS[kind])
    gc.collect()

    text = "\n".join([*seen, repr(retry_log.mock_calls), caplog.text])
    assert len(seen) > 2
    assert not LEAK.search(text)
    assert account.secret not in text
