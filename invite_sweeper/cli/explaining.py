"""The walk of `explain`: it reads what a dry run reads, and writes nothing anywhere."""

import os
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from invite_sweeper.amendments import amendments
from invite_sweeper.atlas import Credentials, parse_base_url
from invite_sweeper.atlas.client import connected
from invite_sweeper.audit import AuditTarget
from invite_sweeper.ceiling import Ceiling
from invite_sweeper.cli import messages, plan_files
from invite_sweeper.cli.dividing import with_credentials
from invite_sweeper.cli.loop import event_loop
from invite_sweeper.cli.noting import NotingScope
from invite_sweeper.cli.order import RunOptions
from invite_sweeper.cli.precedents import Precedents
from invite_sweeper.errors import ExitCode, RunError
from invite_sweeper.guard import raise_if_clock_differs
from invite_sweeper.inventory import Gone, Invitation, Unreadable
from invite_sweeper.matching import Globs, fold
from invite_sweeper.policy import Policy, loader
from invite_sweeper.report.explained import Explained
from invite_sweeper.report.explanation import Explainer, Explanation
from invite_sweeper.selection import Decision
from invite_sweeper.walk import Found, survey, walk

_WORKERS_A_SLOT = 2


def explain(
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
        ceiling=Ceiling(plan_files.load(plan)) if plan is not None else None,
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
        self._log = messages.configure(quiet=options.quiet, verbose=options.verbose)
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
