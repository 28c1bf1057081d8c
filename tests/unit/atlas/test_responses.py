import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from invite_sweeper.atlas.responses import (
    ApiError,
    ListIncomplete,
    RequestFailed,
    Response,
    describe,
    fatal_error_for,
    is_already_gone,
    is_deleted,
    is_unauthenticated,
    list_error,
    one_line,
    parse_error,
    run_list_error,
)
from invite_sweeper.errors import (
    AddressRefused,
    ApiVersionRetired,
    AtlasUnavailable,
    CredentialsRefused,
)
from invite_sweeper.models import ListRef, Project, Source

HTML = {"Content-Type": "text/html; charset=utf-8"}


def response(status, code=None, *, headers=(), body=None, detail=None):
    if body is None:
        body = json.dumps({"error": status, "errorCode": code, "detail": detail}).encode()
    return Response(status, CIMultiDict(headers), body)


def test_error_code_of_the_body_precedes_that_of_the_header():
    found = response(404, "IN_BODY", headers={"x-error-code": "IN_HEADER"}, detail="Gone.")

    assert parse_error(found) == ApiError("IN_BODY", "Gone.", ())


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"null", b'{"errorCode":null}', b'{"errorCode":"x y"}']
)
def test_error_code_is_read_from_the_header_if_the_body_has_none(body):
    headers = {"X-Error-Code": "IN_HEADER"}

    assert parse_error(response(404, headers=headers, body=body)).code == "IN_HEADER"
    assert parse_error(response(404, body=body)).code is None


def test_error_string_of_oauth_is_a_code_and_error_number_of_atlas_is_not():
    body = b'{"error":"invalid_client","error_description":"Invalid credentials provided."}'

    assert parse_error(response(401, body=body)) == ApiError(
        "invalid_client", "Invalid credentials provided."
    )
    assert parse_error(response(401, body=b'{"error":401}')).code is None


@given(st.binary(max_size=100))
def test_any_bytes_can_be_the_body_of_an_error(body):
    assert parse_error(response(500, body=body)).code is None or body


def test_detail_is_one_printable_line_of_at_most_300_characters():
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
"""Content types, and whether they are JSON or missing."""
HTML_TYPES = (
    "text/html",
    "TEXT/HTML",
    "text/html; charset=utf-8",
    " application/xhtml+xml ;charset=utf-8",
)


def response_of_type(status, media_type, body=b""):
    headers = {} if media_type is None else {"Content-Type": media_type}
    return response(status, headers=headers, body=body)


@pytest.mark.parametrize("media_type", dict.fromkeys([*TYPES, *HTML_TYPES]))
def test_204_is_deleted_and_404_is_gone_unless_the_content_type_is_html(media_type):
    is_html = media_type in HTML_TYPES
    assert is_deleted(response_of_type(204, media_type)) is not is_html
    assert is_already_gone(response_of_type(404, media_type)) is not is_html


@pytest.mark.parametrize("status", [200, 202])
@pytest.mark.parametrize(("media_type", "is_json_or_missing"), TYPES.items())
def test_200_and_202_are_deleted_only_with_a_json_content_type(
    status, media_type, is_json_or_missing
):
    is_json = is_json_or_missing and bool(media_type)
    assert is_deleted(response_of_type(status, media_type, b"{}")) is is_json


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
def test_200_and_202_are_not_deleted_with_an_invalid_body_or_an_error(status, body):
    assert not is_deleted(response_of_type(status, "application/json", body))


def test_200_is_not_deleted_if_a_header_has_an_error_code():
    headers = {"Content-Type": "application/json", "X-Error-Code": "GROUP_NOT_FOUND"}
    assert is_deleted(response(200, headers={"Content-Type": "application/json"}, body=b"{}"))
    assert not is_deleted(response(200, headers=headers, body=b"{}"))


@pytest.mark.parametrize("status", [201, 203, 205, 206, 301, 302, 400, 404, 500])
def test_other_statuses_are_not_deleted(status):
    assert not is_deleted(response_of_type(status, "application/json"))


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
def test_gone_is_404_or_400_with_one_of_two_codes(status, code, gone):
    assert is_already_gone(response(status, code)) is gone


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (401, None, None),
        (401, "UNEXPECTED_ERROR", None),
        (401, "USER_UNAUTHORIZED", None),
        (401, "NOT_IN_GROUP", None),
        (402, "ACCOUNT_SUSPENDED", AtlasUnavailable),
        (403, "IP_ADDRESS_NOT_ON_ACCESS_LIST", AddressRefused),
        (403, "IP_ADDRESS_NOT_ON_WHITELIST", AddressRefused),
        (403, "ORG_REQUIRES_WHITELIST", AddressRefused),
        (403, "RESOURCE_REQUIRES_ACCESS_LIST", AddressRefused),
        (403, "ACCESS_FORBIDDEN", None),
        (403, None, None),
        (404, None, None),
        (406, "INVALID_VERSION_DATE", AtlasUnavailable),
        (410, "VERSION_GONE", ApiVersionRetired),
        (429, "RATE_LIMITED", None),
        (500, "UNEXPECTED_ERROR", None),
    ],
)
def test_only_errors_that_concern_the_run_stop_it(status, code, error):
    found = fatal_error_for(response(status, code))

    assert (type(found) if found else None) is error


@pytest.mark.parametrize("status", [403, 406, 410])
def test_errors_that_stop_the_run_have_a_hint(status):
    code = "ORG_REQUIRES_ACCESS_LIST" if status == 403 else None

    assert fatal_error_for(response(status, code)).hint


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
def test_hint_for_a_retired_list_is_its_replacement_and_for_a_version_an_upgrade(
    status, source, hint
):
    assert hint in fatal_error_for(response(status), source).hint


def test_missing_response_does_not_stop_the_run():
    assert fatal_error_for(RequestFailed("timed out after 120 s")) is None
    assert not is_unauthenticated(RequestFailed("timed out after 120 s"))


@pytest.mark.parametrize(
    ("result", "error", "expected"),
    [
        (response(401), CredentialsRefused, "Check the credentials and their expiry date."),
        (response(401, "USER_UNAUTHORIZED"), CredentialsRefused, "Grant the credentials a role"),
        (response(403, "ACCESS_FORBIDDEN"), CredentialsRefused, "Grant the credentials a role"),
        (response(403, "IP_ADDRESS_NOT_ON_ACCESS_LIST"), AddressRefused, "Add the IP address"),
        (response(403), CredentialsRefused, "access list"),
        (response(404), AtlasUnavailable, "404"),
        (response(406), AtlasUnavailable, "Upgrade"),
        (response(500), AtlasUnavailable, "500"),
        (
            response(302, headers={"Location": "https://x.example/?token=t"}),
            AtlasUnavailable,
            "base",
        ),
        (response(200, headers=HTML, body=b"<html>"), AtlasUnavailable, "not JSON"),
        (RequestFailed("name not found: x"), AtlasUnavailable, "name not found"),
        (RequestFailed("invalid response", http_status=200), AtlasUnavailable, "HTTP 200"),
    ],
)
def test_first_request_that_fails_stops_the_run_with_a_reason(result, error, expected):
    found = run_list_error("projects", result, is_first=True)

    assert type(found) is error
    assert expected in str(found)


@pytest.mark.parametrize(
    ("result", "hint"),
    [
        (RequestFailed("name not found: x"), "Check the base URL"),
        (response(302), "Check the base URL"),
        (response(500), "Run the command again"),
        (ListIncomplete("page 2 has no new entry"), "Run the command again"),
    ],
)
@pytest.mark.parametrize("is_first", [True, False])
def test_list_of_projects_that_is_not_read_to_its_end_always_has_a_hint(result, hint, is_first):
    assert run_list_error("projects", result, is_first=is_first).hint.startswith(hint)


def test_target_of_a_redirect_is_not_shown():
    location = {"Location": "https://evil.example.com/?token=secret"}
    description = describe(response(307, headers=location))

    assert "not followed" in description
    assert "secret" not in description
    assert "evil" not in description


@pytest.mark.parametrize("code", ["ACCESS_FORBIDDEN", "USER_UNAUTHORIZED", "NOT_ORG_OWNER"])
def test_missing_role_does_not_send_to_the_access_list(code):
    status = 403 if code == "ACCESS_FORBIDDEN" else 401
    assert (
        "access list" not in run_list_error("projects", response(status, code), is_first=True).hint
    )


@pytest.mark.parametrize(
    ("result", "named"),
    [
        (response(401, "USER_UNAUTHORIZED"), True),
        (response(403, "ACCESS_FORBIDDEN"), True),
        (response(401, "UNEXPECTED_ERROR"), False),
        (response(401), False),
        (response(500), False),
        (response(403, headers=HTML, body=b"<html>"), False),
        (RequestFailed("timed out after 120 s"), False),
    ],
)
def test_unreadable_list_names_its_role_only_if_atlas_refused_the_request(result, named):
    list_ref = ListRef(Project("a" * 24, "Vault", "b" * 24), Source.INVITES)
    reason = list_error(list_ref, result, "Project Owner").reason
    assert reason.endswith("; this requires the role Project Owner.") is named
