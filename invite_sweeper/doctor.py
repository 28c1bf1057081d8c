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
from invite_sweeper.atlas.auth import ends_at
from invite_sweeper.atlas.rate_limits import AdvertisedLimit, documented_limit, endpoint_set_of
from invite_sweeper.atlas.responses import ACCESS_LIST_HINT, PLAIN_REFUSAL
from invite_sweeper.audit import AuditLock, past_runs, unfinished_intents
from invite_sweeper.audit.storage import prepare_folder
from invite_sweeper.errors import (
    AtlasUnavailable,
    AuditUnwritable,
    CredentialsRefused,
    ExitCode,
    GuardRefused,
    RunError,
)
from invite_sweeper.models import Project, Source, Unreadable
from invite_sweeper.policy import Limits, Policy
from invite_sweeper.sweep.discovery import Census, count_lists
from invite_sweeper.sweep.guards import CLOCK_MAY_DIFFER_S
from invite_sweeper.sweep.scope import Territory
from invite_sweeper.sweep.summary import SUNSET_WARNING_DAYS
from invite_sweeper.text import counted, fitting

__all__ = [
    "Census",
    "Check",
    "Checkup",
    "State",
    "atlas_trouble",
    "audit_checks",
    "clock_check",
    "count_lists",
    "coverage_checks",
    "credentials_check",
    "earlier_runs",
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


class State(StrEnum):
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
    state: State
    message: str
    hint: str = ""
    code: ExitCode = ExitCode.DONE


@dataclass(frozen=True, slots=True)
class Checkup:
    """All lines, in the order in which a sweep comes upon what they tell of."""

    now: datetime
    checks: Sequence[Check]

    @property
    def exit_code(self) -> int:
        """The code that a sweep would end with, else 4 with a warning, else 0."""
        for check in self.checks:
            if check.state is State.FAILED:
                return int(check.code)
        warned = any(check.state is State.WARNING for check in self.checks)
        return int(ExitCode.PARTLY if warned else ExitCode.DONE)

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
    return Check(name, State.OK, message)


def warning(name: str, message: str, hint: str = "") -> Check:
    """Say that something is worth a look."""
    return Check(name, State.WARNING, message, hint)


def failed(name: str, error: RunError) -> Check:
    """Say what would stop a sweep, and with which code."""
    return Check(name, State.FAILED, error.message, error.hint, error.exit_code)


# The policy, the credentials and the organizations, as far as they can be told. Pure.


_POLICY: Final = "policy"
_CREDENTIALS: Final = "credentials"
_ORGANIZATIONS: Final = "organizations"
_SOON: Final = timedelta(hours=1)


def policy_checks(policy: Policy, path: Path, now: datetime) -> Iterator[Check]:
    """Tell what the policy is, and what in it may not be meant."""
    yield ok(
        _POLICY,
        f"{path} is valid: {counted(len(policy.rules), 'rule')}, "
        f"{counted(len(policy.keep), 'keep entry', 'keep entries')}, "
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
        return _of_token(credentials, now)
    if isinstance(credentials, ApiKey):
        return ok(_CREDENTIALS, f"API key {credentials.public_key}; it does not expire.")
    return ok(
        _CREDENTIALS,
        f"Service account {credentials.client_id}; a token is fetched and revoked each run. "
        "Until when its secret is good is told in Atlas, not here.",
    )


def organization_checks(
    policy: Policy, territory: Territory, foreign: Sequence[Project]
) -> Iterator[Check]:
    """Tell whose projects the credentials can see."""
    yield ok(_ORGANIZATIONS, f"In sight: {', '.join(territory.organizations)}.")
    for org_id in sorted(policy.organization_ids - set(territory.organizations)):
        what = f"No project of organization {org_id} is in sight."
        hint = "A credential belongs to one organization; check the id."
        yield warning(_ORGANIZATIONS, what, hint)
    if foreign:
        owners = ", ".join(sorted({project.org_id for project in foreign}))
        are = fitting(len(foreign), "is", "are")
        projects = counted(len(foreign), "project")
        what = f"{projects} of other organizations {are} in sight, and never touched"
        yield ok(_ORGANIZATIONS, f"{what}: {owners}.")


def atlas_trouble(error: RunError) -> Check:
    """Say what Atlas's answer, or the want of one, means."""
    if isinstance(error, GuardRefused):
        return failed(_ORGANIZATIONS, error)
    if not isinstance(error, CredentialsRefused):
        return failed("Atlas", error)
    return failed("access list" if error.hint == ACCESS_LIST_HINT else _CREDENTIALS, error)


def _of_token(credentials: BearerToken, now: datetime) -> Check:
    end = ends_at(credentials.token)
    if end is None:
        return ok(_CREDENTIALS, "A ready token; it does not tell when it ends.")
    told = f"A ready token that ends at {end:%Y-%m-%d %H:%M} UTC"
    hint = "Fetch a new one, or give the credentials of a service account."
    if end <= now:
        return failed(_CREDENTIALS, CredentialsRefused(f"{told}, which has passed.", hint=hint))
    if end - now < _SOON:
        return warning(_CREDENTIALS, f"{told}, within the hour.", hint)
    return ok(_CREDENTIALS, f"{told}.")


# The audit log's folder, lock and earlier runs; reads, and makes no file.


_FOLDER: Final = "audit folder"
_LOG: Final = "audit log"
_LOCK: Final = "lock"
_RUNS: Final = "earlier runs"
_ROOM_BYTES: Final = 100 * 1024 * 1024
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


def audit_checks(path: Path) -> Iterator[Check]:
    """Look at the file of a log and its folder, whether or not they are there."""
    absolute = path.absolute()
    try:
        yield _folder(absolute.parent)
        yield from _file(absolute)
    except AuditUnwritable as error:
        yield failed(_FOLDER, error)
    except OSError as error:
        what = f"{absolute.parent} cannot be looked at: {error.strerror or error}."
        yield failed(_FOLDER, AuditUnwritable(what))


def _folder(folder: Path) -> Check:
    there = next(each for each in (folder, *folder.parents) if os.path.lexists(each))
    prepare_folder(there)  # makes nothing: it is there
    if not os.access(there, os.W_OK | os.X_OK):
        raise AuditUnwritable(
            f"This user cannot write to {there}.", hint="Name an audit log elsewhere."
        )
    room = shutil.disk_usage(there).free
    if room < _ROOM_BYTES:
        return warning(_FOLDER, f"{folder} has room for {room // 1024:,} KiB alone.", "Make room.")
    if there != folder:
        return ok(_FOLDER, f"{folder} is not there yet; it will be made, for this user alone.")
    mode = stat.S_IMODE(folder.stat().st_mode)
    if mode & _OTHERS:
        return ok(_FOLDER, f"{folder} can be written; others can look into it ({mode:04o}).")
    return ok(_FOLDER, f"{folder} can be written, and is this user's alone.")


def _file(path: Path) -> Iterator[Check]:
    if not os.path.lexists(path):
        yield ok(_LOG, f"{path} is not there yet.")
        return
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode):
        raise AuditUnwritable(f"The audit log {path} is no plain file.", hint="Name a file.")
    if status.st_uid not in {0, os.geteuid()}:
        raise AuditUnwritable(f"The audit log {path} belongs to another user.")
    if status.st_mode & stat.S_IWOTH:
        raise AuditUnwritable(f"Others can write to {path}.", hint=f"chmod 600 {path}")
    if not os.access(path, os.R_OK | os.W_OK):
        raise AuditUnwritable(f"This user cannot write to {path}.", hint=f"chmod 600 {path}")
    if status.st_mode & _OTHERS:
        yield warning(_LOG, f"Others can read {path}.", f"chmod 600 {path}")
    else:
        yield ok(_LOG, f"{path} is private; {status.st_size:,} bytes.")


def lock_check(lock: AuditLock, path: Path) -> Check:
    """Tell whether another run holds the lock; it is not taken from anybody."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return ok(_LOCK, "Nobody holds it.")
    except OSError as error:
        what = f"The lock {path} cannot be looked at: {error.strerror or error}."
        return failed(_LOCK, AuditUnwritable(what))
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return failed(_LOCK, lock.held_by_another())
    finally:
        os.close(descriptor)
    return ok(_LOCK, "Nobody holds it.")


def earlier_runs(files: Sequence[Path]) -> Iterator[Check]:
    """Tell of the last run, and of what a run that was cut off left open."""
    try:
        runs = deque(past_runs(*files), maxlen=1)
        unsettled = unfinished_intents(*files)
    except GuardRefused as error:
        yield failed(_RUNS, error)
        return
    last = runs.pop() if runs else None
    if last is None:
        yield ok(_RUNS, "None yet.")
    elif not last.finished:
        are = fitting(len(unsettled), "is", "are")
        yield warning(
            _RUNS,
            f"The last one, {last.run_id}, has no end: it was killed, or it runs.",
            f"{len(unsettled)} of its calls {are} unsettled; the next sweep settles them.",
        )
    else:
        code = f"exit code {last.exit_code}"
        yield ok(_RUNS, f"The last one, {last.run_id} ({last.mode}), ended with {code}.")


# What Atlas's answers say of the next sweep. Pure.


_WORTH_A_LOOK_S: Final = 60.0
_UNAUTHORIZED: Final = 401
_NAMED: Final = 10
_ROLES: Final[Mapping[Source, tuple[str, str]]] = {
    Source.INVITES: ("Project Owner", "Project Owner"),
    Source.USERS: ("Project Read Only", "Project Access Manager or Project Owner"),
    Source.ORG_USERS: ("Organization Member", "Organization Owner"),
    Source.ORG_INVITES: ("Organization Owner", "Organization Owner"),
}
"""To list, and to delete. Source: the roles that the OpenAPI document names (read 2026-08)."""
_SETS: Final[Mapping[Source, str]] = {
    Source.INVITES: "projects_group",
    Source.USERS: "cloud_users_group",
    Source.ORG_USERS: "cloud_users_org",
    Source.ORG_INVITES: "organizations_org",
}


def clock_check(skew_s: float | None) -> Check:
    """Hold our clock against Atlas's; ages are counted by ours."""
    name, hint = "clock", "Set this machine's clock by NTP."
    if skew_s is None:
        return warning(name, "No answer of Atlas had a date.")
    told = f"This machine's clock is {abs(skew_s):.0f} s {'ahead of' if skew_s > 0 else 'behind'}"
    if abs(skew_s) > CLOCK_MAY_DIFFER_S:
        return failed(name, GuardRefused(f"{told} Atlas's.", hint=hint))
    if abs(skew_s) > _WORTH_A_LOOK_S:
        return warning(name, f"{told} Atlas's.", hint)
    return ok(name, f"{told} Atlas's.")


def list_checks(sources: Sequence[Source], census: Census, limits: Limits) -> Iterator[Check]:
    """Tell of each list of the policy whether it can be read, and by which role deleted from."""
    if census.retired.keys() >= set(sources):
        what = " ".join(each.reason for each in census.retired.values())
        yield failed("lists", AtlasUnavailable(what, hint=sources[0].replacement_hint))
        return
    for source in sources:
        yield _of_list(source, census)
    projects = {lost.project_id for lost in census.unreadable}
    if len(projects) > limits.max_unreadable_projects:
        yield failed(
            "lists",
            GuardRefused(
                f"{counted(len(projects), 'project')} cannot be read, "
                f"over max_unreadable_projects: {limits.max_unreadable_projects}.",
                hint="Give the credentials the role there, or leave the projects out.",
            ),
        )
    if census.passed_over:
        lists = counted(census.passed_over, "list")
        was = fitting(census.passed_over, "was", "were")
        yield warning("lists", f"{lists} {was} not looked at: there are many.")


def _of_list(source: Source, census: Census) -> Check:
    name = f"list {source}"
    if source in census.retired:
        return warning(name, census.retired[source].reason, source.replacement_hint)
    lost = [each for each in census.unreadable if each.source is source]
    reading, deleting = _ROLES[source]
    if lost:
        where = _some([each.project_name or each.project_id for each in lost])
        if any(map(_names_a_role, lost)):
            hint = f"Give the credentials the role {deleting} there, or leave it out."
            return warning(name, f"The role is missing in {len(lost)}: {where}.", hint)
        return warning(name, f"{len(lost)} cannot be read: {where}. {lost[0].reason}")
    pending = census.pending[source]
    wait = fitting(pending, "waits", "wait")
    held = f"{pending:,} {wait} in {census.read[source]:,} of them"
    if reading == deleting:
        return ok(name, f"{held}; the role {deleting} is there.")
    return ok(name, f"{held}; a deletion needs {deleting}, which reading cannot tell.")


def _names_a_role(lost: Unreadable) -> bool:
    return lost.http_status == _UNAUTHORIZED and lost.error_code not in PLAIN_REFUSAL


def rate_limit_checks(
    told: Sequence[AdvertisedLimit], sources: Sequence[Source], reserve: float
) -> Iterator[Check]:
    """Tell what Atlas allows, and what the policy's reserve leaves of it."""
    known = {endpoint_set_of(each): each.limit for each in told if each.limit.is_usable}
    for name in dict.fromkeys(["projects_user", *(_SETS[source] for source in sources)]):
        limit = known.get(name, documented_limit(name))
        whence = "" if name in known else " (as documented; Atlas does not tell)"
        left = limit.capacity - limit.reserve(reserve)
        yield ok(
            f"rate limit {name}",
            f"{limit.capacity:g} requests, {limit.refill:g} more every {limit.period_s:g} s"
            f"{whence}; a reserve of {reserve:.0%} leaves {left:g}.",
        )


def sunset_checks(
    sunsets: Mapping[Source, date], sources: Sequence[Source], today: date
) -> Iterator[Check]:
    """Tell until when Atlas serves each list, and which of the policy's still work after that."""
    for source, day in sorted(sunsets.items()):
        left = (day - today).days
        when = f"Atlas serves it until {day}, {left} days from now."
        if source in sources and left <= SUNSET_WARNING_DAYS:
            yield warning(f"sunset {source}", when, source.replacement_hint)
        else:
            yield ok(f"sunset {source}", when)
    lasting = [source for source in sources if source not in sunsets]
    if lasting:
        yield ok("sunset", f"Without an end that Atlas names: {', '.join(lasting)}.")
    else:
        first = min(day for source, day in sunsets.items() if source in sources)
        yield ok("sunset", f"None of the policy's lists works after {first}.")


def coverage_checks(
    in_scope: int,
    left_alone: Sequence[Project],
    outside: Census,
    covered: Census,
    unnamed: Census,
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
    all_projects = counted(in_scope + len(left_alone), "project")
    yield ok(name, f"{in_scope} of {all_projects} {fitting(in_scope, 'is', 'are')} in scope.")
    if left_alone:
        names = _some([project.name for project in left_alone])
        lost = f", {len(outside.unreadable)} could not be read" if outside.unreadable else ""
        waiting = outside.pending.total()
        wait = fitting(waiting, "waits", "wait")
        yield ok(name, f"Left alone: {names}; {waiting:,} {wait} there{lost}.")
    known = set().union(*covered.people.values())
    for source in Source:
        if source not in unnamed.read:
            continue
        others = len(unnamed.people.get(source, set()) - known)
        who = f"{counted(others, 'person', 'people')} {fitting(others, 'waits', 'wait')}"
        what = f"{who} in the list {source} alone, which is not among sources."
        yield warning(name, what, f"Add {source} to sources.") if others else ok(name, what)
    for source, lost_there in _by_source(unnamed.unreadable).items():
        yield ok(name, f"The list {source}, not among sources, cannot be read in {lost_there}.")


def _by_source(unreadable: Sequence[Unreadable]) -> Mapping[Source, int]:
    counts: dict[Source, int] = {}
    for each in unreadable:
        counts[each.source] = counts.get(each.source, 0) + 1
    return counts


def _some(names: Sequence[str]) -> str:
    rest = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + rest
