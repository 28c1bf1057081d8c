"""Guards: checks that refuse a plan, and the circuit breaker that stops a sweep.

Before the first DELETE, each `check_` function raises GuardRefused. During the sweep,
`CircuitBreaker` watches the outcomes. Limits are inclusive; 0 means none.
"""

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from fractions import Fraction
from math import ceil
from typing import Final

from invite_sweeper import text
from invite_sweeper.atlas.responses import REDIRECT, SERVER_ERROR, is_permission_error
from invite_sweeper.audit import CompleteRun, History, SavedPlan
from invite_sweeper.audit.events import RunStarted
from invite_sweeper.counts import total
from invite_sweeper.endings import Reason
from invite_sweeper.errors import GuardRefused
from invite_sweeper.models import MAX_CLOCK_SKEW_S, ListUnreadable, Outcome, parse_timestamp
from invite_sweeper.policy import Limits
from invite_sweeper.sweep.command import Command
from invite_sweeper.sweep.organization import OrganizationPlan, Reading
from invite_sweeper.text import (
    describe_duration,
    escape_unprintable,
    plural_form,
    pluralize,
    shorten_list,
    truncate,
)

MIN_COUNT_FOR_SHARE = 10
"""Up to this number of stale invitations, `max_share` is ignored: in a small organization one
or two invitations are half of all. Shards divide it like a limit."""
_MAX_SHOWN = 5


def share_limit(command: Command, *, seen: int, stale: int, recent: int) -> int | None:
    """Return how many of the seen invitations `max_share` allows to delete; None if it is ignored.

    Exact: 0.29 of 100 is 29, which floating-point multiplication misses.

    Args:
        recent: What earlier runs deleted within `limits.period`.
    """
    shard = command.shard
    ignored_up_to = MIN_COUNT_FOR_SHARE if shard is None else shard.part_of(MIN_COUNT_FOR_SHARE)
    if stale + recent <= ignored_up_to:
        return None
    return max(0, int(Fraction(str(command.limits.max_share)) * (seen + recent)) - recent)


def _violations(
    plans: Sequence[OrganizationPlan], command: Command
) -> Iterator[tuple[Reason, str, float | None]]:
    """Yield each limit that the plan exceeds: its reason, a sentence, and what would be enough.

    The last is the value of the limit with which the plan would pass; None if deletions are not
    what it limits. The limits of the organizations are counted together.
    """
    limits, recent = command.limits, command.recent
    part = f", the part of shard {command.shard}" if command.shard is not None else ""
    counts = total(plan.counts for plan in plans)
    labels = {plan.organization.id: plan.organization.label for plan in plans}
    planned = Counter(line.scope_id for plan in plans for line in plan.deletions)
    stale, seen = planned.total(), counts.invitations_seen
    if counts.projects_unreadable > limits.max_unreadable_projects:
        unread = [_describe_unread(each, labels) for plan in plans for each in plan.reading.unread]
        found = f"{pluralize(counts.projects_unreadable, 'project')} could not be read"
        limit = f"max_unreadable_projects: {limits.max_unreadable_projects}{part}"
        message = f"{found}, over {limit}: {shorten_list(unread, _MAX_SHOWN)}."
        yield Reason.MAX_UNREADABLE_PROJECTS, message, None
    if stale and stale + recent.total() > limits.max_deletions:
        found = _with_recent(pluralize(stale, "stale invitation"), stale, recent.total(), limits)
        message = f"{found} over max_deletions: {limits.max_deletions}{part}."
        yield Reason.MAX_DELETIONS, message, stale + recent.total()
    together = {id_: count + recent[id_] for id_, count in planned.items()}
    over = [id_ for id_, n in together.items() if n > limits.max_deletions_per_project]
    if over:
        most = max(over, key=together.__getitem__)
        one = next(line for plan in plans for line in plan.deletions if line.scope_id == most)
        where = _describe_place(most, one.project_name or "", one.org_id, labels)
        found = f"{pluralize(planned[most], 'stale invitation')} in {where}"
        found = _with_recent(found, planned[most], together[most] - planned[most], limits)
        others = pluralize(len(over) - 1, "other place is", "other places are")
        more = f"; {others} over it, too" if len(over) > 1 else ""
        limit = f"max_deletions_per_project: {limits.max_deletions_per_project}"
        yield Reason.MAX_DELETIONS_PER_PROJECT, f"{found} over {limit}{more}.", together[most]
    allowed = share_limit(command, seen=seen, stale=stale, recent=recent.total())
    if allowed is not None and stale > allowed:
        found = f"{stale:,} stale of {pluralize(seen, 'invitation')} ({stale / seen:.1%})"
        found = _with_recent(found, stale, recent.total(), limits)
        needed = ceil(Fraction(100 * (stale + recent.total()), seen + recent.total())) / 100
        yield Reason.MAX_SHARE, f"{found} over max_share: {limits.max_share}.", needed


def check_limits(plans: Sequence[OrganizationPlan], command: Command) -> None:
    """Raise GuardRefused if the plans of all organizations together exceed a limit.

    Its message has a line for each limit, and its hint the keys with which it would not be refused.
    """
    violations = tuple(_violations(plans, command))
    if not violations:
        return
    reasons, messages, _ = zip(*violations, strict=True)
    hints = list(dict.fromkeys(_advice(reason, plans, command) for reason in reasons))
    needed = [f"{reason}: {value}" for reason, _, value in violations if value is not None]
    if needed and command.shard is None:
        keys = f"{', '.join(needed)}, or over_limit: trim"
        hints.append(f"Under limits in the policy, set {keys}.")
    where = f"In {len(plans)} organizations together: " if len(plans) > 1 else ""
    raise GuardRefused(where + "\n".join(messages), hint=" ".join(hints), reasons=reasons)


def _describe_place(id_: str, name: str, org_id: str, labels: Mapping[str, str]) -> str:
    """Return a project, or the lists of an organization, by name and id, on one line."""
    organization = labels.get(org_id, org_id)
    if id_ == org_id:
        return f"the lists of {organization}"
    of = f" of {organization}" if org_id and len(labels) > 1 else ""
    return f"project {escape_unprintable(name)} ({id_}){of}"


def _describe_unread(unreadable: ListUnreadable, labels: Mapping[str, str]) -> str:
    """Return a list that could not be read, with its reason.

    The reason of a row of a wrong type names a person, who is in no message to others.
    """
    org_id, name = unreadable.org_id or "", unreadable.project_name or ""
    place = _describe_place(unreadable.list_key[2], name, org_id, labels)
    reason = unreadable.reason.removesuffix(".")
    return f"{place}: {'an answer that is not a complete list' if _is_odd(unreadable) else reason}"


def _advice(reason: Reason, plans: Iterable[OrganizationPlan], command: Command) -> str:
    """Return what to do about a limit; about unreadable lists, what fits their causes."""
    if reason is not Reason.MAX_UNREADABLE_PROJECTS:
        return reason.advice
    advice: list[str] = []
    unread = [unreadable for plan in plans for unreadable in plan.reading.unread]
    if any(is_permission_error(each.http_status, each.error_code) for each in unread):
        advice.append("Grant the credentials the role that is missing, or exclude the projects.")
    if any(_may_pass(each) for each in unread):
        advice.append("Run the command again: an outage passes.")
    if any(_is_odd(each) for each in unread):
        advice.append("An answer was not a complete list: check for a proxy or cache.")
    doctor = text.command("doctor", "--policy", command.policy_path)
    advice.append(f"Each list with its reason: {doctor}. Else raise max_unreadable_projects.")
    return " ".join(advice)


def _may_pass(unreadable: ListUnreadable) -> bool:
    """Return whether a list was not read because of an outage."""
    status = unreadable.http_status
    return status is None or status >= SERVER_ERROR


def _is_odd(unreadable: ListUnreadable) -> bool:
    """Return whether a list was answered with 2xx, and not believed."""
    status = unreadable.http_status
    return status is not None and status < REDIRECT


def _with_recent(found: str, count: int, recent: int, limits: Limits) -> str:
    """Return what was found, and what earlier runs deleted, with the policy's key."""
    period = describe_duration(limits.period)
    also = f" and {recent:,} that earlier runs deleted within {period} (limits.period)"
    return f"{found}{also if recent else ''} {plural_form(count + recent, 'is', 'are')}"


def check_clock(skew_s: float | None) -> None:
    """Raise GuardRefused if the local clock is more than 5 minutes off, or cannot be checked.

    Ages are computed with the local clock.

    Args:
        skew_s: Local time minus Atlas's; None without a readable `Date` header.
    """
    if skew_s is None:
        message = "The local clock could not be checked: Atlas's response has no valid Date header."
        hint = "Check for a proxy that removes the Date header."
    elif abs(skew_s) > MAX_CLOCK_SKEW_S:
        difference = describe_duration(timedelta(seconds=abs(skew_s)))
        message = (
            f"The local clock is {difference} {'ahead of' if skew_s > 0 else 'behind'} Atlas's."
        )
        hint = "Synchronize the clock (NTP): ages are computed with it."
    else:
        return
    raise GuardRefused(message, hint=hint, reasons=(Reason.CLOCK,))


def check_population(readings: Iterable[Reading], command: Command) -> None:
    """Raise GuardRefused if projects or entries dropped by more than `max_population_drop`.

    A list that lost a page looks like a small organization. The numbers of projects, of entries
    and of the entries of each source are compared with what the last complete run left, without
    what was deleted since; that of projects also with those that were just listed. Numbers up to
    10 are not compared: there, a single acceptance is a tenth.

    Args:
        readings: Of one organization, or of all that are left, whose numbers are added up.
    """
    if command.accept_population:
        return
    was: Counter[tuple[str, str, str]] = Counter()
    now: Counter[tuple[str, str, str]] = Counter()
    for reading in readings:
        for what, then, found in _compared(reading, command):
            was[what] += then
            now[what] += found
    for what, count in was.items():
        if count > MIN_COUNT_FOR_SHARE:
            _check_drop(what, count, now[what], command)


def _compared(
    reading: Reading, command: Command
) -> Iterator[tuple[tuple[str, str, str], int, int]]:
    """Yield what is compared, with the number before and now.

    A list that was not read now, or that Atlas has retired, is not compared: it is said already.
    With a run of another scope, what both read is compared: neither what the policy leaves out
    now, nor entries in lists that had none, which the run may not have read. An entry that has
    expired counts on neither side: it leaves its list by itself.
    """
    counts, org_id = reading.counts, reading.id
    before = command.before or CompleteRun({}, {})
    excluded = reading.scope.excluded if reading.scope is not None else []
    is_other = org_id in before.other_scope
    listed = counts.projects_seen + (len(excluded) if is_other else 0)
    was = max(listed, before.projects.get(org_id, 0))
    entries = reading.unexpired(command.now.date())
    yield ("project", "projects", ""), was, listed - counts.projects_gone
    for source in command.policy.sources:
        left_out = {each.list_key[2] for each in reading.unread if each.source is source}
        left_out |= {project.id for project in excluded} if is_other else set()
        then = {
            place: count
            for (name, org, place), count in before.entries.items()
            if (name, org) == (source.value, org_id) and place not in left_out
        }
        if not then or source in reading.retired:
            continue
        found = sum(
            count
            for ref, count in entries.items()
            if ref.source is source and (not is_other or ref.project.id in then)
        )
        for where in ("", f" in the list {source}"):
            yield ("entry", "entries", where), sum(then.values()), found


def drop_of_members(org_id: str, count: int, command: Command) -> str:
    """Return a sentence if active members dropped by more than `max_population_drop`, else "".

    The list may be incomplete, and every inviter who is missing would be gone. So small numbers
    are compared, too. It concerns what `inviter_gone` judges and refuses nothing else.
    """
    if command.accept_population:
        return ""
    before = command.history.members(command.base_url)
    what = ("active member", "active members", "")
    return _describe_drop(what, before.get(org_id, 0), count, command)


def _check_drop(what: tuple[str, str, str], was: int, now: int, command: Command) -> None:
    """Raise GuardRefused for a drop."""
    if message := _describe_drop(what, was, now, command):
        reasons = (Reason.MAX_POPULATION_DROP,)
        raise GuardRefused(message, hint=Reason.MAX_POPULATION_DROP.advice, reasons=reasons)


def _describe_drop(what: tuple[str, str, str], was: int, now: int, command: Command) -> str:
    """Return a sentence for a drop, else ""; `what` are a noun, its plural, and where they are."""
    drop = command.limits.max_population_drop
    if was - now <= Fraction(str(drop)) * was:
        return ""
    *noun, where = what
    return (
        f"{pluralize(now, *noun)}{where} {plural_form(now, 'was', 'were')} found, {was:,} before: "
        f"the drop is over max_population_drop: {drop}."
    )


def check_plan(command: Command, *, max_age: timedelta, sha256: str | None = None) -> None:
    """Raise GuardRefused if the saved plan of a command does not apply to it.

    Args:
        max_age: From which a plan is refused.
        sha256: Of the file that a second person read; None without one.
    """
    saved, policy, now = command.saved, command.policy, command.now
    if saved is None:
        return
    if sha256 is not None and saved.sha256 != sha256.strip().lower():
        raise GuardRefused(
            f"The plan {saved.path} has the SHA-256 {saved.sha256}, not {sha256}.",
            hint=f"Read it again: {text.command('audit', 'show', str(saved.path))}",
            reasons=(Reason.PLAN,),
        )
    start = saved.start
    if message := why_expired(start, max_age=max_age, now=now):
        pass
    elif frozenset(start.organizations) != policy.organization_ids:
        message = "The plan was created for other organizations than the policy's."
    elif start.base_url != command.base_url:
        message = f"The plan was created for {start.base_url}, not {command.base_url}."
    elif start.policy_sha256 != policy.sha256:
        message = "The plan was created with another policy."
    else:
        message = why_used(saved, command.history)
    if message:
        raise GuardRefused(
            f"{saved.path}: {message}",
            hint=f"Create a new plan with: {text.command('plan', '--policy', command.policy_path)}",
            reasons=(Reason.PLAN,),
        )


def why_expired(start: RunStarted, *, max_age: timedelta, now: datetime) -> str:
    """Return why the instant of a dry run forbids to apply its plan now; "" where it does not.

    Exactly `max_age` old is still valid.
    """
    created_at = parse_timestamp(start.now)
    if created_at is None:
        return f"The plan's creation time {truncate(start.now, 40)!r} cannot be read."
    if created_at > now + timedelta(seconds=MAX_CLOCK_SKEW_S):
        return f"The plan's creation time {start.now} is more than 5 minutes ahead."
    if now - created_at > max_age:
        return (
            f"The plan is too old: it was created over {describe_duration(now - created_at)} ago, "
            f"and the limit is {describe_duration(max_age)}."
        )
    return ""


def why_used(saved: SavedPlan, history: History) -> str:
    """Return which sweep of an audit directory has completed a plan; "" where none has."""
    run = history.applied_by(saved.sha256)
    return f"Run {run.number} has already applied the plan." if run is not None else ""


_JUDGED: Final = (
    (Outcome.FAILED, "failed", "max_failure_share"),
    (Outcome.ALREADY_GONE, "were already gone", "max_already_gone_share"),
)


class CircuitBreaker:
    """Decides from the last outcomes whether a sweep must stop.

    One command has one breaker. When it opens in one organization, nothing more is deleted in
    any: what was decided about the others came from the same program, policy and Atlas.

    After the canary (the first deletions, which are sent before all others), it opens if more
    than half of them failed. After that, once the window is full, it opens if the share of
    failed or of already gone invitations in the window exceeds its limit. The removal of a
    user who had just accepted counts as a failure.

    Attributes:
        reason: Why it opened; None while it is closed.
    """

    def __init__(self, limits: Limits) -> None:
        self.reason: str | None = None
        self._limits = limits
        self._seen = 0
        self._failed = 0
        self._window: deque[Outcome] = deque()
        self._counts = Counter[Outcome]()  # of the window

    @property
    def canary_left(self) -> int:
        """How many of the first deletions must still end before any other is sent."""
        return max(0, self._limits.canary - self._seen)

    def opens_at(self, outcome: Outcome) -> bool:
        """Record one outcome; return whether the sweep must stop from now on."""
        if self.reason is not None:
            return False
        outcome = Outcome.FAILED if outcome is Outcome.ACCEPTED_DURING else outcome
        self._window.append(outcome)
        self._counts[outcome] += 1
        if len(self._window) > self._limits.breaker_window:
            self._counts[self._window.popleft()] -= 1
        self._seen += 1
        self._failed += outcome is Outcome.FAILED
        limits = self._limits
        if self._seen == limits.canary:
            if self._failed * 2 > self._seen:
                self.reason = (
                    f"{self._failed} of the first {self._seen} deletions (the canary) failed."
                )
        elif len(self._window) == limits.breaker_window:
            for judged, did, key in _JUDGED:
                count, share = self._counts[judged], getattr(limits, key)
                if count and count > Fraction(str(share)) * limits.breaker_window:
                    found = f"{count} of the last {len(self._window)} deletions {did}"
                    self.reason = f"{found}, over {key}: {share}."
                    break
        return self.reason is not None
