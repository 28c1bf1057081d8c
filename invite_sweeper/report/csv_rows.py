"""Rows of CSV that a spreadsheet does not evaluate and a terminal can show."""

import csv
import io
import re
from collections.abc import Iterable

from invite_sweeper.json_text import to_json
from invite_sweeper.text import escape_unprintable

_FORMULA_START = re.compile(r"[\t\r\n]|\s*[=+\-@\uff1d\uff0b\uff0d\uff20]")
"""How a cell begins that a spreadsheet may evaluate, full-width forms included.

Source: OWASP, "CSV Injection". Read 2026-11-26.
"""


def csv_row(cells: Iterable[str]) -> bytes:
    """Return one row with its line break, in UTF-8."""
    file = io.StringIO()
    csv.writer(file).writerow(cells)
    return file.getvalue().encode("utf-8", "backslashreplace")


def csv_cell(value: object) -> str:
    """Return the text of a value: lists of texts separated by spaces, other values as JSON.

    Control characters and direction marks are escaped, as in text: names come from other people,
    and a file is shown on a terminal sooner or later.
    """
    if isinstance(value, list | tuple) and all(isinstance(part, str) for part in value):
        value = " ".join(value)
    if value is None:
        text = ""
    elif isinstance(value, str):
        text = neutralize_formula(value)
    else:
        text = to_json(value).decode()
    return escape_unprintable(text)


def neutralize_formula(text: str) -> str:
    """Return a text for a CSV cell: an apostrophe before what a spreadsheet could evaluate."""
    return f"'{text}" if _FORMULA_START.match(text) else text
