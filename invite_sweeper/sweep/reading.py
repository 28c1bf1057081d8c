"""Read one organization: its projects, its lists, and what the people in them depend on.

`list_projects` and `read_lists` return an `OrganizationRead`. An error that concerns one list is a
value in it; an error that concerns the organization or the run is raised.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Final, TypeVar

from msgspec import structs

from invite_sweeper.atlas.reader import AtlasReader, contradicted_404
from invite_sweeper.endings import Reason
from invite_sweeper.errors import AtlasUnavailable, GuardRefused, RunError
from invite_sweeper.models import (
    Invitation,
    ListRef,
    ListUnreadable,
    Project,
    ProjectGone,
    Source,
    SourceRetired,
    hint_without,
)
from invite_sweeper.policy import Policy
from invite_sweeper.sweep.conditions import ActiveMembers, inviters_who_seem_gone
from invite_sweeper.sweep.guards import check_clock
from invite_sweeper.sweep.plan import AtlasOrganization, ListAnswer, OrganizationRead
from invite_sweeper.sweep.result import View
from invite_sweeper.sweep.scope import ProjectFilter, RunScope

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


async def for_each(
    items: Iterable[ItemT], work: Callable[[ItemT], Awaitable[ResultT]], *, workers: int
) -> list[ResultT]:
    """Await `work` for each item, a few at a time; return the results in the order of the items.

    Raises:
        RunError: The first one that is raised; the others are cancelled.
    """
    results: dict[int, ResultT] = {}
    pending = enumerate(items)

    async def worker() -> None:
        for number, item in pending:
            results[number] = await work(item)

    tasks = [asyncio.create_task(worker()) for _ in range(workers)]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return [results[number] for number in sorted(results)]


async def list_projects(
    organization: AtlasOrganization, project_filter: ProjectFilter
) -> OrganizationRead:
    """List the projects of an organization, before any of its invitations is read.

    Raises:
        GuardRefused: As `discover_projects`; or the clock is off.
    """
    reader = organization.client.reader
    scope = await discover_projects(reader, project_filter, organization.id)
    check_clock(organization.client.server.clock_skew_s)
    # What only the warnings and the names of an organization need.
    names, secret_ends = await asyncio.gather(
        _optional(reader.organizations()),
        _optional(reader.secret_expiries(organization.id)),
    )
    name = names.get(organization.id) if names is not None else None
    return OrganizationRead(
        organization if name is None else structs.replace(organization, name=name),
        returned_name=name,
        scope=scope,
        secret_ends=secret_ends if isinstance(secret_ends, tuple) else (),
    )


async def discover_projects(
    reader: AtlasReader, project_filter: ProjectFilter, org_id: str
) -> RunScope:
    """Return the projects of an organization.

    A list of projects that changed in each reading may hide one, so it counts as unreadable.

    Raises:
        GuardRefused: No project of the organization is visible: the credentials belong to
            another organization, or the list is incomplete.
    """
    included: list[Project] = []
    excluded: list[Project] = []
    team_projects: list[Project] = []
    unreadable: list[ListUnreadable] = []
    names: dict[str, str] = {}
    for project in await reader.projects():
        if isinstance(project, ListUnreadable):
            unreadable.append(structs.replace(project, source=project_filter.unplaced_source))
            continue
        names[project.id] = project.name
        if project.org_id != org_id:
            continue
        is_included = project_filter.includes(project)
        if is_included:
            included.append(project)
        else:
            excluded.append(project)
        if not is_included or project_filter.names_projects_in_entries:
            team_projects.append(project)
    if not (included or excluded):
        raise GuardRefused(
            f"No project of the organization {org_id} is visible.",
            hint="Check the id under organizations, and that the credentials belong to it "
            "(credentials belong to a single organization).",
            reasons=(Reason.NO_VISIBLE_PROJECT,),
        )
    return RunScope(
        org_id,
        projects=included,
        excluded=excluded,
        team_projects=team_projects,
        unreadable=unreadable,
        project_names=names,
        is_narrowed=bool(project_filter.only),
    )


_OPTIONAL_TIMEOUT_S: Final = 3.0


async def _optional(answer: Awaitable[ItemT]) -> ItemT | None:
    """Return what is read; None if that fails or takes long, as the run goes on without it."""
    with suppress(TimeoutError, RunError):
        async with asyncio.timeout(_OPTIONAL_TIMEOUT_S):
            return await answer
    return None


async def read_lists(
    read: OrganizationRead,
    policy: Policy,
    recovered: Iterable[ListRef],
    view: View,
    *,
    workers: int,
) -> OrganizationRead:
    """Read the lists of an organization whose projects are listed, then what depends on them.

    Args:
        recovered: The lists in which killed runs left deletions open; they need not be in scope.
        workers: How many lists are read at a time.

    Raises:
        RunError: An error concerned the organization and not one list; see `read_each_list`.
    """
    organization, scope = read.organization, read.scope
    if scope is None:
        return read
    reader = organization.client.reader
    refs = scope.lists(policy.sources)
    view.started("Reading lists", len(refs), organization.label)
    answers = await read_each_list(reader, refs, view, workers=workers)
    lists = {ref.key: answer for ref, answer in answers.items()}
    teams: Mapping[str, frozenset[str] | ListUnreadable] = {}
    if any(map(scope.depends_on_teams, _invitations(answers, of_organization=True))):
        teams = await _read_teams(reader, scope.team_projects, workers)
    keys: Mapping[str, str] | ListUnreadable | None = None
    if any(map(_is_key, {invitation.inviter for invitation in _invitations(answers)})):
        keys = await _optional(reader.api_key_names(organization.id))
    members: ActiveMembers | ListUnreadable | None = None
    unknown_inviters: Sequence[ListUnreadable] = ()
    if any(clause.inviter_gone for clause in (*policy.rules, *policy.keep)):
        members, unknown_inviters = await _read_members(
            reader, organization.id, _invitations(answers), workers
        )
    for ref in recovered:
        if ref.key not in lists:
            lists[ref.key] = await _read_recovered(reader, ref, scope)
    return structs.replace(
        read,
        lists=lists,
        teams=teams,
        key_names=keys if isinstance(keys, Mapping) else {},
        members=members,
        unknown_inviters=unknown_inviters,
    )


async def read_each_list(
    reader: AtlasReader, refs: Sequence[ListRef], view: View, *, workers: int
) -> dict[ListRef, ListAnswer]:
    """Read lists concurrently; return what became of each, in their order.

    When Atlas has retired a source (410), its lists that were not requested yet count as retired.

    A 404 means that the project is gone. It is believed if neither `/groups`, read once more at the
    end, shows the project, nor an invitation of the organization a role in it.

    Raises:
        RunError: An error concerned the run and not one list, Atlas no longer serves any of
            the sources, or it returned 404 for every project that it had just listed.
    """
    retired: dict[Source, SourceRetired] = {}

    async def read(ref: ListRef) -> ListAnswer:
        if ref.source not in retired:
            answer = await reader.invitations(ref.project, ref.source)
            view.done()
            if not isinstance(answer, SourceRetired):
                return answer
            retired.setdefault(ref.source, answer)
        return retired[ref.source]

    found = await for_each(refs, read, workers=workers)
    answers: dict[ListRef, ListAnswer] = dict(zip(refs, found, strict=True))
    counts = Counter(ref.source for ref in refs)
    _check_not_all_retired(retired, counts)
    not_found = [ref for ref, answer in answers.items() if isinstance(answer, ProjectGone)]
    _check_not_all_gone(not_found, counts)
    if not_found:
        shown = await _shown_projects(reader)
        for invitation in _invitations(answers, of_organization=True):
            shown.update(project_id for project_id, _ in invitation.linked_projects)
        for ref in not_found:
            if ref.project.id in shown:
                answers[ref] = contradicted_404(ref)
    return answers


def _invitations(
    answers: Mapping[ListRef, ListAnswer], *, of_organization: bool = False
) -> Iterator[Invitation]:
    """Yield the rows of all lists that were read, or of those of the organization alone."""
    for ref, answer in answers.items():
        if isinstance(answer, tuple) and (ref.source.is_organization_level or not of_organization):
            yield from answer


def _check_not_all_retired(
    retired: Mapping[Source, SourceRetired], counts: Mapping[Source, int]
) -> None:
    """Raise AtlasUnavailable if Atlas no longer serves any of the lists."""
    if retired and retired.keys() == counts.keys():
        raise AtlasUnavailable(
            " ".join(event.reason for event in retired.values()),
            hint=hint_without(retired, retired),
        )


def _check_not_all_gone(not_found: Iterable[ListRef], counts: Mapping[Source, int]) -> None:
    """Raise AtlasUnavailable if each of several projects answered 404 to a list."""
    for source, count in Counter(ref.source for ref in not_found).items():
        # A single project may have been deleted since it was listed. When all of several are
        # missing, the server does not know the endpoint, and nothing would seem to be stale.
        if count > 1 and count == counts[source]:
            raise AtlasUnavailable(
                f"Atlas listed {count} projects, then answered 404 to {source} for each one.",
                hint="Check the base URL, the proxy, and Atlas's documentation of this list.",
            )


async def _shown_projects(reader: AtlasReader) -> set[str]:
    """Return the ids of the projects that Atlas lists now.

    Raises:
        AtlasUnavailable: The list of projects is not known to be complete.
    """
    shown: set[str] = set()
    for project in await reader.projects():
        if isinstance(project, ListUnreadable):
            raise AtlasUnavailable(project.reason, hint="Run the command again.")
        shown.add(project.id)
    return shown


async def _read_teams(
    reader: AtlasReader, projects: Sequence[Project], workers: int
) -> dict[str, frozenset[str] | ListUnreadable]:
    """Return the ids of the teams of each project, by project id."""
    found = await for_each(projects, reader.project_teams, workers=workers)
    return {project.id: teams for project, teams in zip(projects, found, strict=True)}


def _is_key(inviter: str | None) -> bool:
    """Return whether an inviter may be an API key: a person has an address, a key has none."""
    return "@" not in inviter if inviter else False


async def _read_members(
    reader: AtlasReader, org_id: str, invitations: Iterable[Invitation], workers: int
) -> tuple[ActiveMembers | ListUnreadable, Sequence[ListUnreadable]]:
    """Return the active members, and why it is not known of some inviters whether they are.

    An inviter is gone only where two answers agree: the list of active members, read to its end,
    and the answer of Atlas for that name. Each who seems gone is asked for once.
    """
    names = await reader.active_members(org_id)
    if isinstance(names, ListUnreadable):
        return names, ()
    members = ActiveMembers(names)
    if not names:  # each organization has a member: it was not the whole list
        return members, ()
    seem_gone = sorted(inviters_who_seem_gone(invitations, members).items())
    is_member = partial(reader.is_active_member, org_id)
    answers = await for_each([name for _, name in seem_gone], is_member, workers=workers)
    gone: set[str] = set()
    unknown: list[ListUnreadable] = []
    for (inviter, _), answer in zip(seem_gone, answers, strict=True):
        if isinstance(answer, ListUnreadable):
            unknown.append(answer)
        elif not answer:
            gone.add(inviter)
    return structs.replace(members, gone=frozenset(gone)), unknown


async def _read_recovered(reader: AtlasReader, ref: ListRef, scope: RunScope) -> ListAnswer:
    """Return what became of a list that is not in scope."""
    answer = await reader.invitations(ref.project, ref.source)
    # A 404 is not believed of a project that Atlas listed in this run.
    if isinstance(answer, ProjectGone) and ref.project.id in scope.project_names:
        return contradicted_404(ref)
    return answer
