"""What is known of Atlas: two excerpts of its OpenAPI document, and recorded responses."""

import gzip
import re

import msgspec
from multidict import CIMultiDict
from needs import DOCUMENTS, RECORDINGS

from invite_sweeper.atlas.responses import Response


def official_document():
    found = {"paths": {}, "components": {}}
    for path in DOCUMENTS:
        excerpt = msgspec.json.decode(path.read_bytes())
        found["paths"] |= excerpt["paths"]
        for kind, components in excerpt["components"].items():
            found["components"].setdefault(kind, {}).update(components)
    return found


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
    """Return the operation of a path and the values in it; None if it has none."""
    for template, methods in document["paths"].items():
        pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", template)
        if method.lower() in methods and (found := re.fullmatch(pattern, path)):
            return resolved(document, methods[method.lower()]), found.groupdict()
    return None


def recording(name):
    """Return a recording as the client has it: decompressed, with case-insensitive headers."""
    head, body = re.split(rb"\r?\n\r?\n", (RECORDINGS / f"{name}.http").read_bytes(), maxsplit=1)
    first, *lines = head.decode("latin-1").splitlines()
    status = int(first.split()[1])
    headers = CIMultiDict(line.split(": ", 1) for line in lines)
    if headers.get("Content-Encoding") == "gzip":
        body = gzip.decompress(body)
    return Response(status, headers, b"" if status == 204 else body)
