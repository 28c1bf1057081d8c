"""Responses of the simulated Atlas match Atlas's OpenAPI document.

Where the recordings differ from the document, the recordings are right. Each difference is named
below, and a test checks that it still exists.
"""

import asyncio
import re

import msgspec
import pytest
from needs import DOCUMENT
from official_document import find_operation, resolved
from openapi_schema_validator import OAS30Validator, oas30_format_checker
from simulator.exchanges import EXCHANGES, World

from invite_sweeper.simulator.api import SERVED_ENDPOINTS

pytestmark = pytest.mark.needs("document")
PREFIX = "/api/atlas/v2"


def strip(schema, key):
    return {name: value for name, value in schema.items() if name != key}


# Each relaxes one schema; called with the name of its property.
DIFFERENCES = {
    "inviterUsername is an API key's public key": lambda name, schema: (
        strip(schema, "format") if name == "inviterUsername" else schema
    ),
    "parameters of an error are scalars": lambda name, schema: (
        strip(schema, "items") if name == "parameters" else schema
    ),
    "project and organization names contain spaces": lambda name, schema: (
        strip(schema, "pattern") if name in {"name", "groupName", "orgName"} else schema
    ),
}
# Statuses that no operation declares, and those that single operations do not declare.
UNDECLARED = {402, 405, 406, 410}
UNDECLARED_HERE = {
    ("delete", "/groups/{groupId}/invites/{invitationId}", 400),
    ("post", "/groups/{groupId}/invites", 400),
    ("post", "/groups/{groupId}/invites", 409),
    ("get", "/groups/{groupId}/users", 400),
}


@pytest.fixture(scope="module")
def document():
    return msgspec.json.decode(DOCUMENT.read_bytes())


def relaxed(schema, relax, name=""):
    """Return a schema without references, with its differences relaxed."""
    for each in relax:
        schema = each(name, schema)
    result = dict(strip(schema, "discriminator"))
    if "pattern" in schema:
        # Python's `re` has no Unicode classes; `\\w` is close enough for names.
        result["pattern"] = re.sub(r"\\p\{\w\}", r"\\w", schema["pattern"])
    if "properties" in schema:
        found = schema["properties"].items()
        result["properties"] = {key: relaxed(value, relax, key) for key, value in found}
    for key in ("allOf", "oneOf", "anyOf"):
        if key in schema:
            result[key] = [relaxed(each, relax, name) for each in schema[key]]
    if "items" in schema:
        result["items"] = relaxed(schema["items"], relax, f"{name}[]")
    return result


def violations(document, request_line, response, relax):
    """Return the violations of the document in one response."""
    method, path = request_line
    found = find_operation(document, method, path.partition("?")[0])
    if found is None:
        return []
    template, _, declared = found
    template = template.removeprefix(PREFIX)
    key = str(response.status)
    if key not in declared["responses"]:
        allowed = response.status in UNDECLARED
        allowed |= (method.lower(), template, response.status) in UNDECLARED_HERE
        if not allowed:
            return [f"{method} {template} does not declare {key}"]
        if not response.body:
            return []
        schema = resolved(document, {"$ref": "#/components/schemas/ApiError"})
    else:
        declared_response = resolved(document, declared["responses"][key])
        media = response.headers["Content-Type"].partition(";")[0]
        if media not in declared_response["content"]:
            return [f"{method} {template} {key} declares no {media}"]
        schema = declared_response["content"][media].get("schema")
        if schema is None:
            return ["a body where none is declared"] if response.body else []
    validator = OAS30Validator(relaxed(schema, relax), format_checker=oas30_format_checker)
    return [
        f"{method} {template} {key} {error.json_path}: {error.message}"
        for error in validator.iter_errors(response.json())
    ]


async def all_responses():
    """Return each response of the table with its request."""
    found = []
    for exchange in EXCHANGES:
        path, response = await exchange.respond(World())
        found.append(((exchange.method, PREFIX + path), response))
    return found


@pytest.fixture(scope="module")
def responses():
    return asyncio.run(all_responses())


def test_every_response_matches_the_document_except_named_differences(document, responses):
    relax = tuple(DIFFERENCES.values())
    found = [
        violation
        for request_line, response in responses
        for violation in violations(document, request_line, response, relax)
    ]
    assert found == []
    statuses = {response.status for _, response in responses}
    assert statuses == {200, 201, 204, 400, 401, 403, 404, 405, 406, 409, 410, 429, 500}


@pytest.mark.parametrize("name", DIFFERENCES)
def test_each_named_difference_still_exists(document, responses, name):
    others = tuple(each for key, each in DIFFERENCES.items() if key != name)
    assert any(
        violations(document, request_line, response, others) for request_line, response in responses
    )


def without_names(template):
    """Return a template of the document as the simulated Atlas has it."""
    return re.sub(r"\{\w+\}", "{}", template.removeprefix(PREFIX))


def test_every_operation_of_the_table_that_is_declared_is_requested(document, responses):
    requested = {
        (method.lower(), without_names(found[0]))
        for (method, path), _ in responses
        if (found := find_operation(document, method, path.partition("?")[0]))
    }
    served = {(method.lower(), template) for method, template in SERVED_ENDPOINTS}
    declared = {
        (method, without_names(template))
        for template, methods in document["paths"].items()
        for method in methods
    }
    assert requested == served & declared
