"""A simulated Atlas with what only tests need: a log of requests, and further changes."""

import asyncio
import hashlib
import re
from collections import ChainMap, Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from math import inf
from typing import Any, Final, Literal, NamedTuple

import faults
import msgspec

from invite_sweeper.models import MembershipStatus
from invite_sweeper.simulator import Account, Call, SimulatedAtlas
from invite_sweeper.simulator.auth import TOKEN_PATH
from invite_sweeper.simulator.faults import Fault, FaultPlan, Send
from invite_sweeper.simulator.responses import LOCALHOST, SimulatedResponse
from invite_sweeper.simulator.state import User
from invite_sweeper.simulator.throttling import INVITES, BucketSize, SimulatedBucket

MISSING: Final = object()
"""Marks a key that is left out of an invitation."""
_FIELD = re.compile(r"""(\w+)=(?:"([^"]*)"|([^\s,]+))""")


@dataclass(slots=True)
class ApiKey(Account):
    """An API key; its name is the public key."""

    def environment(self) -> dict[str, str]:
        return {
            "MONGODB_ATLAS_PUBLIC_API_KEY": self.name,
            "MONGODB_ATLAS_PRIVATE_API_KEY": self.secret,
        }


@dataclass(slots=True)
class Token(Account):
    """A fixed bearer token."""

    def environment(self) -> dict[str, str]:
        return {"MONGODB_ATLAS_ACCESS_TOKEN": self.secret}


class DigestServer:
    """Knows its challenges, and verifies what answers them.

    Source: challenges in the recordings; the Government documentation for SHA-256.
    """

    def __init__(self) -> None:
        self.algorithm: Literal["MD5", "SHA-256"] = "MD5"
        self.nonces: set[str] = set()

    def note(self, challenge: str) -> str:
        """Know a challenge; return it with the algorithm."""
        self.nonces.add(self.parse_header(challenge)["nonce"])
        return challenge.replace("MD5", self.algorithm)

    def parse_header(self, header: str) -> dict[str, str]:
        return {name: quoted or plain for name, quoted, plain in _FIELD.findall(header)}

    def is_valid(self, fields: Mapping[str, str], password: str, method: str, uri: str) -> bool:
        """Return whether the fields of a header prove the password for this request.

        Source: RFC 7616, section 3.4.1.
        """
        required = {"realm": "MMS Public API", "qop": "auth", "uri": uri}
        required["algorithm"] = self.algorithm
        sent = {"algorithm": "MD5", **fields}  # MD5 is Digest's default (RFC 7616)
        if not required.items() <= sent.items() or fields.get("nonce") not in self.nonces:
            return False
        user = self._hash(f"{fields['username']}:{fields['realm']}:{password}")
        challenge = ":".join(fields.get(name, "") for name in ("nonce", "nc", "cnonce", "qop"))
        expected = self._hash(f"{user}:{challenge}:{self._hash(f'{method}:{uri}')}")
        return expected == fields.get("response")

    def _hash(self, text: str) -> str:
        return hashlib.new(self.algorithm.replace("-", ""), text.encode()).hexdigest()


class RemovedUser(NamedTuple):
    """A user removed over HTTP, with its status at that time."""

    place_id: str
    user_id: str
    status: MembershipStatus


@dataclass(slots=True)
class RequestRecord:
    """One request and the status of its response.

    Attributes:
        path: Path and query as sent.
        at_s: Monotonic time of its arrival.
        status: 0 while it waits, and if the connection was reset or no response was sent.
    """

    method: str
    path: str
    at_s: float
    status: int = 0


class _Faults(FaultPlan):
    """Scheduled faults between the two that record each request and what it deleted."""

    def __init__(self, record: Fault, executed: Fault) -> None:
        super().__init__()
        self._record = record
        self._executed = executed

    def faults_for(self, method: str, path: str) -> tuple[Fault, ...]:
        return self._record, *super().faults_for(method, path), self._executed


class ObservedAtlas(SimulatedAtlas):
    """A simulated Atlas that records its requests, and knows API keys and fixed tokens.

    Attributes:
        requests: In the order of their arrival.
        received: Their number by method.
        deleted: Ids of the invitations and users deleted over HTTP, in order.
        removed: The users among them, with their status.
    """

    def __init__(self, *clock: Any, **options: Any) -> None:
        super().__init__(*clock, **options)
        self.requests: list[RequestRecord] = []
        self.received: Counter[str] = Counter()
        self.deleted: list[str] = []
        self.removed: list[RemovedUser] = []
        self.digest = DigestServer()
        self.faults = _Faults(self._record, self._executed)
        self._waiting: set[asyncio.Task[Any] | None] = set()

    async def _record(self, call: Call, send: Send) -> SimulatedResponse:
        record = RequestRecord(call.method, call.target, self.monotonic())
        self.requests.append(record)
        self.received[call.method] += 1
        task = asyncio.current_task()
        self._waiting.add(task)
        try:
            response = await send()
        finally:
            self._waiting.discard(task)
        record.status = response.status
        return response

    async def _executed(self, call: Call, send: Send) -> SimulatedResponse:
        user = self._people().get(call.item_id)
        before = [] if user is None else [RemovedUser(call.place_id, user.id, user.status)]
        response = await send()
        if call.method == "DELETE" and response.status == 204:
            self.deleted.append(call.item_id)
            self.removed += before
        return response

    def cancel_requests(self) -> None:
        """Cancel what still waits for a response, from another thread."""
        for task in tuple(self._waiting):
            if task is not None:
                task.get_loop().call_soon_threadsafe(task.cancel)

    @property
    def deletes_received(self) -> int:
        return self.received["DELETE"]

    def invitations(self, project_id: str) -> tuple[str, ...]:
        return tuple(self.groups[project_id].invites)

    def add_api_key(self, *org_ids: str) -> ApiKey:
        """Add an API key of the organizations (default: the first one)."""
        number = len(self.accounts)
        # Source: public keys are 8 lower-case letters; private keys are UUIDs.
        name = f"{number:08d}".translate(str.maketrans("0123456789", "qwzrtkplmn"))
        secret = f"5ec4e7{number:02x}-0000-4000-8000-{number:012x}"
        return self.add_account(ApiKey(name, secret, org_ids))

    def add_token(self, *org_ids: str) -> Token:
        """Add a fixed bearer token of the organizations (default: the first one)."""
        number = len(self.accounts)
        token = self.add_account(Token(f"token-{number}", f"ready-token-{number:032x}", org_ids))
        self.oauth.add_token(token.secret, token, inf)
        return token

    def challenge(self) -> str:
        return self.digest.note(super().challenge())

    def authenticate(self, call: Call) -> Account | None:
        kind, _, value = call.headers.get("Authorization", "").partition(" ")
        if kind != "Digest":
            return super().authenticate(call)
        fields = self.digest.parse_header(value)
        key = self.accounts.get(fields.get("username", ""))
        known = isinstance(key, ApiKey)
        is_valid = known and self.digest.is_valid(fields, key.secret, call.method, call.target)
        return key if is_valid else None

    @property
    def tokens_issued(self) -> int:
        return sum(each.path == TOKEN_PATH and each.status == 200 for each in self.requests)

    def expire_tokens(self, *tokens: str) -> None:
        """Expire these tokens now; all that were issued if none are given."""
        issued = [token for token, (_, end_s) in self.oauth.tokens.items() if end_s < inf]
        for token in tokens or issued:
            self.oauth.tokens.pop(token, None)

    def set_bucket(
        self, bucket: str, place_id: str = LOCALHOST, *limit: float, anchor_s: float | None = None
    ) -> None:
        """Replace a bucket by a full one; `anchor_s` is the start of its first period, or now."""
        start_s = self.monotonic() if anchor_s is None else anchor_s
        full = SimulatedBucket(BucketSize(*(limit or (1000, 1000))), start_s)
        self.throttling.buckets[bucket, place_id] = full

    def spend(self, project_id: str) -> bool:
        """Take a token of a project as another client would; return whether there was one."""
        return self.throttling.bucket(INVITES, project_id).take(self.monotonic())

    def invite(
        self, project_id: str, username: Any, *, age: timedelta = timedelta(0), **fields: Any
    ) -> str:
        """Add an invitation; fields by Atlas's names replace those of the document.

        `createdAt="soon"`, `expiresAt=None`, `id="../x"`, `groupId=MISSING`: an `id` also
        changes the path of the invitation.
        """
        named = {name: fields.pop(name) for name in ("roles", "inviter") if name in fields}
        name = username if isinstance(username, str) else ""
        key = super().invite(project_id, name, age=age, **named)
        invites = self.groups[project_id].invites
        invite = invites.pop(key)
        document = msgspec.json.decode(invite.document) | {"username": username} | fields
        sent = {name: value for name, value in document.items() if value is not MISSING}
        invite.document = msgspec.json.encode(sent, order="sorted")
        key = sent["id"] if isinstance(sent.get("id"), str) else f"#{len(invites)}"
        invites[key] = invite
        return key

    def limit_access(self, place_id: str) -> None:
        """Take the owner's role of a project or organization: the one to read remains."""
        for method, path in (("*", "invites*"), ("POST", "users"), ("DELETE", "users/*")):
            fault = faults.role_missing()
            self.faults.add(fault, method=method, path=f"*/{place_id}/{path}", times=None)

    def _people(self) -> Mapping[str, User]:
        return ChainMap(*(organization.users for organization in self.organizations.values()))

    def user(self, user_id: str) -> User:
        return self._people()[user_id]

    def users(self) -> tuple[str, ...]:
        return tuple(next(iter(self.organizations.values())).users)

    def set_status(self, user_id: str, status: str) -> None:
        """Set a user's status, as when an invitation is accepted, declined or expires.

        Does nothing if the user does not exist; it may have been removed.
        """
        if user := self._people().get(user_id):
            user.status = MembershipStatus(status)
            if user.status is MembershipStatus.INVITATION_REJECTED:
                user.expires_at = None
