"""What a command ends with: the result of its one run, or of several put together."""

from collections.abc import Sequence

from invite_sweeper.cli import results
from invite_sweeper.cli.exits import explain
from invite_sweeper.cli.one_run import Told
from invite_sweeper.cli.options import Output
from invite_sweeper.cli.order import RunOptions
from invite_sweeper.errors import ExitCode
from invite_sweeper.totals import merge_summaries

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
    succeeded = all(ExitCode(code).succeeded for code in codes)
    return int(ExitCode.STALE if succeeded else ExitCode.PARTLY)


def tell_all(options: RunOptions, told: Sequence[Told]) -> int:
    """Write each result to stdout, and each error to stderr; gives the exit code.

    `--output json` stays one object: the totals of all runs, and each run under `runs`.
    """
    code = exit_code(told)
    if len(told) == 1 or options.output is Output.TEXT:
        for each in told:
            _tell(options, each)
        return code
    ended = [each.ended for each in told if each.ended is not None]
    runs = [each.summary.to_json() for each in ended if each.reached_atlas]
    if runs:
        total = merge_summaries([each.summary for each in ended], code)
        results.write_json({**total.to_json(), "runs": runs})
    for each in told:
        if each.error is not None:
            explain(each.error)
    return code


def _tell(options: RunOptions, told: Told) -> None:
    if told.ended is not None:
        results.tell(options, told.ended, told.path, told.start, told.kept)
    elif told.error is not None:
        explain(told.error)


def _code(told: Told) -> int:
    if told.ended is not None:
        return told.ended.summary.exit_code
    return int(told.error.exit_code if told.error is not None else ExitCode.DEFECT)
