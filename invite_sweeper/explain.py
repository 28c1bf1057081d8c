"""Why an invitation is stale or kept, key by key."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from invite_sweeper.audit.record import invitation_fields
from invite_sweeper.models import Invitation, Moment, UnreadableDate
from invite_sweeper.policy import Keep, Policy, Rule
from invite_sweeper.sweep.selection import KEEP_REASONS, Answer, Decision, Finding, Selector

# Describe a decision in one sentence. Pure.


def in_words(decision: Decision) -> str:
    """Return whether a sweep would delete the invitation, and why."""
    if decision.rule is not None:
        back = f"; deleted before: {decision.bounced}, and back" if decision.bounced else ""
        return f"stale by the rule `{decision.rule}`: a sweep would delete it{back}"
    key = decision.kept or ""
    return f"kept: {KEEP_REASONS.get(key) or _entry_reason(key)}"


def _entry_reason(key: str) -> str:
    kind, _, name = key.partition(":")
    if kind == "keep":
        return f"the keep entry `{name}` matches"
    return f"an entry cannot be judged ({key.replace('_', ' ')})"


# Why one invitation is stale or kept: every entry of the policy, key by key. Pure.


_UNNAMED = "PENDING of the users lists only where a rule names it"
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Key:
    """One key of an entry and what it says of the invitation.

    Attributes:
        asked: What the policy asks for.
        has: What the invitation has.
        answer: Whether it holds; a text is the reason why that cannot be judged.
    """

    name: str
    asked: str
    has: str
    answer: Answer


@dataclass(frozen=True, slots=True)
class Verdict:
    """One keep entry or rule.

    Attributes:
        kind: `keep` or `rule`.
        answer: As `Key`; None for a keep entry that has ended and is not asked any more.
        note: The reason that the policy gives for a keep entry, or when it ended.
    """

    kind: str
    name: str
    answer: Answer | None
    keys: tuple[Key, ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Explanation:
    """All there is to say of one invitation.

    Attributes:
        by_policy: What the policy alone decides.
        decision: What a run would decide: bounces and a saved plan may keep more.
    """

    invitation: Invitation
    verdicts: tuple[Verdict, ...]
    by_policy: Decision
    decision: Decision

    def record(self, now: datetime) -> dict[str, object]:
        """Give it as one JSON object, the invitation's fields as the audit log writes them."""
        told: dict[str, object] = dict(invitation_fields(self.invitation, now))
        for kind in ("keep", "rule"):
            told[f"{kind}s" if kind == "rule" else kind] = [
                _verdict_record(verdict) for verdict in self.verdicts if verdict.kind == kind
            ]
        told["by_policy"] = _decision_record(self.by_policy)
        told["decision"] = _decision_record(self.decision)
        return told


class Explainer:
    """The policy, ready to be asked why.

    Args:
        now: The one instant, aware UTC.
        amend: The second look of a run at each decision.
    """

    def __init__(
        self, policy: Policy, now: datetime, amend: Callable[[Decision], Decision]
    ) -> None:
        self._selector = Selector(policy, now)
        self._now = now
        self._amend = amend
        self._entries: Mapping[tuple[str, str], Rule | Keep] = {
            **{("keep", entry.name): entry for entry in policy.keep},
            **{("rule", rule.name): rule for rule in policy.rules},
        }
        self._ended = tuple(entry for entry in policy.keep if not entry.holds(now.date()))

    def explain(self, invitation: Invitation) -> Explanation:
        """Ask every entry about one invitation."""
        decided = self._selector.decide(invitation)
        return Explanation(
            invitation,
            (*self._past(), *map(self._verdict(invitation), self._selector.findings(invitation))),
            decided,
            self._amend(decided),
        )

    def _past(self) -> Iterator[Verdict]:
        for entry in self._ended:
            yield Verdict("keep", entry.name, None, (), f"it ended on {entry.until}")

    def _verdict(self, invitation: Invitation) -> Callable[[Finding], Verdict]:
        def make(finding: Finding) -> Verdict:
            entry = self._entries[finding.kind, finding.name]
            keys = tuple(
                Key(name, _asked(entry, name), _has(invitation, name, self._now), answer)
                for name, answer in finding.criteria
            )
            note = (entry.reason or "") if isinstance(entry, Keep) else ""
            return Verdict(finding.kind, finding.name, finding.answer, keys, note)

        return make


def _asked(entry: Rule | Keep, key: str) -> str:
    value: object = getattr(entry, key)
    if value is None:
        return _UNNAMED  # `statuses`, which every rule without that key is asked all the same
    if isinstance(value, timedelta):
        return _span(value)
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return str(value).lower()


def _has(invitation: Invitation, key: str, now: datetime) -> str:
    found: Mapping[str, str | None] = {
        "older_than": _age(invitation.created_at, now),
        "expired": _written(invitation.expires_at),
        "expires_within": _written(invitation.expires_at),
        "usernames": invitation.username,
        "inviters": invitation.inviter,
        "roles": ", ".join(invitation.roles),
        "projects": _projects(invitation),
        "statuses": invitation.status,
    }
    return found[key] or ""


def _projects(invitation: Invitation) -> str:
    if not invitation.source.of_organization:
        return f"{invitation.project_name} ({invitation.project_id})"
    return ", ".join(f"{name} ({id_})".lstrip() for id_, name in invitation.reaches)


def _age(created_at: Moment, now: datetime) -> str:
    return _span(now - created_at) if isinstance(created_at, datetime) else _written(created_at)


def _written(moment: Moment) -> str:
    if isinstance(moment, datetime):
        return moment.isoformat().replace("+00:00", "Z")
    return moment.raw if isinstance(moment, UnreadableDate) else ""


def _span(span: timedelta) -> str:
    """Days to the hundredth, floored: what is nearly old enough does not read as old enough."""
    return f"{span // (_DAY / 100) / 100:g} days" if span % _DAY else f"{span.days} days"


def _verdict_record(verdict: Verdict) -> dict[str, object]:
    return {
        "name": verdict.name,
        "matched": verdict.answer is True,
        "unjudged": verdict.answer if isinstance(verdict.answer, str) else None,
        "ended": verdict.answer is None,
        "note": verdict.note or None,
        "keys": [
            {
                "key": key.name,
                "asked": key.asked,
                "has": key.has,
                "holds": key.answer is True,
                "unjudged": key.answer if isinstance(key.answer, str) else None,
            }
            for key in verdict.keys
        ],
    }


def _decision_record(decision: Decision) -> dict[str, object]:
    return {
        "stale": decision.stale,
        "rule": decision.rule,
        "kept": decision.kept,
        "bounced": decision.bounced,
        "in_words": in_words(decision),
    }
