"""How the package reads: a mirror, not a limit. `python tests/benchmarks prose` prints it.

Own frames are the functions of the package that wait for the executor when it begins. Holders are
the classes whose objects lead from their arguments to a text of the command line (`traced.py`).
"""

import ast
import builtins
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from benchmarks.load import Load
from benchmarks.measuring import entered

PACKAGE = Path(__file__).parents[2] / "invite_sweeper"
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
MODELS = {
    "nodes of the syntax tree a line of code": "5.0 to 6.2",
    "assignments of tuples in 1,000 lines of code": "0 to 2",
    "comprehensions in 1,000 lines of code": "3 to 14",
    "comments in 1,000 lines": "24 to 109",
}
"""What six programs have that are easy to read: octodns, pip-audit, borgmatic, pre-commit,
structlog, sigstore."""


def is_tuple_assignment(node: ast.AST) -> bool:
    """Return whether a statement is `a, b = x, y`."""
    if not isinstance(node, ast.Assign):
        return False
    return isinstance(node.targets[0], ast.Tuple) and isinstance(node.value, ast.Tuple)


def docstring_lines(tree: ast.Module) -> set[int]:
    """Return the numbers of the lines of docstrings."""
    found: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            docstring = node.body[0]
            found.update(range(docstring.lineno, (docstring.end_lineno or 0) + 1))
    return found


def measured(folder: Path = PACKAGE) -> tuple[dict[str, float], Counter[str]]:
    """Return the figures of `MODELS`, and how often each identifier occurs."""
    counts: Counter[str] = Counter()
    identifiers: Counter[str] = Counter()
    for path in sorted(folder.rglob("*.py")):
        text = path.read_text("utf-8")
        tree = ast.parse(text)
        documented = docstring_lines(tree)
        for number, line in enumerate(text.splitlines(), 1):
            is_comment = line.lstrip().startswith("#")
            counts["lines"] += 1
            counts["comments"] += is_comment or "  # " in line
            if line.strip() and not is_comment and number not in documented:
                counts["code"] += 1
        for node in ast.walk(tree):
            counts["nodes"] += 1
            counts["tuples"] += is_tuple_assignment(node)
            counts["comprehensions"] += isinstance(node, COMPREHENSIONS)
            if isinstance(node, ast.Name):
                identifiers[node.id] += 1
    per_line = (
        counts["nodes"] / counts["code"],
        1000 * counts["tuples"] / counts["code"],
        1000 * counts["comprehensions"] / counts["code"],
        1000 * counts["comments"] / counts["lines"],
    )
    return dict(zip(MODELS, per_line, strict=True)), identifiers


def table() -> Iterator[str]:
    """Yield the lines of a Markdown table, then the ten most frequent identifiers."""
    figures, identifiers = measured()
    yield "| what | measured | six models |"
    yield "|---|---|---|"
    for name, value in figures.items():
        yield f"| {name} | {value:.1f} | {MODELS[name]} |"
    own = [
        f"{name} {count}"
        for name, count in identifiers.most_common(60)
        if re.fullmatch("[a-z_]{2,}", name) and not is_builtin(name)
    ]
    yield f"\nThe most frequent names: {', '.join(own[:10])}."
    way = entered(Load(projects=1, each=1))
    frames = [function for _, function in way["stack"]]
    assert frames, "the executor has another name: see traced.py"
    yield f"Own frames from argv to the executor: {len(frames)} ({', '.join(frames)})."
    yield f"Holders on this way: {len(way['holders'])} ({', '.join(way['holders'])})."


def is_builtin(name: str) -> bool:
    """Return whether a name is a part of the language, which no program chose."""
    return hasattr(builtins, name) or name in {"self", "cls"}
