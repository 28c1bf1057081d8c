import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from invite_sweeper.atlas.responses import (
    ApiError,
    RequestFailed,
    Response,
    describe,
    fatal_error_for,
    first_request_error,
    is_already_gone,
    is_deleted,
    is_unauthenticated,
    one_line,
    parse_error,
)
from invite_sweeper.errors import ApiVersionRetired, AtlasUnavailable, CredentialsRefused
from invite_sweeper.models import Source

HTML = {"Content-Type": "text/html; charset=utf-8"}


def answer(status, code=None, *, headers=(), body=None, detail=None):
    if body is None:
        body = json.dumps({"error": status, "errorCode": code, "detail": detail}).encode()
    return Response(status, CIMultiDict(headers), body)


def test_the_code_of_the_body_comes_before_that_of_the_header():
    told = answer(404, "IN_BODY", headers={"x-error-code": "IN_HEADER"}, detail="Gone.")

    assert parse_error(told) == ApiError("IN_BODY", "Gone.", ())


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"null", b'{"errorCode":null}', b'{"errorCode":"x y"}']
)
def test_the_header_stands_in_where_the_body_says_nothing(body):
    headers = {"X-Error-Code": "IN_HEADER"}

    assert parse_error(answer(404, headers=headers, body=body)).code == "IN_HEADER"
    assert parse_error(answer(404, body=body)).code is None


def test_the_word_of_oauth_is_a_code_and_the_number_of_atlas_is_not():
    body = b'{"error":"invalid_client","error_description":"Invalid credentials provided."}'

    assert parse_error(answer(401, body=body)) == ApiError(
        "invalid_client", "Invalid credentials provided."
    )
    assert parse_error(answer(401, body=b'{"error":401}')).code is None


@given(st.binary(max_size=100))
def test_no_body_is_too_odd_for_an_error(body):
    assert parse_error(answer(500, body=body)).code is None or body


def test_a_detail_is_one_printable_line_of_bounded_length():
    assert one_line("a\nb\x1b[31mc\u202e") == "a b [31mc "
    assert one_line("x" * 300) == "x" * 300
    assert one_line("x" * 301) == "x" * 300 + "…"


TYPES = {
    None: True,
    "": True,
    "application/json": True,
    "Application/JSON; charset=utf-8": True,
    "application/vnd.atlas.2023-01-01+json;charset=utf-8": True,
    "text/html": False,
    "text/html; charset=utf-8": False,
    "text/plain": False,
    "text/json-of-sorts": False,
    "application/octet-stream": False,
    "text/plain; like=application/json": False,
}
"""Content types, and whether they are JSON, or none."""
PAGES = (
    "text/html",
    "TEXT/HTML",
    "text/html; charset=utf-8",
    " application/xhtml+xml ;charset=utf-8",
)


def typed(status, media_type, body=b""):
    headers = {} if media_type is None else {"Content-Type": media_type}
    return answer(status, headers=headers, body=body)


@pytest.mark.parametrize("media_type", dict.fromkeys([*TYPES, *PAGES]))
def test_204_is_done_and_404_is_gone_unless_they_come_as_a_page(media_type):
    is_page = media_type in PAGES
    assert is_deleted(typed(204, media_type)) is not is_page
    assert is_already_gone(typed(404, media_type)) is not is_page


@pytest.mark.parametrize("status", [200, 202])
@pytest.mark.parametrize(("media_type", "may_be"), TYPES.items())
def test_200_and_202_are_done_only_where_they_are_json(status, media_type, may_be):
    assert is_deleted(typed(status, media_type, b"{}")) is (may_be and bool(media_type))


@pytest.mark.parametrize("status", [200, 202])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html></html>",
        b"{",
        b"null",
        b"[]",
        b'"done"',
        b'{"error":404}',
        b'{"errorCode":"GROUP_NOT_FOUND"}',
        b'{"detail":"No such group."}',
        b'{"reason":"Not Found"}',
        b'{"error":"invalid_client","error_description":"no"}',
        b'{"errors":[]}',
        b'{"message":"try later"}',
    ],
)
def test_200_and_202_are_not_done_without_an_object_that_names_no_error(status, body):
    assert not is_deleted(typed(status, "application/json", body))


def test_200_is_not_done_where_a_header_names_an_error():
    headers = {"Content-Type": "application/json", "X-Error-Code": "GROUP_NOT_FOUND"}
    assert is_deleted(answer(200, headers={"Content-Type": "application/json"}, body=b"{}"))
    assert not is_deleted(answer(200, headers=headers, body=b"{}"))


@pytest.mark.parametrize("status", [201, 203, 205, 206, 301, 302, 400, 404, 500])
def test_a_deletion_is_not_done_with_these(status):
    assert not is_deleted(typed(status, "application/json"))


@pytest.mark.parametrize(
    ("status", "code", "gone"),
    [
        (404, None, True),
        (404, "GROUP_NOT_FOUND", True),
        (404, "UNEXPECTED_ERROR", True),
        (400, "INVALID_INVITATION_ID", True),
        (400, "ALREADY_EXPIRED", True),
        (400, "CANNOT_DELETE_ORG_INVITATION", False),
        (400, None, False),
        (409, "INVALID_INVITATION_ID", False),
        (410, None, False),
        (500, "ALREADY_EXPIRED", False),
    ],
)
def test_gone_is_404_or_a_400_that_says_so(status, code, gone):
    assert is_already_gone(answer(status, code)) is gone


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (401, None, None),
        (401, "UNEXPECTED_ERROR", None),
        (401, "USER_UNAUTHORIZED", None),
        (401, "NOT_IN_GROUP", None),
        (402, "ACCOUNT_SUSPENDED", AtlasUnavailable),
        (403, "IP_ADDRESS_NOT_ON_ACCESS_LIST", CredentialsRefused),
        (403, "IP_ADDRESS_NOT_ON_WHITELIST", CredentialsRefused),
        (403, "ORG_REQUIRES_WHITELIST", CredentialsRefused),
        (403, "RESOURCE_REQUIRES_ACCESS_LIST", CredentialsRefused),
        (403, "ACCESS_FORBIDDEN", None),
        (403, None, None),
        (404, None, None),
        (406, "INVALID_VERSION_DATE", AtlasUnavailable),
        (410, "VERSION_GONE", ApiVersionRetired),
        (429, "RATE_LIMITED", None),
        (500, "UNEXPECTED_ERROR", None),
    ],
)
def test_what_is_about_the_run_ends_it_and_nothing_else_does(status, code, error):
    found = fatal_error_for(answer(status, code))

    assert (type(found) if found else None) is error


@pytest.mark.parametrize("status", [403, 406, 410])
def test_what_ends_the_run_says_how_to_fix_it(status):
    code = "ORG_REQUIRES_ACCESS_LIST" if status == 403 else None

    assert fatal_error_for(answer(status, code)).hint


@pytest.mark.parametrize(
    ("status", "source", "hint"),
    [
        (410, Source.INVITES, "Under sources, write users and org_users instead of invites."),
        (410, Source.ORG_INVITES, "Under sources, write org_users instead of org_invites."),
        (410, Source.USERS, "Upgrade this program"),
        (410, None, "Upgrade invite-sweeper"),
        (406, Source.INVITES, "Upgrade invite-sweeper"),
    ],
)
def test_retired_list_is_mended_by_its_successor_and_a_dropped_version_by_an_upgrade(
    status, source, hint
):
    assert hint in fatal_error_for(answer(status), source).hint


def test_no_answer_is_not_about_the_run():
    assert fatal_error_for(RequestFailed("timed out after 120 s")) is None
    assert not is_unauthenticated(RequestFailed("timed out after 120 s"))


@pytest.mark.parametrize(
    ("result", "error", "words"),
    [
        (answer(401), CredentialsRefused, "401"),
        (answer(401, "USER_UNAUTHORIZED"), CredentialsRefused, "USER_UNAUTHORIZED"),
        (answer(403, "ACCESS_FORBIDDEN"), CredentialsRefused, "access list"),
        (answer(404), AtlasUnavailable, "404"),
        (answer(406), AtlasUnavailable, "Upgrade"),
        (answer(500), AtlasUnavailable, "500"),
        (answer(302, headers={"Location": "https://x.example/?token=t"}), AtlasUnavailable, "base"),
        (answer(200, headers=HTML, body=b"<html>"), AtlasUnavailable, "not JSON"),
        (RequestFailed("name not found: x"), AtlasUnavailable, "name not found"),
        (RequestFailed("Atlas answered nonsense", http_status=200), AtlasUnavailable, "HTTP 200"),
    ],
)
def test_a_first_call_that_fails_says_why_and_ends_the_run(result, error, words):
    found = first_request_error(result)

    assert type(found) is error
    assert words in str(found)


@pytest.mark.parametrize("result", [RequestFailed("name not found: x"), answer(302), answer(500)])
def test_what_stands_before_atlas_has_a_hint_and_an_error_of_its_own_has_none(result):
    by_atlas = isinstance(result, Response) and result.status == 500

    assert bool(first_request_error(result).hint) is not by_atlas


def test_a_redirects_address_is_not_repeated():
    told = describe(answer(307, headers={"Location": "https://evil.example.com/?token=hush"}))

    assert "not followed" in told
    assert "hush" not in told
    assert "evil" not in told
