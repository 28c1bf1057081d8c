"""Every request of the client, validated against Atlas's OpenAPI document."""

import re
from datetime import timedelta
from urllib.parse import parse_qsl

import faults
import msgspec
import pytest
from builders import ORG
from deleting import delete, place_of
from official_document import find_operation, official_document
from openapi_schema_validator import OAS30Validator, oas30_format_checker

from invite_sweeper.atlas.endpoints import ENDPOINTS, FETCH_TOKEN, REVOKE_TOKEN
from invite_sweeper.models import Source
from invite_sweeper.outcomes import Sending

pytestmark = pytest.mark.needs("document")


@pytest.fixture(scope="module")
def document():
    return official_document()


async def use_every_endpoint(sim, online):
    """Send a request to each endpoint through the client's public methods; return the requests."""
    calls = []
    sim.faults.add(faults.effect(before=calls.append), path="*/v2/*", times=None)
    project_id = sim.add_project("Alpha")
    sim.invite(project_id, "ada@example.com", age=timedelta(days=20))
    for name in ("bob", "cyd", "dan"):
        sim.add_user(f"{name}@example.com", group_roles={project_id: ["GROUP_OWNER"]})
    async with online(sim.add_service_account()) as atlas:
        (project,) = await atlas.reader.projects()
        await atlas.reader.organizations()
        await atlas.reader.project_teams(project)
        await atlas.reader.active_members(ORG)
        await atlas.reader.is_active_member(ORG, "ada@example.com")
        await atlas.reader.api_key_names(ORG)
        await atlas.reader.secret_expiries(ORG)
        inviter = atlas.inviter()
        for number, source in enumerate(Source):
            place = place_of(source, project_id)
            listed = await atlas.reader.invitations(place, source)
            invitation = listed[min(number, len(listed) - 1)]
            await delete(atlas, invitation)
            await atlas.reader.people(place, source)
            await inviter.invite(invitation, Sending())
    return [(each.method, each.target, each.headers, each.body) for each in calls]


def converted(values, schema):
    """Return the values of a parameter converted to the schema's type."""
    if schema["type"] == "array":
        return values
    (value,) = values
    kinds = {"integer": int, "boolean": lambda text: {"true": True, "false": False}[text]}
    return kinds.get(schema["type"], str)(value)


def violations(document, method, target, headers, body):
    """Yield each violation of the document by one request."""
    path, _, query = target.partition("?")
    operation, in_path = find_operation(document, method, path)
    given = {key: [value] for key, value in in_path.items()}
    for key, value in parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query)):
        given.setdefault(key, []).append(value)
    known = {each["name"]: each for each in operation["parameters"]}
    yield from (f"unknown parameter {name}" for name in given.keys() - known.keys())
    for name, each in known.items():
        if name in given:
            schema = each["schema"]
            for error in OAS30Validator(schema).iter_errors(converted(given[name], schema)):
                yield f"{name}: {error.message}"
        elif each.get("required"):
            yield f"{name} is missing"
    good = [each for status, each in operation["responses"].items() if status[0] == "2"]
    if not any(headers["Accept"] in each.get("content", {}) for each in good):
        yield f"{method} {path} does not return {headers['Accept']}"
    content = operation.get("requestBody", {}).get("content", {})
    if content or body:
        schema = content[headers["Content-Type"]]["schema"]
        checker = OAS30Validator(schema, format_checker=oas30_format_checker)
        yield from (error.message for error in checker.iter_errors(msgspec.json.decode(body)))


async def test_each_request_to_every_endpoint_conforms_to_the_document(sim, online, document):
    sent = await use_every_endpoint(sim, online)

    found = [violation for request in sent for violation in violations(document, *request)]
    assert found == []
    requested = {
        (
            method,
            re.sub(r"[a-f0-9]{24}", "{}", re.split("&username=|&pageNum=", path)[0]),
            headers["Accept"],
        )
        for method, path, headers, _ in sent
    }
    known = {  # that of one member is the list of active members, with a name
        (o.method, o.template + (f"?{o.query}" if o.query else ""), o.media_type)
        for o in ENDPOINTS - {FETCH_TOKEN, REVOKE_TOKEN}
    }
    assert requested == known


@pytest.mark.parametrize(
    ("target", "accept", "expected"),
    [
        (f"/groups/{ORG}/invites?pageNum=1", "2023-01-01", "unknown parameter pageNum"),
        (f"/groups/{ORG}/users?orgMembershipStatuses=GONE", "2025-02-19", "is not one of"),
        ("/groups?itemsPerPage=501", "2023-01-01", "greater than"),
        (f"/groups/{ORG}/users", "2025-03-12", "does not return"),
    ],
)
def test_violation_is_detected(document, target, accept, expected):
    headers = {"Accept": f"application/vnd.atlas.{accept}+json"}
    (violation,) = violations(document, "GET", f"/api/atlas/v2{target}", headers, b"")
    assert expected in violation
