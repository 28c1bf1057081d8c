"""Load and parse a policy, or find every error in it: path and position, message and hint."""

import json
import re
from collections.abc import Collection, Iterable, Iterator
from datetime import date, datetime, timedelta
from typing import NamedTuple, get_args

from msgspec import structs
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from typing_extensions import override

from invite_sweeper.errors import UsageError
from invite_sweeper.models import INVITATION_LIFETIME, Source
from invite_sweeper.names import is_atlas_id
from invite_sweeper.policy.model import CONDITIONS, SELECTIONS, SIGNING_KIND, ReceiverKind
from invite_sweeper.policy.policy import Finding, Policy, only_pending
from invite_sweeper.policy.types import (
    PATTERNS,
    Correction,
    InvalidValue,
    join_or,
    parse_duration,
    suggest,
)
from invite_sweeper.policy.yaml_reader import (
    Document,
    KeyPath,
    Node,
    Placeholder,
    PolicyIssue,
    Severity,
    parse_yaml,
    quote,
)
from invite_sweeper.text import pluralize, shell_command, upper_first


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
        hint = f"List them with: {shell_command('validate', name)}"
        super().__init__(f"{name} has {pluralize(len(issues), 'error')}.", hint=hint)

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
    policy, errors = _parse(data, parse_yaml(data))
    if errors or policy is None:
        raise InvalidPolicy(name, tuple(sorted(errors)))
    return policy


def check_policy(
    data: bytes, today: date, credentials: Collection[str] = ()
) -> tuple[Policy | None, tuple[PolicyIssue, ...]]:
    """Parse a policy file; return it, None if it has errors, and all errors and warnings.

    Args:
        today: For entries that end, in UTC.
        credentials: The names of the sets in the environment; empty to not compare them.
    """
    document = parse_yaml(data)
    policy, errors = _parse(data, document)
    findings: list[Finding] = []
    if policy is not None:
        findings += [*policy.suspicious_entries(today), *policy.left_out_lists()]
        if credentials and not errors:
            findings += policy.unseen_organizations(credentials)
    issues = list(errors)
    for finding in findings:
        issue = _finding_issue(document, finding)
        issues.append(structs.replace(issue, severity=Severity.WARNING))
    return None if errors else policy, tuple(sorted(issues))


def _parse(data: bytes, document: Document) -> tuple[Policy | None, set[PolicyIssue]]:
    """Return the policy, and each error of the file once.

    With errors, the policy serves for warnings alone: stand-ins replace what is not valid.
    """
    errors = set(document.issues)
    if document.root is None:
        return None, errors
    values = document.root.value
    findings: list[Finding] = []
    try:
        policy = Policy.model_validate(values, context=data)
        findings += _notice_too_long(policy)
    except ValidationError as error:
        errors.update(_model_issues(document, error))
        if not isinstance(values, dict):
            return None, errors
        policy = _valid_parts(values, error)
    findings += _across_fields(values)
    errors.update(_finding_issue(document, finding) for finding in findings)
    return policy, errors


_ENTRY = {"name": "-", "expired": True}
_STAND_INS: dict[str | int, object] = {
    "version": 1,
    "organizations": ("f" * 24,),
    "sources": tuple(Source),
    "rules": (_ENTRY,),
}
"""Valid values that no warning is about."""


def _valid_parts(values: dict[str | int, object], error: ValidationError) -> Policy:
    """Return the policy with stand-ins for the keys, rules and keep entries that have errors."""
    valid = {**values}
    for detail in error.errors(include_url=False):
        key, *inner_path = detail["loc"]
        value = valid.pop(key, None)
        if key in ("rules", "keep") and inner_path and isinstance(value, tuple):
            entries = list(value)
            entries[int(inner_path[0])] = _ENTRY
            valid[key] = tuple(entries)
        elif key in _STAND_INS:
            valid[key] = _STAND_INS[key]
    return Policy.model_validate(valid)


# --- errors of the models ------------------------------------------------------------------

_EXPECTED_TYPES = {
    "string_type": "a string",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "`true` or `false`",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
}
_BOUNDS = {
    "greater_than_equal": Correction("is below {ge}", "write {ge} or more"),
    "greater_than": Correction("is not above {gt}", "write a number above {gt}"),
    "less_than_equal": Correction("is above {le}", "write {le} or less"),
    "less_than": Correction("is not below {lt}", "write a number below {lt}"),
    "finite_number": Correction("is not a finite number", "write a finite number"),
}
_TYPE_NAMES: dict[type, str] = {
    bool: "the boolean",
    int: "the number",
    float: "the number",
    str: "the string",
    datetime: "the timestamp",
    date: "the date",
}
_GONE_KEYS = {
    ("limits", "max_population_drop"): "a list counts only where it was read to its end",
    ("limits", "max_bounces"): "an invitation that comes back is judged like any other",
}
"""The keys that version 0.3.0 removed, and why none of them is needed."""
_KEY_MARKER = "[key]"
"""What pydantic appends to the path when the error is in a key."""
_KEY_SIMILARITY = 0.7


def _model_issues(document: Document, error: ValidationError) -> Iterator[PolicyIssue]:
    """Yield the errors of the models, with position, message and hint."""
    for detail in error.errors(include_url=False):
        path = tuple(step for step in detail["loc"] if step != _KEY_MARKER)
        is_about_key = detail["loc"][-1:] == (_KEY_MARKER,)
        if path in _GONE_KEYS:
            message = f"is gone since version 0.3.0: {_GONE_KEYS[path]}"
            yield _issue(document, path, message, "remove the line", at_key=True)
        elif detail["type"] == "extra_forbidden":
            yield _issue(document, path, "is not a known key", _suggest_key(path), at_key=True)
        elif detail["type"] == "missing":
            yield _issue(document, path, "is missing", f"add {_example(path)}")
        elif is_about_key:
            correction = _broken_constraint(detail, _describe(path[-1]))
            yield _issue(document, path, correction.message, correction.hint, at_key=True)
        else:
            yield from _value_issues(document, path, detail)


def _value_issues(document: Document, path: KeyPath, detail: ErrorDetails) -> Iterator[PolicyIssue]:
    """Yield the error of a value, unless it has been reported."""
    # A bare organization id was validated as a mapping; report the entry itself.
    node, path = document.find(path)
    is_reported = detail["input"] is Placeholder.UNREADABLE
    # Invalid entries do not count for pydantic, and each of them has an error of its own.
    has_invalid_entries = detail["type"] == "too_short" and node.children
    if not is_reported and not has_invalid_entries:
        correction = _correction(detail, path, node)
        yield _issue(document, path, correction.message, correction.hint)


def _finding_issue(document: Document, finding: Finding) -> PolicyIssue:
    """Return the issue of a finding, with the position of its value."""
    return _issue(document, finding.path, finding.message, finding.hint)


def _issue(
    document: Document, path: KeyPath, message: str, hint: str, *, at_key: bool = False
) -> PolicyIssue:
    """Return an issue with the position of a value; of its key on request or if it is empty."""
    node, _ = document.find(path)
    at_key |= node.value is Placeholder.EMPTY
    return document.issue(node.key_index if at_key else node.index, path, message, hint)


def _correction(detail: ErrorDetails, path: KeyPath, node: Node) -> Correction:
    """Return what is wrong with a value, and what to write instead."""
    # A file that is not a mapping is not a policy. It may hold a token, so its text is not shown.
    subject = _describe(node.value, node.text) if path else _describe_type(node.value)
    if node.value is Placeholder.EMPTY:
        field = _last_described_key(path).field
        remove = "" if field is None or field.is_required() else "remove it, or "
        return Correction("is empty", f"{remove}write {_example(path)}")
    if detail["type"] == "too_short":
        hint = f"write one entry or more, such as {_example(path)}"
        return Correction("is an empty list", hint)
    if detail["type"] in ("literal_error", "enum"):
        allowed = re.findall("'([^']*)'", detail["ctx"]["expected"])
        return Correction(f"{subject} is not an allowed value", suggest(node.value, allowed))
    expected = _EXPECTED_TYPES.get(detail["type"])
    if expected is not None:
        hint = _conversion_hint(expected, path, node)
        return Correction(f"is {subject}, not {expected}", hint)
    return _broken_constraint(detail, subject)


def _describe_type(value: object) -> str:
    """Describe a value by its type alone, such as "a string"."""
    if name := _TYPE_NAMES.get(type(value)):
        return name.replace("the ", "a ", 1)
    return "a list" if isinstance(value, tuple) else "a mapping"


def _describe(value: object, text: str | None = None) -> str:
    """Describe a value by its type and its text, such as "the number `3`" or "a list"."""
    if name := _TYPE_NAMES.get(type(value)):
        return f"{name} {quote(str(value) if text is None else text)}"
    return _describe_type(value)


def _broken_constraint(detail: ErrorDetails, subject: str) -> Correction:
    """Return what is wrong with a value by a validator, a pattern or a bound."""
    context = detail.get("ctx", {})
    invalid = context.get("error")
    if isinstance(invalid, InvalidValue):
        return Correction(f"{subject} {invalid.message}", invalid.hint)
    if "pattern" in context:
        of_pattern = PATTERNS[context["pattern"]]
        return Correction(f"the value {of_pattern.message}", of_pattern.hint)
    of_bound = _BOUNDS[detail["type"]]
    bounds = {name: f"{bound:.10g}" for name, bound in context.items()}
    message = of_bound.message.format(**bounds)
    return Correction(f"{subject} {message}", of_bound.hint.format(**bounds))


def _conversion_hint(expected: str, path: KeyPath, node: Node) -> str:
    """Return how to convert a value to the expected type, or an example."""
    if node.text is not None and expected == "a string":
        return f"quote it: {json.dumps(node.text, ensure_ascii=False)}"
    if node.text is not None and "number" in expected:
        number = _number(node.text, expected)
        if number is not None:
            return f"write `{path[-1]}: {number}`"
    return f"write {_example(path)}"


def _number(text: str, expected: str) -> str | None:
    """Return the number that a text spells for people (`1,000`, `50 %`), as YAML writes it."""
    if re.fullmatch(r"[1-9][0-9]{0,2}(,[0-9]{3})+", text):
        return text.replace(",", "")
    if re.fullmatch(r"[0-9]{1,9}", text):
        return text
    if expected != "a number":
        return None
    percentage = re.fullmatch(r"([0-9]{1,3}(?:\.[0-9]{1,3})?) ?%", text)
    if percentage is not None:
        return f"{float(percentage[1]) / 100:g}"
    if re.fullmatch(r"[0-9]{1,9}[,.][0-9]{1,9}", text):
        return text.replace(",", ".")
    return None


def _suggest_key(path: KeyPath) -> str:
    """Return the hint for an unknown key: the most similar one that is allowed there."""
    model = _last_described_key(path[:-1]).model
    allowed = tuple(model.model_fields) if model else ()
    remove = f"remove it, or write {join_or(allowed)}"
    return suggest(path[-1], allowed, remove, cutoff=_KEY_SIMILARITY)


def _example(path: KeyPath) -> str:
    """Return the last described key on a path with an example value, in YAML."""
    key = _last_described_key(path)
    if key.field is None:
        return "`version: 1`"
    example = (key.field.examples or [""])[0]
    value = example if isinstance(example, str) else json.dumps(example, ensure_ascii=False)
    return f"`{key.name}: {value}`"


class _DescribedKey(NamedTuple):
    """A key that a model describes.

    Attributes:
        field: None for the whole file.
        model: That of its value; None if its value is not a mapping, nor a list of them.
    """

    name: str
    field: FieldInfo | None
    model: type[BaseModel] | None


def _last_described_key(path: KeyPath) -> _DescribedKey:
    """Return the last key on a path that a model describes."""
    key = _DescribedKey("", None, Policy)
    for step in path:
        if key.model is not None and isinstance(step, str):
            field = key.model.model_fields[step]
            key = _DescribedKey(step, field, _find_model(field.annotation))
    return key


def _find_model(annotation: object) -> type[BaseModel] | None:
    """Return the model in an annotation such as `tuple[Rule, ...] | None`; None without one."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in get_args(annotation):
        model = _find_model(argument)
        if model is not None:
            return model
    return None


# --- errors that involve several values ----------------------------------------------------


def _across_fields(data: object) -> Iterator[Finding]:
    """Yield every error that involves several values.

    Reads the plain data, not the models, so that an error in one place does not hide an error
    in another. Values of a wrong type are skipped.
    """
    values = data if isinstance(data, dict) else {}
    org_ids = _listed_ids(values.get("organizations"))
    for key in ("organizations", "sources", "rules", "keep", "notify"):
        value = values.get(key)
        entries = value if isinstance(value, tuple) else ()
        for number, entry in enumerate(entries):
            if isinstance(entry, dict):
                path = (key, number)
                yield from _entry_errors(path, entry)
                yield from _unlisted_organizations(path, entry, org_ids)
        yield from _repeated_entries(key, entries)


def _repeated_entries(key: str, entries: Iterable[object]) -> Iterator[Finding]:
    """Yield each entry of a list that has the name of an earlier one, in any case."""
    identity = _IDENTITIES.get(key, "name")
    first_numbers: dict[str, int] = {}
    for number, entry in enumerate(entries):
        name = entry.get(identity) if isinstance(entry, dict) else entry
        if not isinstance(name, str):  # an error of its own
            continue
        first = first_numbers.setdefault(name.casefold(), number)
        if first != number:
            message = f"repeats {quote(name)} of {key}[{first}]"
            hint = _REPEAT_HINTS.get(key, "keep one of the two")
            yield Finding((key, number), message, hint)


_IDENTITIES = {"organizations": "id", "notify": "url_env"}
"""The key that two entries of a list may not share, where it is not `name`."""
_REPEAT_HINTS = {
    "notify": "name another variable: what a receiver was told is remembered by that name",
}


def _listed_ids(organizations: object) -> frozenset[str]:
    """Return the ids under `organizations`; empty where the value is not a list."""
    entries = organizations if isinstance(organizations, tuple) else ()
    ids: set[str] = set()
    for entry in entries:
        org_id = entry.get("id") if isinstance(entry, dict) else entry
        if isinstance(org_id, str):
            ids.add(org_id)
    return frozenset(ids)


def _unlisted_organizations(
    path: KeyPath, entry: dict[str, object], org_ids: frozenset[str]
) -> Iterator[Finding]:
    """Yield each id in a rule or keep entry of an organization that the policy does not read."""
    values = entry.get("organizations")
    if not isinstance(values, tuple) or not org_ids:  # what is wrong there is an error of its own
        return
    for number, value in enumerate(values):
        if isinstance(value, str) and is_atlas_id(value) and value not in org_ids:
            message = f"{quote(value)} is not under the policy's `organizations`"
            hint = "add it there, or remove it here"
            yield Finding((*path, "organizations", number), message, hint)


def _entry_errors(path: KeyPath, entry: dict[str, object]) -> Iterator[Finding]:
    """Yield what an entry lacks, or has without a use."""
    if path[0] == "rules" and not _has_condition(entry):
        hint = (
            "add `older_than`, `expired: true`, `expires_within`, `statuses` or "
            "`inviter_gone: true`"
        )
        yield Finding(path, "has no time or status condition", hint)
    keep_keys = (*CONDITIONS, *SELECTIONS)
    if path[0] == "keep" and entry.keys().isdisjoint(keep_keys):
        yield Finding(path, "would keep everything", f"add one of {join_or(keep_keys)}")
    if path[0] == "notify":
        yield from _signing_errors(path, entry)


def _has_condition(rule: dict[str, object]) -> bool:
    """Return whether a rule has a condition that makes an invitation stale.

    `expired: false` does not: it would make every invitation stale that has not expired.
    """
    conditions = rule.keys() & set(CONDITIONS)
    if conditions == {"expired"}:
        return rule["expired"] is not False
    return bool(conditions)


def _signing_errors(path: KeyPath, entry: dict[str, object]) -> Iterator[Finding]:
    """Yield a missing signing key, and one of a receiver whose messages are not signed."""
    key_path = (*path, "secret_env")
    kind = entry.get("kind")
    has_key = "secret_env" in entry
    if kind == SIGNING_KIND and not has_key:
        yield Finding(key_path, "is missing", "name the variable with the signing key")
    unsigned_kinds = set(get_args(ReceiverKind)) - {SIGNING_KIND}
    if has_key and isinstance(kind, str) and kind in unsigned_kinds:
        yield Finding(key_path, f"applies to `{SIGNING_KIND}`, not to `{kind}`", "remove it")


def _notice_too_long(policy: Policy) -> Iterator[Finding]:
    """Yield the rules whose invitations Atlas ends before a notice is over."""
    if policy.notice is None:
        return
    for number, rule in enumerate(policy.rules):
        age = rule.older_than or timedelta()
        if only_pending(rule, policy.sources) and age + policy.notice.wait >= INVITATION_LIFETIME:
            yield Finding(
                ("rules", number),
                "never deletes: Atlas ends PENDING invitations after "
                f"{INVITATION_LIFETIME.days} days, and `older_than` and `notice.wait` together "
                "reach that",
                "shorten one of them",
            )
