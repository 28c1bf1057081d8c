"""Command `list`: every pending invitation in scope, and from which day on it may go."""

import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any, Final

import click

from invite_sweeper.cli.command import credentials_of
from invite_sweeper.cli.options import (
    CONNECTED,
    ROWS_OUTPUT,
    SectionedCommand,
    option,
    options,
)
from invite_sweeper.cli.pending import Pending, read_pending
from invite_sweeper.cli.session import Session, begin, run_async
from invite_sweeper.cli.streams import OUTPUTS
from invite_sweeper.errors import UsageError
from invite_sweeper.explain import PendingInvitation
from invite_sweeper.json_text import json_line
from invite_sweeper.report import terminal
from invite_sweeper.report.csv_rows import csv_cell, csv_row
from invite_sweeper.report.people import describe_excluded, document_of_list
from invite_sweeper.report.rows import place_of_list
from invite_sweeper.report.terminal import stdout_console
from invite_sweeper.sweep.command import Command
from invite_sweeper.text import Globs, shorten_list

_MAX_NAMED: Final = 10
_SHARED: Final = tuple(name for name in CONNECTED if name != "output")
_LAST: Final = "9999-12-31"
"""What no date ends comes after every day."""


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
    **given: Any,
) -> None:
    """List every pending invitation in scope, and from which day on it may go.

    Sorted by that day, which is by the rules, `until` and `notice`; the limits may make it later.
    Reads what a sweep reads; writes and deletes nothing. Exit code 4: a list could not be read, so
    an invitation may be missing.

    Example: invite-sweeper list --stale --username '*@example.com'
    """
    command, session = begin(os.environ, dry_run=True, output=output, **given)
    _check_organizations(command, organization)
    credentials_of(command, session.environment)
    pending = run_async(_read(command, session))
    explainer = pending.explainer()
    # Made one by one: memory holds those that are listed.
    rows = (explainer.judge(decision) for decision in pending.decisions)
    if stale != kept:  # both together are all
        decision = "stale" if stale else "kept"
        rows = (row for row in rows if row.decision == decision)
    if username:
        usernames = Globs(username)
        rows = (row for row in rows if usernames.matches(row.username or ""))
    if inviter:
        inviters = Globs(inviter)
        rows = (row for row in rows if _is_invited_by(inviters, row))
    if organization:
        rows = (row for row in rows if row.org_id in organization)
    listed = sorted(rows, key=lambda row: (row.goes_at or _LAST, row.username or "", row.key))
    names = {each.id: each.organization.name or each.id for each in pending.result.decided}
    if output == "text":
        shown = document_of_list(listed, names)
        terminal.show_document(stdout_console(), shown, with_ids=session.shows_ids)
    else:
        _print_rows(listed, output)
    excluded = [*pending.excluded_projects()]
    if username and excluded:  # the person that is asked for may be there
        session.log.info(describe_excluded(excluded))
    for unread in pending.unread():
        place = place_of_list(unread, names)
        session.log.warning("not read", list=place, reason=unread.reason)
    raise SystemExit(pending.result.finished().exit_code)


async def _read(command: Command, session: Session) -> Pending:
    with session.working(command):
        return await read_pending(command, session)


def _check_organizations(command: Command, wanted: Sequence[str]) -> None:
    """Raise UsageError for an organization that the policy does not name."""
    known = [organization.id for organization in command.policy.organizations]
    unknown = [org_id for org_id in wanted if org_id not in known]
    if unknown:
        raise UsageError(
            f"The policy {command.policy_path} has no organization {', '.join(unknown)}.",
            hint=f"Its organizations: {shorten_list(known, _MAX_NAMED)}. All of them:",
            command=command.advisor.pending(),
        )


def _is_invited_by(inviters: Globs, row: PendingInvitation) -> bool:
    """Return whether a glob matches the inviter of a row: the person, or the key or its name."""
    return any(map(inviters.matches, filter(None, (row.inviter, row.inviter_name))))


def _print_rows(rows: Sequence[PendingInvitation], output: str) -> None:
    """Write the rows to stdout as JSON lines or as CSV."""
    if output == "json":
        for row in rows:
            OUTPUTS.write(json_line(row))
        return
    sys.stdout.buffer.writelines(_csv_lines(rows))


def _csv_lines(rows: Sequence[PendingInvitation]) -> Iterator[bytes]:
    """Yield a header and a row for each invitation, with the fields of the JSON lines."""
    columns = PendingInvitation.__struct_fields__
    yield csv_row(columns)
    for row in rows:
        cells = [csv_cell(getattr(row, column)) for column in columns]
        yield csv_row(cells)
