"""The limit on invitations that one address may send."""

from collections import deque
from collections.abc import Callable

from invite_sweeper.simulator.answers import Answer, error

_MINUTE_S = 60


class Mailroom:
    """Counts invitations by the address that asked for them.

    Attributes:
        per_minute: None for any number.

    Source: quoted in the notes on the recordings, section 3: 10 a minute, status 400.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self.per_minute: int | None = 10
        self._monotonic = monotonic
        self._sent: dict[str, deque[float]] = {}

    def refuse(self, client_ip: str) -> Answer | None:
        """Count one more invitation, or answer why it is not sent."""
        if self.per_minute is None:
            return None
        sent = self._sent.setdefault(client_ip, deque())
        now_s = self._monotonic()
        while sent and sent[0] <= now_s - _MINUTE_S:
            sent.popleft()
        if len(sent) >= self.per_minute:
            detail = f"At most {self.per_minute} invitations a minute may be sent from one address."
            return error(400, "INVITATIONS_RATE_LIMITED_IP", detail, client_ip)
        sent.append(now_s)
        return None
