"""A plain Debian with Python, in which pages are followed, and what they make of it.

The installed program then runs under cron and systemd, in a container of its own.
"""

import contextlib
from dataclasses import dataclass

from deploy.containers import BASE, Containers
from deploy.stage import Stage, staged
from readmes import OPERATORS, README, section
from running import wait_until

NAME = "machine"
INSTALLED = "localhost/machine:installed"
HOME = "/root/invite_sweeper"
# The container's user is root and has no sudo.
SUDO = '#!/bin/sh\nexec "$@"\n'
# systemd 257 requires this variable to start with version 1 control groups.
INIT = ("/sbin/init", "SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1")
STATE = "/var/lib/invite-sweeper"
ATLAS = """
invite-sweeper simulate --env-file atlas.env --policy-file policy.yaml >/dev/null 2>&1 &
until [ -s atlas.env ] && [ -s policy.yaml ]; do sleep 0.05; done
. ./atlas.env
printf %s "$MONGODB_ATLAS_CLIENT_ID" >client-id
printf %s "$MONGODB_ATLAS_CLIENT_SECRET" >client-secret
unset MONGODB_ATLAS_CLIENT_ID MONGODB_ATLAS_CLIENT_SECRET
"""


def follow_pages(containers, checkout):
    """Follow the pages in a container with a copy of the repository, and save it as an image.

    Return the output of the README's first command, and of the commands until cron is installed.
    """
    podman = containers.podman

    def run(*commands):
        bash = ("bash", "-euo", "pipefail", "-c", "\n".join(commands))
        return podman("exec", f"--workdir={HOME}", NAME, *bash).stdout

    (install,) = section(README, "invite_sweeper").commands
    activate, *_ = section(README, "From nothing to a nightly sweep").commands
    steps = [
        c for each in ("Prerequisites in Atlas", "cron") for c in section(OPERATORS, each).commands
    ]
    podman(
        "run", "--detach", "--pull=never", f"--name={NAME}", "--network=host", "--init",
        *containers.wheels, BASE, "sleep", "infinity",
    )  # fmt: skip
    podman("cp", f"{checkout}/.", f"{NAME}:{HOME}")
    run(f"printf %s '{SUDO}' >/usr/local/bin/sudo && chmod 755 /usr/local/bin/sudo")
    followed = run(install), run(activate, ATLAS, *steps)
    podman("commit", "--quiet", NAME, INSTALLED)
    podman("rm", "--force", "--time=0", NAME)
    return followed


@dataclass(frozen=True)
class Machine:
    """The container, with what the commands of deploy/README.md installed for cron."""

    containers: Containers
    stage: Stage

    def run(self, *command, check=True, stdin=None):
        options = ("--interactive",) if stdin is not None else ()
        return self.containers.podman("exec", *options, NAME, *command, check=check, input=stdin)

    def write(self, path, text, *, mode="0644", owner="root"):
        made = (
            f"mkdir -p $(dirname {path}); cat > {path}; chmod {mode} {path}; chown {owner} {path}"
        )
        self.run("sh", "-ec", made, stdin=text)

    def follow(self, section):
        """Run the commands of a section of a README in their order; return their output."""
        script = "\n".join(("set -eu", f"cd {HOME}", *section.commands))
        return " ".join(self.run("bash", "-c", script).stdout.split())

    def set_up(self):
        """Replace the policy and the credentials by those of the stage; schedule nothing."""
        wait_until(self._is_up)
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
        self.containers.podman("cp", f"{NAME}:{STATE}/audit/.", self.stage.audit / "audit")


@contextlib.contextmanager
def started(containers, folder):
    """Start the machine beside a stage in the folder; it is removed at the end of the block."""
    with staged(folder, projects=2, stale=3, owner=0) as stage:
        containers.podman(
            "run", "--detach", "--pull=never", f"--name={NAME}", "--systemd=always", "--user=0",
            "--network=host", "--cap-add=SYS_ADMIN", "--security-opt=seccomp=unconfined",
            *containers.wheels, INSTALLED, *INIT,
        )  # fmt: skip
        try:
            yield Machine(containers, stage).set_up()
        finally:
            containers.podman("rm", "--force", "--time=0", NAME)
