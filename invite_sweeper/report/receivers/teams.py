"""Microsoft Teams: an Adaptive Card for a workflow that posts what its webhook receives.

Every line is a text run, in which Teams reads no Markdown: a name that others chose is text.

Source: Microsoft, "Post a workflow when a webhook request is received in Microsoft Teams", and
Adaptive Cards 1.4, `RichTextBlock` and `TextRun`. Read 2026-12-01.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from typing_extensions import override

from invite_sweeper.endings import Style
from invite_sweeper.json_text import to_json
from invite_sweeper.report.receivers.base import Receiver
from invite_sweeper.report.receivers.lines import first_lines
from invite_sweeper.report.receivers.run_message import RunMessage
from invite_sweeper.report.receivers.sending import Message
from invite_sweeper.text import Hint

_MAX_BYTES: Final = 20_000
"""Of all blocks. Teams refuses messages over about 28 KB, and counts what it makes of them."""
_COLORS: Final[dict[Style, str]] = {"good": "Good", "warning": "Warning", "bad": "Attention"}


class Teams(Receiver):
    """The address of a workflow. The first line is large, and a command is monospaced."""

    @override
    def run_message(self, message: RunMessage) -> Message:
        document = message.document
        lines = first_lines(
            document,
            _MAX_BYTES,
            lambda line: len(to_json(_block(line))) + 1,
            message.advisor.list_run(),
        )
        return self._message(lines, document.headline.style)

    @override
    def test_message(self, text: str, now: datetime) -> Message:
        return self._message([Hint(text)], "plain")

    def _message(self, lines: Iterable[Hint], style: Style) -> Message:
        first, *rest = lines
        title = _block(first, size="Medium", weight="Bolder", color=_COLORS.get(style, "Default"))
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
