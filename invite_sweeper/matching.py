"""Names and globs: how one name is compared with another, everywhere the same."""

import fnmatch
import re
from collections.abc import Iterable
from unicodedata import category, normalize


def fold(name: str) -> str:
    """Give the form of a name that comparisons use: case does not count.

    Nor does what a person cannot see on a screen: how a letter is composed (NFC), signs
    without a shape of their own, and space at either end.
    """
    if name.isascii():
        return name.strip().lower()
    shown = "".join(sign for sign in normalize("NFC", name) if category(sign) != "Cf")
    return normalize("NFC", shown.casefold()).strip()


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
