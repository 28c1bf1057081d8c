"""The proxy on the way to Atlas, as the environment names it."""

import os
import urllib.request
from collections.abc import Mapping
from typing import Final

import aiohttp
from yarl import URL

from invite_sweeper.atlas.base_url import is_loopback
from invite_sweeper.errors import UsageFault

_SCHEMES: Final = frozenset({"http", "https"})


def proxy_for(base_url: URL) -> tuple[URL | None, Mapping[str, str] | None]:
    """Find the proxy that the environment names, once; loopback has none.

    The library's own look at the environment would be repeated for each request, in a
    thread, and would take credentials from a `.netrc` beside ours.

    Raises:
        UsageFault: What is named there is no proxy's address. Atlas was not called.
    """
    host = base_url.host or ""
    if is_loopback(host) or urllib.request.proxy_bypass(host):
        return None, None
    address = urllib.request.getproxies().get(base_url.scheme)
    if not address:
        return None, None
    proxy = _parsed(address)
    if proxy is None:
        # It is not repeated: there may be a password in it.
        raise UsageFault(
            f"What {_variable(base_url.scheme)} holds is no proxy's address.",
            hint="Write it as http://HOST:PORT; proxies of other kinds are not spoken to.",
        )
    if proxy.user is None:
        return proxy, None
    login = aiohttp.encode_basic_auth(proxy.user, proxy.password or "")
    return proxy.with_user(None), {"Proxy-Authorization": login}


def _parsed(address: str) -> URL | None:
    try:
        proxy = URL(address)
    except ValueError:
        return None
    return proxy if proxy.scheme in _SCHEMES and proxy.host else None


def _variable(scheme: str) -> str:
    """Name the variable as it is written in the environment; the lower case one goes first."""
    name = f"{scheme}_proxy"
    return name if os.environ.get(name) else name.upper()
