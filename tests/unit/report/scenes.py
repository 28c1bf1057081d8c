"""Runs as they end: each a file in an audit directory, and its record."""

from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Final, NamedTuple

from audit.runs import (
    deletion,
    finished,
    intent,
    last_record,
    outcome,
    planned,
    started,
    write_run,
)
from builders import NOW, ORG, OTHER_ORG, PROJECT
from msgspec import structs

from invite_sweeper.audit import AuditDirectory, RunRecord
from invite_sweeper.audit.events import (
    Announced,
    Event,
    OrganizationResult,
    Planned,
    RunFinished,
    RunStarted,
    RunWarning,
    WouldBeAnnounced,
)
from invite_sweeper.endings import Reason, WarningCode, WarningLevel
from invite_sweeper.models import ListUnreadable, Source
from invite_sweeper.outcomes import Counts

HOSTILE: Final = {
    "a script": "<script>window.pwned = 1</script>",
    "an image": '"><img src=x onerror="window.pwned = 1">',
    "an attribute": "' onmouseover='window.pwned = 1' x='",
    "a closing tag": "</td></table></style></script><h1>pwned</h1>",
    "a template": "{{ 7 * 7 }}{% raw %}",
    "an entity": "&lt;b&gt;&amp;",
    "a right-to-left override": "invoice\u202egnp.exe",
    "an isolate that is not closed": "\u2067abc\u2066def",
    "zero-width characters": "ad\u200bmin\u200d\ufeff",
    "controls": "a\x00b\x07c\x1b[31md\re\nf\tg\x7fh\x85i\u2028j",
    "Hebrew": "\u05e9\u05dc\u05d5\u05dd@example.com",
    "4-byte characters": "\U0001f99c\U0001f1ee\U0001f1f8\U0002070e",
    "combining marks": "z\u0335\u0321\u034e" * 30,
    "10,000 characters": "x" * 10_000,
    "10,000 4-byte characters": "\U0001f99c" * 10_000,
    "a lone surrogate": "a\ud800b",
    "Markdown": "`x` | [a](http://example.com) **b** @team #1 ~~c~~ <!-- d -->",
    "backticks": "``` `` ` ```` |",
    "backslashes": "\\| \\` \\",
    "a formula": "=HYPERLINK(1)",
}
"""Hostile values that a name from Atlas can contain."""


class Run(NamedTuple):
    """The lines of a run; without an end it was killed."""

    lines: tuple[Event, ...]
    end: RunFinished | None
    start: RunStarted


def run(
    *lines: Event, mode: str = "sweep", start: dict[str, object] | None = None, **end: object
) -> Run:
    """Return a run over one organization, whose counts are those of the run and of its lines.

    It partly did what it should where it has reasons and no exit code.
    """
    of_lines = Counter(str(getattr(each, "outcome", COUNTED.get(type(each), ""))) for each in lines)
    counts = {"projects_seen": 2, "invitations_seen": 20, "duration_s": 1.5, "requests": 12}
    counts |= {name: n for name, n in of_lines.items() if name in Counts.__struct_fields__} | end
    counts.setdefault("kept", 20 - counts.get("stale", 0))
    counts.setdefault("kept_by_reason", {"too_young": counts["kept"]})
    counts.setdefault("exit_code", 4 if "reasons" in end else 0)
    own = counts.keys() & set(OrganizationResult.__struct_fields__) - {"organizations", "error"}
    of_one = {"plan_made": True, **{name: counts[name] for name in own}}
    counts.setdefault("organizations", (OrganizationResult(id=ORG, name="Acme", **of_one),))
    counts.setdefault("invitations_by_source", {"invites": counts["invitations_seen"]})
    return Run(lines, finished(**counts), started(mode=mode, **(start or {})))


COUNTED: Final = {
    Planned: "stale",
    Announced: "announced",
    WouldBeAnnounced: "announced",
    ListUnreadable: "projects_unreadable",
}


def deleted(*numbers: int, **end: object) -> Run:
    return run(*(line for number in numbers for line in deletion(number)), **end)


def error(
    message: str, consequence: str = "", hint: str = "", **organization: str
) -> dict[str, str]:
    return {"message": message, "consequence": consequence, "hint": hint, **organization}


def warning(
    code: WarningCode, message: str, level: WarningLevel = WarningLevel.WARNING
) -> tuple[RunWarning, ...]:
    return (RunWarning(code, message, level),)


NOT_SEEN: Final = {"invitations_seen": 0, "kept": 0, "kept_by_reason": {}}
ORGANIZATION: Final = OrganizationResult(id=ORG, name="Acme", plan_made=True, plan_complete=True)
ERROR: Final = error(
    "30 stale invitations are over max_deletions: 10.\n"
    "30 stale invitations in project Search (id) are over max_deletions_per_project: 5.",
    "Nothing was deleted.",
    "Read the plan. Under limits in the policy, set max_deletions: 30.",
)
REFUSED: Final = {"exit_code": 3, "error": ERROR, "reasons": (Reason.MAX_DELETIONS,)}
REFUSED_SWEEP: Final = run(stale=15, **REFUSED)
BETA: Final = error(
    "Atlas refused the credentials.",
    "Nothing was deleted there.",
    "Check MONGODB_ATLAS_CLIENT_ID_BETA.",
    organization="Beta (bbbbbbbbbbbbbbbbbbbbbbbb)",
)
GOOD: Final = {"invitations_seen": 10, "projects_seen": 3, "stale": 2, "kept": 8, "deleted": 2}
THREE_ORGANIZATIONS: Final = run(
    *deletion(1),
    *deletion(2),
    start={"organizations": (ORG, "b" * 24, OTHER_ORG)},
    error=BETA,
    reasons=(Reason.CREDENTIALS,),
    plan_complete=False,
    organizations=(
        OrganizationResult(id=ORG, name="Acme", plan_made=True, **GOOD),
        OrganizationResult(
            id="b" * 24, name="Beta", exit_code=5, error=BETA, reasons=(Reason.CREDENTIALS,)
        ),
        OrganizationResult(id=OTHER_ORG, plan_made=True, **GOOD),
    ),
    invitations_by_source={},
    projects_seen=6,
    stale=4,
    deleted=4,
    duration_s=3.0,
    requests=0,
)
UNREACHED: Final = error(
    "Atlas cannot be reached.", "Nothing was deleted there.", "Check the network."
)
UNREACHABLE: Final = tuple(
    OrganizationResult(
        id=id_ * 24,
        exit_code=6,
        error={**UNREACHED, "organization": id_ * 24},
        reasons=(Reason.UNREACHABLE,),
    )
    for id_ in "bc"
)
REFUSED_DELETION: Final = (
    planned(3),
    intent(planned(3)),
    outcome(planned(3), "failed", http_status=403, error_code="USER_UNAUTHORIZED"),
)
SKIPPED: Final = (planned(2), outcome(planned(2), "skipped", attempts=0, http_status=None))
PENDING: Final = {"stale": 1, "waiting": 1}
DUE: Final = {"rule": "forgotten", "deletable_from": "2026-12-02T00:00:00Z"}
RESTORE: Final = {"mode": "restore", "start": {"restores": "run-0"}, **NOT_SEEN}
UNREADABLE: Final = ListUnreadable(
    project_id=PROJECT,
    project_name="Blue Lagoon",
    reason="Atlas answered 500.",
    http_status=500,
    error_code=None,
    source=Source.INVITES,
    org_id=ORG,
)
HOSTILE_NAMES: Final = tuple(
    planned(number, username=f"{name}@example.com", project_name=name)
    for number, name in enumerate(HOSTILE.values(), start=1)
    if len(name) < 1_000 and "\ud800" not in name
)
SCENES: Final[Mapping[str, Run]] = {
    "nothing stale": run(),
    "dry run": run(planned(1), planned(2), mode="dry-run"),
    "dry run that a sweep would refuse": run(
        planned(1), mode="dry-run", stale=30, kept=0, invitations_seen=30, **REFUSED
    ),
    "sweep of a plan": run(*deletion(1), start={"plan_sha256": "c" * 64}),
    "trimmed": run(*deletion(1), stale=5, trimmed=4, nights_left=4, limited_by="max_deletions"),
    "already gone": run(*deletion(1, "already_gone")),
    "changed and accepted before": run(*deletion(1, "changed"), *deletion(2, "accepted_before")),
    "stays invited": run(*deletion(1), still_invited=1),
    "failed": run(*deletion(1), *REFUSED_DELETION, reasons=(Reason.FAILED_DELETIONS,)),
    "no response": run(*deletion(1, "unknown"), reasons=(Reason.UNKNOWN_DELETIONS,)),
    "list not read": run(
        UNREADABLE, *deletion(1), reasons=(Reason.UNREADABLE_PROJECTS,), plan_complete=False
    ),
    "project gone": run(projects_gone=1),
    "refused": run(planned(1), stale=15, **REFUSED),
    "not all read": run(
        exit_code=6,
        plan_made=False,
        plan_complete=False,
        error=error(
            "Atlas cannot be reached: connection refused.",
            "Nothing was deleted.",
            "Check the network.",
        ),
        reasons=(Reason.UNREACHABLE,),
        organizations=(OrganizationResult(id=ORG, exit_code=6),),
        **NOT_SEEN,
    ),
    "stopped": run(
        *deletion(1),
        *SKIPPED,
        exit_code=8,
        error=error("Stopped by SIGTERM.", "1 invitation was deleted.", "Run the command again."),
        reasons=(Reason.INTERRUPTED,),
    ),
    "circuit breaker": run(
        *deletion(1, "failed"),
        *SKIPPED,
        reasons=(Reason.CIRCUIT_BREAKER,),
        warnings=warning(WarningCode.CIRCUIT_BREAKER, "The sweep stopped itself: 1 of 1 failed."),
    ),
    "killed": Run((*deletion(1), *map(planned, (2, 3)), intent(planned(2))), None, started()),
    "killed before it sent a request": Run((planned(1), planned(2)), None, started()),
    "killed before the plan": Run((), None, started()),
    "dry run that was killed": Run((planned(1), planned(2)), None, started(mode="dry-run")),
    "recovered": run(
        outcome(planned(1), "already_gone", recovers="run-0"),
        already_gone=0,
        recovered=1,
        requests=14,
    ),
    "announced": run(
        planned(1).as_event(Announced, **DUE),
        warnings=warning(
            WarningCode.NOTICE,
            "1 invitation announced, 0 due; the first may be deleted from 2026-12-02 00:00 UTC.",
            WarningLevel.REMARK,
        ),
        **PENDING,
    ),
    "dry run with a notice": run(
        planned(1).as_event(WouldBeAnnounced, **DUE), mode="dry-run", **PENDING
    ),
    "three organizations": THREE_ORGANIZATIONS,
    "two organizations unreachable": run(
        exit_code=4,
        error=UNREACHABLE[0].error,
        reasons=(Reason.UNREACHABLE,),
        organizations=(ORGANIZATION, *UNREACHABLE),
    ),
    "list retired": run(sources_retired=("invites",)),
    "list retired before its day": run(
        sources_retired=("invites",),
        reasons=(Reason.RETIRED_SOURCE,),
        warnings=warning(WarningCode.RETIRED_SOURCE, "Atlas no longer serves the list invites."),
    ),
    "list ends in 5 days": run(
        warnings=warning(
            WarningCode.SUNSET, "Atlas ends the list invites in 5 days.", WarningLevel.URGENT
        ),
        sunset="2026-11-30",
    ),
    "remark": run(
        mode="dry-run",
        warnings=warning(
            WarningCode.UNUSED_KEEP,
            "The keep entry 'board' matched no invitation.",
            WarningLevel.REMARK,
        ),
    ),
    "hostile names": run(*HOSTILE_NAMES, mode="dry-run"),
    "restore": run(intent(planned(1)), outcome(planned(1), "restored"), **RESTORE),
    "restore with active members": run(
        intent(planned(1)), outcome(planned(1), "active"), reasons=(Reason.MADE_ACTIVE,), **RESTORE
    ),
}


def write(scene: Run, directory: AuditDirectory, *, days_ago: float = 0) -> Path:
    """Write the file of a run as it began some days before `NOW`, and return its path."""
    when = NOW - timedelta(days=days_ago)
    return write_run(
        directory,
        f"run-{len(directory.files()) + 1}",
        *scene.lines,
        start=structs.replace(scene.start, now=when.isoformat().replace("+00:00", "Z")),
        end=scene.end,
        killed=scene.end is None,
        at=when + timedelta(seconds=1),
    )


def recorded(scene: Run, directory: AuditDirectory) -> RunRecord:
    write(scene, directory)
    return last_record(directory)
