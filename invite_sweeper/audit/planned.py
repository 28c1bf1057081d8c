"""Reads the invitation of an audit line."""

import re
from datetime import datetime

from invite_sweeper.audit.record import Record
from invite_sweeper.inventory import Invitation, Moment, Source, UnreadableDate

_WRITTEN_DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{6})?Z")


def invitation_from_record(record: Record) -> tuple[Invitation, str]:
    """Return the invitation and the rule's name of a `planned`, `intent` or `outcome` line.

    The inverse of `invitation_fields`.

    Raises:
        ValueError: A field is missing or has another type. The message names the first one.
    """
    source = Source(_text(record, "source"))
    of_organization = source.of_organization
    invitation = Invitation(
        id=_text(record, "invitation_id"),
        project_id=_text(record, "org_id" if of_organization else "project_id"),
        project_name="" if of_organization else _text(record, "project_name"),
        org_id=_text(record, "org_id"),
        username=_text_or_none(record, "username"),
        roles=_texts(record, "roles"),
        inviter=_text_or_none(record, "inviter"),
        created_at=_moment(record, "created_at"),
        expires_at=_moment(record, "expires_at"),
        source=source,
        status=_text_or_none(record, "status") if "status" in record else "PENDING",
        team_ids=_texts(record, "team_ids") if "team_ids" in record else (),
        origin=_pairs(record, "origin") if "origin" in record else (),
        reaches=_pairs(record, "reaches") if "reaches" in record else (),
    )
    return invitation, _text(record, "rule")


def _text(record: Record, name: str) -> str:
    value = record.get(name)
    if not isinstance(value, str):
        raise ValueError(f"`{name}` is not a text")  # noqa: TRY004  one kind of error for a line
    return value


def _text_or_none(record: Record, name: str) -> str | None:
    value = record.get(name, name)  # a missing field is not None: `_text` raises
    return None if value is None else _text(record, name)


def _texts(record: Record, name: str) -> tuple[str, ...]:
    value = record.get(name)
    if isinstance(value, list):
        texts = tuple(part for part in value if isinstance(part, str))
        if len(texts) == len(value):
            return texts
    raise ValueError(f"`{name}` is not a list of texts")


def _pairs(record: Record, name: str) -> tuple[tuple[str, str], ...]:
    value = record.get(name)
    if not isinstance(value, list):
        raise ValueError(f"`{name}` is not a list of pairs")  # noqa: TRY004  as above
    pairs = []
    for part in value:
        if not isinstance(part, list) or [type(half) for half in part] != [str, str]:
            raise ValueError(f"`{name}` is not a list of pairs")
        pairs.append((part[0], part[1]))
    return tuple(pairs)


def _moment(record: Record, name: str) -> Moment:
    text = _text_or_none(record, name)
    return None if text is None else _read_moment(text)


def _read_moment(text: str) -> datetime | UnreadableDate:
    if _WRITTEN_DATE.fullmatch(text) is None:
        return UnreadableDate(text)
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return UnreadableDate(text)
