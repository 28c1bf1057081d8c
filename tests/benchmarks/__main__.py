"""`python tests/benchmarks [NAME…]`: measure, and write the rows of `RESULTS.md`.

The names are those of `figures.ALL`; without names all are measured, and rows of other names stay.
"""

import os
import platform
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import figures

RESULTS = Path(__file__).with_name("RESULTS.md")
HEAD = """\
# Results of the benchmarks

`python tests/benchmarks [NAME…]` writes the rows of these names, or all of them. The machine has \
to be quiet. A ratio alone is to a bare aiohttp script.

| name | what | measured | must hold | | commit and machine |
|---|---|---|---|---|---|
"""


def main(names: list[str]) -> int:
    if unknown := set(names) - set(figures.ALL):
        sys.exit(f"Unknown: {', '.join(sorted(unknown))}. Known: {', '.join(figures.ALL)}")
    lines = RESULTS.read_text("utf-8").splitlines(keepends=True)
    rows = {line.split("`")[1]: line for line in lines if line.startswith("| `")}
    commit = subprocess.check_output(["git", "describe", "--always", "--dirty"], text=True).strip()
    machine = (
        f"{platform.python_implementation()} {platform.python_version()}, {os.cpu_count()} cores"
    )
    all_hold = True
    for name in names or figures.ALL:
        figure = figures.ALL[name]()
        verdict = "holds" if figure.holds else "**does not hold**"
        cells = (figure.message, figure.found, figure.limit, verdict, f"{commit}, {machine}")
        rows[name] = f"| `{name}` | {' | '.join(cells)} |\n"
        all_hold &= figure.holds
        RESULTS.write_text(HEAD + "".join(rows.get(each, "") for each in figures.ALL), "utf-8")
        sys.stdout.write(rows[name])
        sys.stdout.flush()
    return 0 if all_hold else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
