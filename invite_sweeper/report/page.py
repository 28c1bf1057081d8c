"""A document as one HTML page, which needs no script and no network."""

import base64
import hashlib
import re
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from invite_sweeper.report.document import Document
from invite_sweeper.text import ATLAS_ID, escape_unprintable


def render_html(document: Document) -> str:
    """Return one self-contained page that makes no network requests.

    Its Content-Security-Policy allows only its own style sheet, by hash, and no script.
    """
    environment = Environment(
        loader=PackageLoader("invite_sweeper.report"),
        autoescape=select_autoescape(enabled_extensions=("html.j2",), default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["breakable"] = breakable
    style = environment.get_template("page.css.j2").render()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    page = environment.get_template("page.html.j2")
    return page.render(document=document, style=style, style_hash=f"sha256-{digest}")


_LONG_WORD: Final = re.compile(rf"(?<!\S)(?!\(?{ATLAS_ID}\)?(?!\S))\S{{17,}}")
"""Other than an id of Atlas."""
_PIECE: Final = re.compile(r"[^@.+/:_-]{0,16}[@.+/:_-]{0,16}")
"""Up to 16 characters and the signs after them: a line may break behind it."""
_WHOLE: Final = re.compile(
    r"""
    (?<!\S) --[a-z][a-z-]{1,24} (?!\S)  # an option of a command that can be copied
    | (?<!\S) \d{4}-\d\d-\d\d (?![^\s,;.])  # a date
    """,
    re.VERBOSE,
)
"""What a browser would break after a hyphen."""


def breakable(value: str) -> Markup:
    """Return a text with the places where a line may break in its long words.

    That is after a sign, and after 16 characters without one: nine columns fit on a laptop's
    screen, however long the names are.
    """
    marked = _LONG_WORD.sub(_mark_breaks, escape_unprintable(value))
    html = Markup("<wbr>").join(marked.split(_BREAK))
    return Markup(_WHOLE.sub(r'<span class="whole">\g<0></span>', str(html)))  # noqa: S704 - escaped


_BREAK: Final = "\0"
"""Stands for a possible break: no text has it once unprintable characters are escaped."""


def _mark_breaks(word: re.Match[str]) -> str:
    """Return a long word with a mark between its pieces."""
    pieces = [piece for piece in _PIECE.findall(word[0]) if piece]  # the last match is empty
    return _BREAK.join(pieces)
