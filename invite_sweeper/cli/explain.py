"""Command `explain`: search for people and show why each invitation is stale or kept."""

import asyncio
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.text import Text

from invite_sweeper.cli.checks import OrganizationName
from invite_sweeper.cli.console import run_async, stdout_console, write_json
from invite_sweeper.cli.options import CONNECTED, RunOptions, SectionedCommand, option, options
from invite_sweeper.cli.past import PersonHistory, read_past
from invite_sweeper.cli.session import Session
from invite_sweeper.cli.streams import fit_terminal
from invite_sweeper.cli.survey import (
    Judged,
    Survey,
    describe_excluded,
    read_activity_links,
    read_survey,
)
from invite_sweeper.endings import ExitCode
from invite_sweeper.explain import Explainer, Explanation
from invite_sweeper.models import ListUnreadable, Source
from invite_sweeper.names import Globs, exact_glob
from invite_sweeper.report.rows import label_of, place_name
from invite_sweeper.sweep.organization import organization_labels
from invite_sweeper.sweep.plan import awaited_limits, make_plans
from invite_sweeper.text import organization_label, pluralize, upper_first


@click.command(cls=SectionedCommand)
@click.argument(
    "terms", help="The id or username of an invitation, or a glob for either.", metavar="TERM...",
    nargs=-1, required=True,
)  # fmt: skip
@options(*(name for name in CONNECTED if name != "verbose"))
@option(
    "Output", "-v", "--verbose", is_flag=True,
    help="Show each rule and keep entry, too, and a link to Atlas's own record.",
)  # fmt: skip
def explain(terms: tuple[str, ...], verbose: bool, **given: Any) -> None:
    """Explain why an invitation is kept or deleted.

    Shows for each person the decision, the condition that made it, from which day the
    invitation is stale or may be deleted, and what the runs of the audit directory did. Reads
    what a sweep reads; writes and deletes nothing. Exit code 4: a list could not be read, so an
    invitation may be missing, also where a term was found; or neither Atlas nor a run knows any of
    the terms.

    Example: invite-sweeper explain ada@example.com
    """
    options = RunOptions(**given)
    result = run_async(search(terms, options, os.environ, verbose=verbose))
    if options.output == "json":
        write_json(result)
    else:
        show_explained(stdout_console(), result, verbose=verbose)
    raise SystemExit(result.exit_code)


class Search(msgspec.Struct, frozen=True):
    """The result of `explain`.

    Attributes:
        terms: What was searched for.
        projects: Number of projects in scope.
        invitations: Number of invitations that were read.
        out_of_scope: Projects in the policy's organizations that it excludes.
        unreadable: Lists that may contain more invitations, and organizations.
        found: The invitations of which an entry matches a term, those of a person together.
        history: What earlier runs did with the people who match.
        unknown: The terms that match no one.
        activity: With `-v`, links to Atlas's own record of their organizations, by id.
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
    history: list[PersonHistory]
    unknown: tuple[str, ...]
    activity: dict[str, str]
    exit_code: int


async def search(
    terms: Sequence[str],
    options: RunOptions,
    environment: Mapping[str, str],
    *,
    verbose: bool = False,
) -> Search:
    """Read as a dry run does, and explain the invitations that match a term.

    Args:
        verbose: Ask for the links to Atlas's own record, a request for each organization.
    """
    session = Session.of(options, environment)
    session.credentials()
    with session.working():
        survey = await read_survey(session)
        globs = Globs(terms)
        wanted = [judged for judged in survey.judged if any(map(globs.matches, _names(judged)))]
        explanations = await session.stop.run_unless_stopped(_explain_all(survey, wanted))
        since = _first_sent(explanations) if verbose else {}
        activity = await session.stop.run_unless_stopped(read_activity_links(session, since))
        names = {explanation.username for explanation in explanations if explanation.username}
        pending = frozenset(explanation.person for explanation in explanations)
        past = read_past(session, (*terms, *map(exact_glob, names)), pending)
        known_names = past.names.union(*map(_names, wanted))
        unknown = tuple(term for term in terms if not any(map(Globs([term]).matches, known_names)))
    end = survey.result.finished()
    readings = survey.result.readings
    return Search(
        terms=tuple(terms),
        now=session.now,
        sources=tuple(session.policy.sources),
        projects=end.projects_seen,
        invitations=end.invitations_seen,
        organizations=[
            OrganizationName(reading.id, reading.organization.name) for reading in readings
        ],
        out_of_scope=list(survey.excluded_projects()),
        unreadable=list(survey.unread()),
        found=explanations,
        history=list(past.histories),
        unknown=unknown,
        activity=activity,
        exit_code=end.exit_code if len(unknown) < len(terms) else int(ExitCode.PARTIAL),
    )


def _names(judged: Judged) -> Iterator[str]:
    """Yield what may be asked for: the id and the username of each entry of an invitation."""
    for entry in judged.decision.all_entries:
        yield entry.invitation_id
        if entry.username:
            yield entry.username


def _first_sent(explanations: Iterable[Explanation]) -> dict[str, datetime]:
    """Return when the oldest of the invitations in each organization was sent, if that is known."""
    since: dict[str, datetime] = {}
    for explanation in explanations:
        sent_at = explanation.sent_at
        if sent_at is not None:
            earliest = since.get(explanation.org_id, sent_at)
            since[explanation.org_id] = min(sent_at, earliest)
    return since


async def _explain_all(survey: Survey, wanted: Sequence[Judged]) -> list[Explanation]:
    """Return the explanations of these invitations, those of a person together."""
    command = survey.result.command
    explainer = Explainer(command.policy, command.now, survey.members, survey.names, command.notice)
    plans = make_plans(survey.result.readings, command)
    labels = organization_labels(plans)
    awaited = awaited_limits(plans, command)
    explanations: list[Explanation] = []
    for by_policy, decision in wanted:
        limit = awaited.get(decision.invitation.key)
        waits_for = limit.describe_use(labels) if limit is not None else None
        explanations.append(explainer.explain(by_policy, decision, waits_for))
        await asyncio.sleep(0)  # thousands take seconds, and a signal ends them

    def person_and_place(explanation: Explanation) -> tuple[object, str]:
        return explanation.person, explanation.project_name or ""

    return sorted(explanations, key=person_and_place)


def show_explained(console: Console, result: Search, *, verbose: bool = False) -> None:
    """Write the result to stdout; control characters in names are escaped."""
    for line in _result_lines(result, verbose=verbose):
        text = line.plain.lstrip(" ")
        indent = " " * (len(line.plain) - len(text))
        fitted = fit_terminal(text, indent, f"{indent}  ", stream=sys.stdout)
        console.print(Text(fitted, line.style), soft_wrap=True)


def _result_lines(result: Search, *, verbose: bool) -> Iterator[Text]:
    """Yield a block for each person: those whom Atlas shows, then those whom only a run knows."""
    labels = {
        organization.id: organization_label(organization.id, organization.name)
        for organization in result.organizations
    }
    past = {history.person: history for history in result.history}
    for person, group in groupby(result.found, key=lambda explanation: explanation.person):
        explanations = tuple(group)
        first = explanations[0]
        yield _heading(first.username, labels[first.org_id])
        for explanation in explanations:
            yield from _decision_lines(explanation, verbose=verbose)
        history = past.pop(person, None)
        if history is not None:
            yield from map(_detail, history.lines())
        yield Text()
    where = "the lists that were read" if result.unreadable else "any list"
    for history in past.values():
        yield _heading(history.username, labels.get(history.org_id, history.org_id))
        last = history.last
        yield Text(f"  Not in {where}. Run {last.run} on {last.now[:10]}: {last.text}.", "bold")
        yield from map(_detail, history.lines())
        yield Text()
    if result.unknown:
        terms = " ".join(map(repr, result.unknown))
        yield Text(f"Nothing found for {terms} in {where}, nor in an earlier run.", "bold")
    yield from _searched(result, labels)


def _decision_lines(explanation: Explanation, *, verbose: bool) -> Iterator[Text]:
    """Yield the decision about an invitation, its entries and with `-v` the policy."""
    style = "bold red" if explanation.kept is None else "bold green"
    decision = upper_first(explanation.description)
    yield Text(f"  {decision}{_from_which_day(explanation)}.", style)
    yield from map(_detail, _entries(explanation))
    if verbose:
        yield from map(_detail, explanation.policy)


def _detail(text: str) -> Text:
    return Text(f"    {text}")


def _heading(username: str | None, organization: str) -> Text:
    return Text(f"{username or '(no address)'} in organization {organization}", "bold")


def _searched(result: Search, labels: Mapping[str, str]) -> Iterator[Text]:
    """Yield what was searched and what was not, and where Atlas has more."""
    invitations = pluralize(result.invitations, "invitation")
    projects = pluralize(result.projects, "project")
    yield Text(f"Searched: {invitations} in {projects} ({', '.join(result.sources)}).")
    if result.out_of_scope:
        yield Text(f"{describe_excluded(result.out_of_scope)}.")
    for unreadable in result.unreadable:
        label = label_of(unreadable.org_id or "", labels)
        place = place_name(unreadable, label, full=True)
        yield Text(f"Could not be read: {place}: {unreadable.reason}", "yellow")
    for organization in result.organizations:
        link = result.activity.get(organization.id)
        if link is not None:
            label = organization_label(organization.id, organization.name)
            yield Text(f"Atlas's own record of organization {label}: {link}")


def _entries(explanation: Explanation) -> Iterator[str]:
    """Yield the condition, then each entry with its place.

    The first entry has its status. A project has its name, where Atlas returned it.
    """
    if explanation.condition:
        yield explanation.condition
    name = explanation.project_name or explanation.project_id
    place = f", project {name}" if explanation.project_id is not None else ""
    status = explanation.status or "no status"
    yield f"{explanation.source}{place}, id {explanation.invitation_id}, {status}"
    names = dict(explanation.linked_projects)
    for other in explanation.entries:
        place = ""
        if other.project_id is not None:
            place = f", project {names.get(other.project_id) or other.project_id}"
        yield f"{other.source}{place}, id {other.invitation_id}"


def _from_which_day(explanation: Explanation) -> str:
    """Return from which day on a kept invitation is stale, and a sweep may delete it."""
    if explanation.kept is None:
        return ""
    text = ""
    stale_from = explanation.stale_from
    if stale_from is not None and explanation.rule is None:  # else the decision has the day
        text = f"; stale from {stale_from:%Y-%m-%d} by rule {explanation.stale_by}"
    goes_at = explanation.goes_at
    has_to_wait = explanation.rule is not None or stale_from is None or stale_from.date() != goes_at
    if goes_at is not None and has_to_wait:
        text += f", may be deleted from {goes_at}"
    return text
