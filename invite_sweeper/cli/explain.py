"""Command `explain`: search for people and show why each invitation is stale or kept."""

import asyncio
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.text import Text

from invite_sweeper.cli.console import run_async, stdout_console, write_json
from invite_sweeper.cli.options import CONNECTED, Command, RunOptions, option, options
from invite_sweeper.cli.session import Session
from invite_sweeper.cli.view import Progress
from invite_sweeper.explain import Explainer, Explanation
from invite_sweeper.models import Invitation, ListUnreadable, OrganizationName, Source
from invite_sweeper.policy import load_policy
from invite_sweeper.sweep.command import Organization
from invite_sweeper.sweep.discovery import Reader
from invite_sweeper.sweep.invitations import person_key
from invite_sweeper.sweep.result import Result
from invite_sweeper.sweep.selection import Decision
from invite_sweeper.text import (
    Globs,
    casefold_visible,
    escape_unprintable,
    organization_label,
    pluralize,
    shorten_list,
)

_MAX_NAMES = 20


@click.command(cls=Command)
@click.argument(
    "terms", help="The id or username of an invitation, or a glob for either.", metavar="TERM...",
    nargs=-1, required=True,
)  # fmt: skip
@options(*(each for each in CONNECTED if each != "verbose"))
@option("Output", "-v", "--verbose", is_flag=True, help="Show each rule and keep entry, too.")
def explain(terms: tuple[str, ...], verbose: bool, **given: Any) -> None:  # noqa: ANN401
    """Explain why an invitation is kept or deleted.

    Shows for each person the decision, the condition that made it, and from which day the
    invitation is stale or may be deleted. Reads what a sweep reads; writes and deletes nothing.
    Exit code 4: a list could not be read, so an invitation may be missing from the result.

    Example: invite-sweeper explain ada@example.com
    """
    options = RunOptions(**given)
    found = run_async(search(terms, options, os.environ))
    if options.output == "json":
        write_json(found)
    else:
        show(stdout_console(), found, verbose=verbose)
    raise SystemExit(found.exit_code)


class Search(msgspec.Struct, frozen=True):
    """The result of `explain`.

    Attributes:
        terms: What was searched for.
        projects: Number of projects in scope.
        invitations: Number of invitations that were read.
        out_of_scope: Projects in the policy's organizations that it excludes.
        unreadable: Lists that may contain more invitations, and organizations.
        found: The invitations of which an entry matches a term, those of a person together.
    """

    terms: tuple[str, ...]
    now: datetime
    sources: tuple[Source, ...]
    projects: int
    invitations: int
    organizations: list[OrganizationName]
    out_of_scope: list[str]
    unreadable: list[ListUnreadable]
    found: list[Explanation]
    exit_code: int


async def search(
    terms: Sequence[str], options: RunOptions, environment: Mapping[str, str]
) -> Search:
    """Read as a dry run does, and explain the invitations that match a term."""
    policy = load_policy(options.policy)
    session = Session(options, policy, environment)
    session.credentials()
    with session.working():
        history = session.read_history()
        # No guard of a run changes a decision.
        command = session.command(history, dry_run=True, accept_population=True)
        matches = _matcher(terms)
        found: list[tuple[Decision, Decision]] = []

        def observe(by_policy: Decision, decision: Decision) -> None:
            if any(map(matches, decision.all_entries)):
                found.append((by_policy, decision))

        async def explain_all() -> list[Explanation]:
            members = {each.id: each.members for each in organizations if each.members}
            explainer, explanations = Explainer(policy, session.now, members), []
            for by_policy, decision in found:
                explanations.append(explainer.explain(by_policy, decision))
                await asyncio.sleep(0)  # thousands take seconds, and a signal ends them
            return sorted(
                explanations, key=lambda each: (person_key(each), each.project_name or "")
            )

        async with session.organizations(history) as organizations:
            view = Progress(session.log, session.terminal)
            result = Result(command, organizations, view)
            result.warn(*session.directory.warnings())
            reader = Reader(result, organizations, None, observe=observe)
            try:
                await session.stop.run_unless_stopped(reader.read_all())
            finally:
                view.close()
            explanations = await session.stop.run_unless_stopped(explain_all())
    end = result.finished()
    errors = [each.error for each in organizations if each.error is not None]
    if len(errors) == len(organizations):
        raise errors[0]
    scopes = [each.scope for each in organizations if each.scope is not None]
    return Search(
        terms=tuple(terms),
        now=session.now,
        sources=tuple(policy.sources),
        projects=end.projects_seen,
        invitations=end.invitations_seen,
        organizations=[OrganizationName(each.id, each.name) for each in organizations],
        out_of_scope=[project.name for scope in scopes for project in scope.excluded],
        unreadable=[lost for each in organizations for lost in _unread(each)],
        found=explanations,
        exit_code=end.exit_code,
    )


def _unread(organization: Organization) -> Iterator[ListUnreadable]:
    if organization.error is not None:
        name, message = f"organization {organization.label}", organization.error.message
        yield ListUnreadable(None, name, message, org_id=organization.id)
    yield from organization.unread
    yield from organization.retired.values()


def _matcher(terms: Sequence[str]) -> Callable[[Invitation], bool]:
    """Return what tells whether an entry's id or username matches a term."""
    globs = Globs(terms)
    # An address may contain characters special to globs, so it is also compared literally.
    literal = {casefold_visible(each) for each in terms}

    def matches(entry: Invitation) -> bool:
        names = (entry.invitation_id, entry.username or "")
        return any(casefold_visible(n) in literal or globs.matches(n) for n in names if n)

    return matches


def show(console: Console, found: Search, *, verbose: bool = False) -> None:
    """Write the result; control characters in names are escaped."""
    for text, style in _lines(found, verbose=verbose):
        console.print(Text(escape_unprintable(text), style), soft_wrap=True)


def _lines(result: Search, *, verbose: bool) -> Iterator[tuple[str, str]]:
    """Yield each line with its style."""
    names = {each.id: each.name for each in result.organizations}
    for _, invitations in groupby(result.found, key=person_key):
        first, *others = invitations
        label = organization_label(first.org_id, names.get(first.org_id))
        yield f"{first.username or '(no address)'} in organization {label}", "bold"
        for each in (first, *others):
            yield from _explanation_lines(each, verbose=verbose)
        yield "", ""
    if not result.found:
        yield f"Nothing found for {' '.join(map(repr, result.terms))}.", "bold"
    read = pluralize(result.invitations, "invitation"), pluralize(result.projects, "project")
    yield f"Searched: {read[0]} in {read[1]} ({', '.join(result.sources)}).", ""
    if result.out_of_scope:
        excluded = shorten_list(result.out_of_scope, _MAX_NAMES)
        yield f"Not searched, as the policy excludes them: {excluded}.", ""
    for lost in result.unreadable:
        where = lost.project_name or f"the list {lost.source}"
        yield f"Could not be read: {where}: {lost.reason}", "yellow"


def _explanation_lines(explanation: Explanation, *, verbose: bool) -> Iterator[tuple[str, str]]:
    text = explanation.description
    style = "bold red" if explanation.kept is None else "bold green"
    yield f"  {text[:1].upper()}{text[1:]}{_when(explanation)}.", style
    if explanation.condition:
        yield f"    {explanation.condition}", ""
    name = explanation.project_name or explanation.project_id
    place = f", project {name}" if explanation.project_id is not None else ""
    id_, status = explanation.invitation_id, explanation.status or "no status"
    yield f"    {explanation.source}{place}, id {id_}, {status}", ""
    for other in explanation.entries:
        place = f", project {other.project_id}" if other.project_id is not None else ""
        yield f"    {other.source}{place}, id {other.invitation_id}", ""
    if verbose:
        yield from ((f"    {line}", "") for line in explanation.policy)


def _when(explanation: Explanation) -> str:
    """Return from which day an invitation is stale, or may be deleted."""
    due, stale_from = explanation.deletable_from, explanation.stale_from
    if due is not None:
        return f", may be deleted from {due:%Y-%m-%d}"
    if stale_from is None:
        return ""
    if explanation.rule is not None:
        return f" since {stale_from:%Y-%m-%d}"
    return f"; stale from {stale_from:%Y-%m-%d} by rule {explanation.stale_by}"
