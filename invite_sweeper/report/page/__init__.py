"""A report of audit logs: one page, or Markdown."""

import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypeAlias

from invite_sweeper.errors import UsageFault
from invite_sweeper.outfile import replaceable
from invite_sweeper.report.page.chain import Chain, chain_of
from invite_sweeper.report.page.digest import summarise
from invite_sweeper.report.page.model import ReportModel
from invite_sweeper.report.page.rendering import render_html, render_markdown

__all__ = [
    "Chain",
    "Format",
    "ReportModel",
    "chain_of",
    "render",
    "report",
    "summarise",
]

Format: TypeAlias = Literal["html", "md"]


def report(paths: Sequence[Path], out: Path | None, fmt: Format, chain: Chain | None) -> None:
    """Make a report of audit logs and put it where it was asked for.

    The file is there whole or not at all, and for its owner alone: it names people.

    Args:
        paths: Audit logs, in any order.
        out: None for stdout.
        fmt: A page, or Markdown.
        chain: The result of `audit.verify` for the same files; None if it was not asked for.

    Raises:
        UsageFault: A log cannot be read, or `out` cannot be written;
            what stood there before stands there still.
    """
    text = render(summarise(paths, chain), fmt)
    if out is None:
        sys.stdout.write(text)
        return
    try:
        _write(out, text)
    except OSError as error:
        raise UsageFault(
            f"The report cannot be written to {out}: {error.strerror}.",
            hint="Name a file in a folder that you may write to.",
        ) from error


def _write(out: Path, text: str) -> None:
    target = replaceable(out)
    if target is None:
        out.write_text(text, encoding="utf-8")
        return
    descriptor, made = tempfile.mkstemp(prefix=f".{target.name[:100]}.", dir=target.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
        Path(made).replace(target)
    except BaseException:
        Path(made).unlink(missing_ok=True)
        raise


def render(model: ReportModel, fmt: Format) -> str:
    """Return the report as text."""
    return render_html(model) if fmt == "html" else render_markdown(model)
