"""The saved plan: what may be deleted at most, under a digest. Pure.

A plan is JSON Lines: a header, one line an invitation with its evidence, and a last line with
the SHA-256 of all the bytes before it. It is a ceiling and no order: a sweep by a plan reads
the present state again and deletes what is both in the plan and still stale.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain
from typing import TypeAlias

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from invite_sweeper.errors import GuardRefused

FORMAT = "invite-sweeper plan 1"
_MAKE_ANOTHER = "Make another with: invite-sweeper plan --out FILE"

Key: TypeAlias = tuple[str, str, str]
"""Source, project id (or the organization's, for a list of one), invitation id."""


class PlanContext(BaseModel):
    """What a plan was made for; a sweep by it must agree with it.

    Attributes:
        organizations: Ids, sorted.
        now: The instant of the run that made it, RFC 3339.
        policy_sha256: Of the policy's bytes.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, defer_build=True)

    run_id: str
    now: str
    tool_version: str
    base_url: str
    organizations: tuple[str, ...]
    policy_sha256: str


@dataclass(frozen=True, slots=True)
class SavedPlan:
    """A plan whose digest is right.

    Attributes:
        digest: 64 hex; what an approval signs.
        made_at: Aware.
        evidence: `created_at` and `username` as they were, by invitation.
    """

    context: PlanContext
    digest: str
    made_at: datetime
    evidence: Mapping[Key, tuple[str | None, str | None]]


class _Header(PlanContext):
    plan: str


def write(context: PlanContext, rows: Iterable[Mapping[str, object]]) -> Iterator[bytes]:
    """Give the lines of a plan's file, each with its newline.

    Args:
        rows: The invitations' fields as the audit log's `planned` lines hold them.
    """
    digest = hashlib.sha256()
    for row in chain([{"plan": FORMAT, **context.model_dump()}], rows):
        line = orjson.dumps(row) + b"\n"
        digest.update(line)
        yield line
    yield orjson.dumps({"sha256": digest.hexdigest()}) + b"\n"


def read(lines: Iterable[bytes]) -> SavedPlan:
    """Read a plan's file.

    Raises:
        GuardRefused: It is no plan, or was edited or cut. Nothing was deleted.
    """
    digest = hashlib.sha256()
    evidence: dict[Key, tuple[str | None, str | None]] = {}
    header: _Header | None = None
    last: bytes | None = None
    for line in lines:
        if last is not None:
            digest.update(last)
            header = _take(last, header, evidence)
        last = line
    if header is None or last is None:
        raise _edited("It is no plan, or was cut")
    if last != orjson.dumps({"sha256": digest.hexdigest()}) + b"\n":
        raise _edited("Its digest does not fit: it was edited or cut")
    made_at = instant(header.now)
    context = PlanContext(**header.model_dump(exclude={"plan"}))
    return SavedPlan(context, digest.hexdigest(), made_at, evidence)


def check(
    saved: SavedPlan, present: PlanContext, *, now: datetime, max_age: timedelta, same_policy: bool
) -> None:
    """Let a plan pass that belongs to this run.

    Args:
        present: What this run stands on.
        same_policy: The policy was named, so it must be the plan's own.

    Raises:
        GuardRefused: It is too old, from the future, or of another organization, host or policy.
    """
    made, context = saved.made_at, saved.context
    if made > now:
        raise _refused(f"The plan was made at {context.now}, which is still to come.")
    if now - made > max_age:
        raise _refused(f"The plan was made at {context.now}, over {max_age} ago.")
    if context.organizations != present.organizations:
        raise _refused("The plan belongs to other organizations than the policy.")
    if context.base_url != present.base_url:
        raise _refused(f"The plan belongs to {context.base_url}, not to {present.base_url}.")
    if same_policy and context.policy_sha256 != present.policy_sha256:
        raise _refused("The plan was made by another policy.")


def _take(
    line: bytes, header: _Header | None, evidence: dict[Key, tuple[str | None, str | None]]
) -> _Header:
    """Read one line; the first is the header."""
    try:
        if header is None:
            header = _Header.model_validate_json(line)
            if header.plan != FORMAT:
                raise _edited("It is a plan of another format")
            return header
        row = orjson.loads(line)
        scope_id = row["org_id"] if row["project_id"] is None else row["project_id"]
        key = (str(row["source"]), str(scope_id), str(row["invitation_id"]))
        evidence[key] = (row["created_at"], row["username"])
    except (ValidationError, ValueError, KeyError, TypeError):
        raise _edited("It is no plan, or was edited") from None
    return header


def instant(text: str) -> datetime:
    """Read a date of a plan, with its zone.

    Raises:
        GuardRefused: It is none.
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise _edited("It holds a date that is none") from None
    if found.tzinfo is None:
        raise _edited("It holds a date without a zone")
    return found


def _edited(why: str) -> GuardRefused:
    return _refused(f"The plan cannot be used. {why}.")


def _refused(what: str) -> GuardRefused:
    return GuardRefused(what, hint=_MAKE_ANOTHER)
