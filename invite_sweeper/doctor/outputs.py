"""Checks of what a sweep writes beside the audit log, and of the counts that it is compared with.

No check writes a file.
"""

import os
from collections.abc import Collection
from pathlib import Path

from invite_sweeper.doctor.diagnosis import Check, failed, ok, warning
from invite_sweeper.errors import GuardRefused, UsageError
from invite_sweeper.files import WRITABLE_FILE_HINT, regular_file_target, replaceable_target
from invite_sweeper.models import Population
from invite_sweeper.policy import Limits
from invite_sweeper.sweep.guards import check_population
from invite_sweeper.text import pluralize


def output_check(name: str, path: Path) -> Check:
    """Check that a sweep can write a file, without which it does not start."""
    try:
        target = replaceable_target(path)
    except OSError as error:
        reason = error.strerror or str(error)
    else:
        reason = _reason_against(target.parent)
    if reason:
        message = f"The {name} {path} cannot be written: {reason}."
        return failed(name, UsageError(message, hint=WRITABLE_FILE_HINT))
    return ok(name, f"{path} can be written.")


def metrics_check(path: Path) -> Check:
    """Check that a sweep can write its metrics; it runs without them, too."""
    name = "metrics file"
    try:
        target = regular_file_target(path)
    except OSError as error:
        reason = error.strerror or str(error)
    else:
        reason = _reason_against(target.parent) if target is not None else ""
    if reason:
        return warning(name, f"{path} cannot be written: {reason}.", WRITABLE_FILE_HINT)
    return ok(name, f"{path} can be written.")


def _reason_against(folder: Path) -> str:
    """Return why this user cannot write files in a folder; "" if it can."""
    if not folder.exists():
        return f"the folder {folder} does not exist"
    if not folder.is_dir():
        return f"{folder} is not a folder"
    if not os.access(folder, os.W_OK | os.X_OK):
        return f"this user may not write to {folder}"
    return ""


def population_check(
    previous: Population, current: Population, limits: Limits, unknown: Collection[str]
) -> Check:
    """Check whether a sweep would be refused because projects or invitations dropped.

    Args:
        previous: What the last complete run left.
        current: What is there now.
        unknown: Sources that are not compared: a list of them could not be read, or is retired.
    """
    name = "baselines"
    if not (previous.projects or previous.visible_projects):
        return ok(name, "No complete run yet with which a sweep would be compared.")
    try:
        check_population(previous, current, limits, retired=unknown)
    except GuardRefused as error:
        return failed(name, error)
    found = pluralize(sum(current.invitations.values()), "invitation")
    left = pluralize(sum(previous.invitations.values()), "invitation")
    return ok(
        name,
        f"{pluralize(current.projects, 'project')} with {found}; the last complete run left "
        f"{previous.projects:,} with {left}.",
    )
