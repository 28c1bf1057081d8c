"""Write the table of values in the README of the chart from `values.yaml`."""

from collections.abc import Iterator
from pathlib import Path

import yaml
from deploy.manifests import DEPLOY

CHART = DEPLOY / "helm"
START, END = "<!-- values -->\n", "<!-- end of values -->\n"


def rows(text: str) -> Iterator[tuple[str, str, str]]:
    """Yield each value that has a default: its path, the default, and the comment above it."""
    values = yaml.safe_load(text)
    path: list[tuple[int, str]] = []
    comment: list[str] = []
    for line in text.splitlines():
        words = line.strip()
        if words.startswith("# "):
            comment.append(words.removeprefix("# "))
            continue
        key, colon, _ = words.partition(":")
        indent = len(line) - len(line.lstrip())
        if not colon or not key.isidentifier() or (path and path[0][1] == "policy" and indent):
            comment = [] if not words else comment
            continue
        path = [step for step in path if step[0] < indent]
        path.append((indent, key))
        value = values
        for _, step in path:
            value = value[step]
        if not isinstance(value, dict) or not value:
            default = "see `values.yaml`" if key == "policy" else f"`{yaml_of(value)}`"
            yield ".".join(step for _, step in path), default, " ".join(comment)
            comment = []


def yaml_of(value: object) -> str:
    return yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix("...\n").strip()


def with_table(page: str) -> str:
    """Return the README with the table of the present values."""
    cells = [
        f"| `{path}` | {default} | {comment.replace('|', chr(92) + '|')} |"
        for path, default, comment in rows((CHART / "values.yaml").read_text(encoding="utf-8"))
    ]
    table = "\n".join(("| value | default | meaning |", "|---|---|---|", *cells))
    before, _, rest = page.partition(START)
    return f"{before}{START}\n{table}\n\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    readme = Path(CHART / "README.md")
    readme.write_text(with_table(readme.read_text(encoding="utf-8")), encoding="utf-8")
