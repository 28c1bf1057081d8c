"""An explanation on the terminal."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from rich.console import Console
from rich.text import Text

from invite_sweeper.criteria import Answer
from invite_sweeper.inventory import Unreadable
from invite_sweeper.plural import counted
from invite_sweeper.report.explanation import Explanation, Verdict
from invite_sweeper.report.reasons import in_words
from invite_sweeper.report.values import visible


@dataclass(frozen=True, slots=True)
class Explained:
    """What `explain` looked through, and what it found.

    Attributes:
        out_of_scope: Projects of the policy's organizations that it leaves alone; names.
        unreadable: Projects that could not be looked through; what is sought may be there.
    """

    term: str
    now: datetime
    policy_sha256: str
    sources: tuple[str, ...]
    projects: int
    invitations: int
    out_of_scope: tuple[str, ...]
    unreadable: tuple[Unreadable, ...]
    found: tuple[Explanation, ...]
    exit_code: int

    def to_json(self) -> dict[str, object]:
        """Return the object that `--output json` writes."""
        return {
            "term": self.term,
            "now": self.now,
            "policy_sha256": self.policy_sha256,
            "sources": self.sources,
            "projects": self.projects,
            "invitations": self.invitations,
            "out_of_scope": self.out_of_scope,
            "unreadable": [asdict(lost) for lost in self.unreadable],
            "found": [explanation.record(self.now) for explanation in self.found],
            "exit_code": self.exit_code,
        }

    def show(self, console: Console) -> None:
        """Write it to the console; names cannot move the cursor or fake a line."""
        for line in self._lines():
            console.print(line, soft_wrap=True)

    def _lines(self) -> Iterator[Text]:
        for explanation in self.found:
            yield from _of_one(explanation)
            yield Text("")
        if not self.found:
            yield Text(f"Nothing found for {visible(self.term)!r}.", style="bold")
        invitations, projects = (
            counted(self.invitations, "invitation"),
            counted(self.projects, "project"),
        )
        yield Text(f"Looked through: {invitations} in {projects} ({', '.join(self.sources)}).")
        if self.out_of_scope:
            yield Text(
                f"Not looked through, as the policy leaves them alone: "
                f"{_some([visible(name) for name in self.out_of_scope])}."
            )
        for lost in self.unreadable:
            yield Text(
                f"Could not be read: {visible(lost.project_name)}: {visible(lost.reason)}",
                style="yellow",
            )


def _of_one(explanation: Explanation) -> Iterator[Text]:
    invitation = explanation.invitation
    status = visible(invitation.status or "no status")
    yield Text.assemble(
        (visible(invitation.username or "(no address)"), "bold"),
        f" to {visible(invitation.project_name) or invitation.org_id}"
        f" (id {visible(invitation.id)}, list {invitation.source}, {status})",
    )
    for verdict in explanation.verdicts:
        yield from _entry(verdict)
    stale = explanation.decision.stale
    style = "bold red" if stale else "bold green"
    if explanation.decision != explanation.by_policy:
        yield Text(f"  By the policy alone: {visible(in_words(explanation.by_policy))}.")
    yield Text(f"  Decision: {visible(in_words(explanation.decision))}.", style=style)


def _entry(verdict: Verdict) -> Iterator[Text]:
    note = f" ({visible(verdict.note)})" if verdict.note else ""
    said = "not asked" if verdict.answer is None else _said(verdict.answer, "matches")
    yield Text(f"  {verdict.kind} `{visible(verdict.name)}`: {said}{note}")
    for key in verdict.keys:
        has = visible(key.has) or "nothing"
        yield Text(
            f"    {key.name}: {_said(key.answer, 'holds')}; asked {visible(key.asked)}, has {has}",
            style="dim",
        )


def _said(answer: Answer, yes: str) -> str:
    if isinstance(answer, str):
        return f"cannot be judged ({answer.replace('_', ' ')})"
    return yes if answer else "no"


def _some(names: Sequence[str], most: int = 20) -> str:
    rest = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest
