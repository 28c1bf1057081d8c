"""Snapshots of printed text.

`UPDATE_SNAPSHOTS=1 pytest tests/unit/report` rewrites them; check the diff before you commit it.
"""

import os
from pathlib import Path

FOLDER = Path(__file__).parent / "terminal"


def assert_snapshot(name: str, printed: str) -> None:
    """Compare the text with the snapshot of that name."""
    path = FOLDER / f"{name}.txt"
    if os.environ.get("UPDATE_SNAPSHOTS"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(printed, "utf-8")
    assert path.exists(), f"{path} is missing; see the docstring of {__name__}"
    assert printed == path.read_text("utf-8"), f"{path} differs"
