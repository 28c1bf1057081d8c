"""What ends is said in time: lists of Atlas, and the secret of the service account."""

import json
from datetime import UTC, date, datetime, timedelta

import pytest
from builders import ORG, policy
from needs import DOCUMENT
from sweep.night import Earlier, FakeClient, QuietView, command_of

from invite_sweeper.audit.events import RunWarning
from invite_sweeper.endings import Reason, WarningCode, WarningLevel
from invite_sweeper.models import Source, SourceRetired
from invite_sweeper.sweep.command import Organization
from invite_sweeper.sweep.result import LAST_KNOWN_ENDS, Result, secret_warnings, sunset_warnings

REMARK, URGENT = WarningLevel.REMARK, WarningLevel.URGENT
TODAY = date(2026, 11, 25)


@pytest.mark.parametrize(
    ("days", "level"),
    [
        (181, None),
        (180, REMARK),
        (31, REMARK),
        (30, URGENT),
        (1, URGENT),
        (0, URGENT),
        (-9, URGENT),
    ],
)
def test_sunset_is_reported_from_180_days_before_and_urgent_from_30(days, level):
    found = list(sunset_warnings({Source.INVITES: TODAY + timedelta(days=days)}, [], TODAY))
    assert [each.level for each in found] == [level] * (level is not None)
    left = "in 1 day. " if days == 1 else f"in {days} days. "
    for each in found:
        assert "users and org_users instead of invites" in each.message
        assert (left in each.message) == (days > 0)


@pytest.mark.parametrize("days", [180, 30, 0, -9])
def test_sunset_is_a_remark_for_a_policy_that_reads_what_replaces_the_list(days):
    sunsets = dict.fromkeys((Source.INVITES, Source.ORG_INVITES), TODAY + timedelta(days=days))
    found = list(sunset_warnings(sunsets, list(Source), TODAY))
    assert [each.level for each in found] == [REMARK, REMARK]
    assert "The policy reads users and org_users already: nothing has" in found[0].message
    assert "The policy reads org_users already: nothing has to be changed." in found[1].message


def test_sunset_is_urgent_for_a_policy_that_reads_one_of_two_replacements():
    (found,) = sunset_warnings({Source.INVITES: TODAY}, [Source.INVITES, Source.USERS], TODAY)
    assert (found.level, "write users and org_users" in found.message) == (URGENT, True)


@pytest.mark.parametrize("source", Source)
def test_each_source_names_its_replacement_or_an_upgrade(source):
    hint = source.replacement_hint()
    assert ("Upgrade" in hint) == (source in {Source.USERS, Source.ORG_USERS})
    assert (f"instead of {source}." in hint) == (source in {Source.INVITES, Source.ORG_INVITES})


def report(source, *, today=TODAY, recorded=None, sunsets=None):
    """Return what is said of a retired list, and whether it is a reason of the run's end."""
    history = Earlier()
    history.sunsets = lambda _base_url: recorded or {}
    command = command_of(
        policy(sources=[str(source)]),
        now=datetime(today.year, today.month, today.day, tzinfo=UTC),
        history=history,
    )
    organization = Organization(ORG, FakeClient(None))
    organization.client.sunsets = sunsets or {}
    organization.retired[source] = SourceRetired("", "", "It is retired.", 410, source=source)
    result = Result(command, [organization], QuietView())
    result.report_ends([organization])
    return result.warnings[-1], result.stopped_by == [Reason.RETIRED_SOURCE]


@pytest.mark.parametrize(("days", "ended"), [(-1, True), (0, True), (1, False)])
def test_retired_source_is_urgent_before_the_announced_day_and_a_remark_from_then_on(days, ended):
    source = Source.ORG_INVITES
    warning, is_reason = report(source, sunsets={source: TODAY + timedelta(days=days)})
    when = "as announced" if ended else "before the day that was announced"
    message = f"It is retired, {when}. {source.replacement_hint()}"
    level = REMARK if ended else URGENT
    assert warning == RunWarning(WarningCode.RETIRED_SOURCE, message, level)
    assert is_reason is not ended


@pytest.mark.parametrize("source", Source)
def test_lists_without_an_announcement_end_on_the_last_known_day_and_lists_of_users_never(source):
    day, is_older = date(2027, 7, 1), source in {Source.INVITES, Source.ORG_INVITES}
    assert report(source, today=day - timedelta(days=1))[1]
    assert report(source, today=day)[1] is not is_older


@pytest.mark.needs("document")
def test_last_known_day_is_the_one_in_the_document():
    document = json.loads(DOCUMENT.read_text("utf-8"))
    for source, path in (
        (Source.INVITES, "/api/atlas/v2/groups/{groupId}/invites"),
        (Source.ORG_INVITES, "/api/atlas/v2/orgs/{orgId}/invites"),
    ):
        (content,) = document["paths"][path]["get"]["responses"]["200"]["content"].values()
        assert LAST_KNOWN_ENDS[source].isoformat() == content["x-sunset"]


def test_announcement_of_this_run_counts_before_the_recorded_one_and_that_before_the_known_day():
    recorded, current, source = date(2028, 1, 1), date(2028, 2, 2), Source.INVITES
    for sunsets, day in (({}, recorded), ({source: current}, current)):
        given = {"recorded": {source: recorded}, "sunsets": sunsets}
        assert report(source, today=day - timedelta(days=1), **given)[1]
        assert not report(source, today=day, **given)[1]


@pytest.mark.parametrize(("days", "warned"), [(15, False), (14, True), (0, True), (-1, False)])
def test_secret_of_the_credentials_is_reported_from_14_days_before_its_end(days, warned):
    now = datetime(2026, 11, 25, 3, tzinfo=UTC)
    found = secret_warnings([now + timedelta(days=days, hours=1)], now)
    assert [each.code for each in found] == [WarningCode.SECRET] * warned
    assert all(f"in {days} day" in each.message for each in found)


def test_second_secret_is_named_and_an_expired_one_is_not():
    now = datetime(2026, 11, 25, 3, tzinfo=UTC)
    days = [now + timedelta(days=each) for each in (-1, 1, 90)]
    (found,) = secret_warnings(days, now)
    assert found.message.startswith(
        "A secret of the service account ends on 2026-11-26, in 1 day; another one ends on "
        "2027-02-23. A new secret leaves the old one at most 7 days."
    )
