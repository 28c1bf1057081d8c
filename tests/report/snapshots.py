"""Texts that are held: what is printed today is what was looked at and taken as right.

`UPDATE_SNAPSHOTS=1 pytest tests/report` writes them anew; look at the difference before
you commit it.
"""

import os
from pathlib import Path

FOLDER = Path(__file__).parent / "terminal"


def held(name: str, printed: str) -> None:
    """Compare with the text that is held under the name."""
    path = FOLDER / f"{name}.txt"
    if os.environ.get("UPDATE_SNAPSHOTS"):
        path.write_text(printed, "utf-8")
    assert path.exists(), f"{path} is missing; see the head of {__name__}"
    assert printed == path.read_text("utf-8"), f"{path} holds another text"
