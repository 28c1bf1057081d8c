"""Microsoft Teams: an Adaptive Card for a workflow that posts what its webhook receives.

Every line is a text run, in which Teams reads no Markdown: a name that others chose is text.

Source: Microsoft, "Post a workflow when a webhook request is received in Microsoft Teams", and
Adaptive Cards 1.4, `RichTextBlock` and `TextRun`. Read 2026-12-01.
"""

from typing import Final

from typing_extensions import override

from invite_sweeper.endings import Style
from invite_sweeper.json_text import to_json
from invite_sweeper.report.document import Document
from invite_sweeper.report.receivers.base import TextReceiver
from invite_sweeper.report.receivers.lines import first_lines
from invite_sweeper.report.receivers.sending import Message
from invite_sweeper.text import Hint

_MAX_BYTES: Final = 20_000
"""Of all blocks. Teams refuses messages over about 28 KB, and counts what it makes of them."""
_COLORS: Final[dict[Style, str]] = {"good": "Good", "warning": "Warning", "bad": "Attention"}


class Teams(TextReceiver):
    """The address of a workflow. The first line is large, and a command is monospaced."""

    @override
    def text_message(self, document: Document, command: str, *, has_failed: bool) -> Message:
        first, *rest = first_lines(
            document, _MAX_BYTES, lambda line: len(to_json(_block(line))) + 1, command
        )
        color = _COLORS.get(document.headline.style, "Default")
        title = _block(first, size="Medium", weight="Bolder", color=color)
        card = {
            "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
            "type": "AdaptiveCard",
            "version": "1.4",
            "msteams": {"width": "Full"},
            "body": [title, *map(_block, rest)],
        }
        attachment = {
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": None,
            "content": card,
        }
        return self.json_message({"type": "message", "attachments": [attachment]})


def _block(line: Hint, **properties: str) -> dict[str, object]:
    """Return the block of a line.

    Args:
        properties: Of its text, as of a `TextRun`.
    """
    text = f"{line.text} " if line.command else line.text
    runs = [{"type": "TextRun", "text": text, **properties}]
    if line.command:
        runs.append({"type": "TextRun", "text": line.command, "fontType": "Monospace"})
    return {"type": "RichTextBlock", "inlines": runs, "spacing": "Small"}
