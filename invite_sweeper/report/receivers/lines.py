"""The lines of a document in a message, each of which a chat shows in its markup."""

from collections.abc import Callable, Iterator

from invite_sweeper.report.document import Document, Section
from invite_sweeper.text import PROGRAM_NAME, Hint, pluralize


def message_lines(document: Document) -> Iterator[Hint]:
    """Yield what happened and what to do, the facts, and what each section names."""
    headline, *attention = document.brief()
    yield Hint(f"{PROGRAM_NAME}: {headline.text}")
    yield from attention
    for fact in document.facts:
        yield Hint(fact.sentence)
    for section in document.sections:
        yield from _section(section)
    for fact in document.closing:
        yield Hint(fact.sentence)


def _section(section: Section) -> Iterator[Hint]:
    if section.heading:
        yield Hint(section.heading)
    for fact in section.facts:
        yield Hint(f"• {fact.sentence}")
    for sentence in section.sentences:
        yield Hint(f"- {sentence}")
    left = section.total - section.shown
    if left > 0:
        yield Hint(f"And {left:,} more:" if section.shown else "To list them:", section.command)


def first_lines(
    document: Document, max_size: int, size: Callable[[Hint], int], command: str
) -> list[Hint]:
    """Return the lines that a message can have, and what counts the others.

    The last line is always there: it is the evidence of what was done.

    Args:
        size: Returns what a line takes of `max_size`.
        command: Lists everything.
    """
    *lines_before, last = message_lines(document)
    taken: list[Hint] = []
    left = max_size - size(last)
    for line in lines_before:
        left -= size(line)
        if left < 0:
            more = pluralize(len(lines_before) - len(taken), "more line")
            return [*taken, Hint(f"And {more}:", command), last]
        taken.append(line)
    return [*taken, last]
