"""A ping monitor, which alerts when no message comes: success, or `/fail` at the same address."""

from datetime import datetime
from urllib.parse import urlsplit, urlunsplit

from typing_extensions import override

from invite_sweeper.redaction import SECRETS
from invite_sweeper.report.receivers.base import Receiver
from invite_sweeper.report.receivers.lines import message_lines
from invite_sweeper.report.receivers.run_message import RunMessage
from invite_sweeper.report.receivers.sending import Message


class Ping(Receiver):
    """A monitor such as Healthchecks. It receives every run, and no announcement."""

    is_monitor = True

    @override
    def run_message(self, message: RunMessage) -> Message:
        lines = message_lines(message._replace(waiting=None).document)
        text = "\n".join(line.sentence for line in lines)
        return self._message(text, has_failed=not message.has_succeeded)

    @override
    def test_message(self, text: str, now: datetime) -> Message:
        return self._message(text, has_failed=False)

    def _message(self, text: str, *, has_failed: bool) -> Message:
        url = self.address()
        if has_failed:
            parts = urlsplit(url)
            url = urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/fail"))
        body = SECRETS.redact(text).encode()
        return Message(url, body, {"Content-Type": "text/plain; charset=utf-8"})
