"""Approvals: a signed note over a saved plan's digest, in the file PLAN.sig.

Only the signature decides. The other lines of the note name the run and the key, so that a
refusal can say what is wrong.
"""

import errno
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from invite_sweeper.endings import Reason
from invite_sweeper.errors import GuardRefused, UsageError
from invite_sweeper.files import open_regular, replace_file
from invite_sweeper.keys import (
    fingerprint,
    openssh_line,
    parse_public_key,
    read_private_key,
    read_public_key,
)
from invite_sweeper.notes import is_signed_by, note_text, sign_note
from invite_sweeper.program import command
from invite_sweeper.sweep.saved_plan import SavedPlan

NOT_APPROVED: Final = "The plan was not approved."
_NAME: Final = "invite-sweeper/plan"
"""The first line of the text, and the key's name. No audit log has a name with a slash, so that
no checkpoint is valid as an approval."""
_TEXT = re.compile(
    rf"{_NAME}\nsha256 (?P<digest>[0-9a-f]{{64}})\nrun (?P<run>[^\n]+)\nkey (?P<key>[^\n]+)\n"
)
_EARLIER_FORMAT: Final = b'{"approval":"invite-sweeper plan approval'
_MAX_APPROVAL_BYTES = 4_096


class Approval(NamedTuple):
    """The content of PLAN.sig.

    Attributes:
        run_id: The run that created the plan.
        digest: The plan's digest.
        key: The approver's public key.
        note: The signed note.
    """

    run_id: str
    digest: str
    key: Ed25519PublicKey
    note: str

    @classmethod
    def parse(cls, data: bytes) -> "Approval | None":
        """Return the approval in a file; None for other data. The signature is not verified."""
        note = data.decode("utf-8", "replace")
        found = _TEXT.fullmatch(note_text(note))
        key = parse_public_key(found["key"].encode()) if found is not None else None
        return (
            None if found is None or key is None else cls(found["run"], found["digest"], key, note)
        )


def signature_path(plan: Path) -> Path:
    """Return the path of a plan's approval."""
    return plan.with_name(plan.name + ".sig")


def sign(
    saved: SavedPlan, key: Path, ask_passphrase: Callable[[str], str] | None = None
) -> Approval:
    """Return the approval of a plan by a private ed25519 key.

    Args:
        ask_passphrase: Called with a question if the key has one; None without a terminal.

    Raises:
        UsageError: The file is not a private ed25519 key, or its passphrase is not known.
    """
    private = read_private_key(key, ask_passphrase)
    run_id = re.sub(r"[\x00-\x1f]", "?", saved.context.run_id)
    public = private.public_key()
    text = f"{_NAME}\nsha256 {saved.digest}\nrun {run_id}\nkey {openssh_line(public)}\n"
    return Approval(run_id, saved.digest, public, sign_note(text, _NAME, private))


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
        data = _read(path)
    except FileNotFoundError:
        return ApprovalCheck(None, f"The signature {path} does not exist.")
    except OSError as error:
        return ApprovalCheck(None, f"The signature {path} cannot be read: {error.strerror}.")
    if data.startswith(_EARLIER_FORMAT):
        return ApprovalCheck(None, f"{path} has the format of an earlier version: approve again.")
    if (approval := Approval.parse(data)) is None:
        return ApprovalCheck(None, f"{path} is not the approval of a plan.")
    refusal = _refusal(saved, approval, required or approval.key)
    return ApprovalCheck(None if refusal else fingerprint(approval.key), refusal)


def _refusal(saved: SavedPlan, approval: Approval, required: Ed25519PublicKey) -> str:
    """Return why an approval does not count for a plan and a key; "" if it does."""
    if not is_signed_by(approval.note, approval.key):
        return "The signature is not valid: its file was changed."
    if approval.key != required:
        return f"It was signed with another key: {fingerprint(approval.key)}."
    if approval.digest == saved.digest:
        return ""
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
            hint="The approver runs: "
            + command("plan", "approve", str(plan), "--key", "PRIVATE_KEY"),
            reasons=(Reason.APPROVAL,),
        )


def check_replaceable(path: Path) -> None:
    """Raise UsageError if a signature must not be written to a path.

    Only a missing file, or an earlier approval that is a regular file of this user with one
    name, may be replaced: another program may have planted a link to a file of the approver.
    """
    try:
        data = _read_own(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise _write_error(path, error.strerror) from None
    if Approval.parse(data) is None and not data.startswith(_EARLIER_FORMAT):
        raise _write_error(path, "the file exists and is not an approval")


def write(path: Path, approval: Approval) -> None:
    """Write an approval atomically; never through a link.

    Raises:
        UsageError: It cannot be written, or another file has its name.
    """
    check_replaceable(path)
    try:
        replace_file(path, [approval.note.encode()], follow_links=False)
    except OSError as error:
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
