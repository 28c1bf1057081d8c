"""Commands of scenes: what each printed at several widths and as JSON, and what it changed."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import forked
from report.record_results import WIDTHS
from running import CliRunner, end

from invite_sweeper.simulator import SimulatedAtlas

RECORD_RESULTS = Path(__file__).with_name("record_results.py")
WARNING = re.compile(r"^\S+ \[(?:warning|error) *\] ")


class World(NamedTuple):
    """What the simulated Atlas holds.

    Attributes:
        pending: Invitations: organization, project or None, username.
        members: Active users: organization, username.
        projects: Organization and name.
        organizations: Names by id.
    """

    pending: frozenset[tuple[str, str | None, str]]
    members: frozenset[tuple[str, str]]
    projects: frozenset[tuple[str, str]]
    organizations: dict[str, str]


def world_of(sim: SimulatedAtlas) -> World:
    pending: set[tuple[str, str | None, str]] = set()
    members: set[tuple[str, str]] = set()
    for group in sim.groups.values():
        pending |= {(group.org_id, group.name, each.username) for each in group.invites.values()}
    for organization in sim.organizations.values():
        for user in organization.users.values():
            if user.status == "ACTIVE":
                members.add((organization.id, user.username))
            else:
                pending.add((organization.id, None, user.username))
    return World(
        frozenset(pending),
        frozenset(members),
        frozenset((group.org_id, group.name) for group in sim.groups.values()),
        {each.id: each.name for each in sim.organizations.values()},
    )


@dataclass(frozen=True)
class Played:
    """One command of a scene.

    Attributes:
        words: The command line, without the program.
        out: What it printed on stdout, as text and 80 columns wide.
        texts: Its warnings, result and errors, by the width of the terminal.
        result: Its result as JSON.
        deletes: Number of DELETE requests that the simulated Atlas received.
    """

    words: tuple[str, ...]
    code: int
    out: str
    texts: dict[int, str]
    result: dict
    before: World
    after: World
    deletes: int

    @property
    def removed(self) -> frozenset[tuple[str, str | None, str]]:
        """The invitations that are missing after the command."""
        return self.before.pending - self.after.pending

    @property
    def added(self) -> frozenset[tuple[str, str | None, str]]:
        """The invitations that the command made."""
        return self.after.pending - self.before.pending


def play(cli: CliRunner, *words: str, **changes: str | None) -> Played:
    """Run a command in a fork and record its result."""
    before, deletes = world_of(cli.sim), cli.deletes()
    arguments = (*words, "--log-format", "text") if words[0] != "audit" else words
    cli.write_policy()
    environment = cli.environment_with({"COLUMNS": "80", **changes})
    fork = forked.Fork(arguments, cli.folder, environment, short_waits=True, prepare=RECORD_RESULTS)
    done = end(fork)
    warnings = [line for line in done.err.splitlines() if WARNING.match(line)]
    head = "".join(f"{line.rstrip()}\n" for line in warnings)
    recorded = {width: cli.folder / f"result-{width}" for width in WIDTHS}
    if recorded[80].exists():
        texts = {width: head + path.read_text("utf-8") for width, path in recorded.items()}
        result = json.loads((cli.folder / "result.json").read_bytes())
    else:  # no run began, or the command only reads the log
        remarks = [line for line in done.err.splitlines(keepends=True) if "[info" in line[:20]]
        texts, result = (
            dict.fromkeys(WIDTHS, done.err.removeprefix("".join(remarks)) + done.out),
            {},
        )
        if words[:2] == ("audit", "show"):
            texts = {w: cli.run(*words, COLUMNS=str(w)).out for w in WIDTHS}
    for path in cli.folder.glob("result*"):
        path.unlink()
    deletes = cli.deletes() - deletes
    return Played(words, done.code, done.out, texts, result, before, world_of(cli.sim), deletes)
