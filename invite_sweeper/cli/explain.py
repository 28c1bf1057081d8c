"""`explain`: search for invitations, and show why each is stale or kept."""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from invite_sweeper.atlas import Credentials, parse_base_url
from invite_sweeper.atlas.client import connected
from invite_sweeper.audit import AuditTarget
from invite_sweeper.cli import console
from invite_sweeper.cli.console import event_loop, stdout_console
from invite_sweeper.cli.options import (
    DEFAULT_BASE_URL,
    DEFAULT_POLICY,
    AuditPath,
    BaseUrl,
    Format,
    Output,
    PolicyPath,
    Quiet,
    RunOptions,
    Verbose,
)
from invite_sweeper.cli.results import write_json
from invite_sweeper.cli.session import with_credentials
from invite_sweeper.errors import ExitCode, RunError
from invite_sweeper.explain import Explainer, Explanation, Verdict, in_words
from invite_sweeper.models import Gone, Invitation, Unreadable
from invite_sweeper.policy import Policy, loader
from invite_sweeper.sweep import saved_plan
from invite_sweeper.sweep.discovery import Found, survey, walk
from invite_sweeper.sweep.guards import raise_if_clock_differs
from invite_sweeper.sweep.previous_runs import Precedents
from invite_sweeper.sweep.saved_plan import Ceiling
from invite_sweeper.sweep.scope import NotingScope
from invite_sweeper.sweep.selection import Answer, Decision, amendments
from invite_sweeper.text import Globs, counted, fold, visible

app = typer.Typer(rich_markup_mode=None)

# `explain`: why an invitation is stale or kept.


@app.command()
def explain(
    term: Annotated[
        str,
        typer.Argument(metavar="TERM", help="An invitation's id, an address, or a glob on either."),
    ],
    policy: PolicyPath = DEFAULT_POLICY,
    base_url: BaseUrl = DEFAULT_BASE_URL,
    audit_log: AuditPath = None,
    plan: Annotated[
        Path | None,
        typer.Option("--plan", help="Keep to this saved plan, as a sweep would.", metavar="FILE"),
    ] = None,
    output: Format = Output.TEXT,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Explain why an invitation is kept or deleted.

    So does each keep entry.

    Nothing is written and nothing is deleted. Ends with 0 whether something was found or not,
    and with 4 where a project could not be read, since what is sought may be there.

    Example: invite-sweeper explain ada@example.com
    """
    options = RunOptions(policy, base_url, audit_log=audit_log, quiet=quiet, verbose=verbose)
    explained = search_invitations(term, options, plan=plan)
    if output is Output.JSON:
        write_json(explained.to_json())
    else:
        explained.show(stdout_console())
    raise typer.Exit(explained.exit_code)


# An explanation on the terminal.


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


# The walk of `explain`: it reads what a dry run reads, and writes nothing anywhere.


_WORKERS_A_SLOT = 2


def search_invitations(
    term: str,
    options: RunOptions,
    *,
    plan: Path | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Explained:
    """Explain each invitation whose id or username matches the term.

    Args:
        plan: A saved plan that limits the decision, as in a sweep.

    Raises:
        RunError: Usage, policy, audit log, plan, or Atlas's answers were about the run.
    """
    box: list[Explained] = []

    async def work() -> int:
        box.append(await _Search(term, options, plan, environment).run())
        return 0

    event_loop(work())
    return box[0]


def _amend(
    options: RunOptions, plan: Path | None, policy: Policy
) -> Callable[[Decision], Decision]:
    """Give the second look that a sweep would have: earlier deletions, and a saved plan."""
    target = AuditTarget.chosen(options.audit_log, policy.audit.path)
    return amendments(
        bounces=Precedents.of(target).bounces(),
        max_bounces=policy.limits.max_bounces,
        ceiling=Ceiling(saved_plan.load(plan)) if plan is not None else None,
    )


class _Search:
    """One search over all lists that the policy names."""

    def __init__(
        self, term: str, options: RunOptions, plan: Path | None, environment: Mapping[str, str]
    ) -> None:
        self._started_s = time.monotonic()
        self._now = datetime.now(UTC)
        self._policy = loader.read(options.policy)
        self._base_url = parse_base_url(options.base_url)
        self._parts = with_credentials(self._policy, environment)
        self._log = console.configure(quiet=options.quiet, verbose=options.verbose)
        self._term = term
        self._globs = Globs((term,))
        self._explainer = Explainer(self._policy, self._now, _amend(options, plan, self._policy))
        self._found: list[Explanation] = []
        self._lost: list[Unreadable] = []
        self._left_alone: list[str] = []
        self._projects = self._seen = 0

    async def run(self) -> Explained:
        """Walk, and explain what fits the term."""
        for part, credentials in self._parts:
            try:
                await self._ask(part, credentials)
            except RunError as error:
                if len(self._parts) == 1:
                    raise
                organizations = ", ".join(sorted(part.organization_ids))
                self._lost.append(
                    Unreadable(organizations, f"organization {organizations}", error.message)
                )
        self._found.sort(key=lambda e: (e.invitation.project_name, e.invitation.id))
        return Explained(
            term=self._term,
            now=self._now,
            policy_sha256=self._policy.sha256,
            sources=tuple(self._policy.sources),
            projects=self._projects,
            invitations=self._seen,
            out_of_scope=tuple(self._left_alone),
            unreadable=tuple(self._lost),
            found=tuple(self._found),
            exit_code=int(ExitCode.PARTLY if self._lost else ExitCode.DONE),
        )

    async def _ask(self, part: Policy, credentials: Credentials) -> None:
        """Walk the organizations of one credential."""
        execution = part.execution
        async with connected(
            self._base_url,
            credentials,
            execution,
            deadline_s=self._started_s + execution.deadline.total_seconds(),
            shards=1,
            log=self._log,
        ) as connection:
            scope = NotingScope(part)
            territory = await survey(connection.reader, scope)
            raise_if_clock_differs(connection.clock_skew_s)
            self._lost.extend(territory.unreadable)
            self._left_alone.extend(project.name for project in scope.left_alone)
            workers = execution.concurrency * _WORKERS_A_SLOT
            await walk(connection.reader, territory, part.sources, self._visit, workers=workers)
            self._projects += len(territory.projects)

    async def _visit(self, found: Found) -> None:
        if isinstance(found, Gone):
            return
        if isinstance(found, Unreadable):
            self._lost.append(found)
            return
        self._seen += len(found.invitations)
        self._found += [self._explainer.explain(i) for i in found.invitations if self._is_meant(i)]

    def _is_meant(self, invitation: Invitation) -> bool:
        names = (invitation.id, invitation.username or "")
        # An address may hold what a glob reads as its own, so it is compared as it is, too.
        term = fold(self._term)
        return any(fold(name) == term or self._globs.match(name) for name in names if name)
