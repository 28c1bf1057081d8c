"""Command `explain`: search for people and show why each invitation is stale or kept."""

import asyncio
import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.text import Text

from invite_sweeper.cli.checks import OrganizationName
from invite_sweeper.cli.console import run_async, stdout_console, write_json
from invite_sweeper.cli.looking import Judged, Look, look
from invite_sweeper.cli.options import CONNECTED, Command, RunOptions, option, options
from invite_sweeper.cli.session import Session, load_policy
from invite_sweeper.explain import Explainer, Explanation
from invite_sweeper.models import ListUnreadable, Source
from invite_sweeper.sweep.invitations import person_key
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
    policy = load_policy(options.policy, environment)
    session = Session(options, policy, environment)
    session.credentials()
    with session.working():
        found = await look(session)
        explanations = await session.stop.run_unless_stopped(_explain_all(found, terms))
    end = found.result.finished()
    readings = found.result.readings
    scopes = [reading.scope for reading in readings if reading.scope is not None]
    return Search(
        terms=tuple(terms),
        now=session.now,
        sources=tuple(policy.sources),
        projects=end.projects_seen,
        invitations=end.invitations_seen,
        organizations=[
            OrganizationName(reading.id, reading.organization.name) for reading in readings
        ],
        out_of_scope=[project.name for scope in scopes for project in scope.excluded],
        unreadable=[*found.unread()],
        found=explanations,
        exit_code=end.exit_code,
    )


async def _explain_all(found: Look, terms: Sequence[str]) -> list[Explanation]:
    """Return the explanations of the invitations of which an entry matches a term."""
    command = found.result.command
    explainer = Explainer(command.policy, command.now, found.members, found.names)
    # An address may contain characters special to globs, so it is also compared literally.
    globs, literal = Globs(terms), set(map(casefold_visible, terms))

    def is_wanted(judged: Judged) -> bool:
        entries = judged.decision.all_entries
        ids = (entry.invitation_id for entry in entries)
        usernames = (entry.username or "" for entry in entries)
        names = filter(None, (*ids, *usernames))
        return any(casefold_visible(name) in literal or globs.matches(name) for name in names)

    explanations: list[Explanation] = []
    wanted = list(filter(is_wanted, found.judged))
    days = found.days() if wanted else {}
    for by_policy, decision in wanted:
        goes_at = days.get(decision.invitation.key)
        explanations.append(explainer.explain(by_policy, decision, goes_at))
        await asyncio.sleep(0)  # thousands take seconds, and a signal ends them
    return sorted(explanations, key=lambda each: (person_key(each), each.project_name or ""))


def show(console: Console, found: Search, *, verbose: bool = False) -> None:
    """Write the result; control characters in names are escaped."""

    def write(text: str, style: str = "") -> None:
        console.print(Text(escape_unprintable(text), style), soft_wrap=True)

    names = {each.id: each.name for each in found.organizations}
    for _, invitations in groupby(found.found, key=person_key):
        group = tuple(invitations)
        label = organization_label(group[0].org_id, names.get(group[0].org_id))
        write(f"{group[0].username or '(no address)'} in organization {label}", "bold")
        for each in group:
            text = each.description
            style = "bold red" if each.kept is None else "bold green"
            write(f"  {text[:1].upper()}{text[1:]}{_when(each)}.", style)
            for line in filter(None, (each.condition, *_entries(each))):
                write(f"    {line}")
            for line in each.policy if verbose else ():
                write(f"    {line}")
        write("")
    if not found.found:
        write(f"Nothing found for {' '.join(map(repr, found.terms))}.", "bold")
    read = pluralize(found.invitations, "invitation"), pluralize(found.projects, "project")
    write(f"Searched: {read[0]} in {read[1]} ({', '.join(found.sources)}).")
    if found.out_of_scope:
        excluded = shorten_list(found.out_of_scope, _MAX_NAMES)
        write(f"Not searched, as the policy excludes them: {excluded}.")
    for lost in found.unreadable:
        where = lost.project_name or f"the list {lost.source}"
        write(f"Could not be read: {where}: {lost.reason}", "yellow")


def _entries(found: Explanation) -> Iterator[str]:
    """Yield each entry with its place; the first has its status and the name of its project."""
    name, status = found.project_name or found.project_id, found.status or "no status"
    place = f", project {name}" if found.project_id is not None else ""
    yield f"{found.source}{place}, id {found.invitation_id}, {status}"
    for other in found.entries:
        place = f", project {other.project_id}" if other.project_id is not None else ""
        yield f"{other.source}{place}, id {other.invitation_id}"


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
