"""A document as text for chats and monitors: its lines, and how Slack and Teams lay them out."""

import re
from collections.abc import Callable, Iterator, Mapping
from html import escape
from typing import Final

from invite_sweeper.endings import Style
from invite_sweeper.json_text import to_json
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


def _first_lines(
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


# Slack, and chats that take its incoming webhooks (Mattermost, Rocket.Chat) -----------------------

_SLACK_OPTIONS: Final = {"parse": "none", "unfurl_links": False, "unfurl_media": False}
"""No link is made from a name that others chose, and Slack fetches none.

Source: Slack, "Unfurling" and "Formatting text". Read 2026-11-27.
"""
_SLACK_CHARACTERS: Final = 30_000
"""Slack cuts a text after 40,000. Source: Slack, `chat.postMessage`. Read 2026-12-01."""
_BARE_LINK: Final = re.compile(r"://|\bwww\.", re.IGNORECASE)
"""Where an invisible space is added: some chats make links of text in any case."""


def slack_message(document: Document, command: str) -> dict[str, object]:
    """Return a document for an incoming webhook: its first line bold, a command as code.

    Args:
        command: Lists everything.
    """
    lines = _first_lines(
        document, _SLACK_CHARACTERS, lambda line: len(_slack_line(line)) + 1, command
    )
    first, *rest = map(_slack_line, lines)
    return {"text": "\n".join((f"*{first}*", *rest)), **_SLACK_OPTIONS}


def _slack_line(line: Hint) -> str:
    """Return a line in Slack's markup; a sentence has no other than that of its command."""
    text = escape(_BARE_LINK.sub("\\g<0>\u200b", line.text), quote=False)
    if not line.command:
        return text
    fence = "```" if "`" in line.command else "`"
    return f"{text} {fence}{escape(line.command, quote=False)}{fence}"


# Microsoft Teams: an Adaptive Card for a workflow that posts what its webhook receives ------------

_TEAMS_BYTES: Final = 20_000
"""Of all blocks. Teams refuses messages over about 28 KB, and counts what it makes of them."""
_TEAMS_COLORS: Final[Mapping[Style, str]] = {
    "good": "Good",
    "warning": "Warning",
    "bad": "Attention",
}


def teams_message(document: Document, command: str) -> dict[str, object]:
    """Return a document for a workflow: its first line large, a command monospaced.

    Every line is a text run, in which Teams reads no Markdown: a name that others chose is text.

    Source: Microsoft, "Post a workflow when a webhook request is received in Microsoft Teams", and
    Adaptive Cards 1.4, `RichTextBlock` and `TextRun`. Read 2026-12-01.

    Args:
        command: Lists everything.
    """
    lines = _first_lines(
        document, _TEAMS_BYTES, lambda line: len(to_json(_teams_block(line))) + 1, command
    )
    first, *rest = lines
    color = _TEAMS_COLORS.get(document.headline.style, "Default")
    title = _teams_block(first, size="Medium", weight="Bolder", color=color)
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "msteams": {"width": "Full"},
        "body": [title, *map(_teams_block, rest)],
    }
    attachment = {
        "contentType": "application/vnd.microsoft.card.adaptive",
        "contentUrl": None,
        "content": card,
    }
    return {"type": "message", "attachments": [attachment]}


def _teams_block(line: Hint, **properties: str) -> dict[str, object]:
    """Return the block of a line.

    Args:
        properties: Of its text, as of a `TextRun`.
    """
    text = f"{line.text} " if line.command else line.text
    runs = [{"type": "TextRun", "text": text, **properties}]
    if line.command:
        runs.append({"type": "TextRun", "text": line.command, "fontType": "Monospace"})
    return {"type": "RichTextBlock", "inlines": runs, "spacing": "Small"}
