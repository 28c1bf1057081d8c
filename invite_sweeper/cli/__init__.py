"""The commands a person types, a file each.

Nothing is imported here that costs time: the collector's pace comes first.
"""

import os

from invite_sweeper.cli.collecting import seldom_collected


def main() -> None:
    """Run the program; its exit code tells how it went (README.md has the table)."""
    # What else is installed has no say in how a policy is read, and need not be looked through.
    os.environ["PYDANTIC_DISABLE_PLUGINS"] = "__all__"
    with seldom_collected():
        from invite_sweeper.cli.exits import carry_out
        from invite_sweeper.cli.program import app

        carry_out(app)
