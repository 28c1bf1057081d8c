"""Command `explain`: search for people and show why each invitation is stale or kept."""

import asyncio
import os
from collections.abc import Container, Iterable, Iterator, Sequence
from typing import Any, Final

import click

from invite_sweeper.audit import LineFilter
from invite_sweeper.audit.person import HistoryLine, HistoryReader
from invite_sweeper.cli.command import credentials_of
from invite_sweeper.cli.options import CONNECTED, SectionedCommand, option, options
from invite_sweeper.cli.pending import Pending, read_pending
from invite_sweeper.cli.session import Session, begin, connect, run_async
from invite_sweeper.cli.streams import OUTPUTS
from invite_sweeper.endings import ExitCode
from invite_sweeper.explain import Explanation
from invite_sweeper.json_text import json_line
from invite_sweeper.models import Invitation, PersonKey, person_named
from invite_sweeper.report.people import (
    EVENTS_OF_PEOPLE,
    OrganizationName,
    PersonHistory,
    Search,
    document_of_search,
    history_of,
)
from invite_sweeper.report.terminal import show_document, stdout_console
from invite_sweeper.sweep.command import Command
from invite_sweeper.sweep.plan import awaited_limits, make_plans, organization_labels
from invite_sweeper.sweep.selection import Decision
from invite_sweeper.text import Globs, exact_glob

_PATIENCE_S: Final = 5.0
"""How long a request is retried whose answer decides nothing."""


@click.command(cls=SectionedCommand)
@click.argument(
    "terms", help="The id or username of an invitation, or a glob for either.", metavar="TERM...",
    nargs=-1, required=True,
)  # fmt: skip
@options(*(name for name in CONNECTED if name != "verbose"))
@option(
    "Output", "-v", "--verbose", is_flag=True,
    help="Show each rule and keep entry, and ids, too.",
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
    command, session = begin(os.environ, dry_run=True, **given)
    result = run_async(search(terms, command, session))
    if session.prints_json:
        OUTPUTS.write(json_line(result.to_json()))
    else:
        document = document_of_search(result, verbose=verbose)
        show_document(stdout_console(), document, with_ids=verbose)
    raise SystemExit(result.exit_code)


async def search(terms: Sequence[str], command: Command, session: Session) -> Search:
    """Read as a dry run does, and explain the invitations that match a term."""
    credentials_of(command, session.environment)
    with session.working(command):
        pending = await read_pending(command, session)
        globs = Globs(terms)
        wanted = [each for each in pending.decisions if any(map(globs.matches, _names(each)))]
        explanations = await session.stop.run_unless_stopped(_explain_all(pending, wanted))
        names = {explanation.username for explanation in explanations if explanation.username}
        are_pending = frozenset(explanation.person for explanation in explanations)
        known_names = set[str]().union(*map(_names, wanted))
        # A person that is asked for by name and is in no list may have accepted.
        absent = [term for term in terms if "@" in term and exact_glob(term) == term]
        absent = [term for term in absent if not any(map(Globs([term]).matches, known_names))]
        members = await session.stop.run_unless_stopped(_find_members(pending, session, absent))
        globs_of_names = map(exact_glob, names)
        are_members = {
            person_named(org_id, username)
            for org_id, usernames in members.items()
            for username in usernames
        }
        history, names_in_runs = _read_history(
            command, session, (*terms, *globs_of_names), are_pending | are_members
        )
        known_names |= names_in_runs.union(*members.values())
        unknown = tuple(term for term in terms if not any(map(Globs([term]).matches, known_names)))
    end = pending.result.finished()
    return Search(
        terms=tuple(terms),
        now=command.now,
        sources=tuple(command.policy.sources),
        projects=end.projects_seen,
        invitations=end.invitations_seen,
        organizations=[
            OrganizationName(decided.id, decided.organization.name)
            for decided in pending.result.decided
        ],
        out_of_scope=list(pending.excluded_projects()),
        unreadable=list(pending.unread()),
        found=explanations,
        history=history,
        unknown=unknown,
        members=members,
        exit_code=end.exit_code if len(unknown) < len(terms) else int(ExitCode.PARTIAL),
    )


def _names(decision: Decision) -> Iterator[str]:
    """Yield what may be asked for: the id and the username of each entry of an invitation."""
    for entry in decision.all_entries:
        yield entry.invitation_id
        if entry.username:
            yield entry.username


async def _find_members(
    pending: Pending, session: Session, usernames: Sequence[str]
) -> dict[str, list[str]]:
    """Return which people are active members of which organization, a request for each.

    Raises:
        RunError: The credentials are refused, or a stop was requested.
    """
    members: dict[str, list[str]] = {}
    if not usernames:
        return members
    read = {decided.id for decided in pending.result.decided if decided.error is None}
    connected = connect(
        pending.result.command, session.environment, session.log, retry_for_s=_PATIENCE_S
    )
    async with connected as organizations:
        for organization in organizations:
            if organization.id not in read:
                continue
            for username in usernames:
                reader = organization.client.reader
                if await reader.is_active_member(organization.id, username) is True:
                    members.setdefault(organization.id, []).append(username)
    return members


def _read_history(
    command: Command,
    session: Session,
    terms: Iterable[str],
    are_there: Container[PersonKey],
) -> tuple[list[PersonHistory], set[str]]:
    """Return what runs against this Atlas did with the people whose name or id a glob matches.

    All runs of the audit directory are read; of a damaged log what can be read, with a warning.

    Returns:
        The histories; and the usernames of these people, and the ids of all their invitations.
    """
    reader = HistoryReader(LineFilter(events=EVENTS_OF_PEOPLE, terms=terms))
    people: dict[PersonKey, Invitation] = {}
    lines: dict[PersonKey, list[HistoryLine]] = {}
    names: set[str] = set()
    for line in session.read_runs(command.directory, reader.read):
        event = line.event
        if isinstance(event, Invitation) and line.start.base_url == command.base_url:
            people[event.person] = event
            lines.setdefault(event.person, []).append(line)
            entries = (event, *event.entries)
            names |= {event.username or "", *(entry.invitation_id for entry in entries)}
    histories = [
        history_of(
            person,
            lines[key],
            command.advisor,
            command.policy.organization_ids,
            is_there=key in are_there,
        )
        for key, person in people.items()
    ]
    return histories, names


async def _explain_all(pending: Pending, wanted: Sequence[Decision]) -> list[Explanation]:
    """Return the explanations of these invitations, those of a person together."""
    command = pending.result.command
    explainer = pending.explainer()
    plans = make_plans(pending.result.decided, command.limits, command.now)
    labels = organization_labels(plans)
    awaited = awaited_limits(plans, command.limits)
    explanations: list[Explanation] = []
    for decision in wanted:
        limit = awaited.get(decision.invitation.key)
        waits_for = limit.describe_use(labels) if limit is not None else None
        explanations.append(explainer.explain(decision, waits_for))
        await asyncio.sleep(0)  # thousands take seconds, and a signal ends them

    def person_and_place(explanation: Explanation) -> tuple[object, str]:
        return explanation.person, explanation.project_name or ""

    return sorted(explanations, key=person_and_place)
