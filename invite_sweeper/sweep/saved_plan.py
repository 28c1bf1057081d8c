"""Saved plans: the file format, checks, and the use as an upper bound.

A plan is JSON Lines: a header, one line per invitation with its evidence, and a last line with
the SHA-256 of all bytes before it. A sweep with a saved plan reads the current state again and
deletes only what is both in the plan and still stale.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import BinaryIO

import msgspec

from invite_sweeper.audit.events import PlanChanges, Planned
from invite_sweeper.endings import Reason
from invite_sweeper.errors import GuardRefused, UsageError
from invite_sweeper.files import WRITABLE_FILE_HINT, open_regular, read_small_file, replace_file
from invite_sweeper.json_text import to_json
from invite_sweeper.models import Invitation, InvitationKey
from invite_sweeper.program import command
from invite_sweeper.redaction import SECRETS
from invite_sweeper.text import describe_duration, plural_form

FORMAT = "invite-sweeper plan 2"
_PLAN_COMMAND = ("plan", "--policy", "POLICY", "--out", "FILE")
_FORMAT_START = b'{"plan":"%b"' % FORMAT.encode()


class PlanContext(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The first line of a plan: what it was created for. A sweep with the plan must match it.

    Attributes:
        plan: The format.
        now: The instant of the run that created it, RFC 3339.
        organizations: Ids, sorted; of all credentials.
        policy_sha256: The hash of the policy file.
        policy_path: The policy file, absolute, for readers.
        audit_log: The template of the audit log that records the plan's use, absolute.
        organization_names: By id, as far as they are known.
        actors: The credentials with which the plan was made: client id, public key, or `token`.
        changes: What was new or gone since the plan before; None if that is not known.
    """

    plan: str = FORMAT
    run_id: str
    now: str
    tool_version: str
    base_url: str
    organizations: tuple[str, ...]
    policy_sha256: str
    policy_path: str | None = None
    audit_log: str | None = None
    organization_names: Mapping[str, str] = {}
    actors: tuple[str, ...] = ()
    changes: PlanChanges | None = None


@dataclass(frozen=True, slots=True)
class SavedPlan:
    """A plan with a valid digest.

    Attributes:
        digest: SHA-256 of the file, 64 hex digits: what `--plan-sha256` names.
        created_at: Aware.
        invitations: Each invitation as it was when the plan was created, with its rule.
    """

    context: PlanContext
    digest: str
    created_at: datetime
    invitations: Mapping[InvitationKey, Planned]

    @property
    def changes(self) -> PlanChanges | None:
        """What was new or gone since the plan before; None if that is not known."""
        return self.context.changes


_decode_context = msgspec.json.Decoder(PlanContext).decode
_decode_row = msgspec.json.Decoder(Planned).decode


def is_plan(start: bytes) -> bool:
    """Return whether a file that starts so is a saved plan, of any version of the format."""
    return start.startswith(b'{"plan":"invite-sweeper plan ')


def render_lines(context: PlanContext, rows: Iterable[Planned]) -> Iterator[bytes]:
    """Yield the lines of a plan file, each with its newline.

    Args:
        context: The first line.
        rows: The invitations, as in the audit log's `planned` lines.
    """
    digest = hashlib.sha256()
    for row in chain([to_json(context)], map(to_json, rows)):
        line = SECRETS.redact_bytes(row) + b"\n"
        digest.update(line)
        yield line
    yield to_json({"sha256": digest.hexdigest()}) + b"\n"


def parse_plan(lines: Iterable[bytes]) -> SavedPlan:
    """Parse the lines of a plan file.

    Raises:
        GuardRefused: It is not a plan, or was edited or truncated. Nothing was deleted.
    """
    digest = hashlib.sha256()
    invitations: dict[InvitationKey, Planned] = {}
    header: PlanContext | None = None
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
    digest.update(last)
    return SavedPlan(header, digest.hexdigest(), _parse_timestamp(header.now), invitations)


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


def check_sha256(saved: SavedPlan, expected: str | None) -> None:
    """Raise GuardRefused if the plan's file has another SHA-256 than a second person read."""
    if expected is not None and expected.strip().lower() != saved.digest:
        raise _plan_error(f"The plan has the SHA-256 {saved.digest}, not {expected}.")


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
    line: bytes, header: PlanContext | None, invitations: dict[InvitationKey, Planned]
) -> PlanContext:
    """Parse one line into `invitations` and return the header, which is the first line."""
    try:
        if header is None:
            if is_plan(line) and not line.startswith(_FORMAT_START):
                raise _invalid_plan("its format version is not supported")
            return _decode_context(line)
        planned = _decode_row(line)
        planned.invitation()  # raises ValueError without a project
        invitations[planned.key] = planned
    except (ValueError, RecursionError):
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
    hint = f"Create a new plan with: {command(*_PLAN_COMMAND)}"
    return GuardRefused(message, hint=hint, reasons=(Reason.PLAN,))


class SavedPlanFilter:
    """Limits deletions to a saved plan and counts the planned ones that are not deleted.

    Attributes:
        kept_by_reason: Planned invitations that are kept now, by reason.
        changed: Number of planned invitations that are kept because they have changed.
    """

    def __init__(self, saved: SavedPlan) -> None:
        self._remaining = dict(saved.invitations)
        self.kept_by_reason: dict[str, int] = {}
        self.changed = 0

    def find_keep_reason(self, invitation: Invitation, rule: str) -> str | None:
        """Return why a stale invitation is kept; None if the plan lists it as it is now.

        Approved is what was shown: an invitation is another one if its date is unknown or
        differs, and it has changed if its roles, projects, inviter, expiry or rule differ.
        """
        planned = self._remaining.pop(invitation.key, None)
        if planned is None or not isinstance(invitation.created_at, datetime):
            return "not_in_plan"
        listed = planned.invitation()
        if (invitation.created_at, invitation.username) != (listed.created_at, listed.username):
            return "not_in_plan"
        if rule == planned.rule and _evidence(invitation) == _evidence(listed):
            return None
        self.changed += 1
        return "changed_since_plan"

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
        if self.changed:
            yield (
                f"{self.changed:,} of the plan's invitations "
                f"{plural_form(self.changed, 'is', 'are')} kept because the roles, projects, "
                "inviter, expiry or rule changed since the plan was created."
            )
        if self.not_seen:
            yield (
                f"{self.not_seen:,} of the plan's invitations "
                f"{plural_form(self.not_seen, 'was', 'were')} not seen: "
                "gone, or in a list that was not read."
            )


def _evidence(invitation: Invitation) -> tuple[object, ...]:
    """Return what a plan shows about an invitation; its status decides by the rule that matches."""
    shown = invitation._replace(status=None)
    return (*shown.evidence, frozenset(invitation.linked_projects))


def save(path: Path, context: PlanContext, rows: Iterable[Planned]) -> None:
    """Write a plan atomically, with mode 0600; see `render_lines`.

    Raises:
        GuardRefused: It was not saved. Nothing was deleted: a sweep with `--out` does not
            begin before its plan is saved.
    """
    try:
        replace_file(path, render_lines(context, rows))
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
            hint=f"Use a plan that was saved with: {command(*_PLAN_COMMAND)}",
        ) from None


# The record of a plan's use, beside the plan: another log does not know the use.


class AppliedPlan(msgspec.Struct, frozen=True):
    """The content of PLAN.applied.

    Attributes:
        sha256: The plan's digest; the file of an earlier plan with the same name says nothing.
        run_id: The sweep that completed it.
        audit_log: The log of that sweep.
    """

    sha256: str
    run_id: str
    audit_log: str


def applied_path(plan: Path) -> Path:
    """Return the path of the record of a plan's use."""
    return plan.with_name(plan.name + ".applied")


def record_applied(plan: Path, applied: AppliedPlan) -> None:
    """Record that a plan was used, where its folder can be written; the log says so in any case."""
    with suppress(OSError):
        replace_file(applied_path(plan), [msgspec.json.encode(applied) + b"\n"], follow_links=False)


def read_applied(plan: Path, saved: SavedPlan) -> AppliedPlan | None:
    """Return the recorded use of a plan; None without one."""
    try:
        applied = _decode_applied(read_small_file(applied_path(plan), _MAX_APPLIED_BYTES))
    except (OSError, ValueError):
        return None
    return applied if applied.sha256 == saved.digest else None


def used_error(plan: Path, by: str = "") -> GuardRefused:
    """Return the error for a plan that was used.

    Args:
        plan: Its file.
        by: What used it, as far as it is known.
    """
    return _plan_error(f"The plan {plan} has already been applied{by and f', by {by}'}.")


_decode_applied = msgspec.json.Decoder(AppliedPlan).decode
_MAX_APPLIED_BYTES = 1 << 14
_MAX_LINE_BYTES = 1 << 20


def _read_lines(file: BinaryIO) -> Iterator[bytes]:
    while line := file.readline(_MAX_LINE_BYTES):
        if len(line) == _MAX_LINE_BYTES:
            raise _invalid_plan("a line is longer than 1 MiB")
        yield line
