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

from invite_sweeper.errors import GuardRefused, UsageFault
from invite_sweeper.files import replaceable
from invite_sweeper.models import Invitation
from invite_sweeper.text import fitting

# The saved plan: what may be deleted at most, under a digest. Pure.
#
# A plan is JSON Lines: a header, one line an invitation with its evidence, and a last line with
# the SHA-256 of all the bytes before it. It is a ceiling and no order: a sweep by a plan reads
# the present state again and deletes what is both in the plan and still stale.


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


# A saved plan as a ceiling: what it lets through, and what has become of the rest. Pure.


class Ceiling:
    """What a plan lets through, and what has become of the rest.

    Attributes:
        kept: Of the planned ones, how many are seen but kept now, by reason.
    """

    def __init__(self, saved: SavedPlan) -> None:
        self._left = dict(saved.evidence)
        self.kept: dict[str, int] = {}

    def admits(self, invitation: Invitation) -> bool:
        """Tell whether a stale invitation is in the plan, and the one that was meant."""
        evidence = self._left.pop(_key(invitation), None)
        if evidence is None:
            return False
        created_at = invitation.created_at
        same = isinstance(created_at, datetime) and evidence[0] is not None
        return (
            same and evidence[1] == invitation.username and created_at == instant(evidence[0] or "")
        )

    def note_kept(self, invitation: Invitation, reason: str) -> None:
        """Take into account that an invitation is kept now, whatever the plan says."""
        if self._left.pop(_key(invitation), None) is not None:
            self.kept[reason] = self.kept.get(reason, 0) + 1

    @property
    def unseen(self) -> int:
        """How many planned ones were not seen: gone, or in a list that was not read."""
        return len(self._left)

    def left_out(self) -> Iterator[str]:
        """Say what the plan lists and this run does not delete."""
        for reason, count in sorted(self.kept.items()):
            are = fitting(count, "is", "are")
            yield f"{count:,} of the plan's invitations {are} kept now: {reason}."
        if self.unseen:
            yield (
                f"{self.unseen:,} of the plan's invitations "
                f"{fitting(self.unseen, 'was', 'were')} not seen: "
                "gone, or in a list that was not read."
            )


def _key(invitation: Invitation) -> Key:
    return invitation.source.value, invitation.project_id, invitation.id


# Approvals: ed25519 signatures over a plan's digest, by the library `cryptography`.


_CONTEXT = b"invite-sweeper plan approval v1\n"
"""What is signed names its purpose, so that no other signature of the key can pass for it."""


def sign(digest: str, key: Path) -> str:
    """Sign a plan's digest; base64.

    Raises:
        UsageFault: The file holds no private ed25519 key without a passphrase.
    """
    data = _read(key)
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
        raise UsageFault(
            f"{key} holds no private ed25519 key without a passphrase.",
            hint="Make one: ssh-keygen -t ed25519 -f KEY, or openssl genpkey -algorithm ed25519",
        )
    return base64.b64encode(private.sign(_CONTEXT + digest.encode())).decode()


def verify(digest: str, signature: str, key: Path) -> bool:
    """Tell whether the holder of the key has signed the digest.

    Raises:
        UsageFault: The file holds no public ed25519 key.
    """
    public = _public(key)
    try:
        public.verify(base64.b64decode(signature, validate=True), _CONTEXT + digest.encode())
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True


def _public(key: Path) -> Ed25519PublicKey:
    data = _read(key)
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
        raise UsageFault(f"{key} holds no public ed25519 key.", hint="Give the .pub file.")
    return public


def _read(key: Path) -> bytes:
    try:
        return key.read_bytes()
    except OSError as error:
        raise UsageFault(f"The key {key} cannot be read: {error.strerror}.") from None


# Saved plans come from files and go to files; approvals stand beside them.


_PLACE_HINT: Final = "Name a file with --out, on a disk with room, in a folder that takes one."


def try_place(path: Path) -> None:
    """Let a run begin that is to save its plan there; nothing is left behind.

    A pipe or a device is refused: a plan is read back, and is there whole or not at all.

    Raises:
        UsageFault: No plan can be saved there. Atlas was not called.
    """
    try:
        partial = _partial(_target(path))
        os.close(_opened(partial))
        partial.unlink()
    except OSError as error:
        raise UsageFault(
            f"The plan {path} cannot be saved: {error.strerror}.", hint=_PLACE_HINT
        ) from None


def save(path: Path, context: PlanContext, rows: Iterable[Mapping[str, object]]) -> None:
    """Write a plan, whole or not at all; 0600.

    Raises:
        GuardRefused: It was not saved, whatever `try_place` found. Nothing was deleted: a sweep
            that is to leave its plan behind does not begin without it.
    """
    try:
        _replace(_target(path), context, rows)
    except OSError as error:
        raise GuardRefused(
            f"The plan {path} was not saved: {error.strerror}.", hint=_PLACE_HINT
        ) from None


def _target(path: Path) -> Path:
    target = replaceable(path)
    if target is None:
        raise OSError(errno.EINVAL, "it is no plain file, and a plan has to be read back")
    return target


def _replace(target: Path, context: PlanContext, rows: Iterable[Mapping[str, object]]) -> None:
    partial = _partial(target)
    try:
        with os.fdopen(_opened(partial), "wb") as file:
            file.writelines(write(context, rows))
            file.flush()
            os.fsync(file.fileno())
        partial.replace(target)
    except OSError:
        with suppress(OSError):
            partial.unlink()
        raise


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}.partial")


def _opened(partial: Path) -> int:
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
            return read(file)
    except OSError as error:
        raise UsageFault(
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
        raise UsageFault(f"{path} cannot be written: {error.strerror}.") from None
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
    if not verify(digest, signature, key):
        raise GuardRefused(
            f"The plan has no approval by the key {key}.",
            hint=f"Let its holder run: invite-sweeper plan approve {plan} --key PRIVATE_KEY",
        )
