"""Command `explain`: search for invitations and show why each is stale or kept."""

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from invite_sweeper.atlas import Credentials
from invite_sweeper.audit import History, LogPath
from invite_sweeper.audit.head import check_end
from invite_sweeper.cli.console import run_async, stdout_console
from invite_sweeper.cli.json_output import write_json
from invite_sweeper.cli.options import LOGGED, TARGET, Output, RunOptions, takes, value
from invite_sweeper.cli.run_session import RunSession
from invite_sweeper.cli.run_setup import CommandContext, load_usable_plan, plan_max_age
from invite_sweeper.endings import ExitCode
from invite_sweeper.errors import RunError
from invite_sweeper.explain import EntryExplanation, Explainer, Explanation, KeyExplanation
from invite_sweeper.models import Invitation, ListUnreadable, OrganizationName, ProjectGone, Source
from invite_sweeper.policy import Policy, loader
from invite_sweeper.report.webhooks import register_secrets
from invite_sweeper.sweep.decision_steps import KeepBounced, KeepOutsidePlan, Step
from invite_sweeper.sweep.discovery import ListOutcome, discover_projects, list_invitations
from invite_sweeper.sweep.guards import check_clock
from invite_sweeper.sweep.invitations import combine, unread_organization
from invite_sweeper.sweep.members import read_members
from invite_sweeper.sweep.notice import notice_steps
from invite_sweeper.sweep.previous_runs import read_previous_runs
from invite_sweeper.sweep.saved_plan import SavedPlanFilter
from invite_sweeper.sweep.scope import ReportingProjectFilter
from invite_sweeper.sweep.selection import Decision
from invite_sweeper.text import (
    Globs,
    casefold_visible,
    escape_unprintable,
    organization_label,
    pluralize,
    shorten_list,
)

app = typer.Typer(rich_markup_mode=None)
_MAX_NAMES = 20


@app.command()
@takes(RunOptions, "policy", "base_url", "audit_log", *LOGGED)
def explain(
    options: RunOptions,
    term: Annotated[
        str,
        typer.Argument(metavar="TERM", help="An invitation's id or address, or a glob for either."),
    ],
    plan: Annotated[
        Path | None, value(TARGET, "FILE", "Apply this saved plan, as a sweep would.")
    ] = None,
) -> None:
    """Explain why an invitation is kept or deleted.

    Shows each rule and keep entry with its result. Writes and deletes nothing. Exit code 0:
    whether an invitation was found or not. Exit code 4: a project could not be read, so an
    invitation may be missing from the result.

    Example: invite-sweeper explain ada@example.com
    """
    result = run_async(_Search(term, options._replace(plan=plan), os.environ).run())
    if options.output is Output.JSON:
        write_json(result)
    else:
        show(stdout_console(), result)
    raise typer.Exit(result.exit_code)


class Search(msgspec.Struct, frozen=True):
    """The result of `explain`.

    Attributes:
        term: What was searched for.
        projects: Number of projects that were read.
        invitations: Number of invitations that were read.
        out_of_scope: Projects in the policy's organizations that it excludes.
        unreadable: Lists that may contain more invitations.
        found: The invitations that match the term.
    """

    term: str
    now: datetime
    policy_sha256: str
    sources: tuple[Source, ...]
    projects: int
    invitations: int
    organizations: list[OrganizationName]
    out_of_scope: list[str]
    unreadable: list[ListUnreadable]
    found: list[Explanation]
    exit_code: int


def show(console: Console, search: Search) -> None:
    """Write the result; control characters in names are escaped."""
    for line in _lines(search):
        console.print(line, soft_wrap=True)


def _lines(search: Search) -> Iterator[Text]:
    names = {each.id: each.name for each in search.organizations}
    for explanation in search.found:
        label = organization_label(explanation.org_id, names.get(explanation.org_id))
        yield from _explanation_lines(explanation, label)
        yield Text("")
    if not search.found:
        yield Text(f"Nothing found for {escape_unprintable(search.term)!r}.", style="bold")
    invitations, projects = (
        pluralize(search.invitations, "invitation"),
        pluralize(search.projects, "project"),
    )
    yield Text(f"Searched: {invitations} in {projects} ({', '.join(search.sources)}).")
    if search.out_of_scope:
        excluded = list(map(escape_unprintable, search.out_of_scope))
        yield Text(
            f"Not searched, as the policy excludes them: {shorten_list(excluded, _MAX_NAMES)}."
        )
    for unreadable in search.unreadable:
        yield Text(
            f"Could not be read: {escape_unprintable(unreadable.project_name)}: "
            f"{escape_unprintable(unreadable.reason)}",
            style="yellow",
        )


def _explanation_lines(explanation: Explanation, organization: str) -> Iterator[Text]:
    project = escape_unprintable(explanation.project_name or "")
    organization = f"organization {escape_unprintable(organization)}"
    status = escape_unprintable(explanation.status or "no status")
    yield Text.assemble(
        (escape_unprintable(explanation.username or "(no address)"), "bold"),
        f" to {f'{project} of {organization}' if project else organization}"
        f" (id {escape_unprintable(explanation.invitation_id)}, list {explanation.source}, "
        f"{status})",
    )
    for other in explanation.entries:
        where = f"project {other.project_id}" if other.project_id else organization
        text = f"  also in {other.source}, {where} (id {escape_unprintable(other.invitation_id)})"
        yield Text(f"{text}: {escape_unprintable(other.by_policy.description)}")
    for kind, entries in (("keep", explanation.keep), ("rule", explanation.rules)):
        for entry in entries:
            yield from _entry_lines(kind, entry)
    decision, by_policy = explanation.decision, explanation.by_policy
    if decision != by_policy:
        yield Text(f"  By the policy alone: {escape_unprintable(by_policy.description)}.")
    yield Text(
        f"  Decision: {escape_unprintable(decision.description)}.",
        style="bold red" if decision.stale else "bold green",
    )


def _entry_lines(kind: str, entry: EntryExplanation) -> Iterator[Text]:
    note = f" ({escape_unprintable(entry.note)})" if entry.note else ""
    result = "not evaluated" if entry.ended else _format_result(entry)
    yield Text(f"  {kind} `{escape_unprintable(entry.name)}`: {result}{note}")
    for key in entry.keys:
        has = escape_unprintable(key.actual) or "none"
        expected = escape_unprintable(key.expected)
        text = f"    {key.key}: {_format_result(key)}; expected {expected}, has {has}"
        yield Text(text, style="dim")


def _format_result(found: EntryExplanation | KeyExplanation) -> str:
    if found.unknown is not None:
        return f"cannot be evaluated ({found.unknown.replace('_', ' ')})"
    return "matches" if found.matched else "does not match"


_READERS_PER_SLOT = 2


def _read_history(context: CommandContext) -> History:
    """Return the earlier runs; warn if files of the log are missing."""
    history = read_previous_runs(context.log_path, context.session.check_deadline)
    path = context.log_path.path_of_run(now=context.session.now, run_id=context.session.run_id)
    if missing := check_end(context.log_path, path):
        context.session.log.warning(missing)
    return history


def _load_steps(context: CommandContext, history: History) -> tuple[Step, ...]:
    """Return the steps of a sweep, from earlier deletions and a saved plan."""
    steps: tuple[Step, ...] = (
        KeepBounced(history.deletions, context.policy.limits.max_bounces),
        *notice_steps(context.policy, history, context.base_url, context.now),
    )
    saved = load_usable_plan(context, history)
    return steps if saved is None else (*steps, KeepOutsidePlan(SavedPlanFilter(saved)))


class _Search:
    """One search over all lists that the policy names."""

    def __init__(self, term: str, options: RunOptions, environment: Mapping[str, str]) -> None:
        self._policy = policy = loader.load_policy(options.policy)
        register_secrets(policy.notify, environment)
        self._session = RunSession(options, policy.execution, environment)
        self._parts = self._session.parts(policy)
        self._term = term
        self._globs = Globs((term,))
        log_path = LogPath.from_option(options.audit_log, policy.audit.path)
        self._context = CommandContext(self._session, policy, None, log_path, plan_max_age(options))
        self._found: list[Explanation] = []
        self._unreadable: list[ListUnreadable] = []
        self._excluded: list[str] = []
        self._people: defaultdict[str, list[Decision]] = defaultdict(list)  # by organization
        self._projects = self._invitations_seen = 0
        self._organization_names: dict[str, str] = {}

    async def run(self) -> Search:
        """Read all lists and explain the invitations that match the term."""
        with self._session.last_resort, self._session.working():
            history = _read_history(self._context)
            self._earlier_members = history.members(self._context.base_url)
            self._steps = _load_steps(self._context, history)
            await self._session.stop.run_unless_stopped(self._search())
        self._found.sort(key=lambda each: (each.project_name or "", each.invitation_id))
        return Search(
            term=self._term,
            now=self._session.now,
            policy_sha256=self._policy.sha256,
            sources=tuple(self._policy.sources),
            projects=self._projects,
            invitations=self._invitations_seen,
            organizations=[
                OrganizationName(each.id, self._organization_names.get(each.id))
                for each in self._policy.organizations
            ],
            out_of_scope=self._excluded,
            unreadable=self._unreadable,
            found=self._found,
            exit_code=int(ExitCode.PARTIAL if self._unreadable else ExitCode.DONE),
        )

    async def _search(self) -> None:
        for part, credentials in self._parts:
            try:
                await self._search_part(part, credentials)
            except RunError as error:
                if len(self._parts) == 1:
                    raise
                organizations = ", ".join(sorted(part.organization_ids))
                self._unreadable.append(
                    ListUnreadable(organizations, f"organization {organizations}", error.message)
                )

    async def _search_part(self, part: Policy, credentials: Credentials) -> None:
        """Search the organizations of one set of credentials."""
        name = part.organizations[0].credentials or ""
        async with self._session.connect(credentials, name=name) as connection:
            project_filter = ReportingProjectFilter(part)
            scope = await discover_projects(connection.reader, project_filter)
            check_clock(connection.clock_skew_s)
            self._organization_names |= await connection.organization_names()
            self._unreadable.extend(scope.unreadable)
            self._excluded.extend(project.name for project in project_filter.excluded)
            members = await read_members(connection.reader, part, self._earlier_members)
            self._explainer = Explainer(
                self._policy, self._session.now, self._steps, members.members
            )
            workers = part.execution.concurrency * _READERS_PER_SLOT
            await list_invitations(
                connection.reader, scope, part.sources, self._on_list, workers=workers
            )
            self._projects += len(scope.projects)
            unread = {unread_organization(each) for each in self._unreadable}
            for org_id, entries in self._people.items():
                people = combine(entries, all_read=not unread & {org_id, ""})
                self._add_found(people)
            self._people.clear()

    async def _on_list(self, found: ListOutcome) -> None:
        if isinstance(found, ProjectGone):
            return
        if isinstance(found, ListUnreadable):
            self._unreadable.append(found)
            return
        decisions = [self._explainer.decide(each) for each in found.invitations]
        if found.list_ref.source is Source.INVITES:
            self._add_found(decisions)
        else:
            self._people[found.list_ref.project.org_id] += decisions

    def _add_found(self, invitations: Iterable[Decision]) -> None:
        """Explain the invitations of which an entry matches the term."""
        for each in invitations:
            self._invitations_seen += 1
            if any(map(self._matches_term, each.all_entries)):
                self._found.append(self._explainer.explain(each))

    def _matches_term(self, invitation: Invitation) -> bool:
        names = (invitation.id, invitation.username or "")
        # An address may contain characters special to globs, so it is also compared literally.
        term = casefold_visible(self._term)
        return any(
            casefold_visible(name) == term or self._globs.matches(name) for name in names if name
        )
