"""What every kind of receiver has: an address, and a message about the end of a run."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import datetime
from typing import ClassVar
from urllib.parse import urlsplit

from typing_extensions import override

from invite_sweeper.atlas.http import is_loopback
from invite_sweeper.json_text import to_json
from invite_sweeper.policy import Notification
from invite_sweeper.redaction import SECRETS
from invite_sweeper.report.document import Document, Fact
from invite_sweeper.report.receivers.run_message import RunMessage
from invite_sweeper.report.receivers.sending import Message, NotSent


class Receiver(ABC):
    """A receiver of notifications: one kind, at the address in a variable of the environment.

    Attributes:
        is_monitor: It receives every run, because it alerts on silence, and no announcement.
    """

    is_monitor: ClassVar[bool] = False

    def __init__(self, settings: Notification, environment: Mapping[str, str]) -> None:
        self.settings = settings
        self._environment = environment

    @property
    def name(self) -> str:
        """The kind and the variable with the address, which is secret."""
        return f"{self.settings.kind} ({self.settings.url_env})"

    @abstractmethod
    def run_message(self, message: RunMessage) -> Message:
        """Return the message about the end of a run.

        Raises:
            NotSent: A variable is not set, or the address is not allowed.
        """

    @abstractmethod
    def test_message(self, text: str, now: datetime) -> Message:
        """Return a message that proves the address and the key; raises as `run_message`."""

    def address(self) -> str:
        """Return the address; https, or loopback.

        Raises:
            NotSent: It is not set, or not allowed.
        """
        variable = self.settings.url_env
        url = self._environment.get(variable, "").strip()
        if not url:
            raise NotSent(f"{variable} is not set")
        try:
            parts = urlsplit(url)
        except ValueError:
            raise NotSent(f"{variable} is not a valid URL") from None
        is_local = parts.scheme == "http" and is_loopback(parts.hostname or "")
        if parts.scheme != "https" and not is_local:
            raise NotSent(f"{variable} does not start with https://")
        return url

    def json_message(self, value: Mapping[str, object]) -> Message:
        """Return a message with a JSON body, without secrets."""
        body = SECRETS.redact_bytes(to_json(value))
        return Message(self.address(), body, {"Content-Type": "application/json"})


class TextReceiver(Receiver):
    """A receiver that shows a document as text."""

    @override
    def run_message(self, message: RunMessage) -> Message:
        if self.is_monitor:
            message = message._replace(waiting=None)
        command = message.advisor.list_run()
        has_failed = not message.has_succeeded
        return self.text_message(message.document, command, has_failed=has_failed)

    @override
    def test_message(self, text: str, now: datetime) -> Message:
        return self.text_message(Document(Fact("", text)), "", has_failed=False)

    @abstractmethod
    def text_message(self, document: Document, command: str, *, has_failed: bool) -> Message:
        """Return the message that has a document, as much of it as the receiver takes.

        Args:
            command: Lists everything.
            has_failed: The run did not do everything.
        """
