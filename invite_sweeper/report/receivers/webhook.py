"""A webhook: the result of the run as JSON, signed as Standard Webhooks does.

Source: the specification of Standard Webhooks 1.0. Read 2026-11-27.
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from msgspec import structs
from typing_extensions import override

from invite_sweeper.endings import may_repeat
from invite_sweeper.redaction import SIGNING_KEY_PREFIX
from invite_sweeper.report.document import Attention
from invite_sweeper.report.receivers.base import Receiver
from invite_sweeper.report.receivers.run_message import MAX_USERS, RunMessage
from invite_sweeper.report.receivers.sending import Message, NotSent
from invite_sweeper.report.rows import planned_rows, sorted_rows
from invite_sweeper.report.run import planned_result, result_json
from invite_sweeper.sweep.waiting import WaitingInvitation

_WITHOUT_PEOPLE: Final = (
    "source",
    "org_id",
    "project_id",
    "project_name",
    "rule",
    "announced_at",
    "deletable_from",
    "new",
    "unread",
)
"""Fields of an announcement that name no person."""


class Webhook(Receiver):
    """A program of the operator's own. It receives everything that waits, new or not."""

    @override
    def run_message(self, message: RunMessage) -> Message:
        return self._signed(self._fields(message), message.finished_at)

    @override
    def test_message(self, text: str, now: datetime) -> Message:
        return self._signed({"test": True, "headline": text}, now)

    def _fields(self, message: RunMessage) -> Mapping[str, object]:
        """Return the result as `--output json` has it, with the story and what waits.

        People are named only with `details`: of the plan the first, of what waits all.
        """
        document = message.document
        fields = result_json(message.run)
        del fields["lists"], fields["invitations"], fields["plan"]
        fields |= {
            "headline": next(document.brief()).text,
            "attention": [_attention(attention) for attention in document.attention],
            "succeeded": message.has_succeeded,
            "verdict": message.run.status,
            "retryable": may_repeat(fields["reasons"]),
            "finished_at": message.finished_at,
            "announcements": None,
        }
        if message.waiting is not None:
            fields["announcements"] = [
                _announcement(invitation, details=message.details) for invitation in message.waiting
            ]
        if message.details:
            planned = sorted_rows(planned_rows(message.run))[:MAX_USERS]
            fields["invitations"] = [planned_result(row) for row in planned]
        return fields

    def _signed(self, fields: Mapping[str, object], now: datetime) -> Message:
        """Return a message whose body, identifier and time are signed.

        Raises:
            NotSent: The key is missing or not Base64, or as `address`.
        """
        message = self.json_message(fields)
        # One identifier for one content: a receiver recognizes a message that is sent twice.
        identifier = f"msg_{hashlib.sha256(message.body).hexdigest()[:32]}"
        timestamp = str(int(now.timestamp()))
        signed = f"{identifier}.{timestamp}.".encode() + message.body
        digest = hmac.digest(self._key(self.settings.secret_env or ""), signed, "sha256")
        signature = base64.b64encode(digest).decode()
        signing = {
            "webhook-id": identifier,
            "webhook-timestamp": timestamp,
            "webhook-signature": f"v1,{signature}",
        }
        return message._replace(headers={**message.headers, **signing})

    def _key(self, variable: str) -> bytes:
        """Return the signing key: the bytes of the variable, or what it has in Base64.

        Raises:
            NotSent: It is missing, or not Base64.
        """
        key = self._environment.get(variable, "")
        if not key:
            raise NotSent(f"the signing key is missing: {variable} is not set")
        if not key.startswith(SIGNING_KEY_PREFIX):
            return key.encode()
        try:
            return base64.b64decode(key.removeprefix(SIGNING_KEY_PREFIX), validate=True)
        except ValueError:
            text = f"the signing key in {variable} is not Base64 after {SIGNING_KEY_PREFIX}"
            raise NotSent(text) from None


def _attention(attention: Attention) -> dict[str, object]:
    """Return what needs attention; a hint is as in an error, with its command beside it."""
    hint = attention.hint
    return {**attention._asdict(), "hint": hint.sentence, "command": hint.command}


def _announcement(invitation: WaitingInvitation, *, details: bool) -> dict[str, object]:
    """Return what waits; without `details`, without a person.

    An id of a list of users is that of a person.
    """
    fields = structs.asdict(invitation)
    del fields["age_days"]  # that of the announcement
    if not invitation.unread:
        del fields["unread"]
    if details:
        return fields
    return {name: fields[name] for name in _WITHOUT_PEOPLE if name in fields}
