"""A restore on the terminal."""

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from invite_sweeper.plural import counted, fitting
from invite_sweeper.report.values import visible
from invite_sweeper.restore import A_MINUTE, Account, Deleted

_STYLES = {"restored": "green", "failed": "bold red", "unknown": "bold red", "skipped": "yellow"}


def show(console: Console, account: Account) -> None:
    """Write what became of each, and the totals; names cannot move the cursor."""
    if account.wanted:
        console.print(_table(account, account.wanted))
    else:
        console.print("Nothing to invite again: the log tells of no such deletion.")
    for line in _totals(account):
        console.print(line, soft_wrap=True)


def show_plan(console: Console, account: Account) -> None:
    """Write whom a yes would invite, before the question."""
    console.print(_table(account, account.gone))
    minutes = (len(account.gone) - 1) // A_MINUTE
    takes = f", which takes {counted(minutes, 'minute')} at {A_MINUTE} a minute" if minutes else ""
    people = counted(len(account.gone), "person", "people")
    who = fitting(len(account.gone), "this", "these") + f" {people}"
    console.print(f"Invite {who} again{takes}?", soft_wrap=True)


def _table(account: Account, shown: Sequence[Deleted]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for heading in ("INVITED", "TO", "ROLES", "LIST", "OUTCOME"):
        table.add_column(heading, overflow="fold")
    for deleted in shown:
        table.add_row(*_cells(account, deleted))
    return table


def _cells(account: Account, deleted: Deleted) -> Iterator[Text]:
    invitation, said, end = deleted.invitation, account.said_of(deleted), account.ends.get(deleted)
    yield Text(visible(invitation.username or "(no address)"))
    yield Text(visible(invitation.project_name) or invitation.org_id)
    yield Text(visible(", ".join(invitation.roles)))
    yield Text(invitation.source)
    detail = end.reason or end.error_code or "" if end is not None else ""
    yield Text(visible(f"{said.replace('_', ' ')} {detail}".strip()), style=_STYLES.get(said, ""))


def _totals(account: Account) -> Iterator[Text]:
    tally = ", ".join(
        f"{count:,} {outcome.value.replace('_', ' ')}" for outcome, count in account.tally.items()
    )
    if account.dry_run:
        yield Text.assemble(
            ("Dry run: ", "bold"),
            f"nobody was invited; {len(account.gone):,} of {len(account.wanted):,} would be",
        )
    if tally:
        yield Text.assemble(("Done: ", "bold"), tally)
    yield Text.assemble(("Audit: ", "bold"), visible(account.audit_log))
