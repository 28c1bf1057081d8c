"""What a response means: deleted, gone, unreadable, or the end of the run."""

import json
from datetime import timedelta
from pathlib import Path

import pytest
from builders import project
from multidict import CIMultiDict
from recordings import recording
from reviewed import assert_reviewed

from invite_sweeper.atlas.lists import InvitedRow, parse_object
from invite_sweeper.atlas.reader import list_error, run_list_error
from invite_sweeper.atlas.responses import (
    ListIncomplete,
    RequestFailed,
    Response,
    RetryDecision,
    classify,
    describe,
    fatal_error_for,
    is_already_gone,
    is_deleted,
    is_unauthenticated,
)
from invite_sweeper.errors import RunError
from invite_sweeper.json_text import parse_timestamp
from invite_sweeper.models import ListUnreadable, Project, Source
from invite_sweeper.redaction import SECRETS

HTML = {"Content-Type": "text/html; charset=utf-8"}
VAULT = Project("a" * 24, "Vault", "b" * 24)


def response(status, code=None, *, headers=(), body=None, detail=None):
    if body is None:
        body = json.dumps({"error": status, "errorCode": code, "detail": detail}).encode()
    return Response(status, CIMultiDict(headers), body)


OAUTH = b'{"error":"invalid_client","error_description":"Invalid credentials provided."}'


@pytest.mark.parametrize(
    ("found", "error"),
    [
        (response(404, "IN_BODY", headers={"x-error-code": "X"}, detail="No."), ("IN_BODY", "No.")),
        *(
            (response(404, headers={"X-Error-Code": "IN_HEADER"}, body=body), ("IN_HEADER", ""))
            for body in (b"<html>", b"[]", b'{"errorCode":null}', b'{"errorCode":" "}')
        ),
        (response(404, body=b'{"errorCode":"x y"}'), (None, "")),
        (response(401, body=OAUTH), ("invalid_client", "Invalid credentials provided.")),
        (response(401, body=b'{"error":401}'), (None, "")),
    ],
)
def test_error_code_is_that_of_the_body_then_of_the_header_then_of_oauth(found, error):
    assert (found.code, found.detail) == error


@pytest.mark.parametrize("begin", [270, 290, 299, 300])
def test_detail_has_no_part_of_a_secret_that_is_cut(begin):
    secret = "s3cr3t-0123456789"
    SECRETS.add(secret)
    detail = response(400, detail="x" * begin + secret).detail
    assert secret[:1] not in detail


def test_detail_is_one_printable_line_of_at_most_300_characters():
    assert response(400, detail="a\nb\x1b[31mc\u202e").detail == "a b [31mc "
    assert response(400, detail="x" * 300).detail == "x" * 300
    assert response(400, detail="x" * 301).detail == "x" * 300 + "…"


OF_ATLAS = (None, "Application/JSON; charset=utf-8", "application/vnd.atlas.2023-01-01+json")
HTML_TYPES = ("text/html", "TEXT/HTML; charset=utf-8", " application/xhtml+xml ;charset=utf-8")
OTHER = ("text/json-of-sorts", "text/plain; like=application/json")


def response_of_type(status, media_type, body=b""):
    headers = {} if media_type is None else {"Content-Type": media_type}
    return response(status, headers=headers, body=body)


@pytest.mark.parametrize("media_type", [*OF_ATLAS, *OTHER, *HTML_TYPES])
def test_204_and_404_are_believed_unless_they_are_html_and_200_only_if_it_is_json(media_type):
    is_html = media_type in HTML_TYPES
    assert is_deleted(response_of_type(204, media_type)) is not is_html
    assert is_already_gone(response_of_type(404, media_type)) is not is_html
    for status in (200, 202):
        found = response_of_type(status, media_type, b"{}")
        assert is_deleted(found) is (media_type in OF_ATLAS)


@pytest.mark.parametrize("status", [200, 202])
@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"[]", b'{"error":404}', b'{"errorCode":"GROUP_NOT_FOUND"}', b'{"errors":[]}'),
        *(b'{"detail":"No such group."}', b'{"reason":"Not Found"}', b'{"message":"try later"}'),
        b'{"error_description":"no"}',
    ],
)
def test_200_and_202_are_not_deleted_with_an_invalid_body_or_an_error(status, body):
    assert not is_deleted(response_of_type(status, "application/json", body))


def test_other_statuses_and_200_with_an_error_code_in_a_header_are_not_deleted():
    assert not is_deleted(response(200, headers={"X-Error-Code": "X"}, body=b"{}"))
    for status in (201, 203, 205, 206, 301, 302, 400, 404, 500):
        assert not is_deleted(response_of_type(status, "application/json", b"{}"))


@pytest.mark.parametrize(
    ("gone", "status", "code"),
    [
        (True, 404, None),
        (True, 400, "INVALID_INVITATION_ID"),
        (True, 400, "ALREADY_EXPIRED"),
        (False, 400, "CANNOT_DELETE_ORG_INVITATION"),
        (False, 400, None),
        (False, 409, "INVALID_INVITATION_ID"),
    ],
)
def test_gone_is_404_or_400_with_one_of_two_codes(gone, status, code):
    assert is_already_gone(response(status, code)) is gone


NOT_READ = (
    *(response(401, code) for code in (None, "UNEXPECTED_ERROR", "USER_UNAUTHORIZED")),
    *(response(403, code) for code in (None, "ACCESS_FORBIDDEN", "IP_ADDRESS_NOT_ON_ACCESS_LIST")),
    *(response(403, code) for code in ("IP_ADDRESS_NOT_ON_WHITELIST", "ORG_REQUIRES_WHITELIST")),
    response(403, "RESOURCE_REQUIRES_ACCESS_LIST"),
    response(402, "ACCOUNT_SUSPENDED"),
    response(406, "INVALID_VERSION_DATE"),
    response(410, "VERSION_GONE"),
    *(response(status) for status in (404, 406, 410, 429, 500)),
    response(302, headers={"Location": "https://evil.example/?token=secret"}),
    *(response(status, headers=HTML, body=b"<html>") for status in (200, 403)),
    RequestFailed("name not found: x"),
    RequestFailed("invalid response", status=200),
    RequestFailed("timed out after 120 s"),
    ListIncomplete("page 2 has no new entry"),
)


def errors_of(result):
    """Yield the errors of the first page, of a later page, and of each list of a project."""
    yield run_list_error("projects", result, is_first=True)
    yield run_list_error("projects", result, is_first=False)
    for source in Source:
        try:
            yield list_error(VAULT, source, result)
        except RunError as error:
            yield error
        if isinstance(result, Response) and (error := fatal_error_for(result, source)):
            yield error


def as_text(found):
    if isinstance(found, ListUnreadable):
        return found.reason
    return f"{type(found).__name__}: {found.message} -> {found.hint}"


def test_lists_that_are_not_read_are_told_as_it_was_reviewed():
    """A role is named only where Atlas refused the request, and no address of a redirect."""
    parts = []
    for result in NOT_READ:
        parts += [f"== {describe(result)}", *dict.fromkeys(map(as_text, errors_of(result)))]
    text = "\n".join(parts) + "\n"
    assert "evil" not in text
    assert_reviewed(text, Path(__file__).with_name("not_read.txt"))


# Recorded responses -------------------------------------------------------------------------------


@pytest.mark.needs("recordings")
@pytest.mark.parametrize("name", ["project-invite-list-latest", "project-invite-list-earliest"])
def test_list_of_invitations_is_parsed(name):
    response = recording(name)
    requested = project(1, id=response.body.split(b'"groupId":"')[1][:24].decode())

    (row,) = parse_object(response.body, list[InvitedRow])
    found = row.invitation(requested, Source.INVITES)

    assert found.project_id == requested.id
    assert parse_timestamp(found.expires_at) - found.sent_at == timedelta(days=30)
    assert int(found.invitation_id[:8], 16) == found.sent_at.timestamp()
    assert found.username.endswith("@mongodb.com")
    assert "@" not in found.inviter


@pytest.mark.needs("recordings")
@pytest.mark.parametrize("name", ["project-invite-delete-latest", "delete-200-empty-object"])
def test_204_and_200_confirm_a_deletion(name):
    assert is_deleted(recording(name))


UNPROTECTED = "CANNOT_TERMINATE_CLUSTER_WHEN_TERMINATION_PROTECTION_ENABLED"


@pytest.mark.needs("recordings")
@pytest.mark.parametrize(
    ("name", "status", "code"),
    [
        ("400-with-X-Error-Code", 400, UNPROTECTED),
        ("401-digest-2026-08-with-errorCode", 401, "UNEXPECTED_ERROR"),
        ("401-digest-no-errorCode", 401, None),
        ("404-GROUP_NOT_FOUND-with-X-Error-Code", 404, "GROUP_NOT_FOUND"),
        ("404-RESOURCE_NOT_FOUND", 404, "RESOURCE_NOT_FOUND"),
        ("405-DELETE-groups-empty-id", 405, None),
        ("409-GROUP_ALREADY_EXISTS", 409, "GROUP_ALREADY_EXISTS"),
        ("500-UNEXPECTED_ERROR-with-X-Error-Code", 500, "UNEXPECTED_ERROR"),
        ("502-html-from-proxy", 502, None),
    ],
)
def test_error_of_any_form_is_parsed(name, status, code):
    response = recording(f"error-{name}")

    assert (response.status, response.code) == (status, code)
    assert str(status) in describe(response)
    assert not is_deleted(response)
    assert is_already_gone(response) is (status == 404)
    assert is_unauthenticated(response) is (status == 401)  # both forms of the digest challenge
    assert (classify(response) is RetryDecision.RETRY) is (status >= 500)
    assert response.looks_like_atlas is (status != 502)
