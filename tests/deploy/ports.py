"""Ports of servers that tests start as processes."""

import socket
from contextlib import contextmanager


@contextmanager
def reserved_port():
    """Yield a port on which one server may listen, now or later; no other test gets it meanwhile.

    A port that is only looked up is given to the next program that asks for one: the server of
    another test then answers in the place of one that is still starting. While this socket has the
    port and does not listen, a server that sets SO_REUSEADDR, as asyncio does, can listen on it,
    and the kernel chooses it for no other socket. See ip(7), ip_local_port_range, and socket(7).
    """
    with socket.socket() as reserved:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind(("127.0.0.1", 0))
        yield reserved.getsockname()[1]


def accepts(port):
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0
