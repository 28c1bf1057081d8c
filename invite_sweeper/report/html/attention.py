"""What needs attention in a report, with what to do about it.

It is written for a reader without the documentation: each exit code is explained.
"""

from collections.abc import Iterator
from dataclasses import replace

from invite_sweeper.endings import (
    DAMAGED_ADVICE,
    UNFINISHED_ADVICE,
    Advisor,
    ExitCode,
    Reason,
    Status,
    WarningCode,
    WarningLevel,
)
from invite_sweeper.report.html.model import Attention, Report, Run
from invite_sweeper.report.html.verdict import is_damaged, verdict
from invite_sweeper.text import plural_form, pluralize

_NAMED_ORGANIZATIONS = 5
_SAID_ELSEWHERE = (WarningCode.REMOVED_MEMBER,)
"""Codes of warnings that an item of their own contains."""


def attention(report: Report) -> tuple[Attention, ...]:
    """Return what needs attention, the command before earlier runs."""
    said = verdict(report).sentences
    found = (
        *_chain(report),
        *_bad_ends(report),
        *_people(report),
        *_unreadable(report),
        *_warnings(report),
        *_earlier_runs(report),
    )
    return tuple(
        replace(item, messages=tuple(each for each in item.messages if each not in said))
        for item in found
    )


def describe_code(exit_code: int | None) -> str:
    """Return an exit code with its meaning; for None, that the run has no end."""
    if exit_code is None:
        return "no last line"
    label = next((f": {code.label}" for code in ExitCode if code == exit_code), "")
    return f"exit code {exit_code}{label}"


def _advisor(report: Report, run: Run) -> Advisor:
    own = set(run.organizations)
    removed = (
        row
        for row in report.failed
        if row.outcome == "accepted_during" and (not own or row.place.org_id in own)
    )
    return Advisor(
        audit_log=report.audit_log,
        run_id=run.run_id,
        policy_path=run.policy_path,
        credentials=run.credentials,
        base_url=run.base_url,
        removed=tuple(dict.fromkeys(row.username for row in removed if row.username)),
    )


def _chain(report: Report) -> Iterator[Attention]:
    if is_damaged(report) and report.chain is not None:
        yield Attention("The audit log does not verify", (report.chain.message,), DAMAGED_ADVICE)


def _bad_ends(report: Report) -> Iterator[Attention]:
    """Yield one item for each way in which runs of the command ended."""
    found: dict[Attention, list[str]] = {}
    for run in report.subject:
        if run.status is not Status.DONE:
            item = Attention(_title(run), _messages(run), _advice(report, run))
            found.setdefault(item, []).extend(run.organizations)
    for item, ids in found.items():
        named = any(id_ in message for id_ in ids for message in item.messages)
        if len(report.organizations) > 1 and ids and not named:
            where = ", ".join(report.labels(ids[:_NAMED_ORGANIZATIONS]))
            more = len(ids) - _NAMED_ORGANIZATIONS
            rest = f" and {more:,} more" if more > 0 else ""
            item = replace(item, messages=(f"In {where}{rest}.", *item.messages))  # noqa: PLW2901
        yield item


def _title(run: Run) -> str:
    if run.status is Status.UNFINISHED:
        return "The run has no end"
    title = describe_code(run.exit_code)
    if Reason.CIRCUIT_BREAKER in run.reasons:
        title = f"exit code {run.exit_code}: the sweep {Reason.CIRCUIT_BREAKER.label}"
    elif {*run.reasons} == {Reason.MADE_ACTIVE}:
        title = f"exit code {run.exit_code}: the restore made people active members"
    return title[0].upper() + title[1:]


def _messages(run: Run) -> tuple[str, ...]:
    if run.status is Status.UNFINISHED:
        return (_open_requests(run),)
    stopped = (w.message for w in run.warnings if w.code == WarningCode.CIRCUIT_BREAKER)
    found = tuple(filter(None, (run.error, run.consequence, *stopped, *_parts_not_done(run))))
    code = next((code for code in ExitCode if code == run.exit_code), None)
    if run.is_restore or code is None or (found and code in {ExitCode.PARTIAL, ExitCode.REFUSED}):
        return found
    return (*found, code.meaning)


def _open_requests(run: Run) -> str:
    if not run.open:
        return "Each request that it sent has a result in the log."
    requests = pluralize(run.open, "request")
    return f"{requests} may have been sent: the log does not contain the result."


def _parts_not_done(run: Run) -> Iterator[str]:
    what = "invitation" if run.is_restore else "deletion"
    if failed := run.count("failed"):
        yield f"{pluralize(failed, what)} failed."
    if unclear := run.count("unknown") + run.open:
        yield f"The result of {pluralize(unclear, what)} is not known."
    if skipped := run.count("skipped"):
        were = plural_form(skipped, "was", "were")
        yield f"{pluralize(skipped, what)} {were} not {'sent' if run.is_restore else 'attempted'}."


def _advice(report: Report, run: Run) -> str:
    """Return what to do: as the run says, or as its reasons and its exit code mean."""
    if run.status is Status.UNFINISHED:
        return UNFINISHED_ADVICE
    if run.hint:
        return run.hint
    code = next((code for code in ExitCode if code == run.exit_code), ExitCode.DEFECT)
    return _advisor(report, run).hint(code, run.reasons)


def _people(report: Report) -> Iterator[Attention]:
    """Yield whom the command removed or added although they were, or became, active."""
    counts = report.counts
    if removed := counts["accepted_during"]:
        run = next(run for run in report.subject if run.count("accepted_during"))
        yield Attention(
            "Active members were removed",
            (f"{pluralize(removed, 'person', 'people')} accepted during the deletion.",),
            " ".join(_advisor(report, run).advise([Reason.REMOVED_MEMBER])),
        )
    if active := counts["active"]:
        yield Attention(
            "People became active members at once",
            (
                f"{pluralize(active, 'person', 'people')} joined without having to accept.",
                "Atlas does so in federated organizations.",
            ),
            " ".join(_advisor(report, report.first).advise([Reason.MADE_ACTIVE])),
        )


def _unreadable(report: Report) -> Iterator[Attention]:
    count = report.reported.projects_unreadable
    if count:
        reasons = dict.fromkeys(each.reason for each in report.unreadable)
        yield Attention(
            f"{pluralize(count, 'project')} could not be read",
            (*tuple(reasons)[:3], "Nothing was deleted there. They are listed below."),
        )


def _warnings(report: Report) -> Iterator[Attention]:
    found = dict.fromkeys(
        each.message
        for run in report.subject
        for each in run.warnings
        if each.level != WarningLevel.REMARK
        and each.code not in {*_SAID_ELSEWHERE, WarningCode.CIRCUIT_BREAKER}
    )
    if found:
        yield Attention("The run warned", tuple(found))


def _earlier_runs(report: Report) -> Iterator[Attention]:
    """Yield one item for the earlier runs of each exit code that no later run made up for."""
    found: dict[int | None, list[Run]] = {}
    for run in report.unresolved:
        found.setdefault(run.exit_code, []).append(run)
    for exit_code, runs in found.items():
        count = pluralize(len({run.command_id for run in runs}), "earlier run")
        ended = "without an end" if exit_code is None else f"with {describe_code(exit_code)}"
        yield Attention(
            f"{count} {ended}",
            tuple(dict.fromkeys(map(_earlier_run, runs))),
            _advice(report, runs[0]),
        )


def _earlier_run(run: Run) -> str:
    day = f"{run.started:%Y-%m-%d %H:%M}" if run.started else run.run_id
    detail = run.error or " ".join(_parts_not_done(run))
    return f"{day}, {run.kind}: {detail}" if detail else f"{day}, {run.kind}"
