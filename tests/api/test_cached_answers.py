"""An answer out of a cache is not what Atlas knows now: it has not been read."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from deleting import delete

from invite_sweeper.models import ListUnreadable, Outcome, Project, Source

API = "/api/atlas/v2"
ALPHA = Project("6a793fd0c0eb9e7a177181d4", "Alpha", "5efda682a3f2ed2e7dd6cde4")
USER = "6a793fd52c88faeba59bd5d0"
STATUSES = "".join(
    f"orgMembershipStatuses={each}&"
    for each in ("PENDING", "INVITATION_EXPIRED", "INVITATION_REJECTED")
)
LIST = f"{API}/groups/{ALPHA.id}/users?{STATUSES}itemsPerPage=500&includeCount=false&pageNum=1"
ONE = f"users/{USER}?{STATUSES}orgMembershipStatuses=ACTIVE"
ROW = {
    "id": USER,
    "username": "ada@example.com",
    "orgMembershipStatus": "PENDING",
    "invitationCreatedAt": "2026-08-10T03:04:53Z",
    "roles": ["GROUP_OWNER"],
}


def made(offset_s):
    """Return the headers of an answer that Atlas made this many seconds from now, or these ones."""
    if isinstance(offset_s, dict):
        return offset_s
    moment = datetime.now(UTC) + timedelta(seconds=offset_s)
    return {"Date": format_datetime(moment, usegmt=True)}


async def delete_user(script, headers, *, skew_s=0.0):
    script.answer(LIST, {"results": [ROW]}, headers=made(skew_s))
    script.answer(f"{API}/groups/{ALPHA.id}/{ONE}", ROW, headers=made(headers))
    script.answer(f"{API}/groups/{ALPHA.id}/users/{USER}", method="DELETE", status=204)
    script.answer(f"{API}/orgs/{ALPHA.org_id}/{ONE}", status=404, headers=made(skew_s))
    async with script.connected() as atlas:
        (listed,) = await atlas.reader.invitations(ALPHA, Source.USERS)
        result = await delete(atlas, listed)
    return result, sum(each.method == "DELETE" for each in script.received)


@pytest.mark.parametrize(
    ("headers", "skew_s"),
    [({"Age": "1"}, 0), ({"Age": "3600"}, 0), (-3600, 0), (-8, 0), (-120, -100), (3600, 0)],
)
async def test_look_out_of_a_cache_sends_no_deletion(script, headers, skew_s):
    result, deletes = await delete_user(script, headers, skew_s=skew_s)

    assert (result.outcome, result.attempts, deletes) == (Outcome.FAILED, 0, 0)


@pytest.mark.parametrize(
    ("offset_s", "skew_s"), [(0, 0), (-2, 0), (-250, -250), (250, 250), (60, 0)]
)
@pytest.mark.parametrize("age", [{}, {"Age": "0"}, {"Age": "old"}])
async def test_look_by_the_known_skew_is_read(script, offset_s, skew_s, age):
    result, deletes = await delete_user(script, made(offset_s) | age, skew_s=skew_s)

    assert (result.outcome, deletes) == (Outcome.DELETED, 1)
    asked = {(each.method, each.headers.get("Cache-Control")) for each in script.received}
    assert asked == {("GET", "no-cache"), ("DELETE", None)}


@pytest.mark.parametrize(
    ("headers", "is_read"),
    [({"Age": "300"}, True), ({"Age": "301"}, False), (-290, True), (-310, False), (430, False)],
)
async def test_list_is_unreadable_beyond_the_bound_of_the_guard_on_the_clock(
    script, headers, is_read
):
    script.answer(LIST, {"results": []}, headers=made(0))
    script.answer(f"{API}/groups/{ALPHA.id}/invites", [], headers=made(headers))
    async with script.connected() as atlas:
        await atlas.reader.invitations(ALPHA, Source.USERS)
        found = await atlas.reader.invitations(ALPHA)

    assert isinstance(found, tuple if is_read else ListUnreadable)
    assert is_read or "from a cache" in found.reason
