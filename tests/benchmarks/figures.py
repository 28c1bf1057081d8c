"""The figures that must hold, each measured when it is asked for."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import median

from benchmarks import structure as structures
from benchmarks.hot import ALONE, NEARLY_TAKEN, SHARED, Hot, run_hot
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

    what: str
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
    return _of_buckets("300 deletions through a bucket of 60 a 2 s", run_hot(ALONE), 0.01, 1.05)


def shared() -> Figure:
    """The same bucket, and a second client that spends half of it."""
    found = run_hot(SHARED)
    return _of_buckets("the same, and a second client draws half of it", found, 0.02, 1.15)


def shared_unsaid() -> Figure:
    """The same beside a second client, and Atlas sends no `RateLimit` headers."""
    found = run_hot(replace(SHARED, headers=False))
    return _of_buckets("the same, without RateLimit headers", found, 0.02, 1.15)


def nearly_taken() -> Figure:
    """A second client that draws almost all that a bucket is refilled by."""
    return _of_silence(run_hot(NEARLY_TAKEN), "with RateLimit headers")


def nearly_taken_unsaid() -> Figure:
    """The same without `RateLimit` headers."""
    return _of_silence(run_hot(replace(NEARLY_TAKEN, headers=False)), "without RateLimit headers")


ALL: tuple[Callable[[], Figure], ...] = (
    *(loopback, distant, by_hand, by_hand_key),
    *(memory, price, hot, shared),
    *(shared_unsaid, nearly_taken, nearly_taken_unsaid),
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


def _of_buckets(what: str, found: Hot, refused: float, limit: float) -> Figure:
    ratio = found.took_s / found.bound_s
    beside = found.ordinary_s <= found.half_s
    second = found.other
    drawn = len(second.spent_s)
    told = f"; the second client got {drawn} of {drawn + second.refused}" if second.per_s else ""
    quiet = found.silence_s <= 10
    return Figure(
        what,
        f"{found.refused_share:.2%} of {found.answers} answers are 429; {found.took_s:.2f} s, "
        f"bound {found.bound_s:.2f} s: {ratio:.2f}; {found.ordinary_s - found.began_s:.1f} s for "
        f"the 60 projects beside it, its second half began at "
        f"{found.half_s - found.began_s:.1f} s; at most {found.silence_s:.1f} s without a request "
        f"while there was a token{told}",
        f"{refused:.0%}; {limit}; before the second half; 10 s",
        found.refused_share <= refused and ratio <= limit and beside and quiet,
        found.drawing(),
    )


def _of_silence(found: Hot, how: str) -> Figure:
    case, second = found.case, found.other
    drawn = len(second.spent_s)
    return Figure(
        f"{case.deletions} deletions, a second client draws {case.other_per_s:g} of the "
        f"{case.refill / case.period_s:.1f} tokens a second, {how}",
        f"at most {found.silence_s:.1f} s without a request while there was a token; "
        f"{max(0, len(found.sent_s) - 1)} deleted in {found.ended_s - found.began_s:.0f} s; "
        f"{found.refused_share:.2%} of {found.answers} answers are 429; the second client got "
        f"{drawn} of {drawn + second.refused}",
        "10 s; 2%",
        found.silence_s <= 10 and found.refused_share <= 0.02,
        found.drawing(),
    )
