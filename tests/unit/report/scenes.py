"""Runs for the terminal tests: an audit log, its summary and the printed text."""

from dataclasses import dataclass, field
from datetime import timedelta
from io import StringIO
from pathlib import Path

from builders import NOW
from builders import invitation as pending
from report.logbook import Logbook, invitation
from rich.console import Console

from invite_sweeper.report.run_result import show
from invite_sweeper.report.run_view import KeptInvitations, RunView, load_run_view
from invite_sweeper.sweep.selection import Decision
from invite_sweeper.sweep.summary import OrganizationSummary, RunSummary

RUN = "20261125T010203Z-0badcafe"
ORG = "5efda682a3f2ed2e7dd6cde4"
HASH = "5" * 64
ROLES = (
    ["GROUP_READ_ONLY"],
    ["GROUP_OWNER"],
    ["GROUP_DATA_ACCESS_READ_ONLY"],
    ["GROUP_CLUSTER_MANAGER", "GROUP_DATA_ACCESS_READ_WRITE"],
    ["GROUP_DATA_ACCESS_ADMIN"],
    ["GROUP_FUTURE_ROLE"],
)


@dataclass
class Scene:
    """One run: its log, written line by line, and the matching summary."""

    path: Path
    book: Logbook = field(init=False)
    counts: dict[str, object] = field(default_factory=dict)
    planned: list[dict[str, object]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.book = Logbook(self.path)
        self.book.start(RUN)

    def plan(self, project: str, number: int, **changes) -> dict[str, object]:
        """Plan one deletion; age, roles, inviter and rule follow from the number."""
        defaults = {
            "project_id": f"{sum(map(ord, project[:50])):024x}",
            "project_name": project,
            "username": f"person-{number}@example.com",
            "roles": ROLES[number % len(ROLES)],
            "inviter": "nmtxqlkl" if number % 2 else "ada.brandt@example.com",
            "age_days": 15.0 + (number * 7) % 90 / 2,
            "rule": "forgotten" if number % 3 else "outsiders",
        }
        line = invitation(number, **{**defaults, **changes})
        self.book.line("planned", **line)
        self.planned.append(line)
        return line

    def unreadable(self, project: str, reason: str) -> None:
        """Record a project that could not be read."""
        self.book.line("project_unreadable", project_name=project, reason=reason)

    def sweep(self, *outcomes: str) -> None:
        """Record outcomes in plan order; the remaining deletions are `deleted`."""
        padded = [*outcomes, *["deleted"] * (len(self.planned) - len(outcomes))]
        for line, outcome in zip(self.planned, padded, strict=True):
            responses = {"failed": (500, "UNEXPECTED_ERROR"), "unknown": (None, None)}
            status, code = responses.get(outcome, (204, None))
            if outcome != "skipped":
                self.book.line("intent", **line)
            result = {"outcome": outcome, "http_status": status, "error_code": code}
            self.book.line("outcome", **line, **result)
            self.counts[outcome] = int(self.counts.get(outcome, 0)) + 1

    def summary(self, **changes) -> RunSummary:
        """Return the totals; the defaults follow from the log."""
        stale = len(self.planned)
        defaults = {
            "run_id": RUN,
            "mode": "dry-run",
            "now": "2026-11-25T01:02:03Z",
            "projects_seen": 12,
            "invitations_seen": stale + int(changes.get("kept", 0)),
            "stale": stale,
            "requests": 13 + stale,
            "duration_s": 3.25,
            "plan_made": True,
            "organizations": (OrganizationSummary(ORG, "Acme", RUN),),
            "audit_log": "audit/invite-sweeper.jsonl",
            "audit_last_hash": HASH,
            **self.counts,
        }
        return RunSummary(**{**defaults, **changes})

    def view(self, summary: RunSummary, max_rows: int = 50) -> RunView:
        """Read the run back from the log."""
        labels = summary.organization_labels
        return load_run_view(self.path, {RUN}, start=0, max_rows=max_rows, labels=labels)

    def printed(
        self,
        width: int,
        summary: RunSummary,
        max_rows: int = 50,
        kept: KeptInvitations | None = None,
    ) -> str:
        """Return the text on a terminal of this width, without colour."""
        return on_terminal(
            width,
            lambda console: show(
                console, summary, self.view(summary, max_rows), kept_invitations=kept
            ),
        )


def on_terminal(width: int, write) -> str:
    """Return what is written to a console of this width."""
    console = Console(file=StringIO(), width=width, color_system=None, legacy_windows=False)
    write(console)
    return console.file.getvalue()


def kept_invitations(max_rows: int, *kept: tuple[str, int], **changes) -> KeptInvitations:
    """Record a number of kept invitations for each reason."""
    recorded = KeptInvitations(NOW, max_rows)
    number = 0
    for reason, count in kept:
        for _ in range(count):
            number += 1
            one = pending(number, age=timedelta(days=1, hours=number), **changes)
            recorded.record(Decision(one, None, reason))
    return recorded
