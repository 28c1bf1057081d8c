from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invite_sweeper.atlas.client import ServerInfo
from invite_sweeper.atlas.endpoints import LIST_GROUPS
from invite_sweeper.atlas.http import parse_date_header, parse_int_header, retry_after_s
from invite_sweeper.atlas.limits import clamp_wait_s

NOW = datetime(2026, 11, 25, 1, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("raw", "wait_s"),
    [
        ("55", 55.0),
        (" 55 ", 55.0),
        ("2.5", 2.5),
        ("1", 1.0),
        ("0", 1.0),
        ("-5", 1.0),
        ("120", 120.0),
        ("121", 120.0),
        ("86400", 120.0),
        ("inf", 120.0),
        ("1e400", 120.0),
        ("nan", None),
        ("", None),
        ("soon", None),
        ("Wed, 25 Nov 2026 01:00:40 GMT", 40.0),
        ("Wed, 25 Nov 2026 01:00:40 -0000", 40.0),
        ("Tue, 24 Nov 2026 01:00:00 GMT", 1.0),
        ("Fri, 25 Dec 2026 01:00:00 GMT", 120.0),
        ("Wed, 99 Nov 2026 01:00:40 GMT", None),
    ],
)
def test_retry_after_is_1_to_120_seconds_or_none(raw, wait_s):
    assert retry_after_s({"Retry-After": raw}, lambda: NOW) == wait_s


def test_missing_retry_after_is_none():
    assert retry_after_s({}, lambda: NOW) is None


@given(st.text(max_size=40))
def test_any_retry_after_is_1_to_120_seconds_or_none(raw):
    wait_s = retry_after_s({"Retry-After": raw}, lambda: NOW)

    assert wait_s is None or 1.0 <= wait_s <= 120.0


@given(st.floats())
def test_clamped_wait_is_1_to_120_seconds_or_none(wait_s):
    clamped = clamp_wait_s(wait_s)

    assert clamped is None or 1.0 <= clamped <= 120.0


@pytest.mark.parametrize(
    ("raw", "count"),
    [
        ("0", 0),
        ("1194", 1194),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("\u0661", None),
        ("9" * 9, 999_999_999),
        ("9" * 10, None),
    ],
)
def test_number_of_requests_is_from_0_to_9_digits_or_none(raw, count):
    assert parse_int_header({"RateLimit-Limit": raw}, "RateLimit-Limit") == count


@pytest.mark.parametrize(
    ("raw", "timestamp"),
    [
        ("Thu, 1 Jul 2027 00:00:00 GMT", datetime(2027, 7, 1, tzinfo=UTC)),
        ("Thu, 01 Jul 2027 02:00:00 +0200", datetime(2027, 7, 1, tzinfo=UTC)),
        ("Thu, 1 Jul 2027 00:00:00 -0000", datetime(2027, 7, 1, tzinfo=UTC)),
        ("@1688169599", None),
        ("", None),
        ("never", None),
        ("Fri, 31 Dec 9999 23:59:59 -1400", None),
    ],
)
def test_date_header_is_a_timestamp_in_utc_or_none(raw, timestamp):
    assert parse_date_header({"Sunset": raw}, "Sunset") == timestamp


def test_clock_skew_is_from_the_first_successful_response_with_a_date():
    server = ServerInfo(lambda: NOW)

    server.update({"Date": "Wed, 25 Nov 2026 02:00:00 GMT"}, LIST_GROUPS, good=False)
    assert server.clock_skew_s is None
    server.update({}, LIST_GROUPS, good=True)
    server.update({"Date": "some day"}, LIST_GROUPS, good=True)
    assert server.clock_skew_s is None
    server.update({"Date": "Wed, 25 Nov 2026 00:54:59 GMT"}, LIST_GROUPS, good=True)
    server.update({"Date": "Wed, 25 Nov 2026 02:00:00 GMT"}, LIST_GROUPS, good=True)
    assert server.clock_skew_s == 301.0


def test_last_readable_sunset_is_kept():
    server = ServerInfo(lambda: NOW)

    server.update({"Sunset": "Thu, 1 Jul 2027 00:00:00 GMT"}, LIST_GROUPS, good=True)
    server.update({"Sunset": "Wed, 1 Sep 2027 00:00:00 GMT"}, LIST_GROUPS, good=False)
    server.update({"Sunset": "one day"}, LIST_GROUPS, good=True)
    server.update({}, LIST_GROUPS, good=True)

    assert server.sunsets == {LIST_GROUPS: date(2027, 9, 1)}
