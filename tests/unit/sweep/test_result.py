"""The last line of a run: warnings, what ends, reasons, and the exit code that follows."""

from collections import Counter
from datetime import UTC, date, datetime, timedelta

import pytest
from builders import ORG, OTHER_ORG, PROJECT, policy, project
from known_atlas import official_document
from reviewed import assert_reviewed
from sweep.fakes import FakeAtlas
from sweep.night import Earlier, QuietView, command_of

from invite_sweeper.endings import Reason
from invite_sweeper.errors import AtlasUnavailable, CredentialsRefused, GuardRefused
from invite_sweeper.models import ListRef, ListUnreadable, Source, SourceRetired, hint_without
from invite_sweeper.outcomes import Counts, Outcome
from invite_sweeper.sweep.dates import LAST_KNOWN_ENDS, secret_warnings, sunset_warnings
from invite_sweeper.sweep.plan import AtlasOrganization, Decided, OrganizationPlan, ReadLists, Swept
from invite_sweeper.sweep.result import Result
from invite_sweeper.sweep.scope import RunScope

NOTHING = {}
UNAVAILABLE = AtlasUnavailable("-")
REFUSED = GuardRefused("-")


def result_of(*parts, stopped_by=(), **options):
    keys = options.pop("policy", {})
    command = command_of(policy(organizations=[ORG, OTHER_ORG], **keys), **options)
    decided = tuple(each for each, _ in parts)
    result = Result(command, [each.organization for each in decided], QuietView())
    result.decided = decided
    result.plans = tuple(OrganizationPlan(each, ()) for each in decided if each.error is None)
    result.swept = {each.id: swept for each, swept in parts}
    result.plan_made = True
    result.stopped_by.extend(stopped_by)
    return result


def organization(org_id=ORG, *, client=None, error=None, lists=NOTHING, **counts):
    who = AtlasOrganization(org_id, client or FakeAtlas())
    outcomes = {each: counts.pop(each) for each in Outcome if each in counts}
    of_lists = {"lists": ReadLists(**lists)} if lists else {}
    scope = RunScope(org_id)
    return Decided(who, scope=scope, counts=Counts(**counts), error=error, **of_lists), Swept(
        Counter(outcomes)
    )


def failed(*errors):
    return [organization(id_, error=e) for id_, e in zip((ORG, OTHER_ORG), errors, strict=True)]


def client(requests=0, **sunsets):
    found = FakeAtlas()
    found.counters.requests = requests
    found.sunsets = {Source(each): day for each, day in sunsets.items()}
    return found


def reading_of(*sources):
    return {"policy": {"sources": list(sources)}}


SHARED = client(7)
SUNSETS = [organization(client=client(invites=date(2027, 7, 1), org_invites=date(2027, 6, 1)))]
OLDER = ("invites", "org_invites")
UNREAD = {"unread": [ListUnreadable(PROJECT, "p", "503", org_id=ORG)]}
RETIRED = {"retired": {Source.USERS: SourceRetired("", "", "410", source=Source.USERS)}}
READ = {"entries": {ListRef(project(n), Source.INVITES): n for n in (1, 2)}}
CODE = {"detailed_exit_code": True}
RESULTS = {
    "nothing to do": ([organization()], {}),
    "all that ends an invitation": (
        [organization(deleted=3, already_gone=2, changed=1, accepted_before=1)],
        {},
    ),
    **{
        f"one is {outcome}": ([organization(**{outcome: 1})], {})
        for outcome in ("failed", "unknown", "skipped")
    },
    "a project that is not readable": ([organization(projects_unreadable=1)], {}),
    "a missing role": ([organization(missing_role=1)], {}),
    "a list that ended in the sweep": ([organization()], {"stopped_by": [Reason.RETIRED_SOURCE]}),
    "one of two organizations failed": (failed(None, UNAVAILABLE), {}),
    "both failed, unavailable and refused": (failed(UNAVAILABLE, REFUSED), {}),
    "both failed, refused and credentials": (failed(REFUSED, CredentialsRefused("-")), {}),
    "a plan with a detailed exit code": ([organization(stale=1)], {"dry_run": True, **CODE}),
    "a sweep with one": ([organization(stale=1)], CODE),
    "credentials of two": ([organization(id_, client=SHARED) for id_ in (ORG, OTHER_ORG)], {}),
    "a list unread, another ended": (
        [organization(lists=READ | UNREAD | RETIRED)],
        reading_of("invites", "users"),
    ),
    "another ended alone": ([organization(lists=READ | RETIRED)], reading_of("invites", "users")),
    "older lists that end": (SUNSETS, reading_of(*OLDER)),
    "of which org_users replaces one": (SUNSETS, reading_of(*OLDER, "org_users")),
    "of which each is replaced": (SUNSETS, reading_of(*OLDER, "users", "org_users")),
}


def test_last_line_of_a_run_is_as_it_was_reviewed():
    """A run fails only if every organization did, and then with the highest code."""
    parts = []
    for name, (found, options) in RESULTS.items():
        end = result_of(*found, **options).finished()
        parts += [
            f"== {name}",
            f"    exit {end.exit_code} {[*map(str, end.reasons)]}, complete {end.plan_complete}",
            f"    requests {end.requests}, ends {end.sunset} {end.sunsets}",
        ]
        for one in end.organizations:
            parts.append(f"    {one.exit_code} {one.plan_made} {one.requests}")
        for one in end.lists:
            parts.append(f"    {one.source} {one.complete} {one.entries} {one.unread}")
    assert_reviewed("\n".join(parts) + "\n", __file__, "results.txt")


@pytest.mark.parametrize("several", [False, True])
def test_refused_credentials_are_named_by_their_variables_and_of_several_by_the_organization(
    several,
):
    found = [organization()] + [organization(OTHER_ORG)] * several
    owner = AtlasOrganization(ORG, None, ("MONGODB_ATLAS_CLIENT_ID_A", "MONGODB_ATLAS_B"), "Acme")
    error = result_of(*found).error_in(owner, CredentialsRefused("Refused."))
    assert "those of MONGODB_ATLAS_CLIENT_ID_A and MONGODB_ATLAS_B." in error.hint
    there = " there" if several else ""
    assert error.consequence == f"Nothing was deleted{there}."
    assert error.organization == (f"Acme ({ORG})" if several else "")


TODAY = date(2026, 11, 25)
LAST_DAY = date(2027, 7, 1)


def report(source, today, *, recorded=NOTHING, sunsets=NOTHING):
    """Return the warning about a retired list, and whether it is a reason of the run's end."""
    history = Earlier()
    history.sunsets = lambda _base_url: recorded
    now = datetime(today.year, today.month, today.day, tzinfo=UTC)
    command = command_of(policy(sources=[str(source)]), now=now, history=history)
    organization = AtlasOrganization(ORG, client(**sunsets))
    retired = {source: SourceRetired("", "", "It is retired.", 410, source=source)}
    result = Result(command, [organization], QuietView())
    result.report_ends([Decided(organization, lists=ReadLists(retired=retired))])
    return result.warnings[-1:], bool(result.stopped_by)


def ends():
    """Yield the warnings of a list and of a secret by the days that are left.

    Of a list, nothing has to change where the policy reads all lists that replace it.
    """
    for days in (181, 180, 31, 30, 1, 0, -9):
        sunsets = {Source.INVITES: TODAY + timedelta(days=days)}
        for sources in ([Source.INVITES, Source.USERS], list(Source)):
            words = f"invites in {days} days, and the policy reads {', '.join(sources)}"
            yield words, sunset_warnings(sunsets, sources, TODAY)
    now = datetime(2026, 11, 25, 3, tzinfo=UTC)
    left = [timedelta(days=days, hours=1) for days in (15, 14, 3, 2, 0)]
    for each in (*left, timedelta(days=15), timedelta(days=3)):
        yield f"a secret in {each}", secret_warnings([now + each], now)
    both = [now + timedelta(days=days) for days in (1, 90)]
    yield "two secrets in 1 and 90 days", secret_warnings(both, now)
    for source in Source:
        for days in (-1, 0, 1):
            sunsets = {source.value: TODAY + timedelta(days=days)}
            words = f"{source} is retired {days} days before the announced end"
            yield words, report(source, TODAY, sunsets=sunsets)[0]


def test_what_is_told_of_ends_is_as_it_was_reviewed():
    """A list from 180 days on and urgently from 30, a secret from 14 days on and from 3."""
    parts = []
    for words, warnings in ends():
        shown = [f"    {each.level} {each.code}: {each.message}" for each in warnings]
        parts += [words, *(shown or ["    nothing"])]
    assert_reviewed("\n".join(parts) + "\n", __file__, "ends.txt")


def test_sources_without_a_retired_list_keep_the_others_and_have_what_replaces_it():
    hint = hint_without([Source.ORG_INVITES], [Source.ORG_INVITES, Source.INVITES])
    assert hint == "In the policy, write `sources: [invites, org_users]`."


def test_retired_list_has_ended_from_the_announced_or_last_known_day_on_and_else_is_unread():
    """An announcement of this run counts before the recorded one, and that before the known day."""
    recorded = {"recorded": {Source.INVITES: date(2028, 1, 1)}}
    current = {**recorded, "sunsets": {"invites": date(2028, 2, 2)}}
    for source, given, day in (
        (Source.INVITES, {}, LAST_DAY),
        (Source.ORG_INVITES, {}, LAST_DAY),
        (Source.USERS, {}, date.max),  # never
        (Source.ORG_USERS, {}, date.max),
        (Source.INVITES, recorded, date(2028, 1, 1)),
        (Source.INVITES, current, date(2028, 2, 2)),
    ):
        days = day - timedelta(days=1), day
        found = [report(source, today, **given)[1] for today in days]
        assert found == [True, day == date.max]


@pytest.mark.needs("document")
def test_last_known_day_is_the_one_in_the_document():
    document = official_document()
    for source, path in (
        (Source.INVITES, "/api/atlas/v2/groups/{groupId}/invites"),
        (Source.ORG_INVITES, "/api/atlas/v2/orgs/{orgId}/invites"),
    ):
        (content,) = document["paths"][path]["get"]["responses"]["200"]["content"].values()
        assert LAST_KNOWN_ENDS[source].isoformat() == content["x-sunset"]


def test_first_error_of_an_organization_is_the_one_that_it_has():
    assert (Swept(error=UNAVAILABLE) + Swept(error=REFUSED)).error is UNAVAILABLE
    assert (Swept() + Swept(error=REFUSED)).error is REFUSED
