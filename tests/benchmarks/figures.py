"""The figures that must hold; each function measures one."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from benchmarks import structure as structures
from benchmarks.hot import ALONE, CONTENDED, Scenario, run_hot
from benchmarks.load import KEPT_DAYS, Load
from benchmarks.measuring import (
    BARE,
    BARE_DRY_RUN,
    CLICK,
    MEMORY,
    ONE_BY_ONE,
    UNSYNCED,
    VERSION,
    Pairs,
    Took,
    in_turn,
    middle_s,
    others,
    real_disk,
    started_in_turn,
    swept,
)
from benchmarks.verifying import verified_s, write_log

LOOPBACK = Load(projects=200, each=60)
DISTANT = Load(projects=200, each=20, latency_s=0.010)
MEDIAN = Load(projects=200, each=40, latency_s=0.055)
WIDE = Load(projects=5_000, each=1)
ONE = Load(projects=1, each=1)
LARGEST = Load(projects=250, each=2, latency_s=0.055, organizations=51)
"""The largest estate that Atlas's published limits allow: 250 projects in an organization, and a
paying organization with 50 linked ones."""
BY_HAND = Load(projects=20, each=20, latency_s=0.010)
BY_HAND_KEY = replace(BY_HAND, api_key=True)
FEW_KEPT = Load(projects=200, each=20, age_days=KEPT_DAYS)
SOME_KEPT = Load(projects=200, each=60, age_days=KEPT_DAYS)
MANY_KEPT = Load(projects=20_000, each=20, age_days=KEPT_DAYS)


@dataclass(frozen=True)
class Figure:
    """One row of the table.

    Attributes:
        message: What was measured.
        found: The result, as text.
        limit: What must hold, as text.
        drawing: Printed below the table; may be empty.
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


def atlas_median(pairs: int = 3) -> Figure:
    """8,000 deletions at 55 ms, Atlas's recorded median, against the bare script."""
    found = in_turn(lambda: swept(MEDIAN, audit=real_disk()), lambda: others(MEDIAN, BARE), pairs)
    return _against_bare("8,000 deletions in 200 projects, 55 ms", found, 1.10)


def largest(pairs: int = 1) -> Figure:
    """51 organizations of 250 projects with 2 invitations each, in one process."""
    found = in_turn(
        lambda: swept(LARGEST, audit=real_disk()),
        lambda: others(LARGEST, BARE),
        pairs,
        warm_up=False,
    )
    figure = _against_bare(
        "51 organizations of 250 projects with 2 invitations each, 55 ms", found, 1.35
    )
    peak_mib = max(one.peak_mib for one in found.ones)
    return replace(
        figure,
        found=f"{figure.found}; peak memory {peak_mib:.0f} MiB",
        limit=f"{figure.limit}; 128 MiB",
        holds=figure.holds and peak_mib <= 128,
    )


def wide_dry_run(pairs: int = 3) -> Figure:
    """A dry run of 5,000 projects against the bare script."""
    found = in_turn(
        lambda: swept(WIDE, audit=real_disk(), dry_run=True),
        lambda: others(WIDE, BARE_DRY_RUN, dry_run=True),
        pairs,
    )
    return _against_bare("a dry run of 5,000 projects, loopback", found, 2.0)


def wide(pairs: int = 3) -> Figure:
    """A sweep of 5,000 projects with one invitation each against the bare script."""
    found = in_turn(lambda: swept(WIDE, audit=real_disk()), lambda: others(WIDE, BARE), pairs)
    return _against_bare("a sweep of 5,000 projects, loopback", found, 2.0)


def start(times: int = 5) -> Figure:
    """The processor time of a sweep that deletes one invitation: nearly all is the start."""
    took: list[Took] = [swept(ONE, audit=real_disk()) for _ in range(times + 1)][1:]
    cpu_s = median(each.cpu_s for each in took)
    return Figure(
        "processor time of a sweep that deletes one invitation",
        f"{cpu_s:.2f} s",
        "0.6 s",
        cpu_s <= 0.6,
    )


def verify(rounds: int = 3) -> Figure:
    """`audit verify` of a million lines against `sha256sum` and `wc` of the same file."""
    with tempfile.TemporaryDirectory(dir=real_disk()) as folder:
        path, lines = write_log(Path(folder), 333_333)
        found = [verified_s(path) for _ in range(rounds)]
    ratio = min(ours / theirs for ours, theirs in found)
    return Figure(
        f"`audit verify` of {lines:,} lines against `sha256sum` and `wc` together",
        f"{min(ours for ours, _ in found):.1f} s : {min(theirs for _, theirs in found):.1f} s = "
        f"{ratio:.2f}",
        "3",
        ratio <= 3,
    )


def by_hand() -> Figure:
    """400 deletions at 10 ms against a loop of `curl` with a token."""
    return _against_curl(BY_HAND, "with a token")


def by_hand_key() -> Figure:
    """The same with an API key: HTTP Digest, so `curl` sends two requests per call."""
    return _against_curl(BY_HAND_KEY, "with an API key")


def _against_curl(load: Load, credentials: str) -> Figure:
    found = in_turn(
        lambda: swept(load, audit=real_disk()), lambda: others(load, ONE_BY_ONE), pairs=3
    )
    times = 1 / median(found.ratios)
    return Figure(
        f"400 deletions in 20 projects, 10 ms, against one `curl` after another {credentials}",
        f"{middle_s(found.ones):.2f} s : {middle_s(found.others):.1f} s = {times:.0f} times faster",
        "20 times faster",
        times >= 20,
    )


def memory() -> Figure:
    """Peak memory of listing 4,000 and 100 times as many kept invitations."""
    few, many = (swept(load, audit=real_disk(), dry_run=True) for load in (FEW_KEPT, MANY_KEPT))
    more_mib = many.peak_mib - few.peak_mib
    return Figure(
        "peak memory of listing 4,000 and 400,000 kept invitations",
        f"{few.peak_mib:.0f} MiB and {many.peak_mib:.0f} MiB: {more_mib:.0f} MiB more "
        f"({many.wall_s:.0f} s)",
        "less than 30 MiB more",
        more_mib < 30,
    )


def kept_lines(pairs: int = 9) -> Figure:
    """A dry run in which nothing is stale: kept lines are then all that is written."""
    found = in_turn(
        lambda: swept(SOME_KEPT, audit=real_disk(), dry_run=True, record="all"),
        lambda: swept(SOME_KEPT, audit=real_disk(), dry_run=True),
        pairs,
    )
    ratio = median(found.ratios)
    return Figure(
        "a dry run of 12,000 kept invitations with a line for each, against without",
        f"{middle_s(found.ones):.2f} s : {middle_s(found.others):.2f} s = {ratio:.2f} "
        f"(processor {found.cpu_ratio:.2f})",
        "1.2",
        ratio <= 1.2,
    )


def version(pairs: int = 15) -> Figure:
    """`--version` against the import of click, which every command needs."""
    ones, others_ = started_in_turn(VERSION, CLICK, pairs)
    ratio = median(one / other for one, other in zip(ones, others_, strict=True))
    return Figure(
        '`invite-sweeper --version` against `python -c "import click"`',
        f"{median(ones) * 1000:.0f} ms : {median(others_) * 1000:.0f} ms = {ratio:.2f}",
        "1.5",
        ratio <= 1.5,
    )


def structure() -> Figure:
    """Number of files that a sweep and one DELETE execute, and the size of the package."""
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
    """The cost of fsync: the same sweep with its log in memory and never synced."""
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
    """301 requests through a bucket of 60 tokens."""
    return _of_buckets("300 deletions through a bucket of 60 per 2 s", ALONE, 0.01, 1.05)


def shared() -> Figure:
    """The same bucket with a second client that uses half of it."""
    scenario = replace(ALONE, other_per_s=15.0)
    return _of_buckets("the same, and a second client draws half of it", scenario, 0.02, 1.15)


def no_headers() -> Figure:
    """The same bucket without `RateLimit` headers."""
    scenario = replace(ALONE, headers=False)
    return _of_buckets("the same, alone and without `RateLimit` headers", scenario, 0.01, 1.25)


def shared_no_headers() -> Figure:
    """Without headers and with a second client that uses half of the bucket."""
    scenario = replace(ALONE, headers=False, other_per_s=15.0)
    return _of_buckets("the same with the second client and no headers", scenario, 0.02, 1.15)


def contended() -> Figure:
    """A second client that uses nearly all refilled tokens."""
    return _of_buckets(
        "150 deletions, a bucket of 60 and 25 more per 3 s, a second client draws 8 per second",
        CONTENDED,
        0.02,
        1.15,
    )


def contended_no_headers() -> Figure:
    """The same without `RateLimit` headers."""
    scenario = replace(CONTENDED, headers=False)
    return _of_buckets("the same without `RateLimit` headers", scenario, 0.02, 1.15)


ALL: tuple[Callable[[], Figure], ...] = (
    *(loopback, distant, atlas_median, wide_dry_run, wide, largest),
    *(start, by_hand, by_hand_key, verify),
    *(memory, price, kept_lines),
    *(hot, shared),
    *(no_headers, shared_no_headers, contended, contended_no_headers),
    *(version, structure),
)


def _against_bare(message: str, found: Pairs, limit: float) -> Figure:
    for one, other in zip(found.ones, found.others, strict=True):
        assert one.received == other.received, (one.received, other.received)
    ratio = median(found.ratios)
    each = ", ".join(f"{each:.2f}" for each in sorted(found.ratios))
    return Figure(
        f"{message}, against a bare aiohttp script",
        f"{middle_s(found.ones):.2f} s : {middle_s(found.others):.2f} s = {ratio:.2f} "
        f"({each}; processor {found.cpu_ratio:.2f})",
        f"{limit}",
        ratio <= limit,
    )


def _of_buckets(message: str, scenario: Scenario, refused: float, limit: float) -> Figure:
    found = run_hot(scenario)
    ratio = found.took_s / found.bound_s
    beside = found.ordinary_s <= found.half_s
    second = found.other
    spent = len(second.spent_s)
    shared = f"; the second client got {spent} of {spent + second.refused}" if second.per_s else ""
    return Figure(
        message,
        f"{found.refused_share:.2%} of {found.answers} responses are 429; {found.took_s:.2f} s, "
        f"bound {found.bound_s:.2f} s: {ratio:.2f}; longest silence "
        f"{found.longest_silence_s:.1f} s; {found.ordinary_s - found.began_s:.1f} s for "
        f"the 60 other projects, its second half began at "
        f"{found.half_s - found.began_s:.1f} s{shared}",
        f"{refused:.0%}; {limit}; silent for at most 10 s; before the second half",
        found.refused_share <= refused
        and ratio <= limit
        and found.longest_silence_s <= 10
        and beside,
        found.drawing(),
    )
