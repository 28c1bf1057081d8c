"""A Debian system with systemd, cron and the program, in a container."""

import contextlib
from dataclasses import dataclass

from deploy.containers import Containers, until
from deploy.fresh import HOME, INSTALLED
from deploy.manifests import DEPLOY
from deploy.stage import Stage

NAME = "machine"
# systemd 257 requires this variable to start with version 1 control groups.
INIT = ("/sbin/init", "SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1")
STATE = "/var/lib/invite-sweeper"
SENDMAIL = """#!/bin/sh
{ echo "Arguments: $*"; cat; echo; echo "--end of mail--"; } >> /tmp/sent
"""


@dataclass(frozen=True)
class Machine:
    """The container, with what the commands of deploy/README.md installed for cron."""

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
        self.write(path, (DEPLOY / source).read_text(encoding="utf-8"))

    def follow(self, section):
        """Run the commands of a section of a README in their order; return their output."""
        script = "\n".join(("set -eu", f"cd {HOME}", *section.commands))
        return " ".join(self.run("bash", "-c", script).stdout.split())

    def read(self, path):
        """Return the text of a file; empty if it does not exist."""
        return self.run("cat", path, check=False).stdout

    def set_up(self):
        """Replace the policy and the credentials by those of the stage; schedule nothing."""
        until(self._is_up, within_s=60)
        # On a real machine the root is shared between mount namespaces; in a container it is not.
        self.run("mount", "--make-rshared", "/")
        self.run("rm", "/etc/cron.d/invite-sweeper")
        self.run("find", STATE, "-mindepth", "1", "-delete")
        for file in sorted((self.stage.folder / "secrets").iterdir()):
            path = f"/etc/invite-sweeper/{file.name}"
            self.write(path, file.read_text(encoding="utf-8"), mode="0400", owner="invite-sweeper:")
        policy = (self.stage.folder / "policy/policy.yaml").read_text(encoding="utf-8")
        self.write("/etc/invite-sweeper/policy.yaml", policy)
        return self

    def _is_up(self):
        done = self.run("systemctl", "is-system-running", check=False)
        return done.stdout.strip() in {"running", "degraded"}

    def fetch_audit_directory(self):
        """Copy the audit directory to the stage's."""
        self.containers.podman("cp", f"{NAME}:{STATE}/audit/.", self.stage.audit / "audit")


@contextlib.contextmanager
def started(containers, stage):
    """Start the machine; it is removed at the end of the block."""
    containers.podman(
        "run", "--detach", "--pull=never", f"--name={NAME}", "--systemd=always", "--user=0",
        "--network=host", "--cap-add=SYS_ADMIN", "--security-opt=seccomp=unconfined",
        INSTALLED, *INIT,
    )  # fmt: skip
    try:
        yield Machine(containers, stage).set_up()
    finally:
        containers.podman("rm", "--force", "--time=0", NAME)
