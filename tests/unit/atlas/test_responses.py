"""What a response means: deleted, gone, unreadable, or the end of the run."""

import json
from datetime import timedelta

import pytest
from builders import project
from known_atlas import recording
from multidict import CIMultiDict
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
    parse_body,
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


TYPES = (None, "Application/JSON; charset=utf-8", "application/vnd.atlas.2023-01-01+json")
TYPES += ("text/html", "TEXT/HTML; charset=utf-8", " application/xhtml+xml ;charset=utf-8")
TYPES += ("text/json-of-sorts", "text/plain; like=application/json")
BODIES = (b"", b"[]", b'{"error":404}', b'{"errorCode":"GROUP_NOT_FOUND"}', b'{"errors":[]}')
BODIES += (b'{"detail":"No such group."}', b'{"reason":"Not Found"}', b'{"message":"try later"}')
BODIES += (b'{"error_description":"no"}',)
IN_HEADER = {"X-Error-Code": "IN_HEADER"}
MEANINGS = {"deleted": is_deleted, "gone": is_already_gone}
RESPONSES = {
    "204 and 404 are believed unless they are HTML, and 200 and 202 only if they are JSON": [
        response(status, headers={} if each is None else {"Content-Type": each}, body=b"{}")
        for status in (204, 404, 200, 202)
        for each in TYPES
    ],
    "200 and 202 with an invalid body or an error confirm nothing": [
        response(status, body=body) for status in (200, 202) for body in BODIES
    ],
    "nor does 200 with an error code in a header": [response(200, headers=IN_HEADER, body=b"{}")],
    "nor does another status": [
        response(status, body=b"{}") for status in (201, 203, 205, 206, 301, 302, 400, 500)
    ],
    "gone is also 400 with one of two codes": [
        *(response(400, code) for code in ("INVALID_INVITATION_ID", "ALREADY_EXPIRED")),
        *(response(400, code) for code in ("CANNOT_DELETE_ORG_INVITATION", None)),
        response(409, "INVALID_INVITATION_ID"),
    ],
    "an error code is that of the body, then of the header, then of OAuth": [
        response(404, "IN_BODY", headers={"x-error-code": "X"}, detail="No."),
        *(
            response(404, headers=IN_HEADER, body=body)
            for body in (b"<html>", b"[]", b'{"errorCode":null}', b'{"errorCode":" "}')
        ),
        response(404, body=b'{"errorCode":"x y"}'),
        response(401, body=b'{"error":"invalid_client","error_description":"Not valid."}'),
        response(401, body=b'{"error":401}'),
    ],
}


def test_responses_mean_what_was_reviewed():
    text = ""
    for name, responses in RESPONSES.items():
        text += f"== {name}\n"
        for each in responses:
            means = [word for word, test in MEANINGS.items() if test(each)] or ["nothing"]
            headers = ", ".join(f"{key}: {value}" for key, value in each.headers.items())
            text += f"{each.status} {headers or 'without headers'} {each.body.decode()}\n"
            text += f"    {' '.join(means)}; code {each.code}; detail {each.detail!r}\n"
    assert_reviewed(text, __file__, "responses.txt")


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


def test_unexpected_media_type_is_printable_short_and_without_half_of_a_secret():
    secret = "s3cr3t-0123456789"
    SECRETS.add(secret)
    for begin in range(45, 62):
        headers = CIMultiDict({"Content-Type": f"{'x' * begin}{secret}\x1b[31m\u202e"})
        failed = parse_body(Response(200, headers, b""), "application/json", bytes)
        assert failed.reason.isprintable()
        assert secret[:1] not in failed.reason.partition("its type is ")[2].partition(",")[0]
        assert len(failed.reason) < 150


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
    assert_reviewed(text, __file__, "not_read.txt")


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
