"""The last line of a run: warnings, what ends, reasons, and the exit code that follows."""

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from builders import ORG, OTHER_ORG, PROJECT, object_id, policy, project
from official_document import official_document
from reviewed import assert_reviewed
from sweep.night import Earlier, FakeClient, QuietView, command_of

from invite_sweeper.audit.events import ListResult, RunWarning
from invite_sweeper.endings import Reason, WarningCode, WarningLevel
from invite_sweeper.errors import (
    AtlasUnavailable,
    CredentialsRefused,
    GuardRefused,
)
from invite_sweeper.models import ListRef, ListUnreadable, Source, SourceRetired, hint_without
from invite_sweeper.outcomes import Counts
from invite_sweeper.sweep.dates import LAST_KNOWN_ENDS, secret_warnings, sunset_warnings
from invite_sweeper.sweep.plan import AtlasOrganization, OrganizationPlan, Reading, ReadLists, Swept
from invite_sweeper.sweep.result import Result
from invite_sweeper.sweep.scope import RunScope

NOTHING = {}


def result_of(*parts, **options):
    """Return the result of organizations, each what was read and what became of it."""
    keys = options.pop("policy", {})
    command = command_of(policy(organizations=[ORG, OTHER_ORG], **keys), **options)
    readings = tuple(reading for reading, _ in parts)
    result = Result(command, [reading.organization for reading in readings], QuietView())
    result.readings = readings
    result.plans = tuple(OrganizationPlan(each, ()) for each in readings if each.error is None)
    result.swept = {reading.id: swept for reading, swept in parts}
    result.plan_made = True
    return result


def organization(org_id=ORG, *, outcomes=(), client=None, parts=NOTHING, **counts):
    """Return what was read of an organization, and what became of its plan."""
    who = AtlasOrganization(org_id, client or FakeClient(None))
    reading = Reading(who, scope=RunScope(org_id), counts=Counts(**counts), **parts)
    return reading, Swept(Counter(dict(outcomes)))


def ended(*organizations, stopped_by=(), error=None, **options):
    result = result_of(*organizations, **options)
    result.stopped_by.extend(stopped_by)
    result.error = error
    return result.finished()


# Exit codes and reasons --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "stopped_by", "code", "reasons"),
    [
        ({}, (), 0, ()),
        (
            {"outcomes": {"deleted": 3, "already_gone": 2, "changed": 1, "accepted_before": 1}},
            (),
            0,
            (),
        ),
        ({"outcomes": {"failed": 1}}, (), 4, (Reason.FAILED_DELETIONS,)),
        ({"outcomes": {"unknown": 1}}, (), 4, (Reason.UNKNOWN_DELETIONS,)),
        ({"outcomes": {"skipped": 1}}, (), 4, ()),
        ({"projects_unreadable": 1}, (), 4, (Reason.UNREADABLE_PROJECTS,)),
        ({"missing_role": 1}, (), 4, (Reason.MISSING_ROLE,)),
        ({}, [Reason.RETIRED_SOURCE], 4, (Reason.RETIRED_SOURCE,)),
    ],
)
def test_exit_code_follows_from_what_was_not_done(found, stopped_by, code, reasons):
    finished = ended(organization(**found), stopped_by=stopped_by)
    assert (finished.exit_code, finished.reasons) == (code, reasons)
    assert [each.exit_code for each in finished.organizations] == [code]


@pytest.mark.parametrize(
    ("errors", "code"),
    [
        ((None, AtlasUnavailable("-")), 4),
        ((AtlasUnavailable("-"), GuardRefused("-")), 6),
        ((GuardRefused("-"), CredentialsRefused("-")), 5),
        ((GuardRefused("-"), GuardRefused("-")), 3),
    ],
)
def test_run_fails_only_if_every_organization_did_and_then_with_the_highest_code(errors, code):
    own = [
        organization(id_, parts={"error": e})
        for id_, e in zip((ORG, OTHER_ORG), errors, strict=True)
    ]
    finished = ended(*own)
    codes = [0 if each is None else int(each.exit_code) for each in errors]
    assert (finished.exit_code, [e.exit_code for e in finished.organizations]) == (code, codes)
    assert finished.plan_complete is False
    assert [each.plan_made for each in finished.organizations] == [e is None for e in errors]


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


@pytest.mark.parametrize(
    ("found", "complete"),
    [
        ({}, True),
        ({"unread": [ListUnreadable(PROJECT, "p", "503", org_id=ORG)]}, False),
        ({"retired": {Source.INVITES: SourceRetired("", "", "410")}}, True),
    ],
)
def test_plan_is_complete_if_every_list_that_atlas_serves_was_read(found, complete):
    own = organization(parts={"lists": ReadLists(**found)})
    assert ended(own).plan_complete is complete
    assert ended(own, stopped_by=[Reason.RETIRED_SOURCE]).plan_complete is False


@pytest.mark.parametrize(("stale", "dry_run", "code"), [(1, True, 10), (0, True, 0), (1, False, 0)])
def test_detailed_exit_code_is_that_of_a_dry_run(stale, dry_run, code):
    finished = ended(organization(stale=stale), dry_run=dry_run, detailed_exit_code=True)
    assert finished.exit_code == code


def test_requests_of_credentials_count_once():
    client = FakeClient(None)
    client.counters.requests = 7
    finished = ended(*(organization(id_, client=client) for id_ in (ORG, OTHER_ORG)))
    assert (finished.requests, [each.requests for each in finished.organizations]) == (7, [7, 0])


def test_each_list_is_in_the_result_with_its_entries_and_what_was_not_read():
    places = [project(n) for n in (1, 2, 3)]
    lists = ReadLists(
        entries={ListRef(each, Source.INVITES): n for n, each in enumerate(places[:2])},
        unread=[ListUnreadable(places[2].id, "p", "503", org_id=ORG)],
        retired={Source.USERS: SourceRetired("", "", "410", source=Source.USERS)},
    )
    finished = ended(organization(parts={"lists": lists}), policy={"sources": ["invites", "users"]})
    assert finished.lists == (
        ListResult(
            org_id=ORG, source=Source.INVITES, complete=False, entries=1, unread=(object_id(3),)
        ),
    )


# What ends ----------------------------------------------------------------------------------------

REMARK = WarningLevel.REMARK
URGENT = WarningLevel.URGENT
TODAY = date(2026, 11, 25)


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


def test_what_is_told_of_ends_is_as_it_was_reviewed():
    """A list from 180 days on and urgently from 30, a secret from 14 days on and from 3."""
    parts = []
    for words, warnings in ends():
        shown = [f"    {each.level} {each.code}: {each.message}" for each in warnings]
        parts += [words, *(shown or ["    nothing"])]
    assert_reviewed("\n".join(parts) + "\n", Path(__file__).with_name("ends.txt"))


@pytest.mark.parametrize(
    ("retired", "sources", "left"),
    [
        ({"invites"}, ["invites"], "[users, org_users]"),
        ({"org_invites"}, ["org_invites", "invites", "org_users"], "[invites, org_users]"),
        ({"users"}, ["invites", "users"], "[invites]"),
        ({"users"}, ["users"], None),
    ],
)
def test_sources_without_retired_lists_have_what_replaces_them(retired, sources, left):
    hint = hint_without([*map(Source, sorted(retired))], [*map(Source, sources)])
    assert hint == (f"In the policy, write `sources: {left}`." if left else UPGRADE)


UPGRADE = "Upgrade this program: it uses a version of the list that Atlas retires."


@pytest.mark.parametrize(
    ("sources", "sunset"),
    [
        (["invites", "org_invites"], "2027-06-01"),
        (["invites", "org_invites", "org_users"], "2027-07-01"),  # org_users replaces org_invites
        (["invites", "org_invites", "users", "org_users"], None),
    ],
)
def test_sunset_is_the_first_day_on_which_a_list_ends_that_no_other_of_the_policy_replaces(
    sources, sunset
):
    client = FakeClient(None)
    client.sunsets = {Source.INVITES: date(2027, 7, 1), Source.ORG_INVITES: date(2027, 6, 1)}
    end = ended(organization(client=client), policy={"sources": sources})
    assert end.sunset == sunset
    assert end.sunsets == {"invites": "2027-07-01", "org_invites": "2027-06-01"}


def report(source, *, today=TODAY, recorded=None, sunsets=None):
    """Return the warning about a retired list, and whether it is a reason of the run's end."""
    history = Earlier()
    history.sunsets = lambda _base_url: recorded or {}
    command = command_of(
        policy(sources=[str(source)]),
        now=datetime(today.year, today.month, today.day, tzinfo=UTC),
        history=history,
    )
    organization = AtlasOrganization(ORG, FakeClient(None))
    organization.client.sunsets = sunsets or {}
    retired = {source: SourceRetired("", "", "It is retired.", 410, source=source)}
    result = Result(command, [organization], QuietView())
    result.report_ends([Reading(organization, lists=ReadLists(retired=retired))])
    return result.warnings[-1], result.stopped_by == [Reason.RETIRED_SOURCE]


@pytest.mark.parametrize(("days", "ended"), [(-1, True), (0, True), (1, False)])
def test_retired_source_is_urgent_before_the_announced_day_and_a_remark_from_then_on(days, ended):
    source = Source.ORG_INVITES
    warning, is_reason = report(source, sunsets={source: TODAY + timedelta(days=days)})
    if ended:
        message = f"It is retired, as announced. {source.replacement_hint()}"
    else:
        message = (
            "It is retired, before the day that was announced: it counts as not read. "
            "In the policy, write `sources: [org_users]`."
        )
    level = REMARK if ended else URGENT
    assert warning == RunWarning(WarningCode.RETIRED_SOURCE, message, level)
    assert is_reason is not ended


@pytest.mark.parametrize("source", Source)
def test_lists_without_an_announcement_end_on_the_last_known_day_and_lists_of_users_never(source):
    day = date(2027, 7, 1)
    is_older = source in {Source.INVITES, Source.ORG_INVITES}
    assert report(source, today=day - timedelta(days=1))[1]
    assert report(source, today=day)[1] is not is_older


@pytest.mark.needs("document")
def test_last_known_day_is_the_one_in_the_document():
    document = official_document()
    for source, path in (
        (Source.INVITES, "/api/atlas/v2/groups/{groupId}/invites"),
        (Source.ORG_INVITES, "/api/atlas/v2/orgs/{orgId}/invites"),
    ):
        (content,) = document["paths"][path]["get"]["responses"]["200"]["content"].values()
        assert LAST_KNOWN_ENDS[source].isoformat() == content["x-sunset"]


def test_announcement_of_this_run_counts_before_the_recorded_one_and_that_before_the_known_day():
    recorded = date(2028, 1, 1)
    current = date(2028, 2, 2)
    source = Source.INVITES
    for sunsets, day in (({}, recorded), ({source: current}, current)):
        given = {"recorded": {source: recorded}, "sunsets": sunsets}
        assert report(source, today=day - timedelta(days=1), **given)[1]
        assert not report(source, today=day, **given)[1]


def test_first_error_of_an_organization_is_the_one_that_it_has():
    first = AtlasUnavailable("First.")
    second = GuardRefused("Second.")
    assert (Swept(error=first) + Swept(error=second)).error is first
    assert (Swept() + Swept(error=second)).error is second
