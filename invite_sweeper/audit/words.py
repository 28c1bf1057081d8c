"""The words in which the plan on disk describes a deletion, repeated by the lines after it."""

from collections.abc import Mapping
from datetime import datetime

import orjson

from invite_sweeper.audit.record import FIRST_PREV, render, renderable_fields
from invite_sweeper.inventory import Invitation

_PLANNED = b'"event":"planned","prev":"'
_AFTER_PLANNED = len(_PLANNED) + len(FIRST_PREV) + len(b'",')
"""From there to what follows the fields that the log itself writes."""
_FURTHER = b',"bounced":'
"""Where a planned line tells more than the others about the same deletion."""


def words_for(invitation: Invitation, rule: str, now: datetime) -> bytes:
    """Describe a deletion: members of a JSON object, without its braces.

    Args:
        now: The run's one instant, aware.
    """
    fields = renderable_fields(invitation, now)
    fields["rule"] = rule
    return members(fields)


def members(fields: Mapping[str, object]) -> bytes:
    """Render fields as members of a JSON object, without its braces."""
    return render(fields)[1:-1]


def fields_in(words: bytes) -> Mapping[str, object]:
    """Read what `words_for` has written, field by field.

    Raises:
        ValueError: They are no such words.
    """
    fields: dict[str, object] = orjson.loads(b"{%b}" % words)
    return fields


def words_of(line: bytes) -> bytes:
    """Give the part of a `planned` line that describes its invitation and the rule.

    Args:
        line: As it was written.

    Raises:
        ValueError: It is no such line.
    """
    # Within a text each quote has its backslash, so what is found is the key. Where nothing
    # further is told, -1 leaves out the closing brace.
    return line[line.index(_PLANNED) + _AFTER_PLANNED : line.rfind(_FURTHER)]
