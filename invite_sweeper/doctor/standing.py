"""What Atlas's answers say of the next sweep. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Final

from invite_sweeper.atlas.rate_limits import RateLimit, limit_of, ours
from invite_sweeper.atlas.responses import PLAIN_REFUSAL
from invite_sweeper.doctor.census import Census
from invite_sweeper.doctor.values import Check, failed, ok, warning
from invite_sweeper.errors import AtlasUnavailable, GuardRefused
from invite_sweeper.guard import CLOCK_MAY_DIFFER_S
from invite_sweeper.inventory import Project, Source, Unreadable
from invite_sweeper.plural import counted, fitting
from invite_sweeper.policy import Limits
from invite_sweeper.totals import SUNSET_WARNING_DAYS

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
    told: Sequence[RateLimit], sources: Sequence[Source], reserve: float
) -> Iterator[Check]:
    """Tell what Atlas allows, and what the policy's reserve leaves of it."""
    known = {ours(each): each.limit for each in told if each.limit.sane}
    for name in dict.fromkeys(["projects_user", *(_SETS[source] for source in sources)]):
        limit = known.get(name, limit_of(name))
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
