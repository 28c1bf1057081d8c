"""Checks of policy, credentials, audit log, Atlas."""

import fcntl
import os
import shutil
import stat
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Final

from invite_sweeper.atlas import ApiKey, BearerToken, Credentials
from invite_sweeper.atlas.auth import jwt_expiry
from invite_sweeper.atlas.rate_limits import AdvertisedLimit, documented_limit, endpoint_set_of
from invite_sweeper.atlas.responses import ACCESS_LIST_HINT, UNAUTHENTICATED_CODES
from invite_sweeper.atlas.sources import SOURCES
from invite_sweeper.audit import RunLock, open_intents, read_runs
from invite_sweeper.audit.storage import ensure_private_directory
from invite_sweeper.errors import (
    AtlasUnavailable,
    AuditLogError,
    CredentialsRefused,
    ExitCode,
    GuardRefused,
    RunError,
)
from invite_sweeper.models import ListUnreadable, Project, Source
from invite_sweeper.policy import Limits, Policy
from invite_sweeper.sweep.discovery import ListCounts, count_lists
from invite_sweeper.sweep.guards import MAX_CLOCK_SKEW_S
from invite_sweeper.sweep.scope import RunScope
from invite_sweeper.sweep.summary import SUNSET_WARNING_DAYS
from invite_sweeper.text import plural_form, pluralize

__all__ = [
    "Check",
    "CheckState",
    "Diagnosis",
    "ListCounts",
    "atlas_error_check",
    "audit_checks",
    "clock_check",
    "count_lists",
    "coverage_checks",
    "credentials_check",
    "earlier_run_checks",
    "failed",
    "list_checks",
    "lock_check",
    "ok",
    "organization_checks",
    "policy_checks",
    "quarantine_check",
    "rate_limit_checks",
    "sunset_checks",
    "warning",
]


# What one look found: fine, worth a look, or what would stop a sweep. Pure.


class CheckState(StrEnum):
    """How it stands."""

    OK = "ok"
    WARNING = "warning"
    """A sweep would run, and perhaps not do all that is wanted."""
    FAILED = "failed"
    """A sweep would end with the check's code."""


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the doctor's.

    Attributes:
        name: What was looked at.
        message: One sentence for a person.
        hint: What to do about it; "" where there is nothing to do.
        code: What a sweep would end with; 0 unless failed.
    """

    name: str
    state: CheckState
    message: str
    hint: str = ""
    exit_code: ExitCode = ExitCode.DONE


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All lines, in the order in which a sweep comes upon what they tell of."""

    now: datetime
    checks: Sequence[Check]

    @property
    def exit_code(self) -> int:
        """The code that a sweep would end with, else 4 with a warning, else 0."""
        for check in self.checks:
            if check.state is CheckState.FAILED:
                return int(check.exit_code)
        warned = any(check.state is CheckState.WARNING for check in self.checks)
        return int(ExitCode.PARTIAL if warned else ExitCode.DONE)

    def to_json(self) -> dict[str, object]:
        """Return the object that `--output json` writes."""
        return {
            "now": self.now,
            "checks": [
                {"check": c.name, "state": c.state, "what": c.message, "mend": c.hint or None}
                for c in self.checks
            ],
            "exit_code": self.exit_code,
        }


def ok(name: str, message: str) -> Check:
    """Say that something is fine."""
    return Check(name, CheckState.OK, message)


def warning(name: str, message: str, hint: str = "") -> Check:
    """Say that something is worth a look."""
    return Check(name, CheckState.WARNING, message, hint)


def failed(name: str, error: RunError) -> Check:
    """Say what would stop a sweep, and with which code."""
    return Check(name, CheckState.FAILED, error.message, error.hint, error.exit_code)


# The policy, the credentials and the organizations, as far as they can be told. Pure.


_POLICY: Final = "policy"
_CREDENTIALS: Final = "credentials"
_ORGANIZATIONS: Final = "organizations"
_TOKEN_EXPIRY_WARNING: Final = timedelta(hours=1)


def policy_checks(policy: Policy, path: Path, now: datetime) -> Iterator[Check]:
    """Tell what the policy is, and what in it may not be meant."""
    yield ok(
        _POLICY,
        f"{path} is valid: {pluralize(len(policy.rules), 'rule')}, "
        f"{pluralize(len(policy.keep), 'keep entry', 'keep entries')}, "
        f"sources {', '.join(policy.sources)} (SHA-256 {policy.sha256}).",
    )
    for sentence in policy.warnings(now.date()):
        yield warning(_POLICY, sentence)


def quarantine_check(policy: Policy, last_sha256: str | None) -> Check:
    """Tell whether a sweep by this policy would be held as a changed one.

    Args:
        last_sha256: The policy of the last sweep; None where there was none.
    """
    name = "quarantine"
    if not policy.limits.quarantine:
        return ok(name, "Off: a changed policy acts at once (limits.quarantine).")
    if last_sha256 in {None, policy.sha256}:
        return ok(name, "On, and the policy is the last sweep's, or there was none.")
    error = GuardRefused(
        "The policy has changed since the last sweep, which holds the next one.",
        hint=f"Read what it changes with `plan`; then sweep --accept-policy {policy.sha256}",
    )
    return failed(name, error)


def credentials_check(credentials: Credentials, now: datetime) -> Check:
    """Tell the kind and the name; never a secret."""
    if isinstance(credentials, BearerToken):
        return _token_check(credentials, now)
    if isinstance(credentials, ApiKey):
        return ok(_CREDENTIALS, f"API key {credentials.public_key}; it does not expire.")
    return ok(
        _CREDENTIALS,
        f"Service account {credentials.client_id}; a token is fetched and revoked each run. "
        "Until when its secret is good is told in Atlas, not here.",
    )


def organization_checks(
    policy: Policy, scope: RunScope, other_organizations: Sequence[Project]
) -> Iterator[Check]:
    """Tell whose projects the credentials can see."""
    yield ok(_ORGANIZATIONS, f"In sight: {', '.join(scope.organizations)}.")
    for org_id in sorted(policy.organization_ids - set(scope.organizations)):
        message = f"No project of organization {org_id} is in sight."
        hint = "A credential belongs to one organization; check the id."
        yield warning(_ORGANIZATIONS, message, hint)
    if other_organizations:
        owners = ", ".join(sorted({project.org_id for project in other_organizations}))
        are = plural_form(len(other_organizations), "is", "are")
        projects = pluralize(len(other_organizations), "project")
        message = f"{projects} of other organizations {are} in sight, and never touched"
        yield ok(_ORGANIZATIONS, f"{message}: {owners}.")


def atlas_error_check(error: RunError) -> Check:
    """Say what Atlas's answer, or the want of one, means."""
    if isinstance(error, GuardRefused):
        return failed(_ORGANIZATIONS, error)
    if not isinstance(error, CredentialsRefused):
        return failed("Atlas", error)
    return failed("access list" if error.hint == ACCESS_LIST_HINT else _CREDENTIALS, error)


def _token_check(credentials: BearerToken, now: datetime) -> Check:
    expires_at = jwt_expiry(credentials.token)
    if expires_at is None:
        return ok(_CREDENTIALS, "A ready token; it does not tell when it ends.")
    description = f"A ready token that ends at {expires_at:%Y-%m-%d %H:%M} UTC"
    hint = "Fetch a new one, or give the credentials of a service account."
    if expires_at <= now:
        return failed(
            _CREDENTIALS, CredentialsRefused(f"{description}, which has passed.", hint=hint)
        )
    if expires_at - now < _TOKEN_EXPIRY_WARNING:
        return warning(_CREDENTIALS, f"{description}, within the hour.", hint)
    return ok(_CREDENTIALS, f"{description}.")


# The audit log's folder, lock and earlier runs; reads, and makes no file.


_FOLDER: Final = "audit folder"
_LOG: Final = "audit log"
_LOCK: Final = "lock"
_RUNS: Final = "earlier runs"
_MIN_FREE_BYTES: Final = 100 * 1024 * 1024
_GROUP_AND_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


def audit_checks(path: Path) -> Iterator[Check]:
    """Look at the file of a log and its folder, whether or not they are there."""
    absolute = path.absolute()
    try:
        yield _folder_check(absolute.parent)
        yield from _file_checks(absolute)
    except AuditLogError as error:
        yield failed(_FOLDER, error)
    except OSError as error:
        message = f"{absolute.parent} cannot be looked at: {error.strerror or error}."
        yield failed(_FOLDER, AuditLogError(message))


def _folder_check(folder: Path) -> Check:
    existing = next(each for each in (folder, *folder.parents) if os.path.lexists(each))
    ensure_private_directory(existing)  # makes nothing: it is there
    if not os.access(existing, os.W_OK | os.X_OK):
        raise AuditLogError(
            f"This user cannot write to {existing}.", hint="Name an audit log elsewhere."
        )
    free_bytes = shutil.disk_usage(existing).free
    if free_bytes < _MIN_FREE_BYTES:
        return warning(
            _FOLDER, f"{folder} has room for {free_bytes // 1024:,} KiB alone.", "Make room."
        )
    if existing != folder:
        return ok(_FOLDER, f"{folder} is not there yet; it will be made, for this user alone.")
    mode = stat.S_IMODE(folder.stat().st_mode)
    if mode & _GROUP_AND_OTHERS:
        return ok(_FOLDER, f"{folder} can be written; others can look into it ({mode:04o}).")
    return ok(_FOLDER, f"{folder} can be written, and is this user's alone.")


def _file_checks(path: Path) -> Iterator[Check]:
    if not os.path.lexists(path):
        yield ok(_LOG, f"{path} is not there yet.")
        return
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode):
        raise AuditLogError(f"The audit log {path} is no plain file.", hint="Name a file.")
    if status.st_uid not in {0, os.geteuid()}:
        raise AuditLogError(f"The audit log {path} belongs to another user.")
    if status.st_mode & stat.S_IWOTH:
        raise AuditLogError(f"Others can write to {path}.", hint=f"chmod 600 {path}")
    if not os.access(path, os.R_OK | os.W_OK):
        raise AuditLogError(f"This user cannot write to {path}.", hint=f"chmod 600 {path}")
    if status.st_mode & _GROUP_AND_OTHERS:
        yield warning(_LOG, f"Others can read {path}.", f"chmod 600 {path}")
    else:
        yield ok(_LOG, f"{path} is private; {status.st_size:,} bytes.")


def lock_check(lock: RunLock, path: Path) -> Check:
    """Tell whether another run holds the lock; it is not taken from anybody."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return ok(_LOCK, "Nobody holds it.")
    except OSError as error:
        message = f"The lock {path} cannot be looked at: {error.strerror or error}."
        return failed(_LOCK, AuditLogError(message))
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return failed(_LOCK, lock.held_error())
    finally:
        os.close(descriptor)
    return ok(_LOCK, "Nobody holds it.")


def earlier_run_checks(files: Sequence[Path]) -> Iterator[Check]:
    """Tell of the last run, and of what a run that was cut off left open."""
    try:
        runs = deque(read_runs(*files), maxlen=1)
        intents = open_intents(*files)
    except GuardRefused as error:
        yield failed(_RUNS, error)
        return
    last = runs.pop() if runs else None
    if last is None:
        yield ok(_RUNS, "None yet.")
    elif not last.finished:
        are = plural_form(len(intents), "is", "are")
        yield warning(
            _RUNS,
            f"The last one, {last.run_id}, has no end: it was killed, or it runs.",
            f"{len(intents)} of its calls {are} unsettled; the next sweep settles them.",
        )
    else:
        code = f"exit code {last.exit_code}"
        yield ok(_RUNS, f"The last one, {last.run_id} ({last.mode}), ended with {code}.")


# What Atlas's answers say of the next sweep. Pure.


_CLOCK_WARNING_S: Final = 60.0
_UNAUTHORIZED: Final = 401
_MAX_NAMED: Final = 10


def clock_check(skew_s: float | None) -> Check:
    """Hold our clock against Atlas's; ages are counted by ours."""
    name, hint = "clock", "Set this machine's clock by NTP."
    if skew_s is None:
        return warning(name, "No answer of Atlas had a date.")
    description = (
        f"This machine's clock is {abs(skew_s):.0f} s {'ahead of' if skew_s > 0 else 'behind'}"
    )
    if abs(skew_s) > MAX_CLOCK_SKEW_S:
        return failed(name, GuardRefused(f"{description} Atlas's.", hint=hint))
    if abs(skew_s) > _CLOCK_WARNING_S:
        return warning(name, f"{description} Atlas's.", hint)
    return ok(name, f"{description} Atlas's.")


def list_checks(sources: Sequence[Source], counts: ListCounts, limits: Limits) -> Iterator[Check]:
    """Tell of each list of the policy whether it can be read, and by which role deleted from."""
    if counts.retired.keys() >= set(sources):
        message = " ".join(each.reason for each in counts.retired.values())
        yield failed("lists", AtlasUnavailable(message, hint=sources[0].replacement_hint))
        return
    for source in sources:
        yield _list_check(source, counts)
    projects = {lost.project_id for lost in counts.unreadable}
    if len(projects) > limits.max_unreadable_projects:
        yield failed(
            "lists",
            GuardRefused(
                f"{pluralize(len(projects), 'project')} cannot be read, "
                f"over max_unreadable_projects: {limits.max_unreadable_projects}.",
                hint="Give the credentials the role there, or leave the projects out.",
            ),
        )
    if counts.skipped:
        lists = pluralize(counts.skipped, "list")
        was = plural_form(counts.skipped, "was", "were")
        yield warning("lists", f"{lists} {was} not looked at: there are many.")


def _list_check(source: Source, counts: ListCounts) -> Check:
    name = f"list {source}"
    if source in counts.retired:
        return warning(name, counts.retired[source].reason, source.replacement_hint)
    unreadable = [each for each in counts.unreadable if each.source is source]
    reading, deleting = SOURCES[source].roles
    if unreadable:
        where = _format_names([each.project_name or each.project_id for each in unreadable])
        if any(map(_is_missing_role, unreadable)):
            hint = f"Give the credentials the role {deleting} there, or leave it out."
            return warning(name, f"The role is missing in {len(unreadable)}: {where}.", hint)
        return warning(name, f"{len(unreadable)} cannot be read: {where}. {unreadable[0].reason}")
    pending = counts.pending[source]
    wait = plural_form(pending, "waits", "wait")
    description = f"{pending:,} {wait} in {counts.lists_read[source]:,} of them"
    if reading == deleting:
        return ok(name, f"{description}; the role {deleting} is there.")
    return ok(name, f"{description}; a deletion needs {deleting}, which reading cannot tell.")


def _is_missing_role(unreadable: ListUnreadable) -> bool:
    return (
        unreadable.http_status == _UNAUTHORIZED
        and unreadable.error_code not in UNAUTHENTICATED_CODES
    )


def rate_limit_checks(
    advertised: Sequence[AdvertisedLimit], sources: Sequence[Source], reserve: float
) -> Iterator[Check]:
    """Tell what Atlas allows, and what the policy's reserve leaves of it."""
    known = {endpoint_set_of(each): each.limit for each in advertised if each.limit.is_usable}
    for name in dict.fromkeys(
        ["projects_user", *(SOURCES[source].list.endpoint_set for source in sources)]
    ):
        limit = known.get(name, documented_limit(name))
        origin = "" if name in known else " (as documented; Atlas does not tell)"
        available = limit.capacity - limit.reserve(reserve)
        yield ok(
            f"rate limit {name}",
            f"{limit.capacity:g} requests, {limit.refill:g} more every {limit.period_s:g} s"
            f"{origin}; a reserve of {reserve:.0%} leaves {available:g}.",
        )


def sunset_checks(
    sunsets: Mapping[Source, date], sources: Sequence[Source], today: date
) -> Iterator[Check]:
    """Tell until when Atlas serves each list, and which of the policy's still work after that."""
    for source, day in sorted(sunsets.items()):
        days_left = (day - today).days
        when = f"Atlas serves it until {day}, {days_left} days from now."
        if source in sources and days_left <= SUNSET_WARNING_DAYS:
            yield warning(f"sunset {source}", when, source.replacement_hint)
        else:
            yield ok(f"sunset {source}", when)
    without_sunset = [source for source in sources if source not in sunsets]
    if without_sunset:
        yield ok("sunset", f"Without an end that Atlas names: {', '.join(without_sunset)}.")
    else:
        first = min(day for source, day in sunsets.items() if source in sources)
        yield ok("sunset", f"None of the policy's lists works after {first}.")


def coverage_checks(
    in_scope: int,
    excluded: Sequence[Project],
    excluded_counts: ListCounts,
    covered_counts: ListCounts,
    other_counts: ListCounts,
) -> Iterator[Check]:
    """Tell what the policy covers and what it does not, with counts where they can be read.

    Args:
        in_scope: Projects that the policy speaks of.
        left_alone: Other projects of its organizations.
        outside: The policy's lists of those.
        covered: The policy's lists of its own projects and organizations.
        unnamed: Their other lists.
    """
    name = "coverage"
    all_projects = pluralize(in_scope + len(excluded), "project")
    yield ok(name, f"{in_scope} of {all_projects} {plural_form(in_scope, 'is', 'are')} in scope.")
    if excluded:
        names = _format_names([project.name for project in excluded])
        unreadable_note = (
            f", {len(excluded_counts.unreadable)} could not be read"
            if excluded_counts.unreadable
            else ""
        )
        waiting = excluded_counts.pending.total()
        wait = plural_form(waiting, "waits", "wait")
        yield ok(name, f"Left alone: {names}; {waiting:,} {wait} there{unreadable_note}.")
    covered_users = set().union(*covered_counts.users.values())
    for source in Source:
        if source not in other_counts.lists_read:
            continue
        others = len(other_counts.users.get(source, set()) - covered_users)
        who = f"{pluralize(others, 'person', 'people')} {plural_form(others, 'waits', 'wait')}"
        message = f"{who} in the list {source} alone, which is not among sources."
        yield warning(name, message, f"Add {source} to sources.") if others else ok(name, message)
    for source, unreadable_count in _count_by_source(other_counts.unreadable).items():
        yield ok(
            name, f"The list {source}, not among sources, cannot be read in {unreadable_count}."
        )


def _count_by_source(unreadable: Sequence[ListUnreadable]) -> Mapping[Source, int]:
    counts: dict[Source, int] = {}
    for each in unreadable:
        counts[each.source] = counts.get(each.source, 0) + 1
    return counts


def _format_names(names: Sequence[str]) -> str:
    rest = f" and {len(names) - _MAX_NAMED:,} more" if len(names) > _MAX_NAMED else ""
    return ", ".join(names[:_MAX_NAMED]) + rest
