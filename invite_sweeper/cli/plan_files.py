"""Saved plans come from files and go to files; approvals stand beside them."""

import errno
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from invite_sweeper.cli.approval import sign, verify
from invite_sweeper.errors import GuardRefused, UsageFault
from invite_sweeper.outfile import replaceable
from invite_sweeper.plan import PlanContext, SavedPlan, read, write

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
