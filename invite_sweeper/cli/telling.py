"""What a command ends with: the result of its one run, or of several put together."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace

import orjson

from invite_sweeper.cli import results
from invite_sweeper.cli.exits import explain
from invite_sweeper.cli.one_run import Told
from invite_sweeper.cli.options import Output
from invite_sweeper.cli.order import Order
from invite_sweeper.errors import ExitCode
from invite_sweeper.report.summary import Summary

_SUMMED = (
    *("projects_seen", "projects_unreadable", "invitations_seen", "stale", "trimmed", "kept"),
    *("deleted", "already_gone", "failed", "unknown", "skipped", "requests", "retries"),
    *("rate_limited", "recovered", "accepted_before", "accepted_during"),
)
_GONE_WELL = frozenset({ExitCode.DONE, ExitCode.STALE})
_FIRST = (ExitCode.STOPPED, ExitCode.AUDIT)


def exit_code(told: Sequence[Told]) -> int:
    """Give the code of several runs: their own where they agree, else the plainest truth.

    A stop or a log that failed says more than what the other runs came to; 0 and 10 are both
    well, and anything else beside them is partly done.
    """
    codes = [_code(each) for each in told]
    if len(set(codes)) == 1:
        return codes[0]
    for code in _FIRST:
        if code in codes:
            return int(code)
    return int(ExitCode.STALE if set(codes) <= _GONE_WELL else ExitCode.PARTLY)


def tell_all(order: Order, told: Sequence[Told]) -> int:
    """Write each result to stdout, and each error to stderr; gives the exit code.

    `--output json` stays one object: the totals of all runs, and each run under `runs`.
    """
    code = exit_code(told)
    if len(told) == 1 or order.output is Output.TEXT:
        for each in told:
            _tell(order, each)
        return code
    total = together(told, code)
    begun = [asdict(each.ended.summary) for each in told if each.ended and each.ended.begun]
    if total is not None and begun:
        whole = {**asdict(total), "runs": begun}
        results.write_bytes(orjson.dumps(whole, option=orjson.OPT_APPEND_NEWLINE))
    for each in told:
        if each.error is not None:
            explain(each.error)
    return code


def together(told: Sequence[Told], code: int) -> Summary | None:
    """Give one summary of several runs; None where it came to none."""
    summaries = [each.ended.summary for each in told if each.ended is not None]
    if not summaries:
        return None
    if len(summaries) == 1:
        return replace(summaries[0], exit_code=code)
    reasons: Counter[str] = Counter()
    for each in summaries:
        reasons.update(each.kept_by_reason)
    totals = {name: sum(getattr(each, name) for each in summaries) for name in _SUMMED}
    oldest = [s.oldest_pending_days for s in summaries if s.oldest_pending_days is not None]
    return replace(
        summaries[-1],
        **totals,
        kept_by_reason=dict(reasons),
        organizations=tuple(i for each in summaries for i in each.organizations),
        sunset=min((s.sunset for s in summaries if s.sunset), default=None),
        oldest_pending_days=max(oldest, default=None),
        warnings=tuple(w for each in summaries for w in each.warnings),
        error=next((s.error for s in summaries if s.error), None),
        exit_code=code,
    )


def _tell(order: Order, told: Told) -> None:
    if told.ended is not None:
        results.tell(order, told.ended, told.path, told.start, told.kept)
    elif told.error is not None:
        explain(told.error)


def _code(told: Told) -> int:
    if told.ended is not None:
        return told.ended.summary.exit_code
    return int(told.error.exit_code if told.error is not None else ExitCode.DEFECT)
