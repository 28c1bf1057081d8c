"""A ping monitor, which alerts when no message comes: success, or `/fail` at the same address."""

from urllib.parse import urlsplit, urlunsplit

from typing_extensions import override

from invite_sweeper.redaction import SECRETS
from invite_sweeper.report.document import Document
from invite_sweeper.report.receivers.base import TextReceiver
from invite_sweeper.report.receivers.lines import message_lines
from invite_sweeper.report.receivers.sending import Message


class Ping(TextReceiver):
    """A monitor such as Healthchecks. It receives every run, and no announcement."""

    is_monitor = True

    @override
    def text_message(self, document: Document, command: str, *, has_failed: bool) -> Message:
        url = self.address()
        if has_failed:
            parts = urlsplit(url)
            url = urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/fail"))
        text = "\n".join(line.sentence for line in message_lines(document))
        body = SECRETS.redact(text).encode()
        return Message(url, body, {"Content-Type": "text/plain; charset=utf-8"})
