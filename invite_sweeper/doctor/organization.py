"""Checks of `doctor` of one organization beyond its lists: events, secrets and domains.

Atlas's events are an account of who was invited that does not depend on any list.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from invite_sweeper.atlas.parsing import OrgEvent
from invite_sweeper.audit.events import AnnouncementKey
from invite_sweeper.doctor.diagnosis import Check, Completeness, failed, note, ok, warning
from invite_sweeper.errors import GuardRefused
from invite_sweeper.models import ListUnreadable, UserKey
from invite_sweeper.policy import Limits
from invite_sweeper.sweep.guards import check_members
from invite_sweeper.sweep.members import MemberLists
from invite_sweeper.sweep.sunset import secret_warnings
from invite_sweeper.text import (
    casefold_visible,
    describe_duration,
    plural_form,
    pluralize,
    shorten_list,
)

EVENT_DAYS: Final = 30
"""The lifetime of an invitation: users invited earlier have joined, or can no longer."""
_MAX_NAMED: Final = 10
_INVITED, _JOINED = "INVITED_TO_ORG", "JOINED_ORG"


def explain_invited(
    org_id: str,
    events: Iterable[OrgEvent],
    listed: Collection[UserKey],
    is_gone: Callable[[UserKey], bool],
    *,
    lists_complete: bool,
) -> Completeness:
    """Return what became of the users that the events of an organization name as invited.

    Args:
        org_id: The organization.
        events: Of the last 30 days.
        listed: Whom any list shows.
        is_gone: Returns whether the audit log says that a user's invitation was deleted.
        lists_complete: Whether every list could be read.
    """
    by_kind: dict[str, set[str]] = {_INVITED: set(), _JOINED: set()}
    for event in events:
        if event.username is not None and event.kind in by_kind:
            by_kind[event.kind].add(event.username)
    invited, joined = by_kind[_INVITED], by_kind[_JOINED]
    in_lists = invited & {name for each, name in listed if each == org_id}
    joined = (invited & joined) - in_lists
    rest = invited - in_lists - joined
    gone = {name for name in rest if is_gone((org_id, name))}
    return Completeness(
        org_id,
        invited=len(invited),
        listed=len(in_lists),
        joined=len(joined),
        deleted=len(gone),
        unexplained=sorted(rest - gone),
        lists_complete=lists_complete,
    )


def completeness_check(found: Completeness) -> Check:
    """Check that every invitation of Atlas's events is in a list, was accepted or was deleted."""
    name, invited = "events", pluralize(found.invited, "address", "addresses")
    message = (
        f"Atlas's events of the last {EVENT_DAYS} days name {invited} as invited: {found.listed} "
        f"in the lists, {found.joined} joined, {found.deleted} deleted according to the audit log"
    )
    left = found.unexplained
    if not left:
        return ok(name, f"{message}.")
    where = "no list" if found.lists_complete else "no list that could be read"
    return warning(
        name,
        f"{message}; {len(left)} {plural_form(len(left), 'is', 'are')} in {where}: "
        f"{shorten_list(left, _MAX_NAMED)}.",
        "Deletions with an API key or a service account are not among the events: ask who else "
        "deletes invitations.",
    )


def secret_check(expiries: Sequence[datetime], now: datetime) -> Check | None:
    """Check when the secret of the service account ends; None for other credentials."""
    live = [each for each in expiries if each > now]
    if not live:
        return None
    for each in secret_warnings(expiries, now):
        return warning("secret", each.message, "Create a new secret and store it.")
    return ok("secret", f"The secret of the service account ends on {live[0]:%Y-%m-%d}.")


def domain_check(domains: Collection[str], org_id: str, listed: Collection[UserKey]) -> Check:
    """Check that invited addresses are in the domains that a federated organization accepts."""
    name = "domains"
    if not domains:
        return ok(name, "The organization accepts addresses of all domains.")
    allowed = {casefold_visible(each) for each in domains}
    addresses = (each for organization, each in listed if organization == org_id)
    outside = sorted(
        each for each in addresses if "@" in each and each.rpartition("@")[2] not in allowed
    )
    if not outside:
        return ok(name, "Every invited address is in a domain that the organization accepts.")
    count, names = (
        pluralize(len(outside), "address", "addresses"),
        shorten_list(outside, _MAX_NAMED),
    )
    return warning(
        name,
        f"{count} outside the domains that the organization accepts "
        f"({', '.join(sorted(allowed))}) can probably never accept: {names}.",
        "This is inferred from the allow list of the federation. Delete them, or add the domain.",
    )


def member_checks(
    found: MemberLists, earlier: Mapping[str, int], limits: Limits, labels: Mapping[str, str]
) -> Iterator[Check]:
    """Yield whether `inviter_gone` can be judged; nothing where no entry has it."""
    try:
        check_members(earlier, found.listed, limits, labels)
    except GuardRefused as error:
        yield failed("members", error)
    for problem in found.problems:
        yield warning("members", problem, "The list requires the role Organization Member.")
    for org_id, names in found.members.items():
        members = pluralize(len(names), "active member")
        yield ok("members", f"{members} of organization {org_id}, by whom inviter_gone is judged.")


def notice_check(
    wait: timedelta,
    announced: Mapping[AnnouncementKey, datetime],
    organizations: Collection[str],
    now: datetime,
) -> Check:
    """Return how many invitations wait by the policy's `notice`, and until when."""
    instants = [at for (_, org_id, *_), at in announced.items() if org_id in organizations]
    waiting = sorted(at for at in instants if now - wait < at <= now)
    period = f"An invitation is deleted {describe_duration(wait)} after its announcement at the"
    if not instants:
        return ok("notice", f"{period} earliest; none is announced yet: a sweep deletes none.")
    over = pluralize(sum(at <= now - wait for at in instants), "other")
    verb = plural_form(len(waiting), "waits", "wait")
    until = f", the first until {waiting[0] + wait:%Y-%m-%d %H:%M} UTC" if waiting else ""
    return ok(
        "notice",
        f"{period} earliest. {pluralize(len(waiting), 'announced invitation')} {verb}{until}; "
        f"the notice of {over} is over: a sweep deletes those that are still listed and stale.",
    )


def unreadable_check(name: str, found: ListUnreadable) -> Check:
    """Return the check of something that the credentials may not read, or Atlas did not send."""
    return note(name, f"Not known. {found.reason}")
