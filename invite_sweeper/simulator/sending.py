"""An answer's bytes, ready for the socket."""

import gzip
from dataclasses import replace
from datetime import datetime
from email.utils import format_datetime
from typing import Final

from aiohttp import web
from typing_extensions import override

from invite_sweeper.simulator.answers import Answer
from invite_sweeper.simulator.door import Asking, Reply
from invite_sweeper.simulator.heads import render, shape
from invite_sweeper.simulator.state import SimulatedAtlas

_CLOSE: Final = ("Connection", "close")
_ZIPPED: Final = (("Content-Encoding", "gzip"), ("Vary", "Accept-Encoding"))
_SUCCESSES: Final = range(200, 300)


class Rendered(web.StreamResponse):
    """A response of which every byte is ready."""

    def __init__(self, status: int, payload: bytes, *, keep_alive: bool) -> None:
        super().__init__(status=status)
        self._payload = payload
        self._keep_alive = keep_alive

    @override
    async def prepare(self, request: web.BaseRequest) -> None:
        await request.writer.write(self._payload)

    @override
    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing is left to write."""


class Stationery:
    """Writes answers; keeps the `Date` line of the second at hand."""

    def __init__(self, sim: SimulatedAtlas) -> None:
        self._sim = sim
        self._second = -1
        self._date = ""

    def write(
        self, reply: Reply, asking: Asking, elapsed_ms: int, *, keep_alive: bool, cut: bool = False
    ) -> Rendered:
        """The response; a cut one ends half way through its body, or its head if it has none."""
        answer = reply.answer
        if self._sim.gzip and answer.body:
            answer = _zipped(answer, asking)
        if _CLOSE in answer.extra:
            keep_alive = False
        elif not keep_alive:
            answer = replace(answer, extra=(*answer.extra, _CLOSE))
        form = shape(answer, reply.java_method, reply.retirement, reply.rate)
        head = render(form, len(answer.body), self._date_line(), reply.rate, elapsed_ms)
        if cut:
            whole = len(head) + len(answer.body) // 2 if answer.body else len(head) // 2
            return Rendered(answer.status, (head + answer.body)[:whole], keep_alive=False)
        return Rendered(answer.status, head + answer.body, keep_alive=keep_alive)

    def _date_line(self) -> str:
        now: datetime = self._sim.clock() + self._sim.date_offset
        second = int(now.timestamp())
        if second != self._second:
            self._second = second
            self._date = format_datetime(now, usegmt=True)
        return self._date


def _zipped(answer: Answer, asking: Asking) -> Answer:
    """Compressed where the client takes it.

    Source: every 2xx to GET and POST in the untouched recordings was, and nothing else.
    """
    takes = "gzip" in asking.headers.get("Accept-Encoding", "")
    if not takes or asking.method not in {"GET", "POST"} or answer.status not in _SUCCESSES:
        return answer
    return replace(answer, body=gzip.compress(answer.body, 6), extra=answer.extra + _ZIPPED)
