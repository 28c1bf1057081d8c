"""Approvals: an ed25519 signature of a saved plan's digest, in the file PLAN.sig.

Only the signature decides. The other fields of the file name the signed plan and the key, so that
a refusal can say what is wrong.
"""

import base64
import binascii
import errno
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import BaseModel, ConfigDict, ValidationError

from invite_sweeper.errors import GuardRefused, Reason, UsageError
from invite_sweeper.files import open_regular
from invite_sweeper.keys import fingerprint as key_fingerprint
from invite_sweeper.keys import parse_public_key, read_private_key, read_public_key
from invite_sweeper.sweep.saved_plan import SavedPlan

FORMAT = "invite-sweeper plan approval 1"
NOT_APPROVED: Final = "The plan was not approved."
_SIGNATURE_CONTEXT = b"invite-sweeper plan approval v1\n"
"""A prefix of the signed bytes, so that no other signature of the key is valid as an approval."""
_MAX_KEY_BYTES = 65_536
_MAX_APPROVAL_BYTES = 4_096


class Approval(BaseModel):
    """The content of PLAN.sig.

    Attributes:
        approval: The format.
        run_id: The run that created the plan.
        plan_sha256: The plan's digest, which is signed.
        public_key: The approver's public key, as in the file `KEY.pub` of OpenSSH.
        signature: Base64.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, defer_build=True)

    approval: str
    run_id: str
    plan_sha256: str
    public_key: str
    signature: str


def signature_path(plan: Path) -> Path:
    """Return the path of a plan's approval."""
    return plan.with_name(plan.name + ".sig")


def sign(saved: SavedPlan, key: Path) -> Approval:
    """Return the approval of a plan by a private ed25519 key.

    Raises:
        UsageError: The file is not a private ed25519 key without a passphrase.
    """
    private = read_private_key(key)
    signature = private.sign(_SIGNATURE_CONTEXT + saved.digest.encode())
    return Approval(
        approval=FORMAT,
        run_id=saved.context.run_id,
        plan_sha256=saved.digest,
        public_key=_openssh(private.public_key()).decode(),
        signature=base64.b64encode(signature).decode(),
    )


def fingerprint(approval: Approval) -> str:
    """Return the fingerprint of the key that an approval names; "" if it is not a key."""
    public = parse_public_key(approval.public_key.encode())
    return key_fingerprint(public) if public is not None else ""


class ApprovalCheck(NamedTuple):
    """Whether a plan is approved.

    Attributes:
        key: The fingerprint of the key whose signature is valid for the plan; None without one.
        refusal: Why the plan does not count as approved, as a sentence; "" if it does.
    """

    key: str | None
    refusal: str


def check_approval(saved: SavedPlan, path: Path, key: Path | None) -> ApprovalCheck:
    """Return whether a plan is approved.

    Args:
        path: The file of the approval.
        key: The public key of the approver; None for any key, which the approval names.

    Raises:
        UsageError: The file is not a public ed25519 key.
    """
    required = read_public_key(key) if key is not None else None
    try:
        approval = _parse(_read(path))
    except FileNotFoundError:
        return ApprovalCheck(None, f"The signature {path} does not exist.")
    except OSError as error:
        return ApprovalCheck(None, f"The signature {path} cannot be read: {error.strerror}.")
    named = parse_public_key(approval.public_key.encode()) if approval is not None else None
    if approval is None or named is None:
        return ApprovalCheck(None, f"{path} is not the approval of a plan.")
    public = required or named
    if _is_signed(saved.digest, approval.signature, public):
        return ApprovalCheck(key_fingerprint(public), "")
    return ApprovalCheck(None, _describe_refusal(saved, approval, named, public))


def _describe_refusal(
    saved: SavedPlan, approval: Approval, named: Ed25519PublicKey, required: Ed25519PublicKey
) -> str:
    if not _is_signed(approval.plan_sha256, approval.signature, named):
        return "The signature is not valid: its file was changed."
    if key_fingerprint(named) != key_fingerprint(required):
        return f"It was signed with another key: {key_fingerprint(named)}."
    if approval.run_id == saved.context.run_id:
        return "The plan was changed after it was signed."
    return f"The signature is for another plan: that of run {approval.run_id}."


def require_approval(plan: Path, saved: SavedPlan, key: Path) -> None:
    """Raise GuardRefused if the plan has no valid approval.

    Args:
        key: The public key of the approver.

    Raises:
        UsageError: The key cannot be read.
        GuardRefused: The signature is missing or does not match the plan and the key.
    """
    check = check_approval(saved, signature_path(plan), key)
    if check.refusal:
        raise GuardRefused(
            f"The plan is not approved with the key {key}. {check.refusal}",
            hint=f"The approver runs: invite-sweeper plan approve {plan} --key PRIVATE_KEY",
            reasons=(Reason.APPROVAL,),
        )


def check_replaceable(path: Path) -> None:
    """Raise UsageError if a signature must not be written to a path.

    Only a missing file, or an earlier approval that is a regular file of this user with one
    name, may be replaced: another program may have planted a link to a file of the approver.
    """
    try:
        is_approval = _parse(_read_own(path)) is not None
    except FileNotFoundError:
        return
    except OSError as error:
        raise _write_error(path, error.strerror) from None
    if not is_approval:
        raise _write_error(path, "the file exists and is not an approval")


def write(path: Path, approval: Approval) -> None:
    """Write an approval atomically; never through a link.

    Raises:
        UsageError: It cannot be written, or another file has its name.
    """
    check_replaceable(path)
    partial: str | None = None
    try:
        # The name is random and the file is new (O_EXCL, O_NOFOLLOW), so none can be planted.
        descriptor, partial = tempfile.mkstemp(prefix=f".{path.name[:100]}.", dir=path.parent)
        with os.fdopen(descriptor, "wb") as file:
            file.write(approval.model_dump_json().encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        Path(partial).replace(path)  # replaces a link itself, not the file that it names
    except OSError as error:
        if partial is not None:
            with suppress(OSError):
                Path(partial).unlink()
        raise _write_error(path, error.strerror) from None


def _write_error(path: Path, reason: str | None) -> UsageError:
    error = UsageError(
        f"{path} cannot be written: {reason}.",
        hint="Move the file away, or copy the plan to a directory that only you can write.",
    )
    error.consequence = NOT_APPROVED
    return error


def _read(path: Path) -> bytes:
    """Return the content of a signature; links are followed, as mounted files are links."""
    with open_regular(path) as file:
        return file.read(_MAX_APPROVAL_BYTES)


def _read_own(path: Path) -> bytes:
    """Return the content of a regular file of this user that has one name."""
    with open_regular(path, follow_links=False) as file:
        status = os.fstat(file.fileno())
        if status.st_nlink != 1 or status.st_uid != os.geteuid():
            raise OSError(errno.EPERM, "the file belongs to another user or has several names")
        return file.read(_MAX_APPROVAL_BYTES)


def _parse(data: bytes) -> Approval | None:
    try:
        approval = Approval.model_validate_json(data)
    except ValidationError:
        return None
    return approval if approval.approval == FORMAT else None


def _is_signed(digest: str, signature: str, key: Ed25519PublicKey) -> bool:
    try:
        key.verify(base64.b64decode(signature, validate=True), _SIGNATURE_CONTEXT + digest.encode())
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True


def _openssh(key: Ed25519PublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
