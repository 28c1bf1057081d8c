"""The figures that must hold, each measured when it is asked for."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import median

from benchmarks import structure as structures
from benchmarks.hot import ALONE, CONTENDED, Scenario, run_hot
from benchmarks.measuring import (
    BARE,
    KEPT_DAYS,
    MEMORY,
    ONE_BY_ONE,
    TYPER,
    UNSYNCED,
    VERSION,
    Load,
    Pairs,
    in_turn,
    middle_s,
    others,
    real_disk,
    started_in_turn,
    swept,
)

LOOPBACK = Load(projects=200, each=60)
DISTANT = Load(projects=200, each=20, latency_s=0.010)
BY_HAND = Load(projects=20, each=20, latency_s=0.010)
BY_HAND_KEY = replace(BY_HAND, api_key=True)
FEW_KEPT = Load(projects=200, each=20, age_days=KEPT_DAYS)
MANY_KEPT = Load(projects=20_000, each=20, age_days=KEPT_DAYS)


@dataclass(frozen=True)
class Figure:
    """One line of the table.

    Attributes:
        what: What was measured.
        found: What came out, in words.
        limit: What must hold, in words.
        holds: Whether it does.
        drawing: To be shown below the table; "" where there is none.
    """

    message: str
    found: str
    limit: str
    holds: bool
    drawing: str = ""


def loopback(pairs: int = 5) -> Figure:
    """12,000 deletions against the bare script."""
    found = in_turn(
        lambda: swept(LOOPBACK, audit=real_disk()), lambda: others(LOOPBACK, BARE), pairs
    )
    return _against_bare("12,000 deletions in 200 projects, loopback", found, 2.0)


def distant(pairs: int = 5) -> Figure:
    """4,000 deletions at 10 ms against the bare script."""
    found = in_turn(lambda: swept(DISTANT, audit=real_disk()), lambda: others(DISTANT, BARE), pairs)
    return _against_bare("4,000 deletions in 200 projects, 10 ms", found, 1.10)


def by_hand() -> Figure:
    """400 deletions at 10 ms against a loop of `curl` with a token."""
    return _against_curl(BY_HAND, "with a token")


def by_hand_key() -> Figure:
    """The same with an API key, which costs `curl` two requests a call."""
    return _against_curl(BY_HAND_KEY, "with an API key")


def _against_curl(load: Load, how: str) -> Figure:
    found = in_turn(
        lambda: swept(load, audit=real_disk()), lambda: others(load, ONE_BY_ONE), pairs=3
    )
    times = 1 / median(found.ratios)
    return Figure(
        f"400 deletions in 20 projects, 10 ms, against one `curl` after another {how}",
        f"{middle_s(found.ones):.2f} s : {middle_s(found.others):.1f} s = {times:.0f} times faster",
        "20 times faster",
        times >= 20,
    )


def memory() -> Figure:
    """Listing 100 times as many kept invitations."""
    few, many = (swept(load, audit=real_disk(), dry_run=True) for load in (FEW_KEPT, MANY_KEPT))
    more_mib = many.peak_mib - few.peak_mib
    return Figure(
        "peak memory of listing 4,000 and 400,000 kept invitations",
        f"{few.peak_mib:.0f} MiB and {many.peak_mib:.0f} MiB: {more_mib:.0f} MiB more "
        f"({many.wall_s:.0f} s)",
        "less than 30 MiB more",
        more_mib < 30,
    )


def version(pairs: int = 15) -> Figure:
    """`--version` against the import of typer alone, which every command needs."""
    ones, others_ = started_in_turn(VERSION, TYPER, pairs)
    ratio = median(one / other for one, other in zip(ones, others_, strict=True))
    return Figure(
        '`invite-sweeper --version` against `python -c "import typer"`',
        f"{median(ones) * 1000:.0f} ms : {median(others_) * 1000:.0f} ms = {ratio:.2f}",
        "1.5",
        ratio <= 1.5,
    )


def structure() -> Figure:
    """Files that a sweep and one DELETE enter, and the size of the package."""
    sweep, one = structures.entered(structures.SWEEP), structures.entered(structures.ONE)
    of_sweep = len(structures.files_of(sweep.command))
    of_one = len(structures.files_of(one.delete))
    return Figure(
        "files entered by a sweep of 30 deletions, and by one DELETE",
        f"{of_sweep}; {of_one}",
        "65; 22",
        of_sweep <= 65 and of_one <= 22,
        structures.table(sweep, one, structures.size()),
    )


def price(pairs: int = 5) -> Figure:
    """What chain and fsync cost: the same sweep with its log in memory, never synced."""
    found = in_turn(
        lambda: swept(LOOPBACK, audit=real_disk()),
        lambda: swept(LOOPBACK, audit=MEMORY, program=UNSYNCED),
        pairs,
    )
    ratio = median(found.ratios)
    return Figure(
        "12,000 deletions, audit log on disk and synced, against one in memory and not",
        f"{middle_s(found.ones):.2f} s : {middle_s(found.others):.2f} s = {ratio:.2f}",
        "1.15",
        ratio <= 1.15,
    )


def hot() -> Figure:
    """A bucket of 60 that 301 requests must go through."""
    return _of_buckets("300 deletions through a bucket of 60 a 2 s", ALONE, 0.01, 1.05)


def shared() -> Figure:
    """The same bucket, and a second client that spends half of it."""
    scenario = replace(ALONE, other_per_s=15.0)
    return _of_buckets("the same, and a second client draws half of it", scenario, 0.02, 1.15)


def no_headers() -> Figure:
    """The same bucket, and no response has a `RateLimit` header."""
    scenario = replace(ALONE, headers=False)
    return _of_buckets("the same, alone and without `RateLimit` headers", scenario, 0.01, 1.25)


def shared_no_headers() -> Figure:
    """Without headers, and a second client that spends half of it."""
    scenario = replace(ALONE, headers=False, other_per_s=15.0)
    return _of_buckets("the same with the second client and no headers", scenario, 0.02, None)


def contended() -> Figure:
    """A second client that spends nearly all that comes back."""
    return _of_buckets(
        "150 deletions, a bucket of 60 and 25 more a 3 s, 8 a second drawn by another",
        CONTENDED,
        0.02,
        None,
    )


def contended_no_headers() -> Figure:
    """The same without headers."""
    scenario = replace(CONTENDED, headers=False)
    return _of_buckets("the same without `RateLimit` headers", scenario, 0.02, None)


ALL: tuple[Callable[[], Figure], ...] = (
    *(loopback, distant, by_hand, by_hand_key),
    *(memory, price, hot, shared),
    *(no_headers, shared_no_headers, contended, contended_no_headers),
    *(version, structure),
)


def _against_bare(what: str, found: Pairs, limit: float) -> Figure:
    for one, other in zip(found.ones, found.others, strict=True):
        assert one.received == other.received, f"{one.received} are not {other.received}"
    ratio = median(found.ratios)
    each = ", ".join(f"{each:.2f}" for each in sorted(found.ratios))
    return Figure(
        f"{what}, against a bare aiohttp script",
        f"{middle_s(found.ones):.2f} s : {middle_s(found.others):.2f} s = {ratio:.2f} "
        f"({each}; processor {found.cpu_ratio:.2f})",
        f"{limit}",
        ratio <= limit,
    )


def _of_buckets(what: str, scenario: Scenario, refused: float, limit: float | None) -> Figure:
    found = run_hot(scenario)
    ratio = found.took_s / found.bound_s
    beside = found.ordinary_s <= found.half_s
    second = found.other
    drawn = len(second.spent_s)
    shared = f"; the second client got {drawn} of {drawn + second.refused}" if second.per_s else ""
    return Figure(
        what,
        f"{found.refused_share:.2%} of {found.answers} answers are 429; {found.took_s:.2f} s, "
        f"bound {found.bound_s:.2f} s: {ratio:.2f}; longest silence "
        f"{found.longest_silence_s:.1f} s; {found.ordinary_s - found.began_s:.1f} s for "
        f"the 60 projects beside it, its second half began at "
        f"{found.half_s - found.began_s:.1f} s{shared}",
        f"{refused:.0%}; {limit or 'any time'}; silent for at most 10 s; before the second half",
        found.refused_share <= refused
        and ratio <= (limit or math.inf)
        and found.longest_silence_s <= 10
        and beside,
        found.drawing(),
    )
