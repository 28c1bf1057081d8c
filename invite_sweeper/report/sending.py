"""Send one message over HTTP: to a receiver of notifications, or to a Pushgateway.

What fails is described without an address or a key.
"""

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

import aiohttp
from yarl import URL

from invite_sweeper.atlas.http import describe_error, find_proxy
from invite_sweeper.atlas.responses import REDIRECT, SERVER_ERROR
from invite_sweeper.errors import UsageError

_LIMIT_S: Final = 10.0
"""For one message: name, connection, request and response together."""
_CHECK_NETWORK: Final = "Check the firewall, and the proxy in HTTPS_PROXY and NO_PROXY."


class Message(NamedTuple):
    """An HTTP request to one receiver.

    Attributes:
        url: Secret.
    """

    url: str
    body: bytes = b""
    headers: Mapping[str, str] = {}


class NotSent(Exception):
    """A message was not sent; the text is safe to show, and has no full stop.

    Attributes:
        fix: What to do, as a sentence; empty if nothing is known.
    """

    def __init__(self, reason: str, fix: str = "") -> None:
        super().__init__(reason)
        self.fix = fix

    @property
    def sentences(self) -> str:
        """What happened, and what to do."""
        return f"{self}. {self.fix}".rstrip()


def open_session() -> aiohttp.ClientSession:
    """Return an HTTP session in which the time for each message is limited."""
    return aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=_LIMIT_S),
        cookie_jar=aiohttp.DummyCookieJar(),
    )


async def request(
    session: aiohttp.ClientSession,
    method: Literal["POST", "PUT", "HEAD"],
    message: Message,
    setting: str,
) -> None:
    """Send a message through the proxy of the environment.

    Args:
        method: HEAD requests the root of the host alone, without the message.
        setting: Where the address is set.

    Raises:
        NotSent: It was not accepted.
    """
    host = "the receiver"
    fix = f"Check the address in {setting}."
    try:
        address = URL(message.url)
        host = address.host or host
        if method == "HEAD":  # any response proves that the host is there
            await _send(session, method, address.origin(), Message(message.url))
            return
        status = await _send(session, method, address, message)
        if status < REDIRECT:
            return
        reason = f"{host} responded with HTTP {status}"
        if status >= SERVER_ERROR:
            fix = "The receiver failed: check it there."
    except UsageError as error:
        reason = error.message.rstrip(".")
        fix = error.hint
    except TimeoutError:
        reason = f"no response within {session.timeout.total:.0f} s from {host}"
        fix = _CHECK_NETWORK
    except aiohttp.ClientConnectorCertificateError as error:
        reason = describe_error(error, host, session.timeout).reason
        fix = "Name the file of a private certificate authority in SSL_CERT_FILE."
    except (aiohttp.ClientError, OSError) as error:
        reason = describe_error(error, host, session.timeout).reason
        fix = _CHECK_NETWORK
    except Exception as error:  # noqa: BLE001 - a receiver must not change the run's result
        reason = type(error).__name__  # its text would repeat the address
    raise NotSent(reason, fix)


async def _send(session: aiohttp.ClientSession, method: str, address: URL, message: Message) -> int:
    """Send a message and return the status of the response."""
    proxy, proxy_headers = find_proxy(address)
    async with session.request(
        method,
        address,
        data=message.body,
        headers=message.headers,
        proxy=proxy,
        proxy_headers=proxy_headers,
        allow_redirects=False,  # a redirect could lead anywhere
    ) as response:
        return response.status
