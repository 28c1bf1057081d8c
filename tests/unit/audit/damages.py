"""Random damage to an audit log, and the kinds of damage that `verify` may report for it."""

from random import Random

from invite_sweeper.audit.damage import Damage

MOVED = {Damage.INSERTED, Damage.REMOVED}
"""A moved line is missing in one place and inserted in the other: the first one is reported."""


def flip_a_bit(lines: list[bytes], random: Random) -> tuple[bytes, set[Damage]]:
    """Flip any bit, newlines included."""
    data = bytearray(b"".join(lines))
    data[random.randrange(len(data))] ^= 1 << random.randrange(8)
    return bytes(data), {Damage.CHANGED}


def remove_a_line(lines: list[bytes], random: Random) -> tuple[bytes, set[Damage]]:
    at = random.randrange(len(lines))
    return b"".join(lines[:at] + lines[at + 1 :]), {
        Damage.UNFINISHED if at == len(lines) - 1 else Damage.REMOVED
    }


def insert_a_copy(lines: list[bytes], random: Random) -> tuple[bytes, set[Damage]]:
    at = random.randrange(len(lines) + 1)
    return b"".join([*lines[:at], random.choice(lines), *lines[at:]]), {Damage.INSERTED}


def insert_a_foreign_line(lines: list[bytes], random: Random) -> tuple[bytes, set[Damage]]:
    at = random.randrange(len(lines))
    return b"".join([*lines[:at], b'{"event":"outcome"}\n', *lines[at:]]), {Damage.INSERTED}


def move_a_line(lines: list[bytes], random: Random) -> tuple[bytes, set[Damage]]:
    at, to = random.sample(range(len(lines)), 2)
    rest = lines[:at] + lines[at + 1 :]
    return b"".join([*rest[:to], lines[at], *rest[to:]]), MOVED


def swap_adjacent_lines(lines: list[bytes], random: Random) -> tuple[bytes, set[Damage]]:
    at = random.randrange(len(lines) - 1)
    return b"".join([*lines[:at], lines[at + 1], lines[at], *lines[at + 2 :]]), MOVED


def shorten_a_line(lines: list[bytes], random: Random) -> tuple[bytes, set[Damage]]:
    """Remove the end of a line but not its newline."""
    at = random.randrange(len(lines))
    kept = random.randrange(len(lines[at]) - 1)
    return b"".join([*lines[:at], lines[at][:kept] + b"\n", *lines[at + 1 :]]), {Damage.CHANGED}


def cut_the_end_off(lines: list[bytes], random: Random) -> tuple[bytes, set[Damage]]:
    return b"".join(lines[: random.randrange(1, len(lines))]), {Damage.UNFINISHED}


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
