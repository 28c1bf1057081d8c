"""Deletions of invited users, some of whom accept at random moments: none of them in silence.

`INVITE_SWEEPER_SOAK=full` deletes 10,000.
"""

import asyncio
import os
from collections import Counter
from datetime import timedelta

import faults
import pytest
from buckets import set_bucket
from deleting import place_of

from invite_sweeper.atlas.endpoints import CLOUD_USERS_GROUP, CLOUD_USERS_ORG, BucketLimit
from invite_sweeper.models import Outcome, Sending, Source

ORG = "5efda682a3f2ed2e7dd6cde4"
DELETIONS, PROJECTS = 10_000 if os.environ.get("INVITE_SWEEPER_SOAK") == "full" else 600, 6
IN_PROJECT, IN_ORG = "*/groups/*/users/*", "*/orgs/*/users/*"
STATUSES = ("PENDING", "INVITATION_EXPIRED", "INVITATION_REJECTED")


@pytest.fixture
def sim(sim):
    """Many invited users."""
    for endpoint_set in ("mongoDbCloudUsers_group", "mongoDbCloudUsers_organization"):
        set_bucket(sim, endpoint_set, capacity=1_000_000, refill=1_000_000)  # never empty
    for number in range(PROJECTS):
        project = sim.add_project(f"Project {number}")
        for user in range(DELETIONS // PROJECTS):
            sim.add_user(
                f"u{user}-{number}@example.com",
                status=STATUSES[user % 3],
                age=timedelta(days=20),
                group_roles={project: ["GROUP_OWNER"]},
            )
    return sim


def accepting(sim, share, moment, method, path):
    """Make a share of the users accept just before or after a kind of request."""
    accept = faults.effect(**{moment: lambda visit: sim.set_status(visit.item_id, "ACTIVE")})
    sim.faults.add(accept, rate=share, method=method, path=path)


async def remove_all(sim, online):
    """List every project and delete all that was listed; return the results by user.

    No DELETE is sent after a read that showed an active member.
    """
    results = {}
    users, shown, wrong = sim.organizations[ORG].users, {}, []

    def note(visit):
        user = users.get(visit.item_id)
        shown[visit.item_id] = user and user.status.value

    def check(visit):
        if shown[visit.item_id] == "ACTIVE":
            wrong.append(visit.item_id)

    # The last fault is the one next to the request: what it notes is what was shown.
    sim.faults.add(faults.effect(after=note), method="GET", path=IN_PROJECT, times=None)
    sim.faults.add(faults.effect(before=check), method="DELETE", times=None)

    async def work(deleter, pending):
        for one in pending:
            while deleter.try_acquire(one):  # until the first responses confirm the bucket
                await asyncio.sleep(0.001)
            results[one.invitation_id] = await deleter.delete(one, Sending())

    async with online(concurrency=40, attempts=9) as atlas:
        listed = []
        for key in ((CLOUD_USERS_ORG, ORG), *((CLOUD_USERS_GROUP, each) for each in sim.groups)):
            bucket = atlas.limiter.bucket(*key)
            bucket.use_limit(BucketLimit(1_000_000, 1_000_000, 60))
            bucket.level = 1_000_000
        for project_id in sim.groups:
            place = place_of(Source.USERS, project_id)
            listed += await atlas.reader.invitations(place, Source.USERS)
        pending = iter(listed)
        await asyncio.gather(*(work(atlas.deleter(Source), pending) for _ in range(40)))
    assert (len(results), wrong) == (DELETIONS, [])
    return results


def ids_with(results, outcome):
    return {id_ for id_, result in results.items() if result.outcome is outcome}


async def test_removed_members_are_reported_and_none_was_active_in_the_read_before(sim, online):
    accepting(sim, 0.03, "before", "GET", IN_PROJECT)
    accepting(sim, 0.02, "after", "GET", IN_PROJECT)
    accepting(sim, 0.02, "before", "DELETE", IN_PROJECT)
    sim.faults.add(faults.fail_with(500), rate=0.01)
    sim.faults.add(faults.fail_with(500, late=True), rate=0.02, method="DELETE")

    results = await remove_all(sim, online)

    removed = {each.user_id for each in sim.request_log.removed if each.status == "ACTIVE"}
    assert len(removed) > DELETIONS / 60
    # A user who accepts after a removal with a lost response cannot be distinguished from one
    # who accepted before it, so both are reported, and no others.
    reported = ids_with(results, Outcome.ACCEPTED_DURING)
    assert removed <= reported
    assert all(results[id_].http_status != 204 for id_ in reported - removed)
    kept = ids_with(results, Outcome.ACCEPTED_BEFORE)
    assert len(kept) > DELETIONS / 100
    assert all(sim.user(id_).status == "ACTIVE" and sim.user(id_).group_roles for id_ in kept)
    assert sim.request_log.received["DELETE"] <= DELETIONS  # none is repeated


async def test_acceptances_before_the_read_or_after_the_removal_remove_no_member(sim, online):
    accepting(sim, 0.05, "before", "GET", IN_PROJECT)
    accepting(sim, 0.05, "after", "GET", IN_ORG)

    results = await remove_all(sim, online)

    assert not any(each.status == "ACTIVE" for each in sim.request_log.removed)
    counts = Counter(result.outcome for result in results.values())
    assert counts[Outcome.ACCEPTED_BEFORE] > DELETIONS / 60
    assert counts[Outcome.ACCEPTED_BEFORE] + counts[Outcome.DELETED] == DELETIONS
    assert all(
        (result.seen_before == "ACTIVE") == (result.outcome is Outcome.ACCEPTED_BEFORE)
        for result in results.values()
    )
