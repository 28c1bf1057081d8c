"""Saved plans: the file format, checks, and the use as an upper bound.

A plan is JSON Lines: a header, one line per invitation with its evidence, and a last line with
the SHA-256 of all bytes before it. A sweep with a saved plan reads the current state again and
deletes only what is both in the plan and still stale.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from pydantic import BaseModel, ConfigDict, ValidationError

from invite_sweeper.audit.events import invitation_from_record
from invite_sweeper.errors import GuardRefused, Reason, UsageError
from invite_sweeper.files import WRITABLE_FILE_HINT, open_regular, replace_file
from invite_sweeper.json_text import parse_json, to_json
from invite_sweeper.models import Invitation, InvitationKey, PlannedDeletion
from invite_sweeper.sweep.changes import PlanChanges
from invite_sweeper.text import describe_duration, plural_form, to_int

FORMAT = "invite-sweeper plan 1"
_NEW_PLAN_HINT = "Create a new plan with: invite-sweeper plan --out FILE"


class PlanContext(BaseModel):
    """What a plan was created for; a sweep with the plan must match it.

    Attributes:
        now: The instant of the run that created it, RFC 3339.
        organizations: Ids, sorted.
        policy_sha256: The hash of the policy file.
        policy_path: The policy file, absolute, for readers; None in plans of older versions.
        audit_log: The template of the audit log that records the plan's use, absolute; None in
            plans of older versions.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, defer_build=True)

    run_id: str
    now: str
    tool_version: str
    base_url: str
    organizations: tuple[str, ...]
    policy_sha256: str
    policy_path: str | None = None
    audit_log: str | None = None


@dataclass(frozen=True, slots=True)
class SavedPlan:
    """A plan with a valid digest.

    Attributes:
        digest: 64 hex digits; an approval signs them.
        created_at: Aware.
        invitations: Each invitation as it was when the plan was created, with its rule.
        changes: What was new or gone since the plan before; None if that is not known.
    """

    context: PlanContext
    digest: str
    created_at: datetime
    invitations: Mapping[InvitationKey, PlannedDeletion]
    changes: PlanChanges | None = None


class _Header(PlanContext):
    plan: str
    changes: PlanChanges | None = None


def is_plan(start: bytes) -> bool:
    """Return whether a file that starts so is a saved plan, of any version of the format."""
    return start.startswith(b'{"plan":"invite-sweeper plan ')


def render_lines(
    context: PlanContext,
    rows: Iterable[Mapping[str, object]],
    changes: PlanChanges | None = None,
) -> Iterator[bytes]:
    """Yield the lines of a plan file, each with its newline.

    Args:
        rows: The fields of the audit log's `planned` lines.
        changes: What is new or gone since the plan before.
    """
    digest = hashlib.sha256()
    known = {"changes": asdict(changes)} if changes is not None else {}
    for row in chain([{"plan": FORMAT, **context.model_dump(), **known}], rows):
        line = to_json(row) + b"\n"
        digest.update(line)
        yield line
    yield to_json({"sha256": digest.hexdigest()}) + b"\n"


def parse_plan(lines: Iterable[bytes]) -> SavedPlan:
    """Parse the lines of a plan file.

    Raises:
        GuardRefused: It is not a plan, or was edited or truncated. Nothing was deleted.
    """
    digest = hashlib.sha256()
    invitations: dict[InvitationKey, PlannedDeletion] = {}
    header: _Header | None = None
    last: bytes | None = None
    for line in lines:
        if last is not None:
            digest.update(last)
            header = _parse_line(last, header, invitations)
        last = line
    if header is None or last is None:
        raise _invalid_plan("it is not a plan file, or was truncated")
    if last != to_json({"sha256": digest.hexdigest()}) + b"\n":
        raise _invalid_plan("the digest does not match, so it was edited or truncated")
    created_at = _parse_timestamp(header.now)
    context = PlanContext(**header.model_dump(exclude={"plan", "changes"}))
    return SavedPlan(context, digest.hexdigest(), created_at, invitations, header.changes)


def check_applicable(
    saved: SavedPlan, current: PlanContext, *, now: datetime, max_age: timedelta
) -> None:
    """Raise GuardRefused if the plan does not apply to this run.

    Args:
        current: The context of this run.

    Raises:
        GuardRefused: The plan is too old, from the future, or for another organization, host
            or policy.
    """
    check_age(saved, now=now, max_age=max_age)
    context = saved.context
    if context.organizations != current.organizations:
        raise _plan_error("The plan was created for other organizations than the policy's.")
    if context.base_url != current.base_url:
        raise _plan_error(
            f"The plan was created for {context.base_url}, not for {current.base_url}."
        )
    if context.policy_sha256 != current.policy_sha256:
        raise _plan_error("The plan was created with another policy.")


def check_age(saved: SavedPlan, *, now: datetime, max_age: timedelta) -> None:
    """Raise GuardRefused if the plan is too old or from the future."""
    if saved.created_at > now:
        raise _plan_error(f"The plan's creation time {saved.context.now} is in the future.")
    age = now - saved.created_at
    if age > max_age:
        raise _plan_error(
            f"The plan is too old: it was created over {describe_duration(age)} ago, "
            f"and the limit is {describe_duration(max_age)}."
        )


def _parse_line(
    line: bytes, header: _Header | None, invitations: dict[InvitationKey, PlannedDeletion]
) -> _Header:
    """Parse one line into `invitations` and return the header, which is the first line."""
    try:
        if header is None:
            header = _Header.model_validate_json(line)
            if header.plan != FORMAT:
                raise _invalid_plan("its format version is not supported")
            return header
        record = parse_json(line)
        invitation, rule = invitation_from_record(record)
        is_new, bounced = record.get("new") is True, to_int(record.get("bounced")) or 0
        planned = PlannedDeletion(invitation, rule, is_new, bounced)
        invitations[planned.invitation.key] = planned
    except (ValidationError, ValueError, AttributeError):
        raise _invalid_plan("it is not a plan file, or was edited") from None
    return header


def _parse_timestamp(text: str) -> datetime:
    """Parse the date of the header; it must have a time zone."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise _invalid_plan("it contains an invalid date") from None
    if found.tzinfo is None:
        raise _invalid_plan("it contains a date without a time zone")
    return found


def _invalid_plan(reason: str) -> GuardRefused:
    return _plan_error(f"The plan is not valid: {reason}.")


def _plan_error(message: str) -> GuardRefused:
    return GuardRefused(message, hint=_NEW_PLAN_HINT, reasons=(Reason.PLAN,))


class SavedPlanFilter:
    """Limits deletions to a saved plan and counts the planned ones that are not deleted.

    Attributes:
        kept_by_reason: Planned invitations that are kept now, by reason.
    """

    def __init__(self, saved: SavedPlan) -> None:
        self._remaining = dict(saved.invitations)
        self.kept_by_reason: dict[str, int] = {}

    def allows(self, invitation: Invitation) -> bool:
        """Return whether a stale invitation is in the plan, with the same evidence."""
        planned = self._remaining.pop(invitation.key, None)
        if planned is None:
            return False
        created_at, listed = invitation.created_at, planned.invitation
        return (
            isinstance(created_at, datetime)
            and created_at == listed.created_at
            and invitation.username == listed.username
        )

    def record_kept(self, invitation: Invitation, reason: str) -> None:
        """Record that an invitation is kept now, if the plan contains it."""
        if self._remaining.pop(invitation.key, None) is not None:
            self.kept_by_reason[reason] = self.kept_by_reason.get(reason, 0) + 1

    @property
    def not_seen(self) -> int:
        """The number of planned invitations that were not seen: gone, or in an unread list."""
        return len(self._remaining)

    def describe_difference(self) -> Iterator[str]:
        """Yield sentences about what the plan lists and this run does not delete."""
        for reason, count in sorted(self.kept_by_reason.items()):
            are = plural_form(count, "is", "are")
            yield f"{count:,} of the plan's invitations {are} kept now: {reason}."
        if self.not_seen:
            yield (
                f"{self.not_seen:,} of the plan's invitations "
                f"{plural_form(self.not_seen, 'was', 'were')} not seen: "
                "gone, or in a list that was not read."
            )


def save(
    path: Path,
    context: PlanContext,
    rows: Iterable[Mapping[str, object]],
    changes: PlanChanges | None = None,
) -> None:
    """Write a plan atomically, with mode 0600; see `render_lines`.

    Raises:
        GuardRefused: It was not saved. Nothing was deleted: a sweep with `--out` does not
            begin before its plan is saved.
    """
    try:
        replace_file(path, render_lines(context, rows, changes))
    except OSError as error:
        raise GuardRefused(
            f"The plan {path} was not saved: {error.strerror}.",
            hint=WRITABLE_FILE_HINT,
            reasons=(Reason.PLAN,),
        ) from None


def load(path: Path) -> SavedPlan:
    """Read a plan file.

    Raises:
        UsageError: The file cannot be read.
        GuardRefused: It is not a plan, or was edited or truncated.
    """
    try:
        with open_regular(path) as file:
            return parse_plan(_read_lines(file))
    except OSError as error:
        raise UsageError(
            f"The plan {path} cannot be read: {error.strerror}.",
            hint="Use a plan that was saved with: invite-sweeper plan --out FILE",
        ) from None


_MAX_LINE_BYTES = 1 << 20


def _read_lines(file: BinaryIO) -> Iterator[bytes]:
    while line := file.readline(_MAX_LINE_BYTES):
        if len(line) == _MAX_LINE_BYTES:
            raise _invalid_plan("a line is longer than 1 MiB")
        yield line
