"""The commands a person types, a file each.

Nothing is imported here that costs time: the collector's pace comes first.
"""

from invite_sweeper.cli.collecting import seldom_collected


def main() -> None:
    """Run the program; its exit code tells how it went (README.md has the table)."""
    with seldom_collected():
        from invite_sweeper.cli.exits import carry_out
        from invite_sweeper.cli.program import app

        carry_out(app)
