"""What a run that was cut off left open: each intent without an outcome gets one.

Nobody knows whether the DELETE of such an intent was sent. Atlas is asked whether the
invitation is still there, and only that is claimed: gone is `already_gone` (by our DELETE or
otherwise), still there is `failed`. Where Atlas cannot be asked, the intent stays open.

An intent of a restore is of a POST, and whoever is there may be there without it: `unknown`.
"""

from collections.abc import Sequence
from datetime import datetime

from invite_sweeper.audit import AuditLog, invitation_fields
from invite_sweeper.audit.history import OpenIntent
from invite_sweeper.inventory import Gone, Project, Unreadable
from invite_sweeper.outcome import Outcome
from invite_sweeper.walk import Reader

_RESTORE = "restore"


async def recover(
    reader: Reader, intents: Sequence[OpenIntent], log: AuditLog, now: datetime
) -> tuple[int, tuple[str, ...]]:
    """Ask Atlas about each open intent, and write its outcome.

    Each is looked for in the list that it came from.

    Returns:
        How many were settled, and a sentence for each list that could not be asked.

    Raises:
        RunError: Atlas's answer was about the run, or the log cannot be written.
    """
    settled = 0
    lost: list[str] = []
    by_list: dict[tuple[str, str], list[OpenIntent]] = {}
    for intent in intents:
        if intent.mode == _RESTORE:
            _settle(intent, log, now, Outcome.UNKNOWN)
            settled += 1
            continue
        key = (intent.invitation.source, intent.invitation.project_id)
        by_list.setdefault(key, []).append(intent)
    for group in by_list.values():
        first = group[0].invitation
        project = Project(first.project_id, first.project_name, first.org_id)
        found = await reader.invitations(project, first.source)
        if isinstance(found, Unreadable):
            where = first.project_name or f"organization {first.org_id}"
            lost.append(
                f"{len(group)} deletions of an earlier run in {where} stay "
                f"unsettled: {found.reason}"
            )
            continue
        there = set() if isinstance(found, Gone) else {each.id for each in found}
        for intent in group:
            still_there = intent.invitation.id in there
            outcome = Outcome.FAILED if still_there else Outcome.ALREADY_GONE
            _settle(intent, log, now, outcome)
        settled += len(group)
    await log.durable()
    return settled, tuple(lost)


def _settle(intent: OpenIntent, log: AuditLog, now: datetime, outcome: Outcome) -> None:
    log.write(
        "outcome",
        **invitation_fields(intent.invitation, now),
        rule=intent.rule,
        outcome=outcome.value,
        attempts=0,
        http_status=None,
        error_code=None,
        duration_ms=None,
        seen_before=None,
        seen_after=None,
        recovered=True,
        recovers=intent.run_id,
    )
