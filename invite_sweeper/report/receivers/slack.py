"""Slack, and chats that take its incoming webhooks (Mattermost, Rocket.Chat)."""

import re
from html import escape
from typing import Final

from typing_extensions import override

from invite_sweeper.report.document import Document
from invite_sweeper.report.receivers.base import TextReceiver
from invite_sweeper.report.receivers.lines import first_lines
from invite_sweeper.report.receivers.sending import Message
from invite_sweeper.text import Hint

_OPTIONS: Final = {"parse": "none", "unfurl_links": False, "unfurl_media": False}
"""No link is made from a name that others chose, and Slack fetches none.

Source: Slack, "Unfurling" and "Formatting text". Read 2026-11-27.
"""
_MAX_CHARACTERS: Final = 30_000
"""Slack cuts a text after 40,000. Source: Slack, `chat.postMessage`. Read 2026-12-01."""
_BARE_LINK: Final = re.compile(r"://|\bwww\.", re.IGNORECASE)
"""Where an invisible space is added: some chats make links of text in any case."""


class Slack(TextReceiver):
    """An incoming webhook. The first line is bold, and a command is code, untouched."""

    @override
    def text_message(self, document: Document, command: str, *, has_failed: bool) -> Message:
        lines = first_lines(document, _MAX_CHARACTERS, lambda line: len(_text(line)) + 1, command)
        first, *rest = map(_text, lines)
        return self.json_message({"text": "\n".join((f"*{first}*", *rest)), **_OPTIONS})


def _text(line: Hint) -> str:
    """Return a line in Slack's markup; a sentence has no other than that of its command."""
    text = escape(_BARE_LINK.sub("\\g<0>\u200b", line.text), quote=False)
    if not line.command:
        return text
    fence = "```" if "`" in line.command else "`"
    return f"{text} {fence}{escape(line.command, quote=False)}{fence}"
