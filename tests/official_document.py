"""Atlas's OpenAPI document: the excerpt that tests have, and the operations that it lacks."""

import re

import msgspec
from needs import DOCUMENT

PAGING = {"envelope", "pretty", "itemsPerPage", "pageNum", "includeCount"}
CLIENT = {
    "name": "clientId",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "pattern": r"^mdb_sa_id_[a-fA-F\d]{24}$"},
}
MISSING = {
    "/groups/{groupId}/teams": ("2023-01-01", {"groupId"} | PAGING, ()),
    "/orgs/{orgId}/apiKeys": ("2023-01-01", {"orgId"} | PAGING, ()),
    "/orgs/{orgId}/serviceAccounts/{clientId}": ("2024-08-05", {"orgId"}, (CLIENT,)),
}
"""Operations that the excerpt lacks: version, shared and own parameters.

Source: the document itself, https://github.com/mongodb/openapi, openapi/v2.json, read 2026-11.
"""


def official_document():
    """Return the document with the operations that the excerpt lacks."""
    document = msgspec.json.decode(DOCUMENT.read_bytes())
    known = {
        each["name"]: each
        for path in ("/groups/{groupId}/users", "/orgs/{orgId}/users")
        for each in resolved(document, document["paths"]["/api/atlas/v2" + path]["get"])[
            "parameters"
        ]
    }
    for path, (version, shared, own) in MISSING.items():
        content = {f"application/vnd.atlas.{version}+json": {"schema": {"type": "object"}}}
        document["paths"]["/api/atlas/v2" + path] = {
            "get": {
                "parameters": [*(known[name] for name in sorted(shared)), *own],
                "responses": {"200": {"description": "OK", "content": content}},
            }
        }
    return document


def resolved(document, value):
    """Return a value of the document with its references replaced by their targets."""
    if isinstance(value, dict) and "$ref" in value:
        _, *parts = value["$ref"].split("/")
        found = document
        for part in parts:
            found = found[part]
        return resolved(document, found)
    if isinstance(value, dict):
        return {key: resolved(document, each) for key, each in value.items()}
    return [resolved(document, each) for each in value] if isinstance(value, list) else value


def find_operation(document, method, path):
    """Return the template of a path, the values in it, and the operation; None if it has none."""
    for template, methods in document["paths"].items():
        pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", template)
        if method.lower() in methods and (found := re.fullmatch(pattern, path)):
            return template, found.groupdict(), methods[method.lower()]
    return None
