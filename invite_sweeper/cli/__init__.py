"""The command line: one file per command."""

import os

from invite_sweeper.cli.exits import carry_out
from invite_sweeper.cli.program import app


def main() -> None:
    """Run the program; its exit code says how it went (README.md has the table)."""
    # No other installed package may change how a policy is read.
    # Source: https://docs.pydantic.dev/latest/concepts/plugins/ (read 2026-08).
    os.environ["PYDANTIC_DISABLE_PLUGINS"] = "__all__"
    carry_out(app)
