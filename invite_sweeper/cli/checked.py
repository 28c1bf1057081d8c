"""A checkup on the terminal."""

from rich.console import Console
from rich.text import Text

from invite_sweeper.doctor import Checkup, State
from invite_sweeper.report.values import visible

_STYLES = {State.OK: "green", State.WARNING: "yellow", State.FAILED: "bold red"}
_WIDTH = len(State.WARNING)


def show(console: Console, checkup: Checkup) -> None:
    """Write one line a check, its mend below it; names cannot move the cursor."""
    for check in checkup.checks:
        line = Text.assemble(
            (f"{check.state:<{_WIDTH}}", _STYLES[check.state]),
            (f"  {check.name}: ", "bold"),
            visible(check.message),
        )
        console.print(line, soft_wrap=True)
        if check.hint:
            console.print(Text(f"{'':<{_WIDTH}}  {visible(check.hint)}"), soft_wrap=True)
