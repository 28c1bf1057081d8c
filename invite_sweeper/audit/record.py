"""The format of one audit log line: fields, JSON, checksum and hash chain.

Converts an invitation to the fields of its lines and back.
"""

import operator
import re
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from types import MappingProxyType
from typing import TypeAlias

from invite_sweeper.errors import ErrorParts
from invite_sweeper.json_text import to_json
from invite_sweeper.models import Invitation, Source, Timestamp, UnreadableDate
from invite_sweeper.redaction import SECRETS

GENESIS_HASH = "0" * 64
"""`prev` of the first line of a log."""

RESERVED_FIELDS = frozenset({"ts", "run_id", "seq", "event", "prev", "seal"})
"""Fields that the log writes itself; callers cannot set them."""

Record: TypeAlias = Mapping[str, object]
"""One parsed line."""

_TENTH_OF_A_DAY_S = 8640
_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{6})?Z")


def line_hash(line: bytes) -> str:
    """Return the `prev` of the next line: SHA-256 of a line without its newline, 64 hex digits."""
    return sha256(line).hexdigest()


def format_timestamp(moment: datetime) -> str:
    """Return RFC 3339 in UTC, always with microseconds: `2026-11-25T01:02:03.000000Z`."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")[:-6] + "Z"


# What a line may contain -----------------------------------------------------------------------


MAX_VALUE_LENGTH = 1024
"""Characters of one value."""
MAX_LINE_BYTES = 1 << 20
"""Of a line, approximately. A run reads at most 16 MiB to find the last line of the log."""
_MAX_ITEMS = 100
"""Items of a list in a line that would be too long."""


def _is_loggable(line: bytes) -> bool:
    """Return whether no value of a line, which is JSON, can be too long or contain a secret."""
    if len(line) > MAX_VALUE_LENGTH:
        return False
    text = line.decode()
    return SECRETS.redact(text) is text


def loggable(fields: Mapping[str, object]) -> dict[str, object]:
    """Return the fields without secrets, and with long values cut visibly."""
    found = {name: _loggable(value, None) for name, value in fields.items()}
    if len(to_json(found)) <= MAX_LINE_BYTES:
        return found
    return {name: _loggable(value, _MAX_ITEMS) for name, value in found.items()}


def is_recordable(invitation: Invitation) -> bool:
    """Return whether a line can record every field of an invitation as it is.

    A deletion that the log cannot describe could be neither reviewed nor restored.
    """
    line = to_json(tuple(invitation))
    return _is_loggable(line) or (
        len(line) <= MAX_LINE_BYTES
        and all(_loggable(value, None) is value for value in map(_raw, invitation))
    )


def _loggable(value: object, max_items: int | None) -> object:
    """Return the same object if nothing has to be changed."""
    if isinstance(value, str):
        return _loggable_text(value)
    if isinstance(value, Mapping):
        return {_loggable_text(str(k)): _loggable(part, max_items) for k, part in value.items()}
    if isinstance(value, (list, tuple)):
        parts = [_loggable(part, max_items) for part in value[:max_items]]
        if left_out := len(value) - len(parts):
            return [*parts, f"… ({left_out:,} more)"]
        return value if all(map(operator.is_, parts, value)) else parts
    return value


def _loggable_text(text: str) -> str:
    redacted = SECRETS.redact(text)
    if len(redacted) > MAX_VALUE_LENGTH:
        return f"{redacted[:MAX_VALUE_LENGTH]}… ({len(redacted):,} characters)"
    return redacted


# From an invitation to the fields of its lines ----------------------------------------------


def invitation_fields(invitation: Invitation, now: datetime) -> dict[str, object]:
    """Return the fields that describe an invitation, in the contract's order.

    `age_days` is floored to one decimal; it is None without a readable date. An organization
    invitation has no project. `status`, `team_ids`, `origin` and `reaches` are included only if
    they are not the default.

    Args:
        invitation: As Atlas described it.
        now: The run's current time, timezone-aware.
    """
    of_organization = invitation.source.is_organization_level
    fields: dict[str, object] = {
        "invitation_id": invitation.id,
        "project_id": None if of_organization else invitation.project_id,
        "project_name": None if of_organization else invitation.project_name,
        "org_id": invitation.org_id,
        "username": invitation.username,
        "roles": invitation.roles,
        "inviter": invitation.inviter,
        "created_at": _date(invitation.created_at),
        "expires_at": _date(invitation.expires_at),
        "age_days": _age_days(invitation.created_at, now),
        "source": invitation.source,
    }
    if invitation.status != "PENDING":
        fields["status"] = invitation.status
    if invitation.team_ids:
        fields["team_ids"] = invitation.team_ids
    if invitation.project_roles:
        fields["origin"] = invitation.project_roles
    if invitation.linked_projects:
        fields["reaches"] = invitation.linked_projects
    return fields


def outcome_fields(
    outcome: str,
    *,
    attempts: int = 0,
    http_status: int | None = None,
    error_code: str | None = None,
    duration_ms: float | None = None,
    seen: tuple[str | None, str | None] | None = None,
    recovers: str | None = None,
) -> dict[str, object]:
    """Return the fields that an `outcome` line adds to those of its invitation.

    Args:
        outcome: One of the contract's values.
        attempts: Number of requests that were sent.
        http_status: Status of the last response.
        error_code: Atlas's `errorCode` in the last response.
        duration_ms: None if this run sent no request.
        seen: The user's status before and after; None for a restore.
        recovers: ID of the interrupted run that wrote the intent; None for an intent of this run.
    """
    fields: dict[str, object] = {
        "outcome": outcome,
        "attempts": attempts,
        "http_status": http_status,
        "error_code": error_code,
        "duration_ms": None if duration_ms is None else round(duration_ms, 1),
    }
    if seen is not None:
        fields["seen_before"], fields["seen_after"] = seen
    if recovers is not None:
        fields["recovered"], fields["recovers"] = True, recovers
    return fields


def _date(moment: Timestamp) -> str | None:
    """Return RFC 3339 in UTC, with microseconds only if they are not zero."""
    if isinstance(moment, datetime):
        return moment.astimezone(UTC).isoformat()[:-6] + "Z"
    return None if moment is None else moment.raw


def _raw(value: object) -> object:
    """Return the text of an unreadable date, and any other value as it is."""
    return value.raw if isinstance(value, UnreadableDate) else value


def _age_days(created_at: Timestamp, now: datetime) -> float | None:
    if not isinstance(created_at, datetime):
        return None
    age = now - created_at  # for a date in the future, only `days` is negative
    return (age.days * 10 + age.seconds // _TENTH_OF_A_DAY_S) / 10


# From a line back to its invitation ---------------------------------------------------------


def error_fields(error: ErrorParts | None) -> dict[str, str | None]:
    """Return the fields of a `run_finished` line that say what stopped the run.

    Args:
        error: The three parts of the error; None for a run that completed.
    """
    if error is None:
        return {"error": None, "consequence": None, "hint": None}
    return {
        "error": error["message"],
        "consequence": error["consequence"] or None,
        "hint": error["hint"] or None,
    }


def invitation_from_record(record: Record) -> tuple[Invitation, str]:
    """Return the invitation and the rule's name of a `planned`, `intent` or `outcome` line.

    The inverse of `invitation_fields`.

    Raises:
        ValueError: A field is missing or has another type. The message names the first one.
    """
    source = Source(_text_field(record, "source"))
    of_organization = source.is_organization_level
    invitation = Invitation(
        id=_text_field(record, "invitation_id"),
        project_id=_text_field(record, "org_id" if of_organization else "project_id"),
        project_name="" if of_organization else _text_field(record, "project_name"),
        org_id=_text_field(record, "org_id"),
        username=_optional_text_field(record, "username"),
        roles=_text_list_field(record, "roles"),
        inviter=_optional_text_field(record, "inviter"),
        created_at=_timestamp_field(record, "created_at"),
        expires_at=_timestamp_field(record, "expires_at"),
        source=source,
        status=_optional_text_field(record, "status") if "status" in record else "PENDING",
        team_ids=_text_list_field(record, "team_ids") if "team_ids" in record else (),
        project_roles=_pair_list_field(record, "origin") if "origin" in record else (),
        linked_projects=_pair_list_field(record, "reaches") if "reaches" in record else (),
    )
    return invitation, _text_field(record, "rule")


def _text_field(record: Record, name: str) -> str:
    value = record.get(name)
    if not isinstance(value, str):
        raise ValueError(f"`{name}` is not a string")  # noqa: TRY004  one error type for a line
    return value


def _optional_text_field(record: Record, name: str) -> str | None:
    value = record.get(name, name)  # a missing field is an error, not None
    return None if value is None else _text_field(record, name)


def _text_list_field(record: Record, name: str) -> tuple[str, ...]:
    value = record.get(name)
    if isinstance(value, list):
        texts = tuple(part for part in value if isinstance(part, str))
        if len(texts) == len(value):
            return texts
    raise ValueError(f"`{name}` is not a list of strings")


def _pair_list_field(record: Record, name: str) -> tuple[tuple[str, str], ...]:
    value = record.get(name)
    if not isinstance(value, list):
        raise ValueError(f"`{name}` is not a list of pairs")  # noqa: TRY004  as above
    pairs = []
    for item in value:
        if not isinstance(item, list) or [type(half) for half in item] != [str, str]:
            raise ValueError(f"`{name}` is not a list of pairs")
        pairs.append((item[0], item[1]))
    return tuple(pairs)


def _timestamp_field(record: Record, name: str) -> Timestamp:
    text = _optional_text_field(record, name)
    return None if text is None else _parse_timestamp(text)


def _parse_timestamp(text: str) -> datetime | UnreadableDate:
    if _TIMESTAMP.fullmatch(text) is None:
        return UnreadableDate(text)
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return UnreadableDate(text)


# Checksum and hash chain --------------------------------------------------------------------


STARTED_EVENT = "run_started"
CHECKSUMMED_EVENT = "run_finished"
"""The event with a checksum of its own line (`seal`): no later line may cover its hash."""

_CHECKSUM_FIELD = re.compile(rb',"([^"]{4})":"([\x20-\x7e]{64})"\}$')


def add_checksum(line: bytes) -> bytes:
    """Append the field `seal`: the SHA-256 of the line without that field."""
    return b'%b,"seal":"%b"}' % (line[:-1], line_hash(line).encode())


def checksum_ok(line: bytes) -> bool | None:
    """Return whether the `seal` of a `run_finished` line is correct; None without one.

    A field of the same form with another name counts as an incorrect `seal`: a bit of the
    name may have changed.
    """
    found = _CHECKSUM_FIELD.search(line)
    if found is None:
        return None
    return found[1] == b"seal" and line_hash(line[: found.start()] + b"}") == found[2].decode()


class HashChain:
    """Builds the lines of a log: numbered in each run, dated, each with the hash of the one before.

    The runs of one command share a chain, so their lines may alternate.

    Args:
        seq: Number of the run's last line; 0 for a run that starts.

    Attributes:
        last_hash: Hash of the last line, 64 hex digits; `prev` of the next line.
    """

    def __init__(
        self,
        last_hash: str,
        clock: Callable[[], datetime],
        *,
        seqs: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        self.last_hash = last_hash
        self._seqs = Counter(seqs)
        self._clock = clock

    def add(self, run_id: str, event: str, fields: Mapping[str, object]) -> bytes:
        """Return the next line, of this run, without its newline."""
        ts = format_timestamp(self._clock())
        line = self._line(ts, run_id, event, fields)
        if not _is_loggable(line):
            line = self._line(ts, run_id, event, loggable(fields))
        if event == CHECKSUMMED_EVENT:
            line = add_checksum(line)
        self._seqs[run_id] += 1
        self.last_hash = line_hash(line)
        return line

    def _line(self, ts: str, run_id: str, event: str, fields: Mapping[str, object]) -> bytes:
        return to_json(
            {
                "ts": ts,
                "run_id": run_id,
                "seq": self._seqs[run_id] + 1,
                "event": event,
                "prev": self.last_hash,
                **fields,
            }
        )
