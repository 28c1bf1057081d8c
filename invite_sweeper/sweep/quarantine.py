"""Compares the decisions of a changed policy with those of the last accepted one."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from invite_sweeper.audit.events import PolicyDifference
from invite_sweeper.audit.history import DeletionCounts
from invite_sweeper.endings import Reason
from invite_sweeper.errors import GuardRefused
from invite_sweeper.models import Invitation
from invite_sweeper.policy import Policy
from invite_sweeper.sweep.accepted_policy import AcceptedPolicy
from invite_sweeper.sweep.decision_steps import KeepBounced, apply_steps
from invite_sweeper.sweep.scope import ProjectFilter, RunScope
from invite_sweeper.sweep.selection import Decision, Members, Selector
from invite_sweeper.text import describe_duration, plural_form, pluralize

_MAX_LISTED = 20


class PolicyChange:
    """How a new policy changes which of the current invitations are stale.

    Args:
        policy: The new policy.
        accepted: The last accepted policy; None before the first sweep.
        accepted_option: The value of `--accept-policy`, which names another policy.
        deletions: Earlier ones, which keep what came back `max_bounces` times.

    Attributes:
        added: Stale only by the new policy, as `project: username`; the first 20.
        removed: Stale only by the old policy; the first 20.
    """

    def __init__(
        self,
        policy: Policy,
        accepted: AcceptedPolicy | None,
        now: datetime,
        *,
        accepted_option: str | None = None,
        deletions: DeletionCounts | None = None,
    ) -> None:
        self._policy = policy
        self._accepted = accepted
        self._accepted_option = accepted_option
        old = accepted.policy if accepted is not None else None
        self._old = old if isinstance(old, Policy) else None
        self._now = now
        if self._old is not None:
            self._decide_old = Selector(self._old, now).decide
            self._old_steps = (
                KeepBounced(deletions or DeletionCounts(), self._old.limits.max_bounces),
            )
        self._old_scope = RunScope(())
        self._scope_messages: list[str] = []
        self.added: list[str] = []
        self.removed: list[str] = []
        self.added_count = 0
        self.removed_count = 0

    def observe_scope(self, scope: RunScope) -> None:
        """Compare which projects and lists the two policies read."""
        if self._old is None:
            return
        old_filter = ProjectFilter(self._old)
        visible = (*scope.projects, *scope.excluded)
        old_ids = frozenset(each.id for each in visible if old_filter.includes(each))
        self._old_scope = replace(scope, in_scope_ids=old_ids)
        for ids, text in (
            (scope.in_scope_ids - old_ids, "newly in scope"),
            (old_ids - scope.in_scope_ids, "no longer in scope: their invitations stay"),
        ):
            if ids:
                are = plural_form(len(ids), "is", "are")
                self._scope_messages.append(f"{pluralize(len(ids), 'project')} {are} {text}")

    @property
    def policies(self) -> tuple[Policy, ...]:
        """The policy that it compares with; none if there is none."""
        return () if self._old is None else (self._old,)

    def observe_members(self, members: Members) -> None:
        """Judge `inviter_gone` of the old policy by the same members as that of the new one."""
        if self._old is not None:
            self._decide_old = Selector(self._old, self._now, members).decide

    def observe(self, decision: Decision) -> Decision:
        """Record one decision and return it unchanged."""
        was_stale = self._was_stale(decision.invitation)
        who = f"{decision.invitation.project_name}: {decision.invitation.username or '?'}"
        if decision.stale and not was_stale:
            self.added_count += 1
            if len(self.added) < _MAX_LISTED:
                self.added.append(who)
        elif was_stale and not decision.stale:
            self.removed_count += 1
            if len(self.removed) < _MAX_LISTED:
                self.removed.append(who)
        return decision

    def _was_stale(self, invitation: Invitation) -> bool:
        old = self._old
        if (
            old is None
            or invitation.source not in old.sources
            or invitation.org_id not in old.organization_ids
        ):
            return False
        in_scope = self._old_scope.in_scope_ids
        if not invitation.source.is_organization_level and invitation.project_id not in in_scope:
            return False
        decision = self._decide_old(self._old_scope.with_project_names(invitation))
        return apply_steps(self._old_steps, decision).stale

    def messages(self) -> tuple[str, ...]:
        """Return the differences, as sentences for the operator."""
        sentences = [*self._setting_messages(), *self._scope_messages]
        if self._old is None:  # the plan lists all of them
            return tuple(sentences)
        for verb, names, count in (
            ("also delete", self.added, self.added_count),
            ("keep", self.removed, self.removed_count),
        ):
            sentences += [f"The new policy would {verb} {each}" for each in names]
            if count > len(names):
                sentences.append(f"The new policy would {verb} {count - len(names):,} more")
        return tuple(sentences)

    def difference(self) -> PolicyDifference:
        """Return the differences with their counts."""
        return PolicyDifference(
            policy_sha256=self._policy.sha256,
            accepted_sha256=self._accepted.sha256 if self._accepted is not None else None,
            compared=self._old is not None,
            added=self.added_count,
            removed=self.removed_count,
            sentences=self.messages(),
        )

    def _setting_messages(self) -> Iterator[str]:
        """Yield the changed limits and lists: they change no decision, but what is deleted."""
        if self._old is None:
            return
        for name, new in self._policy.limits:
            if (old := getattr(self._old.limits, name)) != new:
                yield f"The new policy changes limits.{name} from {_yaml(old)} to {_yaml(new)}"
        before, after = (
            each.notice.wait if each.notice is not None else None
            for each in (self._old, self._policy)
        )
        if before != after:
            yield f"The new policy changes notice.wait from {_wait(before)} to {_wait(after)}"
        for text, sources in (
            ("also reads", set(self._policy.sources) - set(self._old.sources)),
            ("does not read", set(self._old.sources) - set(self._policy.sources)),
        ):
            if sources:
                yield f"The new policy {text} {', '.join(sorted(sources))}"

    def as_error(self) -> GuardRefused:
        """Return the error that stops the first run with a changed policy."""
        return GuardRefused(
            " ".join(self._reasons()),
            hint=f"Read the plan, then accept the policy with --accept-policy "
            f"{self._policy.sha256}",
            reasons=(Reason.QUARANTINE,),
        )

    def _reasons(self) -> Iterator[str]:
        accepted = self._accepted
        if accepted is None:
            yield "No sweep has accepted a policy in this audit log yet (quarantine)."
        else:
            yield "The policy has changed since the last sweep (quarantine)."
        if accepted is not None and not self._policy.limits.quarantine:
            yield "It removes quarantine, which the last accepted policy set: it must be accepted."
        if accepted is not None and isinstance(accepted.policy, str):
            yield f"The last accepted policy cannot be compared: {accepted.policy}."
        if self._old is None:
            yield f"{pluralize(self.added_count, 'invitation')} would be deleted by this policy."
        else:
            added = pluralize(self.added_count, "stale invitation")
            yield f"It adds {added} and removes {self.removed_count:,}."
        if self._accepted_option is not None:
            yield "--accept-policy names another policy."


def _wait(wait: timedelta | None) -> str:
    return "none: no announcement" if wait is None else describe_duration(wait)


def _yaml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value}"
