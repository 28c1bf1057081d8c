"""Command `explain`: search for people and show why each invitation is stale or kept."""

import asyncio
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.text import Text

from invite_sweeper.cli.console import run_async, stdout_console, write_json
from invite_sweeper.cli.options import (
    CONNECTED,
    OUTPUT,
    Command,
    Output,
    RunOptions,
    option,
    options,
)
from invite_sweeper.cli.session import Session
from invite_sweeper.explain import EntryExplanation, Explainer, Explanation, KeyExplanation
from invite_sweeper.models import Invitation, ListUnreadable, OrganizationName, Source
from invite_sweeper.policy import load_policy
from invite_sweeper.report.notify import register_secrets
from invite_sweeper.report.progress import Progress
from invite_sweeper.sweep.discovery import Reader
from invite_sweeper.sweep.organization import Organization
from invite_sweeper.sweep.result import Result
from invite_sweeper.sweep.selection import Decision
from invite_sweeper.text import (
    Globs,
    casefold_lookalike,
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
@option(OUTPUT, "-v", "--verbose", is_flag=True, help="Show each rule and keep entry, too.")
def explain(terms: tuple[str, ...], verbose: bool, **given: Any) -> None:  # noqa: ANN401
    """Explain why an invitation is kept or deleted.

    Shows for each person the decision, the condition that made it, and from which day the
    invitation is stale or may be deleted. Reads what a sweep reads; writes and deletes nothing.
    Exit code 4: a list could not be read, so an invitation may be missing from the result.

    Example: invite-sweeper explain ada@example.com
    """
    options = RunOptions(**given)
    found = run_async(search(terms, options, os.environ))
    if options.output is Output.JSON:
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
    policy_sha256: str
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
    register_secrets(policy.notify, environment)
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

        async with session.organizations(history) as organizations:
            terminal = Console(stderr=True) if sys.stderr.isatty() and not options.quiet else None
            view = Progress(session.log, terminal)
            result = Result(command, organizations, view)
            result.warn(*session.directory.warnings())
            reader = Reader(command, organizations, None, result, view, observe=observe)
            try:
                await session.stop.run_unless_stopped(reader.read_all())
            finally:
                view.close()
            end = result.finished()
            explaining = _explain_all(session, organizations, found)
            explanations = await session.stop.run_unless_stopped(explaining)
    errors = [each.error for each in organizations if each.error is not None]
    if len(errors) == len(organizations):
        raise errors[0]
    return Search(
        terms=tuple(terms),
        now=session.now,
        policy_sha256=policy.sha256,
        sources=tuple(policy.sources),
        projects=end.projects_seen,
        invitations=end.invitations_seen,
        organizations=[OrganizationName(each.id, each.name) for each in organizations],
        out_of_scope=[
            project.name for each in organizations if each.scope for project in each.scope.excluded
        ],
        unreadable=[lost for each in organizations for lost in _unread(each)],
        found=explanations,
        exit_code=end.exit_code,
    )


async def _explain_all(
    session: Session,
    organizations: Sequence[Organization],
    found: Sequence[tuple[Decision, Decision]],
) -> list[Explanation]:
    members = {each.id: each.members for each in organizations if each.members}
    explainer = Explainer(session.policy, session.now, members)
    explanations = []
    for by_policy, decision in found:
        explanations.append(explainer.explain(by_policy, decision))
        await asyncio.sleep(0)  # thousands take seconds, and a signal ends them
    explanations.sort(key=lambda each: (_person(each), each.project_name or ""))
    return explanations


def _unread(organization: Organization) -> Iterator[ListUnreadable]:
    if organization.error is not None:
        name, message = f"organization {organization.label}", organization.error.message
        yield ListUnreadable(organization.id, name, message, org_id=organization.id)
    yield from organization.unread
    yield from organization.retired.values()


def _matcher(terms: Sequence[str]) -> Callable[[Invitation], bool]:
    """Return what tells whether an entry's id or username matches a term."""
    globs = Globs(terms)
    # An address may contain characters special to globs, so it is also compared literally.
    literal = {casefold_visible(each) for each in terms}

    def matches(entry: Invitation) -> bool:
        names = (entry.id, entry.username or "")
        return any(casefold_visible(n) in literal or globs.matches(n) for n in names if n)

    return matches


def _person(explanation: Explanation) -> tuple[str, str]:
    username = explanation.username
    return explanation.org_id, casefold_lookalike(username) if username else ""


def show(console: Console, found: Search, *, verbose: bool = False) -> None:
    """Write the result; control characters in names are escaped."""
    for line in _lines(found, verbose=verbose):
        console.print(line, soft_wrap=True)


def _lines(result: Search, *, verbose: bool) -> Iterator[Text]:
    names = {each.id: each.name for each in result.organizations}
    for (org_id, _), invitations in groupby(result.found, key=_person):
        label = escape_unprintable(organization_label(org_id, names.get(org_id)))
        of_person = list(invitations)
        who = escape_unprintable(of_person[0].username or "(no address)")
        yield Text.assemble((who, "bold"), f" in organization {label}")
        for each in of_person:
            yield from _explanation_lines(each, verbose=verbose)
        yield Text("")
    if not result.found:
        terms = " ".join(repr(escape_unprintable(each)) for each in result.terms)
        yield Text(f"Nothing found for {terms}.", style="bold")
    read = pluralize(result.invitations, "invitation"), pluralize(result.projects, "project")
    yield Text(f"Searched: {read[0]} in {read[1]} ({', '.join(result.sources)}).")
    if result.out_of_scope:
        excluded = list(map(escape_unprintable, result.out_of_scope))
        yield Text(
            f"Not searched, as the policy excludes them: {shorten_list(excluded, _MAX_NAMES)}."
        )
    for lost in result.unreadable:
        where = escape_unprintable(lost.project_name) or f"the list {lost.source}"
        yield Text(f"Could not be read: {where}: {escape_unprintable(lost.reason)}", "yellow")


def _explanation_lines(explanation: Explanation, *, verbose: bool) -> Iterator[Text]:
    description = escape_unprintable(explanation.description)
    yield Text(
        f"  {description[:1].upper()}{description[1:]}{_when(explanation)}.",
        "bold red" if explanation.kept is None else "bold green",
    )
    if (key := explanation.condition) is not None:
        yield Text(f"    {_key_text(key)}")
    place = _place(explanation.project_name, explanation.project_id)
    status = escape_unprintable(explanation.status or "no status")
    id_ = escape_unprintable(explanation.invitation_id)
    yield Text(f"    {explanation.source}{place}, id {id_}, {status}")
    for other in explanation.entries:
        where = f"{other.source}{_place(None, other.project_id)}"
        id_ = escape_unprintable(other.invitation_id)
        yield Text(f"    {where}, id {id_}: {escape_unprintable(other.description)}")
    if verbose:
        for entry in explanation.policy:
            yield from _entry_lines(entry)


def _when(explanation: Explanation) -> str:
    """Return from which day an invitation is stale, or may be deleted."""
    due, stale_from = explanation.deletable_from, explanation.stale_from
    if due is not None:
        return f", may be deleted from {due:%Y-%m-%d}"
    if stale_from is None:
        return ""
    if explanation.rule is not None:
        return f" since {stale_from:%Y-%m-%d}"
    rule = escape_unprintable(explanation.stale_by or "")
    return f"; stale from {stale_from:%Y-%m-%d} by rule {rule}"


def _place(name: str | None, project_id: str | None) -> str:
    if project_id is None:
        return ""
    return f", project {escape_unprintable(name)}" if name else f", project {project_id}"


def _entry_lines(entry: EntryExplanation) -> Iterator[Text]:
    note = f" ({escape_unprintable(entry.note)})" if entry.note else ""
    result = "not evaluated" if entry.ended else _format_result(entry)
    yield Text(f"    {entry.kind} {escape_unprintable(entry.name)}: {result}{note}")
    for key in entry.keys:
        yield Text(f"      {_key_text(key)}: {_format_result(key)}", style="dim")


def _key_text(key: KeyExplanation) -> str:
    has = escape_unprintable(key.actual) or "none"
    return f"{key.key} is {escape_unprintable(key.expected)}, the invitation has {has}"


def _format_result(found: EntryExplanation | KeyExplanation) -> str:
    if found.unknown is not None:
        return f"cannot be evaluated ({found.unknown.replace('_', ' ')})"
    return "matches" if found.matched else "does not match"
