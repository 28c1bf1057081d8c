"""What a command writes takes the place of nothing that it reads, locks or accounts in."""

import os
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from itertools import combinations
from pathlib import Path

from invite_sweeper.audit import AuditTarget
from invite_sweeper.cli.order import RunOptions
from invite_sweeper.cli.plan_files import signature_path
from invite_sweeper.errors import UsageFault


def raise_if_same(outputs: Mapping[str, Path | None], others: Iterable[tuple[str, Path]]) -> None:
    """Let a command pass whose outputs are files of their own.

    Args:
        outputs: By the option that names each; None where it was not given.
        others: Each of the others, and what it is.

    Raises:
        UsageFault: Two are one file, by whatever names. Atlas was not called.
    """
    named = [(option, path) for option, path in outputs.items() if path is not None]
    if not named:
        return
    pairs = [*combinations(named, 2), *((one, other) for other in others for one in named)]
    for (option, path), (what, other) in pairs:
        if _are_one(path, other):
            raise UsageFault(
                f"{option} {path} would take the place of {what} {other}.",
                hint="Name another file.",
            )


def raise_if_taken_for_log(outputs: Mapping[str, Path | None], target: AuditTarget) -> None:
    """Let a command pass whose outputs no later run would read as audit logs.

    Raises:
        UsageFault: One of them has such a name. Atlas was not called.
    """
    for option, path in outputs.items():
        if path is not None and target.takes_for_log(path):
            raise UsageFault(
                f"{option} {path} would be taken for an audit log: {target.template} names those.",
                hint="Name a file elsewhere.",
            )


def others_of(
    options: RunOptions, target: AuditTarget, now: datetime
) -> Iterator[tuple[str, Path]]:
    """Give the files of a run that it must not lose; logs of earlier runs are among them."""
    yield "the policy", options.policy
    yield "the lock", target.lock_path
    # An id that is still to be drawn names no file yet.
    for log in (target.path(now=now, run_id=""), *target.files()):
        yield "the audit log", log
    if options.plan is not None:
        yield "the plan", options.plan.path
        yield "the plan's approval", signature_path(options.plan.path)
        if options.plan.require_approval is not None:
            yield "the key", options.plan.require_approval


def _are_one(path: Path, other: Path) -> bool:
    try:
        return path.samefile(other)
    except OSError:  # one of them is not there yet
        return os.path.realpath(path) == os.path.realpath(other)
