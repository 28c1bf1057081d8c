"""Every kind of answer of the simulated Atlas against Atlas's own OpenAPI document.

Where the recordings and the document differ, the recordings win: each such difference is
named below, and a test shows that it is still needed.
"""

import asyncio
import re
from pathlib import Path

import orjson
import pytest
from openapi_schema_validator import OAS30Validator, oas30_format_checker
from simulator.simulated import NOW, ORG, RATES, V2023, V2025, asking

from invite_sweeper.simulator import Access, SimulatedAtlas, faults

DOCUMENT = Path(__file__).parents[3] / "shared" / "atlas-openapi.json"
pytestmark = pytest.mark.skipif(
    not DOCUMENT.is_file(), reason="the OpenAPI document lies beside the repository, not in it"
)
PREFIX = "/api/atlas/v2"


def strip(schema, key):
    return {name: value for name, value in schema.items() if name != key}


# Each loosens one schema (given with the name of the property it belongs to).
DIFFERENCES = {
    "inviterUsername is an API key's public part": lambda name, schema: (
        strip(schema, "format") if name == "inviterUsername" else schema
    ),
    "parameters of an error are scalars": lambda name, schema: (
        strip(schema, "items") if name == "parameters" else schema
    ),
    "mobileNumber is null though not nullable": lambda name, schema: (
        schema | {"nullable": True} if name == "mobileNumber" else schema
    ),
    "project and organization names hold spaces": lambda name, schema: (
        strip(schema, "pattern") if name in {"name", "groupName", "orgName"} else schema
    ),
    "a password is required of older users and, says its description, never sent": (
        lambda _, schema: (
            schema | {"required": [each for each in schema["required"] if each != "password"]}
            if "password" in schema.get("required", ())
            else schema
        )
    ),
}
# Statuses that no operation declares, and the one that a single operation does not.
UNDECLARED = {402, 405, 406, 410}
UNDECLARED_HERE = {
    ("delete", "/groups/{groupId}/invites/{invitationId}", 400),
    ("post", "/groups/{groupId}/invites", 400),
    ("post", "/groups/{groupId}/invites", 409),
    ("get", "/groups/{groupId}/users", 400),
}


@pytest.fixture(scope="module")
def document():
    return orjson.loads(DOCUMENT.read_bytes())


def resolved(document, schema, loosen, name="", above=()):
    """The schema with its references put in place, loosened on the way."""
    if "$ref" in schema:
        target = schema["$ref"].rsplit("/", 1)[1]
        assert target not in above, "the document is not recursive"
        found = document["components"]["schemas"][target]
        return resolved(document, found, loosen, name, (*above, target))
    for each in loosen:
        schema = each(name, schema)
    result = dict(strip(schema, "discriminator"))
    if "pattern" in schema:
        # Python's `re` knows no classes of letters; `\\w` is near enough for names.
        result["pattern"] = re.sub(r"\\p\{\w\}", r"\\w", schema["pattern"])
    if "properties" in schema:
        result["properties"] = {
            key: resolved(document, value, loosen, key, above)
            for key, value in schema["properties"].items()
        }
    for key in ("allOf", "oneOf", "anyOf"):
        if key in schema:
            result[key] = [resolved(document, each, loosen, name, above) for each in schema[key]]
    if "items" in schema:
        result["items"] = resolved(document, schema["items"], loosen, f"{name}[]", above)
    return result


def operation(document, method, path):
    """The operation that a path belongs to, and its template."""
    for template, methods in document["paths"].items():
        form = re.sub(r"\{\w+\}", "[^/]+", template)
        if method.lower() in methods and re.fullmatch(form, path):
            return template.removeprefix(PREFIX), methods[method.lower()]
    raise AssertionError(f"{method} {path} is not in the document")


def faults_of(document, asked, got, loosen):
    """What the document has against one answer; empty when nothing."""
    method, path = asked
    template, declared = operation(document, method, path.partition("?")[0])
    key = str(got.status)
    if key not in declared["responses"]:
        allowed = got.status in UNDECLARED
        allowed |= (method.lower(), template, got.status) in UNDECLARED_HERE
        if not allowed:
            return [f"{method} {template} does not declare {key}"]
        if not got.body:
            return []
        schema = {"$ref": "#/components/schemas/ApiError"}
    else:
        response = declared["responses"][key]
        if "$ref" in response:
            response = document["components"]["responses"][response["$ref"].rsplit("/", 1)[1]]
        media = got.headers["Content-Type"].partition(";")[0]
        if media not in response["content"]:
            return [f"{method} {template} {key} declares no {media}"]
        schema = response["content"][media].get("schema")
        if schema is None:
            return ["a body where none is declared"] if got.body else []
    validator = OAS30Validator(
        resolved(document, schema, loosen), format_checker=oas30_format_checker
    )
    return [
        f"{method} {template} {key} {error.json_path}: {error.message}"
        for error in validator.iter_errors(got.json())
    ]


STATUSES = ("ACTIVE", "PENDING", "INVITATION_EXPIRED", "INVITATION_REJECTED")


async def successes(ask, sim, project, invitation):
    """One answer of each operation that goes well."""
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
    old_role = {"username": "newest@example.com", "roles": ["ORG_MEMBER"]}
    calls = [
        ("GET", "", V2023, None),
        ("GET", "/groups", V2023, None),
        ("GET", "/groups?includeCount=false&itemsPerPage=1", V2023, None),
        ("GET", group, V2023, None),
        ("GET", f"{group}/invites", V2023, None),
        ("GET", f"{group}/invites/{invitation}", V2023, None),
        ("POST", f"{group}/invites", V2023, role),
        ("DELETE", f"{group}/invites/{invitation}", V2023, None),
        ("GET", "/orgs", V2023, None),
        ("GET", org, V2023, None),
        ("GET", f"{org}/groups", V2023, None),
        ("GET", f"{org}/invites", V2023, None),
        ("GET", f"{org}/invites/{pending}", V2023, None),
        ("POST", f"{org}/invites", V2023, old_role),
        ("GET", f"{group}/users", V2023, None),
        ("GET", f"{org}/users", V2023, None),
        ("GET", f"{group}/users?{every}", V2025, None),
        ("GET", f"{org}/users?{every}", V2025, None),
        *(("GET", f"{group}/users/{user}?{every}", V2025, None) for user in users.values()),
        *(("GET", f"{org}/users/{user}?{every}", V2025, None) for user in users.values()),
        ("POST", f"{group}/users", V2025, role),
        ("POST", f"{org}/users", V2025, org_role),
        ("DELETE", f"{group}/users/{users['ACTIVE']}", V2025, None),
        ("DELETE", f"{org}/users/{users['ACTIVE']}", V2023, None),
        ("DELETE", f"{org}/users/{users['INVITATION_EXPIRED']}", V2025, None),
        ("DELETE", f"{org}/invites/{pending}", V2023, None),
        ("GET", "/rateLimits", RATES, None),
        ("GET", f"/rateLimits?groupId={project}", RATES, None),
        ("GET", f"/rateLimits/projects_group?groupId={project}", RATES, None),
    ]
    for method, path, accept, body in calls:
        got = await ask(method, path, accept=accept, json=body)
        assert got.status < 300, (method, path, got.body)
        yield (method, PREFIX + path), got


async def refusals(ask, sim, project):
    """One answer of each kind that is no success."""
    invites = f"/groups/{project}/invites"
    nobody = f"{invites}/{'0' * 24}"

    async def one(method, path, **rest):
        return (method, PREFIX + path), await ask(method, path, **rest)

    yield await one("DELETE", nobody)
    sim.gone_status = 400
    yield await one("DELETE", nobody)
    yield await one("GET", nobody)
    yield await one("GET", f"/groups/{'0' * 24}/invites")
    yield await one("GET", f"/orgs/{'0' * 24}/users", accept=V2025)
    yield await one("GET", "/groups?itemsPerPage=0")
    yield await one("GET", f"/groups/{project}/users?orgMembershipStatuses=X", accept=V2025)
    yield await one("GET", f"/groups/{project}/users/{'0' * 24}", accept=V2025)
    yield await one("GET", f"/orgs/{ORG}/users/{'0' * 24}", accept=V2025)
    yield await one("POST", invites, json={})
    role = {"username": "new@example.com", "roles": ["GROUP_OWNER"]}
    yield await one("POST", invites, json=role)
    yield await one("POST", f"/groups/{project}/users", accept=V2025, json=role)
    yield await one("GET", "/groups", accept="*/*")
    sim.versions.retired.add(("orgs", "*"))
    yield await one("GET", "/orgs")
    sim.limit_access(project, Access.READ)
    yield await one("GET", invites)
    sim.restore_access(project)
    sim.set_bucket("projects_group", project, capacity=1, refill=1)
    sim.spend("projects_group", project, 1)
    yield await one("GET", invites)
    for fault in (
        faults.fail_with(500),
        faults.upgrade(),
        faults.challenge(),
        faults.role_missing(),
    ):
        sim.faults.add(fault)
        yield await one("GET", "/groups")


async def everything():
    """All answers, with what was asked."""
    sim = SimulatedAtlas(lambda: NOW)
    sim.add_organization(ORG, "Example Org")
    sim.invite_rate_limit.per_minute = None
    project = sim.add_project("Data Lake", tags={"env": "sandbox"})
    sim.add_project("Second")
    invitation = sim.invite(project, "ada@example.com")
    sim.invite(project, "bob@example.com")
    async with asking(sim) as ask:
        answers = [each async for each in successes(ask, sim, project, invitation)]
        blocked = sim.add_token()
        blocked.access_list = ("192.0.2.1",)
        answers += [each async for each in refusals(ask, sim, project)]
        ask.token = blocked.secret
        answers.append((("GET", f"{PREFIX}/groups"), await ask("GET", "/groups")))
    return answers


@pytest.fixture(scope="module")
def answers():
    return asyncio.run(everything())


def test_every_answer_is_as_the_document_has_it_but_for_the_named_differences(document, answers):
    loosen = tuple(DIFFERENCES.values())
    found = [fault for asked, got in answers for fault in faults_of(document, asked, got, loosen)]
    assert found == []
    statuses = {got.status for _, got in answers}
    assert statuses == {200, 201, 204, 400, 401, 403, 404, 405, 406, 409, 410, 429, 500}


@pytest.mark.parametrize("name", DIFFERENCES)
def test_each_named_difference_is_still_one(document, answers, name):
    others = tuple(each for key, each in DIFFERENCES.items() if key != name)
    assert any(faults_of(document, asked, got, others) for asked, got in answers)


def test_every_status_that_no_operation_declares_is_still_undeclared(document):
    declared = {
        int(status)
        for methods in document["paths"].values()
        for each in methods.values()
        for status in each["responses"]
    }
    assert declared.isdisjoint(UNDECLARED)
    for method, template, status in UNDECLARED_HERE:
        assert str(status) not in document["paths"][PREFIX + template][method]["responses"]


def test_all_of_the_document_is_asked_but_for_changes_of_invitations(document, answers):
    asked = {
        (method.lower(), operation(document, method, path.partition("?")[0])[0])
        for (method, path), _ in answers
    }
    declared = {
        (method, template.removeprefix(PREFIX))
        for template, methods in document["paths"].items()
        for method in methods
    }
    assert {method for method, _ in declared - asked} == {"patch"}


def test_each_success_tells_its_rate_limit_in_whole_numbers(answers):
    for asked, got in answers:
        if got.status < 300:
            assert got.headers["RateLimit-Limit"].isdigit(), asked
            assert got.headers["RateLimit-Remaining"].isdigit(), asked
