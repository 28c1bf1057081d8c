"""Mutants that a test must catch: a guard that is off for one list, a bound that is off by one.

    python tests/mutants.py [--jobs N] [WORD…]

runs the tests of each mutant, or of those whose name, file and tests contain every WORD, on a
copy of the checkout, and ends with 1 if one survives or does not apply any more. It takes minutes,
so it is not part of the gate. mutmut, which changes operators, makes none that excepts one list.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import venv
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).parents[1]
LISTS = {
    "ANY_LIST": ("invites", "users", "org_users", "org_invites"),
    "ANY_OF_PEOPLE": ("users", "org_users", "org_invites"),
    "ANY_OF_USERS": ("users", "org_users"),
}
"""What a word in a name stands for: a mutant for each list."""
TIMEOUT_S = 900
ENVIRONMENT = {
    "INVITE_SWEEPER_CASES": "20",
    "INVITE_SWEEPER_SEED": "10",  # the same cases for all
    "PYTHONDONTWRITEBYTECODE": "1",
}


@dataclass(frozen=True)
class Mutant:
    """A change of the program, of which at least one test must fail.

    Attributes:
        file: Below `invite_sweeper/`, or of `deploy/`; it contains `old` once.
    """

    name: str
    file: str
    old: str
    new: str
    tests: str


def mutants() -> Iterator[Mutant]:
    """Yield all mutants of `mutants.txt`, which says at its top how it is read."""
    tests = heading = ""
    for line in (ROOT / "tests/mutants.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("        "):
            name, _, file = heading.partition(": ")
            old, _, new = line[8:].replace("\\n", "\n").partition(" =>")
            word = next((word for word in LISTS if word in name), "")
            for source in LISTS.get(word, ("",)):
                in_list = new.removeprefix(" ").replace(word, source)
                yield Mutant(name.replace(word, source), file, old, in_list, tests)
        elif line.startswith("    "):
            heading = line.strip()
        elif not line.startswith("#"):
            tests = line


def mutated(path: Path, mutant: Mutant) -> str:
    """Return the text of a file with the mutant in it.

    Raises:
        ValueError: The file does not contain the old text exactly once.
    """
    text = path.read_text(encoding="utf-8")
    times = text.count(mutant.old)
    if times != 1:
        raise ValueError(f"{mutant.file} has its text {times} times")
    return text.replace(mutant.old, mutant.new)


class Checkout:
    """A copy of the checkout with an interpreter that imports the program from it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "checkout"
        others = shutil.ignore_patterns(".venv", ".git", "__pycache__")
        shutil.copytree(ROOT, self.folder, ignore=others, symlinks=True)
        venv.create(self.folder / "venv", with_pip=False)
        (site_packages,) = (self.folder / "venv").glob("lib/python*/site-packages")
        own = next(each for each in sys.path if each.endswith("site-packages"))
        lines = f"{self.folder}\nimport site; site.addsitedir({own!r})\n"
        (site_packages / "copy.pth").write_text(lines, encoding="utf-8")

    def judge(self, mutant: Mutant) -> str:
        """Return what became of a mutant; "" if a test failed."""
        path = self.folder / "invite_sweeper" / mutant.file
        text = path.read_text(encoding="utf-8")
        try:
            path.write_text(mutated(path, mutant), encoding="utf-8")
            return self.run(mutant.tests)
        except ValueError as error:
            return f"does not apply: {error}"
        except subprocess.TimeoutExpired:
            return ""  # a test that does not end has failed
        finally:
            path.write_text(text, encoding="utf-8")
            for cached in (path.parent / "__pycache__").glob(f"{path.stem}.*"):
                cached.unlink()

    def run(self, tests: str) -> str:
        command = [self.folder / "venv/bin/python", "-m", "pytest", "-q", "-x", "-n0"]
        done = subprocess.run(
            [*command, "-p", "no:cacheprovider", "--tb=line", *tests.split()],
            cwd=self.folder,
            env={**os.environ, **ENVIRONMENT},
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        if done.returncode == 1:
            return ""
        return "survives" if done.returncode == 0 else f"is not tried:\n{done.stdout[-2000:]}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("words", nargs="*")
    parser.add_argument("--jobs", type=int, default=1)
    arguments = parser.parse_args()
    words = arguments.words
    chosen = [m for m in mutants() if all(w in f"{m.name} {m.file} {m.tests}" for w in words)]
    own = threading.local()
    sys.stdout.reconfigure(line_buffering=True)
    with tempfile.TemporaryDirectory() as folder:

        def begin() -> None:
            own.checkout = Checkout(Path(tempfile.mkdtemp(dir=folder)))

        def judge(mutant: Mutant) -> str:
            return own.checkout.judge(mutant)

        with ThreadPoolExecutor(arguments.jobs, initializer=begin) as pool:
            unchanged = {each.tests: replace(each, new=each.old) for each in chosen}.values()
            for mutant, problem in zip(unchanged, pool.map(judge, unchanged), strict=True):
                if problem != "survives":  # what fails without a mutant proves nothing
                    sys.stdout.write(f"{mutant.tests} fails without a mutant {problem}\n")
                    return 1
            left = 0
            for mutant, problem in zip(chosen, pool.map(judge, chosen), strict=True):
                left += bool(problem)
                sys.stdout.write(f"{'LEFT  ' if problem else 'caught'} {mutant.name} {problem}\n")
    sys.stdout.write(f"{len(chosen) - left} of {len(chosen)} mutants caught\n")
    return min(left, 1)


if __name__ == "__main__":
    sys.exit(main())
