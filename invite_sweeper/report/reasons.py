"""What becomes of an invitation, and why, in words. Pure."""

from collections.abc import Mapping
from typing import Final

from invite_sweeper.selection import Decision

_WHY: Final[Mapping[str, str]] = {
    "no_rule": "no rule matches",
    "too_young": "a rule would match, but it is not old enough yet",
    "no_date": "Atlas does not say when it was sent",
    "unreadable_date": "the date at which it was sent cannot be read",
    "future_date": "it was sent in the future, by its date",
    "unreadable_id": "its id has a wrong form",
    "not_pending": "the person is no longer only invited",
    "reaches_out_of_scope": "it comes with a project that the policy leaves alone",
    "bounced": "it was deleted `limits.max_bounces` times before and came back each time",
    "not_in_plan": "the saved plan does not list it",
}


def in_words(decision: Decision) -> str:
    """Say what becomes of the invitation, and why."""
    if decision.rule is not None:
        back = f"; deleted before: {decision.bounced}, and back" if decision.bounced else ""
        return f"stale by the rule `{decision.rule}`: a sweep would delete it{back}"
    return f"kept: {_WHY.get(decision.kept or '', _named(decision))}"


def _named(decision: Decision) -> str:
    why = decision.kept or ""
    if why.startswith("keep:"):
        return f"the keep entry `{why.removeprefix('keep:')}` matches"
    return f"an entry cannot be judged ({why.replace('_', ' ')})"
