"""A Debian system with systemd, cron and the program, in a container."""

import contextlib
import json
from dataclasses import dataclass

from deploy.containers import Containers, until
from deploy.manifests import DEPLOY
from deploy.stage import Stage

NAME = "machine"
# systemd 257 requires this variable to start with version 1 control groups.
INIT = ("/sbin/init", "SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1")
LOG = "/var/lib/invite-sweeper/invite-sweeper.jsonl"
SENDMAIL = """#!/bin/sh
{ echo "Arguments: $*"; cat; echo; echo "--end of mail--"; } >> /tmp/sent
"""


@dataclass(frozen=True)
class Machine:
    """The container, with the program installed as in deploy/README.md."""

    containers: Containers
    stage: Stage

    def run(self, *command, check=True, stdin=None):
        options = ("--interactive",) if stdin is not None else ()
        return self.containers.podman("exec", *options, NAME, *command, check=check, input=stdin)

    def write(self, path, text, *, mode="0644", owner="root"):
        self.run("sh", "-c", f"mkdir -p $(dirname {path}) && cat > {path}", stdin=text)
        self.run("chmod", mode, path)
        self.run("chown", owner, path)

    def ship(self, source, path):
        """Install a file of `deploy/` unchanged."""
        self.write(path, (DEPLOY / source).read_text())

    def read(self, path):
        """Return the text of a file; empty if it does not exist."""
        return self.run("cat", path, check=False).stdout

    def set_up(self):
        """Install the user, the policy and the credentials as in the README."""
        until(self._is_up, within_s=60)
        # On a real machine the root is shared between mount namespaces; in a container it is not.
        self.run("mount", "--make-rshared", "/")
        self.ship("systemd/invite-sweeper.sysusers", "/usr/lib/sysusers.d/invite-sweeper.conf")
        self.run("systemd-sysusers")
        owner = "invite-sweeper:invite-sweeper"
        for file in sorted((self.stage.folder / "secrets").iterdir()):
            path = f"/etc/invite-sweeper/{file.name}"
            self.write(path, file.read_text(), mode="0400", owner=owner)
        policy = (self.stage.folder / "policy/policy.yaml").read_text()
        self.write("/etc/invite-sweeper/policy.yaml", policy)
        return self

    def _is_up(self):
        done = self.run("systemctl", "is-system-running", check=False)
        return done.stdout.strip() in {"running", "degraded"}

    def audit_lines(self):
        return [json.loads(line) for line in self.read(LOG).splitlines()]

    def fetch(self, *names):
        """Copy files of the audit folder to the stage's audit folder."""
        for name in names:
            target = self.stage.audit / name
            self.containers.podman("cp", f"{NAME}:/var/lib/invite-sweeper/{name}", target)


@contextlib.contextmanager
def started(containers, image, stage):
    """Start the machine; it is removed at the end of the block."""
    containers.podman(
        "run", "--detach", "--pull=never", f"--name={NAME}", "--systemd=always", "--user=0",
        "--network=host", "--cap-add=SYS_ADMIN", "--security-opt=seccomp=unconfined",
        f"--entrypoint={INIT[0]}", image, *INIT[1:],
    )  # fmt: skip
    try:
        yield Machine(containers, stage).set_up()
    finally:
        containers.podman("rm", "--force", "--time=0", NAME)
