"""Show a saved plan as text and as JSON: its context, use, approval and invitations."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

from rich.console import Console
from rich.table import Table
from rich.text import Text

from invite_sweeper.audit import invitation_fields
from invite_sweeper.models import Invitation, PlannedDeletion
from invite_sweeper.report import formatting, tables
from invite_sweeper.report.run_view import display_text
from invite_sweeper.report.tables import RightTrimmed
from invite_sweeper.sweep.approval import ApprovalCheck
from invite_sweeper.sweep.saved_plan import SavedPlan
from invite_sweeper.text import describe_duration, escape_unprintable, pluralize

_MAX_ROWS: Final = 50
_MAX_PROJECTS: Final = 20
MAX_JSON_ROWS: Final = 10_000


class PlanUse(NamedTuple):
    """What is known about the use of a plan.

    Attributes:
        run_id: The sweep that applied it; None without one.
        unknown: Why it is not known, as a sentence; "" if it is.
    """

    run_id: str | None = None
    unknown: str = ""


class PlanStatus(NamedTuple):
    """A saved plan, and what is known about it now.

    Attributes:
        max_age: A sweep refuses an older plan.
        approval: Of the key that was named, or of any key.
        any_key: No key was named, so it is not known whose signature it is.
    """

    path: Path
    saved: SavedPlan
    now: datetime
    max_age: timedelta
    use: PlanUse
    approval: ApprovalCheck
    any_key: bool = True

    @property
    def age(self) -> timedelta:
        """The time since the plan was created; negative for a plan from the future."""
        return self.now - self.saved.created_at

    @property
    def is_too_old(self) -> bool:
        """Whether a sweep refuses the plan for its age."""
        return self.age > self.max_age

    @property
    def is_from_future(self) -> bool:
        """Whether the plan was created after now."""
        return self.age < timedelta(0)

    def sorted_rows(self) -> Sequence[PlannedDeletion]:
        """Return the invitations: owners first, then the oldest."""
        return sorted(self.saved.invitations.values(), key=_row_order)


def _row_order(planned: PlannedDeletion) -> tuple[bool, bool, str, str]:
    invitation = planned.invitation
    created_at = invitation.created_at
    is_dated = isinstance(created_at, datetime)
    return (
        not any("OWNER" in role for role in _all_roles(invitation)),
        not is_dated,
        created_at.isoformat() if isinstance(created_at, datetime) else "",
        invitation.username or "",
    )


def _all_roles(invitation: Invitation) -> tuple[str, ...]:
    return (*invitation.roles, *(role for _, role in invitation.project_roles))


def status_to_json(status: PlanStatus) -> dict[str, object]:
    """Return the object that `plan show --output json` writes."""
    context, rows = status.saved.context, status.sorted_rows()
    return {
        "file": str(status.path),
        "sha256": status.saved.digest,
        "run_id": context.run_id,
        "created_at": context.now,
        "age_s": int(status.age.total_seconds()),
        "max_age_s": int(status.max_age.total_seconds()),
        "too_old": status.is_too_old,
        "from_future": status.is_from_future,
        "used": None if status.use.unknown else status.use.run_id is not None,
        "used_by_run": status.use.run_id,
        "signed": status.approval.key is not None,
        "signed_with": status.approval.key,
        "signature_message": status.approval.refusal or None,
        "organizations": [{"id": each} for each in context.organizations],
        "base_url": context.base_url,
        "policy_path": context.policy_path,
        "policy_sha256": context.policy_sha256,
        "tool_version": context.tool_version,
        "planned": len(rows),
        "changes": asdict(status.saved.changes) if status.saved.changes is not None else None,
        "rules": dict(count_rules(rows)),
        "projects": [
            {"project_id": place[0], "project_name": place[1], "org_id": place[2], "planned": count}
            for place, count in _count_projects(rows)
        ],
        "invitations": [
            {
                **invitation_fields(each.invitation, status.now),
                "rule": each.rule,
                **({"new": True} if each.new else {}),
            }
            for each in rows[:MAX_JSON_ROWS]
        ],
        "truncated": len(rows) > MAX_JSON_ROWS,
        "exit_code": 0,
        "error": None,
    }


def count_rules(rows: Iterable[PlannedDeletion]) -> Sequence[tuple[str, int]]:
    """Return the rules with their number of invitations, the largest first."""
    return Counter(each.rule for each in rows).most_common()


_Place = tuple[str | None, str | None, str]


def _count_projects(rows: Iterable[PlannedDeletion]) -> Sequence[tuple[_Place, int]]:
    return Counter(_place(each.invitation) for each in rows).most_common()


def _place(invitation: Invitation) -> _Place:
    """Return id and name of the project, None for an organization invitation, and the org id."""
    if invitation.source.is_organization_level:
        return None, None, invitation.org_id
    return invitation.project_id, invitation.project_name, invitation.org_id


def show_saved_plan(console: Console, status: PlanStatus, *, verbose: bool, show_all: str) -> None:
    """Print a saved plan.

    Args:
        verbose: Print all invitations and projects.
        show_all: The command that prints all of them.
    """
    rows = status.sorted_rows()
    projects = _count_projects(rows)
    console.print(_heading(status, len(rows), projects), soft_wrap=True)
    console.print(RightTrimmed(_grid(_facts(status))), end="")
    if not rows:
        return
    shown = len(rows) if verbose else _MAX_ROWS
    console.print()
    console.print(RightTrimmed(_grid(_counts(rows, projects, verbose=verbose))), end="")
    console.print()
    console.print(RightTrimmed(_table(rows[:shown], status.now)), end="")
    if len(rows) > shown:
        console.print(
            Text(f"… {len(rows) - shown:,} more; all of them: {show_all}", style="dim"),
            soft_wrap=True,
        )


def _heading(status: PlanStatus, planned: int, projects: Sequence[tuple[_Place, int]]) -> Text:
    name = escape_unprintable(str(status.path))
    organizations = ", ".join(map(display_text, status.saved.context.organizations))
    where = "organization" if len(status.saved.context.organizations) == 1 else "organizations"
    lists = sum(project_id is None for (project_id, _, _), _ in projects)
    places = formatting.describe_places(len(projects) - lists, lists)
    return Text.assemble(
        (f"Plan {name}: ", "bold"),
        f"{pluralize(planned, 'invitation')}{places and f' in {places}'} "
        f"of {where} {organizations}",
    )


def _grid(rows: Iterable[tuple[str, Text]]) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for label, content in rows:
        table.add_row(Text(f"  {label}", style="dim"), content)
    return table


def _facts(status: PlanStatus) -> Iterator[tuple[str, Text]]:
    context = status.saved.context
    path = f"{escape_unprintable(context.policy_path)}, " if context.policy_path else ""
    yield "policy", Text(f"{path}sha256 {display_text(context.policy_sha256)}")
    yield "Atlas", Text(display_text(context.base_url))
    yield "created", _age_text(status)
    if status.saved.changes is not None:
        yield "changes", Text(display_text(formatting.describe_changes(status.saved.changes)))
    yield "used", _use_text(status.use)
    yield "signed", _approval_text(status)
    yield "run", Text(display_text(context.run_id))
    yield "sha256", Text(status.saved.digest)


def _age_text(status: PlanStatus) -> Text:
    created = f"{status.saved.created_at:%Y-%m-%d %H:%M:%S %Z}"
    if status.is_from_future:
        return Text.assemble(f"{created}, ", ("in the future: a sweep refuses it", "bold red"))
    age = f"{created}, {describe_duration(status.age)} ago"
    if status.is_too_old:
        limit = describe_duration(status.max_age)
        return Text.assemble(f"{age}: ", (f"too old, the limit is {limit}", "bold red"))
    return Text(f"{age}; valid for {describe_duration(status.max_age - status.age)} more")


def _use_text(use: PlanUse) -> Text:
    if use.unknown:
        return Text(f"not known here: {escape_unprintable(use.unknown)} A sweep checks it.")
    if use.run_id is not None:
        return Text(f"yes, by run {display_text(use.run_id)}: a sweep refuses it", style="bold red")
    return Text("no")


def _approval_text(status: PlanStatus) -> Text:
    if status.approval.key is None:
        return Text(f"no. {escape_unprintable(status.approval.refusal)}")
    whose = "; --key FILE.pub checks whose key it is" if status.any_key else ""
    return Text(f"yes, with the key {status.approval.key}{whose}")


def _counts(
    rows: Sequence[PlannedDeletion],
    projects: Sequence[tuple[_Place, int]],
    *,
    verbose: bool,
) -> Iterator[tuple[str, Text]]:
    for number, (rule, count) in enumerate(count_rules(rows)):
        yield "" if number else "by rule", Text(f"{count:>6,}  {display_text(rule)}")
    shown = len(projects) if verbose else _MAX_PROJECTS
    for number, (place, count) in enumerate(projects[:shown]):
        yield "" if number else "by list", Text(f"{count:>6,}  {_place_name(place)}")
    if len(projects) > shown:
        count = sum(each for _, each in projects[shown:])
        rest = pluralize(len(projects) - shown, "other list")
        yield "", Text(f"{count:>6,}  in {rest}")


def _place_name(place: _Place) -> str:
    project_id, name, org_id = place
    return display_text(name or project_id or f"organization {org_id}")


def _table(rows: Sequence[PlannedDeletion], now: datetime) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("  AGE", justify="right", no_wrap=True)
    for heading in ("INVITED", "TO", "ROLES", "RULE"):
        table.add_column(heading, overflow="fold")
    for planned in rows:
        invitation = planned.invitation
        table.add_row(
            formatting.format_age(_age_days(invitation, now)),
            tables.invited_text(display_text(invitation.username), new=planned.new),
            Text(_place_name(_place(invitation))),
            formatting.format_roles(map(display_text, _all_roles(invitation))),
            Text(display_text(planned.rule)),
        )
    return table


def _age_days(invitation: Invitation, now: datetime) -> float | None:
    created_at = invitation.created_at
    return (now - created_at) / timedelta(days=1) if isinstance(created_at, datetime) else None
