"""The command line: one file per command."""

import gc
import os

from invite_sweeper.cli.main import run_app

_OBJECTS_PER_COLLECTION = 50_000
"""The default of 700 costs a tenth of a sweep's processor time."""


def main() -> None:
    """Run the program; its exit code says how it went (README.md has the table)."""
    # No other installed package may change how a policy is read.
    # Source: https://docs.pydantic.dev/latest/concepts/plugins/ (read 2026-08).
    os.environ["PYDANTIC_DISABLE_PLUGINS"] = "__all__"
    # Nearly everything in this process is freed without the collector or lives to its end.
    gc.set_threshold(_OBJECTS_PER_COLLECTION)
    run_app()
