"""Names and globs: how one name is compared with another, everywhere the same."""

import fnmatch
import re
from collections.abc import Iterable
from unicodedata import normalize


def fold(name: str) -> str:
    """Give the form of a name that comparisons use: case does not count.

    Composed and decomposed letters are one letter (NFC), since a person cannot tell
    them apart on a screen.
    """
    if name.isascii():
        return name.lower()
    return normalize("NFC", normalize("NFC", name).casefold())


class Globs:
    """A list of globs (`*`, `?`, `[abc]`, `[!abc]`), of which any may match.

    A glob is held against the whole name. An empty list matches nothing.
    """

    __slots__ = ("_any", "_each", "patterns")

    def __init__(self, patterns: Iterable[str]) -> None:
        self.patterns = tuple(patterns)
        self._each = tuple(re.compile(fnmatch.translate(fold(p))) for p in self.patterns)
        self._any = re.compile("|".join(f"(?:{p.pattern})" for p in self._each) or r"(?!)")

    def match(self, name: str) -> bool:
        """Tell whether any glob covers the whole name."""
        return self._any.match(fold(name)) is not None

    def matching(self, name: str) -> tuple[str, ...]:
        """Give the globs that cover the name, as the person wrote them."""
        folded = fold(name)
        return tuple(p for p, r in zip(self.patterns, self._each, strict=True) if r.match(folded))
