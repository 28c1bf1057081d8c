"""Recovers what earlier runs left open, by the lists that were read.

A killed run leaves intents without an outcome, a lost answer an outcome that is `unknown`. It is
not known whether the DELETE was processed, so the outcome claims only what Atlas shows: an
invitation that is missing is `already_gone`, one that is still there with the same date is
`failed`. If Atlas cannot answer, the request stays open.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from invite_sweeper.audit import OpenIntent
from invite_sweeper.audit.events import OutcomeLine, RunWarning
from invite_sweeper.endings import WarningCode
from invite_sweeper.models import ListKey, ListRef, ListUnreadable, ProjectGone
from invite_sweeper.outcomes import Outcome
from invite_sweeper.sweep.plan import ListAnswer
from invite_sweeper.text import plural_form, pluralize


class Recovery(NamedTuple):
    """What became of open intents.

    Attributes:
        lines: The outcomes of those of which it is known.
        warnings: Why the others stay open.
    """

    lines: Sequence[OutcomeLine]
    warnings: Sequence[RunWarning]


def recovery_lists(intents: Iterable[OpenIntent]) -> Iterator[ListRef]:
    """Yield the lists that show what became of open deletions."""
    for open_intent in intents:
        if open_intent.start.mode != "restore":
            yield ListRef(open_intent.intent.place, open_intent.intent.source)


def recover(intents: Iterable[OpenIntent], lists: Mapping[ListKey, ListAnswer]) -> Recovery:
    """Return what became of the open intents of one organization.

    An intent of a restore is `unknown`: it was a POST, and another administrator may have invited a
    user who is there.

    Args:
        lists: With all `recovery_lists`.
    """
    lines: list[OutcomeLine] = []
    warnings: list[RunWarning] = []
    by_list: defaultdict[ListKey, list[OpenIntent]] = defaultdict(list)
    for open_intent in intents:
        if open_intent.start.mode == "restore":
            lines.append(_outcome(open_intent, Outcome.UNKNOWN))
        else:
            by_list[open_intent.intent.list_key].append(open_intent)
    for list_key, open_intents in by_list.items():
        answer = lists[list_key]
        if isinstance(answer, ListUnreadable):
            warnings.append(_unresolved(open_intents, answer.reason))
            continue
        # Of a project that is gone, no membership is left that the DELETE removed.
        entries = () if isinstance(answer, ProjectGone) else answer
        entries_by_id = {entry.invitation_id: entry for entry in entries}
        for open_intent in open_intents:
            intent = open_intent.intent
            entry = entries_by_id.get(intent.invitation_id)
            # A person who was invited anew keeps the id, and has another date.
            is_there = entry is not None and entry.matches_date(intent.sent_at)
            lines.append(
                _outcome(open_intent, Outcome.FAILED if is_there else Outcome.ALREADY_GONE)
            )
    return Recovery(lines, warnings)


def _outcome(open_intent: OpenIntent, outcome: Outcome) -> OutcomeLine:
    """Return the outcome of an intent."""
    return OutcomeLine.of(open_intent.intent, outcome, recovers=open_intent.file.run_id)


def _unresolved(open_intents: Sequence[OpenIntent], reason: str) -> RunWarning:
    """Return the warning that the intents of a list stay open."""
    first = open_intents[0].intent
    where = first.project_name or f"organization {first.org_id}"
    count = len(open_intents)
    remain = plural_form(count, "remains", "remain")
    return RunWarning(
        WarningCode.RECOVERY,
        f"{pluralize(count, 'deletion')} of an earlier run in {where} {remain} unresolved: "
        f"{reason}",
    )
