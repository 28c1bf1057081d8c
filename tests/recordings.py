"""Recorded responses of Atlas."""

import gzip
import re

from multidict import CIMultiDict
from needs import RECORDINGS

from invite_sweeper.atlas.responses import Response


def recording(name):
    """Return a recording as the client has it: decompressed, with case-insensitive headers."""
    head, body = re.split(rb"\r?\n\r?\n", (RECORDINGS / f"{name}.http").read_bytes(), maxsplit=1)
    first, *lines = head.decode("latin-1").splitlines()
    status = int(first.split()[1])
    headers = CIMultiDict(line.split(": ", 1) for line in lines)
    if headers.get("Content-Encoding") == "gzip":
        body = gzip.decompress(body)
    return Response(status, headers, b"" if status == 204 else body)
