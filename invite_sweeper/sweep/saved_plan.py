"""Plan files: save, load, check, approve, upper bound."""

import base64
import binascii
import errno
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import Final, TypeAlias

import orjson
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import BaseModel, ConfigDict, ValidationError

from invite_sweeper.errors import GuardRefused, UsageError
from invite_sweeper.files import regular_file_target
from invite_sweeper.models import Invitation
from invite_sweeper.text import plural_form

# The saved plan: what may be deleted at most, under a digest. Pure.
#
# A plan is JSON Lines: a header, one line an invitation with its evidence, and a last line with
# the SHA-256 of all the bytes before it. It is a ceiling and no order: a sweep by a plan reads
# the present state again and deletes what is both in the plan and still stale.


FORMAT = "invite-sweeper plan 1"
_NEW_PLAN_HINT = "Make another with: invite-sweeper plan --out FILE"

InvitationKey: TypeAlias = tuple[str, str, str]
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
    created_at: datetime
    invitations: Mapping[InvitationKey, tuple[str | None, str | None]]


class _Header(PlanContext):
    plan: str


def render_lines(context: PlanContext, rows: Iterable[Mapping[str, object]]) -> Iterator[bytes]:
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


def parse_plan(lines: Iterable[bytes]) -> SavedPlan:
    """Read a plan's file.

    Raises:
        GuardRefused: It is no plan, or was edited or cut. Nothing was deleted.
    """
    digest = hashlib.sha256()
    invitations: dict[InvitationKey, tuple[str | None, str | None]] = {}
    header: _Header | None = None
    last: bytes | None = None
    for line in lines:
        if last is not None:
            digest.update(last)
            header = _parse_line(last, header, invitations)
        last = line
    if header is None or last is None:
        raise _invalid_plan("It is no plan, or was cut")
    if last != orjson.dumps({"sha256": digest.hexdigest()}) + b"\n":
        raise _invalid_plan("Its digest does not fit: it was edited or cut")
    created_at = parse_timestamp(header.now)
    context = PlanContext(**header.model_dump(exclude={"plan"}))
    return SavedPlan(context, digest.hexdigest(), created_at, invitations)


def check_applicable(
    saved: SavedPlan, current: PlanContext, *, now: datetime, max_age: timedelta
) -> None:
    """Let a plan pass that belongs to this run.

    Args:
        present: What this run stands on.

    Raises:
        GuardRefused: It is too old, from the future, or of another organization, host or policy.
    """
    created_at, context = saved.created_at, saved.context
    if created_at > now:
        raise _plan_error(f"The plan was made at {context.now}, which is still to come.")
    if now - created_at > max_age:
        raise _plan_error(f"The plan was made at {context.now}, over {max_age} ago.")
    if context.organizations != current.organizations:
        raise _plan_error("The plan belongs to other organizations than the policy.")
    if context.base_url != current.base_url:
        raise _plan_error(f"The plan belongs to {context.base_url}, not to {current.base_url}.")
    if context.policy_sha256 != current.policy_sha256:
        raise _plan_error("The plan was made by another policy.")


def _parse_line(
    line: bytes,
    header: _Header | None,
    invitations: dict[InvitationKey, tuple[str | None, str | None]],
) -> _Header:
    """Read one line; the first is the header."""
    try:
        if header is None:
            header = _Header.model_validate_json(line)
            if header.plan != FORMAT:
                raise _invalid_plan("It is a plan of another format")
            return header
        row = orjson.loads(line)
        scope_id = row["org_id"] if row["project_id"] is None else row["project_id"]
        key = (str(row["source"]), str(scope_id), str(row["invitation_id"]))
        invitations[key] = (row["created_at"], row["username"])
    except (ValidationError, ValueError, KeyError, TypeError):
        raise _invalid_plan("It is no plan, or was edited") from None
    return header


def parse_timestamp(text: str) -> datetime:
    """Read a date of a plan, with its zone.

    Raises:
        GuardRefused: It is none.
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise _invalid_plan("It holds a date that is none") from None
    if found.tzinfo is None:
        raise _invalid_plan("It holds a date without a zone")
    return found


def _invalid_plan(reason: str) -> GuardRefused:
    return _plan_error(f"The plan cannot be used. {reason}.")


def _plan_error(message: str) -> GuardRefused:
    return GuardRefused(message, hint=_NEW_PLAN_HINT)


# A saved plan as a ceiling: what it lets through, and what has become of the rest. Pure.


class SavedPlanFilter:
    """What a plan lets through, and what has become of the rest.

    Attributes:
        kept: Of the planned ones, how many are seen but kept now, by reason.
    """

    def __init__(self, saved: SavedPlan) -> None:
        self._remaining = dict(saved.invitations)
        self.kept_by_reason: dict[str, int] = {}

    def allows(self, invitation: Invitation) -> bool:
        """Tell whether a stale invitation is in the plan, and the one that was meant."""
        planned = self._remaining.pop(_key(invitation), None)
        if planned is None:
            return False
        created_at = invitation.created_at
        same = isinstance(created_at, datetime) and planned[0] is not None
        return (
            same
            and planned[1] == invitation.username
            and created_at == parse_timestamp(planned[0] or "")
        )

    def record_kept(self, invitation: Invitation, reason: str) -> None:
        """Take into account that an invitation is kept now, whatever the plan says."""
        if self._remaining.pop(_key(invitation), None) is not None:
            self.kept_by_reason[reason] = self.kept_by_reason.get(reason, 0) + 1

    @property
    def not_seen(self) -> int:
        """How many planned ones were not seen: gone, or in a list that was not read."""
        return len(self._remaining)

    def describe_difference(self) -> Iterator[str]:
        """Say what the plan lists and this run does not delete."""
        for reason, count in sorted(self.kept_by_reason.items()):
            are = plural_form(count, "is", "are")
            yield f"{count:,} of the plan's invitations {are} kept now: {reason}."
        if self.not_seen:
            yield (
                f"{self.not_seen:,} of the plan's invitations "
                f"{plural_form(self.not_seen, 'was', 'were')} not seen: "
                "gone, or in a list that was not read."
            )


def _key(invitation: Invitation) -> InvitationKey:
    return invitation.source.value, invitation.project_id, invitation.id


# Approvals: ed25519 signatures over a plan's digest, by the library `cryptography`.


_SIGNATURE_CONTEXT = b"invite-sweeper plan approval v1\n"
"""What is signed names its purpose, so that no other signature of the key can pass for it."""


def sign(digest: str, key: Path) -> str:
    """Sign a plan's digest; base64.

    Raises:
        UsageFault: The file holds no private ed25519 key without a passphrase.
    """
    data = _read_key(key)
    load = (
        serialization.load_ssh_private_key
        if b"OPENSSH" in data
        else serialization.load_pem_private_key
    )
    try:
        private = load(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        private = None
    if not isinstance(private, Ed25519PrivateKey):
        raise UsageError(
            f"{key} holds no private ed25519 key without a passphrase.",
            hint="Make one: ssh-keygen -t ed25519 -f KEY, or openssl genpkey -algorithm ed25519",
        )
    return base64.b64encode(private.sign(_SIGNATURE_CONTEXT + digest.encode())).decode()


def is_valid_signature(digest: str, signature: str, key: Path) -> bool:
    """Tell whether the holder of the key has signed the digest.

    Raises:
        UsageFault: The file holds no public ed25519 key.
    """
    public = _load_public_key(key)
    try:
        public.verify(
            base64.b64decode(signature, validate=True), _SIGNATURE_CONTEXT + digest.encode()
        )
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True


def _load_public_key(key: Path) -> Ed25519PublicKey:
    data = _read_key(key)
    load = (
        serialization.load_ssh_public_key
        if data.startswith(b"ssh-")
        else serialization.load_pem_public_key
    )
    try:
        public = load(data)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        public = None
    if not isinstance(public, Ed25519PublicKey):
        raise UsageError(f"{key} holds no public ed25519 key.", hint="Give the .pub file.")
    return public


def _read_key(key: Path) -> bytes:
    try:
        return key.read_bytes()
    except OSError as error:
        raise UsageError(f"The key {key} cannot be read: {error.strerror}.") from None


# Saved plans come from files and go to files; approvals stand beside them.


_PLACE_HINT: Final = "Name a file with --out, on a disk with room, in a folder that takes one."


def check_writable(path: Path) -> None:
    """Let a run begin that is to save its plan there; nothing is left behind.

    A pipe or a device is refused: a plan is read back, and is there whole or not at all.

    Raises:
        UsageFault: No plan can be saved there. Atlas was not called.
    """
    try:
        partial = _partial_path(_regular_target(path))
        os.close(_create_exclusive(partial))
        partial.unlink()
    except OSError as error:
        raise UsageError(
            f"The plan {path} cannot be saved: {error.strerror}.", hint=_PLACE_HINT
        ) from None


def save(path: Path, context: PlanContext, rows: Iterable[Mapping[str, object]]) -> None:
    """Write a plan, whole or not at all; 0600.

    Raises:
        GuardRefused: It was not saved, whatever `try_place` found. Nothing was deleted: a sweep
            that is to leave its plan behind does not begin without it.
    """
    try:
        _write_atomically(_regular_target(path), context, rows)
    except OSError as error:
        raise GuardRefused(
            f"The plan {path} was not saved: {error.strerror}.", hint=_PLACE_HINT
        ) from None


def _regular_target(path: Path) -> Path:
    target = regular_file_target(path)
    if target is None:
        raise OSError(errno.EINVAL, "it is no plain file, and a plan has to be read back")
    return target


def _write_atomically(
    target: Path, context: PlanContext, rows: Iterable[Mapping[str, object]]
) -> None:
    partial = _partial_path(target)
    try:
        with os.fdopen(_create_exclusive(partial), "wb") as file:
            file.writelines(render_lines(context, rows))
            file.flush()
            os.fsync(file.fileno())
        partial.replace(target)
    except OSError:
        with suppress(OSError):
            partial.unlink()
        raise


def _partial_path(path: Path) -> Path:
    return path.with_name(f".{path.name}.partial")


def _create_exclusive(partial: Path) -> int:
    partial.unlink(missing_ok=True)
    return os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)


def load(path: Path) -> SavedPlan:
    """Read a plan.

    Raises:
        UsageFault: There is no such file.
        GuardRefused: It is no plan, or was edited or cut.
    """
    try:
        with path.open("rb") as file:
            return parse_plan(file)
    except OSError as error:
        raise UsageError(
            f"The plan {path} cannot be read: {error.strerror}.",
            hint="Name one that was saved with: invite-sweeper plan --out FILE",
        ) from None


def signature_path(plan: Path) -> Path:
    """Name the file in which the approval of a plan stands."""
    return plan.with_name(plan.name + ".sig")


def approve(plan: Path, key: Path) -> Path:
    """Sign a plan's digest with a private ed25519 key; gives the signature's file.

    Raises:
        UsageFault: The key cannot be read, or the file not written.
        GuardRefused: The plan is none.
    """
    path = signature_path(plan)
    signature = sign(load(plan).digest, key)
    try:
        path.write_text(signature + "\n", "ascii")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}.") from None
    return path


def require_approval(plan: Path, digest: str, key: Path) -> None:
    """Let a plan pass that the holder of a key has approved.

    Args:
        key: The public key.

    Raises:
        UsageFault: The key cannot be read.
        GuardRefused: There is no approval, or it does not fit the plan and the key.
    """
    path = signature_path(plan)
    try:
        signature = path.read_text("ascii").strip()
    except (OSError, ValueError):
        signature = ""
    if not is_valid_signature(digest, signature, key):
        raise GuardRefused(
            f"The plan has no approval by the key {key}.",
            hint=f"Let its holder run: invite-sweeper plan approve {plan} --key PRIVATE_KEY",
        )
