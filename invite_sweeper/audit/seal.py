"""The seal of a run's last line, which no later line may be there to vouch for."""

import re

from invite_sweeper.audit.record import line_hash

SEALED_EVENT = "run_finished"
"""The event whose line seals itself: nothing need follow it that could vouch for it."""

_SEAL = re.compile(rb',"([^"]{4})":"([\x20-\x7e]{64})"\}$')


def seal(line: bytes) -> bytes:
    """The line with a last field `seal`: the SHA-256 of the line without that field."""
    return b'%b,"seal":"%b"}' % (line[:-1], line_hash(line).encode())


def seal_holds(line: bytes) -> bool | None:
    """Whether the seal of a `run_finished` line is that of its contents; None without a seal.

    A field of the same length in its place counts as a broken one: a bit in its name may
    have turned.
    """
    found = _SEAL.search(line)
    if found is None:
        return None
    return found[1] == b"seal" and line_hash(line[: found.start()] + b"}") == found[2].decode()
