"""Lets faults happen to a request."""

import asyncio
import socket
import struct
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from aiohttp import web

from invite_sweeper.simulator.answers import unauthorized
from invite_sweeper.simulator.door import Reply
from invite_sweeper.simulator.faults import Fault, Visit
from invite_sweeper.simulator.sending import Rendered
from invite_sweeper.simulator.state import SimulatedAtlas

_NO_CONTENT: Final = 204
# A reset that the other side sees as one: no lingering, what is unsent is dropped.
_NO_LINGER: Final = struct.pack("ii", 1, 0)


async def mishap(
    sim: SimulatedAtlas,
    carry_out: Callable[[], Reply],
    visit: Visit,
    faults: Sequence[Fault],
    closing: asyncio.Event,
) -> Reply | None:
    """What is answered when `faults` happen; None where the connection is to be reset.

    `carry_out` is called at most once, and not at all where an early fault answers.
    """
    for fault in faults:
        if fault.delay_s:
            await sim.sleep(fault.delay_s)
        if fault.before is not None:
            fault.before(visit)
    early = _first(faults, late=False)
    if early is not None:
        return await _stand_in(sim, early, closing)
    replied = carry_out()
    for fault in faults:
        if fault.after is not None:
            fault.after(visit)
    late = _first(faults, late=True)
    return _spoilt(replied, faults) if late is None else await _stand_in(sim, late, closing)


def reset(request: web.BaseRequest) -> Rendered:
    """Break the connection off; what is returned is never sent."""
    transport = request.transport
    if transport is not None:
        peer: socket.socket | None = transport.get_extra_info("socket")
        if peer is not None:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        transport.abort()
    return Rendered(500, b"", keep_alive=False)


def _first(faults: Sequence[Fault], *, late: bool) -> Fault | None:
    answering = (each for each in faults if each.instead is not None or each.broken is not None)
    return next((each for each in answering if each.late is late), None)


async def _stand_in(sim: SimulatedAtlas, fault: Fault, closing: asyncio.Event) -> Reply | None:
    if fault.broken == "hang":
        await closing.wait()
    if fault.instead is None:
        return None
    if fault.instead == "challenge":
        return Reply(unauthorized(sim.digest.challenge()))
    return Reply(fault.instead)


def _spoilt(replied: Reply, faults: Sequence[Fault]) -> Reply:
    answer = replied.answer
    for fault in faults:
        if fault.body is not None:
            # A 204 has no place for a body; other deletions of Atlas do answer 200.
            status = 200 if answer.status == _NO_CONTENT else answer.status
            answer = replace(answer, body=fault.body, status=status)
        if fault.media is not None:
            answer = replace(answer, media=fault.media)
    return replace(replied, answer=answer)
