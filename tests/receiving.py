"""A server that records the messages that the program sends to others."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Receiver(BaseHTTPRequestHandler):
    """Keeps each request, and answers it by the status of the server."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.methods.append(self.command)
        self.server.requests.append((self.path, dict(self.headers), body))
        self.server.answers.wait(60)
        self.answer()

    def answer(self):
        self.send_response(self.server.status)
        self.send_header("Location", "/elsewhere")
        self.end_headers()

    do_PUT = do_GET = do_HEAD = do_POST  # noqa: N815

    def log_message(self, *_):
        """Log nothing."""


@contextmanager
def receiving(handler: type[Receiver] = Receiver) -> Iterator[ThreadingHTTPServer]:
    """Yield a server with its `url`, its `status`, and the `requests` that it received.

    A request is its path, headers and body; `methods` has its method. It answers
    once `answers` is set, as it is at first.
    """
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.requests = []
    server.methods = []
    server.status = 200
    server.answers = threading.Event()
    server.answers.set()
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server
    finally:
        server.answers.set()
        server.shutdown()
        thread.join()
        server.server_close()
