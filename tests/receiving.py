"""A server that records the messages that the program sends to others."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class _Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        self.server.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        """Log nothing."""


@contextmanager
def receiving() -> Iterator[ThreadingHTTPServer]:
    """Yield a server with its `url` and the `bodies` that it received."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Receiver)
    server.bodies, server.url = [], f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
