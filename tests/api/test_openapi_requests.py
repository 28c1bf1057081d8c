"""Each request that the client can send is one of Atlas's OpenAPI document."""

import json
from urllib.parse import parse_qsl

import faults
import pytest
from builders import ORG, PROJECT, entry_of
from known_atlas import find_operation, official_document
from openapi_schema_validator import OAS30Validator, oas30_format_checker

from invite_sweeper.atlas.endpoints import ENDPOINTS, FETCH_TOKEN, REVOKE_TOKEN, build_path
from invite_sweeper.models import Source
from invite_sweeper.outcomes import Sending

pytestmark = pytest.mark.needs("document")
OF_ATLAS = sorted(ENDPOINTS - {FETCH_TOKEN, REVOKE_TOKEN}, key=str)


@pytest.fixture(scope="module")
def document():
    return official_document()


@pytest.mark.parametrize("endpoint", OF_ATLAS)
def test_path_version_and_parameters_of_each_endpoint_are_in_the_document(document, endpoint):
    page = 1 if endpoint.paged else None
    named = {"username": "ada@example.com"} if endpoint.by_username else {}
    path, query = build_path(endpoint, *[ORG] * endpoint.template.count("{}"), page=page, **named)
    operation, in_path = find_operation(document, endpoint.method, path)
    given = {name: [value] for name, value in in_path.items()}
    for name, value in parse_qsl(query, strict_parsing=bool(query)):
        given.setdefault(name, []).append(value)
    known = {each["name"]: each for each in operation["parameters"]}
    assert given.keys() <= known.keys()
    assert {name for name, each in known.items() if each.get("required")} <= given.keys()
    for name, values in given.items():
        schema = known[name]["schema"]
        value = values if schema["type"] == "array" else values[0]
        if schema["type"] in {"integer", "boolean"}:
            value = json.loads(value)
        assert list(OAS30Validator(schema).iter_errors(value)) == []
    good = [each for status, each in operation["responses"].items() if status[0] == "2"]
    assert any(endpoint.media_type in each.get("content", {}) for each in good)


@pytest.mark.parametrize("source", Source)
async def test_body_of_each_invitation_is_as_the_document_says(sim, online, document, source):
    calls = []
    sim.faults.add(faults.effect(before=calls.append), method="POST")
    sim.add_project("Alpha", project_id=PROJECT)
    async with online() as atlas:
        await atlas.inviter().invite(entry_of(source), Sending())
    (call,) = calls
    operation, _ = find_operation(document, "POST", call.path)
    schema = operation["requestBody"]["content"][call.headers["Content-Type"]]["schema"]
    validator = OAS30Validator(schema, format_checker=oas30_format_checker)
    assert list(validator.iter_errors(json.loads(call.body))) == []
