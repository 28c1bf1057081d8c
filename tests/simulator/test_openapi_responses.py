"""Responses of the simulated Atlas match Atlas's OpenAPI document.

Where the recordings differ from the document, the recordings are right. Each difference is named
below, and a test checks that it still exists.
"""

import asyncio
import re

import faults
import msgspec
import pytest
from buckets import set_bucket, spend
from needs import DOCUMENT
from openapi_schema_validator import OAS30Validator, oas30_format_checker
from simulator.simulated import NOW, ORG, V2023, V2025, open_client

from invite_sweeper.simulator import Access, SimulatedAtlas
from invite_sweeper.simulator.api import ENDPOINTS

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
    "mobileNumber is null though not nullable": lambda name, schema: (
        schema | {"nullable": True} if name == "mobileNumber" else schema
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


def resolved(document, schema, relax, name="", above=()):
    """Return the schema with its references resolved and its differences relaxed."""
    if "$ref" in schema:
        target = schema["$ref"].rsplit("/", 1)[1]
        assert target not in above, "the document is not recursive"
        found = document["components"]["schemas"][target]
        return resolved(document, found, relax, name, (*above, target))
    for each in relax:
        schema = each(name, schema)
    result = dict(strip(schema, "discriminator"))
    if "pattern" in schema:
        # Python's `re` has no Unicode classes; `\\w` is close enough for names.
        result["pattern"] = re.sub(r"\\p\{\w\}", r"\\w", schema["pattern"])
    if "properties" in schema:
        result["properties"] = {
            key: resolved(document, value, relax, key, above)
            for key, value in schema["properties"].items()
        }
    for key in ("allOf", "oneOf", "anyOf"):
        if key in schema:
            result[key] = [resolved(document, each, relax, name, above) for each in schema[key]]
    if "items" in schema:
        result["items"] = resolved(document, schema["items"], relax, f"{name}[]", above)
    return result


def operation(document, method, path):
    """Return the template and operation of a path."""
    for template, methods in document["paths"].items():
        form = re.sub(r"\{\w+\}", "[^/]+", template)
        if method.lower() in methods and re.fullmatch(form, path):
            return template.removeprefix(PREFIX), methods[method.lower()]
    raise AssertionError(f"{method} {path} is not in the document")


def violations(document, request_line, response, relax):
    """Return the violations of the document in one response."""
    method, path = request_line
    template, declared = operation(document, method, path.partition("?")[0])
    key = str(response.status)
    if key not in declared["responses"]:
        allowed = response.status in UNDECLARED
        allowed |= (method.lower(), template, response.status) in UNDECLARED_HERE
        if not allowed:
            return [f"{method} {template} does not declare {key}"]
        if not response.body:
            return []
        schema = {"$ref": "#/components/schemas/ApiError"}
    else:
        declared_response = declared["responses"][key]
        if "$ref" in declared_response:
            name = declared_response["$ref"].rsplit("/", 1)[1]
            declared_response = document["components"]["responses"][name]
        media = response.headers["Content-Type"].partition(";")[0]
        if media not in declared_response["content"]:
            return [f"{method} {template} {key} declares no {media}"]
        schema = declared_response["content"][media].get("schema")
        if schema is None:
            return ["a body where none is declared"] if response.body else []
    validator = OAS30Validator(
        resolved(document, schema, relax), format_checker=oas30_format_checker
    )
    return [
        f"{method} {template} {key} {error.json_path}: {error.message}"
        for error in validator.iter_errors(response.json())
    ]


STATUSES = ("ACTIVE", "PENDING", "INVITATION_EXPIRED", "INVITATION_REJECTED")


async def successes(request, sim, project, invitation):
    """Yield one successful response of each operation."""
    users = {
        status: sim.add_user(
            f"{status.lower()}.doe@example.com",
            status=status,
            group_roles={project: ["GROUP_OWNER"]},
            team_ids=["5" * 24],
        )
        for status in STATUSES
    }
    every = "&".join(f"orgMembershipStatuses={each}" for each in STATUSES)
    pending = sim.user(users["PENDING"]).invitation_id
    group, org = f"/groups/{project}", f"/orgs/{ORG}"
    role = {"username": "new@example.com", "roles": ["GROUP_OWNER"]}
    org_role = {"username": "newer@example.com", "roles": {"orgRoles": ["ORG_MEMBER"]}}
    calls = [
        ("GET", "/groups", V2023, None),
        ("GET", "/groups?includeCount=false&itemsPerPage=1", V2023, None),
        ("GET", f"{group}/invites", V2023, None),
        ("POST", f"{group}/invites", V2023, role),
        ("DELETE", f"{group}/invites/{invitation}", V2023, None),
        ("GET", "/orgs", V2023, None),
        ("GET", f"{org}/invites", V2023, None),
        ("GET", f"{group}/users?{every}", V2025, None),
        ("GET", f"{org}/users?{every}", V2025, None),
        *(("GET", f"{group}/users/{user}?{every}", V2025, None) for user in users.values()),
        *(("GET", f"{org}/users/{user}?{every}", V2025, None) for user in users.values()),
        ("POST", f"{group}/users", V2025, role),
        ("POST", f"{org}/users", V2025, org_role),
        ("DELETE", f"{group}/users/{users['ACTIVE']}", V2025, None),
        ("DELETE", f"{org}/users/{users['ACTIVE']}", V2025, None),
        ("DELETE", f"{org}/users/{users['INVITATION_EXPIRED']}", V2025, None),
        ("DELETE", f"{org}/invites/{pending}", V2023, None),
    ]
    for method, path, accept, body in calls:
        response = await request(method, path, accept=accept, json=body)
        assert response.status < 300, (method, path, response.body)
        yield (method, PREFIX + path), response


async def refusals(request, sim, project):
    """Yield one error response of each kind."""
    invites = f"/groups/{project}/invites"
    unknown = f"{invites}/{'0' * 24}"

    async def send(method, path, **options):
        return (method, PREFIX + path), await request(method, path, **options)

    yield await send("DELETE", unknown)
    sim.gone_status = 400
    yield await send("DELETE", unknown)
    yield await send("GET", f"/groups/{'0' * 24}/invites")
    yield await send("GET", f"/orgs/{'0' * 24}/users", accept=V2025)
    yield await send("GET", "/groups?itemsPerPage=0")
    yield await send("GET", f"/groups/{project}/users?orgMembershipStatuses=X", accept=V2025)
    yield await send("GET", f"/groups/{project}/users/{'0' * 24}", accept=V2025)
    yield await send("GET", f"/orgs/{ORG}/users/{'0' * 24}", accept=V2025)
    yield await send("POST", invites, json={})
    role = {"username": "new@example.com", "roles": ["GROUP_OWNER"]}
    yield await send("POST", invites, json=role)
    yield await send("POST", f"/groups/{project}/users", accept=V2025, json=role)
    yield await send("GET", "/groups", accept="*/*")
    sim.versions.retired.add(("orgs", "*"))
    yield await send("GET", "/orgs")
    sim.limit_access(project, Access.READ)
    yield await send("GET", invites)
    sim.limit_access(project, Access.OWNER)
    set_bucket(sim, "projects_group", project, capacity=1, refill=1)
    spend(sim, project)
    yield await send("GET", invites)
    for fault in (
        faults.fail_with(500),
        faults.upgrade(),
        faults.challenge(),
        faults.role_missing(),
    ):
        sim.faults.add(fault)
        yield await send("GET", "/groups")


async def all_responses():
    """Return all responses with their requests."""
    sim = SimulatedAtlas(lambda: NOW)
    sim.add_organization(ORG, "Example Org")
    sim.invite_rate_limit.per_minute = None
    project = sim.add_project("Data Lake", tags={"env": "sandbox"})
    sim.add_project("Second")
    invitation = sim.invite(project, "ada@example.com")
    sim.invite(project, "bob@example.com")
    async with open_client(sim) as request:
        responses = [each async for each in successes(request, sim, project, invitation)]
        blocked = sim.add_token()
        blocked.access_list = ("192.0.2.1",)
        responses += [each async for each in refusals(request, sim, project)]
        request.token = blocked.secret
        responses.append((("GET", f"{PREFIX}/groups"), await request("GET", "/groups")))
    return responses


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


def test_undeclared_statuses_are_still_undeclared(document):
    declared = {
        int(status)
        for methods in document["paths"].values()
        for each in methods.values()
        for status in each["responses"]
    }
    assert declared.isdisjoint(UNDECLARED)
    for method, template, status in UNDECLARED_HERE:
        assert str(status) not in document["paths"][PREFIX + template][method]["responses"]


def test_every_operation_of_the_table_that_is_declared_is_requested(document, responses):
    requested = {
        (method.lower(), operation(document, method, path.partition("?")[0])[0])
        for (method, path), _ in responses
    }
    served = {(each.method.lower(), each.template) for each in ENDPOINTS}
    declared = {
        (method, template.removeprefix(PREFIX))
        for template, methods in document["paths"].items()
        for method in methods
    }
    assert requested == served & declared


def test_each_success_has_integer_rate_limit_headers(responses):
    for request_line, response in responses:
        if response.status < 300:
            assert response.headers["RateLimit-Limit"].isdigit(), request_line
            assert response.headers["RateLimit-Remaining"].isdigit(), request_line
