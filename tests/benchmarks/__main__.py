"""`python tests/benchmarks [NAME…]`: measure and print a Markdown table.

The names are those of `figures.ALL`; without names all are measured. The name `prose` prints how
the package reads, and which functions and objects lead from argv to the executor.
"""

import os
import platform
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import figures, prose


def main(names: list[str]) -> int:
    """Measure and print; return 1 if a figure does not hold."""
    if names == ["prose"]:
        write("\n".join(prose.table()) + "\n")
        return 0
    if unknown := set(names) - set(figures.ALL):
        sys.exit(f"Unknown: {', '.join(sorted(unknown))}. Known: {', '.join(figures.ALL)}")
    write("| what | measured | must hold | |\n|---|---|---|---|\n")
    found = []
    for name in names or figures.ALL:
        figure = figures.ALL[name]()
        found.append(figure)
        verdict = "holds" if figure.holds else "**does not hold**"
        write(f"| {figure.message} | {figure.found} | {figure.limit} | {verdict} |\n")
    write(
        f"\n{platform.python_implementation()} {platform.python_version()}, "
        f"{os.cpu_count()} cores, one of them used by the simulated Atlas.\n"
    )
    return 0 if all(figure.holds for figure in found) else 1


def write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
