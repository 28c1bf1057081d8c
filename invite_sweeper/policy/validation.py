"""Cross-field checks; every fault as message + fix."""

import json
import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import NamedTuple, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from invite_sweeper.errors import Fault
from invite_sweeper.policy.messages import Mark, Path, kind, listed, nearest, place_in_words, shown
from invite_sweeper.policy.model import CONDITIONS, SELECTIONS, PolicyFile
from invite_sweeper.policy.types import WRONG
from invite_sweeper.policy.yaml_reader import Document, Node

# What no single value shows: lists without repetition, rules with a condition.
#
# These look at the plain data and not at the models, so that a fault in one place does not
# hide what is missing in another.


_MATCHERS = (*CONDITIONS, *SELECTIONS)
_PLACEHOLDERS = ("{date}", "{run_id}")


class Finding(NamedTuple):
    """A fault and the way to it."""

    path: Path
    what: str
    hint: str


def findings(data: object) -> Iterator[Finding]:
    """Find every fault of the whole; values of a wrong type are passed over."""
    if not isinstance(data, dict):
        return
    yield from _repeated(data, "organizations", _organization_id)
    yield from _repeated(data, "sources", lambda entry: entry)
    yield from _repeated(data, "rules", _folded_name)
    yield from _repeated(data, "keep", _folded_name)
    for path, rule in _mappings(data, "rules"):
        yield from _without_condition(path, rule)
    for path, entry in _mappings(data, "keep"):
        if not any(key in entry for key in _MATCHERS):
            yield Finding(path, "would keep everything", f"add one of {listed(_MATCHERS)}")
    for path, entry in _mappings(data, "notify"):
        yield from _secret(path, entry)
    yield from _audit_path(data)


def _entries(data: dict[str, object], key: str) -> tuple[object, ...]:
    entries = data.get(key)
    return entries if isinstance(entries, tuple) else ()


def _mappings(data: dict[str, object], key: str) -> Iterator[tuple[Path, dict[str, object]]]:
    for position, entry in enumerate(_entries(data, key)):
        if isinstance(entry, dict):
            yield (key, position), entry


def _organization_id(entry: object) -> object:
    return entry.get("id") if isinstance(entry, dict) else entry


def _folded_name(entry: object) -> object:
    name = entry.get("name") if isinstance(entry, dict) else None
    return name.casefold() if isinstance(name, str) else None


def _repeated(
    data: dict[str, object], key: str, identity: Callable[[object], object]
) -> Iterator[Finding]:
    seen: dict[str, int] = {}
    for position, entry in enumerate(_entries(data, key)):
        same = identity(entry)
        if not isinstance(same, str):
            continue
        first = seen.setdefault(same, position)
        if first != position:
            yield Finding(
                (key, position), f"repeats {shown(same)} of {key}[{first}]", "keep one of the two"
            )


def _without_condition(path: Path, rule: dict[str, object]) -> Iterator[Finding]:
    if (
        any(key in rule for key in CONDITIONS if key != "expired")
        or rule.get("expired", False) is not False
    ):
        return
    yield Finding(
        path,
        "has no condition of time or status, and nothing is stale for being there",
        "add `older_than`, `expired: true`, `expires_within` or `statuses`",
    )


def _secret(path: Path, entry: dict[str, object]) -> Iterator[Finding]:
    kind = entry.get("kind")
    if kind == "webhook" and "secret_env" not in entry:
        yield Finding((*path, "secret_env"), "is missing", "name the variable with the signing key")
    if kind in ("slack", "ping") and "secret_env" in entry:
        yield Finding(
            (*path, "secret_env"), f"is for `webhook`, and this is a `{kind}`", "remove it"
        )


def _audit_path(data: dict[str, object]) -> Iterator[Finding]:
    audit = data.get("audit")
    path = audit.get("path") if isinstance(audit, dict) else None
    if isinstance(path, str):
        left = path
        for placeholder in _PLACEHOLDERS:
            left = left.replace(placeholder, "")
        if re.search(r"[{}]", left):
            yield Finding(
                ("audit", "path"),
                f"{shown(path)} holds a placeholder that is none",
                f"write {listed(_PLACEHOLDERS)}, or no braces",
            )


# What is wrong with a file, as faults that a person can mend.


_WANTED = {
    "string_type": "a text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "`true` or `false`",
    "tuple_type": "a list",
    "dict_type": "a mapping of keys",
    "model_type": "a mapping of keys",
    "literal_error": "one of a few words",
}
_BOUNDS = {
    "greater_than_equal": ("is below {ge}", "write {ge} or more"),
    "greater_than": ("is not above {gt}", "write a number above {gt}"),
    "less_than_equal": ("is above {le}", "write {le} or less"),
    "less_than": ("is not below {lt}", "write a number below {lt}"),
    "finite_number": ("is no number that can be counted with", "write a finite number"),
}
_OF_KEY = "[key]"
"""What pydantic adds to the way when the fault is in a key."""
_LIKENESS_OF_KEYS = 0.7
_MOST_SUGGESTIONS = 100
"""Looking for the nearest word is slow; a file with more unknown keys is no policy at all."""


def faults_of(document: Document, error: ValidationError | None) -> tuple[Fault, ...]:
    """Give every fault of a file once, in the order of the file.

    Args:
        document: What was read.
        error: What the models say of its data; None where they have no complaint.
    """
    found = {
        Fault(*document.place(flaw.index), place_in_words(flaw.path), flaw.what, flaw.hint)
        for flaw in document.flaws
    }
    if document.root is not None:
        found.update(_of_models(document, error) if error is not None else ())
        for path, what, hint in findings(document.root.value):
            found.add(_fault(document, path, what, hint))
    return tuple(sorted(found))


def _fault(document: Document, path: Path, what: str, hint: str) -> Fault:
    node, _ = document.find(path)
    empty = node.value is Mark.EMPTY
    line, column = document.place(node.key_index if empty else node.index)
    return Fault(line, column, place_in_words(path), what, hint)


def _of_models(document: Document, error: ValidationError) -> Iterator[Fault]:
    suggestions = _MOST_SUGGESTIONS
    for detail in error.errors(include_url=False):
        path = tuple(step for step in detail["loc"] if step != _OF_KEY)
        if detail["type"] == "extra_forbidden":
            suggestions -= 1
            hint = _better_key(path) if suggestions >= 0 else "remove it"
            yield _fault_of_key(document, path, "is no key that is known here", hint)
        elif detail["type"] == "missing":
            yield _fault(document, path, "is missing", f"add {_example(path)}")
        elif detail["loc"][-1:] == (_OF_KEY,):
            what, hint = _words(detail, kind(path[-1]))
            yield _fault_of_key(document, path, what, hint)
        elif detail["input"] is not Mark.UNREADABLE:
            # An id that stands alone was read as a mapping: the fault is the entry's own.
            node, path = document.find(path)
            if detail["type"] != "too_short" or not node.children:
                yield _fault(document, path, *_what_and_hint(detail, path, node))


def _fault_of_key(document: Document, path: Path, what: str, hint: str) -> Fault:
    node, _ = document.find(path)
    return Fault(*document.place(node.key_index), place_in_words(path), what, hint)


def _what_and_hint(detail: ErrorDetails, path: Path, node: Node) -> tuple[str, str]:
    subject = kind(node.value, node.text)
    if node.value is Mark.EMPTY:
        field = _field(path)
        remove = "" if field is None or field.is_required() else "remove it, or "
        return "is empty", f"{remove}write {_example(path)}"
    if detail["type"] == "too_short":
        return "is an empty list", f"write one entry or more, as {_example(path)}"
    if detail["type"] == "literal_error":
        return _unknown_word(subject, path, node)
    if wanted := _WANTED.get(detail["type"]):
        return f"is {subject}, where {wanted} belongs", _retype(wanted, path, node)
    return _words(detail, subject)


def _words(detail: ErrorDetails, subject: str) -> tuple[str, str]:
    """Put the value before what our own rules, or a bound, say of it."""
    context = detail.get("ctx", {})
    if detail["type"] == WRONG:
        who = subject if context["shown"] else "what stands here"
        return f"{who} {context['what']}", context["hint"]
    what, hint = _BOUNDS[detail["type"]]
    bounds = {name: f"{bound:.10g}" for name, bound in context.items()}
    return f"{subject} {what.format(**bounds)}", hint.format(**bounds)


def _retype(wanted: str, path: Path, node: Node) -> str:
    """Say how a value becomes one of the wanted type; by example where it cannot."""
    quoted = json.dumps(node.text, ensure_ascii=False)
    if wanted == _WANTED["string_type"] and node.text is not None:
        return f"quote it: {quoted}"
    if wanted == _WANTED["tuple_type"] and node.text is not None:
        return f"put it in brackets: [{quoted}]"
    return f"write {_example(path)}"


def _unknown_word(subject: str, path: Path, node: Node) -> tuple[str, str]:
    field = _field(path)
    words = get_args(field.annotation) if field else ()
    like = nearest(node.value, words) if isinstance(node.value, str) else None
    hint = f"write {listed((like,) if like else words)}"
    return f"{subject} is no word that is known here", hint


def _better_key(path: Path) -> str:
    """Say which key was meant: one from elsewhere, one that is like it, or any of these."""
    wrong = str(path[-1])
    here = _keys(path[:-1])
    homes = _homes()
    if wrong in homes:
        return f"it belongs {homes[wrong]}"
    if like := nearest(wrong, here, _LIKENESS_OF_KEYS):
        return f"write `{like}`"
    if like := nearest(wrong, homes, _LIKENESS_OF_KEYS):
        return f"write `{like}` {homes[like]}"
    return f"remove it, or write {listed(here)}"


@cache
def _homes() -> dict[str, str]:
    homes = dict.fromkeys(PolicyFile.model_fields, "at the top of the file")
    for name, info in PolicyFile.model_fields.items():
        model = _model_in(info.annotation)
        for key in model.model_fields if model else ():
            homes.setdefault(key, f"under `{name}`")
    return homes


def _keys(path: Path) -> tuple[str, ...]:
    field = _field(path)
    model = _model_in(field.annotation) if field else PolicyFile
    return tuple(model.model_fields) if model else ()


def _example(path: Path) -> str:
    """Show the last described key on a way with a right value, in YAML."""
    name, field = _described(path)
    if field is None:
        return "`version: 1`"
    example = (field.examples or [""])[0]
    value = example if isinstance(example, str) else json.dumps(example, ensure_ascii=False)
    return f"`{name}: {value}`"


def _field(path: Path) -> FieldInfo | None:
    return _described(path)[1]


def _described(path: Path) -> tuple[str, FieldInfo | None]:
    """Find the last key on a way that a model describes."""
    model: type[BaseModel] | None = PolicyFile
    found: tuple[str, FieldInfo | None] = ("", None)
    for step in path:
        if model is not None and isinstance(step, str):
            found = (step, model.model_fields[step])
            model = _model_in(model.model_fields[step].annotation)
    return found


def _model_in(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    models = (_model_in(argument) for argument in get_args(annotation))
    return next((model for model in models if model is not None), None)
