"""invitation x policy x now -> a Decision with its reason. Pure.

The order in which an invitation is judged is the order of `Selector.decide`:

1. an id of a wrong form, somebody who is no longer only invited, or an invitation that
   reaches a project out of the policy's scope: kept;
2. a `keep` entry matches: kept, whatever the rules say;
3. no date of invitation, an unreadable one, one in the future: kept;
4. a `keep` entry that cannot be judged (it asks for what Atlas did not send): kept;
5. the first rule that matches makes it stale;
6. a rule that cannot be judged, or none that matches: kept.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

from invite_sweeper.criteria import (
    Answer,
    Criterion,
    all_hold,
    criteria_of,
    date_fault,
    rule_criteria,
)
from invite_sweeper.inventory import INVITED_STATUSES, USER_LISTS, Invitation
from invite_sweeper.policy import Policy

_ID = re.compile(r"[a-f0-9]{24}")
KEEP_REASONS: Final = {
    "too_young": "too young for every rule",
    "no_rule": "no rule matches",
    "no_date": "no date of invitation",
    "unreadable_date": "its date cannot be read",
    "future_date": "its date is in the future",
    "unreadable_id": "its id has a wrong form",
    "not_pending": "no longer only invited",
    "reaches_out_of_scope": "linked to a project outside the policy's scope",
    "bounced": "deleted and back too often (max_bounces)",
    "not_in_plan": "not in the saved plan",
}
"""What the keys of `kept_by_reason` mean. The others are `keep:NAME` and, where an entry asks
for a value that Atlas did not send, `no_` and the value's name."""


class Decision(NamedTuple):
    """What is to become of one invitation. A named tuple: a run makes many.

    Attributes:
        rule: The name of the first rule that makes it stale; None when it is kept.
        kept: Why it is kept (`too_young`, `no_rule`, `keep:NAME`, `no_date`, …); None when
            it is stale. Just one of the two is set.
        bounced: How often a run deleted this person's invitation to this project before.
    """

    invitation: Invitation
    rule: str | None
    kept: str | None
    bounced: int = 0

    @property
    def stale(self) -> bool:
        """Whether at least one rule matched and nothing keeps it."""
        return self.rule is not None


@dataclass(frozen=True, slots=True)
class Finding:
    """How one rule or keep entry answered, for `explain`.

    Attributes:
        kind: `rule` or `keep`.
        answer: True when it matches, False when not, else why it cannot be judged.
        criteria: Each key of the entry with its own answer, in a fixed order.
    """

    kind: str
    name: str
    answer: Answer
    criteria: tuple[tuple[str, Answer], ...]


class Selector:
    """The policy, ready to judge invitations at one instant.

    Args:
        now: The one instant of the run, aware UTC.
    """

    def __init__(self, policy: Policy, now: datetime) -> None:
        self._now = now
        self._rules = tuple((rule.name, rule_criteria(rule, now)) for rule in policy.rules)
        self._steps = tuple((*rule, _but_for_age(rule[1])) for rule in self._rules)
        self._keep = tuple(
            (entry.name, criteria_of(entry, now))
            for entry in policy.keep
            if entry.until is None or now.date() <= entry.until
        )

    def decide(self, invitation: Invitation) -> Decision:
        """Judge one invitation; the module's docstring has the order."""
        kept = self._kept(invitation)
        if kept is not None:
            return Decision(invitation, None, kept)
        reason = "no_rule"
        for name, criteria, but_for_age in self._steps:
            answer = all_hold(criteria, invitation)
            if answer is True:
                return Decision(invitation, name, None)
            if isinstance(answer, str):
                reason = answer
            elif reason == "no_rule" and all_hold(but_for_age, invitation) is True:
                reason = "too_young"
        return Decision(invitation, None, reason)

    def findings(self, invitation: Invitation) -> tuple[Finding, ...]:
        """Say of each keep entry that holds today and of each rule how it answers."""
        kinds = (("keep", self._keep), ("rule", self._rules))
        return tuple(
            Finding(
                kind,
                name,
                all_hold(criteria, invitation),
                tuple((key, ask(invitation)) for key, ask in criteria),
            )
            for kind, entries in kinds
            for name, criteria in entries
        )

    def _kept(self, invitation: Invitation) -> str | None:
        if _ID.fullmatch(invitation.id) is None:
            return "unreadable_id"
        if invitation.source in USER_LISTS and invitation.status not in INVITED_STATUSES:
            return "not_pending"
        if invitation.reaches_outside:
            return "reaches_out_of_scope"
        unjudged = None
        for name, criteria in self._keep:
            answer = all_hold(criteria, invitation)
            if answer is True:
                return f"keep:{name}"
            if isinstance(answer, str):
                unjudged = unjudged or answer
        return date_fault(invitation.created_at, self._now) or unjudged


def _but_for_age(criteria: tuple[Criterion, ...]) -> tuple[Criterion, ...]:
    return tuple(criterion for criterion in criteria if criterion[0] != "older_than")
