"""Random damage to an audit log, and the kinds of damage that `verify` may report for it."""

from random import Random

from invite_sweeper.audit.tampering import Tampering

E, R, I, C, O = (  # noqa: E741  short for the table below
    Tampering.EDITED,
    Tampering.REMOVED,
    Tampering.INSERTED,
    Tampering.CUT_SHORT,
    Tampering.REORDERED,
)


def flip_a_bit(lines: list[bytes], random: Random) -> tuple[bytes, set[Tampering]]:
    """Flip any bit, newlines included. A line without its newline is reported as cut short."""
    data = bytearray(b"".join(lines))
    data[random.randrange(len(data))] ^= 1 << random.randrange(8)
    return bytes(data), {E, C}


def remove_a_line(lines: list[bytes], random: Random) -> tuple[bytes, set[Tampering]]:
    at = random.randrange(len(lines))
    return b"".join(lines[:at] + lines[at + 1 :]), {C if at == len(lines) - 1 else R}


def insert_a_copy(lines: list[bytes], random: Random) -> tuple[bytes, set[Tampering]]:
    at = random.randrange(len(lines) + 1)
    return b"".join([*lines[:at], random.choice(lines), *lines[at:]]), {I}


def insert_a_foreign_line(lines: list[bytes], random: Random) -> tuple[bytes, set[Tampering]]:
    at = random.randrange(len(lines))
    return b"".join([*lines[:at], b'{"event":"outcome"}\n', *lines[at:]]), {I}


def move_a_line(lines: list[bytes], random: Random) -> tuple[bytes, set[Tampering]]:
    at, to = random.sample(range(len(lines)), 2)
    rest = lines[:at] + lines[at + 1 :]
    return b"".join([*rest[:to], lines[at], *rest[to:]]), {O}


def swap_adjacent_lines(lines: list[bytes], random: Random) -> tuple[bytes, set[Tampering]]:
    at = random.randrange(len(lines) - 1)
    return b"".join([*lines[:at], lines[at + 1], lines[at], *lines[at + 2 :]]), {O}


def shorten_a_line(lines: list[bytes], random: Random) -> tuple[bytes, set[Tampering]]:
    """Remove the end of a line but not its newline."""
    at = random.randrange(len(lines))
    kept = random.randrange(len(lines[at]) - 1)
    return b"".join([*lines[:at], lines[at][:kept] + b"\n", *lines[at + 1 :]]), {C}


def cut_the_end_off(lines: list[bytes], random: Random) -> tuple[bytes, set[Tampering]]:
    return b"".join(lines[: random.randrange(1, len(lines))]), {C}


DAMAGES = (
    flip_a_bit,
    remove_a_line,
    insert_a_copy,
    insert_a_foreign_line,
    move_a_line,
    swap_adjacent_lines,
    shorten_a_line,
    cut_the_end_off,
)
