"""Every request of the client, validated against Atlas's OpenAPI document."""

import re
from datetime import timedelta
from urllib.parse import parse_qsl

import faults
import msgspec
import pytest
from builders import ORG
from official_document import find_operation, official_document, resolved
from openapi_schema_validator import OAS30Validator, oas30_format_checker

from invite_sweeper.atlas.endpoints import ENDPOINTS, FETCH_TOKEN, REVOKE_TOKEN
from invite_sweeper.models import Project, Source
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
    project = Project(project_id, "Alpha", ORG)
    organization = Project(ORG, "", ORG)
    sim.invite(project_id, "ada@example.com", age=timedelta(days=20))
    for name in ("bob", "cyd", "dan"):
        sim.add_user(f"{name}@example.com", group_roles={project_id: ["GROUP_OWNER"]})
    async with online(sim.add_service_account()) as atlas:
        assert await atlas.reader.projects() == (project,)
        assert list(await atlas.reader.organizations()) == [ORG]
        await atlas.reader.project_teams(project)
        await atlas.reader.active_members(ORG)
        await atlas.reader.is_active_member(ORG, "ada@example.com")
        await atlas.reader.api_key_names(ORG)
        await atlas.reader.secret_expiries(ORG)
        listed = {
            source: await atlas.reader.invitations(
                organization if source.is_organization_level else project, source
            )
            for source in Source
        }
        assert all(listed.values())
        deleter = atlas.deleter(Source)
        inviter = atlas.inviter()
        for number, source in enumerate(Source):
            invitation = listed[source][min(number, len(listed[source]) - 1)]
            assert deleter.try_acquire(invitation) == 0.0
            await deleter.delete(invitation, Sending())
            await atlas.reader.people(invitation.place, source)
            await inviter.invite(invitation, Sending())
    return [(each.method, each.target, each.headers, each.body) for each in calls]


def converted(values, schema):
    """Return the values of a parameter converted to the schema's type."""
    if schema["type"] == "array":
        return values
    assert len(values) == 1, "more than one value"
    kinds = {"integer": int, "boolean": lambda text: {"true": True, "false": False}[text]}
    return kinds.get(schema["type"], str)(values[0])


def violations(document, method, target, headers, body):
    """Yield each violation of the document by one request."""
    path, _, query = target.partition("?")
    _, in_path, found = find_operation(document, method, path)
    operation = resolved(document, found)
    given = {key: [value] for key, value in in_path.items()}
    for key, value in parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query)):
        given.setdefault(key, []).append(value)
    yield from parameter_violations(operation["parameters"], given)
    good = [each for status, each in operation["responses"].items() if status[0] == "2"]
    if not any(headers["Accept"] in each.get("content", {}) for each in good):
        yield f"{method} {path} does not return {headers['Accept']}"
    yield from body_violations(operation, headers.get("Content-Type"), body)


def parameter_violations(parameters, given):
    known = {each["name"]: each for each in parameters}
    for name in given.keys() - known.keys():
        yield f"unknown parameter {name}"
    for name in given.keys() & known.keys():
        schema = known[name]["schema"]
        for error in OAS30Validator(schema).iter_errors(converted(given[name], schema)):
            yield f"{name}: {error.message}"
    for name in {name for name, each in known.items() if each.get("required")} - given.keys():
        yield f"{name} is missing"


def body_violations(operation, media, body):
    content = operation.get("requestBody", {}).get("content", {})
    if not body:
        return ["the body is missing"] if content else []
    if media not in content:
        return [f"unknown body type {media}"]
    checker = OAS30Validator(content[media]["schema"], format_checker=oas30_format_checker)
    return [error.message for error in checker.iter_errors(msgspec.json.decode(body))]


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
    ("method", "target", "accept", "expected"),
    [
        ("GET", f"/groups/{ORG}/invites?pageNum=1", "2023-01-01", "unknown parameter pageNum"),
        ("GET", f"/groups/{ORG}/users?orgMembershipStatuses=GONE", "2025-02-19", "is not one of"),
        ("GET", "/groups?itemsPerPage=501", "2023-01-01", "greater than"),
        ("GET", f"/groups/{ORG}/users", "2025-03-12", "does not return"),
        ("GET", "/groups/UPPER/invites", "2023-01-01", "does not match"),
    ],
)
def test_violation_is_detected(document, method, target, accept, expected):
    headers = {"Accept": f"application/vnd.atlas.{accept}+json"}
    (violation,) = violations(document, method, f"/api/atlas/v2{target}", headers, b"")
    assert expected in violation
