"""The command line: one file per command."""

from invite_sweeper.cli.main import main

__all__ = ["main"]
