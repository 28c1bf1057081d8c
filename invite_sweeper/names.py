"""Names and ids, and the globs of a policy that select them.

What protects an invitation compares names as people see them: names that look the same are the
same. What makes one stale compares them as they are written, but for case and what is invisible.
"""

import fnmatch
import re
from collections.abc import Callable, Iterable
from typing import Final
from unicodedata import category, normalize

ATLAS_ID: Final = "[0-9a-f]{24}"
"""The regular expression of an id of a project, an organization, a user or an invitation.

Source: the ids in all recordings, and the patterns of Atlas's OpenAPI document.
"""


is_atlas_id: Final = re.compile(ATLAS_ID).fullmatch
"""Matches a text that is an id of Atlas: 24 lower-case hex digits."""


def casefold_visible(name: str) -> str:
    """Return the form of a name for comparisons.

    It ignores case and differences that are not visible: Unicode composition (NFC), format
    characters such as zero-width spaces, and white space at both ends.
    """
    if name.isascii():
        return name.strip().lower()
    composed = normalize("NFC", name)
    visible_text = "".join(char for char in composed if category(char) != "Cf")
    return normalize("NFC", visible_text.casefold()).strip()


def casefold_lookalike(name: str) -> str:
    """Return the form under which names that look the same are equal.

    Beyond `casefold_visible`: compatibility forms (full-width letters, ligatures), every
    character without a shape, the closing dot of a domain, and domain labels in punycode. Two
    different names may get one form, so it is only used where a match protects an invitation.

    A name too long for the audit log is compared as it is displayed: its invitations are kept.

    Source: UAX #44, `Default_Ignorable_Code_Point`; RFC 3492 for punycode.
    """
    folded = casefold_visible(name)
    if len(name) > _MAX_LOOKALIKE_LENGTH or _is_plain(name, folded):
        return folded
    visible_name = _visible(normalize("NFKC", name)).strip()
    local_part, at, domain = visible_name.rpartition("@")
    domain = domain.replace("\u3002", ".")  # the full stop of Chinese and Japanese
    if at:  # a name without an address may end with a dot
        domain = domain.removesuffix(".")
    decoded_domain = ".".join(_decode_label(label) for label in domain.split("."))
    folded = f"{local_part}{at}{decoded_domain}".casefold()
    # Decoded labels and folded letters may be of another form again.
    return _visible(normalize("NFKC", folded)).strip()


def visible_name(name: str | None) -> str | None:
    """Return a name; None for one of which nothing is visible, which is no name."""
    if not name:
        return None
    # An address as most are: its first character can be seen, and stays in each form.
    if name.isascii() and name[0].isalnum() and "@" in name:
        return name
    return name if casefold_lookalike(name) else None


_MAX_LOOKALIKE_LENGTH = 4096


def _is_plain(name: str, folded: str) -> bool:
    """Return whether a name is the same in each form, as most are: no punycode, no closing dot."""
    return name.isascii() and name.isprintable() and "xn--" not in folded and not name.endswith(".")


def _visible(text: str) -> str:
    return "".join(character for character in text if not _is_invisible(character))


def _is_invisible(character: str) -> bool:
    if category(character) in ("Cc", "Cf"):
        return True
    code = ord(character)
    return any(low <= code <= high for low, high in _INVISIBLE)


def _decode_label(label: str) -> str:
    """Return a label of a domain without punycode; one that cannot be decoded stays."""
    if label[:4].lower() != "xn--":
        return label
    try:
        return label[4:].encode("ascii").decode("punycode")
    except UnicodeError:
        return label


# fmt: off
_INVISIBLE = (
    (0x034F, 0x034F), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F), (0x2065, 0x2065),
    (0x2800, 0x2800), (0x3164, 0x3164), (0xFE00, 0xFE0F), (0xFFA0, 0xFFA0), (0xFFF0, 0xFFF8),
    (0xE0000, 0xE0FFF),
)
# fmt: on
"""Ranges of characters without a shape that are neither control nor format characters."""


class Globs:
    """A list of globs (`*`, `?`, `[abc]`, `[!abc]`) that matches if any of them does.

    A glob must match the whole name, or equal it: `Sandbox [old]` is a name, too. An empty list
    matches nothing.

    Args:
        protects: A match protects an invitation: names that look the same are the same.
    """

    def __init__(self, patterns: Iterable[str], *, protects: bool = False) -> None:
        globs = tuple(patterns)
        self._regexes: list[tuple[Callable[[str], str], re.Pattern[str]]] = []
        if not globs:  # an empty regular expression would match an empty name
            return
        folds = [casefold_visible]
        if protects:
            folds.append(casefold_lookalike)
        for fold in folds:
            alternatives = [f"(?:{_glob_regex(fold(glob))})" for glob in globs]
            self._regexes.append((fold, re.compile("|".join(alternatives))))

    def matches(self, name: str) -> bool:
        """Return whether any glob matches the name."""
        return any(regex.match(fold(name)) for fold, regex in self._regexes)


def _glob_regex(glob: str) -> str:
    """Return the regular expression of a glob; a name with brackets also equals itself."""
    regex = fnmatch.translate(glob)
    if "[" not in glob:
        return regex
    return rf"(?:{regex}|{re.escape(glob)}\Z)"


class IdsAndGlobs:
    """Entries that select projects or organizations: ids of 24 hex digits, globs on the name.

    An id is compared with ids alone and a glob with names alone, so that no glob selects a
    project by the hex digits of its id, and no project can be named to look like another.

    Attributes:
        has_globs: Some entries cannot be compared where the name is not known.

    Args:
        protects: A match protects invitations: names that look the same are the same.
    """

    def __init__(self, patterns: Iterable[str], *, protects: bool = False) -> None:
        self._ids: set[str] = set()
        globs: list[str] = []
        for pattern in patterns:
            possible_id = pattern.strip().lower()
            if is_atlas_id(possible_id):
                self._ids.add(possible_id)
            else:
                globs.append(pattern)
        self.has_globs = bool(globs)
        self._globs = Globs(globs, protects=protects)

    def matches(self, project_id: str, name: str | None) -> bool:
        """Return whether any entry selects the project; no glob does without a name."""
        if project_id.lower() in self._ids:
            return True
        return name is not None and self._globs.matches(name)


_GLOB_CHARACTERS: Final = str.maketrans({"*": "[*]", "?": "[?]", "[": "[[]"})
"""As characters of a glob that stand for themselves."""


def exact_glob(username: str) -> str:
    """Return the glob that matches this name and no other."""
    return username.translate(_GLOB_CHARACTERS)
