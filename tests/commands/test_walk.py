"""From an empty folder to nights, an undo and an upgrade, by the pages and the screen.

Nothing is typed that README, `deploy/README.md` or the program does not print, the pages are
followed in their order, and each command that the program prints is run.
"""

import os
import re
import shlex
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from environment import ahead_of_real_clock, on_real_clock
from forked import Fork, start_server
from readmes import OPERATORS, README
from running import end
from terminals import terminal

ROOT = Path(__file__).parents[2]
PROGRAM = Path(sys.executable).with_name("invite-sweeper")
PAGES = "\n".join((ROOT / page).read_text("utf-8") for page in (README, OPERATORS))
TYPED = re.compile(r"(?:`|^[ ]*)(?:\.venv/bin/)?(invite-sweeper [^`\n]*)", re.MULTILINE)
PLACEHOLDER = re.compile(r"\b(?:FILE|PATH|TOPIC|POLICY|KEY|ID)\b")
KINDS = {
    "HEX": r"[0-9a-f]{64}|HEX|LAST_HASH",
    "GLOB": r".*\*.*",
    "RUN": r"\d+",
    "FILE": r".*\.(?:yaml|jsonl|pem|pub|html|csv)|PATH|FILE",
}
"""What a word of a command is, by its form."""
YES = (("Type yes or no", "yes"),)
CLOCK = "clock"
FAKETIME = "/usr/$LIB/faketime/libfaketimeMT.so.1"


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
        own = on_real_clock(os.environ)
        kept = {k: v for k, v in own.items() if not k.startswith("MONGODB_ATLAS_")}
        clock = {"LD_PRELOAD": FAKETIME, "FAKETIME_TIMESTAMP_FILE": str(folder / CLOCK)}
        clock |= {"FAKETIME_NO_CACHE": "1", "DONT_FAKE_MONOTONIC": "1"}
        self.environment = {**kept, **clock, "PATH": path, "TERM": "xterm-256color"}
        self.server = start_server(self.environment)
        self.ahead = ahead_of_real_clock()
        self.printed: list[tuple[str, ...]] = []
        self.position = 0
        self.typed: set[tuple[str, ...]] = set()

    def source(self, name: str) -> None:
        """Do what `. ./NAME` does in a shell."""
        for line in (self.folder / name).read_text(encoding="utf-8").splitlines():
            variable, _, value = line.removeprefix("export ").partition("=")
            (self.environment[variable],) = shlex.split(value)

    def type(self, line: str, *, code: int = 0, answers: tuple[tuple[str, str], ...] = ()) -> str:
        """Type a command of the pages, or one that the program printed, on a terminal.

        Args:
            answers: Questions, with what is typed.
        """
        words = tuple(shlex.split(line))
        if words in self.printed:
            self.printed.remove(words)
        else:
            self._follow_pages(words)
        arguments = words[1:]
        with terminal(arguments, self.folder, self.environment, 250, server=self.server) as found:
            for question, answer in answers:
                found.read_until(question)
                found.type(f"{answer}\n")
            ended, screen = found.end()
        assert ended == code, screen
        commands = re.findall(rf"(?<![\w/.-]){PROGRAM.name} (?=[a-z])[^\n`]*", screen)
        # Neither help, which is documentation, nor a policy, whose comments name commands.
        is_text = words[1] == "help" or words[-1] == "--policy"
        for each in () if is_text else commands:
            command = tuple(shlex.split(each.rstrip(".")))
            if command != words and command not in self.printed and not PLACEHOLDER.search(each):
                self.printed.append(command)
        return screen

    def run_by_cron(self, line: str) -> str:
        """Run a command of the pages without a terminal; return its mail."""
        words = shlex.split(line)
        self._follow_pages(tuple(words))
        done = end(Fork(words[1:], self.folder, self.environment, server=self.server))
        assert done.code == 0, done.err
        return done.out + done.err

    def wait_until_the_next_night(self) -> None:
        """Move the clock of the program and of Atlas by a day."""
        self.ahead += timedelta(days=1)
        ahead_s = f"+{self.ahead.total_seconds():.0f}"
        self.folder.joinpath(CLOCK).write_text(ahead_s, encoding="utf-8")

    def _follow_pages(self, words: tuple[str, ...]) -> None:
        """Check that the pages show a command, below the last one or for a second time."""
        plain = _without_values(words)
        assert plain[0] == "invite-sweeper"
        shown = [
            each.start()
            for each in TYPED.finditer(PAGES)
            if _without_values(_split(each[1])) == plain
        ]
        assert shown, f"no page shows {shlex.join(words)!r}"
        later = [each for each in shown if each >= self.position]
        assert later or plain in self.typed, f"{shlex.join(words)!r} is not next in the pages"
        self.position = min(later, default=self.position)
        self.typed.add(plain)

    def leave_plan(self) -> None:
        """Apply no plan by the command that was printed for it."""
        self.printed = [each for each in self.printed if each[1:3] != ("sweep", "--plan")]

    def type_printed(
        self, *beginning: str, code: int = 0, answers: tuple[tuple[str, str], ...] = ()
    ) -> str:
        """Run the printed commands that begin with these words, at least one."""
        found = [each for each in self.printed if each[1 : len(beginning) + 1] == beginning]
        assert found, (beginning, self.printed)
        assert {each[0] for each in found} == {PROGRAM.name}
        commands = map(shlex.join, found)
        return "\n".join(self.type(each, code=code, answers=answers) for each in commands)


def _split(command: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(command))
    except ValueError:  # a sentence with an apostrophe
        return ()


def _without_values(words: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(
        next((kind for kind, form in KINDS.items() if re.fullmatch(form, word)), word)
        for word in words
    )


@pytest.fixture
def walk(tmp_path):
    """An empty folder; README's simulated Atlas, with three organizations, serves beside it."""
    found = Walk(tmp_path)
    found.wait_until_the_next_night()
    serve = [PROGRAM, "simulate", "--scenario", "organizations", "--env-file", "atlas.env"]
    kept = found.environment
    with subprocess.Popen(serve, cwd=tmp_path, stdout=subprocess.PIPE, env=kept) as atlas:
        try:
            assert atlas.stdout.readline()
            found.source("atlas.env")
            yield found
        finally:
            atlas.terminate()


@pytest.mark.slow
@pytest.mark.needs("faketime")
def test_walk_from_a_first_refusal_to_an_upgrade_over_three_organizations(walk):
    questions = (
        "Numbers or ids",
        "Age, such as",
        "Lists, separated",
        "Notice, such as",
        "[y/N]",
    )
    answers = tuple(zip(questions, ("", "", "", "", "n"), strict=True))
    walk.type("invite-sweeper init policy.yaml", answers=answers)
    policy = (walk.folder / "policy.yaml").read_text(encoding="utf-8")
    assert all(f"credentials: {name}" in policy for name in ("NORTH", "SOUTH"))
    walk.type("invite-sweeper validate policy.yaml")

    # The first plan is over the first policy's limits, and the hint has what to write.
    screen = walk.type_printed("plan", code=3)
    assert "over_limit: trim" in screen
    assert "@" in walk.type_printed("audit", "show")
    (walk.folder / "policy.yaml").write_text(
        policy.replace("over_limit: refuse", "over_limit: trim"), encoding="utf-8"
    )
    walk.type("invite-sweeper validate policy.yaml")
    walk.type("invite-sweeper plan --policy policy.yaml")
    walk.type_printed("audit", "show")
    walk.leave_plan()

    # The first sweep, the second night, and every night.
    screen = walk.type("invite-sweeper sweep --policy policy.yaml --yes")
    assert "10 deleted" in screen
    walk.wait_until_the_next_night()
    night = "invite-sweeper sweep --policy policy.yaml -q --log-format text"
    assert walk.run_by_cron(night) == ""

    # One person back, whom a run before the last one deleted.
    name = re.search(r"d  (\S+)@", screen)[1]
    back = f"invite-sweeper restore --policy policy.yaml --username '{name}@*'"
    assert "would be invited again" in walk.type(f"{back} --dry-run")
    assert "restored" in walk.type(back, answers=YES)

    # One plan over three organizations, applied by the hash that a second person read.
    walk.wait_until_the_next_night()
    walk.type("invite-sweeper plan --policy policy.yaml --out plan.jsonl")
    sha256 = walk.type("invite-sweeper audit show plan.jsonl").split()[-1]
    sweeps = [each for each in walk.printed if each[1] == "sweep"]
    assert sweeps
    assert all(sha256 in each for each in sweeps)
    walk.type_printed("sweep", "--plan", "plan.jsonl", answers=YES)

    # The questions, and the auditor's.
    walk.type("invite-sweeper explain 'ada.*@example.com' --policy policy.yaml")
    walk.type_printed("restore", answers=YES)
    walk.type("invite-sweeper doctor --policy policy.yaml")
    screen = walk.type("invite-sweeper audit show --audit-dir audit")
    assert screen.count("10 deleted") == 3
    walk.type("invite-sweeper audit show 3 --audit-dir audit --outcome deleted")
    last_hash = walk.type("invite-sweeper audit verify audit").split()[-1]
    walk.type("invite-sweeper report audit --out report.html")
    walk.type(f"invite-sweeper audit verify audit --expect-head {last_hash}")

    # An upgrade.
    walk.wait_until_the_next_night()
    walk.type("invite-sweeper validate policy.yaml")
    walk.type("invite-sweeper plan --policy policy.yaml")
    walk.type_printed("audit", "show")
    walk.type_printed("audit", "show")  # its policy
    walk.leave_plan()
    assert walk.run_by_cron(night) == ""
    walk.type("invite-sweeper audit verify audit")
    assert not walk.printed
