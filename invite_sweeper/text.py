"""Text: plurals, durations, values that are shown, and commands that are printed."""

import re
import shlex
import textwrap
from collections.abc import Sequence
from datetime import timedelta
from typing import Final, NamedTuple
from unicodedata import category

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
