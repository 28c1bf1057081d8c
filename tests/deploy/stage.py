"""A simulated organization, and the files to mount into a container that sweeps it."""

import os
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import faults
from builders import policy_bytes
from environment import ahead_of_real_clock
from observed import ObservedAtlas
from running import WIDE

from invite_sweeper.audit import AuditDirectory, verify_directory
from invite_sweeper.cli.demo import serve_in_thread
from invite_sweeper.simulator import SimulatedAtlas
from invite_sweeper.simulator.seed import ORG_ID

USER = 10001
POLICY = {
    "version": 1,
    "organizations": [ORG_ID],
    "rules": [{"name": "forgotten", "older_than": "14d"}],
    "limits": WIDE,
    "execution": {"grace": "10s"},
}


@dataclass(frozen=True)
class Stage:
    """A simulated Atlas on loopback, and the folders that are mounted.

    Attributes:
        folder: Contains `policy/`, `secrets/` and `audit/`.
        stale: Ids of the invitations that are more than 14 days old.
        account: The variables of its credentials.
    """

    sim: SimulatedAtlas
    base_url: str
    folder: Path
    stale: frozenset[str]
    account: dict[str, str]

    @property
    def audit(self):
        return self.folder / "audit"

    @property
    def mounts(self):
        """The options of `podman run` that mount the folders as the manifests do, and name them."""
        return (
            f"--volume={self.folder}/policy:/etc/invite-sweeper:ro",
            f"--volume={self.folder}/secrets:/run/secrets/invite-sweeper:ro",
            f"--volume={self.audit}:/var/lib/invite-sweeper",
            f"--env=MONGODB_ATLAS_BASE_URL={self.base_url}",
            "--env=MONGODB_ATLAS_CLIENT_ID_FILE=/run/secrets/invite-sweeper/client-id",
            "--env=MONGODB_ATLAS_CLIENT_SECRET_FILE=/run/secrets/invite-sweeper/client-secret",
        )

    def assert_untouched(self):
        assert self.sim.deletes_received == 0

    def assert_swept_once(self):
        """Every stale invitation was deleted exactly once, and no other."""
        assert set(self.sim.deleted) == self.stale
        assert [i for i, times in Counter(self.sim.deleted).items() if times > 1] == []
        confirmed = set()
        for each in self.sim.requests:
            if each.method == "DELETE":
                assert each.path not in confirmed
                confirmed |= {each.path} if each.status == 204 else set()

    def assert_sound(self):
        """The audit directory verifies; return the number of its runs."""
        found = verify_directory(AuditDirectory(self.audit / "audit"))
        assert (found.damage, found.unfinished) == (None, ())
        return found.files


@contextmanager
def staged(folder, *, projects, stale, latency_s=0.0, owner=USER):
    """Serve an organization with `stale` and one young invitation per project during the block."""
    sim = ObservedAtlas()
    sim.date_offset = -ahead_of_real_clock()
    sim.add_organization(ORG_ID, "Example Org")
    old = set()
    for number in range(projects):
        project = sim.add_project(f"project {number}")
        for each in range(stale):
            username = f"old{each}@example.com"
            old.add(sim.invite(project, username, age=timedelta(days=15 + each % 10)))
        sim.invite(project, "new@example.com", age=timedelta(0))
    if latency_s:
        sim.faults.add(faults.delay(latency_s), times=None)
    account = sim.add_service_account().environment()
    files = {
        "policy/policy.yaml": policy_bytes(POLICY).decode(),
        "secrets/client-id": account["MONGODB_ATLAS_CLIENT_ID"],
        "secrets/client-secret": account["MONGODB_ATLAS_CLIENT_SECRET"],
    }
    for name, text in files.items():  # as a Secret and a ConfigMap are mounted
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(0o440)
        os.chown(path, 0, owner)
    (folder / "audit").mkdir(mode=0o700)
    os.chown(folder / "audit", owner, owner)
    with serve_in_thread(sim) as base_url:
        yield Stage(sim, base_url, folder, frozenset(old), account)
