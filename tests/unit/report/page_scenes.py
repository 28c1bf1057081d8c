"""Scenes of the report page: logs of real runs against the simulated Atlas, or of a logbook."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path

from report.logbook import Logbook, invitation
from running import CliRunner, cli_in, wait_until

from invite_sweeper.audit.verify import verify
from invite_sweeper.report.html import ReportModel, build_report_model, chain_result
from invite_sweeper.simulator import faults
from invite_sweeper.simulator.seed import ORG_ID

ACME, BETA = ORG_ID, "0123456789abcdef01234567"
TOKEN = "MONGODB_ATLAS_ACCESS_TOKEN"
DAYS = timedelta(days=1)
LOG = "audit/invite-sweeper.jsonl"


@dataclass(frozen=True)
class Scene:
    """A log, the model of its report, and what the simulated Atlas holds afterwards.

    Attributes:
        pending: Number of invitations left; None for a logbook.
        deletes: Number of DELETE requests received; None for a logbook.
        codes: Exit codes of the commands.
        removed: Number of invitations that are missing at the end.
    """

    log: Path
    model: ReportModel
    pending: int | None = None
    deletes: int | None = None
    codes: tuple[int, ...] = ()
    removed: int = 0


def read(log: Path) -> ReportModel:
    return build_report_model([log], chain_result(verify([log])))


def played(play: Callable[[CliRunner], tuple[int, ...]], folder: Path) -> Scene:
    """Play a scene against the simulated Atlas: a project with 12 stale and 3 other people."""
    with cli_in(folder) as cli:
        cli.sim.invite_rate_limit.per_minute = None
        cli.projects.append(cli.sim.add_project("Blue Lagoon"))
        cli.keys["execution"] = {"concurrency": 1, "grace": "1s"}
        invite(cli, 12)
        invite(cli, 3, name="young", days=1)
        codes = play(cli)
        return scene_of(cli, *codes)


def scene_of(cli: CliRunner, *codes: int) -> Scene:
    pending = cli.sim.invitation_count()
    return Scene(
        log=cli.log_path,
        model=read(cli.log_path),
        pending=pending,
        deletes=cli.deletes(),
        codes=codes,
        removed=cli.invited - pending,
    )


def invite(cli: CliRunner, count: int, *, name: str = "person", days: float = 20) -> None:
    """Invite people to the last project, each a day longer ago than the one before."""
    for number in range(count):
        cli.sim.invite(cli.projects[-1], f"{name}-{number}@example.com", age=(days + number) * DAYS)
    cli.invited = getattr(cli, "invited", 0) + count


def fault_second_project(cli: CliRunner, fault: faults.Fault, times: int | None) -> None:
    """Add a project with 12 stale invitations whose deletions fail."""
    cli.keys["execution"] = {"concurrency": 2, "grace": "1s"}
    cli.keys["limits"] |= {"canary": 0}
    cli.projects.append(cli.sim.add_project("Red Canyon"))
    invite(cli, 12)
    path = f"*/groups/{cli.projects[-1]}/*"
    cli.sim.faults.add(fault, method="DELETE", path=path, times=times)


def clean(cli: CliRunner) -> tuple[int, ...]:
    return (cli.sweep().code,)


def dry_run(cli: CliRunner) -> tuple[int, ...]:
    return (cli.plan("--detailed-exitcode").code,)


def nothing_stale(cli: CliRunner) -> tuple[int, ...]:
    cli.keys["rules"] = [{"name": "ancient", "older_than": "90d"}]
    return (cli.sweep().code,)


def unused_pattern(cli: CliRunner) -> tuple[int, ...]:
    cli.keys["projects"] = {"include": ["*"], "exclude": ["prod-*"]}
    return (cli.sweep().code,)


def refused_dry_run(cli: CliRunner) -> tuple[int, ...]:
    cli.keys["limits"]["max_deletions"] = 5
    return (cli.plan().code,)


def quarantine(cli: CliRunner) -> tuple[int, ...]:
    cli.keys["limits"]["quarantine"] = True
    first = cli.sweep(
        "--accept-policy", hashlib.sha256(cli.write_policy().read_bytes()).hexdigest()
    )
    invite(cli, 4, name="newer", days=11)
    cli.keys["rules"] = [{"name": "younger", "older_than": "10d"}]
    cli.keys["limits"]["max_deletions"] = 50
    return (first.code, cli.sweep().code)


def canary(cli: CliRunner) -> tuple[int, ...]:
    cli.sim.faults.add(faults.fail_with(400), method="DELETE", times=None)
    cli.keys["limits"] |= {"canary": 5}
    return (cli.sweep().code,)


def breaker(cli: CliRunner) -> tuple[int, ...]:
    cli.keys["limits"] |= {"canary": 0, "breaker_window": 4, "max_failure_share": 0.5}
    fault_second_project(cli, faults.fail_with(400), None)
    return (cli.sweep().code,)


def partly_done(cli: CliRunner) -> tuple[int, ...]:
    cli.keys["limits"] |= {"canary": 0}
    cli.sim.faults.add(faults.fail_with(400), method="DELETE", times=2)
    return (cli.sweep().code,)


def unreadable(cli: CliRunner) -> tuple[int, ...]:
    cli.projects.append(cli.sim.add_project("Locked"))
    invite(cli, 1, name="locked")
    path = f"*/groups/{cli.projects[-1]}/invites"
    cli.sim.faults.add(faults.fail_with(403), method="GET", path=path, times=None)
    return (cli.sweep().code,)


def deadline_while_reading(cli: CliRunner) -> tuple[int, ...]:
    cli.sim.faults.add(faults.hang(), method="GET", path="*/invites*", times=None)
    return (cli.sweep("--deadline", "2s").code,)


def deadline_after_one_project(cli: CliRunner) -> tuple[int, ...]:
    """The first project is read, and its part of the plan is written."""
    cli.projects.append(cli.sim.add_project("Red Canyon"))
    path = f"*/groups/{cli.projects[-1]}/*"
    cli.sim.faults.add(faults.hang(), method="GET", path=path, times=None)
    return (cli.sweep("--deadline", "2s").code,)


def deadline_while_deleting(cli: CliRunner) -> tuple[int, ...]:
    fault_second_project(cli, faults.hang(), None)
    return (cli.sweep("--deadline", "4s").code,)


def restore_dry(cli: CliRunner) -> tuple[int, ...]:
    return (cli.sweep().code, cli.run("restore", LOG, "--dry-run").code)


def restore_real(cli: CliRunner) -> tuple[int, ...]:
    """Nine people: for the eleventh, a restore waits until the minute is over."""
    cli.keys["rules"][0]["older_than"] = "23d"
    return (cli.sweep().code, cli.run("restore", LOG, "--yes").code)


def federated(cli: CliRunner) -> int:
    """Delete a pending user of an organization that becomes federated; return the exit code."""
    rule = {"name": "forgotten", "older_than": "14d", "statuses": ["PENDING"]}
    cli.keys |= {"sources": ["org_users"], "rules": [rule]}
    cli.sim.add_user("ada@example.com", age=20 * DAYS)
    code = cli.sweep().code
    cli.sim.organizations[ACME].federated = True
    return code


def restore_active_dry(cli: CliRunner) -> tuple[int, ...]:
    return (federated(cli), cli.run("restore", LOG, "--dry-run").code)


def restore_active(cli: CliRunner) -> tuple[int, ...]:
    return (federated(cli), cli.run("restore", LOG, "--yes").code)


def changed_plan(cli: CliRunner) -> tuple[int, ...]:
    """A plan, its sweep in which two deletions fail, and a plan with two new invitations."""
    cli.keys["limits"] |= {"canary": 0}
    cli.sim.faults.add(faults.fail_with(400), method="DELETE", times=2)
    first = cli.sweep().code
    invite(cli, 2, name="later")
    return (first, cli.plan().code)


def killed(cli: CliRunner) -> tuple[int, ...]:
    fault_second_project(cli, faults.hang(), 1)
    process = cli.fork("sweep", "--policy", "policy.yaml")
    log = cli.log_path
    wait_until(lambda: log.exists() and log.read_bytes().count(b'"event":"outcome"') >= 3)
    process.kill()
    process.communicate(timeout=60)
    cli.sim.faults.clear()
    return ()


def recovered(cli: CliRunner) -> tuple[int, ...]:
    return (*killed(cli), cli.sweep().code)


def damaged(cli: CliRunner) -> tuple[int, ...]:
    code = cli.sweep().code
    cli.log_path.write_bytes(cli.log_path.read_bytes().replace(b"person-3@", b"person-4@", 1))
    return (code,)


def group_scene(
    folder: Path, *, failing: tuple[str, ...] = (), first: str = ACME, **limits: int
) -> Scene:
    """Sweep two organizations with their own credentials; those in `failing` have a wrong token."""
    with cli_in(folder) as cli:
        cli.sim.add_organization(BETA, "Beta")
        names = {ACME: "ACME", BETA: "BETA"}
        changes: dict[str, str | None] = {TOKEN: None}
        for org_id, name in names.items():
            cli.projects.append(cli.sim.add_project(f"{name} project", org_id))
            invite(cli, 4)
            token = cli.sim.add_token(org_id).secret
            changes[f"{TOKEN}_{name}"] = "wrong" if org_id in failing else token
        order = (first, *(org_id for org_id in names if org_id != first))
        cli.keys["organizations"] = [{"id": o, "credentials": names[o]} for o in order]
        cli.keys["limits"] |= limits
        return scene_of(cli, cli.sweep(**changes).code)


def thirty_nights(folder: Path) -> Scene:
    """30 nights: five refusals, one killed and one without a run."""
    book = Logbook(folder / "audit.jsonl")
    for night in range(29, -1, -1):
        if night in {20, 19, 12, 5, 4}:
            book.start(f"run-{night:02}", days_ago=night)
            message = "140 stale invitations are over max_deletions: 100."
            book.finish(3, stale=0, error=message)
        elif night == 9:
            book.start(f"run-{night:02}", days_ago=night)
            book.line("planned", **invitation(night))
        elif night != 15:
            numbers = range(night * 10, night * 10 + 3 + night % 4)
            book.sweep(f"run-{night:02}", dict.fromkeys(numbers, "deleted"), days_ago=night)
    return Scene(book.path, read(book.path))


def six_thousand(folder: Path) -> Scene:
    """A dry run that would delete 6,000 invitations in 40 projects."""
    book = Logbook(folder / "audit.jsonl")
    book.start("run-1", mode="dry-run", organizations=["b" * 24])
    for number in range(6_000):
        project = {"project_id": f"{number % 40:024x}", "project_name": f"project-{number % 40}"}
        book.line("planned", **invitation(number, age_days=15 + number % 300, **project))
    book.finish(10, stale=6_000, projects_seen=40, invitations_seen=7_000, kept=1_000)
    return Scene(book.path, read(book.path))


SCENES: dict[str, Callable[[Path], Scene]] = {
    **{
        play.__name__: partial(played, play)
        for play in (
            *(clean, dry_run, nothing_stale, unused_pattern, refused_dry_run, quarantine, canary),
            *(breaker, partly_done, unreadable, deadline_while_reading, deadline_while_deleting),
            deadline_after_one_project,
            *(restore_active, restore_active_dry, changed_plan),
            *(restore_dry, restore_real, killed, recovered, damaged),
        )
    },
    "two_clean": group_scene,
    "two_first_fails": partial(group_scene, failing=(ACME,)),
    "two_second_fails": partial(group_scene, failing=(BETA,)),
    "two_other_order": partial(group_scene, failing=(ACME,), first=BETA),
    "two_refused": partial(group_scene, max_deletions=5),
    "two_fail": partial(group_scene, failing=(ACME, BETA)),
    "thirty_nights": thirty_nights,
    "six_thousand": six_thousand,
}
