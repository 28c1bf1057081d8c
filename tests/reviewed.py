"""Texts that a person has reviewed, in files beside their tests."""

import os
from pathlib import Path


def assert_reviewed(text: str, test: str, name: str) -> None:
    """Compare a text with a file beside a test; `UPDATE_SNAPSHOTS=1` writes it: read the diff."""
    path = Path(test).with_name(name)
    if os.environ.get("UPDATE_SNAPSHOTS"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")
