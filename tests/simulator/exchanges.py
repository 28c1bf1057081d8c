"""Requests to a simulated Atlas, each with its response: `exchanges.txt`, as values."""

from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import NamedTuple

import faults
from buckets import set_bucket, spend
from simulator.simulated import ORG, open_client, organization

from invite_sweeper.models import INVITED_STATUSES, MembershipStatus
from invite_sweeper.simulator.throttling import NEW_INVITATIONS

STATUSES = (MembershipStatus.ACTIVE, *INVITED_STATUSES)
ALL = "&".join(f"orgMembershipStatuses={each}" for each in STATUSES)
BODIES = {
    "new": {"username": "new@example.com", "roles": ["GROUP_OWNER"]},
    "new-member": {"username": "new@example.com", "roles": {"orgRoles": ["ORG_MEMBER"]}},
    "invited": {"username": "ADA@example.com", "roles": ["GROUP_OWNER"]},
    "pending": {"username": "Pending.Doe@example.com", "roles": ["GROUP_OWNER"]},
    "no-roles": {"username": "new@example.com"},
    "list": [],
    "nonsense": {"username": 7, "roles": ["GROUP_OWNER"]},
}


class World:
    """An organization with a project, two invitations and a user of each status."""

    def __init__(self):
        self.sim = sim = organization()
        self.project = sim.add_project("Data Lake", tags={"env": "sandbox"})
        sim.add_project("Second")
        users = {
            status.value: sim.add_user(
                f"{status.lower()}.doe@example.com",
                status=status,
                age=timedelta(days=3),
                group_roles={self.project: ["GROUP_OWNER"]},
                team_ids=["5" * 24],
            )
            for status in STATUSES
        }
        self.ids = users | {
            "invitation": sim.invite(self.project, "ada@example.com"),
            "org_invitation": sim.user(users["PENDING"]).invitation_id,
            "account": sim.add_service_account().name,
            "unknown": "0" * 24,
        }
        sim.invite(self.project, "bob@example.com")
        sim.add_team(self.project)
        self.caller = sim.add_token()

    def _spend(self):
        set_bucket(self.sim, "projects_group", self.project, capacity=1, refill=1)
        spend(self.sim, self.project)

    def _invite_ten(self):
        bucket = self.sim.throttling.bucket(NEW_INVITATIONS, "127.0.0.1")
        assert all(bucket.take(self.sim.monotonic()) for _ in range(10))

    def change(self, name):
        """Change the simulated Atlas as the table says."""
        sim = self.sim
        {
            "": lambda: None,
            "elsewhere": partial(sim.faults.add, faults.address_refused()),
            "gone-400": partial(sim.faults.add, faults.gone_as_400()),
            "ten-invitations": self._invite_ten,
            "retired-invites": lambda: sim.retired.add("invites"),
            "retired-orgs": lambda: sim.retired.add("orgs"),
            "spent": self._spend,
            "error": partial(sim.faults.add, faults.fail_with(500)),
            "upgrade": partial(sim.faults.add, faults.upgrade()),
            "challenge": partial(sim.faults.add, faults.challenge()),
            "missing-role": partial(sim.faults.add, faults.role_missing()),
        }[name]()


class Exchange(NamedTuple):
    """A request of the table with the status and error code of its response."""

    line: str
    method: str
    path: str
    version: str | None
    body: str
    change: str
    status: int
    code: str

    async def respond(self, world):
        """Send the request and return its path and its response."""
        path = self.path.replace("GROUP", f"/groups/{world.project}").replace("ORG", f"/orgs/{ORG}")
        path = path.replace("ALL", ALL).format(**world.ids)
        world.change(self.change)
        async with open_client(world.sim, token=world.caller.secret) as request:
            body = BODIES.get(self.body)
            return path, await request(self.method, path, accept=self.version, json=body)


def exchanges():
    """Yield each line of the table."""
    for line in (Path(__file__).parent / "exchanges.txt").read_text("utf-8").splitlines():
        if line and not line.startswith("#"):
            request, _, response = line.partition(" => ")
            method, path, *options = request.split()
            given = dict(each.split("=") for each in options)
            version = given["accept"].replace("none", "") if "accept" in given else None
            status, _, code = response.partition(" ")
            body = given.get("body", "")
            change = given.get("after", "")
            yield Exchange(line, method, path, version, body, change, int(status), code)


EXCHANGES = tuple(exchanges())
