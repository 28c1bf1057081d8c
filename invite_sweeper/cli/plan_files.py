"""Saved plans come from files and go to files; approvals stand beside them."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from invite_sweeper.errors import GuardRefused, UsageFault
from invite_sweeper.plan import Basis, SavedPlan, read, write


def save(path: Path, basis: Basis, rows: Iterable[Mapping[str, object]]) -> None:
    """Write a plan, whole or not at all; 0600.

    Raises:
        UsageFault: It cannot be written. Nothing was deleted.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.unlink(missing_ok=True)
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.writelines(write(basis, rows))
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise UsageFault(f"The plan {path} cannot be written: {error.strerror}.") from None


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
        raise UsageFault(f"The plan {path} cannot be read: {error.strerror}.") from None


def signature_path(plan: Path) -> Path:
    """Name the file in which the approval of a plan stands."""
    return plan.with_name(plan.name + ".sig")


def approve(plan: Path, key: Path) -> Path:
    """Sign a plan's digest with a private ed25519 key; gives the signature's file.

    Raises:
        UsageFault: The key cannot be read, or the file not written.
        GuardRefused: The plan is none.
    """
    from invite_sweeper.cli.approval import sign

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
    from invite_sweeper.cli.approval import verify

    path = signature_path(plan)
    try:
        signature = path.read_text("ascii").strip()
    except (OSError, ValueError):
        signature = ""
    if not verify(digest, signature, key):
        raise GuardRefused(
            f"The plan has no approval by the key {key}.",
            mend=f"Let its holder run: invite-sweeper plan approve {plan} --key PRIVATE_KEY",
        )
