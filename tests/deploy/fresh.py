"""A plain Debian with Python, in which the commands of the README files run in their order."""

from dataclasses import dataclass
from pathlib import Path

from deploy.containers import BASE, Containers
from readmes import OPERATORS, README, section

NAME = "fresh"
INSTALLED = "localhost/fresh:installed"
HOME = "/root/invite_sweeper"
# The container's user is root and has no sudo.
SUDO = '#!/bin/sh\nexec "$@"\n'


@dataclass
class FreshDebian:
    """A container of the base image with a copy of the repository.

    Attributes:
        demo: The output of the README's first command, which installs the program.
        cron: That of the operators' README until the first dry run as the user of cron.
    """

    containers: Containers
    checkout: Path
    demo: str = ""
    cron: str = ""

    def start(self):
        self.containers.podman(
            "run", "--detach", "--pull=never", f"--name={NAME}", "--network=host", "--init",
            *self.containers.wheels, BASE, "sleep", "infinity",
        )  # fmt: skip
        self.containers.podman("cp", f"{self.checkout}/.", f"{NAME}:{HOME}")
        self.run(f"printf %s '{SUDO}' >/usr/local/bin/sudo && chmod 755 /usr/local/bin/sudo")

    def run(self, script):
        """Run a script in the copy of the repository; return its output in one line."""
        done = self.containers.podman(
            "exec", f"--workdir={HOME}", NAME, "bash", "-euo", "pipefail", "-c", script,
        )  # fmt: skip
        return " ".join(done.stdout.split())

    def follow(self):
        """Follow the README, and the operators' README until cron is installed."""
        (install,) = section(README, "invite_sweeper").commands
        activate, *_ = section(README, "First policy and dry run").commands
        self.demo = self.run(install)
        commands = [
            command
            for heading in ("Prerequisites in Atlas", "cron")
            for command in section(OPERATORS, heading).commands
        ]
        prepared = f"""
            {activate}
            invite-sweeper simulate --env-file atlas.env --policy-file policy.yaml >/dev/null 2>&1 &
            until [ -s atlas.env ] && [ -s policy.yaml ]; do sleep 0.05; done
            . ./atlas.env
            printf %s "$MONGODB_ATLAS_CLIENT_ID" >client-id
            printf %s "$MONGODB_ATLAS_CLIENT_SECRET" >client-secret
            unset MONGODB_ATLAS_CLIENT_ID MONGODB_ATLAS_CLIENT_SECRET
        """
        self.cron = self.run("\n".join((prepared, *commands)))

    def commit(self):
        """Save the container as an image and remove it."""
        self.containers.podman("commit", "--quiet", NAME, INSTALLED)
        self.containers.podman("rm", "--force", "--time=0", NAME)
