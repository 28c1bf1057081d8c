"""The simulated Atlas: its data, settings and accounts, and the requests it received."""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NamedTuple

from invite_sweeper.simulator.auth import (
    Access,
    Account,
    AccountKind,
    AccountStore,
    DigestServer,
    OAuthServer,
)
from invite_sweeper.simulator.calls import Call
from invite_sweeper.simulator.data import Data, RemovedUser, utc_now
from invite_sweeper.simulator.faults import FaultPlan
from invite_sweeper.simulator.throttling import InviteRateLimit, Throttling

_MAX_REQUESTS: Final = 10_000


class RequestRecord(NamedTuple):
    """One request and the status of its response.

    Attributes:
        path: Path and query as sent.
        status: 0 if the connection was reset or no response was sent.
        at_s: Monotonic time of its arrival.
    """

    method: str
    path: str
    status: int
    at_s: float


@dataclass(slots=True)
class PagingQuirks:
    """Irregularities in the pages of a list; none by default.

    Attributes:
        page_size: Maximum items in a page, below the requested number: a short page with a
            `next` link. None for no limit.
        repeated_items: Number of last items of a page that the next page repeats.
        endless: Every page is the first one and has a `next` link.

    Source: the recordings, in which short pages with a `next` link occur.
    """

    page_size: int | None = None
    repeated_items: int = 0
    endless: bool = False


@dataclass(slots=True)
class Versions:
    """Which versions end.

    Attributes:
        retired: Families of endpoints and versions that return a 410; `*` for all versions.
        sunsets: `Sunset` headers by family. The day has no leading zero.

    Source: recordings of 2026-08-10 for both lists of invitations.
    """

    retired: set[tuple[str, str]] = field(default_factory=set)
    sunsets: dict[str, str] = field(
        default_factory=lambda: dict.fromkeys(
            ("invites", "org_invites"), "Thu, 1 Jul 2027 00:00:00 GMT"
        )
    )


class RequestLog:
    """Requests, newest last, and counters.

    Attributes:
        enabled: Whether requests are recorded; the counters always are.
        requests: The last 10,000.
        statuses: Number of responses by status; 0 for no response.
        received: Number of requests by method.
        deleted: Ids of deleted invitations and users, in order.
        removed: The users among them, with their status.
        confirmed: Ids for which a DELETE returned 204.
        deletes_after_confirmation: Ids of the same DELETEs received after that; one entry each.
    """

    def __init__(self) -> None:
        self.enabled = True
        self.requests: deque[RequestRecord] = deque(maxlen=_MAX_REQUESTS)
        self.statuses: Counter[int] = Counter()
        self.received: Counter[str] = Counter()
        self.deleted: list[str] = []
        self.removed: list[RemovedUser] = []
        self.confirmed: set[str] = set()
        self.deletes_after_confirmation: list[str] = []
        self._confirmed_paths: set[str] = set()

    def on_request(self, call: Call) -> None:
        """Count a request on arrival."""
        self.received[call.method] += 1
        # A user has one id in all projects, and a DELETE in each ends another role.
        if call.method == "DELETE" and call.target in self._confirmed_paths:
            self.deletes_after_confirmation.append(call.item_id)

    def on_response(self, record: RequestRecord, item_id: str) -> None:
        """Record a request and its response."""
        self.statuses[record.status] += 1
        if record.method == "DELETE" and record.status == 204:  # noqa: PLR2004 - No Content
            self.confirmed.add(item_id)
            self._confirmed_paths.add(record.path)
        if self.enabled:
            self.requests.append(record)


class SimulatedAtlas(Data):
    """An Atlas in memory. `serve` puts it on a socket.

    Attributes:
        gone_status: Status for a DELETE of an unknown invitation: 404, or 400 with
            `INVALID_INVITATION_ID`. It is not known which of them Atlas sends.
        invite_rate_limit: Limit on new invitations.
        accounts: Credentials.
        digest: HTTP Digest.
        oauth: Access tokens.
        throttling: Token buckets.
        versions: Which versions end.
        paging: Irregularities of the pages of `/groups`.
        user_paging: Irregularities of the pages of user lists.
        team_paging: Irregularities of the pages of team lists.
        faults: Scheduled faults.
        request_log: Received requests.
    """

    def __init__(
        self,
        clock: Callable[[], datetime] = utc_now,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        seed: int = 0,
    ) -> None:
        super().__init__(clock)
        self.monotonic = monotonic
        self.sleep = sleep
        self.gone_status = 404
        self.invite_rate_limit = InviteRateLimit(monotonic)
        self.digest = DigestServer()
        self.accounts = AccountStore(self.digest)
        self.oauth = OAuthServer(self.accounts, monotonic)
        self.throttling = Throttling(monotonic)
        self.versions = Versions()
        self.paging = PagingQuirks()
        self.user_paging = PagingQuirks()
        self.team_paging = PagingQuirks()
        self.faults = FaultPlan(seed)
        self.request_log = RequestLog()
        self._access_limits: dict[str, Access] = {}

    @property
    def requests(self) -> Sequence[RequestRecord]:
        """Return the last 10,000 requests, oldest first."""
        return tuple(self.request_log.requests)

    @property
    def deleted(self) -> Sequence[str]:
        """Return the ids deleted over HTTP, in order."""
        return tuple(self.request_log.deleted)

    @property
    def deletes_received(self) -> int:
        """Return the number of DELETE requests received, with any outcome."""
        return self.request_log.received["DELETE"]

    def add_service_account(self, *org_ids: str) -> Account:
        """Add a service account of the organizations (default: the first one)."""
        number = len(self.accounts)
        name, secret = f"mdb_sa_id_{number:024x}", f"mdb_sa_sk_{number:040x}"
        return self._add("service account", name, secret, org_ids)

    def add_api_key(self, *org_ids: str) -> Account:
        """Add an API key of the organizations (default: the first one)."""
        number = len(self.accounts)
        # Source: public keys are 8 lower-case letters; private keys are UUIDs.
        name = f"{number:08d}".translate(str.maketrans("0123456789", "qwzrtkplmn"))
        return self._add(
            "API key", name, f"5ec4e7{number:02x}-0000-4000-8000-{number:012x}", org_ids
        )

    def add_token(self, *org_ids: str) -> Account:
        """Add a fixed bearer token of the organizations (default: the first one)."""
        number = len(self.accounts)
        return self._add("token", f"token-{number}", f"ready-token-{number:032x}", org_ids)

    def limit_access(self, scope_id: str, access: Access = Access.READ) -> None:
        """Limit the access of all accounts to this project or organization."""
        self._access_limits[scope_id] = access

    def access_to(self, account: Account, org_id: str, scope_id: str) -> Access:
        """Return an account's access to a project or organization of `org_id`."""
        if org_id not in account.org_ids:
            return Access.NONE
        return self._access_limits.get(scope_id, Access.OWNER)

    def _add(self, kind: AccountKind, name: str, secret: str, org_ids: tuple[str, ...]) -> Account:
        org_ids = org_ids or (next(iter(self.organizations)),)
        account = Account(kind, name, secret, org_ids, created_at=self.clock())
        self.accounts.add(account)
        return account
