"""Text: plurals, durations, values that are shown, commands that are printed, names and globs.

What protects an invitation compares names as people see them: names that look the same are the
same. What makes one stale compares them as they are written, but for case and what is invisible.
"""

import fnmatch
import re
import shlex
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from itertools import groupby
from typing import Final, NamedTuple
from unicodedata import category, normalize

PROGRAM_NAME: Final = "invite-sweeper"


def pluralize(number: int, singular: str, plural: str | None = None) -> str:
    """Return a number with its noun; the default plural adds an s."""
    return f"{number:,} {plural_form(number, singular, plural or singular + 's')}"


def plural_form(number: int, singular: str, plural: str) -> str:
    """Return the word that agrees with a number: `is` or `are`, `has` or `have`."""
    return singular if number == 1 else plural


def upper_first(sentence: str) -> str:
    """Return a text whose first letter is upper case."""
    return sentence[:1].upper() + sentence[1:]


def shorten_list(names: Sequence[str], max_names: int) -> str:
    """Return names as one text; those after the first ones are only counted."""
    shown = ", ".join(names[:max_names])
    if len(names) <= max_names:
        return shown
    return f"{shown} and {len(names) - max_names:,} more"


def describe_span(first: str, last: str) -> str:
    """Return the first and the last of some days or numbers, such as `11 to 20`."""
    return first if first == last else f"{first} to {last}"


def describe_spans(numbers: Iterable[int]) -> Iterator[str]:
    """Yield the spans of consecutive numbers, as `describe_span` has them.

    Args:
        numbers: In ascending order.
    """
    # Consecutive numbers are all as far from their positions.
    spans = groupby(enumerate(numbers), key=lambda numbered: numbered[1] - numbered[0])
    for _, span in spans:
        ends = [str(number) for _, number in span]
        yield describe_span(ends[0], ends[-1])


def organization_label(org_id: str, name: str | None) -> str:
    """Return `Name (id)`, or the id alone where the name is unknown; unprintable is escaped.

    A message has a line for each part, so no name may begin one.
    """
    return escape_unprintable(f"{name} ({org_id})" if name else org_id)


_UNITS: Final = {"day": 86_400, "hour": 3_600, "minute": 60}
"""In seconds, the largest first."""


def describe_duration(duration: timedelta) -> str:
    """Return a duration in whole units that suit its size: `90 seconds`, `25 hours`, `29 days`."""
    seconds = duration.total_seconds()
    for unit, size_s in _UNITS.items():
        if seconds >= 2 * size_s:  # 90 minutes are not "1 hour"
            return pluralize(int(seconds // size_s), unit)
    return pluralize(int(seconds), "second")


_CODE: Final = re.compile("`[^`]*`")
_JOINED: Final = "\0"
"""In place of a blank between words that stay together."""


def fill_lines(
    text: str, width: int, *, first: str = "", others: str = "", command: str = ""
) -> str:
    """Return a text in lines of a width; no word is broken, and no command in backticks.

    Args:
        text: With escaped control characters.
        first: What precedes the text.
        others: How the lines after the first one begin.
        command: Follows the text whole, on a line of its own where it does not fit.
    """
    code_joined = _CODE.sub(lambda code: code[0].replace(" ", _JOINED), text)
    filled = textwrap.fill(
        code_joined,
        max(width, 2 * len(others)),  # no line is narrower than its beginning
        initial_indent=first,
        subsequent_indent=others,
        break_long_words=False,
        break_on_hyphens=False,
    ).replace(_JOINED, " ")
    if not command:
        return filled
    *_, last_line = filled.split("\n")
    fits = len(f"{last_line} {command}") <= width
    return f"{filled} {command}" if fits else f"{filled}\n{others}{command}"


_UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""General categories of Unicode (`General_Category` of UAX #44)."""
_PLAIN = re.compile(r"[ -~]*")


def truncate(text: str, max_length: int = 500) -> str:
    """Return a text cut to `max_length` characters, with its length if it was longer."""
    if len(text) <= max_length:
        return text
    return f"{text[:max_length]}… ({len(text):,} characters)"


def escape_unprintable(value: str) -> str:
    """Return the text with unprintable characters replaced by their code, as `[U+202E]`.

    Control characters, direction marks, joiners, lone surrogates and unassigned characters can
    make one name look like another, or reverse a line.
    """
    if _PLAIN.fullmatch(value):  # nearly all texts
        return value
    return "".join(map(_escape, value))


def is_unprintable(character: str) -> bool:
    """Return whether a character has no shape of its own, such as a control character."""
    return category(character) in _UNPRINTABLE


def _escape(character: str) -> str:
    return f"[U+{ord(character):04X}]" if is_unprintable(character) else character


class Program:
    """This program as printed commands call it.

    Attributes:
        called_as: Its name, or the path of its script where the name finds another program.
    """

    def __init__(self) -> None:
        self.called_as = PROGRAM_NAME


PROGRAM: Final = Program()
"""Of this process; `cli.main` sets how it was called before anything is printed."""


def shell_command(*words: str) -> str:
    """Return a command of this program that can be copied into a shell."""
    return shlex.join((PROGRAM.called_as, *words))


class Hint(NamedTuple):
    """What to do, and the command that does it, to be copied as it is; either may be empty."""

    text: str = ""
    command: str = ""

    @property
    def sentence(self) -> str:
        """The text with the command behind it."""
        return f"{self.text} {self.command}".strip()


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
    """Return a name; None for one of which nothing is visible, or that is masked (`a***@x.org`)."""
    if not name or "*" in name:
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
