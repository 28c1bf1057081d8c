"""Guards: checks that refuse a plan, and the circuit breaker that stops a sweep.

A plan is refused whole, before its first DELETE, if it deletes more than a limit allows, or if
the clock, the population or the saved plan shows that it cannot be trusted: each `check_` function
raises GuardRefused. During the sweep, `CircuitBreaker` watches the outcomes. Limits are inclusive;
0 means none.
"""

from collections import Counter, deque
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from fractions import Fraction
from itertools import chain
from math import ceil
from typing import Final, NamedTuple

from invite_sweeper import text
from invite_sweeper.atlas.responses import REDIRECT, SERVER_ERROR, is_permission_error
from invite_sweeper.audit import CompleteRun, History, SavedPlan
from invite_sweeper.audit.events import Planned, RunStarted
from invite_sweeper.counts import total
from invite_sweeper.endings import Reason
from invite_sweeper.errors import GuardRefused
from invite_sweeper.models import (
    MAX_CLOCK_SKEW_S,
    ListRef,
    ListUnreadable,
    Project,
    Source,
    parse_timestamp,
)
from invite_sweeper.outcomes import Outcome
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


class _Violation(NamedTuple):
    """A limit that the plans exceed.

    Attributes:
        message: A sentence for the operator.
        needed: The value of the limit with which the plans would pass; None if deletions are not
            what it limits.
    """

    reason: Reason
    message: str
    needed: float | None


def share_limit(command: Command, *, seen: int, stale: int, recent: int) -> int | None:
    """Return how many of the seen invitations `max_share` allows to delete; None if it is ignored.

    Exact: 0.29 of 100 is 29, which floating-point multiplication misses.

    Args:
        recent: What earlier runs deleted within `limits.period`.
    """
    ignored_up_to = MIN_COUNT_FOR_SHARE
    if command.shard is not None:
        ignored_up_to = command.shard.part_of(MIN_COUNT_FOR_SHARE)
    if stale + recent <= ignored_up_to:
        return None
    # Atlas no longer shows what was deleted recently: it counts among the seen, and as used up.
    share = Fraction(str(command.limits.max_share))
    allowed_within_period = int(share * (seen + recent))
    return max(0, allowed_within_period - recent)


def _violations(plans: Sequence[OrganizationPlan], command: Command) -> Iterator[_Violation]:
    """Yield each limit that the plans of all organizations together exceed."""
    limits = command.limits
    recent = command.recent.total()
    part = f", the part of shard {command.shard}" if command.shard is not None else ""
    counts = total(plan.counts for plan in plans)
    seen = counts.invitations_seen
    deletions = _deletions(plans)
    stale = len(deletions)
    if counts.projects_unreadable > limits.max_unreadable_projects:
        found = f"{pluralize(counts.projects_unreadable, 'project')} could not be read"
        limit = f"max_unreadable_projects: {limits.max_unreadable_projects}{part}"
        labels = _labels(plans)
        lists = [_describe_unread(unreadable, labels) for unreadable in _unread(plans)]
        message = f"{found}, over {limit}: {shorten_list(lists, _MAX_SHOWN)}."
        yield _Violation(Reason.MAX_UNREADABLE_PROJECTS, message, None)
    # Without a stale invitation nothing is exceeded, however much earlier runs deleted.
    if stale and stale + recent > limits.max_deletions:
        found = _with_recent(pluralize(stale, "stale invitation"), stale, recent, limits)
        message = f"{found} over max_deletions: {limits.max_deletions}{part}."
        yield _Violation(Reason.MAX_DELETIONS, message, stale + recent)
    yield from _violations_of_places(plans, deletions, command)
    allowed = share_limit(command, seen=seen, stale=stale, recent=recent)
    if allowed is not None and stale > allowed:
        found = f"{stale:,} stale of {pluralize(seen, 'invitation')} ({stale / seen:.1%})"
        found = _with_recent(found, stale, recent, limits)
        message = f"{found} over max_share: {limits.max_share}."
        # In whole percents, rounded up: the policy is to be set to it.
        percent = ceil(Fraction(100 * (stale + recent), seen + recent))
        yield _Violation(Reason.MAX_SHARE, message, percent / 100)


def _violations_of_places(
    plans: Sequence[OrganizationPlan], deletions: Sequence[Planned], command: Command
) -> Iterator[_Violation]:
    """Yield `max_deletions_per_project` once, with the place that exceeds it most.

    A place is a project, or the lists of an organization.
    """
    limits = command.limits
    planned = Counter(deletion.scope_id for deletion in deletions)
    with_recent = {place: count + command.recent[place] for place, count in planned.items()}
    limit = limits.max_deletions_per_project
    over = [place for place, count in with_recent.items() if count > limit]
    if not over:
        return
    most = max(over, key=with_recent.__getitem__)
    example = next(deletion for deletion in deletions if deletion.scope_id == most)
    name = example.project_name or ""
    where = _describe_place(most, name, example.org_id, _labels(plans))
    found = f"{pluralize(planned[most], 'stale invitation')} in {where}"
    found = _with_recent(found, planned[most], command.recent[most], limits)
    more = ""
    if len(over) > 1:
        others = pluralize(len(over) - 1, "other place is", "other places are")
        more = f"; {others} over it, too"
    message = f"{found} over max_deletions_per_project: {limit}{more}."
    yield _Violation(Reason.MAX_DELETIONS_PER_PROJECT, message, with_recent[most])


def _deletions(plans: Iterable[OrganizationPlan]) -> list[Planned]:
    """Return the deletions of all plans."""
    return list(chain.from_iterable(plan.deletions for plan in plans))


def _unread(plans: Iterable[OrganizationPlan]) -> list[ListUnreadable]:
    """Return the lists of all plans that could not be read."""
    return list(chain.from_iterable(plan.reading.unread for plan in plans))


def _labels(plans: Iterable[OrganizationPlan]) -> dict[str, str]:
    """Return the labels of the organizations by id."""
    return {plan.organization.id: plan.organization.label for plan in plans}


def check_limits(plans: Sequence[OrganizationPlan], command: Command) -> None:
    """Raise GuardRefused if the plans of all organizations together exceed a limit.

    Its message has a line for each limit, and its hint the keys with which it would not be refused.
    """
    violations = tuple(_violations(plans, command))
    if not violations:
        return
    reasons = tuple(violation.reason for violation in violations)
    messages = "\n".join(violation.message for violation in violations)
    # Several limits may have the same advice, which is said once.
    hints = list(dict.fromkeys(_advice(reason, plans, command) for reason in reasons))
    keys = [
        f"{violation.reason}: {violation.needed}"
        for violation in violations
        if violation.needed is not None
    ]
    # A shard's limits are parts of the policy's: its numbers are no values for the policy.
    if keys and command.shard is None:
        hints.append(f"Under limits in the policy, set {', '.join(keys)}, or over_limit: trim.")
    where = f"In {len(plans)} organizations together: " if len(plans) > 1 else ""
    raise GuardRefused(where + messages, hint=" ".join(hints), reasons=reasons)


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
    org_id = unreadable.org_id or ""
    name = unreadable.project_name or ""
    place = _describe_place(unreadable.list_key[2], name, org_id, labels)
    reason = unreadable.reason.removesuffix(".")
    if _is_odd(unreadable):
        reason = "an answer that is not a complete list"
    return f"{place}: {reason}"


def _advice(reason: Reason, plans: Iterable[OrganizationPlan], command: Command) -> str:
    """Return what to do about a limit; about unreadable lists, what fits their causes."""
    if reason is not Reason.MAX_UNREADABLE_PROJECTS:
        return reason.advice
    advice: list[str] = []
    unread = _unread(plans)
    if any(_is_refused(unreadable) for unreadable in unread):
        advice.append("Grant the credentials the role that is missing, or exclude the projects.")
    if any(_may_pass(unreadable) for unreadable in unread):
        advice.append("Run the command again: an outage passes.")
    if any(_is_odd(unreadable) for unreadable in unread):
        advice.append("An answer was not a complete list: check for a proxy or cache.")
    doctor = text.command("doctor", "--policy", command.policy_path)
    advice.append(f"Each list with its reason: {doctor}. Else raise max_unreadable_projects.")
    return " ".join(advice)


def _is_refused(unreadable: ListUnreadable) -> bool:
    """Return whether the credentials may not read a list."""
    return is_permission_error(unreadable.http_status, unreadable.error_code)


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
    verb = plural_form(count + recent, "is", "are")
    if not recent:
        return f"{found} {verb}"
    period = describe_duration(limits.period)
    earlier = f"{recent:,} that earlier runs deleted within {period} (limits.period)"
    return f"{found} and {earlier} {verb}"


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
        direction = "ahead of" if skew_s > 0 else "behind"
        message = f"The local clock is {difference} {direction} Atlas's."
        hint = "Synchronize the clock (NTP): ages are computed with it."
    else:
        return
    raise GuardRefused(message, hint=hint, reasons=(Reason.CLOCK,))


class _Population(NamedTuple):
    """What is counted tonight and was counted before.

    Attributes:
        singular: What one of it is called.
        where: In which list; "" for all together.
    """

    singular: str
    plural: str
    where: str = ""


_PROJECTS: Final = _Population("project", "projects")
_ENTRIES: Final = _Population("unexpired entry", "unexpired entries")
_MEMBERS: Final = _Population("active member", "active members")


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
    before: Counter[_Population] = Counter()
    tonight: Counter[_Population] = Counter()
    for reading in readings:
        for population, was, now in _compared(reading, command):
            before[population] += was
            tonight[population] += now
    for population, was in before.items():
        if was <= MIN_COUNT_FOR_SHARE:
            continue
        message = _describe_drop(population, was, tonight[population], command)
        if message:
            advice = Reason.MAX_POPULATION_DROP.advice
            raise GuardRefused(message, hint=advice, reasons=(Reason.MAX_POPULATION_DROP,))


def _compared(reading: Reading, command: Command) -> Iterator[tuple[_Population, int, int]]:
    """Yield what is compared in an organization, with its number before and now.

    An entry that has expired counts on neither side: it leaves its list by itself.
    """
    counts = reading.counts
    before = command.before or CompleteRun({}, {})
    is_other = reading.id in before.other_scope
    # A run of another scope may have seen projects that the policy leaves out now. They are listed
    # still, so they are no drop.
    listed = counts.projects_seen + (len(_excluded(reading)) if is_other else 0)
    # What was just listed is a number before, too: projects that are gone when their lists are
    # read may be projects that the credentials see no longer.
    was = max(listed, before.projects.get(reading.id, 0))
    yield _PROJECTS, was, listed - counts.projects_gone
    entries = reading.unexpired(command.now.date())
    for source in command.policy.sources:
        lists_before = _entries_before(reading, source, before)
        # Of a list that Atlas has retired, the run says already that it has nothing.
        if not lists_before or source in reading.retired:
            continue
        was = sum(lists_before.values())
        # A run of another scope may not have read a list that had no entries then: what that list
        # has now would hide what another one lost.
        now = _entries_now(entries, source, only=lists_before if is_other else None)
        # All sources together, because lists that are too small to be compared may all be short;
        # and each by itself, because what one lost hides among the others.
        yield _ENTRIES, was, now
        yield _ENTRIES._replace(where=f" in the list {source}"), was, now


def _entries_before(reading: Reading, source: Source, before: CompleteRun) -> dict[str, int]:
    """Return the entries that the last complete run left in a source, by project or organization.

    Left out are lists that could not be read now, which `max_unreadable_projects` judges, and
    after a run of another scope those of the projects that the policy excludes now.
    """
    left_out = {
        unreadable.list_key[2] for unreadable in reading.unread if unreadable.source is source
    }
    if reading.id in before.other_scope:
        left_out |= {project.id for project in _excluded(reading)}
    entries: dict[str, int] = {}
    for (name, org_id, place), count in before.entries.items():
        if (name, org_id) == (source.value, reading.id) and place not in left_out:
            entries[place] = count
    return entries


def _entries_now(
    entries: Mapping[ListRef, int], source: Source, *, only: Container[str] | None
) -> int:
    """Return how many of the entries are in a source, or in those lists of it that `only` has."""
    now = 0
    for ref, count in entries.items():
        if ref.source is source and (only is None or ref.project.id in only):
            now += count
    return now


def _excluded(reading: Reading) -> Sequence[Project]:
    """Return the projects that were listed and that the policy leaves out."""
    return reading.scope.excluded if reading.scope is not None else ()


def drop_of_members(org_id: str, count: int, command: Command) -> str:
    """Return a sentence if active members dropped by more than `max_population_drop`, else "".

    The list may be incomplete, and every inviter who is missing would be gone. So small numbers
    are compared, too. It concerns what `inviter_gone` judges and refuses nothing else.
    """
    if command.accept_population:
        return ""
    before = command.history.members(command.base_url)
    return _describe_drop(_MEMBERS, before.get(org_id, 0), count, command)


def _describe_drop(population: _Population, was: int, now: int, command: Command) -> str:
    """Return a sentence if a number dropped by more than `max_population_drop`, else ""."""
    allowed = command.limits.max_population_drop
    if was - now <= Fraction(str(allowed)) * was:
        return ""
    found = pluralize(now, population.singular, population.plural)
    verb = plural_form(now, "was", "were")
    return (
        f"{found}{population.where} {verb} found, {was:,} before: "
        f"the drop is over max_population_drop: {allowed}."
    )


def check_plan(command: Command, *, max_age: timedelta, sha256: str | None = None) -> None:
    """Raise GuardRefused if the saved plan of a command does not apply to it.

    Args:
        max_age: From which a plan is refused.
        sha256: Of the file that a second person read; None without one.
    """
    saved = command.saved
    if saved is None:
        return
    if sha256 is not None and saved.sha256 != sha256.strip().lower():
        raise GuardRefused(
            f"The plan {saved.path} has the SHA-256 {saved.sha256}, not {sha256}.",
            hint=f"Read it again: {text.command('audit', 'show', str(saved.path))}",
            reasons=(Reason.PLAN,),
        )
    message = (
        why_expired(saved.start, max_age=max_age, now=command.now)
        or _why_other(saved.start, command)
        or why_used(saved, command.history)
    )
    if message:
        raise GuardRefused(
            f"{saved.path}: {message}",
            hint=f"Create a new plan with: {text.command('plan', '--policy', command.policy_path)}",
            reasons=(Reason.PLAN,),
        )


def _why_other(start: RunStarted, command: Command) -> str:
    """Return why a plan was not made for what a command is given; "" where it was."""
    if frozenset(start.organizations) != command.policy.organization_ids:
        return "The plan was created for other organizations than the policy's."
    if start.base_url != command.base_url:
        return f"The plan was created for {start.base_url}, not {command.base_url}."
    if start.policy_sha256 != command.policy.sha256:
        return "The plan was created with another policy."
    return ""


def why_expired(start: RunStarted, *, max_age: timedelta, now: datetime) -> str:
    """Return why the instant of a dry run forbids to apply its plan now; "" where it does not.

    Exactly `max_age` old is still valid.
    """
    created_at = parse_timestamp(start.now)
    if created_at is None:
        return f"The plan's creation time {truncate(start.now, 40)!r} cannot be read."
    # The clocks of the machines that plan and apply may differ as much as one may from Atlas's.
    if created_at > now + timedelta(seconds=MAX_CLOCK_SKEW_S):
        return f"The plan's creation time {start.now} is more than 5 minutes ahead."
    age = now - created_at
    if age > max_age:
        return (
            f"The plan is too old: it was created over {describe_duration(age)} ago, "
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
        if outcome is Outcome.ACCEPTED_DURING:
            outcome = Outcome.FAILED
        self._window.append(outcome)
        self._counts[outcome] += 1
        if len(self._window) > self._limits.breaker_window:
            self._counts[self._window.popleft()] -= 1
        self._seen += 1
        self._failed += outcome is Outcome.FAILED
        self.reason = self._why_open()
        return self.reason is not None

    def _why_open(self) -> str | None:
        """Return why the outcomes so far are too bad to go on; None where they are not."""
        limits = self._limits
        if self._seen == limits.canary:
            if self._failed * 2 <= self._seen:
                return None
            return f"{self._failed} of the first {self._seen} deletions (the canary) failed."
        # Of a few outcomes, one is a large share: nothing is judged before the window is full.
        if len(self._window) != limits.breaker_window:
            return None
        for outcome, did, key in _JUDGED:
            count = self._counts[outcome]
            share = getattr(limits, key)
            if count and count > Fraction(str(share)) * limits.breaker_window:
                found = f"{count} of the last {len(self._window)} deletions {did}"
                return f"{found}, over {key}: {share}."
        return None
