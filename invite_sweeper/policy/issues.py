"""Load and parse a policy, or find every error in it: path and position, message and hint."""

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime, timedelta
from typing import Final

from msgspec import structs
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from typing_extensions import override

from invite_sweeper.errors import UsageError
from invite_sweeper.policy.model import (
    CONDITIONS,
    NOT_SIGNED,
    SELECTIONS,
    UNSIGNED,
    AuditSettings,
    Execution,
    Keep,
    Limits,
    NoticeSettings,
    Notification,
    Organization,
    ProjectScope,
    Rule,
)
from invite_sweeper.policy.policy import Finding, Policy
from invite_sweeper.policy.types import InvalidValue, parse_duration
from invite_sweeper.policy.yaml_reader import (
    NULL,
    KeyPath,
    Node,
    NotReadableError,
    PolicyIssue,
    Severity,
    Unusable,
    issue_at,
    parse_yaml,
    quote,
)
from invite_sweeper.text import is_atlas_id, pluralize, shell_command, upper_first


class InvalidPolicy(UsageError):
    """The policy is not valid.

    Attributes:
        name: The file name as the user wrote it.
        issues: All errors, at least one, in the order of the file.
    """

    help_topic = "policy"

    def __init__(self, name: str, issues: tuple[PolicyIssue, ...]) -> None:
        self.name = name
        self.issues = issues
        super().__init__(
            f"{name} has {pluralize(len(issues), 'error')}.",
            hint="List them with:",
            command=shell_command("validate", name),
        )

    @override
    def lines(self) -> tuple[str, ...]:
        """Return one line per error: `file:line:column: where: message; hint`."""
        return tuple(issue.text(self.name) for issue in self.issues)


def parse_duration_option(option: str, text: str) -> timedelta:
    """Parse the duration of an option.

    Raises:
        UsageError: It is not a duration, or not above zero.
    """
    try:
        return parse_duration(text)
    except InvalidValue as error:
        hint = f"{upper_first(error.hint)}."
        raise UsageError(f"{option} {text!r} {error.message}.", hint=hint) from None


def parse_policy(data: bytes, name: str) -> Policy:
    """Parse the bytes of a policy file.

    Args:
        data: The whole file; any bytes.
        name: The file's name as the operator gave it; precedes each error.

    Raises:
        InvalidPolicy: The file has errors. It lists all of them.
    """
    policy, _ = _parse(data, name)
    return policy


def check_policy(data: bytes, today: date) -> tuple[Policy | None, tuple[PolicyIssue, ...]]:
    """Parse a policy file; return it and its warnings, or None and its errors.

    Args:
        today: For entries that end, in UTC.
    """
    try:
        policy, root = _parse(data, "")
    except InvalidPolicy as error:
        return None, error.issues
    found = sorted(_issue(root, finding) for finding in policy.findings(today))
    return policy, tuple(structs.replace(each, severity=Severity.WARNING) for each in found)


def _parse(data: bytes, name: str) -> tuple[Policy, Node]:
    """Return a policy, and where its values are; as `parse_policy`."""
    try:
        document = parse_yaml(data)
    except NotReadableError as error:
        raise InvalidPolicy(name, (error.issue,)) from None
    root = document.root
    errors = {*document.issues, *(_issue(root, finding) for finding in _across_fields(root.value))}
    policy = None
    try:
        policy = Policy.model_validate(root.value, context=data)
        errors.update(_issue(root, finding) for finding in policy.rules_without_effect())
    except ValidationError as error:
        errors.update(_model_issues(root, error))
    if policy is None or errors:
        raise InvalidPolicy(name, tuple(sorted(errors)))
    return policy, root


def _issue(root: Node, finding: Finding) -> PolicyIssue:
    """Return the error of a finding, with the position of its value."""
    node, _ = root.find(finding.path)
    return issue_at(node.at, finding.path, finding.message, finding.hint)


# --- errors of the models ------------------------------------------------------------------

_EXAMPLE: Final = "write {example}"
_FIXES: Final = {
    "missing": ("is missing", "add {example}"),
    "extra_forbidden": ("is not a known key", "{similar}"),
    "too_short": ("is an empty list", "write one entry or more, such as {example}"),
    "string_type": ("is {type}, not a string", "{quoted}"),
    "int_type": ("is {type}, not a whole number", _EXAMPLE),
    "float_type": ("is {type}, not a number", _EXAMPLE),
    "bool_type": ("is {type}, not `true` or `false`", _EXAMPLE),
    "tuple_type": ("is {type}, not a list", _EXAMPLE),
    "dict_type": ("is {type}, not a mapping", _EXAMPLE),
    "model_type": ("is {type}, not a mapping", _EXAMPLE),
    "literal_error": ("{value}is not an allowed value", "write one of {expected}"),
    "enum": ("{value}is not an allowed value", "write one of {expected}"),
    "greater_than_equal": ("{value}is below {ge:.10g}", "write {ge:.10g} or more"),
    "greater_than": ("{value}is not above {gt:.10g}", "write more than {gt:.10g}"),
    "less_than_equal": ("{value}is above {le:.10g}", "write {le:.10g} or less"),
    "less_than": ("{value}is not below {lt:.10g}", "write less than {lt:.10g}"),
    "finite_number": ("{value}is not a finite number", _EXAMPLE),
    "value_error": ("{value}{error.message}", "{error.hint}"),
    # Of texts that may be a secret, which must not reach a log; some by their pattern.
    UNSIGNED: ("is missing", "name the variable with the signing key"),
    NOT_SIGNED: ("is for a receiver of another kind", "remove it"),
    "^[0-9a-f]{24}$": ("is not an organization id", "write 24 hex digits (0-9, a-f)"),
    "^[A-Z0-9_]+$": (
        "is not a credentials name",
        "use upper-case letters, digits and `_`: the suffix of the variables' names",
    ),
    "^[A-Z_][A-Z0-9_]*$": (
        "is not an environment variable name",
        "write the variable's name in upper case, never the URL or secret itself",
    ),
}
"""What is wrong with a value and what to write instead, by the type of pydantic's error."""
_TYPE_NAMES: Final[dict[type, str]] = {
    bool: "a boolean",
    int: "a number",
    float: "a number",
    str: "a string",
    datetime: "a timestamp",
    date: "a date",
    tuple: "a list",
    dict: "a mapping",
}
_KEY_MARKER: Final = "[key]"
"""What pydantic appends to the path when the error is in a key."""


def _model_issues(root: Node, error: ValidationError) -> Iterator[PolicyIssue]:
    """Yield the errors of the models, with position, message and fix."""
    for detail in error.errors(include_url=False):
        path = tuple(step for step in detail["loc"] if step != _KEY_MARKER)
        node, found_path = root.find(path)
        if not isinstance(node.value, dict):
            path = found_path  # an organization without credentials is validated as a mapping
        # Invalid entries do not count for pydantic, and each of them has an error of its own.
        if detail["type"] == "too_short" and node.children:
            continue
        is_about_key = detail["type"] == "extra_forbidden" or _KEY_MARKER in detail["loc"]
        is_at_key = is_about_key or detail["input"] is NULL
        message, fix = _correction(detail, path, str(path[-1]) if is_about_key else node.text)
        yield issue_at(node.key_at if is_at_key else node.at, path, message, fix)


def _correction(detail: ErrorDetails, path: KeyPath, text: str | None) -> tuple[str, str]:
    """Return what is wrong with a value or a key, and what to write instead.

    Args:
        text: How the file spells it; None for a list or a mapping.
    """
    value = detail["input"]
    context = detail.get("ctx", {})
    message, fix = _FIXES[context.get("pattern", detail["type"])]
    if detail["type"] == "extra_forbidden":
        pass  # what an unknown key has does not matter
    elif value is NULL:
        message, fix = value.message, _EXAMPLE
    elif isinstance(value, Unusable):
        message = value.message
    # The keys that the models have, not those of tags; of the whole file, the first.
    keys = [step for step in path if isinstance(step, str)][:2] or ["version"]
    known = (_PARTS[keys[0]] if len(keys) > 1 else Policy).model_fields
    example = f"`{keys[-1]}: {_example(known.get(keys[-1]))}`"
    texts = {
        "type": _TYPE_NAMES.get(type(value)),
        "value": "" if text is None else f"{quote(text)} ",
        "quoted": f"write {example}" if text is None else f'quote it: "{text}"',
        "similar": _similar_key(keys[-1], known),
        "example": example,
        **context,
    }
    return message.format(**texts), fix.format(**texts)


_PARTS: Final[dict[str, type[BaseModel]]] = {
    "organizations": Organization,
    "projects": ProjectScope,
    "rules": Rule,
    "keep": Keep,
    "limits": Limits,
    "execution": Execution,
    "audit": AuditSettings,
    "notice": NoticeSettings,
    "notify": Notification,
}
"""The keys of a policy whose values have keys."""


def _similar_key(name: str, known: Iterable[str]) -> str:
    """Return the fix of an unknown key: the one that is written nearly so, if there is one."""
    similar = difflib.get_close_matches(name[:_MAX_COMPARED].casefold(), known, n=1, cutoff=0.7)
    return f"write `{similar[0]}`" if similar else "remove it"


def _example(field: FieldInfo | None) -> str:
    """Return an example of a value as YAML; nothing for an unknown key."""
    if field is None:
        return ""
    (example, *_) = field.examples or ("",)
    return example if isinstance(example, str) else json.dumps(example)


_MAX_COMPARED: Final = 64
"""A longer word is not a typing error, and comparing it is slow."""


# --- errors that involve several values ----------------------------------------------------

_IDENTITIES: Final = {
    "organizations": "id",
    "sources": "name",
    "rules": "name",
    "keep": "name",
    "notify": "url_env",
}
"""The key that two entries of a list may not share; a text stands for an entry with that key."""
_NEEDED: Final = {
    "rules": (
        CONDITIONS,
        "has no time or status condition",
        "add `older_than`, `expired: true`, `expires_within`, `statuses` or `inviter_gone: true`",
    ),
    "keep": (
        (*CONDITIONS, *SELECTIONS),
        "would keep everything",
        "add `usernames` or another condition",
    ),
}
"""The keys of which an entry needs one, and its error without any."""


def _across_fields(values: object) -> Iterator[Finding]:
    """Yield every error that involves several values.

    Reads the plain data, not the models, so that an error in one place does not hide an error
    in another. Values of a wrong type are skipped.
    """
    if isinstance(values, dict):
        yield from _repeated_entries(values)
        yield from _condition_errors(values)


def _repeated_entries(values: Mapping[str, object]) -> Iterator[Finding]:
    """Yield each entry of a list that repeats another one."""
    for key, identity in _IDENTITIES.items():
        first_numbers: dict[str, int] = {}
        for number, entry in _entries(values, key):
            name = entry.get(identity)
            if isinstance(name, str):
                first = first_numbers.setdefault(name.casefold(), number)
                if first != number:
                    yield Finding((key, number), f"repeats {key}[{first}]", "keep one of the two")


def _condition_errors(values: Mapping[str, object]) -> Iterator[Finding]:
    """Yield what a rule or a keep entry lacks, and the organizations that the policy lacks."""
    listed_ids = [entry.get("id") for _, entry in _entries(values, "organizations")]
    for key, (needed, message, hint) in _NEEDED.items():
        for number, entry in _entries(values, key):
            given = entry.keys() & needed
            if key == "rules" and entry.get("expired") is False:
                given -= {"expired"}  # it would make all stale that have not expired
            if not given:
                yield Finding((key, number), message, hint)
            for place, org_id in enumerate(_tuple(entry.get("organizations"))):
                is_id = isinstance(org_id, str) and is_atlas_id(org_id)
                if is_id and listed_ids and org_id not in listed_ids:
                    yield Finding(
                        (key, number, "organizations", place),
                        f"{quote(str(org_id))} is not under the policy's `organizations`",
                        "add it there, or remove it here",
                    )


def _entries(values: Mapping[str, object], key: str) -> Iterator[tuple[int, Mapping[str, object]]]:
    """Yield the entries of a list with their numbers."""
    for number, entry in enumerate(_tuple(values.get(key))):
        if isinstance(entry, str):
            yield number, {_IDENTITIES[key]: entry}
        elif isinstance(entry, dict):
            yield number, entry


def _tuple(value: object) -> tuple[object, ...]:
    """Return a list; an empty one for any other value."""
    return value if isinstance(value, tuple) else ()
