"""Two thousand deletions of invited users, while some of them accept at random moments.

`INVITE_SWEEPER_SOAK=full` takes ten thousand.
"""

import asyncio
import os
from datetime import timedelta

import pytest
from builders import policy
from fakes import ListQueue

from invite_sweeper.atlas.rate_limits import AdvertisedLimit, BucketLimit
from invite_sweeper.models import Outcome, PlannedDeletion, Project, Source
from invite_sweeper.shutdown import StopRequest
from invite_sweeper.simulator import faults
from invite_sweeper.sweep.executor import ExecutorOptions, SweepExecutor
from invite_sweeper.sweep.guards import CircuitBreaker

ORG = "5efda682a3f2ed2e7dd6cde4"
DELETIONS, PROJECTS = 10_000 if os.environ.get("INVITE_SWEEPER_SOAK") == "full" else 2_000, 20
IN_PROJECT, IN_ORG = "*/groups/*/users/*", "*/orgs/*/users/*"
pytestmark = pytest.mark.slow


class Outcomes:
    """A journal that keeps how each deletion ended."""

    def __init__(self):
        self.ended = {}

    def write_intents(self, group):
        assert not any(planned.invitation.id in self.ended for planned in group)

    def write_outcome(self, planned, deletion, duration_ms):
        assert planned.invitation.id not in self.ended
        self.ended[planned.invitation.id] = deletion

    async def sync(self):
        pass

    def those(self, outcome):
        return {who for who, deletion in self.ended.items() if deletion.outcome is outcome}


class Watch:
    """What the simulated Atlas last showed of each user, and who was to be removed all the same.

    Attributes:
        wrongs: Ids of DELETE requests that came after a read that had shown ACTIVE.
        reads: How many reads of one user were answered.
    """

    def __init__(self, sim):
        self._users = sim.organizations[ORG].users
        self._shown = {}
        self.reads = 0
        self.wrongs = []
        sim.faults.add_random(
            faults.effect(after=self._add_issue), 1.0, method="GET", path=IN_PROJECT
        )
        sim.faults.add_random(
            faults.effect(before=self._check_before), 1.0, method="DELETE", path="*"
        )

    def _add_issue(self, visit):
        self.reads += 1
        user = self._users.get(visit.item_id)
        self._shown[visit.item_id] = user and user.status.value

    def _check_before(self, visit):
        if self._shown[visit.item_id] == "ACTIVE":
            self.wrongs.append(visit.item_id)


@pytest.fixture
def crowd(sim):
    """So many projects with so many invited users; their lanes and the watch over them."""
    for endpoint_set in ("mongoDbCloudUsers_group", "mongoDbCloudUsers_organization"):
        sim.set_bucket(endpoint_set, capacity=1_000_000, refill=1_000_000, period_s=60)  # never dry
    sim.request_log.enabled = False
    sim.gone_status = 404
    for number in range(PROJECTS):
        project = sim.add_project(f"Project {number}")
        for person in range(DELETIONS // PROJECTS):
            status = ("PENDING", "INVITATION_EXPIRED", "INVITATION_REJECTED")[person % 3]
            sim.add_user(
                f"p{person}-{number}@example.com",
                status=status,
                age=timedelta(days=20),
                group_roles={project: ["GROUP_OWNER"]},
            )
    return Watch(sim)


def accepting(sim, share, **where):
    """Let that share of the users accept just before, or after, a kind of request."""
    moment = where.pop("moment")

    def accept(visit):
        sim.set_status(visit.item_id, "ACTIVE")

    sim.faults.add_random(faults.effect(**{moment: accept}), share, **where)


async def sweep_all(sim, atlas):
    """List every project, then delete all that was listed; no bucket runs dry meanwhile."""
    plenty = BucketLimit(1_000_000, 1_000_000, 60)
    atlas._transport.limiter.apply_advertised(
        AdvertisedLimit("mongoDbCloudUsers", scope, plenty) for scope in ("GROUP", "ORGANIZATION")
    )
    lanes = []
    for project_id, group in sim.groups.items():
        project = Project(project_id, group.name, ORG)
        listed = await atlas.reader.invitations(project, Source.USERS)
        lanes.append(ListQueue([PlannedDeletion(one, "rule") for one in listed]))
    assert sum(len(lane.left) for lane in lanes) == DELETIONS
    journal = Outcomes()
    lenient = policy(limits={"max_failure_share": 1.0, "max_already_gone_share": 1.0}).limits
    sweep = SweepExecutor(
        atlas.deleter(Source),
        journal,
        stop=StopRequest(),
        breaker=CircuitBreaker(lenient),
        clock=asyncio.get_running_loop().time,
        options=ExecutorOptions(workers=40, canary=0, grace_s=5.0),
    )
    await sweep.run(lanes)
    assert len(journal.ended) == DELETIONS
    return journal


def removed_members(sim):
    return {each.user_id for each in sim.request_log.removed if each.status == "ACTIVE"}


async def test_no_member_is_removed_unnoticed_and_none_after_a_read_that_showed_one(
    sim, online, crowd
):
    accepting(sim, 0.03, moment="before", method="GET", path=IN_PROJECT)
    accepting(sim, 0.02, moment="after", method="GET", path=IN_PROJECT)
    accepting(sim, 0.02, moment="before", method="DELETE", path=IN_PROJECT)
    sim.faults.add_random(faults.fail_with(500), 0.01)
    sim.faults.add_random(faults.fail_with(500, late=True), 0.02, method="DELETE")
    async with online(concurrency=40, attempts=9) as atlas:
        journal = await sweep_all(sim, atlas)

    removed = removed_members(sim)
    assert len(removed) > DELETIONS / 50
    assert crowd.wrongs == []
    # Whoever accepts after a removal whose answer was lost cannot be told from one who did
    # before it, so he is told, too; nobody else is.
    told = journal.those(Outcome.ACCEPTED_DURING)
    assert removed <= told
    assert all(journal.ended[who].http_status != 204 for who in told - removed)
    assert len(told - removed) < DELETIONS / 200
    assert len(journal.those(Outcome.ACCEPTED_BEFORE)) > DELETIONS / 80
    assert all(
        sim.user(who).status == "ACTIVE" and sim.user(who).group_roles
        for who in journal.those(Outcome.ACCEPTED_BEFORE)
    )
    assert crowd.reads > DELETIONS


async def test_acceptances_outside_the_window_cost_nobody_a_membership(sim, online, crowd):
    accepting(sim, 0.05, moment="before", method="GET", path=IN_PROJECT)
    accepting(sim, 0.05, moment="after", method="GET", path=IN_ORG)
    async with online(concurrency=40) as atlas:
        journal = await sweep_all(sim, atlas)

    assert removed_members(sim) == set()
    assert crowd.wrongs == []
    ended = {outcome: len(journal.those(outcome)) for outcome in Outcome}
    assert ended[Outcome.ACCEPTED_BEFORE] > DELETIONS / 40
    assert ended[Outcome.ACCEPTED_BEFORE] + ended[Outcome.DELETED] == DELETIONS
    assert all(
        (deletion.seen_before == "ACTIVE") == (deletion.outcome is Outcome.ACCEPTED_BEFORE)
        for deletion in journal.ended.values()
    )
