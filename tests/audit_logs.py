"""The one place where tests look for the audit log of a command on disk."""

import json
from pathlib import Path


def log_files(folder: Path) -> list[Path]:
    """Return the files of the audit logs in a folder with `audit/`, in the order of their names."""
    return sorted((folder / "audit").glob("*.jsonl"))


def lines_on_disk(folder: Path, event: str) -> list[dict[str, object]]:
    """Return the whole lines of an event, also while the program runs or after it was killed."""
    data = [line for path in log_files(folder) for line in path.read_bytes().split(b"\n")[:-1]]
    return [line for line in map(json.loads, data) if line["event"] == event]
