"""Errors of the models as issues: path and position in the file, message and hint."""

import json
import re
from collections.abc import Iterator
from functools import cache
from typing import get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from invite_sweeper.errors import PolicyIssue
from invite_sweeper.policy.messages import (
    KeyPath,
    Placeholder,
    closest,
    describe_value,
    format_path,
    join_or,
)
from invite_sweeper.policy.model import PolicyFile
from invite_sweeper.policy.types import POLICY_ERROR_TYPE
from invite_sweeper.policy.yaml_reader import Document, Node

_EXPECTED_TYPES = {
    "string_type": "a string",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "`true` or `false`",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "literal_error": "an allowed value",
}
_BOUND_MESSAGES = {
    "greater_than_equal": ("is below {ge}", "write {ge} or more"),
    "greater_than": ("is not above {gt}", "write a number above {gt}"),
    "less_than_equal": ("is above {le}", "write {le} or less"),
    "less_than": ("is not below {lt}", "write a number below {lt}"),
    "finite_number": ("is not a finite number", "write a finite number"),
}
_KEY_MARKER = "[key]"
"""What pydantic appends to the path when the error is in a key."""
_KEY_SIMILARITY = 0.7
_MAX_SUGGESTIONS = 100
"""Finding a similar key is slow; a file with more unknown keys is not a policy."""


def issue_at_value(document: Document, path: KeyPath, message: str, hint: str) -> PolicyIssue:
    """Return an issue with the position of a value; of its key if the value is empty."""
    node, _ = document.find(path)
    is_empty = node.value is Placeholder.EMPTY
    line, column = document.position(node.key_index if is_empty else node.index)
    return PolicyIssue(line, column, format_path(path), message, hint)


def model_issues(document: Document, error: ValidationError) -> Iterator[PolicyIssue]:
    """Yield the errors of the models, with position, message and hint."""
    suggestions = _MAX_SUGGESTIONS
    for detail in error.errors(include_url=False):
        path = tuple(step for step in detail["loc"] if step != _KEY_MARKER)
        if detail["type"] == "extra_forbidden":
            suggestions -= 1
            hint = _suggest_key(path) if suggestions >= 0 else "remove it"
            yield _issue_at_key(document, path, "is not a known key", hint)
        elif detail["type"] == "missing":
            yield issue_at_value(document, path, "is missing", f"add {_example(path)}")
        elif detail["loc"][-1:] == (_KEY_MARKER,):
            message, hint = _constraint_message(detail, describe_value(path[-1]))
            yield _issue_at_key(document, path, message, hint)
        elif detail["input"] is not Placeholder.UNREADABLE:
            # A bare organization id was validated as a mapping; report the entry itself.
            node, path = document.find(path)
            if detail["type"] != "too_short" or not node.children:
                yield issue_at_value(document, path, *_message_and_hint(detail, path, node))


def _issue_at_key(document: Document, path: KeyPath, message: str, hint: str) -> PolicyIssue:
    node, _ = document.find(path)
    return PolicyIssue(*document.position(node.key_index), format_path(path), message, hint)


def _message_and_hint(detail: ErrorDetails, path: KeyPath, node: Node) -> tuple[str, str]:
    subject = describe_value(node.value, node.text)
    if node.value is Placeholder.EMPTY:
        field = _field_at(path)
        remove = "" if field is None or field.is_required() else "remove it, or "
        return "is empty", f"{remove}write {_example(path)}"
    if detail["type"] == "too_short":
        return "is an empty list", f"write one entry or more, such as {_example(path)}"
    if detail["type"] == "literal_error":
        return _unknown_value_message(subject, path, node)
    if expected := _EXPECTED_TYPES.get(detail["type"]):
        return f"is {subject}, not {expected}", _conversion_hint(expected, path, node)
    return _constraint_message(detail, subject)


def _constraint_message(detail: ErrorDetails, subject: str) -> tuple[str, str]:
    """Return the text of an error of a validator or a bound, with the value as subject."""
    context = detail.get("ctx", {})
    if detail["type"] == POLICY_ERROR_TYPE:
        described = subject if context["quote"] else "the value"
        return f"{described} {context['message']}", context["hint"]
    message, hint = _BOUND_MESSAGES[detail["type"]]
    bounds = {name: f"{bound:.10g}" for name, bound in context.items()}
    return f"{subject} {message.format(**bounds)}", hint.format(**bounds)


def _conversion_hint(expected: str, path: KeyPath, node: Node) -> str:
    """Return how to convert a value to the expected type, or an example."""
    if node.text is None:
        if expected == "a string" and node.children and node.children.keys() <= {"date", "run_id"}:
            return f'quote it: "{{{"}{".join(map(str, node.children))}}}"'
        return f"write {_example(path)}"
    quoted = json.dumps(node.text, ensure_ascii=False)
    if expected == "a string":
        return f"quote it: {quoted}"
    number = _number(node.text, expected) if "number" in expected else None
    return f"write `{path[-1]}: {number}`" if number else f"write {_example(path)}"


def _number(text: str, expected: str) -> str | None:
    """Return the number that a text spells for people (`1,000`, `50 %`), as YAML writes it."""
    if re.fullmatch(r"[1-9][0-9]{0,2}(,[0-9]{3})+", text):
        return text.replace(",", "")
    if re.fullmatch(r"[0-9]{1,9}", text):
        return text
    if expected != "a number":
        return None
    if share := re.fullmatch(r"([0-9]{1,3}(?:\.[0-9]{1,3})?) ?%", text):
        return f"{float(share[1]) / 100:g}"
    return text.replace(",", ".") if re.fullmatch(r"[0-9]{1,9}[,.][0-9]{1,9}", text) else None


def _unknown_value_message(subject: str, path: KeyPath, node: Node) -> tuple[str, str]:
    field = _field_at(path)
    allowed = get_args(field.annotation) if field else ()
    suggestion = closest(node.value, allowed) if isinstance(node.value, str) else None
    hint = f"write {join_or((suggestion,) if suggestion else allowed)}"
    return f"{subject} is not an allowed value", hint


def _suggest_key(path: KeyPath) -> str:
    """Suggest the key's right place, a similar key, or else the allowed keys."""
    unknown = str(path[-1])
    allowed = _known_keys(path[:-1])
    locations = _key_locations()
    if unknown in locations:
        return f"it belongs {locations[unknown]}"
    if suggestion := closest(unknown, allowed, _KEY_SIMILARITY):
        return f"write `{suggestion}`"
    if suggestion := closest(unknown, locations, _KEY_SIMILARITY):
        return f"write `{suggestion}` {locations[suggestion]}"
    return f"remove it, or write {join_or(allowed)}"


@cache
def _key_locations() -> dict[str, str]:
    locations = dict.fromkeys(PolicyFile.model_fields, "at the top of the file")
    for name, info in PolicyFile.model_fields.items():
        model = _find_model(info.annotation)
        for key in model.model_fields if model else ():
            locations.setdefault(key, f"under `{name}`")
    return locations


def _known_keys(path: KeyPath) -> tuple[str, ...]:
    field = _field_at(path)
    model = _find_model(field.annotation) if field else PolicyFile
    return tuple(model.model_fields) if model else ()


def _example(path: KeyPath) -> str:
    """Return the last described key on a path with an example value, in YAML."""
    name, field = _last_described_key(path)
    if field is None:
        return "`version: 1`"
    example = (field.examples or [""])[0]
    value = example if isinstance(example, str) else json.dumps(example, ensure_ascii=False)
    return f"`{name}: {value}`"


def _field_at(path: KeyPath) -> FieldInfo | None:
    return _last_described_key(path)[1]


def _last_described_key(path: KeyPath) -> tuple[str, FieldInfo | None]:
    """Return the last key on a path that a model describes, and its field."""
    model: type[BaseModel] | None = PolicyFile
    found: tuple[str, FieldInfo | None] = ("", None)
    for step in path:
        if model is not None and isinstance(step, str):
            found = (step, model.model_fields[step])
            model = _find_model(model.model_fields[step].annotation)
    return found


def _find_model(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    models = (_find_model(argument) for argument in get_args(annotation))
    return next((model for model in models if model is not None), None)
