"""A client of a server, and one deletion, as a sweep sends it: all its tokens first."""

from contextlib import asynccontextmanager
from datetime import UTC, datetime
from unittest.mock import Mock

from builders import ORG

from invite_sweeper.atlas.credentials import Credentials, CredentialsKind, Secret, read_credentials
from invite_sweeper.atlas.deleter import AtlasClient
from invite_sweeper.atlas.http import open_http, parse_base_url
from invite_sweeper.atlas.limits import RateLimiter
from invite_sweeper.models import Project, Source
from invite_sweeper.outcomes import Sending
from invite_sweeper.policy import Execution

READY = Credentials(CredentialsKind.ACCESS_TOKEN, "token", Secret("a-ready-token"))
LOG = Mock(spec_set=["debug", "info"])


@asynccontextmanager
async def connected(
    base_url,
    account=READY,
    *,
    monotonic,
    sleep,
    per_s=None,
    concurrency=20,
    attempts=5,
    connector=None,
    log=LOG,
    **options,
):
    """Connect to a base URL, with an account of the simulated Atlas or with credentials."""
    if hasattr(account, "environment"):
        account = read_credentials(account.environment())
    async with (
        open_http(parse_base_url(base_url), connector) as http,
        AtlasClient(
            http,
            account,
            execution=Execution(concurrency=concurrency, attempts=attempts),
            limiter=RateLimiter(monotonic, sleep, max_requests_per_second=per_s),
            clock=lambda: datetime.now(UTC),
            log=log,
            **options,
        ) as atlas,
    ):
        yield atlas


def place_of(source, project_id):
    """Return whose list of a source is read: the project, or the organization."""
    if source.is_organization_level:
        return Project.of_organization(ORG)
    return Project(project_id, "Alpha", ORG)


async def delete(atlas, listed, progress=None, *, absent=False):
    """Delete one invitation and return its result.

    Args:
        absent: No list of the organization shows its person.
    """
    deleter = atlas.deleter(Source, {listed.key} if absent else ())
    assert deleter.try_acquire(listed) == 0.0
    return await deleter.delete(listed, progress or Sending())


async def delete_first(
    atlas, place, source=Source.INVITES, *, then=lambda: None, progress=None, absent=False
):
    """List, call `then`, delete the first invitation, and return its result."""
    listed = (await atlas.reader.invitations(place, source))[0]
    then()
    return await delete(atlas, listed, progress, absent=absent)
