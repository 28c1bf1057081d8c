"""A plain Debian with Python, in which the commands of the README files run in their order."""

import logging
from dataclasses import dataclass, field
from pathlib import Path

from deploy.containers import BASE, Containers
from readmes import OPERATORS, README, section

LOG = logging.getLogger(__name__)
NAME = "fresh"
INSTALLED = "localhost/fresh:installed"
HOME = "/root/invite_sweeper"
# The container's user is root and has no sudo.
SUDO = '#!/bin/sh\nexec "$@"\n'
WORDS_PER_MINUTE = 200
CHARACTERS_PER_MINUTE = 200


@dataclass(frozen=True)
class Followed:
    """Sections that were read, and their commands that were typed and run.

    Attributes:
        output: Of the commands, in one line.
    """

    sections: tuple
    commands: tuple
    output: str

    def minutes(self, way):
        """Return how long it takes to read the sections and to type the commands.

        `--log-cli-level=INFO` shows the figures.
        """
        read = sum(len(each.words) for each in self.sections) / WORDS_PER_MINUTE
        typed = sum(map(len, self.commands)) / CHARACTERS_PER_MINUTE
        LOG.info(
            "%s: %d commands; %.1f minutes to read and %.1f to type",
            way, len(self.commands), read, typed,
        )  # fmt: skip
        return read + typed

    def __add__(self, other):
        return Followed(
            self.sections + other.sections,
            self.commands + other.commands,
            self.output + other.output,
        )


@dataclass
class FreshDebian:
    """A container of the base image with a copy of the repository.

    Attributes:
        readme: The README until its first dry run against a simulated Atlas.
        cron: The operators' README until the first dry run as the user of cron.
    """

    containers: Containers
    checkout: Path
    readme: Followed = field(init=False)
    cron: Followed = field(init=False)

    def start(self):
        self.containers.podman(
            "run", "--detach", "--pull=never", f"--name={NAME}", "--network=host", "--init",
            *self.containers.wheels, BASE, "sleep", "infinity",
        )  # fmt: skip
        self.containers.podman("cp", f"{self.checkout}/.", f"{NAME}:{HOME}")
        self.run(f"printf %s '{SUDO}' >/usr/local/bin/sudo && chmod 755 /usr/local/bin/sudo")

    def run(self, script):
        """Run a script in the copy of the repository; return its output."""
        done = self.containers.podman(
            "exec", f"--workdir={HOME}", NAME, "bash", "-euo", "pipefail", "-c", script,
        )  # fmt: skip
        return done.stdout

    def follow(self, sections, commands, script):
        """Run commands of sections, with what the script adds between them."""
        output = self.run(script)
        return Followed(tuple(sections), tuple(commands), " ".join(output.split()))

    def follow_readme(self):
        """Follow the README until its first dry run, which needs two terminals."""
        sections = [section(README, each) for each in ("invite_sweeper", "First policy")]
        (install, simulate), (activate, *policy) = (each.commands for each in sections)
        plan, *_ = section(README, "First dry run").commands
        script = f"""
            {install}
            {simulate} >/dev/null 2>&1 &
            until [ -s atlas.env ]; do sleep 0.05; done
            . ./atlas.env
            {activate}
            {"; ".join(policy)}
            {plan} || [ $? = 3 ]
        """
        commands = (*install.split(" && "), simulate, activate, *policy, plan)
        self.readme = self.follow(sections, commands, script)

    def follow_cron(self):
        """Follow the operators' README, with the simulated Atlas that runs since the README."""
        sections = [section(OPERATORS, "Prerequisites in Atlas"), section(OPERATORS, "cron")]
        activate, *_ = section(README, "First policy").commands
        commands = [activate, *(each for found in sections for each in found.commands)]
        self.run("""
            . ./atlas.env
            cp simulated.yaml policy.yaml
            printf %s "$MONGODB_ATLAS_CLIENT_ID" >client-id
            printf %s "$MONGODB_ATLAS_CLIENT_SECRET" >client-secret
        """)
        lines = ["export $(grep -o MONGODB_ATLAS_BASE_URL=.* atlas.env)", *commands]
        self.cron = self.follow(sections, commands, "\n".join(lines))

    def commit(self):
        """Save the container as an image and remove it."""
        self.containers.podman("commit", "--quiet", NAME, INSTALLED)
        self.containers.podman("rm", "--force", "--time=0", NAME)
