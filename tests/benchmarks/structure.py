"""Count the files that a sweep executes: `python tests/benchmarks structure`.

Files entered: `traced.py` runs one sweep in a separate process as cron does (`sweep --policy FILE
--yes`, no terminal, the default output) and defines which functions count as entered. The
simulated Atlas runs in another process; its calls are not counted. There are two sweeps: 30
deletions in 6 projects for the files of a sweep, and a single deletion for those of a DELETE. Both
use a service account, a new log and the list `invites`.

Size: the `.py` files of the package. Lines are lines of text, with docstrings, comments and empty
lines. The line-weighted median is the length of the file that contains the median line: half of
the lines are in files of at most this length. An import edge is a pair of modules of which one
imports the other, anywhere in the file;
`from package import name` counts as an import of the module `package.name` if it exists, and
otherwise of `package`.
"""

import ast
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.load import Load
from benchmarks.measuring import HERE, fresh_atlas, quiet_environment, wide_policy
from builders import policy_bytes

import invite_sweeper

PACKAGE = Path(invite_sweeper.__file__).parent
SWEEP = Load(projects=6, each=5)
ONE = Load(projects=1, each=1)


@dataclass(frozen=True)
class Entered:
    """What one run of the program entered.

    Attributes:
        command: File and qualified name of every function.
        delete: The same of those between a planned line and the executor's end.
    """

    command: tuple[tuple[str, str], ...]
    delete: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Size:
    """The size of the package.

    Attributes:
        lines: Lines of each file, the shortest first.
        largest: The longest file's path in the package.
        edges: Pairs of modules of which one imports the other.
    """

    lines: tuple[int, ...]
    largest: str
    edges: int

    @property
    def weighted_median(self) -> int:
        """The length of the file that contains the median line."""
        seen = 0
        for lines in self.lines:
            seen += lines
            if 2 * seen >= sum(self.lines):
                return lines
        return 0


def entered(load: Load) -> Entered:
    """Run one sweep that deletes the whole load.

    Raises:
        RuntimeError: The sweep did not exit 0.
    """
    with tempfile.TemporaryDirectory() as folder:
        policy, result = Path(folder) / "policy.yaml", Path(folder) / "entered.json"
        policy.write_bytes(policy_bytes(wide_policy(load)))
        traced = (sys.executable, str(HERE / "traced.py"), str(result))
        with fresh_atlas(load) as atlas:
            done = subprocess.run(
                [*traced, "sweep", "--policy", str(policy), "--yes"],
                env={**quiet_environment(), **atlas.environment},
                cwd=folder,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
            )
        if done.returncode:
            raise RuntimeError(done.stderr.decode())
        assert atlas.result["deleted"] == load.invitations
        found = json.loads(result.read_bytes())
    return Entered(*(tuple(map(tuple, found[key])) for key in ("command", "delete")))


def files_of(functions: tuple[tuple[str, str], ...]) -> set[str]:
    """Return the files that hold these functions."""
    return {file for file, _ in functions}


def size() -> Size:
    """Measure the package."""
    lines = {path: len(path.read_text("utf-8").splitlines()) for path in PACKAGE.rglob("*.py")}
    return Size(
        tuple(sorted(lines.values())),
        str(max(lines, key=lambda path: lines[path]).relative_to(PACKAGE)),
        len(set(import_edges())),
    )


def import_edges() -> Iterator[tuple[str, str]]:
    """Yield the importing and the imported module of each import inside the package."""
    modules = {_module_of(path): path for path in PACKAGE.rglob("*.py")}
    for module, path in modules.items():
        package = module if path.stem == "__init__" else module.rpartition(".")[0]
        for node in ast.walk(ast.parse(path.read_bytes())):
            for wanted in _imported(node, package):
                found = wanted if wanted in modules else wanted.rpartition(".")[0]
                if found in modules and found != module:
                    yield module, found


def _module_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imported(node: ast.AST, package: str) -> Iterator[str]:
    """Yield each dotted name that a statement may import, relative ones made absolute."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = package.rsplit(".", node.level - 1)[0] if node.level else ""
        origin = ".".join(filter(None, (base, node.module)))
        yield from (f"{origin}.{alias.name}" for alias in node.names)


def table(sweep: Entered, one: Entered, found: Size) -> str:
    """Return all figures as lines of text."""
    rows = (
        ("functions entered by a sweep of 30 deletions", len(sweep.command)),
        ("functions entered by one DELETE", len(one.delete)),
        ("files of the package", len(found.lines)),
        ("lines", sum(found.lines)),
        ("median file, lines", round(median(found.lines))),
        ("line-weighted median file, lines", found.weighted_median),
        (f"largest file ({found.largest}), lines", found.lines[-1]),
        ("internal import edges", found.edges),
    )
    return "\n".join(f"{name:<50} {number:>7,}" for name, number in rows)
