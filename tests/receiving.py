"""A server that records the messages that the program sends to others."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jsonschema


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


def closed(required, **properties):
    """Return the schema of an object that has no other properties."""
    return {
        "type": "object",
        "required": required,
        "properties": properties,
        "additionalProperties": False,
    }


TEXT = {"type": "string", "minLength": 1}
FLAG = {"type": "boolean"}

SLACK = closed(
    ["text"],
    text={**TEXT, "maxLength": 40_000},
    parse={"enum": ["none", "full"]},
    unfurl_links=FLAG,
    unfurl_media=FLAG,
)
"""Source: Slack, "Sending messages using incoming webhooks" and `chat.postMessage`."""

TEXT_RUN = closed(
    ["type", "text"],
    type={"const": "TextRun"},
    text=TEXT,
    color={"enum": ["Default", "Dark", "Light", "Accent", "Good", "Warning", "Attention"]},
    fontType={"enum": ["Default", "Monospace"]},
    size={"enum": ["Default", "Small", "Medium", "Large", "ExtraLarge"]},
    weight={"enum": ["Default", "Lighter", "Bolder"]},
)
RICH_TEXT_BLOCK = closed(
    ["type", "inlines"],
    type={"const": "RichTextBlock"},
    inlines={"type": "array", "minItems": 1, "items": TEXT_RUN},
    spacing={"enum": ["Default", "None", "Small", "Medium", "Large", "ExtraLarge", "Padding"]},
)
ADAPTIVE_CARD = {
    "type": "object",
    "required": ["type", "version", "body"],
    "properties": {
        "$schema": {"const": "http://adaptivecards.io/schemas/adaptive-card.json"},
        "type": {"const": "AdaptiveCard"},
        "version": {"const": "1.4"},
        "msteams": closed(["width"], width={"const": "Full"}),
        "body": {"type": "array", "minItems": 1, "items": RICH_TEXT_BLOCK},
    },
    "additionalProperties": False,
}
TEAMS_ATTACHMENT = closed(
    ["contentType", "content"],
    contentType={"const": "application/vnd.microsoft.card.adaptive"},
    contentUrl={"type": ["string", "null"]},
    content=ADAPTIVE_CARD,
)
TEAMS = closed(
    ["type", "attachments"],
    type={"const": "message"},
    attachments={"type": "array", "minItems": 1, "items": TEAMS_ATTACHMENT},
)
"""Source: Microsoft, "Create incoming webhooks with Workflows", and Adaptive Cards 1.4."""
TEAMS_BYTES = 28_000


class Chat(Receiver):
    """A chat: it answers 400 to what is not as Slack or Teams documents it."""

    def answer(self):
        _, headers, body = self.server.requests[-1]
        is_slack = self.path.startswith("/services/")
        schema = SLACK if is_slack else TEAMS
        is_json = headers.get("Content-Type") == "application/json"
        fits = is_slack or len(body) <= TEAMS_BYTES
        is_valid = jsonschema.Draft202012Validator(schema).is_valid(json.loads(body))
        self.send_response(200 if is_json and fits and is_valid else 400)
        self.end_headers()


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
