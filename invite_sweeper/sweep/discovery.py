"""Read all organizations, a few at once, and decide each as soon as it is read.

What an organization showed is let go once it is decided and its lines are written. An error that
concerns one organization is a value; an error that concerns the run is raised.
"""

from collections.abc import Awaitable, Sequence
from typing import Final

from msgspec import structs

from invite_sweeper.audit import AuditLog
from invite_sweeper.endings import WarningCode, WarningLevel
from invite_sweeper.errors import AuditLogError, Interrupted, RunError
from invite_sweeper.sweep.deciding import decide, lines_of
from invite_sweeper.sweep.plan import AtlasOrganization, Decided, OrganizationRead
from invite_sweeper.sweep.reading import for_each, list_projects, read_lists
from invite_sweeper.sweep.recovery import recovery_lists
from invite_sweeper.sweep.result import Result
from invite_sweeper.sweep.scope import ProjectFilter, leave_out_moving, unmatched_organizations

_MAX_ORGANIZATIONS_AT_A_TIME: Final = 4
"""Organizations that are read at the same time; together they have `execution.concurrency`
requests in flight."""


async def read_and_decide(result: Result, log: AuditLog | None) -> tuple[Decided, ...]:
    """Return what is decided about each organization of a run, in their order.

    Args:
        log: Gets the lines about each; without one they are kept, with the decisions.

    Raises:
        RunError: The audit log failed, or a stop was requested. Nothing was deleted.
    """
    command = result.command
    policy = command.policy
    project_filter = ProjectFilter(policy, command.projects)
    concurrency = policy.execution.concurrency
    most = min(_MAX_ORGANIZATIONS_AT_A_TIME, len(result.organizations), concurrency)
    at_a_time = max(1, most)  # also for a shard without organizations
    workers = max(1, concurrency // at_a_time)
    # What a killed run left open is for a sweep to recover, by the reading that writes lines.
    recovers = log is not None and not command.dry_run
    opened = command.history.open_intents(command.base_url) if recovers else {}
    decided: dict[str, Decided] = {}

    async def list_projects_of(organization: AtlasOrganization) -> OrganizationRead:
        listed = OrganizationRead(organization)
        return await _error_kept(result, listed, list_projects(organization, project_filter))

    async def decide_one(listed: OrganizationRead) -> None:
        org_id = listed.organization.id
        open_intents = opened.get(org_id, ())
        recovered = recovery_lists(open_intents)
        reading = read_lists(listed, policy, recovered, result.view, workers=workers)
        read = await _error_kept(result, listed, reading)
        ended = [source for source in policy.sources if result.has_ended(source)]
        one = decide(read, command, ended=ended, opened=open_intents)
        result.warn(*one.warnings)
        if log is not None:
            for line in lines_of(one, command):
                log.write(line)
            one = structs.replace(one, decisions=(), recovered=())
        decided[org_id] = one

    try:
        listed = await for_each(result.organizations, list_projects_of, workers=at_a_time)
        if all(each.scope is not None for each in listed):
            project_filter.check_found()
        await for_each(_without_moving(listed), decide_one, workers=at_a_time)
    finally:  # what Atlas announced until an error is reported, too
        result.report_ends(decided.values())
    all_decided = tuple(decided[organization.id] for organization in result.organizations)
    _warn_of_unused_patterns(result, project_filter, all_decided)
    return all_decided


async def _error_kept(
    result: Result, read: OrganizationRead, step: Awaitable[OrganizationRead]
) -> OrganizationRead:
    """Return what a step read of an organization; an error of the whole run is raised."""
    try:
        return await step
    except (AuditLogError, Interrupted):
        raise
    except RunError as error:
        return structs.replace(read, error=result.error_in(read.organization, error))


def _without_moving(listed: Sequence[OrganizationRead]) -> list[OrganizationRead]:
    """Return the organizations without the projects that move between them."""
    scopes = leave_out_moving([read.scope for read in listed if read.scope is not None])
    by_id = {scope.org_id: scope for scope in scopes}
    return [structs.replace(read, scope=by_id.get(read.organization.id)) for read in listed]


def _warn_of_unused_patterns(
    result: Result, project_filter: ProjectFilter, decided: Sequence[Decided]
) -> None:
    """Warn of the patterns of the policy that match no project, or no organization."""
    command = result.command
    # A pattern that matched nothing may match where the projects are not known.
    if all(each.scope is not None for each in decided):
        unused = project_filter.unused_patterns()
        result.warn_of(WarningCode.UNUSED_PATTERN, *unused, level=WarningLevel.REMARK)
    names = [each.returned_name for each in decided if each.returned_name]
    # A glob may be the name of an organization of another shard, or of one that did not answer.
    if command.shard is None and len(names) == len(result.organizations):
        unmatched = unmatched_organizations(command.policy, names)
        result.warn_of(WarningCode.UNUSED_PATTERN, *unmatched)
