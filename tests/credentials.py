"""Credentials that only tests use: API keys, and tokens that are ready; and HTTP Digest."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from invite_sweeper.simulator import Account

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
        """Return the fields of a header by name."""
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
