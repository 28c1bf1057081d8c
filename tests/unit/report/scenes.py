"""Runs as they end: each a file in an audit directory, with the record that outputs tell."""

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import NamedTuple

from audit.runs import deletion, finished, intent, outcome, planned, started, write_run
from builders import NOW, ORG, OTHER_ORG, PROJECT
from report.hostile import HOSTILE

from invite_sweeper.audit import AuditDirectory, History, RunRecord
from invite_sweeper.audit.events import (
    Announced,
    Event,
    OrganizationResult,
    PlanChanges,
    RunFinished,
    RunStarted,
    RunWarning,
    WouldBeAnnounced,
)
from invite_sweeper.endings import Reason, WarningCode, WarningLevel
from invite_sweeper.models import ListUnreadable, Source

ORGANIZATION = OrganizationResult(id=ORG, name="Acme", plan_made=True, plan_complete=True)
ERROR = {
    "message": (
        "30 stale invitations are over max_deletions: 10.\n"
        "30 stale invitations in project Search (id) are over max_deletions_per_project: 5."
    ),
    "consequence": "Nothing was deleted.",
    "hint": "Read the plan. Under limits in the policy, set max_deletions: 30.",
}


class Run(NamedTuple):
    """The lines of a run; without an end it was killed."""

    lines: Iterable[Event]
    end: RunFinished | None
    start: RunStarted


def run(
    *lines: Event, mode: str = "sweep", start: dict[str, object] | None = None, **end: object
) -> Run:
    """Return a run over one organization, whose counts are those of the run."""
    counts: dict[str, object] = {"projects_seen": 2, "invitations_seen": 20, **end}
    stale = counts.get("stale", 0)
    counts.setdefault("kept", 20 - stale)
    counts.setdefault("kept_by_reason", {"too_young": counts["kept"]})
    counts.setdefault("duration_s", 1.5)
    counts.setdefault("requests", 12)
    own = {
        key: value
        for key, value in counts.items()
        if key in OrganizationResult.__struct_fields__ and key not in {"organizations", "error"}
    }
    one = OrganizationResult(**{"id": ORG, "name": "Acme", "plan_made": True, **own})
    counts.setdefault("organizations", (one,))
    counts.setdefault("invitations_by_source", {"invites": counts["invitations_seen"]})
    return Run(lines, finished(**counts), started(mode=mode, **(start or {})))


def partly(*reasons: Reason) -> dict[str, object]:
    """Return how a run ends that did not do everything."""
    return {"exit_code": 4, "reasons": reasons}


NONE_SEEN = {"invitations_seen": 0, "kept": 0, "kept_by_reason": {}}


def warned(code: WarningCode, message: str, level: WarningLevel) -> tuple[RunWarning, ...]:
    return (RunWarning(code, message, level),)


def three_organizations(**more: object) -> Run:
    """Return a sweep of three organizations of which one could not be read."""
    failed = {
        "message": "Organization Beta (bbbbbbbbbbbbbbbbbbbbbbbb): Atlas refused the credentials.",
        "consequence": "Nothing was deleted there.",
        "hint": "Check MONGODB_ATLAS_CLIENT_ID_BETA.",
    }
    good = {"invitations_seen": 10, "projects_seen": 3, "stale": 2, "kept": 8, "deleted": 2}
    organizations = (
        OrganizationResult(id=ORG, name="Acme", plan_made=True, **good),
        OrganizationResult(
            id="b" * 24, name="Beta", exit_code=5, error=failed, reasons=(Reason.CREDENTIALS,)
        ),
        OrganizationResult(id=OTHER_ORG, name=None, plan_made=True, **good),
    )
    return Run(
        [*deletion(1), *deletion(2)],
        finished(
            exit_code=4,
            error=failed,
            reasons=(Reason.CREDENTIALS,),
            plan_complete=False,
            organizations=organizations,
            invitations_seen=20,
            projects_seen=6,
            stale=4,
            kept=16,
            deleted=4,
            kept_by_reason={"too_young": 16},
            duration_s=3.0,
            **more,
        ),
        started(organizations=(ORG, "b" * 24, OTHER_ORG)),
    )


def two_unreachable() -> Run:
    """Return a sweep of three organizations of which two failed for the same cause."""
    cause = {"consequence": "Nothing was deleted there.", "hint": "Check the network."}
    errors = [
        {"message": f"Organization {id_ * 24}: Atlas cannot be reached.", **cause} for id_ in "bc"
    ]
    organizations = (
        ORGANIZATION,
        *(
            OrganizationResult(id=id_ * 24, exit_code=6, error=error, reasons=(Reason.UNREACHABLE,))
            for id_, error in zip("bc", errors, strict=True)
        ),
    )
    return run(
        exit_code=4, error=errors[0], reasons=(Reason.UNREACHABLE,), organizations=organizations
    )


def failed_one() -> list[Event]:
    plan = planned(3)
    refused = outcome(plan, "failed", http_status=403, error_code="USER_UNAUTHORIZED")
    return [plan, intent(plan), refused]


def hostile_names() -> list[Event]:
    return [
        planned(number, username=f"{name}@example.com", project_name=name)
        for number, name in enumerate(HOSTILE.values(), start=1)
        if len(name) < 1_000 and "\ud800" not in name
    ]


UNREADABLE = ListUnreadable(
    project_id=PROJECT,
    project_name="Blue Lagoon",
    reason="Atlas answered 500.",
    http_status=500,
    error_code=None,
    source=Source.INVITES,
    org_id=ORG,
)
WARNING, URGENT, REMARK = WarningLevel.WARNING, WarningLevel.URGENT, WarningLevel.REMARK
SCENES: dict[str, Callable[[], Run]] = {
    "nothing stale": run,
    "nothing stale in a dry run": lambda: run(mode="dry-run"),
    "nothing seen": lambda: run(**NONE_SEEN),
    "dry run": lambda: run(planned(1), planned(2), mode="dry-run", stale=2),
    "dry run with --detailed-exitcode": lambda: run(
        planned(1), mode="dry-run", stale=1, exit_code=10
    ),
    "dry run that a sweep would refuse": lambda: run(
        planned(1),
        mode="dry-run",
        stale=30,
        kept=0,
        invitations_seen=30,
        exit_code=3,
        error=ERROR,
        reasons=(Reason.MAX_DELETIONS,),
    ),
    "sweep": lambda: run(*deletion(1), *deletion(2), stale=2, deleted=2),
    "sweep of a plan": lambda: run(
        *deletion(1), stale=1, deleted=1, start={"plan_sha256": "c" * 64}
    ),
    "trimmed": lambda: run(*deletion(1), stale=5, trimmed=4, deleted=1),
    "already gone": lambda: run(*deletion(1, "already_gone"), stale=1, already_gone=1),
    "changed and accepted before": lambda: run(
        *deletion(1, "changed"),
        *deletion(2, "accepted_before"),
        stale=2,
        changed=1,
        accepted_before=1,
    ),
    "failed": lambda: run(
        *deletion(1),
        *failed_one(),
        stale=2,
        deleted=1,
        failed=1,
        **partly(Reason.FAILED_DELETIONS),
    ),
    "no response": lambda: run(
        *deletion(1, "unknown"),
        stale=1,
        unknown=1,
        **partly(Reason.UNKNOWN_DELETIONS),
    ),
    "member removed": lambda: run(
        *deletion(1, "accepted_during"),
        stale=1,
        accepted_during=1,
        **partly(Reason.REMOVED_MEMBER),
        removed_members=("user1@example.com",),
        warnings=warned(
            WarningCode.REMOVED_MEMBER, "user1@example.com accepted and was removed.", URGENT
        ),
    ),
    "list not read": lambda: run(
        UNREADABLE,
        *deletion(1),
        stale=1,
        deleted=1,
        projects_unreadable=1,
        **partly(Reason.UNREADABLE_PROJECTS),
        plan_complete=False,
    ),
    "project gone": lambda: run(projects_gone=1),
    "refused": lambda: run(
        planned(1), stale=15, exit_code=3, error=ERROR, reasons=(Reason.MAX_DELETIONS,)
    ),
    "not all read": lambda: run(
        exit_code=6,
        plan_made=False,
        plan_complete=False,
        **NONE_SEEN,
        error={
            "message": "Atlas cannot be reached: connection refused.",
            "consequence": "Nothing was deleted.",
            "hint": "Check the network.",
        },
        reasons=(Reason.UNREACHABLE,),
        organizations=(OrganizationResult(id=ORG, exit_code=6),),
    ),
    "stopped": lambda: run(
        *deletion(1),
        planned(2),
        outcome(planned(2), "skipped", attempts=0, http_status=None),
        stale=2,
        deleted=1,
        skipped=1,
        exit_code=8,
        error={
            "message": "Stopped by SIGTERM.",
            "consequence": "1 invitation had been deleted by then.",
            "hint": "Run the command again.",
        },
        reasons=(Reason.INTERRUPTED,),
    ),
    "stopped after a member was removed": lambda: run(
        *deletion(1, "accepted_during"),
        stale=1,
        accepted_during=1,
        exit_code=8,
        error={"message": "Stopped by SIGTERM.", "consequence": "", "hint": ""},
        reasons=(Reason.INTERRUPTED, Reason.REMOVED_MEMBER),
        removed_members=("user1@example.com",),
        warnings=warned(
            WarningCode.REMOVED_MEMBER, "user1@example.com accepted and was removed.", URGENT
        ),
    ),
    "circuit breaker": lambda: run(
        *deletion(1, "failed"),
        planned(2),
        outcome(planned(2), "skipped", attempts=0, http_status=None),
        stale=2,
        failed=1,
        skipped=1,
        **partly(Reason.CIRCUIT_BREAKER),
        warnings=warned(
            WarningCode.CIRCUIT_BREAKER, "The sweep stopped itself: 1 of 1 failed.", WARNING
        ),
    ),
    "killed": lambda: Run([*deletion(1), planned(2), intent(planned(2))], None, started()),
    "killed before the plan": lambda: Run([], None, started()),
    "recovered": lambda: run(
        outcome(planned(1), "already_gone", recovers="run-0"), recovered=1, requests=14
    ),
    "announced": lambda: run(
        planned(1).as_event(Announced, rule="forgotten", deletable_from="2026-12-02T00:00:00Z"),
        announced=1,
        kept=20,
        kept_by_reason={"too_young": 19, "notice_pending": 1},
        warnings=warned(
            WarningCode.NOTICE,
            "1 invitation announced, 0 due; the first may be deleted from 2026-12-02 00:00 UTC.",
            REMARK,
        ),
    ),
    "dry run with a notice": lambda: run(
        planned(1).as_event(
            WouldBeAnnounced, rule="forgotten", deletable_from="2026-12-02T00:00:00Z"
        ),
        mode="dry-run",
        announced=1,
        kept=20,
        kept_by_reason={"too_young": 19, "notice_pending": 1},
    ),
    "changes since the last plan": lambda: run(
        *deletion(1),
        stale=1,
        deleted=1,
        changes=PlanChanges(
            run_id="run-0", now="2026-11-24T01:02:00Z", new=1, still_stale=0, deleted=3, not_read=1
        ),
    ),
    "three organizations": three_organizations,
    "two organizations unreachable": two_unreachable,
    "list retired": lambda: run(sources_retired=("invites",)),
    "list retired before its day": lambda: run(
        sources_retired=("invites",),
        **partly(Reason.RETIRED_SOURCE),
        warnings=warned(
            WarningCode.RETIRED_SOURCE, "Atlas no longer serves the list invites.", WARNING
        ),
    ),
    "list ends in 5 days": lambda: run(
        warnings=warned(WarningCode.SUNSET, "Atlas ends the list invites in 5 days.", URGENT),
        sunset="2026-11-30",
    ),
    "list ends in 170 days": lambda: run(
        warnings=warned(WarningCode.SUNSET, "Atlas ends the list invites in 170 days.", WARNING),
        sunset="2027-05-14",
    ),
    "secret ends in 2 days": lambda: run(
        warnings=warned(WarningCode.SECRET, "The secret of the service account ends.", URGENT)
    ),
    "remark": lambda: run(
        mode="dry-run",
        warnings=warned(
            WarningCode.UNUSED_KEEP, "The keep entry 'board' matched no invitation.", REMARK
        ),
    ),
    "hostile names": lambda: run(*hostile_names(), mode="dry-run", stale=len(hostile_names())),
    "deleted before": lambda: run(
        planned(1).as_event(type(planned(1)), rule="forgotten", bounced=2),
        mode="dry-run",
        stale=1,
    ),
    "restore": lambda: run(
        intent(planned(1)),
        outcome(planned(1), "restored"),
        mode="restore",
        start={"restores": "run-0"},
        restored=1,
        **NONE_SEEN,
    ),
    "restore with active members": lambda: run(
        intent(planned(1)),
        outcome(planned(1), "active"),
        mode="restore",
        start={"restores": "run-0"},
        active=1,
        **partly(Reason.MADE_ACTIVE),
        **NONE_SEEN,
    ),
    "still listed": lambda: run(
        *deletion(1),
        outcome(planned(1), "failed", attempts=0, http_status=None, replaces="deleted"),
        stale=1,
        failed=1,
        still_there=1,
        **partly(Reason.FAILED_DELETIONS),
        warnings=warned(
            WarningCode.STILL_THERE, "Atlas's lists still contain 1 invitation.", WARNING
        ),
    ),
}


def written(name: str, directory: AuditDirectory) -> RunRecord:
    """Write a scene's file and return the record of its run."""
    return recorded(SCENES[name](), directory)


def recorded(scene: Run, directory: AuditDirectory) -> RunRecord:
    """Write the file of a run and return its record."""
    count = len(directory.files())
    write_run(
        directory,
        f"run-{count + 1}",
        *scene.lines,
        start=scene.start,
        end=scene.end,
        killed=scene.end is None,
        at=NOW + timedelta(seconds=1),
    )
    return History.read(directory.files()).runs[-1]
