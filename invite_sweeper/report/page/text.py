"""Text for Markdown: no value of a log can become markup, a link or a mention there."""

import re

_HARMLESS = re.compile(r"[A-Za-z0-9 ,;:'()%/.+-]*")
_LINKS = re.compile(r"://|www\.", re.IGNORECASE)
_RUNS = re.compile(r"`+")


def literal(written: str, *, in_table: bool = False) -> str:
    """The text as a code span, which no reader of Markdown looks into; empty stays empty.

    Args:
        written: Visible already: no line ends, no controls.
        in_table: A table is cut at each `|` before code spans are looked for.

    Source:
        GitHub Flavored Markdown, version 0.29, 6.3 "Code spans" and 4.10 "Tables".
    """
    if not written.strip():
        return ""
    longest = max((len(run) for run in _RUNS.findall(written)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if written[0] in "` " or written[-1] in "` " else ""
    span = f"{fence}{pad}{written}{pad}{fence}"
    return span.replace("|", "\\|") if in_table else span


def sentence(written: str) -> str:
    """A sentence of ours: plain where it holds letters and stops alone, else a code span."""
    plain = _HARMLESS.fullmatch(written) and not _LINKS.search(written)
    return written if plain else literal(written)
