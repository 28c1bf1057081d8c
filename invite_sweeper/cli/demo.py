"""Command `demo`: dry run and sweeps against the simulated Atlas, without account or network."""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import typer
from rich.rule import Rule

from invite_sweeper.cli.console import stdout_console
from invite_sweeper.cli.options import RunOptions
from invite_sweeper.cli.session import run_session
from invite_sweeper.cli.simulate import Simulation, serve_in_thread
from invite_sweeper.simulator.seed import ORG_ID

app = typer.Typer(rich_markup_mode=None)

POLICY = """\
version: 1
organizations: ["{org_id}"]
rules:
  - name: forgotten
    older_than: 14d
  - name: outsiders
    older_than: 3d
    usernames: ["*@contractors.example.com"]
keep:
  - name: board
    usernames: ["*@board.example.com"]
    reason: they travel
limits:
  max_share: 0.8
audit:
  path: {audit}
"""


@app.command()
def demo() -> None:
    """Show a dry run and two sweeps against a simulated Atlas.

    The second sweep finds nothing left to delete.

    Example: invite-sweeper demo
    """
    folder = Path(tempfile.mkdtemp(prefix="invite-sweeper-demo-"))
    policy, audit = folder / "policy.yaml", folder / "audit.jsonl"
    policy.write_text(POLICY.format(org_id=ORG_ID, audit=audit), "utf-8")
    sim, credentials = Simulation(projects=6, invitations=5).build()
    console = stdout_console()
    steps = (("A dry run deletes nothing", True), ("The sweep", False), ("A second sweep", False))
    environment = {**_without_credentials(os.environ), **credentials}
    codes = []
    with serve_in_thread(sim) as base_url:
        for title, dry_run in steps:
            console.print(Rule(title, style="dim"), "")
            options = RunOptions(
                policy=policy, base_url=base_url, dry_run=dry_run, yes=True, quiet_progress=True
            )
            codes.append(run_session(options, environment))
            console.print()
    console.print(Rule(style="dim"))
    typer.echo(f"The policy and the audit log of these runs are in {folder}")
    raise typer.Exit(max(codes))


def _without_credentials(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without the user's own Atlas settings."""
    return {k: v for k, v in environment.items() if not k.startswith("MONGODB_ATLAS_")}
