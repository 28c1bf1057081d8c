"""Scenes of the report and the terminal: commands against the simulated Atlas."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import faults
from report.logbook import Logbook, invitation
from report.recording import Played, play
from running import CliRunner, cli_in, wait_until

from invite_sweeper.audit.verify import verify
from invite_sweeper.report.html.chain import chain_result
from invite_sweeper.report.html.model import Report
from invite_sweeper.report.html.reading import read_report
from invite_sweeper.simulator.seed import ORG_ID

ACME, BETA = ORG_ID, "0123456789abcdef01234567"
TOKEN = "MONGODB_ATLAS_ACCESS_TOKEN"
DAYS = timedelta(days=1)
LOG = "audit/invite-sweeper.jsonl"


@dataclass(frozen=True)
class Scene:
    """A log, the model of its report, and the commands that wrote it.

    Attributes:
        played: The commands, but for one that is killed.
        pending: Number of invitations left.
        removed: Number of invitations that are missing at the end.
    """

    log: Path
    model: Report
    played: tuple[Played, ...]
    pending: int
    removed: int

    @property
    def codes(self) -> tuple[int, ...]:
        """Exit codes of the commands that are runs."""
        return tuple(each.code for each in self.played if each.words[0] != "audit")

    @property
    def deletes(self) -> int:
        """Number of DELETE requests that the simulated Atlas received."""
        return sum(each.deletes for each in self.played)


def read(log: Path) -> Report:
    return read_report([log], chain_result(verify([log])))


def play_scene(play_all: Callable[[CliRunner], tuple[Played, ...]], folder: Path) -> Scene:
    """Play a scene against the simulated Atlas: a project with 12 stale and 3 other people."""
    with cli_in(folder) as cli:
        cli.sim.invite_rate_limit.per_minute = None
        cli.projects.append(cli.sim.add_project("Blue Lagoon"))
        cli.keys["execution"] = {"concurrency": 1, "grace": "1s"}
        invite(cli, 12)
        invite(cli, 3, name="young", days=1)
        return scene_of(cli, *play_all(cli))


def scene_of(cli: CliRunner, *played: Played) -> Scene:
    pending = cli.sim.invitation_count()
    return Scene(
        log=cli.log_path,
        model=read(cli.log_path),
        played=played,
        pending=pending,
        removed=cli.invited - pending,
    )


def sweep(cli: CliRunner, *arguments: str, **changes: str | None) -> Played:
    return play(cli, "sweep", "--policy", "policy.yaml", *arguments, **changes)


def plan(cli: CliRunner, *arguments: str) -> Played:
    return play(cli, "plan", "--policy", "policy.yaml", *arguments)


def invite(cli: CliRunner, count: int, *, name: str = "person", days: float = 20) -> None:
    """Invite people to the last project, each a day longer ago than the one before."""
    for number in range(count):
        cli.sim.invite(cli.projects[-1], f"{name}-{number}@example.com", age=(days + number) * DAYS)
    cli.invited = getattr(cli, "invited", 0) + count


def fail_deletions(cli: CliRunner, fault: faults.Fault, **which: int | None) -> None:
    """Make deletions fail, without a canary that goes first."""
    cli.keys["limits"] |= {"canary": 0}
    cli.sim.faults.add(fault, method="DELETE", **which)


def clean(cli: CliRunner) -> tuple[Played, ...]:
    return (sweep(cli),)


def dry_run(cli: CliRunner) -> tuple[Played, ...]:
    return (plan(cli, "--detailed-exitcode"),)


def nothing_stale(cli: CliRunner) -> tuple[Played, ...]:
    cli.keys["rules"] = [{"name": "ancient", "older_than": "90d"}]
    return (sweep(cli),)


def unused_pattern(cli: CliRunner) -> tuple[Played, ...]:
    cli.keys["projects"] = {"include": ["*"], "exclude": ["prod-*"]}
    return (sweep(cli),)


def refused_dry_run(cli: CliRunner) -> tuple[Played, ...]:
    cli.keys["limits"]["max_deletions"] = 5
    return (plan(cli),)


def canary(cli: CliRunner) -> tuple[Played, ...]:
    cli.sim.faults.add(faults.fail_with(400), method="DELETE", times=None)
    cli.keys["limits"] |= {"canary": 5}
    return (sweep(cli),)


def breaker(cli: CliRunner) -> tuple[Played, ...]:
    cli.keys["limits"] |= {"breaker_window": 4, "max_failure_share": 0.5}
    fail_deletions(cli, faults.fail_with(400), nth=7, times=None)
    return (sweep(cli),)


def partly_done(cli: CliRunner) -> tuple[Played, ...]:
    fail_deletions(cli, faults.fail_with(400), times=2)
    return (sweep(cli),)


def unreadable(cli: CliRunner) -> tuple[Played, ...]:
    cli.projects.append(cli.sim.add_project("Locked"))
    invite(cli, 1, name="locked")
    path = f"*/groups/{cli.projects[-1]}/invites"
    cli.sim.faults.add(faults.fail_with(403), method="GET", path=path, times=None)
    return (sweep(cli),)


def deadline_while_reading(cli: CliRunner) -> tuple[Played, ...]:
    cli.sim.faults.add(faults.hang(), method="GET", path="*/invites*", times=None)
    return (sweep(cli, "--deadline", "2s"),)


def deadline_after_one_project(cli: CliRunner) -> tuple[Played, ...]:
    """The first project is read, and its part of the plan is written."""
    cli.projects.append(cli.sim.add_project("Red Canyon"))
    path = f"*/groups/{cli.projects[-1]}/*"
    cli.sim.faults.add(faults.hang(), method="GET", path=path, times=None)
    return (sweep(cli, "--deadline", "2s"),)


def deadline_while_deleting(cli: CliRunner) -> tuple[Played, ...]:
    fail_deletions(cli, faults.hang(), nth=5, times=None)
    return (sweep(cli, "--deadline", "3s"),)


def restore_dry(cli: CliRunner) -> tuple[Played, ...]:
    return (sweep(cli), play(cli, "restore", LOG, "--dry-run"))


def restore_real(cli: CliRunner) -> tuple[Played, ...]:
    """10 of the 12 are restored: as many as Atlas admits a minute."""
    return (sweep(cli), play(cli, "restore", LOG, "--yes", "--username", "person-?@*"))


def federated(cli: CliRunner) -> Played:
    """Delete a pending user of an organization that becomes federated."""
    rule = {"name": "forgotten", "older_than": "14d", "statuses": ["PENDING"]}
    cli.keys |= {"sources": ["org_users"], "rules": [rule]}
    cli.sim.add_user("ada@example.com", age=20 * DAYS)
    played = sweep(cli)
    cli.sim.organizations[ACME].federated = True
    return played


def restore_active_dry(cli: CliRunner) -> tuple[Played, ...]:
    return (federated(cli), play(cli, "restore", LOG, "--dry-run"))


def restore_active(cli: CliRunner) -> tuple[Played, ...]:
    return (federated(cli), play(cli, "restore", LOG, "--yes"))


def changed_plan(cli: CliRunner) -> tuple[Played, ...]:
    """A sweep in which two deletions fail, and a plan with two new invitations."""
    fail_deletions(cli, faults.fail_with(400), times=2)
    first = sweep(cli)
    invite(cli, 2, name="later", days=20.5)
    return (first, plan(cli))


def killed(cli: CliRunner) -> tuple[Played, ...]:
    """A sweep that is killed while Atlas does not answer the fifth deletion."""
    fail_deletions(cli, faults.hang(), nth=5)
    process = cli.fork("sweep", "--policy", "policy.yaml")
    wait_until(lambda: cli.deletes() == 5)
    process.kill()
    process.wait(60)
    cli.sim.faults.clear()
    return ()


def recovered(cli: CliRunner) -> tuple[Played, ...]:
    return (*killed(cli), sweep(cli))


def damaged(cli: CliRunner) -> tuple[Played, ...]:
    """A sweep, a changed line in its log, and what the next commands make of it."""
    first = sweep(cli)
    cli.log_path.write_bytes(cli.log_path.read_bytes().replace(b"person-3@", b"person-4@", 1))
    return (first, play(cli, "audit", "verify", LOG), sweep(cli))


def cut_line(cli: CliRunner) -> tuple[Played, ...]:
    """A sweep, and a line of its log that is cut short: later runs refuse to rely on it."""
    first = sweep(cli)
    lines = cli.log_path.read_bytes().splitlines(keepends=True)
    lines[4] = lines[4][:90] + b"\n"
    cli.log_path.write_bytes(b"".join(lines))
    restored = play(cli, "restore", LOG, "--dry-run")
    return (first, play(cli, "audit", "verify", LOG), sweep(cli), restored)


def group_scene(
    folder: Path, *, failing: tuple[str, ...] = (), first: str = ACME, **limits: int
) -> Scene:
    """Sweep two organizations with their own credentials; those in `failing` have a wrong token."""
    with cli_in(folder) as cli:
        cli.sim.add_organization(BETA, "Beta")
        names = {ACME: "ACME", BETA: "BETA"}
        for org_id, name in names.items():
            cli.projects.append(cli.sim.add_project(f"{name} project", org_id))
            invite(cli, 4, name=name.lower())
        order = (first, *(org_id for org_id in names if org_id != first))
        cli.use_organizations({names[org_id]: org_id for org_id in order})
        cli.changes |= {f"{TOKEN}_{names[org_id]}": "wrong" for org_id in failing}
        cli.keys["limits"] |= limits
        return scene_of(cli, sweep(cli))


def thirty_nights(cli: CliRunner) -> tuple[Played, ...]:
    """30 nights: five refusals, one killed and one without a run; the last one is played."""
    cli.log_path.parent.mkdir()
    book = Logbook(cli.log_path, datetime.now(UTC))
    totals = {"projects_seen": 1, "invitations_seen": 15}
    for night in range(29, 0, -1):
        if night in {20, 19, 12, 5, 4}:
            book.start(f"run-{night:02}", days_ago=night)
            message = "140 stale invitations are over max_deletions: 100."
            book.finish(3, stale=0, error=message, **totals)
        elif night == 9:
            book.start(f"run-{night:02}", days_ago=night)
            book.line("planned", **invitation(night))
        elif night != 15:
            numbers = range(night * 10, night * 10 + 3 + night % 4)
            outcomes = dict.fromkeys(numbers, "deleted")
            book.sweep(f"run-{night:02}", outcomes, days_ago=night, **totals)
    return (
        sweep(cli),
        play(cli, "audit", "verify", LOG),
        play(cli, "audit", "show", LOG, "--event", "run_finished"),
    )


def six_thousand(cli: CliRunner) -> tuple[Played, ...]:
    """A dry run that would delete 6,000 invitations in 40 projects."""
    for number in range(40):
        cli.projects.append(cli.sim.add_project(f"project-{number}"))
        invite(cli, 150, name=f"guest-{number}", days=15 + 3 * number)
    cli.keys["projects"] = {"include": ["project-*"]}
    return (plan(cli, "--detailed-exitcode"),)


SCENES: dict[str, Callable[[Path], Scene]] = {
    **{
        play_all.__name__: partial(play_scene, play_all)
        for play_all in (
            *(clean, dry_run, nothing_stale, unused_pattern, refused_dry_run, canary),
            *(breaker, partly_done, unreadable, deadline_while_reading, deadline_while_deleting),
            deadline_after_one_project,
            *(restore_active, restore_active_dry, changed_plan),
            *(restore_dry, restore_real, killed, recovered, damaged),
            cut_line,
            *(thirty_nights, six_thousand),
        )
    },
    "two_clean": group_scene,
    "two_first_fails": partial(group_scene, failing=(ACME,)),
    "two_second_fails": partial(group_scene, failing=(BETA,)),
    "two_other_order": partial(group_scene, failing=(ACME,), first=BETA),
    "two_refused": partial(group_scene, max_deletions=5),
    "two_fail": partial(group_scene, failing=(ACME, BETA)),
}
