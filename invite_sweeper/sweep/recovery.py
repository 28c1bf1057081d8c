"""Recovers what earlier runs left open, when its list is read.

A killed run leaves intents without an outcome, a lost answer an outcome that is `unknown`. It is
not known whether the DELETE was processed, so the outcome claims only what Atlas shows: an
invitation that is missing is `already_gone`, one that is still there with the same date is
`failed`. If Atlas cannot answer, the request stays open.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable

from invite_sweeper.atlas.reader import contradicted_404
from invite_sweeper.audit import OpenIntent
from invite_sweeper.audit.events import Event, OutcomeLine
from invite_sweeper.endings import WarningCode
from invite_sweeper.models import Invitations, ListKey, ListRef, ListUnreadable, ProjectGone
from invite_sweeper.outcomes import Outcome
from invite_sweeper.sweep.reading import ReadingBuilder
from invite_sweeper.sweep.result import Result
from invite_sweeper.text import plural_form, pluralize


class Recovery:
    """Recovers the open intents of one organization and writes their outcomes.

    An intent of a restore is `unknown`: it was a POST, and another administrator may have invited a
    user who is there.

    Args:
        result: Gets why intents stay open, as warnings.
        builder: Counts what became of the intents.
    """

    def __init__(
        self,
        result: Result,
        builder: ReadingBuilder,
        write: Callable[[Event], None],
        intents: Iterable[OpenIntent],
    ) -> None:
        self._result = result
        self._builder = builder
        self._reader = builder.organization.client.reader
        self._write = write
        scope = builder.scope
        self._listed_projects = scope.project_names if scope is not None else {}
        self._by_list: defaultdict[ListKey, list[OpenIntent]] = defaultdict(list)
        for open_intent in intents:
            if open_intent.start.mode == "restore":
                self._record(open_intent, Outcome.UNKNOWN)
            else:
                self._by_list[open_intent.intent.list_key].append(open_intent)

    def recover_list(
        self, list_ref: ListRef, answer: Invitations | ListUnreadable | ProjectGone
    ) -> None:
        """Recover the intents of a list that was read.

        Raises:
            AuditLogError: The log cannot be written.
        """
        project, source = list_ref
        open_intents = self._by_list.pop((source.value, project.org_id, project.id), [])
        if not open_intents:
            return
        if isinstance(answer, ListUnreadable):
            self._report_unresolved(open_intents, answer.reason)
            return
        # Of a project that is gone, no membership is left that the DELETE removed.
        entries = () if isinstance(answer, ProjectGone) else answer
        entries_by_id = {entry.invitation_id: entry for entry in entries}
        for open_intent in open_intents:
            intent = open_intent.intent
            entry = entries_by_id.get(intent.invitation_id)
            # A person who was invited anew keeps the id, and has another date.
            is_there = entry is not None and entry.matches_date(intent.sent_at)
            self._record(open_intent, Outcome.FAILED if is_there else Outcome.ALREADY_GONE)

    def _report_unresolved(self, open_intents: list[OpenIntent], reason: str) -> None:
        """Warn that the intents of a list stay open."""
        first = open_intents[0].intent
        where = first.project_name or f"organization {first.org_id}"
        count = len(open_intents)
        remain = plural_form(count, "remains", "remain")
        self._result.warn_of(
            WarningCode.RECOVERY,
            f"{pluralize(count, 'deletion')} of an earlier run in {where} {remain} unresolved: "
            f"{reason}",
        )

    async def recover_rest(self) -> None:
        """Read the lists that the run does not read, and recover their intents.

        Raises:
            RunError: As `recover_list`, or a response concerned the run.
        """
        for open_intents in tuple(self._by_list.values()):
            intent = open_intents[0].intent
            list_ref = ListRef(intent.place, intent.source)
            answer = await self._reader.invitations(intent.place, intent.source)
            # A 404 is not believed of a project that Atlas listed in this run.
            if isinstance(answer, ProjectGone) and intent.place_id in self._listed_projects:
                answer = contradicted_404(list_ref)
            self.recover_list(list_ref, answer)

    def _record(self, open_intent: OpenIntent, outcome: Outcome) -> None:
        """Write the outcome of an intent, and count it."""
        line = OutcomeLine.of(open_intent.intent, outcome, recovers=open_intent.file.run_id)
        self._write(line)
        # An invitation that is still listed was not deleted: this run plans it anew.
        self._builder.count(recovered=int(outcome is Outcome.ALREADY_GONE))
