"""The simulated Atlas: how it is set, and who may ask it."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta

from invite_sweeper.simulator.auth import (
    Access,
    Account,
    AccountKind,
    AccountStore,
    DigestServer,
    OAuthServer,
)
from invite_sweeper.simulator.data import (
    DataWithUsers,
    PagingQuirks,
    RequestLog,
    RequestRecord,
    utc_now,
)
from invite_sweeper.simulator.faults import FaultPlan
from invite_sweeper.simulator.responses import VersionResolver
from invite_sweeper.simulator.throttling import (
    ENDPOINT_SETS,
    BucketLimit,
    InviteRateLimit,
    Throttling,
)


class SimulatedAtlas(DataWithUsers):
    """An Atlas in memory; `serve` gives it a socket.

    Attributes:
        clock: Its idea of now.
        date_offset: How far its `Date` header is ahead of `clock`.
        gone_status: What a DELETE of an unknown invitation answers, 404 or 400 with
            `INVALID_INVITATION_ID`; which of them Atlas sends is not known.
        gzip: Whether answers to GET and POST are compressed where the client takes it.
        mailroom: Limit on invitations sent. See `mailroom`.
        rate_limits_served: Whether `/rateLimits` is there.
        accounts: Credentials. See `accounts`.
        digest: Nonces. See `digest`.
        oauth: Tokens. See `oauth`.
        throttling: Buckets. See `throttling`.
        versions: Versions that are gone. See `versions`.
        paging: Oddities of `/groups`. See `oddities`.
        user_paging: The same for the lists of users.
        faults: What goes wrong. See `fault_plan`.
        journal: What it has been asked. See `journal`.
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
        self.date_offset = timedelta(0)
        self.gone_status = 404
        self.gzip = False
        self.invite_rate_limit = InviteRateLimit(monotonic)
        self.rate_limits_served = True
        self.digest = DigestServer(monotonic)
        self.accounts = AccountStore(self.digest)
        self.oauth = OAuthServer(self.accounts, monotonic)
        self.throttling = Throttling(monotonic)
        self.versions = VersionResolver()
        self.paging = PagingQuirks()
        self.user_paging = PagingQuirks()
        self.faults = FaultPlan(seed)
        self.request_log = RequestLog()
        self._access_limits: dict[str, Access] = {}

    @property
    def requests(self) -> Sequence[RequestRecord]:
        """The last 10,000 requests with their answers, oldest first."""
        return tuple(self.request_log.requests)

    @property
    def deleted(self) -> Sequence[str]:
        """Ids of what was deleted over HTTP, in that order."""
        return tuple(self.request_log.deleted)

    @property
    def deletes_received(self) -> int:
        """How many DELETE requests arrived, whatever came of them."""
        return self.request_log.received["DELETE"]

    def add_service_account(self, *org_ids: str) -> Account:
        """Credentials for the organization given (or the first one)."""
        number = len(self.accounts)
        name, secret = f"mdb_sa_id_{number:024x}", f"mdb_sa_sk_{number:040x}"
        return self._add("service account", name, secret, org_ids)

    def add_api_key(self, *org_ids: str) -> Account:
        """Credentials for the organization given (or the first one)."""
        number = len(self.accounts)
        # Source: public keys are 8 lower-case letters; private ones have the form of a UUID.
        name = f"{number:08d}".translate(str.maketrans("0123456789", "qwzrtkplmn"))
        return self._add(
            "API key", name, f"5ec4e7{number:02x}-0000-4000-8000-{number:012x}", org_ids
        )

    def add_token(self, *org_ids: str) -> Account:
        """A ready bearer token for the organization given (or the first one)."""
        number = len(self.accounts)
        return self._add("token", f"token-{number}", f"ready-token-{number:032x}", org_ids)

    def limit_access(self, scope_id: str, access: Access = Access.READ) -> None:
        """From now on nobody may do more than `access` in this project or organization."""
        self._access_limits[scope_id] = access

    def restore_access(self, scope_id: str) -> None:
        """Take back `forbid`."""
        self._access_limits.pop(scope_id, None)

    def access_to(self, account: Account, org_id: str, scope_id: str) -> Access:
        """What an account may do in a project or organization that belongs to `org_id`."""
        max_access = (
            self._access_limits.get(scope_id, Access.OWNER) if self._access_limits else Access.OWNER
        )
        return min(account.access_to(org_id, scope_id), max_access)

    def set_bucket(
        self,
        endpoint_set: str,
        scope_id: str | None = None,
        *,
        capacity: int,
        refill: int,
        period_s: float = 60.0,
        anchor_s: float | None = None,
    ) -> None:
        """Give a bucket other figures than the documented ones; it starts full.

        `endpoint_set` is a key of `ENDPOINT_SETS`; `scope_id` a project, an organization or
        an account's name, None for all of that set; steps are counted from `anchor_s`
        (monotonic), None for the first use.
        """
        limits = BucketLimit(capacity, refill, period_s)
        self.throttling.set_bucket(ENDPOINT_SETS[endpoint_set], scope_id, limits, anchor_s)

    def spend(self, endpoint_set: str, scope_id: str, tokens: int = 1) -> int:
        """Spend tokens as another client would; gives how many there were to spend."""
        return self.throttling.spend(ENDPOINT_SETS[endpoint_set], scope_id, tokens)

    def _add(self, kind: AccountKind, name: str, secret: str, org_ids: tuple[str, ...]) -> Account:
        account = Account(kind, name, secret, org_ids or (next(iter(self.organizations)),))
        self.accounts.add(account)
        return account
