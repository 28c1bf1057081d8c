"""Command `list`: every pending invitation in scope, a row each, with the day on which it goes."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import click
from msgspec import structs

from invite_sweeper.cli.console import json_line, run_async, stdout_console
from invite_sweeper.cli.csv_rows import csv_cell, csv_row
from invite_sweeper.cli.looking import Look, look
from invite_sweeper.cli.options import (
    CONNECTED,
    ROWS_OUTPUT,
    RunOptions,
    SectionedCommand,
    option,
    options,
)
from invite_sweeper.cli.session import Session
from invite_sweeper.cli.streams import OUTPUTS
from invite_sweeper.errors import UsageError
from invite_sweeper.models import Invitation
from invite_sweeper.report.listings import show_listed
from invite_sweeper.sweep.selection import Decision
from invite_sweeper.text import Globs, escape_unprintable, shell_command, shorten_list

_MAX_NAMED: Final = 10
_SHARED: Final = tuple(name for name in CONNECTED if name != "output")
_LAST: Final = "9999-12-31"
"""What nothing foretells comes after every day."""


class ListedInvitation(Invitation, frozen=True, kw_only=True, omit_defaults=False):
    """A row of `list`.

    Attributes:
        decision: `stale` or `kept`.
        rule: The rule that makes it stale; None of a kept one.
        reason: Why it is kept, a key of `kept_by_reason`; None of a stale one.
        announced_at: When a sweep announced it, RFC 3339; None if none did.
        goes_at: The day on which a sweep at this hour each day ends it, as 2026-12-24; None where
            nothing foretells it.
    """

    decision: str
    rule: str | None
    reason: str | None
    announced_at: str | None
    goes_at: str | None


@click.command(cls=SectionedCommand)
@options(*_SHARED)
@option("Filter", "--stale", is_flag=True, help="Only invitations that are stale.")
@option("Filter", "--kept", is_flag=True, help="Only invitations that are kept.")
@option(
    "Filter", "--username", metavar="GLOB", multiple=True,
    help="Only people with this address; may be repeated.",
)  # fmt: skip
@option(
    "Filter", "--inviter", metavar="GLOB", multiple=True,
    help="Only invitations by this person or key; may be repeated.",
)  # fmt: skip
@option(
    "Filter", "--organization", metavar="ID", multiple=True,
    help="Only this organization; may be repeated.",
)  # fmt: skip
@ROWS_OUTPUT
def list(  # noqa: A001 - a command has the name of its function
    *,
    output: str,
    stale: bool,
    kept: bool,
    username: Sequence[str],
    inviter: Sequence[str],
    organization: Sequence[str],
    **given: Any,  # noqa: ANN401
) -> None:
    """List every pending invitation in scope, and the day on which it goes.

    Sorted by that day. Reads what a sweep reads; writes and deletes nothing. Exit code 4: a list
    could not be read, so an invitation may be missing.

    Example: invite-sweeper list --stale --username '*@example.com'
    """
    options_ = RunOptions(**given, output=output)
    session = Session.of(options_)
    _check_organizations(session, organization)
    session.credentials()
    tests = _tests(
        stale=stale, kept=kept, username=username, inviter=inviter, organization=organization
    )
    found = run_async(_look(session))
    rows = [row for row in _rows(found) if _passes(row, tests)]
    rows.sort(key=lambda row: (row.goes_at or _LAST, row.username or "", row.key))
    if output == "text":
        organizations = [reading.organization for reading in found.result.readings]
        names = {
            organization.id: escape_unprintable(organization.name or organization.id)
            for organization in organizations
        }
        show_listed(stdout_console(), rows, names)
    elif output == "json":
        for row in rows:
            OUTPUTS.write(json_line(row))
    else:
        sys.stdout.buffer.writelines(_csv_lines(rows))
    for lost in found.unread():
        where = lost.project_name or f"the list {lost.source}"
        session.log.warning("not read", list=escape_unprintable(where), reason=lost.reason)
    raise SystemExit(found.result.finished().exit_code)


async def _look(session: Session) -> Look:
    with session.working():
        return await look(session)


def _check_organizations(session: Session, wanted: Sequence[str]) -> None:
    """Raise UsageError for an organization that the policy does not name."""
    policy = session.options.policy
    known = [organization.id for organization in session.policy.organizations]
    unknown = [org_id for org_id in wanted if org_id not in known]
    if unknown:
        raise UsageError(
            f"The policy {policy} has no organization {', '.join(unknown)}.",
            hint=f"Its organizations: {shorten_list(known, _MAX_NAMED)}. "
            f"All of them: {shell_command('list', '--policy', str(policy))}",
        )


Test = Callable[[ListedInvitation], bool]


def _tests(
    *,
    stale: bool,
    kept: bool,
    username: Sequence[str],
    inviter: Sequence[str],
    organization: Sequence[str],
) -> Sequence[Test]:
    """Return what a row must pass; both `--stale` and `--kept` are all."""
    tests: tuple[Test, ...] = ()
    if stale != kept:
        wanted = "stale" if stale else "kept"
        tests += (lambda row: row.decision == wanted,)
    if username:
        usernames = Globs(username)
        tests += (lambda row: usernames.matches(row.username or ""),)
    if inviter:
        inviters = Globs(inviter)
        tests += (lambda row: any(map(inviters.matches, _names_of_inviter(row))),)
    if organization:
        tests += (lambda row: row.org_id in organization,)
    return tests


def _passes(row: ListedInvitation, tests: Sequence[Test]) -> bool:
    return all(test(row) for test in tests)


def _names_of_inviter(row: ListedInvitation) -> Iterator[str]:
    """Yield the address or key of an inviter, and the name of the key where it is known."""
    yield row.inviter or ""
    yield row.inviter_name or ""


def _rows(found: Look) -> Iterator[ListedInvitation]:
    """Yield a row for each invitation in scope."""
    days = found.days()
    now = found.result.command.now
    for _, decision in found.judged:
        day = days.get(decision.invitation.key)
        invitation = decision.invitation.recorded(now, decision.entries)
        yield invitation.as_event(
            ListedInvitation,
            decision="stale" if decision.stale else "kept",
            rule=decision.rule,
            reason=decision.keep_reason,
            announced_at=_announced_at(decision),
            goes_at=day.isoformat() if day is not None else None,
        )


def _announced_at(decision: Decision) -> str | None:
    announcement = decision.announcement
    if announcement is None or announcement.announced_at is None:
        return None
    return announcement.announced_at.isoformat().replace("+00:00", "Z")


def _csv_lines(rows: Sequence[ListedInvitation]) -> Iterator[bytes]:
    """Yield a header and a row for each invitation, with the fields of the JSON lines."""
    names = ListedInvitation.__struct_fields__
    yield csv_row(names)
    for row in rows:
        fields: Mapping[str, object] = structs.asdict(row)
        yield csv_row([csv_cell(fields[name]) for name in names])
