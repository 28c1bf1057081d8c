"""Command `report`."""

from invite_sweeper.cli.audit import report

__all__ = ["report"]
