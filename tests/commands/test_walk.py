"""From an empty folder to a nightly sweep of three organizations, by README and the screen alone.

Nothing is typed that README, a help topic or the program does not print, and each command that
the program prints is run.
"""

import json
import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest
from readmes import OPERATORS, README, sections

ROOT = Path(__file__).parents[2]
PROGRAM = Path(sys.executable).with_name("invite-sweeper")
IN_SHELL = shlex.quote(str(PROGRAM))
HELP = "\n".join(
    path.read_text(encoding="utf-8") for path in (ROOT / "invite_sweeper/help").glob("*.md")
)
PAGES = "\n".join([*((ROOT / page).read_text("utf-8") for page in (README, OPERATORS)), HELP])
PLACEHOLDER = re.compile(r"\b(?:FILE|PATH|TOPIC|POLICY|KEY|ID)\b")
FILE = re.compile(r"\.(?:yaml|jsonl|pem|pub|html|csv)$|^(?:PATH|FILE|boss|approver)$")


class Walk:
    """A folder, the environment that the program said to set, and what it printed.

    Attributes:
        printed: The commands on the screen that were not run yet.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        kept = {k: v for k, v in os.environ.items() if not k.startswith("MONGODB_ATLAS_")}
        self.environment = {**kept, "PATH": "/usr/bin:/bin", "COLUMNS": "100"}
        self.printed: list[tuple[str, ...]] = []

    def source(self, name: str) -> None:
        """Do what `. ./NAME` does in a shell."""
        for line in (self.folder / name).read_text(encoding="utf-8").splitlines():
            variable, _, value = line.removeprefix("export ").partition("=")
            (self.environment[variable],) = shlex.split(value)

    def type(self, line: str, *, code: int = 0) -> str:
        """Type a command of README, or one that the program printed."""
        words = tuple(shlex.split(line))
        if words in self.printed:
            self.printed.remove(words)
        else:
            assert typed_in_readme(words), f"nobody said to type {line!r}"
        name, *arguments = words
        assert name in {"invite-sweeper", str(PROGRAM)}
        done = subprocess.run(
            [PROGRAM, *arguments],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=60,
            check=False,
        )
        screen = done.stdout + "\n".join(readable(done.stderr))
        assert done.returncode == code, screen
        for found in re.findall(rf"{re.escape(IN_SHELL)} [^\n`]*", screen):
            command = tuple(shlex.split(found))
            if command != words and command not in self.printed and not PLACEHOLDER.search(found):
                self.printed.append(command)
        return screen

    def type_printed(self, *beginning: str) -> str:
        """Run the printed commands that begin with these words, at least one."""
        found = [each for each in self.printed if each[1 : len(beginning) + 1] == beginning]
        assert found, (beginning, self.printed)
        return "\n".join(self.type(shlex.join(each)) for each in found)

    def edit(self, old: str, new: str) -> None:
        """Change the policy."""
        path = self.folder / "policy.yaml"
        text = path.read_text(encoding="utf-8")
        assert text.count(old) == 1
        path.write_text(text.replace(old, new), encoding="utf-8")


def readable(stderr: str) -> list[str]:
    """Return the lines of stderr, log lines as their values."""
    return [
        "\n".join(map(str, json.loads(line).values())) if line.startswith("{") else line
        for line in stderr.splitlines()
    ]


def typed_in_readme(words: tuple[str, ...]) -> bool:
    """Return whether README or a help topic shows a command, but for the names of files."""
    both = [*sections(README), *sections(OPERATORS)]
    commands = [each for section in both for each in section.commands]
    shown = [*commands, *re.findall(r"(?:`|^    )(invite-sweeper [^`\n]*)", PAGES, re.MULTILINE)]
    return any(_without_files(tuple(shlex.split(each))) == _without_files(words) for each in shown)


def _without_files(words: tuple[str, ...]) -> tuple[str, ...]:
    names = (Path(word).name.removeprefix(".venv/bin/") for word in words)
    return tuple("FILE" if FILE.search(name) else name for name in names)


@pytest.fixture
def walk(tmp_path):
    """An empty folder; README's simulated Atlas, with three organizations, serves beside it."""
    serve = [PROGRAM, "simulate", "--scenario", "organizations", "--env-file", "atlas.env"]
    with subprocess.Popen(serve, cwd=tmp_path, stdout=subprocess.DEVNULL) as atlas:
        try:
            end_s = time.monotonic() + 30
            while not (tmp_path / "atlas.env").exists():
                assert time.monotonic() < end_s
                time.sleep(0.05)
            found = Walk(tmp_path)
            found.source("atlas.env")
            yield found
        finally:
            atlas.terminate()


def test_walk_ends_with_an_approved_sweep_and_a_signed_nightly_job(walk):
    walk.type("invite-sweeper init policy.yaml")
    policy = (walk.folder / "policy.yaml").read_text(encoding="utf-8")
    assert all(f"credentials: {name}" in policy for name in ("NORTH", "SOUTH"))
    walk.type("invite-sweeper validate policy.yaml")

    # The first plan is over the first policy's limits, and the hint says what to write.
    screen = walk.type(f"{IN_SHELL} plan --policy policy.yaml", code=3)
    assert "over_limit: trim" in screen
    walk.type_printed("help")
    rows = walk.type_printed("audit", "show")
    assert "@" in rows
    walk.edit("limits:\n", "limits:\n  over_limit: trim\n")
    walk.type("invite-sweeper validate policy.yaml")

    # One plan over three organizations, approved by a second person.
    walk.type("invite-sweeper plan --policy policy.yaml --out plan.jsonl")
    walk.printed = [each for each in walk.printed if each[1] != "sweep"]  # without approval
    walk.type_printed("plan", "show")
    walk.type("invite-sweeper audit keygen --out boss.pem")
    walk.type("invite-sweeper plan approve plan.jsonl --key boss.pem --yes")
    walk.type(
        "invite-sweeper sweep --policy policy.yaml --plan plan.jsonl "
        "--require-approval boss.pem.pub --population population.csv --yes"
    )
    assert (walk.folder / "population.csv").exists()
    shown = walk.type("invite-sweeper audit show audit/invite-sweeper.jsonl --outcome deleted")
    assert "@" in shown

    # A plan without approval is applied as the program says.
    walk.type("invite-sweeper plan --policy policy.yaml --out plan.jsonl")
    walk.type_printed("plan", "show")
    walk.type_printed("sweep")

    # Every night, signed.
    walk.type("invite-sweeper audit keygen --out signing-key.pem")
    walk.edit("audit:\n", "audit:\n  signing_key_env: INVITE_SWEEPER_SIGNING_KEY\n")
    walk.environment["INVITE_SWEEPER_SIGNING_KEY_FILE"] = "signing-key.pem"
    night = "sweep --policy policy.yaml --audit-log audit/invite-sweeper.jsonl -q"
    assert walk.type(f"invite-sweeper {night}").strip() == ""
    walk.type("invite-sweeper audit verify audit/invite-sweeper.jsonl")
    walk.type("invite-sweeper report audit/invite-sweeper.jsonl --out report.html")
    walk.type("invite-sweeper doctor --policy policy.yaml")
    assert not [each for each in walk.printed if each[1] != "sweep"], walk.printed
