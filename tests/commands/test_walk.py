"""From an empty folder to a nightly sweep of three organizations, by the pages and the screen.

Nothing is typed that README, `deploy/README.md` or the program does not print, the pages are
followed in their order, and each command that the program prints is run.
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
from readmes import OPERATORS, README
from terminals import terminal

ROOT = Path(__file__).parents[2]
PROGRAM = Path(sys.executable).with_name("invite-sweeper")
PAGES = "\n".join((ROOT / page).read_text("utf-8") for page in (README, OPERATORS))
TYPED = re.compile(r"(?:`|^[ ]*)(?:\.venv/bin/)?(invite-sweeper [^`\n]*)", re.MULTILINE)
PLACEHOLDER = re.compile(r"\b(?:FILE|PATH|TOPIC|POLICY|KEY|ID)\b")
FILE = re.compile(r"\.(?:yaml|jsonl|pem|pub|html|csv)$|^(?:PATH|FILE)$")
HASH = re.compile(r"[0-9a-f]{64}|HEX|LAST_HASH")
ENTER = ("", "", "")


class Walk:
    """A folder, the environment that the program said to set, and what it printed.

    Attributes:
        printed: The commands on the screen that were not run yet.
        position: Where the reader is in the pages.
        typed: What was typed by the pages so far, but for the names of files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        path = f"{PROGRAM.parent}:/usr/bin:/bin"
        kept = {k: v for k, v in os.environ.items() if not k.startswith("MONGODB_ATLAS_")}
        self.environment = {**kept, "PATH": path, "COLUMNS": "100", "TERM": "xterm-256color"}
        self.printed: list[tuple[str, ...]] = []
        self.position = 0
        self.typed: set[tuple[str, ...]] = set()

    def source(self, name: str) -> None:
        """Do what `. ./NAME` does in a shell."""
        for line in (self.folder / name).read_text(encoding="utf-8").splitlines():
            variable, _, value = line.removeprefix("export ").partition("=")
            (self.environment[variable],) = shlex.split(value)

    def type(self, line: str, *, code: int = 0, answers: tuple[tuple[str, str], ...] = ()) -> str:
        """Type a command of the pages, or one that the program printed.

        Args:
            answers: Questions on a terminal, with what is typed; without them there is none.
        """
        words = tuple(shlex.split(line))
        if words in self.printed:
            self.printed.remove(words)
        else:
            self._follow_pages(words)
        arguments = words[1:]
        ended, screen = self._ask(arguments, answers) if answers else self.run(*arguments)
        assert ended == code, screen
        name = re.escape(PROGRAM.name)
        commands = re.findall(rf"(?<![\w/.-]){name} (?=[a-z])[^\n`]*", screen)
        for found in commands if words[1] != "help" else ():  # which is documentation
            command = tuple(shlex.split(found.rstrip(".")))
            if command != words and command not in self.printed and not PLACEHOLDER.search(found):
                self.printed.append(command)
        return screen

    def _follow_pages(self, words: tuple[str, ...]) -> None:
        """Check that the pages show a command, below the last one or for a second time."""
        plain = _without_files(words)
        assert plain[0] == "invite-sweeper"
        shown = [
            each.start()
            for each in TYPED.finditer(PAGES)
            if _without_files(_split(each[1])) == plain
        ]
        assert shown, f"no page shows {shlex.join(words)!r}"
        later = [each for each in shown if each >= self.position]
        assert later or plain in self.typed, f"{shlex.join(words)!r} is not next in the pages"
        self.position = min(later, default=self.position)
        self.typed.add(plain)

    def run(self, *arguments: str) -> tuple[int, str]:
        done = subprocess.run(
            [PROGRAM.name, *arguments],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout + "\n".join(readable(done.stderr))

    def _ask(
        self, arguments: tuple[str, ...], answers: tuple[tuple[str, str], ...]
    ) -> tuple[int, str]:
        folder, environment = self.folder, self.environment
        with terminal(arguments, folder, environment, 100, program=(PROGRAM.name,)) as screen:
            for question, answer in answers:
                screen.read_until(question)
                screen.type(f"{answer}\n")
            return screen.end()

    def type_printed(self, *beginning: str, code: int = 0) -> str:
        """Run the printed commands that begin with these words, at least one."""
        found = [each for each in self.printed if each[1 : len(beginning) + 1] == beginning]
        assert found, (beginning, self.printed)
        assert {each[0] for each in found} == {PROGRAM.name}
        return "\n".join(self.type(shlex.join(each), code=code) for each in found)

    def apply_plan(self) -> None:
        """Plan, read the plan as a second person, and sweep it."""
        self.type("invite-sweeper plan --policy policy.yaml --out plan.jsonl")
        sha256 = self.type("invite-sweeper audit show plan.jsonl").split()[-1]
        by_plan = f"--plan plan.jsonl --plan-sha256 {sha256} --yes"
        self.type(f"invite-sweeper sweep --policy policy.yaml {by_plan}")

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


def _split(command: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(command))
    except ValueError:  # a sentence with an apostrophe
        return ()


def _without_files(words: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(
        "HEX"
        if HASH.fullmatch(word)
        else "RUN"
        if word.isdecimal()
        else "FILE"
        if FILE.search(Path(word).name)
        else word
        for word in words
    )


@pytest.fixture
def walk(tmp_path):
    """An empty folder; README's simulated Atlas, with three organizations, serves beside it."""
    serve = [PROGRAM, "simulate", "--scenario", "organizations", "--env-file", "atlas.env"]
    with subprocess.Popen(serve, cwd=tmp_path, stdout=subprocess.DEVNULL) as atlas:
        try:
            end_s = time.monotonic() + 60
            while not (tmp_path / "atlas.env").exists():
                assert time.monotonic() < end_s
                time.sleep(0.05)
            found = Walk(tmp_path)
            found.source("atlas.env")
            yield found
        finally:
            atlas.terminate()


def test_walk_ends_with_the_sweep_of_a_plan_that_a_second_person_read(walk):
    questions = ("Numbers or ids", "Age, such as", "Lists, separated")
    walk.type("invite-sweeper init policy.yaml", answers=tuple(zip(questions, ENTER, strict=True)))
    policy = (walk.folder / "policy.yaml").read_text(encoding="utf-8")
    assert all(f"credentials: {name}" in policy for name in ("NORTH", "SOUTH"))
    walk.type("invite-sweeper validate policy.yaml")

    # The first plan is over the first policy's limits, and the hint says what to write.
    screen = walk.type_printed("plan", code=3)
    assert "over_limit: trim" in screen
    assert "@" in walk.type_printed("audit", "show")
    walk.edit("limits:\n", "limits:\n  over_limit: trim\n")
    walk.type("invite-sweeper validate policy.yaml")
    walk.type("invite-sweeper plan --policy policy.yaml")
    walk.type("invite-sweeper sweep --policy policy.yaml --yes")
    walk.type("invite-sweeper explain 'ada.*@example.com' --policy policy.yaml")
    walk.type("invite-sweeper doctor --policy policy.yaml")

    # Every night.
    night = "sweep --policy policy.yaml --audit-dir audit -q"
    assert walk.type(f"invite-sweeper {night}").strip() == ""

    # One plan over three organizations, applied by the hash that a second person read.
    walk.apply_plan()

    # The audit log.
    walk.type("invite-sweeper audit show --audit-dir audit")
    assert "deleted" in walk.type("invite-sweeper audit show --audit-dir audit 3 --outcome deleted")
    walk.type("invite-sweeper audit verify audit")
    walk.type("invite-sweeper report audit --out report.html")
    screen = walk.type("invite-sweeper restore --policy policy.yaml 3 --dry-run")
    assert "would be invited again" in screen

    # The auditor's example.
    walk.apply_plan()
    walk.type("invite-sweeper audit show 3 --audit-dir audit --event run_finished --output json")
    walk.type("invite-sweeper audit show 3 --audit-dir audit --outcome deleted --output json")
    last_hash = walk.type("invite-sweeper audit verify audit").split()[-1]
    assert walk.type(f"invite-sweeper {night}").strip() == ""
    walk.type(f"invite-sweeper audit verify audit --expect-head {last_hash}")
    walk.type("invite-sweeper doctor --policy policy.yaml")
    assert not walk.printed
