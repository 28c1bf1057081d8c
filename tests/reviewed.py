"""Texts that a person has reviewed, in files beside their tests."""

import os
from pathlib import Path


def assert_reviewed(text: str, path: Path) -> None:
    """Compare a text with its file, which `UPDATE_SNAPSHOTS=1` writes again: read the diff."""
    if os.environ.get("UPDATE_SNAPSHOTS"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")
