"""Where Atlas is, read from what a person wrote."""

import ipaddress

from yarl import URL

from invite_sweeper.errors import UsageFault


def parse_base_url(text: str) -> URL:
    """Read the address of Atlas, without a slash at its end.

    Raises:
        UsageFault: No `https` address of a host (plain `http` is for loopback alone), or
            one with a user name, a query or a fragment. Never repeats a user name.
    """
    hint = "Write it as https://cloud.mongodb.com."
    try:
        url = URL(text.strip().rstrip("/"))
        host, port = url.host, url.port
    except ValueError:
        host, port, url = None, None, URL()
    if not host or url.scheme not in {"http", "https"} or port == 0:
        raise UsageFault("The base URL is not an http address with a host.", hint=hint)
    if url.raw_user is not None or url.raw_password is not None:
        raise UsageFault("The base URL holds a user name or password.", hint=hint)
    if "?" in text or "#" in text:
        raise UsageFault("The base URL holds a query or a fragment.", hint=hint)
    if url.scheme == "http" and not is_loopback(host):
        raise UsageFault(
            f"The base URL would send credentials to {host} unencrypted.",
            hint="Use https; http is for loopback addresses alone.",
        )
    return url


def target_url(base_url: URL, target: str) -> URL:
    """Give the address of a path, or of a path and a query, both encoded.

    Nothing but the path is new where there is no query, and yarl makes that three times as
    fast as an address that it has to take apart; every DELETE is such a one.
    """
    if "?" in target:
        return URL(f"{base_url}{target}", encoded=True)
    below = base_url.raw_path
    return base_url.with_path(target if below == "/" else f"{below}{target}", encoded=True)


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine by its very name, without asking a resolver."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
