"""What is shown as data: headline, facts, tables, and what needs attention with the exact command.

Pure functions make documents from records; terminal, page, Markdown and messages render them. A
document has no width, no colour and no markup, and its texts are safe to show: cut, redacted, and
with unprintable characters escaped.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Literal, NamedTuple, Self, TypeVar

from invite_sweeper.endings import Style
from invite_sweeper.json_text import parse_timestamp
from invite_sweeper.report.table import Column, Table
from invite_sweeper.text import Hint

_T = TypeVar("_T")
MAX_TABLE_ROWS: Final = 500
"""Rows of a table of a page; the audit log has all."""


class Fact(NamedTuple):
    """A label and a text.

    Attributes:
        label: Empty or blanks for a sentence, which stands behind them.
        style: Of the label, or of the sentence.
        is_whole: It stays on one line, so that the text can be copied.
    """

    label: str
    text: str
    style: Style = "plain"
    is_whole: bool = False

    @property
    def sentence(self) -> str:
        """The label with the text; without one, the label alone."""
        return f"{self.label}: {self.text}" if self.text else f"{self.label}."


class Attention(NamedTuple):
    """What needs attention.

    Attributes:
        messages: What happened, a sentence each.
        hint: What to do, with the exact command; empty if nothing.
        kind: An error and a warning are on stderr by themselves; a reason only explains why the run
            did not do everything.
    """

    title: str
    messages: tuple[str, ...] = ()
    hint: Hint = Hint()
    kind: Literal["error", "warning", "reason"] = "reason"

    @property
    def text(self) -> str:
        """The title with the messages, a line each."""
        return Fact(self.title, "\n".join(self.messages)).sentence


class Bar(NamedTuple):
    """A bar of a picture, such as of one night.

    Attributes:
        label: Short, below the bar.
        number: What a tile shows of it, as text.
        mark: Short, where the number does not say all; `meaning` says it in words.
        text: What the mark and the style say, in words, for screen readers.
        parts: Numbers, in the order of the picture's names.
        level: The point of the line; None where it is not known.
    """

    label: str
    number: str
    mark: str
    meaning: str
    style: Style
    text: str
    parts: tuple[int, ...]
    level: int | None


class Picture(NamedTuple):
    """A picture of what a table has as numbers: a tile and a bar each, and a line.

    Attributes:
        names: Of the parts of each bar.
        line: What the line shows.
        remark: How to read the tiles.
    """

    names: tuple[str, ...]
    line: str
    remark: str
    bars: tuple[Bar, ...]


class Section(NamedTuple):
    """A part of a document.

    Attributes:
        heading: Empty for what is all of a document.
        facts: Below a table, what the words in its rows mean.
        sentences: A line each.
        style: Of the heading.
        total: Number of rows, facts or sentences, shown or not, as the heading has it; 0 without.
        command: Lists all of them.
        picture: Of the table.
        texts: Long ones, of several lines, which a page shows on request.
    """

    heading: str = ""
    facts: tuple[Fact, ...] = ()
    sentences: tuple[str, ...] = ()
    table: Table | None = None
    style: Style = "plain"
    total: int = 0
    command: str = ""
    picture: Picture | None = None
    texts: tuple[Fact, ...] = ()

    @classmethod
    def of(
        cls,
        heading: str,
        key: str,
        columns: Sequence[Column[_T]],
        records: Sequence[_T],
        command: str = "",
        max_rows: int = MAX_TABLE_ROWS,
    ) -> Self:
        """Return the table of the first of some records, with the command that lists all."""
        table = Table.of(key, columns, records[:max_rows])
        return cls(heading, table=table, total=len(records), command=command)

    @property
    def shown(self) -> int:
        """How many of `total` it has."""
        if self.table is not None:
            return len(self.table.rows)
        return len(self.facts) + len(self.sentences)


def with_content(sections: Iterable[Section]) -> tuple[Section, ...]:
    """Return the sections that show something."""
    return tuple(section for section in sections if section.shown)


class Document(NamedTuple):
    """What a command, a page or a message shows.

    Attributes:
        headline: The status, and what was done or found; empty if only sections are shown.
        attention: The most urgent first; empty if nothing needs attention.
        remarks: Sentences about the policy and the setup that need none; a page has them.
        closing: What is copied, at the end.
        title: Of a page, which has one above the headline.
    """

    headline: Fact = Fact("", "")
    facts: tuple[Fact, ...] = ()
    sections: tuple[Section, ...] = ()
    attention: tuple[Attention, ...] = ()
    remarks: tuple[str, ...] = ()
    closing: tuple[Fact, ...] = ()
    title: str = ""

    def brief(self) -> Iterator[Hint]:
        """Yield the headline and what needs attention, a line each: for a log, mail or message."""
        if self.headline.text:
            yield Hint(self.headline.sentence)
        for attention in self.attention:
            yield from map(Hint, attention.text.split("\n"))
            if attention.hint.text:
                yield attention.hint._replace(text=f"What to do: {attention.hint.text}")


def describe_instant(text: str) -> str:
    """Return an instant of the log to the minute."""
    instant = parse_timestamp(text)
    return f"{instant:%Y-%m-%d %H:%M} UTC" if instant is not None else "an unknown time"
