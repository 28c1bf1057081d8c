"""Whether the logs of all shards of a night are there."""

from collections.abc import Iterable

from invite_sweeper.audit.runs import PastRun


def missing_shards(runs: Iterable[PastRun]) -> tuple[str, ...]:
    """Give the shards that none of the runs was, as `2/3`; empty where nothing is missing.

    Only the newest division counts: who once ran three shards may run four by now.
    """
    newest: tuple[str, str] = ("", "")
    seen: dict[str, set[int]] = {}
    for run in runs:
        index, slash, count = (run.shard or "").partition("/")
        if not (slash and index.isdecimal() and count.isdecimal()):
            continue
        seen.setdefault(count, set()).add(int(index))
        newest = max(newest, (str(run.started.get("now")), count))
    count = newest[1]
    if not count:
        return ()
    return tuple(
        f"{index}/{count}" for index in range(1, int(count) + 1) if index not in seen[count]
    )
