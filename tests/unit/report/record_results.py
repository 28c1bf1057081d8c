"""Executed in a fork before the program: it then writes each result to files, too.

At each width of `WIDTHS` to `result-WIDTH`, and as JSON to `result.json`.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import msgspec

from invite_sweeper.cli import restore, results
from invite_sweeper.cli.options import Output

WIDTHS = (60, 80, 140)


def record_results() -> None:
    """Make the program write its result to files, too: at each width, and as JSON."""
    report_command = results.report_command
    report_restore = restore._RestoreSession._report

    def record_command(options, report):
        at_each_width(lambda: report_command(options, report))
        as_json(lambda: report_command(options._replace(output=Output.JSON), report))
        return report_command(options, report)

    def record_restore(session, report):
        at_each_width(lambda: report_restore(session, report))
        Path("result.json").write_bytes(msgspec.json.encode(report.summary()))
        return report_restore(session, report)

    results.report_command = record_command
    restore._RestoreSession._report = record_restore


def at_each_width(write: Callable[[], object]) -> None:
    given = os.environ["COLUMNS"]
    for width in WIDTHS:
        os.environ["COLUMNS"] = str(width)
        with appended(f"result-{width}") as file, redirect_stderr(file):
            write()
    os.environ["COLUMNS"] = given


def as_json(write: Callable[[], object]) -> None:
    with appended(os.devnull) as nowhere, redirect_stderr(nowhere), appended("result.json"):
        write()


@contextmanager
def appended(name: str) -> Iterator[object]:
    """Append what the block prints to a file."""
    with Path(name).open("a", encoding="utf-8") as file, redirect_stdout(file):
        yield file


if __name__ == "__main__":
    record_results()
