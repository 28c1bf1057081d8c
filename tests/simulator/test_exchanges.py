"""Each request is answered as `exchanges.txt` says, and as Atlas's OpenAPI document allows."""

import json
import re
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from builders import ORG
from known_atlas import find_operation, official_document, resolved
from openapi_schema_validator import OAS30Validator, oas30_format_checker
from simulator.simulated import decoded, open_client, organization

from invite_sweeper.models import INVITED_STATUSES, MembershipStatus
from invite_sweeper.simulator.responses import LOCALHOST

TABLE = Path(__file__).with_name("exchanges.txt").read_text("utf-8").splitlines()
LINES = [line for line in TABLE if line and not line.startswith("#")]
STATUSES = (MembershipStatus.ACTIVE, *INVITED_STATUSES)
ALL = "&".join(f"orgMembershipStatuses={each}" for each in STATUSES)


class World:
    """An organization with a project, two invitations and a user of each status."""

    def __init__(self):
        self.sim = sim = organization()
        self.project = sim.add_project("Data Lake", tags={"env": "sandbox"})
        sim.add_project("Second")
        users = {
            status.value: sim.add_user(
                f"{status.lower()}.doe@example.com",
                status=status,
                age=timedelta(days=3),
                group_roles={self.project: ["GROUP_OWNER"]},
                team_ids=["5" * 24],
            )
            for status in STATUSES
        }
        self.ids = users | {
            "invitation": sim.invite(self.project, "ada@example.com"),
            "org_invitation": sim.user(users["PENDING"]).invitation_id,
            "account": sim.add_service_account().name,
            "unknown": "0" * 24,
        }
        sim.add_team(self.project)

    def change(self, name):
        sim = self.sim
        {
            "": lambda: None,
            "ten-invitations": partial(sim.set_bucket, "invitations_ip", LOCALHOST, 0, 0),
            "retired-invites": lambda: sim.retired.add("invites"),
            "retired-orgs": lambda: sim.retired.add("orgs"),
            "spent": partial(sim.set_bucket, "projects_group", self.project, 0, 0),
        }[name]()

    async def respond(self, line):
        """Send the request of a line; return its method, its path and the response."""
        method, path, *options = line.partition(" => ")[0].split()
        given = dict(each.split("=") for each in options)
        path = path.replace("GROUP", f"/groups/{self.project}").replace("ORG", f"/orgs/{ORG}")
        path = path.replace("ALL", ALL).format(**self.ids)
        self.change(given.get("after", ""))
        body = json.loads(given.get("body", "null"))
        async with open_client(self.sim) as request:
            return method, path, await request(method, path, accept=given.get("accept"), json=body)


@pytest.mark.parametrize("line", LINES)
async def test_request_is_answered_as_in_the_table_and_changes_nothing_if_refused(line):
    world = World()
    before = world.sim.users(), world.sim.invitations(world.project)
    _, _, response = await world.respond(line)
    status, _, code = line.partition(" => ")[2].partition(" ")
    assert response.status == int(status)
    if code:
        assert (response.code, response.headers["Content-Type"]) == (code, "application/json")
    if response.status < 300:
        level, limit = (response.headers[f"RateLimit-{each}"] for each in ("Remaining", "Limit"))
        assert int(level) == int(limit) - 1
    else:
        assert (world.sim.users(), world.sim.invitations(world.project)) == before


RECORDED = {
    "inviterUsername": "format",  # the public key of an API key
    "parameters": "items",  # of an error: scalars
    **dict.fromkeys(("name", "groupName", "orgName"), "pattern"),  # with spaces
}
"""What the document says of a property and the recordings show otherwise."""
UNDECLARED = {400, 405, 406, 409, 410}
"""Errors that some operations do not declare."""


def relaxed(schema, name=""):
    skipped = {"discriminator", RECORDED.get(name)}
    result = {key: each for key, each in schema.items() if key not in skipped}
    if "pattern" in result:
        # Python's `re` has no Unicode classes; `\\w` is close enough for names.
        result["pattern"] = re.sub(r"\\p\{\w\}", r"\\w", result["pattern"])
    if "properties" in result:
        result["properties"] = {k: relaxed(each, k) for k, each in result["properties"].items()}
    for key in result.keys() & {"allOf", "oneOf", "anyOf"}:
        result[key] = [relaxed(each, name) for each in result[key]]
    if "items" in result:
        result["items"] = relaxed(result["items"], f"{name}[]")
    return result


@pytest.fixture(scope="module")
def document():
    return official_document()


@pytest.mark.needs("document")
@pytest.mark.parametrize("line", LINES)
async def test_answer_is_one_that_the_document_allows(document, line):
    method, path, response = await World().respond(line)
    found = find_operation(document, method, f"/api/atlas/v2{path.partition('?')[0]}")
    if found is None:  # a path that no operation has
        assert response.status == 404 or path == "/groups/"
        return
    declared = found[0]["responses"].get(str(response.status))
    if declared is None:
        assert response.status in UNDECLARED
        schema = resolved(document, document["components"]["schemas"]["ApiError"])
    else:
        media = response.headers["Content-Type"].partition(";")[0]
        schema = declared["content"][media].get("schema")
    if schema is None:
        assert response.body == b""
    else:
        validator = OAS30Validator(relaxed(schema), format_checker=oas30_format_checker)
        assert list(validator.iter_errors(decoded(response))) == []
