"""The proxy on the way to Atlas, as the environment names it."""

import urllib.request
from collections.abc import Mapping

import aiohttp
from yarl import URL

from invite_sweeper.atlas.base_url import is_loopback


def proxy_for(base_url: URL) -> tuple[URL | None, Mapping[str, str] | None]:
    """Find the proxy that the environment names, once; loopback has none.

    The library's own look at the environment would be repeated for each request, in a
    thread, and would take credentials from a `.netrc` beside ours.
    """
    host = base_url.host or ""
    if is_loopback(host) or urllib.request.proxy_bypass(host):
        return None, None
    address = urllib.request.getproxies().get(base_url.scheme)
    if not address:
        return None, None
    proxy = URL(address)
    if proxy.user is None:
        return proxy, None
    login = aiohttp.encode_basic_auth(proxy.user, proxy.password or "")
    return proxy.with_user(None), {"Proxy-Authorization": login}
