"""Recorded responses of Atlas are parsed."""

from datetime import timedelta

import pytest
from builders import project
from recordings import recording

from invite_sweeper.atlas.lists import InvitedRow, parse_object
from invite_sweeper.atlas.responses import (
    RetryDecision,
    classify,
    describe,
    is_already_gone,
    is_deleted,
    is_unauthenticated,
)
from invite_sweeper.json_text import parse_timestamp
from invite_sweeper.models import Source

pytestmark = pytest.mark.needs("recordings")


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


@pytest.mark.parametrize("name", ["project-invite-delete-latest", "delete-200-empty-object"])
def test_204_and_200_confirm_a_deletion(name):
    assert is_deleted(recording(name))


UNPROTECTED = "CANNOT_TERMINATE_CLUSTER_WHEN_TERMINATION_PROTECTION_ENABLED"


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
