"""Snapshots of printed text.

`UPDATE_SNAPSHOTS=1 pytest tests/unit/report` rewrites them; check the diff before you commit it.
"""

import os
import re
from pathlib import Path

FOLDER = Path(__file__).parent / "terminal"
MASKS = (
    (r"(?m)^(Time +).*(\n {9}.*)*", r"\1-"),
    (r"\b[0-9a-f]{64}\b", "5" * 64),
    (r"\b\d{8}T\d{6}Z-[0-9a-f]{8}\b", "20261125T010203Z-0badcafe"),
    (r"\b\d{4}-\d\d-\d\d\b", "2026-11-25"),
    (r"\b\d\d:\d\d:\d\d\b", "01:02:03"),
    (r"\b\d\d:\d\d(?=\s+UTC)", "01:02"),
    (r"127\.0\.0\.1:\d+", "127.0.0.1:12345"),
)
"""What varies from run to run; ids and hashes keep their length."""


def mask(text: str) -> str:
    """Replace what varies."""
    for pattern, replacement in MASKS:
        text = re.sub(pattern, replacement, text)
    return text


def assert_snapshot(name: str, printed: str) -> None:
    """Compare the text with the snapshot of that name."""
    path = FOLDER / f"{name}.txt"
    if os.environ.get("UPDATE_SNAPSHOTS"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(printed, "utf-8")
    assert path.exists(), f"{path} is missing; see the docstring of {__name__}"
    assert printed == path.read_text("utf-8"), f"{path} differs"
