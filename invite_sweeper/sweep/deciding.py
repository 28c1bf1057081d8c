"""Decide what follows from what one organization showed: a function of values.

Every entry of a list is decided; `invitations.combine` makes invitations of those of one person.
Entries are counted by list, all else by invitation. Of a list that was not read, no entry is
decided. Where it may show people, the invitations to its organization are kept (`list_unread`).

The order in which lists and rows came decides nothing: what becomes a line of the log is sorted.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import chain
from typing import Any, Final

from msgspec import structs

from invite_sweeper.atlas.responses import is_role_missing
from invite_sweeper.audit import OpenIntent, SavedPlan
from invite_sweeper.audit.events import (
    Announced,
    AnnouncementEnded,
    AnnouncementKey,
    Event,
    Kept,
    Planned,
    RunWarning,
    WouldBeAnnounced,
    announcement_key,
)
from invite_sweeper.endings import WarningCode, WarningLevel
from invite_sweeper.json_text import parse_timestamp, rfc3339
from invite_sweeper.models import (
    Invitation,
    InvitationKey,
    Invitations,
    ListRef,
    ListUnreadable,
    MembershipStatus,
    PersonKey,
    ProjectGone,
    Source,
    SourceRetired,
)
from invite_sweeper.outcomes import Counts, Outcome
from invite_sweeper.sweep.command import Command
from invite_sweeper.sweep.conditions import ActiveMembers
from invite_sweeper.sweep.dates import Dates, secret_warnings
from invite_sweeper.sweep.invitations import combine, identities, may_show_people
from invite_sweeper.sweep.plan import (
    Decided,
    DecidedDates,
    OrganizationRead,
    ReadLists,
)
from invite_sweeper.sweep.recovery import recover
from invite_sweeper.sweep.scope import RunScope
from invite_sweeper.sweep.selection import Announcement, Decision, Selector
from invite_sweeper.sweep.steps import KeepOutsidePlan, Notice, Step
from invite_sweeper.text import plural_form, pluralize

_WEEK: Final = timedelta(days=7)
_MONTH: Final = timedelta(days=30)


def decide(
    read: OrganizationRead,
    command: Command,
    *,
    ended: Collection[Source] = (),
    opened: Sequence[OpenIntent] = (),
) -> Decided:
    """Return the decision about every invitation of an organization, and what follows from it.

    Of an organization that failed, nothing is decided.

    Args:
        ended: The lists whose last day has come that Atlas announced.
        opened: What earlier runs left open in the organization.
    """
    outside_plan = _outside_plan(read.organization.id, command.saved)
    steps = [step for step in (command.notice, outside_plan) if step is not None]
    decided = Decided(
        read.organization,
        read.returned_name,
        read.scope,
        read.error,
        counts=Counts(projects_seen=read.scope.projects_seen if read.scope is not None else 0),
        dates=DecidedDates(credentials_expire=min(_live_secrets(read, command.now), default=None)),
        warnings=(*_warnings_of_account(read, command), *_warnings_of_people(read)),
    )
    if read.scope is not None and read.error is None:
        decided = _with_decisions(decided, read, read.scope, command, steps, ended)
        decided = _with_recovered(decided, read, opened)
    if outside_plan is not None:
        decided = structs.replace(decided, outside_plan=outside_plan.left())
    return decided


def lines_of(decided: Decided, command: Command) -> Iterator[Event]:
    """Yield the lines of the log about what was decided, but for those of the plan."""
    yield from decided.recovered
    yield from decided.lists.unread
    yield from decided.lists.retired.values()
    records_kept = command.policy.audit.record == "all"  # else no line names what is kept
    recorded = [
        decision
        for decision in decided.decisions
        if decision.announcement is not None or (records_kept and not decision.stale)
    ]
    for decision in sorted(recorded, key=_order):
        if decision.announcement is not None:
            yield from _lines_of_announcement(decision, decision.announcement, command)
        reason = decision.keep_reason
        if records_kept and reason is not None:
            kept = decision.invitation.recorded(command.now, decision.entries)
            yield Kept.of(kept, reason, decision.unread, decision.outside)


def _lines_of_announcement(
    decision: Decision, announcement: Announcement, command: Command
) -> Iterator[Event]:
    """Yield which announcements a decision ends, or that the invitation is announced."""
    now = command.now
    if not command.dry_run:  # a dry run ends no announcement
        for entry in announcement.ended_entries:
            ended = entry.recorded(now)
            yield ended.as_event(AnnouncementEnded, reason=decision.keep_reason)
    due_at = announcement.deletable_from
    if announcement.rule is None or due_at is None:  # an earlier sweep announced it
        return
    kind: type[Announced | WouldBeAnnounced] = WouldBeAnnounced if command.dry_run else Announced
    announced = decision.invitation.recorded(now)
    yield announced.as_event(kind, rule=announcement.rule, deletable_from=rfc3339(due_at))


def _order(decision: Decision) -> tuple[str, ...]:
    """Sort decisions: the result depends on what they are about, and not on when it was read."""
    invitation = decision.invitation
    # Entries without an id differ in other fields.
    return *invitation.key, invitation.username or "", invitation.created_at or ""


def _live_secrets(read: OrganizationRead, now: datetime) -> list[datetime]:
    """Return when those secrets end that have not ended yet."""
    return [ends_at for ends_at in read.secret_ends if ends_at > now]


def _outside_plan(org_id: str, saved: SavedPlan | None) -> KeepOutsidePlan | None:
    """Return the step that keeps what a saved plan does not list; None without a plan."""
    if saved is None:
        return None
    return KeepOutsidePlan(planned for planned in saved.planned if planned.org_id == org_id)


def _with_decisions(
    decided: Decided,
    read: OrganizationRead,
    scope: RunScope,
    command: Command,
    steps: Sequence[Step],
    ended: Collection[Source],
) -> Decided:
    """Add the decisions about the lists of an organization to what was decided about it."""
    policy, now = command.policy, command.now
    members = read.members if isinstance(read.members, ActiveMembers) else None
    selector = Selector(
        policy,
        now,
        {decided.id: members} if members is not None else {},
        {decided.id: read.returned_name} if read.returned_name is not None else {},
    )
    refs = scope.lists(policy.sources)
    lists = _read_lists(read, scope, refs, policy.sources)
    unread = _lists_that_may_show_others(lists, ended)
    by_policy = _decide_by_policy(read, scope, refs, selector, unread)
    decisions = by_policy
    for step in steps:  # each can only keep more
        decisions = [step(decision) for decision in decisions]
    deletable = _deletable(decisions, now)
    dates = structs.replace(
        decided.dates,
        oldest=_oldest_pending(read, lists, now),
        next_due=min(_ends_of_waits(decisions), default=None),
    )
    if command.dry_run:  # a sweep acts on what is stale now alone
        dates = _with_forecast(dates, by_policy, Dates(policy, selector, now), now)
    return structs.replace(
        decided,
        members=members,
        lists=lists,
        decisions=decisions,
        deletable=deletable,
        absent=frozenset(_absent(deletable, read, lists)),
        seen=frozenset(_seen(decisions, command.notice)),
        counts=decided.counts.plus(
            projects_gone=_count_gone(read, scope),
            projects_unreadable=len(lists.unread),
            missing_role=sum(map(is_role_missing, lists.unread)),
            **_counts_of(decisions, lists),
        ),
        dates=dates,
    )


def _with_recovered(
    decided: Decided, read: OrganizationRead, opened: Sequence[OpenIntent]
) -> Decided:
    """Add what became of the deletions that earlier runs left open."""
    recovered = recover(opened, read.lists)
    # An invitation that is still listed was not deleted: this run plans it anew.
    gone = [line for line in recovered.lines if line.outcome == Outcome.ALREADY_GONE]
    return structs.replace(
        decided,
        recovered=recovered.lines,
        counts=decided.counts.plus(recovered=len(gone)),
        warnings=(*decided.warnings, *recovered.warnings),
    )


def _ends_of_waits(decisions: Iterable[Decision]) -> Iterator[datetime]:
    """Yield when invitations that are announced may be deleted."""
    for decision in decisions:
        announcement = decision.announcement
        if announcement is not None and announcement.deletable_from is not None:
            yield announcement.deletable_from


def _read_lists(
    read: OrganizationRead, scope: RunScope, refs: Iterable[ListRef], sources: Iterable[Source]
) -> ReadLists:
    """Return which lists of a scope were read, in its order."""
    entries: dict[ListRef, int] = {}
    unread = [*scope.unread(sources)]
    retired: dict[Source, SourceRetired] = {}
    for ref in refs:
        answer = read.lists[ref.key]
        if isinstance(answer, SourceRetired):
            retired[ref.source] = answer
        elif isinstance(answer, ListUnreadable):
            unread.append(answer)
        elif isinstance(answer, tuple) and not scope.is_outside(ref):
            entries[ref] = len(answer)
    return ReadLists(entries, unread, retired)


def _count_gone(read: OrganizationRead, scope: RunScope) -> int:
    """Return how many projects in scope are gone; two lists of one may show it."""
    gone = {each.project_id for each in read.lists.values() if isinstance(each, ProjectGone)}
    return len(gone.intersection(project.id for project in scope.projects))


def _lists_that_may_show_others(lists: ReadLists, ended: Collection[Source]) -> tuple[str, ...]:
    """Return the lists that were not read and may show people whom no other list shows."""
    unread = [each for each in (*lists.unread, *lists.retired.values()) if may_show_people(each)]
    # A list that Atlas retired before the announced day: its people need not be in others yet.
    for source, retired in lists.retired.items():
        if not source.stands_for_itself and source not in ended:
            unread.append(retired)
    return tuple(dict.fromkeys(each.list_name for each in unread))


def _decide_by_policy(
    read: OrganizationRead,
    scope: RunScope,
    refs: Iterable[ListRef],
    selector: Selector,
    unread: tuple[str, ...],
) -> list[Decision]:
    """Return the decision of the policy about every invitation in scope.

    An entry of a project out of scope only keeps: it is counted nowhere, but in the invitation that
    it keeps. Entries of `invites` are invitations of their own.

    Args:
        unread: As `_lists_that_may_show_others` returns it.
    """
    invitations: list[Decision] = []
    of_people: list[Decision] = []
    keys_outside: set[InvitationKey] = set()
    for ref in refs:
        answer = read.lists[ref.key]
        if not isinstance(answer, tuple):
            continue
        if scope.is_outside(ref):
            of_people += map(_kept_outside, answer)
            keys_outside.update(entry.key for entry in answer)
        elif ref.source.stands_for_itself:
            invitations += map(selector.decide, _entries(read, scope, ref, answer))
        else:
            of_people += map(selector.decide, _entries(read, scope, ref, answer))
    for decision in combine(of_people, unread):
        entries = decision.all_entries
        # One whose entries are all in projects out of scope is not of this run.
        if all(entry.key in keys_outside for entry in entries):
            continue
        reaches_outside = decision.keep_reason == "reaches_out_of_scope"
        outside = scope.outside_names(entries) if reaches_outside else ()
        invitations.append(structs.replace(decision, outside=outside))
    return invitations


def _entries(
    read: OrganizationRead, scope: RunScope, ref: ListRef, rows: Invitations
) -> Iterator[Invitation]:
    """Yield the rows of a list with the projects that they link and the names of their inviters."""
    for row in rows:
        entry = scope.with_links(row, read.teams) if ref.source.is_organization_level else row
        key_name = read.key_names.get(entry.inviter or "")
        yield entry if key_name is None else structs.replace(entry, inviter_name=key_name)


def _kept_outside(entry: Invitation) -> Decision:
    """Return the decision to keep an entry in a project out of scope: no rule is asked."""
    outside = structs.replace(entry, links_out_of_scope=True)
    return Decision(outside, None, "reaches_out_of_scope")


def _deletable(decisions: Iterable[Decision], now: datetime) -> tuple[Planned, ...]:
    """Return the lines of what a sweep would delete without limits."""
    stale = (decision for decision in decisions if decision.rule is not None)
    deletable = [decision for decision in stale if not decision.waits]
    return tuple(
        decision.invitation.recorded(now, decision.entries).as_event(Planned, rule=decision.rule)
        for decision in sorted(deletable, key=_order)
    )


def _absent(
    deletable: Iterable[Planned], read: OrganizationRead, lists: ReadLists
) -> Iterator[InvitationKey]:
    """Yield what is deletable in projects of people whom no list of the organization shows.

    Where no list of the organization was read, nothing is known of that.
    """
    of_organization = [ref for ref in lists.entries if ref.source.is_organization_level]
    if not of_organization:
        return
    shown: set[PersonKey] = set()
    for entry in chain.from_iterable(read.rows(ref) for ref in of_organization):
        shown.update(identities(entry))
    for planned in deletable:
        if planned.source is Source.USERS and shown.isdisjoint(identities(planned)):
            yield planned.key


def _seen(decisions: Iterable[Decision], notice: Notice | None) -> Iterator[AnnouncementKey]:
    """Yield the announcements of the invitations that were found, but for those that ended."""
    if notice is None or not notice.announced:
        return
    for decision in decisions:
        key = announcement_key(decision.invitation)
        has_ended = decision.announcement is not None and decision.announcement.ended_entries
        if key in notice.announced and not has_ended:
            yield key


def _oldest_pending(read: OrganizationRead, lists: ReadLists, now: datetime) -> datetime | None:
    """Return when the oldest entry was sent that is PENDING and has not expired.

    Atlas never removes one that has: it would be the oldest for good.
    """
    oldest: datetime | None = None
    for ref in lists.entries:
        for entry in read.rows(ref):
            sent_at = entry.sent_at
            if sent_at is None or (oldest is not None and sent_at >= oldest):
                continue
            if entry.status != MembershipStatus.PENDING:
                continue
            expires_at = parse_timestamp(entry.expires_at)
            if expires_at is None or expires_at > now:
                oldest = sent_at
    return oldest


def _with_forecast(
    dates: DecidedDates, by_policy: Iterable[Decision], finder: Dates, now: datetime
) -> DecidedDates:
    """Add to the dates how many invitations that are not stale now will be soon."""
    within_7d = within_30d = 0
    for decision in by_policy:
        instant = None if decision.stale else finder.stale_by(decision, now + _MONTH)
        if instant is not None:
            within_30d += 1
            within_7d += int(instant <= now + _WEEK)
    return structs.replace(dates, stale_within_7d=within_7d, stale_within_30d=within_30d)


def _counts_of(decisions: Sequence[Decision], lists: ReadLists) -> dict[str, Any]:
    """Return the counts of what was decided: entries by list, all else by invitation."""
    by_source = Counter[str]()
    for ref, count in lists.entries.items():
        by_source[ref.source.value] += count
    kept_by_reason = Counter(
        decision.keep_reason for decision in decisions if decision.keep_reason is not None
    )
    kept = kept_by_reason.total()
    stale = len(decisions) - kept
    # Most invitations are neither announced nor were they: these are passed over at once.
    announced = [decision for decision in decisions if decision.announcement is not None]
    waiting = sum(decision.waits for decision in announced)
    announcements = [each.announcement for each in announced if each.announcement is not None]
    return {
        "invitations_by_source": by_source,
        "invitations_seen": len(decisions),
        "stale": stale,
        "due": stale - waiting,
        "waiting": waiting,
        "kept": kept,
        "kept_by_reason": kept_by_reason,
        "announced": sum(announcement.rule is not None for announcement in announcements),
    }


def _warnings_of_account(read: OrganizationRead, command: Command) -> Iterator[RunWarning]:
    """Warn of secrets that end, and where the credentials see over a tenth fewer projects."""
    yield from secret_warnings(_live_secrets(read, command.now), command.now)
    if read.scope is None:
        return
    seen = read.scope.projects_seen
    before = command.projects_seen_before(read.organization.id)
    if 10 * seen < 9 * before:
        yield RunWarning(
            WarningCode.FEWER_PROJECTS,
            f"The credentials of the organization {read.organization.label} see "
            f"{pluralize(seen, 'project')} in scope, and the last run saw {before:,}. If they "
            "still exist, check the roles of the credentials.",
            WarningLevel.URGENT,
        )


def _warnings_of_people(read: OrganizationRead) -> Iterator[RunWarning]:
    """Warn of members, teams and inviters that are not known."""
    label = read.organization.label
    if isinstance(read.members, ListUnreadable):
        yield RunWarning(
            WarningCode.MEMBERS,
            f"The active members of the organization {label} are not known: "
            f"{read.members.reason.rstrip('.')}. Nothing is deleted there by inviter_gone.",
        )
    unread = [teams for teams in read.teams.values() if isinstance(teams, ListUnreadable)]
    if unread:
        yield RunWarning(
            WarningCode.TEAMS,
            f"The teams of {pluralize(len(unread), 'project')} could not be read, so every "
            f"invitation with a team is kept. {unread[0].project_name}: {unread[0].reason} "
            "Reading teams requires the role Project Read Only.",
        )
    unknown = read.unknown_inviters
    if unknown:
        count = len(unknown)
        are = plural_form(count, "is", "are")
        yield RunWarning(
            WarningCode.MEMBERS,
            f"{pluralize(count, 'inviter')} in the organization {label} {are} not in the list of "
            "active members, and the answer for the name does not say whether they left: "
            f"{unknown[0].reason.rstrip('.')}. Their invitations are kept.",
        )
