"""One line of the audit log: its fields and its bytes."""

from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import TypeAlias

import orjson

from invite_sweeper.inventory import Invitation, Moment

FIRST_PREV = "0" * 64
"""The `prev` of a file's first line."""

RESERVED = frozenset({"ts", "run_id", "seq", "event", "prev", "seal"})
"""What the log itself writes into a line; no caller may."""

Record: TypeAlias = Mapping[str, object]
"""One line, read back."""

_TENTH_OF_A_DAY_S = 8640


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
        return orjson.dumps(value, option=orjson.OPT_UTC_Z)
    except TypeError:
        return orjson.dumps(_plain(value), option=orjson.OPT_UTC_Z)


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
    return renderable_fields(invitation, now) | {
        "created_at": _written(invitation.created_at),
        "expires_at": _written(invitation.expires_at),
    }


def renderable_fields(invitation: Invitation, now: datetime) -> dict[str, object]:
    """Give the same with its dates as `render` takes them, which writes them itself."""
    of_organization = invitation.source.of_organization
    fields: dict[str, object] = {
        "invitation_id": invitation.id,
        "project_id": None if of_organization else invitation.project_id,
        "project_name": None if of_organization else invitation.project_name,
        "org_id": invitation.org_id,
        "username": invitation.username,
        "roles": invitation.roles,
        "inviter": invitation.inviter,
        "created_at": _in_utc(invitation.created_at),
        "expires_at": _in_utc(invitation.expires_at),
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


def _written(moment: Moment) -> str | None:
    written = _in_utc(moment)
    return render(written)[1:-1].decode() if isinstance(written, datetime) else written


def _in_utc(moment: Moment) -> datetime | str | None:
    if isinstance(moment, datetime):
        return moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    return None if moment is None else moment.raw


def _age_days(created_at: Moment, now: datetime) -> float | None:
    if not isinstance(created_at, datetime):
        return None
    age = now - created_at  # its days alone may be below zero
    return (age.days * 10 + age.seconds // _TENTH_OF_A_DAY_S) / 10
