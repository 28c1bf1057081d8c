"""Checks of `doctor`: policy, credentials, audit log and Atlas.

They are listed in the order in which a sweep would reach them. No check writes a file or takes
the lock.
"""

import fcntl
import os
import shutil
import stat
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Final

import msgspec

from invite_sweeper.atlas import ApiKey, BearerToken, Credentials
from invite_sweeper.atlas.auth import jwt_expiry
from invite_sweeper.atlas.rate_limits import AdvertisedLimit, documented_limit, endpoint_set_of
from invite_sweeper.atlas.responses import ACCESS_LIST_HINT
from invite_sweeper.atlas.sources import SOURCES
from invite_sweeper.audit import History, LogPath, RunLock
from invite_sweeper.audit.head import check_end
from invite_sweeper.audit.storage import ensure_private_directory
from invite_sweeper.endings import UNFINISHED_ADVICE, ExitCode
from invite_sweeper.errors import (
    AtlasUnavailable,
    AuditLogError,
    CredentialsRefused,
    GuardRefused,
    RunError,
)
from invite_sweeper.models import (
    MAX_CLOCK_SKEW_S,
    UNAUTHENTICATED_CODES,
    ListUnreadable,
    OrganizationName,
    Project,
    Source,
)
from invite_sweeper.policy import Limits, Policy
from invite_sweeper.sweep.accepted_policy import AcceptedPolicy
from invite_sweeper.sweep.discovery import MAX_LISTS, ListCounts, count_lists
from invite_sweeper.sweep.scope import RunScope
from invite_sweeper.sweep.sunset import SUNSET_WARNING_DAYS
from invite_sweeper.text import describe_duration, organization_label, plural_form, pluralize

__all__ = [
    "Check",
    "CheckResult",
    "CheckState",
    "Completeness",
    "Diagnosis",
    "DiagnosisResult",
    "ListCounts",
    "atlas_error_check",
    "audit_checks",
    "clock_check",
    "count_lists",
    "coverage_checks",
    "credentials_check",
    "earlier_run_check",
    "failed",
    "list_checks",
    "lock_check",
    "log_end_checks",
    "note",
    "ok",
    "organization_checks",
    "policy_checks",
    "quarantine_check",
    "rate_limit_checks",
    "sunset_checks",
    "warning",
]


class CheckState(StrEnum):
    """The result of a check."""

    OK = "ok"
    NOTE = "note"
    """Nothing is wrong, but a date comes that requires a change of the policy."""
    WARNING = "warning"
    """A sweep would run, but may not do everything that is expected."""
    FAILED = "failed"
    """A sweep would end with the check's exit code."""


_MAX_NAMED_ORGANIZATIONS: Final = 3


@dataclass(frozen=True, slots=True)
class Check:
    """One check and its result.

    Attributes:
        name: What was checked.
        message: One sentence.
        hint: What to do about it, or "".
        exit_code: What a sweep would end with; 0 unless failed.
    """

    name: str
    state: CheckState
    message: str
    hint: str = ""
    exit_code: ExitCode = ExitCode.DONE


class CheckResult(msgspec.Struct, frozen=True):
    """One check of `doctor`."""

    check: str
    state: CheckState
    message: str
    hint: str | None


class Completeness(msgspec.Struct, frozen=True):
    """Whom Atlas's events of the last 30 days name as invited, and what became of them.

    Attributes:
        organization: Its id.
        invited: Addresses that were invited.
        listed: Those that a list shows.
        joined: Those of the others that joined.
        deleted: Those of the rest whose invitation the audit log says was deleted.
        unexplained: The addresses that are left.
        lists_complete: Whether every list could be read.
    """

    organization: str
    invited: int
    listed: int
    joined: int
    deleted: int
    unexplained: list[str]
    lists_complete: bool


class DiagnosisResult(msgspec.Struct, frozen=True):
    """The result of `doctor`.

    Attributes:
        verdict: What the checks mean for the next sweep.
        completeness: Of each organization whose events could be read.
        exit_code: What a sweep would end with; 4 if there are only warnings.
    """

    now: datetime
    verdict: str
    organizations: list[OrganizationName]
    checks: list[CheckResult]
    completeness: list[Completeness]
    exit_code: int


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All checks of one `doctor` run, in order.

    Attributes:
        organizations: Names of the policy's organizations by id; None where Atlas did not
            return one.
    """

    now: datetime
    checks: Sequence[Check]
    organizations: Mapping[str, str | None]
    completeness: Sequence[Completeness] = ()

    @property
    def exit_code(self) -> int:
        """Return the code that a sweep would end with, 4 if there are only warnings, or 0."""
        for check in self.checks:
            if check.state is CheckState.FAILED:
                return int(check.exit_code)
        warned = any(check.state is CheckState.WARNING for check in self.checks)
        return int(ExitCode.PARTIAL if warned else ExitCode.DONE)

    @property
    def verdict(self) -> str:
        """Return what the checks mean for the next sweep, in one sentence."""
        states = Counter(check.state for check in self.checks)
        warnings, failures = states[CheckState.WARNING], states[CheckState.FAILED]
        counts = [pluralize(warnings, "warning")] if warnings else []
        counts += [f"{failures} failed"] if failures else []
        labels = [organization_label(*each) for each in self.organizations.items()]
        where = f" of {', '.join(labels)}" if labels else ""
        if len(labels) > _MAX_NAMED_ORGANIZATIONS:
            where = f" of {len(labels)} organizations"
        code = ExitCode(self.exit_code)
        end = f"a sweep{where} would run"
        if failures:
            end = f"a sweep{where} would end with exit code {code} ({code.label})"
        elif warnings:
            end += ", but may not delete everything that is stale"
        return f"{', '.join(counts) or 'All checks passed'}: {end}."

    def result(self) -> DiagnosisResult:
        """Return what `--output json` writes."""
        return DiagnosisResult(
            now=self.now,
            verdict=self.verdict,
            organizations=[OrganizationName(*each) for each in self.organizations.items()],
            checks=[CheckResult(c.name, c.state, c.message, c.hint or None) for c in self.checks],
            completeness=list(self.completeness),
            exit_code=self.exit_code,
        )


def ok(name: str, message: str) -> Check:
    """Return a check that passed."""
    return Check(name, CheckState.OK, message)


def note(name: str, message: str, hint: str = "") -> Check:
    """Return a check that passed, with something to plan for."""
    return Check(name, CheckState.NOTE, message, hint)


def warning(name: str, message: str, hint: str = "") -> Check:
    """Return a check that warns."""
    return Check(name, CheckState.WARNING, message, hint)


def failed(name: str, error: RunError) -> Check:
    """Return a check that failed with the error that a sweep would end with."""
    return Check(name, CheckState.FAILED, error.message, error.hint, error.exit_code)


# Policy, credentials and organizations.


_POLICY: Final = "policy"
_CREDENTIALS: Final = "credentials"
_ORGANIZATIONS: Final = "organizations"
_TOKEN_EXPIRY_WARNING: Final = timedelta(hours=1)


def policy_checks(policy: Policy, path: Path, now: datetime) -> Iterator[Check]:
    """Yield a summary of the policy, and its warnings."""
    yield ok(
        _POLICY,
        f"{path} is valid: {pluralize(len(policy.rules), 'rule')}, "
        f"{pluralize(len(policy.keep), 'keep entry', 'keep entries')}, "
        f"sources {', '.join(policy.sources)} (SHA-256 {policy.sha256}).",
    )
    for sentence in policy.warnings(now.date()):
        yield warning(_POLICY, sentence)


def quarantine_check(policy: Policy, accepted: AcceptedPolicy | None) -> Check:
    """Check whether the quarantine would stop the next sweep with this policy.

    Args:
        accepted: The policy of the last sweep; None without an earlier sweep.
    """
    name = "quarantine"
    if not (policy.limits.quarantine or (accepted is not None and accepted.quarantine)):
        return ok(name, "Off: a changed policy takes effect at once (limits.quarantine).")
    if accepted is not None and accepted.sha256 == policy.sha256:
        return ok(name, "On: the policy is unchanged since the last sweep.")
    reason = (
        "No sweep has accepted a policy in this audit log yet"
        if accepted is None
        else "The policy has changed since the last sweep"
    )
    error = GuardRefused(
        f"{reason}: a sweep would refuse (quarantine).",
        hint=f"Review the change with `plan`, then run sweep --accept-policy {policy.sha256}",
    )
    return failed(name, error)


def credentials_check(credentials: Credentials, now: datetime) -> Check:
    """Return the kind, name and expiry of the credentials, never a secret."""
    if isinstance(credentials, BearerToken):
        return _token_check(credentials, now)
    if isinstance(credentials, ApiKey):
        return ok(_CREDENTIALS, f"API key {credentials.public_key}; it does not expire.")
    return ok(
        _CREDENTIALS,
        f"Service account {credentials.client_id}; each run requests and revokes a token. "
        "The Atlas UI shows when its secret expires.",
    )


def organization_checks(
    policy: Policy,
    scope: RunScope,
    other_organizations: Sequence[Project],
    names: Mapping[str, str],
) -> Iterator[Check]:
    """Check which organizations the credentials can see."""
    visible = ", ".join(organization_label(each, names.get(each)) for each in scope.organizations)
    yield ok(_ORGANIZATIONS, f"The credentials can see {visible}.")
    for org_id in sorted(policy.organization_ids - set(scope.organizations)):
        message = f"No project of organization {org_id} is visible."
        hint = "Credentials belong to one organization; check the id."
        yield warning(_ORGANIZATIONS, message, hint)
    if other_organizations:
        ids = sorted({project.org_id for project in other_organizations})
        owners = ", ".join(organization_label(each, names.get(each)) for each in ids)
        are = plural_form(len(other_organizations), "is", "are")
        projects = pluralize(len(other_organizations), "project")
        message = f"{projects} of other organizations {are} visible and ignored"
        yield ok(_ORGANIZATIONS, f"{message}: {owners}.")


def atlas_error_check(error: RunError) -> Check:
    """Return the failed check for an error of a request to Atlas."""
    if isinstance(error, GuardRefused):
        return failed(_ORGANIZATIONS, error)
    if not isinstance(error, CredentialsRefused):
        return failed("Atlas", error)
    return failed("access list" if error.hint == ACCESS_LIST_HINT else _CREDENTIALS, error)


def _token_check(credentials: BearerToken, now: datetime) -> Check:
    expires_at = jwt_expiry(credentials.token)
    if expires_at is None:
        return ok(_CREDENTIALS, "Access token; its expiry is unknown.")
    expiry = f"{expires_at:%Y-%m-%d %H:%M} UTC"
    hint = "Request a new one, or use the credentials of a service account."
    if expires_at <= now:
        error = CredentialsRefused(f"The access token expired at {expiry}.", hint=hint)
        return failed(_CREDENTIALS, error)
    if expires_at - now < _TOKEN_EXPIRY_WARNING:
        return warning(_CREDENTIALS, f"The access token expires within an hour, at {expiry}.", hint)
    return ok(_CREDENTIALS, f"Access token; it expires at {expiry}.")


# Audit log, its folder, its lock and earlier runs.


_FOLDER: Final = "audit folder"
_LOG: Final = "audit log"
_LOCK: Final = "lock"
_RUNS: Final = "earlier runs"
_MIN_FREE_BYTES: Final = 100 * 1024 * 1024
_GROUP_AND_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


def audit_checks(path: Path) -> Iterator[Check]:
    """Check the audit log's folder and file; neither needs to exist yet."""
    absolute = path.absolute()
    try:
        yield _folder_check(absolute.parent)
        yield from _file_checks(absolute)
    except AuditLogError as error:
        yield failed(_FOLDER, error)
    except OSError as error:
        message = f"Could not check {absolute.parent}: {error.strerror or error}."
        yield failed(_FOLDER, AuditLogError(message))


def _folder_check(folder: Path) -> Check:
    existing = next(each for each in (folder, *folder.parents) if os.path.lexists(each))
    ensure_private_directory(existing)  # exists, so nothing is created
    if not os.access(existing, os.W_OK | os.X_OK):
        hint = "Set --audit-log to a file in another folder."
        raise AuditLogError(f"This user cannot write to {existing}.", hint=hint)
    free_bytes = shutil.disk_usage(existing).free
    if free_bytes < _MIN_FREE_BYTES:
        message = f"{folder} has only {free_bytes // 1024:,} KiB of free disk space."
        return warning(_FOLDER, message, "Free disk space.")
    if existing != folder:
        message = f"{folder} does not exist yet; it will be created with access for this user only."
        return ok(_FOLDER, message)
    mode = stat.S_IMODE(folder.stat().st_mode)
    if mode & _GROUP_AND_OTHERS:
        return ok(_FOLDER, f"{folder} is writable; other users can list it ({mode:04o}).")
    return ok(_FOLDER, f"{folder} is writable and private to this user.")


def _file_checks(path: Path) -> Iterator[Check]:
    if not os.path.lexists(path):
        yield ok(_LOG, f"{path} does not exist yet.")
        return
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode):
        message = f"The audit log {path} is not a regular file."
        raise AuditLogError(message, hint="Set --audit-log to a file.")
    if status.st_uid not in {0, os.geteuid()}:
        raise AuditLogError(f"The audit log {path} belongs to another user.")
    if status.st_mode & stat.S_IWOTH:
        raise AuditLogError(f"Other users can write to {path}.", hint=f"chmod 600 {path}")
    if not os.access(path, os.R_OK | os.W_OK):
        raise AuditLogError(f"This user cannot write to {path}.", hint=f"chmod 600 {path}")
    if status.st_mode & _GROUP_AND_OTHERS:
        yield warning(_LOG, f"Other users can read {path}.", f"chmod 600 {path}")
    else:
        yield ok(_LOG, f"{path} is private; {status.st_size:,} bytes.")


def lock_check(lock: RunLock, path: Path) -> Check:
    """Check whether another run holds the lock, without taking it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return ok(_LOCK, "Free.")
    except OSError as error:
        message = f"Could not check the lock {path}: {error.strerror or error}."
        return failed(_LOCK, AuditLogError(message))
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return failed(_LOCK, lock.held_error())
    finally:
        os.close(descriptor)
    return ok(_LOCK, "Free.")


def earlier_run_check(read: Callable[[], History]) -> tuple[Check, History | None]:
    """Check how the last run ended, and which intents a killed run left open.

    Args:
        read: Reads the history.

    Returns:
        The check, and the history; None if it cannot be read.
    """
    try:
        history = read()
        intents = history.open_intents()
    except GuardRefused as error:
        return failed(_RUNS, error), None
    last = history.runs[-1] if history.runs else None
    if last is None:
        return ok(_RUNS, "None yet."), history
    if not last.finished:
        requests = pluralize(len(intents), "request")
        found = warning(
            _RUNS,
            f"The last run, {last.run_id}, did not finish: it was killed or is still running.",
            f"{requests} without an outcome. {UNFINISHED_ADVICE}",
        )
        return found, history
    code = f"exit code {last.exit_code}"
    return ok(_RUNS, f"The last run, {last.run_id} ({last.mode}), ended with {code}."), history


def log_end_checks(log_path: LogPath, path: Path) -> Iterator[Check]:
    """Check that the log still ends with the line that was written last; nothing if it does.

    Args:
        path: The file of the next run.
    """
    try:
        missing = check_end(log_path, path)
    except RunError as error:
        yield failed(_RUNS, error)
        return
    if missing:
        yield warning(_RUNS, missing, "Move the file back, compressed or not, if it is not lost.")


# What Atlas's responses say about the next sweep.


_CLOCK_WARNING_S: Final = 60.0
_UNAUTHORIZED: Final = 401
_MAX_NAMED: Final = 10


def clock_check(skew_s: float | None) -> Check:
    """Compare this machine's clock, which ages are counted by, with Atlas's."""
    name, hint = "clock", "Synchronize this machine's clock with NTP."
    if skew_s is None:
        return warning(name, "Unknown: no response from Atlas had a Date header.")
    if abs(skew_s) < 1:
        return ok(name, "This machine's clock agrees with Atlas's.")
    difference = describe_duration(timedelta(seconds=abs(skew_s)))
    description = f"This machine's clock is {difference} {'ahead of' if skew_s > 0 else 'behind'}"
    if abs(skew_s) > MAX_CLOCK_SKEW_S:
        return failed(name, GuardRefused(f"{description} Atlas's.", hint=hint))
    if abs(skew_s) > _CLOCK_WARNING_S:
        return warning(name, f"{description} Atlas's.", hint)
    return ok(name, f"{description} Atlas's.")


def list_checks(
    sources: Sequence[Source],
    counts: ListCounts,
    limits: Limits,
    ended: Collection[Source] = (),
) -> Iterator[Check]:
    """Check whether each of the policy's lists can be read, and name the role to delete.

    Args:
        sources: Of the policy.
        counts: What was read of them.
        limits: Of the policy.
        ended: Sources whose announced last day has come.
    """
    if counts.retired.keys() >= set(sources):
        message = " ".join(each.reason for each in counts.retired.values())
        yield failed("lists", AtlasUnavailable(message, hint=sources[0].replacement_hint))
        return
    for source in sources:
        yield _list_check(source, counts, has_ended=source in ended)
    projects = {lost.project_id for lost in counts.unreadable}
    if len(projects) > limits.max_unreadable_projects:
        yield failed(
            "lists",
            GuardRefused(
                f"{pluralize(len(projects), 'project')} cannot be read, "
                f"over max_unreadable_projects: {limits.max_unreadable_projects}.",
                hint="Grant the credentials the role in these projects, or exclude them.",
            ),
        )
    if counts.skipped:
        lists = pluralize(counts.skipped, "list")
        was = plural_form(counts.skipped, "was", "were")
        yield warning("lists", f"{lists} {was} not read: at most {MAX_LISTS:,} are.")


def _list_check(source: Source, counts: ListCounts, *, has_ended: bool) -> Check:
    name = f"list {source}"
    if source in counts.retired:
        check = note if has_ended else warning
        return check(name, counts.retired[source].reason, source.replacement_hint)
    unreadable = [each for each in counts.unreadable if each.source is source]
    reading, deleting = SOURCES[source].roles
    if unreadable:
        where = _format_names([each.project_name or each.project_id for each in unreadable])
        if any(map(_is_missing_role, unreadable)):
            kind, instead = "project", "exclude the projects"
            if source.is_organization_level:
                kind, instead = "organization", f"remove {source} from sources"
            message = f"The role is missing in {pluralize(len(unreadable), kind)}: {where}."
            hint = f"Grant the credentials the role {deleting} there, or {instead}."
            return warning(name, message, hint)
        return warning(name, f"{len(unreadable)} cannot be read: {where}. {unreadable[0].reason}")
    lists = pluralize(counts.lists_read[source], "list")
    description = f"{counts.pending[source]:,} pending in {lists}"
    if reading == deleting:
        return ok(name, f"{description}; the role {deleting} is granted.")
    return ok(
        name, f"{description}; deleting requires {deleting}, which only a deletion can prove."
    )


def _is_missing_role(unreadable: ListUnreadable) -> bool:
    return (
        unreadable.http_status == _UNAUTHORIZED
        and unreadable.error_code not in UNAUTHENTICATED_CODES
    )


def rate_limit_checks(
    advertised: Sequence[AdvertisedLimit], sources: Sequence[Source], reserve: float
) -> Iterator[Check]:
    """Show the rate limits, and what the policy's reserve leaves of them."""
    known = {endpoint_set_of(each): each.limit for each in advertised if each.limit.is_usable}
    for name in dict.fromkeys(
        ["projects_user", *(SOURCES[source].list.endpoint_set for source in sources)]
    ):
        limit = known.get(name, documented_limit(name))
        origin = "" if name in known else " (as documented; Atlas returned none)"
        available = limit.capacity - limit.reserve(reserve)
        yield ok(
            f"rate limit {name}",
            f"{limit.capacity:g} requests, {limit.refill:g} more every {limit.period_s:g} s"
            f"{origin}; a reserve of {reserve:.0%} leaves {available:g}.",
        )


def sunset_checks(
    sunsets: Mapping[Source, date], sources: Sequence[Source], today: date
) -> Iterator[Check]:
    """Show until when Atlas serves each list; warn about those of the policy."""
    for source, day in sorted(sunsets.items()):
        days_left = (day - today).days
        name = f"sunset {source}"
        when = f"Atlas announced {day} as the last day of this list."
        if days_left > 0:
            when = f"Atlas stops serving this list on {day}, in {pluralize(days_left, 'day')}."
        if source not in sources:
            yield ok(name, f"{when} The policy does not use it.")
        elif days_left <= SUNSET_WARNING_DAYS:
            yield warning(name, when, source.replacement_hint)
        else:
            yield note(name, when, source.replacement_hint)
    without_sunset = [source for source in sources if source not in sunsets]
    if without_sunset:
        yield ok("sunset", f"Lists without a sunset date from Atlas: {', '.join(without_sunset)}.")
    else:
        first = min(day for source, day in sunsets.items() if source in sources)
        message = f"Every list of the policy has a sunset date; the first is {first}."
        yield note("sunset", message)


def coverage_checks(
    in_scope: int,
    excluded: Sequence[Project],
    excluded_counts: ListCounts,
    covered_counts: ListCounts,
    other_counts: ListCounts,
) -> Iterator[Check]:
    """Show what the policy covers and what it does not, with counts of the readable lists.

    Args:
        in_scope: The number of projects in scope.
        excluded: Other projects of the policy's organizations.
        excluded_counts: The policy's lists in those.
        covered_counts: The policy's lists in projects and organizations in scope.
        other_counts: Their other lists.
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
        pending = excluded_counts.pending.total()
        yield ok(name, f"Out of scope: {names}; {pending:,} pending there{unreadable_note}.")
    covered_users = set().union(*covered_counts.users.values())
    for source in Source:
        if source not in other_counts.lists_read:
            continue
        others = len(other_counts.users.get(source, set()) - covered_users)
        users = f"{pluralize(others, 'user')} {plural_form(others, 'is', 'are')}"
        message = f"{users} pending only in the list {source}, which is not among sources."
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
