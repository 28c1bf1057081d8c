"""Show a saved plan as text and as JSON: its context, use and invitations."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from invite_sweeper.audit.events import PlanChanges, Planned
from invite_sweeper.models import OrganizationName
from invite_sweeper.report import formatting
from invite_sweeper.report.rows import Place, display_text, place_of, row_order
from invite_sweeper.report.run_result import plan_tables, which_are_shown
from invite_sweeper.report.run_view import RunView, view_plan
from invite_sweeper.report.tables import RightTrimmed, definition_table
from invite_sweeper.sweep.saved_plan import SavedPlan
from invite_sweeper.text import describe_duration, escape_unprintable, organization_label, pluralize

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
    """

    path: Path
    saved: SavedPlan
    now: datetime
    max_age: timedelta
    use: PlanUse

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

    @property
    def labels(self) -> Mapping[str, str]:
        """The organizations of the plan as outputs name them, by id."""
        context = self.saved.context
        names = context.organization_names
        return {each: organization_label(each, names.get(each)) for each in context.organizations}

    def planned(self) -> Sequence[Planned]:
        """Return the invitations in the order of rows: owners first, then the oldest."""
        found = (
            Planned.from_invitation(
                each.invitation(), self.now, rule=each.rule, bounced=each.bounced, new=each.new
            )
            for each in self.saved.invitations.values()
        )
        return sorted(found, key=row_order)


class ProjectCount(msgspec.Struct, frozen=True):
    """The planned invitations of a project, or of an organization."""

    project_id: str | None
    project_name: str | None
    org_id: str
    planned: int


class SavedPlanResult(msgspec.Struct, frozen=True, kw_only=True):
    """The result of `plan show`.

    Attributes:
        sha256: Of the plan's file; a sweep that applies it records this hash.
        too_old: A sweep would refuse it.
        from_future: Its date is after now.
        used: A sweep has applied it; None where that is not known.
        actors: The credentials with which it was made.
        changes: Compared with the plan of an earlier run; None without one.
        rules: Number of planned invitations by rule.
        invitations: Owners first, then the oldest; at most 10,000.
    """

    file: str
    sha256: str
    run_id: str
    created_at: str
    age_s: int
    max_age_s: int
    too_old: bool
    from_future: bool
    used: bool | None
    used_by_run: str | None
    organizations: tuple[OrganizationName, ...]
    actors: tuple[str, ...]
    base_url: str
    policy_path: str | None
    policy_sha256: str
    tool_version: str
    planned: int
    changes: PlanChanges | None
    rules: dict[str, int]
    projects: tuple[ProjectCount, ...]
    invitations: tuple[Planned, ...]
    truncated: bool
    exit_code: int = 0
    error: None = None

    @classmethod
    def of(cls, status: PlanStatus) -> "SavedPlanResult":
        """Return what is known about a plan."""
        context, planned = status.saved.context, status.planned()
        return cls(
            file=str(status.path),
            sha256=status.saved.digest,
            run_id=context.run_id,
            created_at=context.now,
            age_s=int(status.age.total_seconds()),
            max_age_s=int(status.max_age.total_seconds()),
            too_old=status.is_too_old,
            from_future=status.is_from_future,
            used=None if status.use.unknown else status.use.run_id is not None,
            used_by_run=status.use.run_id,
            organizations=tuple(
                OrganizationName(id=each, name=context.organization_names.get(each))
                for each in context.organizations
            ),
            actors=context.actors,
            base_url=context.base_url,
            policy_path=context.policy_path,
            policy_sha256=context.policy_sha256,
            tool_version=context.tool_version,
            planned=len(planned),
            changes=status.saved.changes,
            rules=dict(_count_rules(planned)),
            projects=tuple(
                ProjectCount(place.project_id, place.project, place.org_id, count)
                for place, count in _count_places(planned, {})
            ),
            invitations=tuple(planned[:MAX_JSON_ROWS]),
            truncated=len(planned) > MAX_JSON_ROWS,
        )


def _count_rules(planned: Sequence[Planned]) -> Sequence[tuple[str, int]]:
    """Return the rules with their number of invitations, the largest first."""
    return Counter(each.rule for each in planned).most_common()


def _count_places(
    planned: Sequence[Planned], labels: Mapping[str, str]
) -> Sequence[tuple[Place, int]]:
    return Counter(place_of(each, labels) for each in planned).most_common()


def show_saved_plan(console: Console, status: PlanStatus, *, verbose: bool, show_all: str) -> None:
    """Print a saved plan."""
    planned = status.planned()
    max_rows = max(1, len(planned) if verbose else _MAX_ROWS)
    view = view_plan(planned, max_rows=max_rows, labels=status.labels)
    console.print(_heading(status, view), soft_wrap=True)
    console.print(RightTrimmed(definition_table(_facts(status))), end="")
    if not planned:
        return
    console.print()
    console.print(RightTrimmed(_count_table(status, planned, verbose=verbose)), end="")
    console.print()
    for part in plan_tables(view, console.width):
        console.print(RightTrimmed(part), end="")
    if len(planned) > len(view.rows):
        console.print(which_are_shown(view))
        console.print(Text.assemble(("Show all: ", "dim"), show_all), soft_wrap=True)


def _heading(status: PlanStatus, view: RunView) -> Text:
    name = escape_unprintable(str(status.path))
    labels = tuple(status.labels.values())
    where = f"organization {display_text(labels[0])}"
    if len(labels) > 1:
        where = pluralize(len(labels), "organization")
    described = formatting.describe_places(view.projects, view.organization_lists)
    return Text.assemble(
        (f"Plan {name}: ", "bold"),
        f"{pluralize(view.planned, 'invitation')}{described and f' in {described}'} of {where}",
    )


def _facts(status: PlanStatus) -> Iterator[tuple[str, Text]]:
    context = status.saved.context
    path = f"{escape_unprintable(context.policy_path)}, " if context.policy_path else ""
    yield "policy", Text(f"{path}sha256 {display_text(context.policy_sha256)}")
    yield "Atlas", Text(display_text(context.base_url))
    yield "created", _age_text(status)
    if context.actors:
        yield "by", Text(", ".join(map(display_text, context.actors)))
    if status.saved.changes is not None:
        yield "changes", Text(display_text(formatting.describe_changes(status.saved.changes)))
    yield "used", _use_text(status.use)
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


def _count_table(status: PlanStatus, planned: Sequence[Planned], *, verbose: bool) -> Table:
    """Return the number of invitations by rule, by organization if there are several, by list."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="fold")
    for label, counts in _counts(status, planned, verbose=verbose):
        for number, (name, count) in enumerate(counts):
            first = Text(f"  {'' if number else label}", style="dim")
            table.add_row(first, f"{count:,}", Text(display_text(name)))
    return table


def _counts(
    status: PlanStatus, planned: Sequence[Planned], *, verbose: bool
) -> Iterator[tuple[str, Sequence[tuple[str, int]]]]:
    yield "by rule", _count_rules(planned)
    if len(status.labels) > 1:
        by_id = Counter(each.org_id for each in planned)
        named = [(label, by_id[org_id]) for org_id, label in status.labels.items()]
        yield "by organization", named
    places = _count_places(planned, status.labels)
    shown = len(places) if verbose else _MAX_PROJECTS
    lists = [(_list_name(place, status), count) for place, count in places[:shown]]
    if len(places) > shown:
        rest = f"in {pluralize(len(places) - shown, 'other list')}"
        lists.append((rest, sum(count for _, count in places[shown:])))
    yield "by list", lists


def _list_name(place: Place, status: PlanStatus) -> str:
    """Return a list, with the name of its organization if there are several."""
    if place.project is None or len(status.labels) == 1:
        return place.name
    names = status.saved.context.organization_names
    return f"{place.name} of {names.get(place.org_id, place.org_id)}"
