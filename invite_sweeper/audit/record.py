"""One line of the audit log: its fields, its bytes, and the way back to an invitation."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TypeAlias

import orjson

from invite_sweeper.inventory import Invitation, Moment, Source, UnreadableDate

FIRST_PREV = "0" * 64
"""The `prev` of a file's first line."""

RESERVED = frozenset({"ts", "run_id", "seq", "event", "prev", "seal"})
"""What the log itself writes into a line; no caller may."""

Record: TypeAlias = Mapping[str, object]
"""One line, read back."""

_TENTH_OF_A_DAY = timedelta(seconds=8640)
_WRITTEN_DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?Z")


def instant(moment: datetime) -> str:
    """RFC 3339, UTC, always with microseconds: `2026-11-25T01:02:03.000000Z`."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")[:-6] + "Z"


def rendered_instant(moment: datetime) -> bytes:
    """Give the same as JSON, with its quotes, for any aware moment."""
    if moment.microsecond and moment.tzinfo is UTC:  # orjson then agrees, four times as fast
        return orjson.dumps(moment, option=orjson.OPT_UTC_Z)
    return b'"%b"' % instant(moment).encode()


def line_hash(line: bytes) -> str:
    """What the next line's `prev` must be: SHA-256 of a line without its newline, 64 hex."""
    return sha256(line).hexdigest()


def render(value: object) -> bytes:
    r"""JSON in UTF-8, without a newline, keys in the order given.

    What JSON or UTF-8 cannot hold is replaced visibly (a lone surrogate becomes `\udc80`
    written out, a huge number its digits as text): a line is never lost for its contents.
    """
    try:
        return orjson.dumps(value, default=str, option=orjson.OPT_UTC_Z)
    except TypeError:
        return orjson.dumps(_plain(value), default=str, option=orjson.OPT_UTC_Z)


def _plain(value: object) -> object:
    """The same value out of what orjson takes for certain."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, Mapping):
        return {str(_plain(str(key))): _plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    if value is None or isinstance(value, (bool, float, datetime)):
        return value
    if isinstance(value, int) and value.bit_length() < 64:  # noqa: PLR2004  what JSON readers take
        return value
    return _plain(str(value))


def invitation_fields(invitation: Invitation, now: datetime) -> dict[str, object]:
    """The fields by which the audit log describes an invitation, in the contract's order.

    `age_days` is floored to one decimal; None where there is no readable date. An
    organization's invitation has no project. `status`, `team_ids`, `origin` and `reaches`
    follow only where they say more than the usual.

    Args:
        invitation: As Atlas described it.
        now: The run's one instant, aware.
    """
    of_organization = invitation.source.of_organization
    fields: dict[str, object] = {
        "invitation_id": invitation.id,
        "project_id": None if of_organization else invitation.project_id,
        "project_name": None if of_organization else invitation.project_name,
        "org_id": invitation.org_id,
        "username": invitation.username,
        "roles": invitation.roles,
        "inviter": invitation.inviter,
        "created_at": _written(invitation.created_at),
        "expires_at": _written(invitation.expires_at),
        "age_days": _age_days(invitation.created_at, now),
        "source": invitation.source,
    }
    if invitation.status != "PENDING":
        fields["status"] = invitation.status
    if invitation.team_ids:
        fields["team_ids"] = invitation.team_ids
    if invitation.origin:
        fields["origin"] = invitation.origin
    if invitation.reaches:
        fields["reaches"] = invitation.reaches
    return fields


def planned_invitation(record: Record) -> tuple[Invitation, str]:
    """The invitation and the rule's name that a `planned`, `intent` or `outcome` line holds.

    The inverse of `invitation_fields`.

    Raises:
        ValueError: The record lacks a field or holds one of another kind. It names the field.
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


def _written(moment: Moment) -> str | None:
    if moment is None:
        return None
    if isinstance(moment, UnreadableDate):
        return moment.raw
    return orjson.dumps(moment.astimezone(UTC), option=orjson.OPT_UTC_Z)[1:-1].decode()


def _age_days(created_at: Moment, now: datetime) -> float | None:
    if not isinstance(created_at, datetime):
        return None
    return ((now - created_at) // _TENTH_OF_A_DAY) / 10


def _text(record: Record, name: str) -> str:
    value = record.get(name)
    if not isinstance(value, str):
        raise ValueError(f"`{name}` is not a text")  # noqa: TRY004  one kind of error for a line
    return value


def _text_or_none(record: Record, name: str) -> str | None:
    value = record.get(name, name)  # what is missing is no text, and `_text` says so
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
    if text is None:
        return None
    if _WRITTEN_DATE.fullmatch(text) is None:
        return UnreadableDate(text)
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return UnreadableDate(text)
