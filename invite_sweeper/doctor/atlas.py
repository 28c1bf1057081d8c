"""Checks of what Atlas returned: clock, lists, rate limits and sunsets."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date, timedelta
from typing import Final

from invite_sweeper.doctor.diagnosis import Check, failed, note, ok, warning
from invite_sweeper.errors import AtlasUnavailable, GuardRefused
from invite_sweeper.models import (
    MAX_CLOCK_SKEW_S,
    UNAUTHENTICATED_CODES,
    ListUnreadable,
    Project,
    Source,
)
from invite_sweeper.policy import Limits
from invite_sweeper.sweep.discovery import MAX_LISTS, ListCounts
from invite_sweeper.sweep.sunset import SUNSET_WARNING_DAYS
from invite_sweeper.text import describe_duration, plural_form, pluralize, shorten_list

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
    other_counts: ListCounts | None = None,
) -> Iterator[Check]:
    """Check whether each of the policy's lists can be read, and its invitations be deleted.

    Args:
        other_counts: What was read of the other lists of the same projects and organizations.
    """
    if counts.retired.keys() >= set(sources):
        message = " ".join(each.reason for each in counts.retired.values())
        yield failed("lists", AtlasUnavailable(message, hint=sources[0].replacement_hint()))
        return
    for source in sources:
        if source in counts.retired:
            check = note if source in ended else warning
            hint = source.replacement_hint(sources)
            yield check(f"list {source}", counts.retired[source].reason, hint)
        else:
            yield _list_check(source, counts, other_counts or ListCounts())
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


def _list_check(source: Source, counts: ListCounts, other_counts: ListCounts) -> Check:
    name = f"list {source}"
    unreadable = [each for each in counts.unreadable if each.source is source]
    reading, deleting = source.roles
    if unreadable:
        where = shorten_list(
            [each.project_name or each.project_id for each in unreadable], _MAX_NAMED
        )
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
    return _deletion_check(name, description, source, (counts, other_counts))


def _deletion_check(
    name: str, description: str, source: Source, read: Sequence[ListCounts]
) -> Check:
    """Return whether another list proves the role that deletes from a list of users.

    The older list of the same project or organization is shown only to its owners.
    """
    _, deleting = source.roles
    older = Source.ORG_INVITES if source.is_organization_level else Source.INVITES
    owner, _ = older.roles
    unreadable = [each for counts in read for each in counts.unreadable if each.source is older]
    refused = [
        each.project_name or each.project_id for each in unreadable if _is_missing_role(each)
    ]
    if refused:
        message = (
            f"{description}, but the credentials can probably not delete: the role {owner}, which "
            f"shows the list {older}, is missing in {shorten_list(refused, _MAX_NAMED)}."
        )
        return warning(name, message, f"Grant the credentials the role {owner} there.")
    if any(counts.lists_read[older] for counts in read):
        return ok(name, f"{description}; the role {owner} is granted.")
    return ok(
        name, f"{description}; deleting requires {deleting}, which only a deletion can prove."
    )


def _is_missing_role(unreadable: ListUnreadable) -> bool:
    return (
        unreadable.http_status == _UNAUTHORIZED
        and unreadable.error_code not in UNAUTHENTICATED_CODES
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
        else:
            is_due = days_left <= SUNSET_WARNING_DAYS and not source.is_replaced_by(sources)
            yield (warning if is_due else note)(name, when, source.replacement_hint(sources))
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
        names = shorten_list([project.name for project in excluded], _MAX_NAMED)
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
