"""The command line: one file per command."""

import os

from invite_sweeper.cli.main import run_app


def main() -> None:
    """Run the program; its exit code says how it went (README.md has the table)."""
    # No other installed package may change how a policy is read.
    # Source: https://docs.pydantic.dev/latest/concepts/plugins/ (read 2026-08).
    os.environ["PYDANTIC_DISABLE_PLUGINS"] = "__all__"
    run_app()
